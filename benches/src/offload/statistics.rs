//! PURE. Quantiles of one block, and intervals of confidence over blocks.

use serde::{Deserialize, Serialize};

use super::random::Random;

/// So often blocks are drawn for an interval.
const DRAWS: usize = 2000;
/// Intervals are of 95 %: this share lies beyond each end.
const TAIL: f64 = 0.025;

/// Latencies of one block, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// How many there are.
    pub count: usize,
    /// Their mean; 0 where there are none, as the others.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 95 % of them took no longer.
    pub p95: f64,
    /// 99 % of them took no longer.
    pub p99: f64,
}

/// The mean of a figure over blocks, and where it lies with 95 % confidence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The mean.
    pub mean: f64,
    /// The upper end.
    pub high: f64,
}

impl Latency {
    /// Of these, in milliseconds.
    #[must_use]
    pub fn of(mut times: Vec<f64>) -> Self {
        times.sort_by(f64::total_cmp);
        Self {
            count: times.len(),
            mean: mean(&times),
            p50: quantile(&times, 0.5),
            p95: quantile(&times, 0.95),
            p99: quantile(&times, 0.99),
        }
    }
}

/// The mean; 0 of none.
#[must_use]
pub fn mean(all: &[f64]) -> f64 {
    ratio(all.iter().sum(), count(all.len()))
}

/// One by the other; 0 where there is none of the other.
#[must_use]
pub fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// A number of things as a figure.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "far fewer than 2^53")]
pub fn count(number: usize) -> f64 {
    number as f64
}

/// The least of the sorted values that this share of them does not exceed; 0 of none.
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a length"
)]
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * count(sorted.len())).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0.0)
}

/// Student's t for 95 % on both sides, for 1 to 29 degrees of freedom.
const T: [f64; 29] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
];
/// For more of them: that of the normal distribution, which is hardly narrower.
const NORMAL: f64 = 1.960;

/// The mean of the blocks' figures with Student's interval: what differs from block to block widens it, and the dependence of requests
/// within a block does not narrow it. With five blocks the bootstrap would hold the mean in some 80 % of all runs. One block, as the
/// short mode has it, tells nothing of its spread.
#[must_use]
pub fn student(blocks: &[f64]) -> Interval {
    let middle = mean(blocks);
    let Some(freedom) = blocks.len().checked_sub(1).filter(|freedom| *freedom > 0) else {
        return Interval {
            low: middle,
            mean: middle,
            high: middle,
        };
    };
    let squares = blocks.iter().map(|block| (block - middle).powi(2));
    let deviation = (squares.sum::<f64>() / count(freedom)).sqrt();
    let t = T.get(freedom - 1).copied().unwrap_or(NORMAL);
    let half = t * deviation / count(blocks.len()).sqrt();
    Interval {
        low: middle - half,
        mean: middle,
        high: middle + half,
    }
}

/// The mean of many figures that are no blocks and not normal, as the shares under faults, with an interval by the bootstrap: they are
/// drawn with replacement.
#[must_use]
pub fn bootstrap(blocks: &[f64], seed: u64) -> Interval {
    let mut random = Random::new(seed);
    let mut draw = |_| {
        let drawn: Vec<_> = blocks
            .iter()
            .map(|_| blocks[random.below(blocks.len())])
            .collect();
        mean(&drawn)
    };
    let mut means: Vec<_> = (0..DRAWS).map(&mut draw).collect();
    means.sort_by(f64::total_cmp);
    // A sum in another order differs in its last bits.
    let middle = mean(blocks);
    Interval {
        low: quantile(&means, TAIL).min(middle),
        mean: middle,
        high: quantile(&means, 1.0 - TAIL).max(middle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let all: Vec<_> = (1..=100).map(f64::from).collect();
        let latency = Latency::of(all.into_iter().rev().collect());
        assert_eq!(
            (latency.p50, latency.p95, latency.p99, latency.mean),
            (50.0, 95.0, 99.0, 50.5)
        );
        assert_eq!(Latency::of(vec![]), Latency::default());
        assert_eq!(Latency::of(vec![3.0]).p99, 3.0);
    }

    #[test]
    fn students_interval_is_that_of_the_textbook() {
        // Mean 10, standard deviation 3.5355, 4 degrees of freedom: 2.776 * 3.5355 / sqrt(5) = 4.389.
        let interval = student(&[5.0, 10.0, 15.0, 10.0, 10.0]);
        assert!((interval.mean - 10.0).abs() < 1e-9);
        assert!((interval.low - 5.611).abs() < 1e-3 && (interval.high - 14.389).abs() < 1e-3);
        let same = student(&[2.0; 5]);
        assert_eq!((same.low, same.mean, same.high), (2.0, 2.0, 2.0));
        let one = student(&[7.0]);
        assert_eq!((one.low, one.high), (7.0, 7.0), "one block tells no spread");
        assert_eq!(student(&[]), Interval::default());
        let many: Vec<_> = (0..40).map(|number| f64::from(number % 2)).collect();
        assert!((student(&many).high - 0.5 - NORMAL * 0.506_37 / 40_f64.sqrt()).abs() < 1e-3);
    }

    #[test]
    fn an_interval_holds_its_mean_and_is_as_wide_as_the_blocks_differ() {
        let same = bootstrap(&[2.0; 5], 1);
        assert_eq!(
            same,
            Interval {
                low: 2.0,
                mean: 2.0,
                high: 2.0
            }
        );
        let narrow = bootstrap(&[9.0, 10.0, 11.0, 10.0, 10.0], 1);
        let wide = bootstrap(&[5.0, 10.0, 15.0, 10.0, 10.0], 1);
        for interval in [narrow, wide] {
            assert!(interval.low < 10.0 && interval.high > 10.0, "{interval:?}");
            assert!((interval.mean - 10.0).abs() < 1e-9);
        }
        assert!(wide.high - wide.low > 3.0 * (narrow.high - narrow.low));
        assert_eq!(
            wide,
            bootstrap(&[5.0, 10.0, 15.0, 10.0, 10.0], 1),
            "the same seed"
        );
        assert_eq!(bootstrap(&[], 1), Interval::default());
    }
}
