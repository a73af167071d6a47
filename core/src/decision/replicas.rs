//! Who counts as a replica, and as a healthy one: what the status and the HTTP API tell.

use super::{EndpointView, RouteDecision, TargetState};
use crate::health::Reason;
use crate::observation::Role;
use crate::policy::DeclaredRole;

impl RouteDecision {
    /// The servers beside the write primary, each once: after a failover the declared primary is one of them.
    pub fn replicas(&self) -> impl Iterator<Item = &EndpointView> {
        let holder = self.holding.holder.as_ref().map(|holder| &holder.endpoint);
        let holder = holder.filter(|holder| self.endpoints.iter().any(|view| view.id == **holder));
        let is_replica = move |view: &EndpointView| match holder {
            Some(holder) => view.id != *holder,
            None => view.declared == DeclaredRole::Replica,
        };
        let counted = move |view: &&EndpointView| is_replica(view) && view.state.reason != Reason::SameServer;
        self.endpoints.iter().filter(counted)
    }
}

impl EndpointView {
    /// Whether it is well, could be checked, is meant to serve reads, and is a standby.
    #[must_use]
    pub fn is_healthy_replica(&self) -> bool {
        let checked =
            |state: &TargetState| !matches!(state.reason, Reason::ConfigurationHeld | Reason::WeightZero);
        let proven = match &self.targets[..] {
            [] => self.healthy && checked(&self.state),
            pods => pods.iter().any(|pod| pod.healthy && checked(&pod.state)),
        };
        proven && self.state.role == Some(Role::Standby)
    }
}
