//! Contested servers that are out of sight: pods that left their Service, servers of endpoints that are not routed. They may return
//! as they went, a pod at another address, so the contest stays with their endpoint.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::memory::EndpointMemory;
use super::policy::PolicyState;
use super::watched::WatchedTarget;
use crate::ids::{EndpointId, TargetId};
use crate::policy::{EndpointState, Policy};
use crate::resolved::Resolved;

impl PolicyState {
    /// The contested servers that are watched.
    pub(super) fn contested_targets(&self) -> Vec<(TargetId, SocketAddr)> {
        let of = |(id, target): (&TargetId, &WatchedTarget)| Some((id.clone(), target.server()?));
        let all = self.targets.iter().filter_map(of);
        all.filter(|(_, server)| self.holding.contested.contains(server))
            .collect()
    }

    /// The policy was edited, or its pods are others; `contested`: those from before.
    pub(super) fn keep_contests(&mut self, contested: Vec<(TargetId, SocketAddr)>, before: &Resolved) {
        let (policy, resolved) = (&self.policy, &self.resolved);
        let is_same = |id: &EndpointId| is_same(id, before, resolved);
        for (id, server) in contested {
            let target = self.targets.get(&id).and_then(WatchedTarget::server);
            let active = is_active(policy, &id.endpoint);
            if (active == Some(true) && target == Some(server)) || !self.holding.contested.remove(&server) {
                continue;
            }
            let returns = id.pod.is_some() || active == Some(false);
            let goes_on = returns && is_same(&id.endpoint);
            if id.pod.is_some() || !goes_on {
                // What it was before says nothing of it when it returns.
                self.standbys.remove(&server);
            }
            if goes_on {
                self.holding.contested_endpoints.insert(id.endpoint);
            }
        }
        self.holding
            .contested_endpoints
            .retain(|id| policy.endpoint(id).is_some() && is_same(id));
    }

    /// A server of this endpoint is a standby: the one that was contested, or a pod in its place.
    pub(super) fn end_contest(&mut self, id: &TargetId, server: Option<SocketAddr>) {
        let is_known = server.is_some_and(|server| self.standbys.contains_key(&server));
        if id.pod.is_none() || !is_known {
            self.holding.contested_endpoints.remove(&id.endpoint);
        }
    }

    /// What is contested by a memory, where the policy was edited since or pods left. `known`: where the servers were.
    pub(super) fn recall_contests(&mut self, known: &BTreeMap<EndpointId, EndpointMemory>) {
        let (policy, resolved, targets) = (&self.policy, &self.resolved, &self.targets);
        let is_same = |id: &EndpointId, known: &EndpointMemory| {
            let now = resolved.endpoint(id).filter(|_| policy.endpoint(id).is_some());
            now.is_some_and(|now| known.is(now))
        };
        for server in self.holding.contested.clone() {
            let was_there = |(_, known): &(&EndpointId, &EndpointMemory)| {
                let mut targets = known.targets.iter();
                targets.any(|target| target.address == Some(server.ip()))
            };
            let of_it: Vec<_> = known.iter().filter(was_there).collect();
            let is_there = |id: &EndpointId| {
                let is_it = |target: &TargetId| {
                    target.endpoint == *id && target.pod.is_none_or(|pod| pod == server.ip())
                };
                is_active(policy, id) == Some(true) && targets.keys().any(is_it)
            };
            let is_seen = |(id, known): &(&EndpointId, &EndpointMemory)| is_same(id, known) && is_there(id);
            if of_it.is_empty() || of_it.iter().any(is_seen) {
                continue;
            }
            self.holding.contested.remove(&server);
            let unseen = of_it.into_iter().filter(|(id, known)| is_same(id, known));
            let unseen = unseen.map(|(id, _)| id.clone());
            self.holding.contested_endpoints.extend(unseen);
        }
        self.holding.contested_endpoints.retain(|id| {
            let declared = policy.endpoint(id).is_some();
            declared && known.get(id).is_none_or(|known| is_same(id, known))
        });
    }
}

/// `None`: there is no such endpoint.
fn is_active(policy: &Policy, id: &EndpointId) -> Option<bool> {
    Some(policy.endpoint(id)?.state == EndpointState::Active)
}

/// Whether an endpoint names the same host, or the same Service. A URL that cannot be read for the moment does not make another one.
fn is_same(id: &EndpointId, before: &Resolved, now: &Resolved) -> bool {
    let Some((before, now)) = before.endpoint(id).zip(now.endpoint(id)) else {
        return false;
    };
    match (&before.pods, &now.pods) {
        (Some(before), Some(now)) => before.service == now.service,
        (None, None) => {
            now.location.is_none() || before.location.is_none() || now.location == before.location
        }
        _ => false,
    }
}
