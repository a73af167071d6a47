//! What the cluster is to a policy, whoever declares it.

use crate::policy::{Policy, Strategy};
use crate::routing::Region;

/// What the routes of a policy depend on of the cluster that they are written to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cluster {
    /// Where the cluster is (`--region`); `None`: that was not said.
    pub region: Option<String>,
}

impl Cluster {
    /// The region that the reads follow which name none. `None`: the strategy is not Geographic, or no endpoint is in the
    /// region of the cluster and the policy does not declare it.
    #[must_use]
    pub fn home<'a>(&self, policy: &'a Policy) -> Option<&'a Region> {
        let own = self.region.as_ref()?;
        let mut regions = policy.routing.regions.iter();
        regions.find(|region| policy.strategy == Strategy::Geographic && region.name == *own)
    }
}
