//! Who counts as a replica, and as a healthy one: what the status and the HTTP API tell.

use super::{EndpointView, RouteDecision, TargetState};
use crate::health::Reason;
use crate::observation::Role;
use crate::policy::DeclaredRole;

impl RouteDecision {
    /// The server that takes the writes, or took them last; while none of these did, the declared primary.
    #[must_use]
    pub fn write_primary(&self) -> Option<&EndpointView> {
        let holder = self.holding.holder.as_ref();
        let holder = holder.and_then(|holder| self.endpoints.iter().find(|view| view.id == holder.endpoint));
        let declared = |view: &&EndpointView| view.declared == DeclaredRole::Primary;
        holder.or_else(|| self.endpoints.iter().find(declared))
    }

    /// The servers beside the write primary, each once: after a failover the declared primary is one of them.
    pub fn replicas(&self) -> impl Iterator<Item = &EndpointView> {
        let primary = self.write_primary().map(|view| &view.id);
        let counted =
            move |view: &&EndpointView| Some(&view.id) != primary && view.state.reason != Reason::SameServer;
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
