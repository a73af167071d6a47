//! The conditions of writes: whether the server that takes them answers, and whether several take them.

use super::Report;
use super::conditions::Verdict;
use super::serving::why;
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use crate::render::names;
use distributary_core::decision::{EndpointView, RouteDecision, TargetState};
use distributary_core::health::Reason;
use distributary_core::ids::EndpointId;
use distributary_core::observation::Role;
use distributary_core::policy::DeclaredRole;
use distributary_core::table::named::WRITES;
use distributary_core::write_primary::IdentityChange;

/// The endpoint that takes the writes, or took them last; before, the declared one. `None`: it is not declared any more.
fn write_primary(decided: &RouteDecision) -> Option<&EndpointView> {
    let holder = decided.holding.holder.as_ref();
    decided.endpoints.iter().find(|view| match holder {
        Some(holder) => view.id == holder.endpoint,
        None => view.declared == DeclaredRole::Primary,
    })
}

/// What is known of its server; of several pods of the one that holds the writes.
fn state(decided: &RouteDecision, view: &EndpointView) -> TargetState {
    let holder = decided.holding.holder.as_ref();
    let pod = holder.and_then(|holder| view.targets.iter().find(|pod| Some(pod.address) == holder.pod));
    pod.map_or_else(|| view.state.clone(), |pod| pod.state.clone())
}

/// Whether the server that took the writes last is writable on an older timeline than the mark.
pub fn is_below_mark(decided: &RouteDecision) -> bool {
    let state = write_primary(decided).map(|view| state(decided, view));
    state.is_some_and(|state| state.reason == Reason::WritableReplica)
}

/// Whether the server that takes the writes is configured to refuse them.
pub fn is_read_only(decided: &RouteDecision) -> bool {
    let state = write_primary(decided).map(|view| state(decided, view));
    state.is_some_and(|state| state.reason == Reason::ReadOnly)
}

/// What the holder shows instead of the known identifier; `None`: nobody is asked about it.
pub fn identity_changed(report: &Report<'_>, decided: &RouteDecision) -> Option<String> {
    let IdentityChange {
        known,
        disputed,
        shown,
    } = decided.changed?;
    let id = write_primary(decided).map_or("The primary", |view| view.id.as_str());
    let shows = shown.map_or_else(
        || {
            format!(
                "{id} showed a system identifier other than {known} before the operator restarted, and none since"
            )
        },
        |shown| format!("{id} shows the system identifier {shown}, not {known}"),
    );
    let writes = names::of_route(report.outputs, WRITES);
    if disputed {
        return Some(format!(
            "{shows} as others do: which database this is is not known, and the routes stay as they are. Set \
             identity.systemIdentifier, or name a server that takes writes in failover.acceptPrimary."
        ));
    }
    Some(format!(
        "{shows}: {writes} stays where it is, because no other server may follow. After an upgrade or a restore, set \
         identity.systemIdentifier."
    ))
}

/// Those that take writes while nobody holds them.
pub fn candidates(decided: &RouteDecision) -> Vec<&EndpointView> {
    let takes_writes = |view: &&EndpointView| {
        let mut states = std::iter::once(&view.state).chain(view.targets.iter().map(|pod| &pod.state));
        states.any(|state| state.role == Some(Role::Primary) && state.reason == Reason::WritableReplica)
    };
    let views = decided.endpoints.iter();
    views.filter(takes_writes).collect()
}

/// What to do about a write primary that is lost, in order, after a space; empty: nothing more is known than its reason. `rw`: the
/// name of the route.
pub fn mending(decided: &RouteDecision, rw: &str) -> String {
    let Some(view) = write_primary(decided) else {
        return String::new();
    };
    let (id, state) = (&view.id, state(decided, view));
    let follows = |heirs: &str| format!("promote {heirs}; {rw} follows the promoted server");
    let heirs = heirs(decided, &view.id);
    match (state.despite.unwrap_or(state.reason), state.role) {
        (Reason::IdentityMismatch, _) => {
            format!(" {id} belongs to another database: correct its host, or identity.systemIdentifier.")
        }
        (Reason::PrimaryInRecovery, Some(Role::Standby)) => {
            let heirs = heirs.map_or_else(|| id.to_string(), |heirs| format!("{id}, {heirs}"));
            format!(" One of them must take writes: {}.", follows(&heirs))
        }
        (Reason::Suspect | Reason::CircuitOpen | Reason::StillStarting, _) => {
            let writable = candidates(decided);
            if !writable.is_empty() {
                return beside(&writable, &view.id);
            }
            let lost = heirs.map_or_else(
                || "no standby may take over the writes: see cannotTakeOver in status.endpoints".to_owned(),
                |heirs| format!("see that it stays stopped, then {}", follows(&heirs)),
            );
            format!(" Bring {id} back; if it is lost, {lost}.")
        }
        _ => String::new(),
    }
}

/// What to do where the write primary is lost and these take writes; empty: one of them takes over by itself.
fn beside(writable: &[&EndpointView], primary: &EndpointId) -> String {
    if writable.iter().any(|view| view.state.obstacle.is_none()) {
        return String::new();
    }
    let ids: Vec<_> = writable.iter().map(|view| view.id.to_string()).collect();
    format!(
        " Writable, but kept from taking over (cannotTakeOver in status.endpoints says why): {}. If it has the right data, keep \
         {primary} stopped and name it in failover.acceptPrimary; otherwise stop it, and bring {primary} back.",
        ids.join(", ")
    )
}

/// The standbys that may take over the writes once one of them is promoted, as `a or b`; `None`: there are none.
fn heirs(decided: &RouteDecision, primary: &EndpointId) -> Option<String> {
    let may = |state: &TargetState| {
        state.role == Some(Role::Standby)
            && state.obstacle.is_none()
            && !matches!(
                state.reason,
                Reason::Diverged | Reason::Disabled | Reason::Draining
            )
    };
    let others = decided.endpoints.iter().filter(|view| view.id != *primary);
    let heirs: Vec<_> = others
        .filter(|view| may(&view.state))
        .map(|view| view.id.to_string())
        .collect();
    (!heirs.is_empty()).then(|| heirs.join(" or "))
}

pub fn primary_reachable(decided: &RouteDecision) -> Verdict {
    const TYPE: ConditionType = ConditionType::PrimaryReachable;
    let Some(view) = write_primary(decided) else {
        return Verdict(
            TYPE,
            ConditionStatus::Unknown,
            ConditionReason::NotDeclared,
            "The policy no longer declares the endpoint that took the writes.".to_owned(),
        );
    };
    let state = state(decided, view);
    let (reason, role, failure) = (state.reason, state.role, state.failure);
    match (reason, role, failure) {
        (Reason::NotCheckedYet | Reason::Disabled | Reason::NoReadyPod | Reason::SameServer, ..) => Verdict(
            TYPE,
            ConditionStatus::Unknown,
            ConditionReason::NotChecked,
            format!("{} is not checked.", view.id),
        ),
        (Reason::IdentityMismatch, ..) => Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::IdentityChanged,
            format!(
                "{} shows the system identifier of another database: correct its host, or identity.systemIdentifier.",
                view.id
            ),
        ),
        (_, Some(Role::Standby), _) => Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::InRecovery,
            format!("{} is a standby: it takes no writes.", view.id),
        ),
        (Reason::Saturated | Reason::AnswersWithError, Some(Role::Primary), _) => Verdict(
            TYPE,
            ConditionStatus::True,
            ConditionReason::Answers,
            format!("{} answers with an error.", view.id),
        ),
        (Reason::WritableReplica, ..) => Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::OlderTimeline,
            format!(
                "{} takes writes on an older timeline than the last write primary. If it is the right server, name it in \
                 failover.acceptPrimary.",
                view.id
            ),
        ),
        (Reason::ReadOnly, ..) => Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::ReadOnly,
            format!(
                "{} takes no writes: its configuration sets default_transaction_read_only to on.",
                view.id
            ),
        ),
        (_, Some(Role::Primary), None) => Verdict(
            TYPE,
            ConditionStatus::True,
            ConditionReason::Writable,
            format!("{} takes writes.", view.id),
        ),
        _ => Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::NotReachable,
            why(&view.id, &state),
        ),
    }
}

/// That the write primary cannot be checked while others were promoted above it. `rw`: the name of the route.
pub fn unproven(decided: &RouteDecision, rw: &str) -> String {
    let holder = write_primary(decided);
    let others: Vec<_> = decided
        .split
        .iter()
        .filter(|id| holder.is_none_or(|holder| holder.id != **id))
        .map(ToString::to_string)
        .collect();
    let cause = holder.map_or_else(String::new, |view| why(&view.id, &state(decided, view)));
    format!(
        "The write primary cannot be checked ({cause}), and {} takes writes on a newer timeline; {rw} stays where it is. Fix the \
         cause; or stop the wrong server; or name the right one in failover.acceptPrimary.",
        others.join(", ")
    )
}

pub fn split_brain(report: &Report<'_>, decided: &RouteDecision) -> Verdict {
    const TYPE: ConditionType = ConditionType::SplitBrainSuspected;
    if decided.split.is_empty() {
        let message = "At most one endpoint takes writes.".to_owned();
        return Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::NotSuspected,
            message,
        );
    }
    if decided.unproven {
        return Verdict(
            TYPE,
            ConditionStatus::True,
            ConditionReason::PrimaryUnproven,
            unproven(decided, &names::of_route(report.outputs, WRITES)),
        );
    }
    let ids: Vec<_> = decided.split.iter().map(ToString::to_string).collect();
    let holder = decided.holding.holder.as_ref();
    let stay = holder.map_or("nowhere".to_owned(), |holder| format!("to {}", holder.endpoint));
    let message = format!(
        "{} take writes at the same time; {} leads {stay}. {}",
        ids.join(", "),
        names::of_route(report.outputs, WRITES),
        ending_the_split(decided)
    );
    Verdict(
        TYPE,
        ConditionStatus::True,
        ConditionReason::SeveralWritable,
        message,
    )
}

/// What to do about several servers that take writes, by which of them has the right data.
fn ending_the_split(decided: &RouteDecision) -> String {
    let holder = decided.holding.holder.as_ref().map(|holder| &holder.endpoint);
    let others = decided.split.iter().filter(|id| Some(*id) != holder);
    let others: Vec<_> = others.map(ToString::to_string).collect();
    match holder {
        Some(holder) if !others.is_empty() => format!(
            "If {holder} has the right data, stop {} and rebuild what was stopped as a standby; otherwise name the right one in \
             failover.acceptPrimary, and stop {holder}.",
            others.join(", ")
        ),
        _ => "Name the right one in failover.acceptPrimary, and stop the others.".to_owned(),
    }
}
