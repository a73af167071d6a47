//! What is known of a policy, and the answers that follow from it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::Moment;
use distributary_core::decision::{DecisionState, EndpointView, RouteDecision};
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::policy::{DeclaredRole, Endpoint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::answers::{
    ConditionAnswer, DatabaseHealth, EnhancedHealth, FailoverAnswer, Health, Origin, PolicyAnswer,
    ReasonAnswer, ReplicaHealth, ReplicaStatus, Replicas, ServerAnswer, Stats,
};
use crate::engine::BoardEntry;
use crate::render::advice;

mod item;
mod routes;
mod servers;
mod totals;

/// What is known of a policy.
#[derive(Clone, Debug)]
pub struct Facts {
    pub key: PolicyKey,
    /// As the API server has it.
    pub status: ReplicaSetPolicyStatus,
    /// What the engine of this process knows; `None`: it has not decided yet.
    pub entry: Option<BoardEntry>,
    /// The servers of each route, as its EndpointSlices have them; `None`: they were not listed yet.
    pub slices: Option<BTreeMap<String, BTreeSet<SocketAddr>>>,
    /// The present moment.
    pub now: Moment,
}

/// Which figures are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Component {
    Routing,
    Replicas,
}

impl Facts {
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.is_true("Ready")
    }

    #[must_use]
    pub fn health(&self, origin: Origin) -> Health {
        let summary = self.summary();
        let statistics = self.statistics();
        Health {
            healthy: self.is_healthy(),
            database: DatabaseHealth {
                enhanced: EnhancedHealth {
                    healthy: self.is_healthy() && !self.is_true("Degraded"),
                    conditions: self.conditions(),
                    reasons: self.reasons(),
                },
                routing: self.routing(),
                replicas: ReplicaHealth {
                    healthy: summary.healthy,
                    total: summary.total,
                    replica_usage_percentage: statistics.replica_usage_percentage,
                    average_response_time: statistics.average_response_time,
                },
            },
            origin,
        }
    }

    #[must_use]
    pub fn replicas(&self, origin: Origin) -> Replicas {
        Replicas {
            status: ReplicaStatus {
                primary: self.primary().map(|endpoint| self.server(endpoint)),
                replicas: self.replica_servers(),
                summary: self.summary(),
            },
            statistics: self.statistics(),
            origin,
        }
    }

    /// `only`: what was asked for; `None`: everything.
    #[must_use]
    pub fn stats(&self, only: Option<Component>, origin: Origin) -> Stats {
        let wants = |component| only.is_none_or(|only| only == component);
        Stats {
            routing: wants(Component::Routing).then(|| self.routing_stats()),
            replicas: wants(Component::Replicas).then(|| self.replica_stats()),
            origin,
        }
    }

    #[must_use]
    pub fn policy(&self, origin: Origin) -> PolicyAnswer {
        let decision = self.entry.as_ref().map(|entry| &entry.decision);
        let state = decision.map(|decision| match decision.state {
            DecisionState::Waiting { .. } => "Waiting",
            DecisionState::Suspended => "Suspended",
            DecisionState::Decided(_) => "Decided",
        });
        // As declared: a list keeps its order over a failover.
        let is_replica = |endpoint: &&Endpoint| endpoint.declared == DeclaredRole::Replica;
        let (replicas, primary): (Vec<_>, Vec<_>) = self.declared().partition(is_replica);
        let endpoints = primary.into_iter().chain(replicas);
        let endpoints = endpoints.map(|endpoint| self.server(endpoint)).collect();
        PolicyAnswer {
            namespace: self.key.namespace.clone(),
            name: self.key.name.clone(),
            generation: decision.map(|decision| decision.policy.generation),
            decision: state.map(ToOwned::to_owned),
            write_primary: self.write_primary(),
            conditions: self.conditions(),
            reasons: self.reasons(),
            routing: self.routing(),
            endpoints,
            statistics: self.statistics(),
            history: self.history(),
            origin,
        }
    }

    fn condition(&self, type_: &str) -> Option<&Condition> {
        let mut conditions = self.status.conditions.iter();
        conditions.find(|condition| condition.type_ == type_)
    }

    fn is_true(&self, type_: &str) -> bool {
        self.condition(type_)
            .is_some_and(|condition| condition.status == "True")
    }

    fn write_primary(&self) -> Option<String> {
        self.status.primary.as_ref().map(|primary| primary.id.clone())
    }

    fn conditions(&self) -> Vec<ConditionAnswer> {
        let conditions = self.status.conditions.iter();
        let answer = conditions.map(|condition| ConditionAnswer {
            r#type: condition.type_.clone(),
            status: condition.status.clone(),
            reason: condition.reason.clone(),
            message: condition.message.clone(),
            last_transition_time: time(&condition.last_transition_time),
        });
        answer.collect()
    }

    fn history(&self) -> Vec<FailoverAnswer> {
        let failovers = self.status.failovers.iter();
        let answer = failovers.map(|failover| FailoverAnswer {
            at: time(&failover.at),
            route: failover.route.clone(),
            kind: failover.kind.clone(),
            from: failover.from.clone(),
            to: failover.to.clone(),
            reason: failover.reason.clone(),
        });
        answer.collect()
    }

    fn reasons(&self) -> Vec<ReasonAnswer> {
        let views = self.entry.iter().flat_map(BoardEntry::endpoints);
        let odd = views.filter(|view| !advice::is_plain(view.state.reason));
        let answer = odd.map(|view| ReasonAnswer {
            endpoint: view.id.to_string(),
            reason: view.state.reason.word().to_owned(),
            means: advice::of(view.state.reason).means.to_owned(),
            next: advice::next_of(&view.state).map(ToOwned::to_owned),
        });
        answer.collect()
    }

    fn declared(&self) -> impl Iterator<Item = &Endpoint> {
        let entries = self.entry.iter();
        entries.flat_map(|entry| entry.decision.policy.endpoints.iter())
    }

    /// What was decided last of the routes.
    fn decided(&self) -> Option<&RouteDecision> {
        self.entry.as_ref()?.judged.as_ref()?.state.decided()
    }

    /// The server that takes the writes, or took them last; while none of the declared ones did, the declared primary.
    fn primary(&self) -> Option<&Endpoint> {
        let decided = self.decided().and_then(RouteDecision::write_primary);
        let decided = decided.and_then(|view| self.declared().find(|endpoint| endpoint.id == view.id));
        let is_declared = |endpoint: &&Endpoint| endpoint.declared == DeclaredRole::Primary;
        decided.or_else(|| self.declared().find(is_declared))
    }

    /// The other servers, as declared.
    fn replica_servers(&self) -> Vec<ServerAnswer> {
        let primary = self.primary().map(|endpoint| &endpoint.id);
        let others = self.declared().filter(|endpoint| Some(&endpoint.id) != primary);
        others.map(|endpoint| self.server(endpoint)).collect()
    }

    fn view(&self, id: &EndpointId) -> Option<&EndpointView> {
        self.entry.as_ref()?.endpoints().find(|view| view.id == *id)
    }
}

/// To the thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn time(time: &Time) -> String {
    time.0.to_string()
}

#[cfg(test)]
mod tests;
