//! An edit may name a server by another id: two endpoints exchange their hosts, or one gets a new id. The server is the same by its host
//! and port, or by its pod and Service: what is known of it goes on under the new id, and the writes stay where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::policy::PolicyState;
use super::watched::WatchedTarget;
use crate::ids::{EndpointId, TargetId};
use crate::policy::Endpoint;
use crate::resolved::{Resolved, ResolvedEndpoint};

/// The ids of targets since an edit, by those from before it, where they are others.
struct Renames(BTreeMap<TargetId, TargetId>);

impl Renames {
    /// Moves the targets that are `wanted` by other ids from `lost` to `known`, under those ids.
    fn find(
        wanted: &BTreeMap<TargetId, (&Endpoint, &ResolvedEndpoint)>,
        known: &mut BTreeMap<TargetId, WatchedTarget>,
        lost: &mut BTreeMap<TargetId, WatchedTarget>,
    ) -> Self {
        let mut renames = BTreeMap::new();
        for (id, (_, resolved)) in wanted {
            if known.contains_key(id) {
                continue;
            }
            let found = lost
                .iter()
                .find(|(before, target)| target.is_named(before, id, resolved));
            let Some(before) = found.map(|(before, _)| before.clone()) else {
                continue;
            };
            if let Some(target) = lost.remove(&before) {
                known.insert(id.clone(), target);
                renames.insert(before, id.clone());
            }
        }
        Self(renames)
    }

    /// The id since the edit.
    fn of(&self, id: &TargetId) -> TargetId {
        self.0.get(id).unwrap_or(id).clone()
    }
}

impl PolicyState {
    /// Moves the targets that are `wanted` by other ids from `lost` to `known`: what is known by their ids is known by the new ones, which
    /// are returned. `contested`: servers that are contested.
    pub(super) fn rename(
        &mut self,
        wanted: &BTreeMap<TargetId, (&Endpoint, &ResolvedEndpoint)>,
        known: &mut BTreeMap<TargetId, WatchedTarget>,
        lost: &mut BTreeMap<TargetId, WatchedTarget>,
        contested: &mut [(TargetId, SocketAddr)],
    ) -> BTreeSet<TargetId> {
        let renames = Renames::find(wanted, known, lost);
        for (id, _) in contested {
            *id = renames.of(id);
        }
        self.rename_holder(&renames);
        let open = std::mem::take(&mut self.request.open);
        self.request.open = open.iter().map(|id| renames.of(id)).collect();
        let routes = [&mut self.routes.rw, &mut self.routes.ro].into_iter();
        let routes = routes.chain(self.routes.classes.values_mut());
        for route in routes.chain(self.routes.regions.values_mut()) {
            for member in &mut route.members {
                member.target = renames.of(&member.target);
            }
        }
        // Who had one of these ids before is watched no more.
        for id in renames.0.values().filter(|id| !renames.0.contains_key(*id)) {
            self.aliases.forget(id);
        }
        self.aliases.rename(|id| renames.of(id));
        renames.0.into_values().collect()
    }

    fn rename_holder(&mut self, renames: &Renames) {
        if let Some(holder) = &mut self.holding.holder {
            let now = renames.of(holder);
            if self.writes_at.as_ref() == Some(&holder.endpoint) {
                self.writes_at = Some(now.endpoint.clone());
            }
            *holder = now;
        }
        if let Some((upstream, _)) = &mut self.upstream {
            *upstream = renames.of(upstream);
        }
    }

    /// Of whose pods one was seen as a standby is known by the Service, also where another endpoint names it since.
    pub(super) fn keep_standby_services(&mut self, before: &Resolved) {
        let service = |resolved: &Resolved, id: &EndpointId| {
            Some(resolved.endpoint(id)?.pods.as_ref()?.service.clone())
        };
        let (policy, resolved) = (Arc::clone(&self.policy), Arc::clone(&self.resolved));
        let named = |(id, shown): (EndpointId, Option<u64>)| {
            let name = service(before, &id)?;
            let names_it = |id: &EndpointId| service(&resolved, id).as_ref() == Some(&name);
            if names_it(&id) {
                return Some((id, shown));
            }
            let mut ids = policy.endpoints.iter().map(|endpoint| &endpoint.id);
            Some((ids.find(|other| names_it(other))?.clone(), shown))
        };
        let known = std::mem::take(&mut self.standby_services);
        self.standby_services = known.into_iter().filter_map(named).collect();
    }
}
