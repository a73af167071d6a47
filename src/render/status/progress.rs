//! The conditions of the spec and of its writing: whether it is valid, whether what it names could be read, whether its
//! routes are written, and whether waiting helps.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::Verdict;
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use super::{RefusedWrite, Report, UnresolvedReference, WriteOutcome};
use crate::render::{names, remarks};
use distributary_api::{ReplicaSetPolicyStatus, notation};
use distributary_core::config_maps::TooLarge;
use distributary_core::decision::DecisionState;
use distributary_core::table::named::WRITES;

pub fn accepted(report: &Report<'_>) -> Verdict {
    if report.problems.is_empty() {
        return Verdict(
            ConditionType::Accepted,
            ConditionStatus::True,
            ConditionReason::Valid,
            format!("The policy is valid.{}{}", slower(report), warnings(report)),
        );
    }
    Verdict(
        ConditionType::Accepted,
        ConditionStatus::False,
        ConditionReason::Invalid,
        report.problems.join("; "),
    )
}

/// What the policy says in vain, as `plan` warns of it; the spec is valid all the same.
fn warnings(report: &Report<'_>) -> String {
    let policy = report.decision.map(|decision| &decision.policy);
    let remarks = policy.map(|policy| remarks::mistakes(policy)).unwrap_or_default();
    if remarks.is_empty() {
        return String::new();
    }
    format!(" Warning: {}.", remarks.join("; "))
}

/// That the operator checks less often than the policy says.
fn slower(report: &Report<'_>) -> String {
    let probing = report.decision.map(|decision| decision.policy.probing);
    let Some((probing, declared)) = probing.and_then(|probing| Some((probing, probing.declared?))) else {
        return String::new();
    };
    let mut fields = Vec::new();
    if declared.interval != probing.interval {
        fields.push(("healthCheck.interval", declared.interval, probing.interval));
    }
    if let (Some(declared), Some(used)) = (declared.heartbeat, probing.heartbeat)
        && declared != used
    {
        fields.push(("healthCheck.heartbeat", declared, used));
    }
    let fields = fields.into_iter().map(|(field, declared, used)| {
        let (declared, used) = (notation(declared), notation(used));
        format!(" {field} is {used}, not {declared}, by --min-interval of the operator.")
    });
    fields.collect()
}

pub fn resolved_refs(report: &Report<'_>) -> Verdict {
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
        let mut message = format!("The operator has read every {named} that the policy names.");
        let endings = report.decision.map(|decision| decision.resolved.with_line_ends());
        if let Some(endpoints) = endings.filter(|endpoints| !endpoints.is_empty()) {
            let ids: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
            message.push_str(&format!(
                " The user or password of {} ends with a line break: where a server refuses it, the operator logs in without the line break.",
                ids.join(", ")
            ));
        }
        return Verdict(TYPE, ConditionStatus::True, ConditionReason::Resolved, message);
    }
    let is_service = |reference: &UnresolvedReference| matches!(reference, UnresolvedReference::Service(_));
    let reason = if report.unresolved.iter().all(is_service) {
        ConditionReason::ServiceUnresolved
    } else {
        ConditionReason::SecretUnresolved
    };
    let problems: Vec<_> = report.unresolved.iter().map(ToString::to_string).collect();
    Verdict(TYPE, ConditionStatus::False, reason, problems.join("; "))
}

pub fn programmed(report: &Report<'_>) -> Verdict {
    let no = |reason, message| Verdict(ConditionType::Programmed, ConditionStatus::False, reason, message);
    match &report.written {
        WriteOutcome::Programmed => Verdict(
            ConditionType::Programmed,
            ConditionStatus::True,
            ConditionReason::Programmed,
            written(report),
        ),
        WriteOutcome::Waiting => no(ConditionReason::Waiting, waiting(report)),
        WriteOutcome::AwaitingProof(servers) => {
            no(ConditionReason::AwaitingProof, awaiting_proof(report, servers))
        }
        WriteOutcome::Observing => no(
            ConditionReason::Observing,
            "mode is Observe: the operator decides the routes, but does not write them.".to_owned(),
        ),
        WriteOutcome::Suspended => no(
            ConditionReason::Suspended,
            "mode is Suspend: the routes stay as they are.".to_owned(),
        ),
        WriteOutcome::NameConflict(objects) => no(ConditionReason::NameConflict, conflict(objects)),
        WriteOutcome::ForeignEndpoints(slices) => no(ConditionReason::ForeignEndpoints, foreign(slices)),
        WriteOutcome::ForeignOperator(leases) => no(ConditionReason::ForeignOperator, rivals(leases)),
        WriteOutcome::TooLarge(maps) => no(ConditionReason::TooLarge, too_large(maps)),
        WriteOutcome::Refused(writes) => no(ConditionReason::WriteFailed, refused(writes)),
    }
}

/// The CustomResourceDefinition is of an earlier version, which does not know these fields.
const UNSIGNED: &str = "The routes are written. The API server does not take status.memory.author and status.memory.term: apply the \
                        CustomResourceDefinition of this version. Until then a late write of an earlier leader to the status may be taken, and \
                        another installation is recognized by the objects that it writes alone.";

fn written(report: &Report<'_>) -> String {
    let text = match (report.remembered, report.signed) {
        (false, _) => {
            "The routes are written, but the choice of the write primary is not: the API server does not take status.memory. \
             After a restart the operator may not know it."
        }
        (true, false) => UNSIGNED,
        (true, true) => "The routes are written.",
    };
    text.to_owned()
}

/// Whether a status says that the API server drops who wrote it.
#[must_use]
pub fn tells_unsigned(status: &ReplicaSetPolicyStatus) -> bool {
    told(status).is_some_and(|condition| condition.message == UNSIGNED)
}

/// The Leases that a status names of operators that fight.
#[must_use]
pub fn rivals_told(status: &ReplicaSetPolicyStatus) -> Vec<String> {
    let message = told(status).map_or("", |condition| &condition.message);
    let named = message
        .split_once(LEASES)
        .and_then(|(_, rest)| rest.split_once(". "));
    let named = named.map(|(named, _)| named.split(AND).map(ToOwned::to_owned));
    named.into_iter().flatten().collect()
}

fn told(status: &ReplicaSetPolicyStatus) -> Option<&Condition> {
    let programmed = ConditionType::Programmed.into_str();
    status.conditions.iter().find(|it| it.type_ == programmed)
}

pub fn waiting(report: &Report<'_>) -> String {
    match report.decision.map(|decision| &decision.state) {
        Some(DecisionState::Waiting { unchecked }) => {
            format!(
                "The routes stay as they are until every endpoint has been checked once; not checked yet: {unchecked}."
            )
        }
        _ if !report.problems.is_empty() => {
            "The routes stay as they are until the policy is valid; see the condition Accepted.".to_owned()
        }
        _ => "The routes stay as they are until every endpoint has been checked once.".to_owned(),
    }
}

/// That the route of the writes stays as an earlier process left it, and for what it waits.
fn awaiting_proof(report: &Report<'_>, servers: &BTreeSet<SocketAddr>) -> String {
    let writes = names::of_route(report.outputs, WRITES);
    let decided = report.decision.and_then(|decision| decision.state.decided());
    let holder = decided.and_then(|decided| decided.holding.holder.as_ref());
    let holder = holder.map_or_else(
        || "the write primary".to_owned(),
        |holder| {
            format!(
                "{}, which status.memory names as the write primary",
                holder.endpoint
            )
        },
    );
    let servers: Vec<_> = servers.iter().map(ToString::to_string).collect();
    let leads = if servers.is_empty() {
        "nowhere".to_owned()
    } else {
        format!("to {}", servers.join(", "))
    };
    let why = if decided.is_some_and(|decided| decided.changed.is_some()) {
        "this server shows another system identifier than the database had"
    } else {
        "no check has shown yet that this server takes writes"
    };
    format!("{writes} leads {leads}, as it was found, and not to {holder}: {why}.")
}

/// That objects of others have the names that the policy needs.
pub fn conflict(objects: &[String]) -> String {
    let is_map = |object: &String| object.starts_with("ConfigMap ");
    let mut fields = Vec::new();
    if !objects.iter().all(is_map) {
        fields.push("outputs.services.namePrefix");
    }
    if objects.iter().any(is_map) {
        fields.push("outputs.configMap.name");
    }
    format!(
        "Objects of these names exist and do not belong to this policy, so the operator leaves them alone: {}. Delete them, or choose \
         other names with {}.",
        objects.join(", "),
        fields.join(" and ")
    )
}

pub fn foreign(slices: &[String]) -> String {
    format!(
        "Another writer made EndpointSlices for the Services of this policy, and kube-proxy uses them too: {}. Delete them.",
        slices.join(", ")
    )
}

/// Before and between the names of Leases, which contain no space.
const LEASES: &str = "those of the Leases ";
const AND: &str = " and ";

/// The same text whichever of them writes it.
pub fn rivals(leases: &[String]) -> String {
    let operators = match leases {
        [] => "operators without a Lease".to_owned(),
        [one] => {
            format!("that of the Lease {one}, and one without a Lease or of an earlier version")
        }
        all => format!("{LEASES}{}", all.join(AND)),
    };
    format!(
        "More than one operator writes for this policy, and each undoes what the other one wrote: {operators}. The one whose writes are undone pauses, for at most 10 min at a time, and meanwhile only moves and withdraws the writes. Stop all but one."
    )
}

pub fn too_large(maps: &[TooLarge]) -> String {
    let named: Vec<_> = maps
        .iter()
        .map(|map| format!("{}: {map}", map.config_map))
        .collect();
    format!(
        "A ConfigMap would hold more than the API server takes, and stays as it is; the routes are written. {}. Use fewer \
         outputs.configMap.formats, classes, regions or pods.",
        named.join("; ")
    )
}

/// So many refused writes are named.
const NAMED: usize = 4;

pub fn refused(writes: &[RefusedWrite]) -> String {
    let named: Vec<_> = writes.iter().take(NAMED).map(RefusedWrite::text).collect();
    let more = match writes.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "The API server did not take these writes, and the operator will repeat them: {}{more}. What does not depend on them is written.",
        named.join("; ")
    )
}

pub fn reconciling(report: &Report<'_>) -> Verdict {
    let yes = |reason, message| Verdict(ConditionType::Reconciling, ConditionStatus::True, reason, message);
    match &report.written {
        WriteOutcome::Waiting if report.problems.is_empty() => yes(ConditionReason::Waiting, waiting(report)),
        WriteOutcome::AwaitingProof(servers) => {
            yes(ConditionReason::AwaitingProof, awaiting_proof(report, servers))
        }
        WriteOutcome::Refused(writes) => yes(ConditionReason::Retrying, refused(writes)),
        _ => Verdict(
            ConditionType::Reconciling,
            ConditionStatus::False,
            ConditionReason::Settled,
            "The operator has nothing left to do.".to_owned(),
        ),
    }
}
