//! Times that were measured, and what people want to know of them.

use std::fmt;
use std::time::Duration;

/// Times of one kind, in ascending order.
pub struct Times(Vec<Duration>);

impl Times {
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many percent do not exceed; zero where there are none.
    pub fn percentile(&self, percent: usize) -> Duration {
        let last = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(last).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [half, most, worst] = [50, 90, 100].map(|percent| self.percentile(percent));
        write!(
            f,
            "{} times: p50 {half:.1?}, p90 {most:.1?}, worst {worst:.1?}",
            self.0.len()
        )
    }
}
