//! The condition `StrategyEnforced`: which outputs spread reads as the policy says.

use super::conditions::Verdict;
use super::reads::ids;
use super::words::{ConditionReason, ConditionStatus, ConditionType};
use crate::render::names;
use distributary_core::cluster::Cluster;
use distributary_core::decision::Decision;
use distributary_core::ids::EndpointId;
use distributary_core::outputs::Outputs;
use distributary_core::plan::RoutingPlan;
use distributary_core::policy::{Policy, Strategy};
use distributary_core::table::named::DEFAULT;

const CLIENTS: &str = "only clients that read routing.json use them";

/// By the strategy; and Services lead to dedicated servers, and can carry the addresses of all.
pub fn enforced(decision: &Decision, plan: &RoutingPlan, outputs: &Outputs) -> Verdict {
    let policy = &decision.policy;
    let Verdict(type_, status, reason, message) = by_strategy(policy, decision.resolved.cluster(), outputs);
    let message = match counted_as_one(policy) {
        Some(more) => format!("{message} {more}"),
        None => message,
    };
    let unreached = [
        (ConditionReason::FamilyNotServed, not_carried(plan, outputs)),
        (
            ConditionReason::DedicatedWithoutService,
            dedicated_without_service(policy, outputs),
        ),
    ];
    let unreached = unreached
        .into_iter()
        .filter_map(|(reason, message)| Some((reason, message?)));
    unreached.fold(
        Verdict(type_, status, reason, message),
        |Verdict(type_, status, before, message), (reason, more)| {
            let first = status == ConditionStatus::True;
            let reason = if first { reason } else { before };
            Verdict(type_, ConditionStatus::False, reason, format!("{message} {more}"))
        },
    )
}

/// The weights that say nothing under a strategy that knows none.
fn counted_as_one(policy: &Policy) -> Option<String> {
    let ignored = matches!(policy.strategy, Strategy::RoundRobin | Strategy::Geographic);
    let weighted = policy
        .endpoints
        .iter()
        .filter(|endpoint| ignored && endpoint.weight > 1);
    let weighted: Vec<_> = weighted.map(|endpoint| endpoint.id.clone()).collect();
    (!weighted.is_empty()).then(|| {
        format!(
            "Under {}, each weight above 0 counts as 1, also that of {}; the strategy Weighted follows weights.",
            policy.strategy,
            ids(&weighted)
        )
    })
}

/// The servers whose addresses a Service cannot carry.
fn not_carried(plan: &RoutingPlan, outputs: &Outputs) -> Option<String> {
    let of_route = |(route, endpoints): (String, Vec<EndpointId>)| {
        format!("{}: {}", names::of_route(Some(outputs), &route), ids(&endpoints))
    };
    let routes: Vec<_> = plan.uncarried().into_iter().map(of_route).collect();
    (!routes.is_empty()).then(|| {
        format!(
            "These Services cannot carry the addresses of these servers, which are of another IP family; {CLIENTS}: {}.",
            routes.join("; ")
        )
    })
}

/// The dedicated replicas, where there are Services, but none of their classes.
fn dedicated_without_service(policy: &Policy, outputs: &Outputs) -> Option<String> {
    let unreached = outputs.services.is_some() && !outputs.per_class && policy.routing.replicas;
    let dedicated = policy
        .replicas()
        .filter(|replica| unreached && !replica.dedicated_to.is_empty());
    let dedicated: Vec<_> = dedicated.map(|replica| replica.id.clone()).collect();
    (!dedicated.is_empty()).then(|| {
        format!(
            "No Service leads to the servers that are dedicated to classes, because outputs.services.perClass is Disabled; {CLIENTS}: {}.",
            ids(&dedicated)
        )
    })
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
            "Services and clients that read routing.json spread reads evenly.",
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
