//! How long the last checks took.

use std::time::Duration;

use super::ring::Ring;

/// So many are kept.
const CHECKS: usize = 32;

/// How long good checks took.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseTimes {
    /// How many checks these are of, at most 32.
    pub checks: u32,
    pub mean: Duration,
    /// Half of the checks took as long, or less.
    pub p50: Duration,
    /// 95 percent of the checks took as long, or less.
    pub p95: Duration,
}

/// In microseconds.
#[derive(Clone, Debug, Default)]
pub struct Responses(Ring<u32, CHECKS>);

impl Responses {
    pub fn add(&mut self, took: Duration) {
        self.0.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn times(&self) -> Option<ResponseTimes> {
        let mut sorted: Vec<u32> = self.0.newest_first().copied().collect();
        sorted.sort_unstable();
        let checks = u32::try_from(sorted.len()).ok().filter(|checks| *checks > 0)?;
        let sum: u64 = sorted.iter().copied().map(u64::from).sum();
        // The least of which so many percent are no greater.
        let percentile = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100);
            Duration::from_micros(sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0).into())
        };
        Some(ResponseTimes {
            checks,
            mean: Duration::from_micros(sum / u64::from(checks)),
            p50: percentile(50),
            p95: percentile(95),
        })
    }
}
