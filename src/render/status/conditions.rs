//! The conditions, by the conventions of the Kubernetes API: `Ready` sums up, `Reconciling` and `Stalled` say for tools
//! that wait whether waiting helps. docs/conditions.md lists every reason.

use std::str::FromStr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::words::{ConditionReason, ConditionStatus, ConditionType};
use super::{Report, WriteOutcome, progress, reads, serving, stalled, strategy, writes};

/// Messages are cut at this length; the API server refuses 32,768.
const LONGEST: usize = 1024;

/// Type, status, reason and message.
pub(super) struct Verdict(
    pub ConditionType,
    pub ConditionStatus,
    pub ConditionReason,
    pub String,
);

pub fn render(report: &Report<'_>, previous: &[Condition], now: &Time) -> Vec<Condition> {
    let decided = report.decision.and_then(|decision| decision.state.decided());
    let mut verdicts = vec![
        progress::accepted(report),
        progress::resolved_refs(report),
        progress::programmed(report),
        progress::reconciling(report),
        stalled::stalled(report, decided),
    ];
    match decided {
        Some(decided) => {
            verdicts.push(serving::ready(report, decided));
            verdicts.push(serving::degraded(decided));
            verdicts.push(writes::primary_reachable(decided));
            verdicts.push(reads::fallback(report, &decided.plan));
            verdicts.push(writes::split_brain(report, decided));
            let known = report.decision.zip(report.outputs);
            verdicts.extend(
                known.map(|(decision, outputs)| strategy::enforced(decision, &decided.plan, outputs)),
            );
        }
        None => verdicts.extend(unknown(report, previous)),
    }
    verdicts
        .into_iter()
        .map(|verdict| condition(verdict, report, previous, now))
        .collect()
}

/// The generation that a condition describes. Where the spec is refused, the conditions of what is decided describe the last one
/// that was not, so that who waits for them waits on.
fn generation(type_: ConditionType, report: &Report<'_>, before: Option<&Condition>) -> i64 {
    let of_spec = matches!(
        type_,
        ConditionType::Accepted
            | ConditionType::ResolvedRefs
            | ConditionType::Reconciling
            | ConditionType::Stalled
    );
    if of_spec || report.problems.is_empty() {
        return report.generation;
    }
    let decided = report.decision.map(|decision| decision.policy.generation);
    let told = || before.and_then(|before| before.observed_generation);
    decided.or_else(told).unwrap_or(report.generation)
}

fn condition(verdict: Verdict, report: &Report<'_>, previous: &[Condition], now: &Time) -> Condition {
    let Verdict(type_, status, reason, message) = verdict;
    let told = previous
        .iter()
        .find(|condition| condition.type_ == type_.into_str());
    let generation = generation(type_, report, told);
    let (type_, status, reason) = (type_.into_str(), status.into_str(), reason.into_str());
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

/// Before the first decision what was known stays; a new policy is not ready.
fn unknown(report: &Report<'_>, previous: &[Condition]) -> Vec<Verdict> {
    let suspended = report.written == WriteOutcome::Suspended;
    let types = [
        (ConditionType::Ready, ConditionStatus::False),
        (ConditionType::Degraded, ConditionStatus::Unknown),
        (ConditionType::PrimaryReachable, ConditionStatus::Unknown),
        (ConditionType::ReadFallbackActive, ConditionStatus::Unknown),
        (ConditionType::SplitBrainSuspected, ConditionStatus::Unknown),
        (ConditionType::StrategyEnforced, ConditionStatus::Unknown),
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
        progress::waiting(report)
    };
    let one = |(type_, status): (ConditionType, ConditionStatus)| {
        let status = if suspended {
            ConditionStatus::Unknown
        } else {
            known(previous, type_).unwrap_or(status)
        };
        Verdict(type_, status, reason, message.clone())
    };
    types.into_iter().map(one).collect()
}

/// The status that a condition has, where it is known.
fn known(previous: &[Condition], type_: ConditionType) -> Option<ConditionStatus> {
    let before = previous
        .iter()
        .find(|condition| condition.type_ == type_.into_str())?;
    let status = ConditionStatus::from_str(&before.status).ok()?;
    (status != ConditionStatus::Unknown).then_some(status)
}
