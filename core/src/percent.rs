//! A share.

/// 0 to 100.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Percent(u8);

impl Percent {
    pub const FULL: Self = Self(100);

    /// `percent`, or 100 where it is more.
    #[must_use]
    pub const fn new(percent: u8) -> Self {
        Self(if percent > 100 { 100 } else { percent })
    }

    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}
