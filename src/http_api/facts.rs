//! What is known of a policy, and the answers that follow from it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::Moment;
use distributary_core::decision::{DecisionState, EndpointView};
use distributary_core::ids::{EndpointId, PolicyKey, TargetId};
use distributary_core::lag::Lag;
use distributary_core::observation::Role;
use distributary_core::policy::{DeclaredRole, DeclaredServer, Endpoint};
use distributary_core::statistics::{Rates, Summary};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::answers::{
    ConditionAnswer, DatabaseHealth, EnhancedHealth, FailoverAnswer, Health, Origin, PolicyAnswer,
    RatesAnswer, ReasonAnswer, ReplicaHealth, ReplicaStatistics, ReplicaStats, ReplicaStatus, ReplicaSummary,
    Replicas, ResponseTimeAnswer, RouteStats, RouteTargets, RoutingHealth, RoutingStats, ServerAnswer,
    ServerStatistics, Stats, TargetAnswer,
};
use crate::engine::{BoardEntry, TargetFigures};
use crate::render::advice;

mod item;

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
        let mut servers = self.servers(DeclaredRole::Primary);
        Replicas {
            status: ReplicaStatus {
                primary: servers.pop(),
                replicas: self.servers(DeclaredRole::Replica),
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
        let mut endpoints = self.servers(DeclaredRole::Primary);
        endpoints.extend(self.servers(DeclaredRole::Replica));
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
        let answer = odd.map(|view| {
            let advice = advice::of(view.state.reason);
            ReasonAnswer {
                endpoint: view.id.to_string(),
                reason: view.state.reason.word().to_owned(),
                means: advice.means.to_owned(),
                next: advice.next.map(ToOwned::to_owned),
            }
        });
        answer.collect()
    }

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

    fn routing(&self) -> RoutingHealth {
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

    fn declared(&self) -> impl Iterator<Item = &Endpoint> {
        let entries = self.entry.iter();
        entries.flat_map(|entry| entry.decision.policy.endpoints.iter())
    }

    fn view(&self, id: &EndpointId) -> Option<&EndpointView> {
        self.entry.as_ref()?.endpoints().find(|view| view.id == *id)
    }

    /// The newest figures of an endpoint; of pods behind a Service, of the pod that told last.
    fn figures(&self, id: &EndpointId) -> Option<&TargetFigures> {
        let all = self.entry.as_ref()?.figures.iter();
        all.filter(|(target, _)| target.endpoint == *id)
            .map(|(_, figures)| figures)
            .max_by_key(|figures| figures.at)
    }

    /// The statistics of an endpoint; of pods behind a Service, of the pod that told last.
    fn measured(&self, id: &EndpointId) -> Option<Summary> {
        let entry = self.entry.as_ref()?;
        let told = |target: &&TargetId| entry.figures.get(*target).map(|figures| figures.at);
        let targets = entry.statistics.keys().filter(|target| target.endpoint == *id);
        entry.summary(targets.max_by_key(told)?, self.now)
    }

    fn servers(&self, declared: DeclaredRole) -> Vec<ServerAnswer> {
        let all = self.declared().filter(|endpoint| endpoint.declared == declared);
        all.map(|endpoint| self.server(endpoint)).collect()
    }

    fn server(&self, endpoint: &Endpoint) -> ServerAnswer {
        let (view, figures) = (self.view(&endpoint.id), self.figures(&endpoint.id));
        let reason = view.map(|view| view.state.reason);
        let location = view
            .and_then(|view| view.location.as_ref())
            .or(match &endpoint.server {
                DeclaredServer::Host(location) | DeclaredServer::Service { location, .. } => Some(location),
                DeclaredServer::Url => None,
            });
        let lag = figures.and_then(|figures| figures.lag).unwrap_or(Lag::Unknown);
        let (lag_milliseconds, lag_bytes, lag_at_least) = told(lag);
        let load = figures.and_then(|figures| figures.load);
        let obstacle = view.and_then(|view| view.state.obstacle);
        ServerAnswer {
            id: endpoint.id.to_string(),
            name: endpoint.display_name.clone(),
            state: endpoint.state.word().to_owned(),
            healthy: view.map(|view| view.healthy),
            eligible: view.map(|view| view.state.eligible),
            role: Role::word_of(view.and_then(|view| view.state.role)).to_owned(),
            reason: reason.map(|reason| reason.word().to_owned()),
            means: reason.map(|reason| advice::of(reason).means.to_owned()),
            next: reason
                .and_then(|reason| advice::of(reason).next)
                .map(ToOwned::to_owned),
            since: self.since(&endpoint.id),
            cannot_take_over: obstacle.map(|obstacle| obstacle.to_string()),
            cannot_take_over_means: obstacle.map(|obstacle| advice::of_obstacle(obstacle).to_owned()),
            failure: view
                .and_then(|view| view.state.failure)
                .map(|failure| failure.word().to_owned()),
            circuit: view.map(|view| view.state.circuit.state().word().to_owned()),
            host: location.map(|location| location.host.to_string()),
            port: location.map(|location| location.port),
            address: view
                .and_then(|view| view.address)
                .map(|address| address.to_string()),
            region: endpoint.region.clone(),
            weight: endpoint.weight,
            priority: endpoint.priority,
            max_connections: endpoint.max_connections,
            lag_milliseconds,
            lag_bytes,
            lag_at_least,
            response_time_milliseconds: figures.and_then(|figures| figures.check).map(milliseconds),
            connections: load.map(|load| load.sessions),
            server_max_connections: load.map(|load| load.max_connections),
            usable_connections: load.map(|load| load.usable_connections()),
            transactions: load.map(|load| load.transactions),
            statistics: self.measured(&endpoint.id).map(statistics),
        }
    }

    fn since(&self, id: &EndpointId) -> Option<String> {
        let mut all = self.status.endpoints.iter();
        let endpoint = all.find(|endpoint| endpoint.id == id.as_str())?;
        Some(time(&endpoint.since))
    }

    fn summary(&self) -> ReplicaSummary {
        let replicas: Vec<_> = self
            .declared()
            .filter(|endpoint| endpoint.declared == DeclaredRole::Replica)
            .collect();
        let is_judged = self.entry.as_ref().is_some_and(|entry| entry.judged.is_some());
        let with = |has: fn(&EndpointView) -> bool| {
            let views = replicas.iter().filter_map(|endpoint| self.view(&endpoint.id));
            is_judged.then(|| count(views.filter(|view| has(view)).count()))
        };
        ReplicaSummary {
            total: self.entry.as_ref().map(|_| count(replicas.len())),
            healthy: with(|view| view.healthy),
            eligible: with(|view| view.state.eligible),
        }
    }

    fn statistics(&self) -> ReplicaStatistics {
        let replicas = self.servers(DeclaredRole::Replica);
        let time = |server: &ServerAnswer| {
            let response = server.statistics.as_ref()?.response_time.as_ref()?;
            Some(response.mean_milliseconds)
        };
        let times: Vec<_> = replicas.iter().filter_map(time).collect();
        let share = self
            .entry
            .as_ref()
            .and_then(|entry| entry.replica_share(self.now));
        ReplicaStatistics {
            replica_usage_percentage: share.map(|share| rounded(share * 100.0)),
            average_response_time: mean(&times),
            connections: self.sessions(),
            worst_lag_milliseconds: replicas.iter().filter_map(|server| server.lag_milliseconds).max(),
        }
    }

    /// Of all servers that tell them; one that is known by two names counts once.
    fn sessions(&self) -> Option<u64> {
        let entry = self.entry.as_ref()?;
        let counted = |target: &TargetId| {
            let view = self.view(&target.endpoint);
            view.is_none_or(|view| view.state.same_as.is_none())
        };
        let told = entry.figures.iter().filter(|(target, _)| counted(target));
        let sessions = told.filter_map(|(_, figures)| Some(u64::from(figures.load?.sessions)));
        sessions.reduce(|all, own| all + own)
    }

    fn routing_stats(&self) -> RoutingStats {
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

    fn replica_stats(&self) -> ReplicaStats {
        let summary = self.summary();
        ReplicaStats {
            total: summary.total,
            healthy: summary.healthy,
            statistics: self.statistics(),
            endpoints: self.servers(DeclaredRole::Replica),
        }
    }
}

/// Milliseconds, bytes, and whether it is longer than that.
fn told(lag: Lag) -> (Option<u64>, Option<u64>, Option<bool>) {
    match lag {
        Lag::Unknown => (None, None, None),
        Lag::Behind { time, bytes } | Lag::AtLeast { time, bytes } => {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            (Some(time), bytes, Some(matches!(lag, Lag::AtLeast { .. })))
        }
    }
}

fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}

/// To the thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

fn statistics(summary: Summary) -> ServerStatistics {
    let response = summary.response.map(|times| ResponseTimeAnswer {
        checks: times.checks,
        mean_milliseconds: milliseconds(times.mean),
        p50_milliseconds: milliseconds(times.p50),
        p95_milliseconds: milliseconds(times.p95),
    });
    let errors = summary
        .errors
        .into_iter()
        .map(|(class, count)| (class.to_owned(), count));
    let worst = summary
        .worst_lag
        .map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
    ServerStatistics {
        ten_seconds: rates(summary.ten_seconds),
        minute: rates(summary.minute),
        five_minutes: rates(summary.five_minutes),
        response_time: response,
        errors: errors.collect(),
        worst_lag_milliseconds: worst,
    }
}

fn rates(rates: Rates) -> RatesAnswer {
    RatesAnswer {
        transactions: rates.transactions.map(rounded),
        sessions: rates.sessions.map(rounded),
        rows_returned: rates.rows_returned.map(rounded),
        rows_changed: rates.rows_changed.map(rounded),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a policy has at most 64 replicas")]
fn mean(of: &[f64]) -> Option<f64> {
    (!of.is_empty()).then(|| rounded(of.iter().sum::<f64>() / of.len() as f64))
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn time(time: &Time) -> String {
    time.0.to_string()
}

#[cfg(test)]
mod tests;
