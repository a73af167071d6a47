//! What the parts of a policy uphold together.

use std::collections::BTreeSet;

use super::endpoint::DeclaredRole;
use super::parts::PolicyParts;
use super::settings::{IdentityRule, PrimaryRole, SHORTEST_ATTEMPT};
use crate::ids::{ClassName, EndpointId};

/// What must hold of the parts of a policy together, and does not.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidPolicy {
    #[error("the first endpoint, and no other, must be the declared primary")]
    Primary,
    #[error("the id {0} of the declared primary must not be that of a replica")]
    IdOfPrimary(EndpointId),
    #[error("the id {id} must be used once")]
    IdTwice {
        id: EndpointId,
        /// Its place among the endpoints.
        at: usize,
    },
    #[error("endpoint {0} must name another server than those before it")]
    SameServer(EndpointId),
    #[error("acceptPrimary must be the id of an endpoint")]
    AcceptedUnknown,
    #[error("servers whose identity is not checked must not be followed")]
    FollowsUnchecked,
    #[error("failureThreshold must be at least 1")]
    FailureThreshold,
    #[error("successThreshold must be at least 1")]
    SuccessThreshold,
    #[error("there must be a traffic step, and each must be above the one before it")]
    TrafficSteps,
    #[error("{threshold} attempts of at least {SHORTEST_ATTEMPT:?} must fit into the failover timeout")]
    Attempts { threshold: u32 },
    #[error("the class {0} must be there once")]
    ClassTwice(ClassName),
    #[error("an operation must be of one class; {0} is of two")]
    OperationTwice(String),
}

impl InvalidPolicy {
    /// Whether the endpoints alone break it.
    #[must_use]
    pub const fn is_of_endpoints(&self) -> bool {
        matches!(
            self,
            Self::Primary | Self::IdOfPrimary(_) | Self::IdTwice { .. } | Self::SameServer(_)
        )
    }
}

impl PolicyParts {
    pub(super) fn broken(&self) -> Vec<InvalidPolicy> {
        let mut broken = self.broken_endpoints();
        let accepted = self.failover.accept_primary.as_ref();
        if accepted.is_some_and(|id| self.endpoint(id).is_none()) {
            broken.push(InvalidPolicy::AcceptedUnknown);
        }
        if self.identity == IdentityRule::Unchecked && self.failover.primary_role == PrimaryRole::Follow {
            broken.push(InvalidPolicy::FollowsUnchecked);
        }
        broken.extend(self.broken_breaker());
        let threshold = self.breaker.failure_threshold;
        if self.probing.failover_timeout < SHORTEST_ATTEMPT.saturating_mul(threshold) {
            broken.push(InvalidPolicy::Attempts { threshold });
        }
        broken.extend(self.broken_classes());
        broken
    }

    fn broken_breaker(&self) -> impl Iterator<Item = InvalidPolicy> {
        let breaker = &self.breaker;
        let rising = breaker.traffic_steps.windows(2).all(|pair| pair[0] < pair[1]);
        let broken = [
            (breaker.failure_threshold == 0, InvalidPolicy::FailureThreshold),
            (breaker.success_threshold == 0, InvalidPolicy::SuccessThreshold),
            (
                !rising || breaker.traffic_steps.is_empty(),
                InvalidPolicy::TrafficSteps,
            ),
        ];
        broken.into_iter().filter_map(|(is, broken)| is.then_some(broken))
    }

    fn broken_endpoints(&self) -> Vec<InvalidPolicy> {
        let mut broken = Vec::new();
        let primaries = (0_usize..)
            .zip(&self.endpoints)
            .filter(|(_, endpoint)| endpoint.declared == DeclaredRole::Primary);
        if primaries.map(|(at, _)| at).ne([0]) {
            broken.push(InvalidPolicy::Primary);
        }
        let (mut ids, mut servers) = (BTreeSet::new(), BTreeSet::new());
        for (at, endpoint) in self.endpoints.iter().enumerate() {
            let (id, primary) = (&endpoint.id, self.endpoints.first());
            if at > 0 && primary.is_some_and(|primary| primary.id == *id) {
                broken.push(InvalidPolicy::IdOfPrimary(id.clone()));
            } else if !ids.insert(id) {
                broken.push(InvalidPolicy::IdTwice { id: id.clone(), at });
            }
            let server = endpoint.server.key().filter(|_| endpoint.is_watched());
            if server.is_some_and(|server| !servers.insert(server)) {
                broken.push(InvalidPolicy::SameServer(endpoint.id.clone()));
            }
        }
        broken
    }

    fn broken_classes(&self) -> Vec<InvalidPolicy> {
        let (mut names, mut operations, mut broken) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for class in &self.routing.classes {
            if !names.insert(&class.name) {
                broken.push(InvalidPolicy::ClassTwice(class.name.clone()));
            }
            let twice = class
                .operations
                .iter()
                .filter(|operation| !operations.insert(operation.as_str()));
            broken.extend(twice.map(|operation| InvalidPolicy::OperationTwice(operation.clone())));
        }
        broken
    }
}
