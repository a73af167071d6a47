//! What the parts of a policy uphold together.

use std::collections::{BTreeMap, BTreeSet};

use super::endpoint::{DeclaredRole, Endpoint};
use super::parts::PolicyParts;
use super::settings::{IdentityRule, LagSource, MOST_WEIGHT, PrimaryRole, SHORTEST_ATTEMPT};
use crate::ids::{ClassName, EndpointId};
use crate::routing::{Class, Destination, ReadFallback, is_route_name};

/// What must hold of the parts of a policy together, and does not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPolicy {
    #[error("the first endpoint, and no other, must be the declared primary")]
    Primary,
    #[error("the id {0} of the declared primary must not be that of a replica")]
    IdOfPrimary(EndpointId),
    /// `at`: its index among the endpoints.
    #[error("the id {id} must be used once")]
    IdTwice { id: EndpointId, at: usize },
    #[error("endpoint {second} must name another server than {first}")]
    SameServer { first: EndpointId, second: EndpointId },
    /// Of the endpoint at this index, as of all that follow.
    #[error("the weight of endpoint {0} must be at most {MOST_WEIGHT}")]
    Weight(usize),
    #[error("endpoint {0} must be for at least 1 connection")]
    NoConnections(usize),
    #[error("the port of endpoint {0} must not be 0")]
    Port(usize),
    #[error("endpoint {0} must return at its largest lag or below")]
    Recover(usize),
    #[error("the lag query of endpoint {0} must not be empty")]
    LagQuery(usize),
    /// `at`: its index among the endpoints, as of the two that follow.
    #[error("endpoint {at} must be dedicated to the class {class} once")]
    DedicatedTwice { class: ClassName, at: usize },
    #[error("there must be the class {class} that endpoint {at} is dedicated to")]
    DedicatedUnknown { class: ClassName, at: usize },
    #[error("the class {class} that endpoint {at} is dedicated to must not be one of the primary")]
    DedicatedToPrimary { class: ClassName, at: usize },
    #[error("acceptPrimary must be the id of an endpoint")]
    AcceptedUnknown,
    #[error("the writes must not move between servers whose identity is not checked")]
    MovesUnchecked,
    #[error("failureThreshold must be at least 1")]
    FailureThreshold,
    #[error("successThreshold must be at least 1")]
    SuccessThreshold,
    #[error("there must be a traffic step, each must be above the one before it, and the first above 0")]
    TrafficSteps,
    #[error("maxResetTimeout must be at least resetTimeout")]
    ResetTimeouts,
    #[error("{threshold} attempts of at least {SHORTEST_ATTEMPT:?} must fit into the failover timeout")]
    Attempts { threshold: u32 },
    /// `at`: its index among the classes.
    #[error("the class {class} must be there once")]
    ClassTwice { class: ClassName, at: usize },
    /// The name of the class at this index is that of another route, as of all that follow.
    #[error("class {0} must not have the name of another route")]
    ClassName(usize),
    #[error("the selector of class {0} must have ids of endpoints")]
    SelectorUnknown(usize),
    #[error("the read fallback of class {0} must not have the primary: replicas alone serve the class")]
    FallbackToPrimary(usize),
    /// `at`: the indexes of both.
    #[error("an operation must be of one class; {operation} is of two")]
    OperationTwice { operation: String, at: [usize; 2] },
    #[error("the region {0} must be there once")]
    RegionTwice(String),
}

/// Those that do not hold.
fn failing(rules: impl IntoIterator<Item = (bool, InvalidPolicy)>) -> impl Iterator<Item = InvalidPolicy> {
    let rules = rules.into_iter();
    rules.filter_map(|(holds, broken)| (!holds).then_some(broken))
}

impl PolicyParts {
    pub(super) fn broken(&self) -> Vec<InvalidPolicy> {
        let mut broken = self.broken_endpoints();
        broken.extend(self.broken_failover());
        broken.extend(self.broken_breaker());
        broken.extend(self.broken_classes());
        broken.extend(self.broken_regions());
        broken
    }

    fn broken_failover(&self) -> impl Iterator<Item = InvalidPolicy> {
        let accepted = self.failover.accept_primary.as_ref();
        let moves = self.failover.primary_role == PrimaryRole::Follow;
        failing([
            (
                accepted.is_none_or(|id| self.endpoint(id).is_some()),
                InvalidPolicy::AcceptedUnknown,
            ),
            (
                self.identity != IdentityRule::Unchecked || !moves,
                InvalidPolicy::MovesUnchecked,
            ),
        ])
    }

    fn broken_breaker(&self) -> impl Iterator<Item = InvalidPolicy> {
        let (breaker, threshold) = (&self.breaker, self.breaker.failure_threshold);
        let steps = &breaker.traffic_steps;
        let rising = steps.windows(2).all(|pair| pair[0] < pair[1]);
        let attempts = SHORTEST_ATTEMPT.saturating_mul(threshold);
        failing([
            (threshold > 0, InvalidPolicy::FailureThreshold),
            (breaker.success_threshold > 0, InvalidPolicy::SuccessThreshold),
            (
                rising && steps.first().is_some_and(|first| first.get() > 0),
                InvalidPolicy::TrafficSteps,
            ),
            (
                breaker.reset_timeout <= breaker.max_reset_timeout,
                InvalidPolicy::ResetTimeouts,
            ),
            (
                self.probing.failover_timeout >= attempts,
                InvalidPolicy::Attempts { threshold },
            ),
        ])
    }

    fn broken_endpoints(&self) -> Vec<InvalidPolicy> {
        let mut broken = Vec::new();
        let primaries = (0_usize..)
            .zip(&self.endpoints)
            .filter(|(_, endpoint)| endpoint.declared == DeclaredRole::Primary);
        if primaries.map(|(at, _)| at).ne([0]) {
            broken.push(InvalidPolicy::Primary);
        }
        let (mut ids, mut servers) = (BTreeSet::new(), BTreeMap::new());
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let (id, primary) = (&endpoint.id, self.endpoints.first());
            if at > 0 && primary.is_some_and(|primary| primary.id == *id) {
                broken.push(InvalidPolicy::IdOfPrimary(id.clone()));
            } else if !ids.insert(id) {
                broken.push(InvalidPolicy::IdTwice { id: id.clone(), at });
            }
            let server = endpoint.server.key().filter(|_| endpoint.is_watched());
            if let Some(server) = server {
                let first = servers.entry(server).or_insert(id);
                if *first != id {
                    broken.push(InvalidPolicy::SameServer {
                        first: (*first).clone(),
                        second: id.clone(),
                    });
                }
            }
            broken.extend(broken_endpoint(endpoint, at));
            broken.extend(self.broken_dedication(endpoint, at));
        }
        broken
    }

    /// At most one fault for each class that an endpoint names.
    fn broken_dedication(&self, endpoint: &Endpoint, at: usize) -> Vec<InvalidPolicy> {
        let mut names = BTreeSet::new();
        let broken = |class: &ClassName| {
            let (known, class) = (self.routing.class(class), class.clone());
            if !names.insert(class.clone()) {
                return Some(InvalidPolicy::DedicatedTwice { class, at });
            }
            match known {
                None => Some(InvalidPolicy::DedicatedUnknown { class, at }),
                Some(known) if !known.has_route() => Some(InvalidPolicy::DedicatedToPrimary { class, at }),
                Some(_) => None,
            }
        };
        endpoint.dedicated_to.iter().filter_map(broken).collect()
    }

    fn broken_classes(&self) -> Vec<InvalidPolicy> {
        let (mut names, mut operations, mut broken) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        for (at, class) in self.routing.classes.iter().enumerate() {
            if !names.insert(&class.name) {
                let class = class.name.clone();
                broken.push(InvalidPolicy::ClassTwice { class, at });
            }
            broken.extend(self.broken_class(class, at));
            for operation in &class.operations {
                if let Some(first) = operations.insert(operation.as_str(), at) {
                    broken.push(InvalidPolicy::OperationTwice {
                        operation: operation.clone(),
                        at: [first, at],
                    });
                }
            }
        }
        broken
    }

    fn broken_class(&self, class: &Class, at: usize) -> impl Iterator<Item = InvalidPolicy> {
        let mut selected = class.selector.ids.iter();
        let mut falls_back = class.read_fallback.iter().flatten();
        let to_primary = falls_back.any(|fallback| *fallback == ReadFallback::Primary);
        failing([
            (!is_route_name(class.name.as_str()), InvalidPolicy::ClassName(at)),
            (
                selected.all(|id| self.endpoint(id).is_some()),
                InvalidPolicy::SelectorUnknown(at),
            ),
            (
                class.destination != Destination::ReplicasOnly || !to_primary,
                InvalidPolicy::FallbackToPrimary(at),
            ),
        ])
    }

    fn broken_regions(&self) -> impl Iterator<Item = InvalidPolicy> {
        let mut names = BTreeSet::new();
        let regions = self.routing.regions.iter();
        let twice = regions.filter(move |region| !names.insert(&region.name));
        twice.map(|region| InvalidPolicy::RegionTwice(region.name.clone()))
    }
}

fn broken_endpoint(endpoint: &Endpoint, at: usize) -> impl Iterator<Item = InvalidPolicy> {
    let (lag, port) = (&endpoint.lag, endpoint.server.port());
    let asks = match &lag.source {
        LagSource::Query(query) => !query.is_empty(),
        LagSource::Wal | LagSource::None => true,
    };
    failing([
        (endpoint.weight <= MOST_WEIGHT, InvalidPolicy::Weight(at)),
        (endpoint.max_connections > 0, InvalidPolicy::NoConnections(at)),
        (port != Some(0), InvalidPolicy::Port(at)),
        (lag.recover <= lag.max, InvalidPolicy::Recover(at)),
        (asks, InvalidPolicy::LagQuery(at)),
    ])
}
