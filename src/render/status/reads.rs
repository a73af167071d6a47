//! The conditions of reads: whether the fallback serves them, and who spreads them as the strategy says.

use super::Report;
use super::conditions::Verdict;
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use crate::render::names;
use distributary_core::cluster::Cluster;
use distributary_core::ids::EndpointId;
use distributary_core::outputs::Outputs;
use distributary_core::plan::{RouteState, RoutingPlan};
use distributary_core::policy::{Policy, Strategy};
use distributary_core::table::named::DEFAULT;

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
        let message = format!(
            "No replica can serve reads. Reads go to {}.",
            ids(&plan.ro.serving())
        );
        return yes(ConditionReason::NoReplicaEligible, message);
    }
    let stand_ins = plan.ro.stand_ins();
    if !stand_ins.is_empty() {
        let message = format!(
            "Fewer replicas than failover.minHealthyReplicas can serve reads. Reads also go to {}.",
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
    Verdict(
        ConditionType::ReadFallbackActive,
        ConditionStatus::False,
        ConditionReason::NotNeeded,
        "Reads need no fallback.".to_owned(),
    )
}

fn ids(endpoints: &[EndpointId]) -> String {
    let ids: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    ids.join(", ")
}

/// Which outputs spread reads as the policy says: by its strategy, and to dedicated servers what their classes read.
pub fn strategy(policy: &Policy, cluster: &Cluster, outputs: &Outputs) -> Verdict {
    let Verdict(type_, status, reason, message) = by_strategy(policy, cluster, outputs);
    let unreached = dedicated_without_service(policy, outputs);
    if unreached.is_empty() {
        return Verdict(type_, status, reason, message);
    }
    let reason = match status {
        ConditionStatus::True => ConditionReason::DedicatedWithoutService,
        _ => reason,
    };
    let message = format!(
        "{message} No Service leads to the servers that are dedicated to classes, because outputs.services.perClass is Disabled; only clients that read routing.json use them: {}.",
        ids(&unreached)
    );
    Verdict(type_, ConditionStatus::False, reason, message)
}

/// The dedicated replicas, where there are Services, but none of their classes.
fn dedicated_without_service(policy: &Policy, outputs: &Outputs) -> Vec<EndpointId> {
    let unreached = outputs.services.is_some() && !outputs.per_class && policy.routing.replicas;
    let dedicated = policy
        .replicas()
        .filter(|replica| unreached && !replica.dedicated_to.is_empty());
    dedicated.map(|replica| replica.id.clone()).collect()
}

/// Which outputs spread reads as the strategy says. kube-proxy knows no weights, and not where its client is.
fn by_strategy(policy: &Policy, cluster: &Cluster, outputs: &Outputs) -> Verdict {
    const TYPE: ConditionType = ConditionType::StrategyEnforced;
    let services = outputs.services.is_some();
    let per_region = outputs.per_region && !policy.routing.regions.is_empty();
    let yes = |reason, message: &str| Verdict(TYPE, ConditionStatus::True, reason, message.to_owned());
    let no = |message: &str| {
        Verdict(
            TYPE,
            ConditionStatus::False,
            ConditionReason::ServicesSpreadEvenly,
            message.to_owned(),
        )
    };
    let default = names::of_route(Some(outputs), DEFAULT);
    let strange = match (&cluster.region, cluster.home(policy)) {
        (Some(region), None) => {
            format!(" The cluster is in the region {region}, which is none of this policy.")
        }
        _ => String::new(),
    };
    match policy.strategy {
        _ if !services => yes(
            ConditionReason::ByClients,
            "The policy has no Services; clients that read routing.json spread reads as the strategy says.",
        ),
        Strategy::RoundRobin => yes(
            ConditionReason::Everywhere,
            "Services spread connections evenly; clients that read routing.json also follow the weights.",
        ),
        Strategy::Geographic => match (per_region, cluster.home(policy)) {
            (true, Some(home)) => yes(
                ConditionReason::ByRegion,
                &format!(
                    "The Services of regions lead to the nearest servers, as routing.json does; {default} follows the region of the cluster, {}.",
                    home.name
                ),
            ),
            (false, Some(home)) => yes(
                ConditionReason::ByRegion,
                &format!(
                    "{default} leads to the nearest servers of the region of the cluster, {}; the policy has no Services of other regions.",
                    home.name
                ),
            ),
            (true, None) => yes(
                ConditionReason::ByRegion,
                &format!(
                    "The Services of regions lead to the nearest servers, as routing.json does; {default} ignores regions.{strange}"
                ),
            ),
            (false, None) => no(&format!(
                "The policy has no Services of regions, and its other Services spread connections over all regions; only clients that read routing.json prefer near servers.{strange}"
            )),
        },
        Strategy::Weighted | Strategy::LeastConnections => no(
            "Services spread connections evenly, because kube-proxy ignores weights; only clients that read routing.json follow the strategy.",
        ),
    }
}
