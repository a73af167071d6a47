//! Who serves, route by route.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::ids::{ClassName, EndpointId, TargetId};
use crate::policy::Policy;
use crate::routing::{DEFAULT, WRITES, of_region};
use crate::words::words;

/// Who serves.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct RoutingPlan {
    pub rw: Route,
    /// Of reads that no class names.
    pub ro: Route,
    /// Of every class.
    pub classes: BTreeMap<ClassName, Route>,
    /// Reads from one region: its own servers first, then those of its fallbacks in order.
    pub regions: BTreeMap<String, Route>,
}

/// The targets of one Service.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Route {
    pub state: RouteState,
    pub members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum RouteState {
    /// Its members are well.
    Served,
    /// The read fallback serves.
    Fallback,
    /// Nobody is well; who served is kept, as the fault may be the operator's own network.
    Held,
    /// Nobody may serve.
    #[default]
    Empty,
}

/// One target in a route.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Member {
    pub target: TargetId,
    pub address: IpAddr,
    pub port: u16,
    /// Share in hundredths: weight 1 fully in is 100.
    pub weight: u32,
    /// Whether an EndpointSlice, which knows no shares, holds it.
    pub in_slice: bool,
    /// Whether the URIs hold it, which know no shares either, and need no Service.
    pub in_uris: bool,
    /// Whether the Service of the route can carry its address; where it has none, true.
    pub carried: bool,
    /// Lower ones first: those of higher ones serve when none of the lower ones can.
    pub order: u16,
    pub admission: Admission,
}

/// On what ground a target is in a route.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Admission {
    Eligible,
    /// Its circuit is not closed, but its newest check was good and nobody better is left.
    #[strum(serialize = "AdmittedEarly")]
    Early,
    Fallback,
    Held,
}

impl RoutingPlan {
    /// The places of a target: the one for reads that no class names, and that for writes.
    #[must_use]
    pub fn membership(&self, target: &TargetId) -> (Option<&Member>, Option<&Member>) {
        (self.ro.member(target), self.rw.member(target))
    }

    /// Its first place for reads: for those that no class names, or those of a class that it is dedicated to.
    #[must_use]
    pub fn reads(&self, policy: &Policy, target: &TargetId) -> Option<&Member> {
        let dedicated_to = policy
            .endpoint(&target.endpoint)
            .map(|endpoint| &endpoint.dedicated_to);
        let mut own = dedicated_to.into_iter().flatten();
        self.ro
            .member(target)
            .or_else(|| own.find_map(|class| self.classes.get(class)?.member(target)))
    }

    /// Its first place where it is carried, or else the first one: for reads that no class names, for writes, for those of a
    /// class with a route of its own or from a region.
    #[must_use]
    pub fn member(&self, policy: &Policy, target: &TargetId) -> Option<&Member> {
        let (reads, writes) = self.membership(target);
        let own = policy
            .routing
            .classes
            .iter()
            .filter(|class| policy.has_own_route(class));
        let of_classes = own.filter_map(|class| self.classes.get(&class.name));
        let others = of_classes.chain(self.regions.values());
        let others = others
            .filter_map(|route| route.member(target))
            .filter(|member| member.in_slice || !member.carried);
        let places: Vec<_> = reads.into_iter().chain(writes).chain(others).collect();
        let carried = places.iter().find(|member| member.carried);
        carried.or(places.first()).copied()
    }

    /// Who is in a route whose Service cannot carry its address, by the name of the route; each route that has somebody once.
    #[must_use]
    pub fn uncarried(&self) -> Vec<(String, Vec<EndpointId>)> {
        let first = [(WRITES, &self.rw), (DEFAULT, &self.ro)].map(|(name, route)| (name.to_owned(), route));
        let classes = self.classes.iter().map(|(name, route)| (name.to_string(), route));
        let regions = self.regions.iter().map(|(name, route)| (of_region(name), route));
        let all = first.into_iter().chain(classes).chain(regions);
        all.map(|(name, route)| (name, route.endpoints(|member| !member.carried)))
            .filter(|(_, endpoints)| !endpoints.is_empty())
            .collect()
    }
}

impl RoutingPlan {
    /// The holder is of another database, and a person is asked: `rw` stays as it was, and so does every route for reads that
    /// no server of the known database is left for; `all`: every route, because no database is known. `stays`: a server that
    /// nothing but its database speaks against.
    pub fn hold(&mut self, before: &Self, all: bool, stays: impl Fn(&TargetId) -> bool) {
        self.rw = before.rw.held(&stays);
        let classes = self
            .classes
            .iter_mut()
            .map(|(name, route)| (route, before.classes.get(name)));
        let regions = self
            .regions
            .iter_mut()
            .map(|(name, route)| (route, before.regions.get(name)));
        let reads = std::iter::once((&mut self.ro, Some(&before.ro)));
        for (route, before) in reads.chain(classes).chain(regions) {
            if all || route.state == RouteState::Empty {
                *route = before.map_or_else(Route::default, |before| before.held(&stays));
            }
        }
    }
}

impl Route {
    /// The same, of which nobody is known to be well.
    fn held(&self, stays: impl Fn(&TargetId) -> bool) -> Self {
        let held = |member: &Member| Member {
            admission: Admission::Held,
            ..member.clone()
        };
        let members: Vec<_> = self
            .members
            .iter()
            .filter(|member| stays(&member.target))
            .map(held)
            .collect();
        let state = if members.is_empty() {
            RouteState::Empty
        } else {
            RouteState::Held
        };
        Self { state, members }
    }

    /// The endpoints whose servers a slice of it holds, in order.
    #[must_use]
    pub fn serving(&self) -> Vec<EndpointId> {
        self.endpoints(|member| member.in_slice)
    }

    /// Whether it is served, but its Service can carry the address of no server of it.
    #[must_use]
    pub fn is_uncarried(&self) -> bool {
        !self.members.is_empty() && self.members.iter().all(|member| !member.carried)
    }

    /// Those of them that stand in for replicas.
    #[must_use]
    pub fn stand_ins(&self) -> Vec<EndpointId> {
        self.endpoints(|member| member.in_slice && member.admission == Admission::Fallback)
    }

    fn endpoints(&self, which: impl Fn(&Member) -> bool) -> Vec<EndpointId> {
        let members = self.members.iter().filter(|member| which(member));
        let mut endpoints = Vec::new();
        for id in members.map(|member| &member.target.endpoint) {
            if !endpoints.contains(id) {
                endpoints.push(id.clone());
            }
        }
        endpoints
    }

    pub(super) fn member(&self, target: &TargetId) -> Option<&Member> {
        self.members.iter().find(|member| member.target == *target)
    }
}

words!(RouteState, Admission);
