//! The status: conditions, endpoints, summary. It changes on transitions only: a time is kept while what it dates is
//! unchanged, so that an unchanged world gives an equal status.

mod conditions;
mod history;
mod memory;
mod progress;
mod reads;
mod refusals;
mod serving;
mod stalled;
mod strategy;
mod words;
mod writes;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::cause;
use distributary_api::{
    ClassStatus, EndpointStatus, LagStatus, PrimaryStatus, ReplicaSetPolicyStatus, RoutingStatus,
    ServerStatus, Summary, TargetStatus,
};
use distributary_core::Moment;
use distributary_core::breaker::Circuit;
use distributary_core::config_maps::TooLarge;
use distributary_core::decision::{
    ClassView, Decision, DecisionState, EndpointView, RouteDecision, TargetState, TargetView,
};
use distributary_core::health::Reason;
use distributary_core::ids::ClassName;
use distributary_core::lag_reading::seconds;
use distributary_core::login::UnresolvedSecret;
use distributary_core::observation::Role;
use distributary_core::outputs::Outputs;
use distributary_core::policy::{DeclaredRole, Policy};
pub use memory::{agree, carried, memory};
pub use progress::{rivals_told, tells_unsigned};
pub use refusals::{Refusal, RefusedWrite};
pub use words::{ConditionReason, ConditionStatus, ConditionType, FailoverKind};

/// Times that differ by no more are the same, told by clocks in whole seconds.
const ROUNDING: SignedDuration = SignedDuration::from_secs(2);
/// A request for checks may name a time that is so far ahead of our clock.
const MOST_SKEW: std::time::Duration = std::time::Duration::from_mins(5);

/// What one pass knows of a policy.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// The generation of the object that was read.
    pub generation: i64,
    /// What is wrong with the spec, one problem a line; empty: nothing.
    pub problems: &'a [String],
    /// What is wrong with the Secrets and the Services that it names.
    pub unresolved: &'a [UnresolvedReference],
    /// The newest decision; of the last valid spec where this one is not.
    pub decision: Option<&'a Decision>,
    /// Which objects are written for it.
    pub outputs: Option<&'a Outputs>,
    pub written: WriteOutcome,
    /// Whether the choice of the write primary is in the status that was read back.
    pub remembered: bool,
    /// Whether that status says who wrote it.
    pub signed: bool,
    /// The revision of the routes that the pass rendered.
    pub revision: Option<&'a str>,
    /// The present moment, of the clock that the decision was made by.
    pub moment: Moment,
}

/// A Secret or a Service that could not be read.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum UnresolvedReference {
    Secret(UnresolvedSecret),
    /// As a message that names it and its problem.
    Service(String),
}

impl fmt::Display for UnresolvedReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secret(problem) => problem.fmt(f),
            Self::Service(problem) => f.write_str(problem),
        }
    }
}

/// The result of writing the routes in this pass.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum WriteOutcome {
    /// They are as decided.
    Programmed,
    /// There is nothing to write yet.
    Waiting,
    /// The route of the writes leads to these servers as it was found, and its holder has not proven yet that it takes the writes.
    AwaitingProof(BTreeSet<SocketAddr>),
    /// The mode writes nothing.
    Observing,
    Suspended,
    /// Objects of our names that are not ours, as `Service orders-rw`.
    NameConflict(Vec<String>),
    /// Slices of others for our Services, which kube-proxy would merge with ours.
    ForeignEndpoints(Vec<String>),
    /// Another operator undoes what this one writes: the Leases of both, as far as they have one.
    ForeignOperator(Vec<String>),
    /// ConfigMaps that would hold more than they can, and stay as they are; all else is written.
    TooLarge(Vec<TooLarge>),
    /// These writes were refused, or got no answer, and will be tried again; all that does not depend on them is written.
    Refused(Vec<RefusedWrite>),
}

/// The status to write. `previous`: as it is now; `now`: the wall clock.
#[must_use]
pub fn status(report: &Report<'_>, previous: &ReplicaSetPolicyStatus, now: &Time) -> ReplicaSetPolicyStatus {
    // A restart of the operator is no transition: what it says of this generation stands until there is a decision.
    let known = previous.observed_generation == Some(report.generation);
    if known && report.written == WriteOutcome::Waiting && report.problems.is_empty() {
        return previous.clone();
    }
    let clock = Clock {
        now,
        moment: report.moment,
    };
    let endpoint = |view: &EndpointView| endpoint(view, &previous.endpoints, clock);
    let views = report.decision.and_then(|decision| decision.state.endpoints());
    let endpoints: Option<Vec<_>> = views.map(|views| views.iter().map(endpoint).collect());
    let told = report.decision.zip(endpoints.as_ref());
    let told = told.map(|(decision, endpoints)| as_told(decision, endpoints));
    let report = &Report {
        decision: told.as_ref().or(report.decision),
        ..report.clone()
    };
    let mut status = ReplicaSetPolicyStatus {
        observed_generation: Some(report.generation),
        conditions: conditions::render(report, &previous.conditions, now),
        ..previous.clone()
    };
    let Some(decision) = report.decision else {
        return status;
    };
    answer(&mut status, decision, now);
    if let (Some(decided), Some(endpoints)) = (decision.state.decided(), endpoints) {
        status.endpoints = endpoints;
        status.summary = Some(summary(decided));
    }
    let (Some(decided), Some(outputs)) = (decision.state.decided(), report.outputs) else {
        return status;
    };
    let routed = matches!(
        report.written,
        WriteOutcome::Programmed | WriteOutcome::TooLarge(_)
    );
    if routed || report.written == WriteOutcome::Observing {
        let routes = history::routes(&decision.policy, outputs, &decided.plan);
        if routed {
            status.failovers = history::failovers(decision, decided, &routes, previous, now);
        }
        status.routes = routes;
    }
    // The decision stands whether it was written or not: the next process goes on from it.
    if report.written != WriteOutcome::Waiting {
        status.system_identifier = decided.holding.identity.map(|identity| identity.to_string());
        status.primary = primary(&decision.policy, decided);
        status.memory = carried(decision, previous.memory.as_ref());
    }
    if let (Some(revision), WriteOutcome::Programmed) = (report.revision, &report.written) {
        status.routing = Some(routing(outputs, revision, previous.routing.as_ref(), now));
    }
    status
}

/// The decision with the lags that the status tells: they stay as they were told while nothing else changes, whichever process
/// measured them.
fn as_told(decision: &Decision, endpoints: &[EndpointStatus]) -> Decision {
    let mut decision = decision.clone();
    if let DecisionState::Decided(decided) = &mut decision.state {
        for (view, told) in decided.endpoints.iter_mut().zip(endpoints) {
            view.state.lag = told.server.lag.as_ref().map(cause::reading);
            for (pod, told) in view.targets.iter_mut().zip(&told.targets) {
                pod.state.lag = told.server.lag.as_ref().map(cause::reading);
            }
        }
    }
    decision
}

/// The wall clock beside the clock of the decisions.
#[derive(Clone, Copy)]
struct Clock<'a> {
    now: &'a Time,
    moment: Moment,
}

/// Notes that a request for checks was answered: in whole seconds, never before the time that it names itself.
fn answer(status: &mut ReplicaSetPolicyStatus, decision: &Decision, now: &Time) {
    if decision.answered.is_none() || decision.answered == status.checked_for {
        return;
    }
    let second = std::time::Duration::from_secs(1);
    let next = now.0.checked_add(second).unwrap_or(now.0);
    let requested: Option<Timestamp> = decision.answered.as_ref().and_then(|text| text.parse().ok());
    let soon = now.0.checked_add(MOST_SKEW).unwrap_or(now.0);
    let at = requested
        .filter(|requested| *requested <= soon)
        .map_or(next, |requested| requested.max(next));
    status.checked_at = Some(Time(at));
    status.checked_for.clone_from(&decision.answered);
}

fn endpoint(view: &EndpointView, previous: &[EndpointStatus], clock: Clock<'_>) -> EndpointStatus {
    let before = previous.iter().find(|before| before.id == view.id.as_str());
    let pods = before.map(|before| before.targets.as_slice()).unwrap_or_default();
    let location = view.location.as_ref();
    let mut status = EndpointStatus {
        id: view.id.to_string(),
        host: location.map(|location| location.host.to_string()),
        port: location.map(|location| location.port),
        address: view.address.map(|address| address.to_string()),
        server: server(&view.state, before.map(|before| &before.server), clock),
        sessions: view.sessions,
        targets: view
            .targets
            .iter()
            .map(|view| target(view, pods, clock))
            .collect(),
        since: clock.now.clone(),
    };
    if let Some(before) = before {
        status.since = before.since.clone();
        if *before != status {
            status.since = clock.now.clone();
        }
    }
    status
}

fn target(view: &TargetView, previous: &[TargetStatus], clock: Clock<'_>) -> TargetStatus {
    let address = view.address.to_string();
    let before = previous.iter().find(|before| before.address == address);
    TargetStatus {
        server: server(&view.state, before.map(|before| &before.server), clock),
        address,
    }
}

fn server(state: &TargetState, before: Option<&ServerStatus>, clock: Clock<'_>) -> ServerStatus {
    let known = before.map(|before| before.classes.as_slice()).unwrap_or_default();
    let retry = before.and_then(|before| before.retry_at.as_ref());
    let mut status = ServerStatus {
        retry_at: retry_at(state.circuit, retry, clock),
        classes: classes(&state.classes, known, clock),
        ..in_words(state)
    };
    let lag = std::mem::replace(&mut status.lag, before.and_then(|before| before.lag.clone()));
    if before != Some(&status) {
        let measured = state.lag.and_then(|reading| measured_at(reading.measured, clock));
        status.lag = lag.map(|lag| LagStatus {
            measured_at: measured,
            ..lag
        });
    }
    status
}

/// The wall-clock time of a moment that is past, in whole seconds.
fn measured_at(measured: Moment, clock: Clock<'_>) -> Option<Time> {
    let age = clock.moment.since(measured);
    let at = clock.now.0.checked_sub(age).ok()?;
    Some(Time(Timestamp::from_second(at.as_second()).ok()?))
}

/// A state in the words of the status, without the times of its circuits.
#[must_use]
pub fn in_words(state: &TargetState) -> ServerStatus {
    ServerStatus {
        role: Role::word_of(state.role).to_owned(),
        seen_as_standby: state.seen_as_standby,
        cannot_take_over: state.obstacle.map(|obstacle| obstacle.to_string()),
        circuit: state.circuit.state().to_string(),
        trips: state.trips,
        retry_at: None,
        eligible: state.eligible,
        reason: state.reason.to_string(),
        held_despite: state.despite.map(|reason| reason.to_string()),
        lag: state.lag.as_ref().map(|reading| cause::lag(reading, None)),
        same_server_as: state.same_as.as_ref().map(ToString::to_string),
        failure: state.failure.map(|failure| failure.to_string()),
        sqlstate: state.sqlstate.map(|code| code.to_string()),
        connection_limit: state.role_limit,
        usable_connections: state.usable_connections,
        lag_answer: state.no_lag.as_ref().map(ToString::to_string),
        pooler: state.pooled,
        name_rotates: state.name_rotates,
        effective_weight: state.weight,
        classes: state
            .classes
            .iter()
            .map(|(name, view)| class(name, view, None))
            .collect(),
    }
}

fn classes(
    views: &BTreeMap<ClassName, ClassView>,
    previous: &[ClassStatus],
    clock: Clock<'_>,
) -> Vec<ClassStatus> {
    let one = |(name, view): (&ClassName, &ClassView)| {
        let before = previous.iter().find(|before| before.name == name.as_str());
        let retry = before.and_then(|before| before.retry_at.as_ref());
        class(name, view, retry_at(view.circuit, retry, clock))
    };
    views.iter().map(one).collect()
}

fn class(name: &ClassName, view: &ClassView, retry_at: Option<Time>) -> ClassStatus {
    ClassStatus {
        name: name.to_string(),
        reason: view.reason.to_string(),
        circuit: view.circuit.state().to_string(),
        share: view.share.get(),
        trips: view.trips,
        retry_at,
    }
}

/// The wall-clock time at which an open circuit may become half-open. Where it was said before, within the rounding of
/// clocks, it stands.
fn retry_at(circuit: Circuit, previous: Option<&Time>, clock: Clock<'_>) -> Option<Time> {
    let Circuit::Open { until } = circuit else {
        return None;
    };
    let left = until.since(clock.moment);
    let second = Timestamp::from_second(clock.now.0.checked_add(left).ok()?.as_second()).ok()?;
    let close = previous.filter(|before| before.0.duration_since(second).abs() <= ROUNDING);
    // What is past stays as it was said, until the circuit moves on.
    let past = previous.filter(|before| left.is_zero() && before.0 <= clock.now.0);
    Some(close.or(past).cloned().unwrap_or(Time(second)))
}

fn summary(decided: &RouteDecision) -> Summary {
    let healthy = decided.replicas().filter(|view| view.is_healthy_replica());
    let (healthy, total) = (count(healthy.count()), count(decided.replicas().count()));
    Summary {
        healthy_replicas: healthy,
        total_replicas: total,
        display: format!("{healthy}/{total}"),
        lag: longest_lag(&decided.endpoints),
    }
}

/// The longest lag of a server that told it by its newest check, with its endpoint.
fn longest_lag(endpoints: &[EndpointView]) -> Option<String> {
    let told = |view: &&EndpointView| {
        !view.state.reason.is_silent() && view.state.reason != Reason::ConfigurationHeld
    };
    let told = endpoints.iter().filter(told);
    let lags = told.filter_map(|view| Some((view, view.state.lag?)));
    let (view, lag) = lags.reduce(
        |first, other| {
            if other.1.time > first.1.time { other } else { first }
        },
    )?;
    let over = if lag.at_least { "over " } else { "" };
    Some(format!("{over}{} ({})", seconds(lag.time), view.id))
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn primary(policy: &Policy, decided: &RouteDecision) -> Option<PrimaryStatus> {
    let holding = &decided.holding;
    let declared = policy
        .endpoints
        .iter()
        .find(|endpoint| endpoint.declared == DeclaredRole::Primary);
    let address = decided.plan.rw.members.first().map(|member| member.address);
    let holder = holding.holder.as_ref()?;
    Some(PrimaryStatus {
        id: holder.endpoint.to_string(),
        declared: declared
            .map(|endpoint| endpoint.id.to_string())
            .unwrap_or_default(),
        // Which of its pods holds the writes is known while they are withdrawn, too.
        address: address.or(holder.pod).map(|address| address.to_string()),
        timeline: holding.timeline,
        accepted: holding.accepted.as_ref().map(ToString::to_string),
    })
}

fn routing(outputs: &Outputs, revision: &str, previous: Option<&RoutingStatus>, now: &Time) -> RoutingStatus {
    let same = previous
        .filter(|before| before.revision == revision)
        .and_then(|before| before.programmed_at.clone());
    RoutingStatus {
        revision: revision.to_owned(),
        programmed_at: Some(same.unwrap_or_else(|| now.clone())),
        config_map: outputs.config_map.clone(),
        environment: outputs.environment().map(ToOwned::to_owned),
    }
}

#[cfg(test)]
mod tests;
