//! The condition `Stalled`: whether a person must act before the operator can go on.

use super::conditions::Verdict;
use super::progress::{conflict, foreign, refused, rivals, too_large};
use super::serving::{named, secrets};
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use super::{Report, WriteOutcome, writes};
use crate::render::advice;
use distributary_core::decision::{EndpointView, RouteDecision};
use distributary_core::health::Reason;
use distributary_core::ids::EndpointId;
use distributary_core::observation::{FailureClass, FailureKind};

pub fn stalled(report: &Report<'_>, decided: Option<&RouteDecision>) -> Verdict {
    let yes = |reason, message| Verdict(ConditionType::Stalled, ConditionStatus::True, reason, message);
    if !report.problems.is_empty() {
        return yes(
            ConditionReason::Invalid,
            "The spec is invalid and must be corrected; the last valid spec stays in force.".to_owned(),
        );
    }
    if let Some(message) = decided.and_then(|decided| writes::identity_changed(report, decided)) {
        return yes(ConditionReason::IdentityChanged, message);
    }
    let secrets = secrets(report);
    let endpoints = decided
        .map(|decided| decided.endpoints.as_slice())
        .unwrap_or_default();
    let unchecked = unchecked(endpoints);
    let addresses: Vec<_> = endpoints
        .iter()
        .filter(|view| view.state.reason == Reason::AddressRefused)
        .collect();
    match &report.written {
        WriteOutcome::NameConflict(objects) => yes(ConditionReason::NameConflict, conflict(objects)),
        WriteOutcome::ForeignEndpoints(slices) => yes(ConditionReason::ForeignEndpoints, foreign(slices)),
        WriteOutcome::ForeignOperator(leases) => yes(ConditionReason::ForeignOperator, rivals(leases)),
        WriteOutcome::TooLarge(maps) => yes(ConditionReason::TooLarge, too_large(maps)),
        WriteOutcome::Refused(writes) if writes.iter().any(|write| write.refusal.needs_person()) => {
            yes(ConditionReason::WriteFailed, refused(writes))
        }
        _ if secrets.is_some() => yes(
            ConditionReason::SecretUnresolved,
            format!("{}. Correct it, or the policy.", secrets.unwrap_or_default()),
        ),
        _ if !addresses.is_empty() => yes(ConditionReason::AddressRefused, named(&addresses)),
        _ if unchecked.is_some() => yes(
            ConditionReason::ConfigurationFailed,
            format!(
                "Some servers cannot be checked before a person acts. {}.",
                unchecked.unwrap_or_default()
            ),
        ),
        _ => Verdict(
            ConditionType::Stalled,
            ConditionStatus::False,
            ConditionReason::Progressing,
            "No action is required.".to_owned(),
        ),
    }
}

/// The servers whose login, database or TLS is wrong, by what is wrong with them; `None`: there are none. Of a Secret that is
/// wrong its own sentence tells.
fn unchecked(endpoints: &[EndpointView]) -> Option<String> {
    let mut causes: Vec<(FailureKind, Vec<&EndpointId>)> = Vec::new();
    for view in endpoints {
        let is_out = matches!(
            view.state.reason,
            Reason::ConfigurationHeld | Reason::ConfigurationFailed
        );
        let by_person = |kind: &FailureKind| {
            kind.class() == FailureClass::Configuration && *kind != FailureKind::SecretUnresolved
        };
        let Some(kind) = view.state.failure.filter(by_person).filter(|_| is_out) else {
            continue;
        };
        match causes.iter_mut().find(|(cause, _)| *cause == kind) {
            Some((_, servers)) => servers.push(&view.id),
            None => causes.push((kind, vec![&view.id])),
        }
    }
    let cause = |(kind, servers): &(FailureKind, Vec<&EndpointId>)| {
        let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
        let (servers, why) = (servers.join(", "), advice::of_failure(*kind));
        format!("{servers}: {}: {why}", kind.word())
    };
    let causes: Vec<_> = causes.iter().map(cause).collect();
    (!causes.is_empty()).then(|| causes.join("; "))
}
