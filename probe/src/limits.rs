//! How much is done at once.

/// How many checks, and openings of held sessions, may be under way at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// For all policies of a [`Registry`](crate::Registry) together; 0 is taken for 1.
    pub all: usize,
    /// Checks for one policy, so that a policy whose servers all hang takes no more of the others' places; 0 is taken for 1.
    pub policy: usize,
}

impl Default for Limits {
    /// 256 for all policies, 16 for one.
    fn default() -> Self {
        Self { all: 256, policy: 16 }
    }
}
