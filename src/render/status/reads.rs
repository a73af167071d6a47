//! The condition of reads: whether the fallback serves them.

use super::Report;
use super::conditions::Verdict;
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use distributary_core::ids::EndpointId;
use distributary_core::plan::{RouteState, RoutingPlan};

pub fn fallback(report: &Report<'_>, plan: &RoutingPlan) -> Verdict {
    let yes = |reason, message| {
        Verdict(
            ConditionType::ReadFallbackActive,
            ConditionStatus::True,
            reason,
            message,
        )
    };
    if plan.ro.state == RouteState::Fallback {
        let message = format!("No replica is eligible: reads go to {}.", ids(&plan.ro.serving()));
        return yes(ConditionReason::NoReplicaEligible, message);
    }
    let stand_ins = plan.ro.stand_ins();
    if !stand_ins.is_empty() {
        let message = format!(
            "Fewer replicas than failover.minHealthyReplicas are eligible: reads also go to {}.",
            ids(&stand_ins)
        );
        return yes(ConditionReason::TooFewReplicas, message);
    }
    let policies = report.decision.map(|decision| &decision.policy).into_iter();
    let classes = policies.flat_map(|policy| {
        let classes = policy.routing.classes.iter();
        classes.filter(|class| policy.has_own_route(class))
    });
    let elsewhere: Vec<_> = classes
        .filter_map(|class| Some((&class.name, plan.classes.get(&class.name)?)))
        .filter(|(_, route)| route.state == RouteState::Fallback || !route.stand_ins().is_empty())
        .map(|(name, route)| format!("{name}: {}", ids(&route.serving())))
        .collect();
    if !elsewhere.is_empty() {
        let message = format!(
            "The fallback serves classes in place of their replicas. {}.",
            elsewhere.join("; ")
        );
        return yes(ConditionReason::ClassByFallback, message);
    }
    let message = match plan.ro.state {
        RouteState::Held | RouteState::Empty => {
            "No server can serve reads, nor can a member of failover.readFallback."
        }
        RouteState::Served | RouteState::Fallback => "Reads need no fallback.",
    };
    Verdict(
        ConditionType::ReadFallbackActive,
        ConditionStatus::False,
        ConditionReason::NotNeeded,
        message.to_owned(),
    )
}

pub fn ids(endpoints: &[EndpointId]) -> String {
    let ids: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    ids.join(", ")
}
