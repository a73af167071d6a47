//! A policy that cannot be wrong.

mod endpoint;
mod invariants;
mod parts;
mod settings;

pub use endpoint::{DeclaredRole, DeclaredServer, Endpoint, EndpointState};
pub use invariants::InvalidPolicy;
pub use parts::PolicyParts;
pub use settings::{
    BreakerSettings, Failover, IdentityRule, LagSettings, LagSource, LagSourceKind, MOST_WEIGHT, Mode,
    OnPrimaryLoss, OnReadLoss, Pace, PrimaryRole, Probing, SHORTEST_ATTEMPT, Strategy,
};

use std::time::Duration;

/// A policy as it was declared. It upholds what [`InvalidPolicy`] names.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy(PolicyParts);

impl Policy {
    /// The policy of these parts.
    ///
    /// # Errors
    /// Everything that must hold of them together and does not.
    pub fn new(parts: PolicyParts) -> Result<Self, Vec<InvalidPolicy>> {
        let broken = parts.broken();
        if broken.is_empty() {
            Ok(Self(parts))
        } else {
            Err(broken)
        }
    }

    /// The same for an operator that takes at least so much time from one check to the next.
    #[must_use]
    pub fn checked_at_least(mut self, apart: Duration) -> Self {
        self.0.probing = self.0.probing.at_least(apart);
        self
    }
}

impl std::ops::Deref for Policy {
    type Target = PolicyParts;
    fn deref(&self) -> &PolicyParts {
        &self.0
    }
}

#[cfg(test)]
mod tests;
