//! How long answers take: a histogram that forgets.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Steps for each doubling: a figure is right to a fifth.
const STEPS: u32 = 4;
/// From 1 µs to more than an hour.
const BUCKETS: usize = 128;
/// After so many answers the older ones count half.
const HALVED_AFTER: u64 = 4096;
/// Figures are computed anew after so many answers.
const COMPUTED_AFTER: u64 = 64;

/// The times of the newest answers.
pub struct Latency {
    buckets: [AtomicU32; BUCKETS],
    answers: AtomicU64,
    /// Of all answers, in microseconds.
    total: AtomicU64,
    /// In microseconds.
    p99: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            buckets: std::array::from_fn(|_| AtomicU32::new(0)),
            answers: AtomicU64::new(0),
            total: AtomicU64::new(0),
            p99: AtomicU64::new(0),
        }
    }
}

impl Latency {
    pub fn note(&self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.buckets[bucket(micros)].fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(micros, Ordering::Relaxed);
        let answers = self.answers.fetch_add(1, Ordering::Relaxed) + 1;
        if answers.is_multiple_of(COMPUTED_AFTER) {
            self.p99.store(micros_of(self.quantile(99)), Ordering::Relaxed);
        }
        if answers.is_multiple_of(HALVED_AFTER) {
            for bucket in &self.buckets {
                let half = bucket.load(Ordering::Relaxed) / 2;
                bucket.store(half, Ordering::Relaxed);
            }
        }
    }

    /// Of the newest answers; zero while there are fewer than 64.
    pub fn p99(&self) -> Duration {
        Duration::from_micros(self.p99.load(Ordering::Relaxed))
    }

    /// The time within which so many of a hundred of the newest answers came, rounded up to a step; zero: there are none.
    pub fn quantile(&self, percent: u64) -> Duration {
        let counts = self
            .buckets
            .each_ref()
            .map(|bucket| u64::from(bucket.load(Ordering::Relaxed)));
        let wanted = (counts.iter().sum::<u64>() * percent).div_ceil(100);
        let mut seen = 0;
        for (at, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return Duration::from_micros(upper(at));
            }
        }
        Duration::ZERO
    }

    /// Answers since the start, and their mean time.
    pub fn mean(&self) -> (u64, Duration) {
        let (answers, total) = (
            self.answers.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        );
        (
            answers,
            Duration::from_micros(total.checked_div(answers).unwrap_or_default()),
        )
    }
}

fn micros_of(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn bucket(micros: u64) -> usize {
    let micros = micros.max(1);
    let octave = micros.ilog2();
    // The two bits after the first one.
    let step = ((micros << 2) >> octave) & 3;
    let at = u64::from(octave * STEPS) + step;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// The first time, in microseconds, that is in the next bucket.
fn upper(bucket: usize) -> u64 {
    let (octave, step) = (bucket / 4, bucket % 4);
    ((5 + step as u64) << octave).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_right_to_a_quarter_and_the_last_bucket_holds_what_is_longer() {
        for micros in [1, 2, 3, 7, 100, 999, 5_000, 1_000_000, 60_000_000] {
            let latency = Latency::default();
            for _ in 0..100 {
                latency.note(Duration::from_micros(micros));
            }
            let told = micros_of(latency.quantile(99));
            assert!(
                told >= micros && told <= micros + micros / 4 + 1,
                "{micros}: {told}"
            );
        }
        Latency::default().note(Duration::MAX);
    }

    #[test]
    fn one_slow_answer_of_two_hundred_is_past_the_p99() {
        let latency = Latency::default();
        for at in 0..256 {
            let slow = at % 200 == 0;
            latency.note(Duration::from_millis(if slow { 900 } else { 2 }));
        }
        assert!(latency.p99() < Duration::from_millis(4), "{:?}", latency.p99());
        assert_eq!(latency.mean().0, 256);
    }

    #[test]
    fn what_was_slow_long_ago_is_forgotten() {
        let latency = Latency::default();
        for _ in 0..4096 {
            latency.note(Duration::from_secs(1));
        }
        for _ in 0..16 * 4096 {
            latency.note(Duration::from_millis(1));
        }
        assert!(latency.p99() < Duration::from_millis(2), "{:?}", latency.p99());
    }
}
