//! The conditions of what is served: whether reads and writes are routed, and which endpoints are not well.

use super::conditions::Verdict;
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use super::{Report, UnresolvedReference, WriteOutcome, in_words, writes};
use crate::render::{advice, cause, names};
use distributary_core::decision::{EndpointView, RouteDecision, TargetState};
use distributary_core::health::Reason;
use distributary_core::ids::{ClassName, EndpointId};
use distributary_core::observation::FailureKind;
use distributary_core::outputs::Outputs;
use distributary_core::plan::{Member, Route, RouteState};
use distributary_core::policy::DeclaredRole;
use distributary_core::table::named::{DEFAULT, WRITES};

/// What a `lagQuery` must answer.
const LAG_ANSWER: &str = ". lagQuery must answer one number of seconds, at any time, also where nothing is replayed: not NULL, no \
                          interval.";

/// What to do about a lag that stays unknown.
const LAG_UNKNOWN: &str = ". LagUnknown: the lag is not known yet. If it stays so under replicationLag.source Wal, the server does not \
                           tell its log position: set the source to Query or None.";

/// What a limit of connections means.
const LIMITED: &str = "Each Pod of the operator needs 1 connection to a server for a check, and 1 more for the session that it \
                       holds, so two Pods need 4; where the role may have only 1, no session is held, and a crash is seen \
                       at the next check.";

/// Reads and writes are routable: `rw` leads to a proven primary, `ro` to a good target, and both are written. A Secret that a
/// person must see to comes first.
pub fn ready(report: &Report<'_>, decided: &RouteDecision) -> Verdict {
    let Verdict(type_, status, reason, mut message) = routable(report, decided);
    if !decided.split.is_empty() && !decided.unproven {
        message.push_str(" Several servers take writes: see the condition SplitBrainSuspected.");
    }
    let Some(secrets) = secrets(report) else {
        return Verdict(type_, status, reason, message);
    };
    let lacks = |declared| {
        let mut views = decided.endpoints.iter();
        views.any(|view| {
            view.declared == declared && view.state.failure == Some(FailureKind::SecretUnresolved)
        })
    };
    let is_cause = match reason {
        ConditionReason::NoPrimary => lacks(DeclaredRole::Primary),
        ConditionReason::NoReadTarget => lacks(DeclaredRole::Replica),
        _ => false,
    };
    let reason = if is_cause {
        ConditionReason::SecretUnresolved
    } else {
        reason
    };
    Verdict(type_, status, reason, format!("{secrets}. {message}"))
}

/// What is wrong with Secrets that a person must see to; `None`: nothing.
pub fn secrets(report: &Report<'_>) -> Option<String> {
    let needs_person = |reference: &&UnresolvedReference| match reference {
        UnresolvedReference::Secret(unresolved) => unresolved.problem.needs_person(),
        UnresolvedReference::Service(_) => false,
    };
    let problems = report.unresolved.iter().filter(needs_person);
    let problems: Vec<_> = problems.map(ToString::to_string).collect();
    (!problems.is_empty()).then(|| problems.join("; "))
}

fn routable(report: &Report<'_>, decided: &RouteDecision) -> Verdict {
    let plan = &decided.plan;
    let writable = !writes::is_read_only(decided);
    let asked = writes::identity_changed(report, decided);
    if let Some(message) = asked.filter(|_| report.written == WriteOutcome::Programmed) {
        return Verdict(
            ConditionType::Ready,
            ConditionStatus::False,
            ConditionReason::IdentityChanged,
            message,
        );
    }
    let uncarried = [WRITES, DEFAULT]
        .iter()
        .find_map(|route| uncarried(report, decided, route));
    if let Some(message) = uncarried.filter(|_| report.written == WriteOutcome::Programmed) {
        return Verdict(
            ConditionType::Ready,
            ConditionStatus::False,
            ConditionReason::FamilyNotServed,
            message,
        );
    }
    let by_word = unproven(decided);
    let (status, reason, message) = match (&report.written, plan.rw.state, plan.ro.state) {
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Served | RouteState::Fallback)
            if writable && !by_word.is_empty() =>
        {
            (
                ConditionStatus::True,
                ConditionReason::RoutableUnproven,
                format!(
                    "Reads and writes are routed, but these servers cannot be checked; they keep what they served before, and \
                 nothing else speaks against it: {}.",
                    named(&by_word)
                ),
            )
        }
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Served) if writable => (
            ConditionStatus::True,
            ConditionReason::Routable,
            "Reads and writes are routed.".to_owned(),
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Fallback) if writable => (
            ConditionStatus::True,
            ConditionReason::RoutableByFallback,
            "Writes are routed. Reads go to members of failover.readFallback.".to_owned(),
        ),
        (written, ..) => {
            let (reason, message) = obstacle(written, decided, report.outputs);
            (ConditionStatus::False, reason, message)
        }
    };
    Verdict(ConditionType::Ready, status, reason, message)
}

/// Why the Service of a route that is served leads nowhere: it can carry the address of no server of the route.
fn uncarried(report: &Report<'_>, decided: &RouteDecision, name: &str) -> Option<String> {
    let plan = &decided.plan;
    let route = if name == WRITES { &plan.rw } else { &plan.ro };
    let served = matches!(route.state, RouteState::Served | RouteState::Fallback);
    let families = report.decision?.resolved.cluster().families_of(name)?;
    (served && route.is_uncarried()).then(|| {
        let member = |member: &Member| format!("{} ({})", member.target.endpoint, member.address);
        let servers: Vec<_> = route.members.iter().map(member).collect();
        format!(
            "The Service {} carries {} alone, so it leads to no server: {}. Connections to it are refused.",
            names::of_route(report.outputs, name),
            families.name(),
            servers.join(", ")
        )
    })
}

/// The servers that cannot be checked, where the writes, or all reads, go to such servers alone.
fn unproven(decided: &RouteDecision) -> Vec<&EndpointView> {
    let cannot_be_checked = |view: &&EndpointView| view.state.reason == Reason::ConfigurationHeld;
    let of = |route: &Route| {
        let serving = route.serving();
        let views = decided.endpoints.iter().filter(|view| serving.contains(&view.id));
        let held: Vec<_> = views.filter(cannot_be_checked).map(|view| &view.id).collect();
        let alone = held.len() == serving.len();
        if alone { held } else { Vec::new() }
    };
    let ids = [of(&decided.plan.rw), of(&decided.plan.ro)].concat();
    let views = decided.endpoints.iter();
    views.filter(|view| ids.contains(&&view.id)).collect()
}

/// Why reads or writes are not routable.
fn obstacle(
    written: &WriteOutcome,
    decided: &RouteDecision,
    outputs: Option<&Outputs>,
) -> (ConditionReason, String) {
    let plan = &decided.plan;
    let [writes, reads] = [WRITES, DEFAULT].map(|route| names::of_route(outputs, route));
    match (written, plan.rw.state, plan.ro.state) {
        (WriteOutcome::Observing, ..) => (
            ConditionReason::Observing,
            "mode is Observe: the operator writes no routes.".to_owned(),
        ),
        (WriteOutcome::Programmed, RouteState::Held, _) if decided.unproven => (
            ConditionReason::PrimaryUnproven,
            writes::unproven(decided, &writes),
        ),
        (WriteOutcome::Programmed, RouteState::Held, _) => (
            ConditionReason::PrimaryUnreachable,
            format!(
                "The primary is not well; {writes} still leads to it, so writes may fail.{}{}",
                reasons(decided, &plan.rw),
                writes::mending(decided, &writes)
            ),
        ),
        (WriteOutcome::Programmed, RouteState::Empty, _) if writes::is_below_mark(decided) => (
            ConditionReason::PrimaryBelowMark,
            format!(
                "The write primary is on an older timeline than before, and no other server may follow: {writes} leads nowhere. \
                 If the server is the right one, for example after a restore to an earlier point, name it in \
                 failover.acceptPrimary."
            ),
        ),
        (WriteOutcome::Programmed, RouteState::Empty | RouteState::Fallback, _) => (
            ConditionReason::NoPrimary,
            no_primary(decided, &writes),
        ),
        (WriteOutcome::Programmed, RouteState::Served, _) if writes::is_read_only(decided) => (
            ConditionReason::ReadOnly,
            format!(
                "The write primary takes no writes, because its configuration sets default_transaction_read_only to on; {writes} \
                 still leads to it."
            ),
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Held) => (
            ConditionReason::NoReadTarget,
            format!(
                "No server for reads is well; {reads} keeps servers that are only unhealthy or behind.{}",
                reasons(decided, &plan.ro)
            ),
        ),
        (WriteOutcome::Programmed, RouteState::Served, RouteState::Empty) => (
            ConditionReason::NoReadTarget,
            format!("No server may serve reads: {reads} leads nowhere.{}", unwell(decided)),
        ),
        _ => (
            ConditionReason::NotProgrammed,
            match written {
                WriteOutcome::Refused(_) | WriteOutcome::NameConflict(_) | WriteOutcome::TooLarge(_) => {
                    "Not every object is written; see the condition Programmed."
                }
                WriteOutcome::AwaitingProof(_) => {
                    "The writes are not led to the write primary yet; see the condition Programmed."
                }
                WriteOutcome::ForeignEndpoints(_) => {
                    "The routes are written, but another writer adds servers to them; see the condition Programmed."
                }
                WriteOutcome::ForeignOperator(_) => {
                    "Another operator undoes what is written; see the condition Programmed."
                }
                _ => "The routes are not written; see the condition Programmed.",
            }
            .to_owned(),
        ),
    }
}

/// The reasons of the servers of a route, as ` a: REASON.`; empty: there is no server, or nothing speaks against any.
fn reasons(decided: &RouteDecision, route: &Route) -> String {
    let serving = route.serving();
    told(decided, |view| serving.contains(&view.id))
}

/// Why servers are not well; a space before it, and nothing where all are.
fn unwell(decided: &RouteDecision) -> String {
    told(decided, |_| true)
}

fn told(decided: &RouteDecision, is_meant: impl Fn(&EndpointView) -> bool) -> String {
    let views = decided.endpoints.iter();
    let views: Vec<_> = views
        .filter(|view| is_meant(view) && !advice::is_plain(view.state.reason))
        .collect();
    if views.is_empty() {
        return String::new();
    }
    format!(" {}.", named(&views))
}

/// That the writes lead nowhere; who may be named, where anybody takes writes.
fn no_primary(decided: &RouteDecision, writes: &str) -> String {
    let none = format!("No server is proven to be the write primary: {writes} leads nowhere.");
    let candidates: Vec<_> = writes::candidates(decided)
        .iter()
        .map(|view| view.id.to_string())
        .collect();
    if candidates.is_empty() {
        return format!("{none}{}{}", unwell(decided), writes::mending(decided, writes));
    }
    let takes = if candidates.len() == 1 { "takes" } else { "take" };
    format!(
        "{none} {} {takes} writes: name the right one in failover.acceptPrimary.",
        candidates.join(", ")
    )
}

pub fn degraded(decided: &RouteDecision) -> Verdict {
    let endpoints = &decided.endpoints;
    let plain = |view: &&EndpointView| advice::is_plain(view.state.reason);
    let worse: Vec<_> = endpoints.iter().filter(|view| !plain(view)).collect();
    let limits = limits(endpoints);
    let classes = classes(decided);
    if worse.is_empty() {
        let (status, reason, mut message) = match (classes, limits) {
            (Some(classes), _) => (
                ConditionStatus::True,
                ConditionReason::EndpointsNotServing,
                classes,
            ),
            (None, Some(limits)) => (ConditionStatus::True, ConditionReason::ConnectionLimit, limits),
            (None, None) => (
                ConditionStatus::False,
                ConditionReason::AllServing,
                "Every active endpoint is well.".to_owned(),
            ),
        };
        // A warning: it takes no server out.
        if let Some(pools) = pools(endpoints) {
            message.push_str(&format!(" {pools}"));
        }
        return Verdict(ConditionType::Degraded, status, reason, message);
    }
    let mut message = named(&worse);
    for (answers, hint) in [(true, LAG_ANSWER), (false, LAG_UNKNOWN)] {
        let is_one = |view: &&EndpointView| {
            view.state.reason == Reason::LagUnknown && view.state.no_lag.is_some() == answers
        };
        if worse.iter().any(is_one) {
            message.push_str(hint);
        }
    }
    for more in [classes, limits, pools(endpoints)].into_iter().flatten() {
        message.push_str(&format!(". {more}"));
    }
    Verdict(
        ConditionType::Degraded,
        ConditionStatus::True,
        ConditionReason::EndpointsNotServing,
        message,
    )
}

/// The classes that have nobody who is well, though general reads have; `None`: there are none.
fn classes(decided: &RouteDecision) -> Option<String> {
    let is_out = |route: &Route| matches!(route.state, RouteState::Held | RouteState::Empty);
    if is_out(&decided.plan.ro) {
        return None;
    }
    let why = |name: &ClassName| {
        let views = decided.endpoints.iter();
        let away = views.map(|view| (view, view.seen_by(name)));
        let away = away.filter(|(view, seen)| *seen != view.state.reason && *seen != Reason::Serving);
        let away: Vec<_> = away.map(|(view, seen)| format!("{} {seen}", view.id)).collect();
        if away.is_empty() {
            name.to_string()
        } else {
            format!("{name} ({})", away.join(", "))
        }
    };
    let classes = decided.plan.classes.iter();
    // A class of writes has the route of the writes.
    let out = classes.filter(|(_, route)| is_out(route) && route.members != decided.plan.rw.members);
    let out: Vec<_> = out.map(|(name, _)| why(name)).collect();
    (!out.is_empty()).then(|| format!("No server is well for these classes: {}.", out.join("; ")))
}

/// The servers to which the role of the operator may have too few connections; `None`: there are none.
fn limits(endpoints: &[EndpointView]) -> Option<String> {
    let limited = |view: &EndpointView| Some(format!("{} {}", view.id, view.state.role_limit?));
    let limited: Vec<_> = endpoints.iter().filter_map(limited).collect();
    (!limited.is_empty()).then(|| {
        format!(
            "The CONNECTION LIMIT of the role is low: {}. {LIMITED}",
            limited.join(", ")
        )
    })
}

/// The servers that have fewer connections than their endpoints are declared for; `None`: there are none.
fn pools(endpoints: &[EndpointView]) -> Option<String> {
    let small = |view: &EndpointView| Some(format!("{} {}", view.id, view.state.usable_connections?));
    let small: Vec<_> = endpoints.iter().filter_map(small).collect();
    (!small.is_empty()).then(|| {
        format!(
            "maxConnections is more than the server has for ordinary roles: {}.",
            small.join(", ")
        )
    })
}

pub fn named(endpoints: &[&EndpointView]) -> String {
    let one = |view: &&EndpointView| why(&view.id, &view.state);
    endpoints.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Why a server is as it is: `a: Held (ReplayStalled, 9.4 s > 5 s)`.
pub fn why(id: &EndpointId, state: &TargetState) -> String {
    format!("{id}: {}", cause::of(&in_words(state)))
}
