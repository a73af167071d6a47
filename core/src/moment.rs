//! Time as decisions know it: an argument.

use std::hash::{Hash, Hasher};
use std::ops::{Add, Sub};
use std::time::Duration;

/// A point of monotonic time, counted from the start of the process. The caller reads the clock.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_start` after the start of the process.
    #[must_use]
    pub const fn new(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// Time since the start of the process.
    #[must_use]
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// Time from `earlier` to this moment; zero where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// As one `u128` of nanoseconds, which nothing else hashes as: a hasher can count moments from the present one.
impl Hash for Moment {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.0.as_nanos());
    }
}

impl Add<Duration> for Moment {
    type Output = Self;
    fn add(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

impl Sub<Duration> for Moment {
    type Output = Self;
    fn sub(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(time))
    }
}
