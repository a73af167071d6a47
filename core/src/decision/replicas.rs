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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{pod, view};
    use crate::ids::TargetId;
    use crate::plan::RoutingPlan;
    use crate::write_primary::Holding;

    /// The primary, `a` and `b`, and another name of `b`.
    fn held_by(holder: Option<&str>) -> RouteDecision {
        let mut endpoints = ["primary", "a", "b", "again"].map(view);
        endpoints[0].declared = DeclaredRole::Primary;
        endpoints[3].state.reason = Reason::SameServer;
        RouteDecision {
            plan: RoutingPlan::default(),
            endpoints: endpoints.into(),
            holding: Holding {
                holder: holder.map(|holder| TargetId::host(holder.into())),
                ..Holding::default()
            },
            split: Vec::new(),
            changed: None,
            unproven: false,
            proven: true,
            warm: true,
            found: None,
        }
    }

    #[test]
    fn who_does_not_take_the_writes_is_a_replica_and_counts_once() {
        for (holder, primary, replicas) in [
            (None, "primary", ["a", "b"]),
            (Some("primary"), "primary", ["a", "b"]),
            (Some("a"), "a", ["primary", "b"]),
            (Some("none of these"), "primary", ["a", "b"]),
        ] {
            let decided = held_by(holder);
            assert_eq!(
                decided.write_primary().unwrap().id.as_str(),
                primary,
                "{holder:?}"
            );
            let found: Vec<_> = decided.replicas().map(|view| view.id.as_str()).collect();
            assert_eq!(found, replicas, "{holder:?}");
        }
    }

    #[test]
    fn a_healthy_replica_is_a_standby_that_was_checked_and_is_meant_to_serve() {
        let well = |edit: fn(&mut EndpointView)| {
            let mut replica = view("a");
            replica.state.role = Some(Role::Standby);
            edit(&mut replica);
            replica.is_healthy_replica()
        };
        assert!(well(|_| {}));
        assert!(!well(|replica| replica.healthy = false));
        assert!(!well(|replica| replica.state.role = Some(Role::Primary)));
        assert!(!well(|replica| replica.state.role = None));
        for reason in [Reason::ConfigurationHeld, Reason::WeightZero] {
            let mut replica = view("a");
            (replica.state.role, replica.state.reason) = (Some(Role::Standby), reason);
            assert!(!replica.is_healthy_replica(), "{reason}");
        }
        // Of pods one suffices, whatever the endpoint as a whole is.
        assert!(well(|replica| {
            replica.healthy = false;
            replica.targets = vec![pod(1), pod(2)];
            replica.targets[0].healthy = false;
        }));
        assert!(!well(|replica| {
            replica.targets = vec![pod(1), pod(2)];
            replica.targets[0].healthy = false;
            replica.targets[1].state.reason = Reason::ConfigurationHeld;
        }));
    }
}
