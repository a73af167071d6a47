//! Whether this process may write.

use std::time::Duration;

use distributary_core::moment::Moment;

/// A request starts only while at least so much of the lease is left.
pub const LEFT: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Lead {
    /// Another process writes, or nobody.
    #[default]
    Follows,
    /// This process writes until then; `None`: it needs no lease.
    Leads { until: Option<Moment> },
}

impl Lead {
    /// Whether a request may start.
    #[must_use]
    pub fn may_start(self, now: Moment) -> bool {
        match self {
            Self::Follows => false,
            Self::Leads { until } => until.is_none_or(|until| until.since(now) >= LEFT),
        }
    }
}
