//! Kubernetes Events for what a person may want to know: reason, severity and text.

use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::status::{ConditionReason, ConditionStatus, ConditionType, Refusal, RefusedWrite};
use super::{cause, names};
use distributary_api::RouteStatus;
use distributary_core::health::Reason;
use distributary_core::ids::EndpointId;
use distributary_core::outputs::Outputs;
use distributary_core::plan::RouteState;
use distributary_core::table::named::{DEFAULT, WRITES};
use distributary_core::transition::Transition;

/// An Event of a policy.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Notice {
    /// A warning asks for a look; the rest is for the record.
    pub warning: bool,
    /// UpperCamelCase, for machines.
    pub reason: String,
    /// What the operator did, UpperCamelCase.
    pub action: &'static str,
    /// For people.
    pub note: String,
    /// The endpoint that it is about, where it is about one.
    pub endpoint: Option<String>,
}

/// The reasons of Events, beside those of endpoints and of conditions. A word that was published stays.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum EventReason {
    PrimaryMoved,
    SplitBrainSuspected,
    SplitBrainEnded,
    IdentityChanged,
    ReadFallbackActive,
    ReadFallbackEnded,
    WritesRouted,
    WritesHeld,
    WritesWithdrawn,
    ReadsRouted,
    ReadsHeld,
    ReadsWithdrawn,
    ClassLeft,
    ClassReturning,
    ClassReturned,
    WouldRoute,
    WriteRefused,
    StatusRefused,
}

/// The Event of a transition; none for the first look at an endpoint that is as it should be. `outputs`: which objects are
/// written for the policy.
#[must_use]
pub fn notice(transition: &Transition, outputs: Option<&Outputs>) -> Option<Notice> {
    match transition {
        Transition::Endpoint {
            from: None,
            to: Reason::Disabled | Reason::NotCheckedYet | Reason::LagUnknown,
            ..
        }
        | Transition::Class {
            from: None,
            to: Reason::LagUnknown,
            ..
        } => None,
        Transition::Endpoint {
            id,
            from,
            to,
            despite,
            excess,
            failure,
            eligible,
        } => {
            let details = [
                despite.map(|reason| reason.to_string()),
                failure.map(|failure| failure.to_string()),
                excess.map(|lag| lag.to_string()),
            ];
            Some(of_endpoint(id.as_str(), *from, (*to, details), *eligible))
        }
        Transition::Class { id, class, to, .. } => Some(of_class(id.as_str(), class.as_str(), *to)),
        Transition::PrimaryMoved { from, to } => Some(route(
            true,
            EventReason::PrimaryMoved,
            &format!("Writes moved from {from} to {to}."),
        )),
        Transition::SplitBrain { endpoints } => Some(of_split_brain(endpoints, outputs)),
        Transition::IdentityChanged { known, shown } => Some(route(
            true,
            EventReason::IdentityChanged,
            &format!(
                "The primary shows the system identifier {shown}, not {known}: {} stays where it is.",
                names::of_route(outputs, WRITES)
            ),
        )),
        Transition::ReadFallback { active, from, to } => Some(of_fallback(*active, from, to)),
        Transition::Writes { state } => Some(of_writes(*state, outputs)),
        Transition::Reads { state } => Some(of_reads(*state, outputs)),
    }
}

fn of_split_brain(endpoints: &[EndpointId], outputs: Option<&Outputs>) -> Notice {
    if endpoints.is_empty() {
        return route(
            false,
            EventReason::SplitBrainEnded,
            "At most one endpoint takes writes now.",
        );
    }
    let (ids, writes) = (ids(endpoints), names::of_route(outputs, WRITES));
    let note = format!("{ids} take writes at the same time; {writes} stays where it is.");
    route(true, EventReason::SplitBrainSuspected, &note)
}

fn of_fallback(active: bool, from: &[EndpointId], to: &[EndpointId]) -> Notice {
    if active {
        let note = format!("Too few replicas are eligible: reads go to {}.", ids(to));
        return route(true, EventReason::ReadFallbackActive, &note);
    }
    let returned: Vec<_> = to.iter().filter(|id| !from.contains(id)).cloned().collect();
    let back = match returned.len() {
        0 => String::new(),
        1 => format!("{} is back. ", ids(&returned)),
        _ => format!("{} are back. ", ids(&returned)),
    };
    let note = format!("{back}Reads go to {} and need no fallback.", ids(to));
    route(false, EventReason::ReadFallbackEnded, &note)
}

fn of_writes(state: RouteState, outputs: Option<&Outputs>) -> Notice {
    let writes = names::of_route(outputs, WRITES);
    match state {
        RouteState::Served | RouteState::Fallback => {
            route(false, EventReason::WritesRouted, "Writes go to the primary.")
        }
        RouteState::Held => {
            let note = format!("The primary is not well; {writes} still leads to it.");
            route(true, EventReason::WritesHeld, &note)
        }
        RouteState::Empty => {
            let note = format!("No server is proven to be the write primary; {writes} leads nowhere.");
            route(true, EventReason::WritesWithdrawn, &note)
        }
    }
}

fn of_reads(state: RouteState, outputs: Option<&Outputs>) -> Notice {
    let reads = names::of_route(outputs, DEFAULT);
    match state {
        RouteState::Served | RouteState::Fallback => {
            route(false, EventReason::ReadsRouted, "Reads are routed.")
        }
        RouteState::Held => {
            let note = format!(
                "No server for reads is well; {reads} keeps servers that are only unhealthy or behind."
            );
            route(true, EventReason::ReadsHeld, &note)
        }
        RouteState::Empty => {
            let note = format!("No server may serve reads; {reads} leads nowhere.");
            route(true, EventReason::ReadsWithdrawn, &note)
        }
    }
}

fn ids(endpoints: &[EndpointId]) -> String {
    if endpoints.is_empty() {
        return "no server".to_owned();
    }
    let ids: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

fn of_endpoint(
    id: &str,
    from: Option<Reason>,
    (to, details): (Reason, [Option<String>; 3]),
    eligible: bool,
) -> Notice {
    let before = from
        .filter(|from| *from != to)
        .map(|from| format!(", was {from}"))
        .unwrap_or_default();
    let membership = if eligible {
        "in the routes"
    } else {
        "not in the routes"
    };
    let warning = !matches!(
        to,
        Reason::Serving
            | Reason::Returning
            | Reason::Disabled
            | Reason::Draining
            | Reason::WeightZero
            | Reason::NotCheckedYet
    );
    Notice {
        warning,
        reason: to.to_string(),
        action: "Judge",
        note: format!(
            "Endpoint {id} is {}{before}; it is {membership}.",
            cause::with(to.word(), details)
        ),
        endpoint: Some(id.to_owned()),
    }
}

fn of_class(id: &str, class: &str, to: Reason) -> Notice {
    let (warning, reason, note) = match to {
        Reason::Serving => (
            false,
            EventReason::ClassReturned,
            format!("Class {class} may use endpoint {id} again."),
        ),
        Reason::Returning => (
            false,
            EventReason::ClassReturning,
            format!("Class {class} returns to endpoint {id}, with a growing share."),
        ),
        away => (
            true,
            EventReason::ClassLeft,
            format!("Class {class} no longer uses endpoint {id}: {away}."),
        ),
    };
    Notice {
        warning,
        reason: reason.into_str().to_owned(),
        action: "Judge",
        note,
        endpoint: Some(id.to_owned()),
    }
}

fn route(warning: bool, reason: EventReason, note: &str) -> Notice {
    Notice {
        warning,
        reason: reason.into_str().to_owned(),
        action: "Route",
        note: cut(note.to_owned()),
        endpoint: None,
    }
}

/// What would be written, in mode Observe, where it changed.
#[must_use]
pub fn observed(before: &[RouteStatus], after: &[RouteStatus]) -> Option<Notice> {
    let one = |route: &RouteStatus| {
        let endpoints = route.endpoints.join(", ");
        let who = if endpoints.is_empty() {
            "no server"
        } else {
            &endpoints
        };
        format!("{} to {who} ({})", route.name, route.state)
    };
    let changed: Vec<_> = after
        .iter()
        .filter(|route| !before.contains(route))
        .map(one)
        .collect();
    let note = format!(
        "mode is Observe; the operator would route {}.",
        changed.join("; ")
    );
    let note = cut(note);
    (!changed.is_empty()).then(|| route(false, EventReason::WouldRoute, &note))
}

fn cut(mut note: String) -> String {
    if let Some((at, _)) = note.char_indices().nth(LONGEST) {
        note.truncate(at);
        note.push('…');
    }
    note
}

/// Notes are cut at this length; the API server refuses 1,024 bytes.
const LONGEST: usize = 300;

/// A write that the API server refused.
#[must_use]
pub fn write_refused(write: &RefusedWrite) -> Notice {
    let note = format!("The API server refused to {}", write.text());
    refused(EventReason::WriteRefused, &note)
}

/// A status that the API server refused: what conditions would tell is told nowhere else.
#[must_use]
pub fn status_refused(refusal: &Refusal) -> Notice {
    let note = format!(
        "The API server refused the status of this policy: {} ({})",
        refusal.category, refusal.message
    );
    refused(EventReason::StatusRefused, &note)
}

fn refused(reason: EventReason, note: &str) -> Notice {
    Notice {
        action: "Write",
        ..route(true, reason, note)
    }
}

/// The conditions whose change is an Event: its reason is the condition's type, or `Not` and its type.
pub const ANNOUNCED: [ConditionType; 4] = [
    ConditionType::Accepted,
    ConditionType::ResolvedRefs,
    ConditionType::Programmed,
    ConditionType::Ready,
];

/// The Events of conditions that turned. What only waits is no Event, nor what is as it should be from the start.
#[must_use]
pub fn conditions(before: &[Condition], after: &[Condition]) -> Vec<Notice> {
    let is_news = |condition: &&Condition| {
        let old = before.iter().find(|old| old.type_ == condition.type_);
        let turned = old.map_or(is(condition, ConditionStatus::False), |old| {
            (&old.status, &old.reason) != (&condition.status, &condition.reason)
        });
        let is_of = |type_: ConditionType| condition.type_ == type_.into_str();
        let first = old.is_none() && is_of(ConditionType::Ready);
        ANNOUNCED.into_iter().any(is_of) && !has(condition, ConditionReason::Waiting) && (turned || first)
    };
    let notice = |condition: &Condition| Notice {
        warning: is(condition, ConditionStatus::False)
            && !has(condition, ConditionReason::Suspended)
            && !has(condition, ConditionReason::Observing),
        reason: match ConditionStatus::from_str(&condition.status) {
            Ok(ConditionStatus::True) => condition.type_.clone(),
            Ok(ConditionStatus::False) => format!("Not{}", condition.type_),
            _ => condition.reason.clone(),
        },
        action: "Reconcile",
        note: cut(format!("{}: {}", condition.reason, condition.message)),
        endpoint: None,
    };
    after.iter().filter(is_news).map(notice).collect()
}

fn is(condition: &Condition, status: ConditionStatus) -> bool {
    condition.status == status.into_str()
}

fn has(condition: &Condition, reason: ConditionReason) -> bool {
    condition.reason == reason.into_str()
}

#[cfg(test)]
mod tests;
