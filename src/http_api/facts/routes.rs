//! Where requests lead.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use distributary_core::decision::EndpointView;

use super::{Facts, count, time};
use crate::engine::BoardEntry;
use crate::http_api::answers::{RouteStats, RouteTargets, RoutingHealth, RoutingStats, TargetAnswer};

impl Facts {
    fn strategy(&self) -> Option<String> {
        let entry = self.entry.as_ref()?;
        Some(entry.decision.policy.strategy.word().to_owned())
    }

    fn revision(&self) -> Option<String> {
        self.status
            .routing
            .as_ref()
            .map(|routing| routing.revision.clone())
    }

    pub(super) fn routing(&self) -> RoutingHealth {
        let route = |name: &String| {
            let targets = RouteTargets {
                state: self.route_state(name),
                targets: self.targets(name),
            };
            (name.clone(), targets)
        };
        RoutingHealth {
            revision: self.revision(),
            strategy: self.strategy(),
            routes: self.route_names().into_iter().map(route).collect(),
        }
    }

    /// Of the status and of the slices: one may be ahead of the other.
    fn route_names(&self) -> BTreeSet<&String> {
        let of_status = self.status.routes.iter().map(|route| &route.name);
        let of_slices = self.slices.iter().flat_map(BTreeMap::keys);
        of_status.chain(of_slices).collect()
    }

    fn route_state(&self, name: &str) -> Option<String> {
        let route = self.status.routes.iter().find(|route| route.name == name);
        route.map(|route| route.state.clone())
    }

    /// The servers of a route, in the order of the declared endpoints.
    fn targets(&self, route: &str) -> Option<Vec<TargetAnswer>> {
        let servers = self.slices.as_ref()?.get(route).into_iter().flatten();
        let mut targets: Vec<_> = servers
            .map(|server| {
                let (place, endpoint) = self.endpoint_of(*server).unzip();
                let target = TargetAnswer {
                    endpoint,
                    address: server.ip().to_string(),
                    port: server.port(),
                };
                (place.unwrap_or(usize::MAX), target)
            })
            .collect();
        targets.sort_by_key(|(place, _)| *place);
        Some(targets.into_iter().map(|(_, target)| target).collect())
    }

    fn endpoint_of(&self, server: SocketAddr) -> Option<(usize, String)> {
        let has = |view: &EndpointView| {
            let is_host = view.address == Some(server.ip())
                && view
                    .location
                    .as_ref()
                    .is_none_or(|location| location.port == server.port());
            let used = view.state.same_as.is_none();
            used && (is_host || view.targets.iter().any(|target| target.address == server.ip()))
        };
        let mut views = self.entry.iter().flat_map(BoardEntry::endpoints).enumerate();
        views
            .find(|(_, view)| has(view))
            .map(|(place, view)| (place, view.id.to_string()))
    }

    pub(super) fn routing_stats(&self) -> RoutingStats {
        let policy = self.entry.as_ref().map(|entry| &entry.decision.policy);
        let route = |name: &String| {
            let servers = |slices: &BTreeMap<_, BTreeSet<_>>| slices.get(name).map_or(0, BTreeSet::len);
            let stats = RouteStats {
                state: self.route_state(name),
                targets: self.slices.as_ref().map(servers).map(count),
            };
            (name.clone(), stats)
        };
        let programmed = self
            .status
            .routing
            .as_ref()
            .and_then(|routing| routing.programmed_at.as_ref());
        RoutingStats {
            revision: self.revision(),
            programmed_at: programmed.map(time),
            strategy: self.strategy(),
            mode: policy.map(|policy| policy.mode.word().to_owned()),
            routes: self.route_names().into_iter().map(route).collect(),
            failovers: count(self.status.failovers.len()),
        }
    }
}
