//! The conditions, by the conventions of the Kubernetes API: `Ready` sums up, `Reconciling` and `Stalled` say for tools
//! that wait whether waiting helps. docs/conditions.md lists every reason.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::words::{ConditionReason, ConditionType};
use super::{Report, WriteOutcome, reads, writes};
use crate::render::advice;
use distributary_core::decision::{DecisionState, EndpointView};
use distributary_core::health::Reason;
use distributary_core::ids::EndpointId;
use distributary_core::observation::FailureKind;
use distributary_core::plan::{RouteState, RoutingPlan};

/// Messages are cut at this length; the API server refuses 32,768.
const LONGEST: usize = 1024;

/// What to do about a lag that stays unknown.
const LAG_UNKNOWN: &str = ". LagUnknown: the lag is not known yet. If a server does not tell its log position, set \
                           replicationLag.source to Query or None.";

/// Type, status, reason and message.
pub(super) struct Verdict(
    pub ConditionType,
    pub &'static str,
    pub ConditionReason,
    pub String,
);

pub fn render(report: &Report<'_>, previous: &[Condition], now: &Time) -> Vec<Condition> {
    let decided = match report.decision.map(|decision| &decision.state) {
        Some(DecisionState::Decided(decided)) => Some(decided),
        _ => None,
    };
    let endpoints = report.decision.and_then(|decision| decision.state.endpoints());
    let mut verdicts = vec![accepted(report), resolved_refs(report), programmed(report)];
    verdicts.push(reconciling(report));
    verdicts.push(stalled(report, endpoints));
    match decided {
        Some(decided) => {
            verdicts.push(ready(report, &decided.plan));
            verdicts.push(degraded(&decided.endpoints));
            verdicts.push(writes::primary_reachable(decided));
            verdicts.push(reads::fallback(report, &decided.plan));
            verdicts.push(writes::split_brain(decided));
            let known = report.decision.zip(report.outputs);
            verdicts.extend(known.map(|(decision, outputs)| reads::strategy(&decision.policy, outputs)));
        }
        None => verdicts.extend(unknown(report, previous)),
    }
    verdicts
        .into_iter()
        .map(|verdict| condition(verdict, report.generation, previous, now))
        .collect()
}

fn condition(verdict: Verdict, generation: i64, previous: &[Condition], now: &Time) -> Condition {
    let Verdict(type_, status, reason, message) = verdict;
    let (type_, reason) = (type_.into_str(), reason.into_str());
    let before = previous
        .iter()
        .find(|condition| condition.type_ == type_ && condition.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: cut(message),
        observed_generation: Some(generation),
        last_transition_time: before
            .map_or_else(|| now.clone(), |condition| condition.last_transition_time.clone()),
    }
}

fn cut(mut message: String) -> String {
    if let Some((at, _)) = message.char_indices().nth(LONGEST) {
        message.truncate(at);
        message.push('…');
    }
    message
}

fn accepted(report: &Report<'_>) -> Verdict {
    if report.problems.is_empty() {
        return Verdict(
            ConditionType::Accepted,
            "True",
            ConditionReason::Valid,
            "The policy is valid.".to_owned(),
        );
    }
    Verdict(
        ConditionType::Accepted,
        "False",
        ConditionReason::Invalid,
        report.problems.join("; "),
    )
}

fn resolved_refs(report: &Report<'_>) -> Verdict {
    const TYPE: ConditionType = ConditionType::ResolvedRefs;
    if report.unresolved.is_empty() {
        let by_service = report
            .decision
            .is_some_and(|decision| decision.resolved.names_services());
        let named = if by_service {
            "Secret and Service"
        } else {
            "Secret"
        };
        let message = format!("The operator has read every {named} that the policy names.");
        return Verdict(TYPE, "True", ConditionReason::Resolved, message);
    }
    let services = report
        .unresolved
        .iter()
        .all(|problem| problem.starts_with("Service "));
    let reason = if services {
        ConditionReason::ServiceUnresolved
    } else {
        ConditionReason::SecretUnresolved
    };
    Verdict(TYPE, "False", reason, report.unresolved.join("; "))
}

fn programmed(report: &Report<'_>) -> Verdict {
    let no = |reason, message| Verdict(ConditionType::Programmed, "False", reason, message);
    match &report.written {
        WriteOutcome::Programmed => Verdict(
            ConditionType::Programmed,
            "True",
            ConditionReason::Programmed,
            "The routes are written.".to_owned(),
        ),
        WriteOutcome::Waiting => no(ConditionReason::Waiting, waiting(report)),
        WriteOutcome::Observing => no(
            ConditionReason::Observing,
            "mode is Observe: the operator decides the routes, but does not write them.".to_owned(),
        ),
        WriteOutcome::Suspended => no(
            ConditionReason::Suspended,
            "mode is Suspend: the routes stay as they are.".to_owned(),
        ),
        WriteOutcome::IdentityChanged => no(ConditionReason::IdentityChanged, identity_changed(report)),
        WriteOutcome::NameConflict(objects) => no(ConditionReason::NameConflict, conflict(objects)),
        WriteOutcome::ForeignEndpoints(slices) => no(ConditionReason::ForeignEndpoints, foreign(slices)),
        WriteOutcome::Failed(category) => no(ConditionReason::WriteFailed, failed(category)),
    }
}

fn waiting(report: &Report<'_>) -> String {
    match report.decision.map(|decision| &decision.state) {
        Some(DecisionState::Waiting { unchecked }) => {
            format!(
                "The routes stay as they are until every endpoint has been checked once; not checked yet: {unchecked}."
            )
        }
        _ if !report.problems.is_empty() => {
            "The routes stay as they are until the policy is valid.".to_owned()
        }
        _ => "The routes stay as they are until every endpoint has been checked once.".to_owned(),
    }
}

fn identity_changed(report: &Report<'_>) -> String {
    match report.decision.map(|decision| &decision.state) {
        Some(DecisionState::IdentityChanged { known, shown, .. }) => {
            let shows = shown.map_or_else(
                || {
                    format!(
                        "The primary showed a system identifier other than {known} before the operator restarted, and none since"
                    )
                },
                |shown| format!("The primary shows the system identifier {shown}, not {known}"),
            );
            format!(
                "{shows}: the routes stay as they are. After an upgrade or a restore, set identity.systemIdentifier."
            )
        }
        _ => "The primary shows another system identifier.".to_owned(),
    }
}

fn conflict(objects: &[String]) -> String {
    format!(
        "The operator leaves these objects alone, because this policy does not control them: {}. Delete or rename them.",
        objects.join(", ")
    )
}

fn foreign(slices: &[String]) -> String {
    format!(
        "Another writer made EndpointSlices for the Services of this policy, and kube-proxy uses them too: {}. Delete them.",
        slices.join(", ")
    )
}

fn failed(category: &str) -> String {
    format!("A request to the API server failed ({category}); the operator will repeat it.")
}

fn reconciling(report: &Report<'_>) -> Verdict {
    let yes = |reason, message| Verdict(ConditionType::Reconciling, "True", reason, message);
    match &report.written {
        WriteOutcome::Waiting if report.problems.is_empty() => yes(ConditionReason::Waiting, waiting(report)),
        WriteOutcome::Failed(category) => yes(ConditionReason::Retrying, failed(category)),
        _ => Verdict(
            ConditionType::Reconciling,
            "False",
            ConditionReason::Settled,
            "The operator has nothing left to do.".to_owned(),
        ),
    }
}

fn stalled(report: &Report<'_>, endpoints: Option<&[EndpointView]>) -> Verdict {
    let yes = |reason, message| Verdict(ConditionType::Stalled, "True", reason, message);
    if !report.problems.is_empty() {
        return yes(
            ConditionReason::Invalid,
            "The spec is invalid and must be corrected; the last valid spec stays in force.".to_owned(),
        );
    }
    let refused: Vec<_> = endpoints
        .unwrap_or_default()
        .iter()
        .filter(|view| view.state.reason == Reason::AddressRefused)
        .collect();
    match &report.written {
        WriteOutcome::IdentityChanged => yes(ConditionReason::IdentityChanged, identity_changed(report)),
        WriteOutcome::NameConflict(objects) => yes(ConditionReason::NameConflict, conflict(objects)),
        WriteOutcome::ForeignEndpoints(slices) => yes(ConditionReason::ForeignEndpoints, foreign(slices)),
        _ if !refused.is_empty() => yes(ConditionReason::AddressRefused, named(&refused)),
        _ => Verdict(
            ConditionType::Stalled,
            "False",
            ConditionReason::Progressing,
            "No action is required.".to_owned(),
        ),
    }
}

/// Reads and writes are routable: `rw` leads to a proven primary, `ro` to a good target, and both are written.
fn ready(report: &Report<'_>, plan: &RoutingPlan) -> Verdict {
    let no = |reason, message: &str| Verdict(ConditionType::Ready, "False", reason, message.to_owned());
    match (&report.written, plan.rw.state, plan.ro.state) {
        (WriteOutcome::Observing, ..) => no(
            ConditionReason::Observing,
            "mode is Observe: the operator writes no routes.",
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Served) => Verdict(
            ConditionType::Ready,
            "True",
            ConditionReason::Routable,
            "Reads and writes are routed.".to_owned(),
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Fallback) => Verdict(
            ConditionType::Ready,
            "True",
            ConditionReason::RoutableByFallback,
            "Writes are routed. Reads go to members of failover.readFallback.".to_owned(),
        ),
        (WriteOutcome::Programmed, RouteState::Held, _) => no(
            ConditionReason::PrimaryUnreachable,
            "The primary is not well. NAME-rw still leads to it, so writes may fail.",
        ),
        (WriteOutcome::Programmed, RouteState::Empty | RouteState::Fallback, _) => no(
            ConditionReason::NoPrimary,
            "No server is proven to be the write primary: NAME-rw leads nowhere.",
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Held) => no(
            ConditionReason::NoReadTarget,
            "No server for reads is well. NAME-ro keeps the servers that are only unhealthy or behind.",
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Empty) => no(
            ConditionReason::NoReadTarget,
            "No server may serve reads: NAME-ro leads nowhere.",
        ),
        _ => no(
            ConditionReason::NotProgrammed,
            "The routes are not written; see the condition Programmed.",
        ),
    }
}

fn degraded(endpoints: &[EndpointView]) -> Verdict {
    let plain = |view: &&EndpointView| advice::is_plain(view.state.reason);
    let worse: Vec<_> = endpoints.iter().filter(|view| !plain(view)).collect();
    if worse.is_empty() {
        return Verdict(
            ConditionType::Degraded,
            "False",
            ConditionReason::AllServing,
            "Every active endpoint is well.".to_owned(),
        );
    }
    let mut message = named(&worse);
    if worse.iter().any(|view| view.state.reason == Reason::LagUnknown) {
        message.push_str(LAG_UNKNOWN);
    }
    Verdict(
        ConditionType::Degraded,
        "True",
        ConditionReason::EndpointsNotServing,
        message,
    )
}

fn named(endpoints: &[&EndpointView]) -> String {
    let one = |view: &&EndpointView| why(&view.id, view.state.reason, view.state.failure);
    endpoints.iter().map(one).collect::<Vec<_>>().join("; ")
}

pub(super) fn why(id: &EndpointId, reason: Reason, failure: Option<FailureKind>) -> String {
    match failure {
        Some(failure) => format!("{id}: {reason} ({failure})"),
        None => format!("{id}: {reason}"),
    }
}

/// Before the first decision what was known stays; a new policy is not ready.
fn unknown(report: &Report<'_>, previous: &[Condition]) -> Vec<Verdict> {
    let suspended = report.written == WriteOutcome::Suspended;
    if report.written == WriteOutcome::IdentityChanged {
        return held_for_identity(report, previous);
    }
    let types = [
        (ConditionType::Ready, "False"),
        (ConditionType::Degraded, "Unknown"),
        (ConditionType::PrimaryReachable, "Unknown"),
        (ConditionType::ReadFallbackActive, "Unknown"),
        (ConditionType::SplitBrainSuspected, "Unknown"),
        (ConditionType::StrategyEnforced, "Unknown"),
    ];
    let reason = if suspended {
        ConditionReason::Suspended
    } else if report.problems.is_empty() {
        ConditionReason::Waiting
    } else {
        ConditionReason::Invalid
    };
    let message = if suspended {
        "mode is Suspend: the operator checks no server.".to_owned()
    } else {
        waiting(report)
    };
    let one = |(type_, status): (ConditionType, &'static str)| {
        let before = known(previous, type_);
        let status = match before.map(|condition| condition.status.as_str()) {
            _ if suspended => "Unknown",
            Some("True") => "True",
            Some("False") => "False",
            _ => status,
        };
        Verdict(type_, status, reason, message.clone())
    };
    types.into_iter().map(one).collect()
}

fn known(previous: &[Condition], type_: ConditionType) -> Option<&Condition> {
    previous
        .iter()
        .find(|condition| condition.type_ == type_.into_str())
}

/// Nothing was decided: Ready is False, what else was known stays.
fn held_for_identity(report: &Report<'_>, previous: &[Condition]) -> Vec<Verdict> {
    const REASON: ConditionReason = ConditionReason::IdentityChanged;
    let message = identity_changed(report);
    let endpoints = report.decision.and_then(|decision| decision.state.endpoints());
    let stays = |type_| {
        let before = known(previous, type_);
        let status = match before.map(|condition| condition.status.as_str()) {
            Some("True") => "True",
            Some("False") => "False",
            _ => "Unknown",
        };
        Verdict(type_, status, REASON, message.clone())
    };
    vec![
        Verdict(ConditionType::Ready, "False", REASON, message.clone()),
        degraded(endpoints.unwrap_or_default()),
        stays(ConditionType::PrimaryReachable),
        stays(ConditionType::ReadFallbackActive),
        stays(ConditionType::SplitBrainSuspected),
        stays(ConditionType::StrategyEnforced),
    ]
}
