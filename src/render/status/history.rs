//! Who serves each route, and when others took over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use distributary_api::{FailoverStatus, ReplicaSetPolicyStatus, RouteStatus};
use distributary_core::decision::{Decision, RouteDecision};
use distributary_core::ids::EndpointId;
use distributary_core::outputs::Outputs;
use distributary_core::plan::{RouteState, RoutingPlan};
use distributary_core::policy::Policy;
use distributary_core::table::named;

/// So many are remembered.
const MOST: usize = 10;
/// A reason is cut at this length.
const LONGEST: usize = 256;

/// `rw`, `ro`, and each other route with a Service.
pub fn routes(policy: &Policy, outputs: &Outputs, plan: &RoutingPlan) -> Vec<RouteStatus> {
    let routes = named::routes(policy, outputs, plan);
    let told = routes
        .into_iter()
        .filter(|named| named.service || named.name == "rw" || named.name == "ro");
    told.map(|named| RouteStatus {
        state: named.route.state.to_string(),
        endpoints: named.route.serving().iter().map(ToString::to_string).collect(),
        name: named.name,
    })
    .collect()
}

/// What was known, and what the routes say now, compared with the previous status.
pub fn failovers(
    decision: &Decision,
    decided: &RouteDecision,
    routes: &[RouteStatus],
    previous: &ReplicaSetPolicyStatus,
    now: &Time,
) -> Vec<FailoverStatus> {
    let mut all = previous.failovers.clone();
    let mut add = |route: &RouteStatus, kind: &str, from: &[String]| {
        let left: Vec<_> = from.iter().filter(|id| !route.endpoints.contains(id)).collect();
        all.push(FailoverStatus {
            at: now.clone(),
            route: route.name.clone(),
            kind: kind.to_owned(),
            from: from.to_vec(),
            to: route.endpoints.clone(),
            reason: reason(decided, &left),
        });
    };
    for route in routes {
        let Some(before) = previous.routes.iter().find(|before| before.name == route.name) else {
            continue;
        };
        let from = &before.endpoints;
        let fallback =
            |route: &RouteStatus| RouteState::from_word(&route.state) == Some(RouteState::Fallback);
        if route.name == "rw" {
            let held_before = previous.primary.as_ref().map(|primary| primary.id.clone());
            let holds = decided
                .holding
                .holder
                .as_ref()
                .map(|holder| holder.endpoint.to_string());
            if let (Some(old), Some(new)) = (held_before, holds)
                && old != new
            {
                add(route, "PrimaryMoved", &[old]);
            } else if route.endpoints.is_empty() && !from.is_empty() {
                add(route, "WritesWithdrawn", from);
            }
        } else if fallback(route) != fallback(before) {
            let kind = if fallback(route) {
                "ReadFallback"
            } else {
                "ReadFallbackEnded"
            };
            add(route, kind, from);
        } else if let Some(home) = route.name.strip_prefix("ro-") {
            let near = |route: &RouteStatus| at_home(&decision.policy, home, route);
            match (near(before), near(route)) {
                (Some(true), Some(false)) => add(route, "RegionLeft", from),
                (Some(false), Some(true)) => add(route, "RegionRegained", from),
                _ => {}
            }
        }
    }
    let old = all.len().saturating_sub(MOST);
    all.split_off(old)
}

/// Whether servers of the region serve its route; `None`: nobody does.
fn at_home(policy: &Policy, region: &str, route: &RouteStatus) -> Option<bool> {
    let first = route.endpoints.first()?;
    let endpoint = policy.endpoint(&EndpointId::from(first.as_str()));
    Some(endpoint.and_then(|endpoint| endpoint.region.as_deref()) == Some(region))
}

/// What is known of those that left.
fn reason(decided: &RouteDecision, left: &[&String]) -> String {
    let views = decided
        .endpoints
        .iter()
        .filter(|view| left.iter().any(|id| **id == view.id.as_str()));
    let one = |view: &distributary_core::decision::EndpointView| match view.state.failure {
        Some(failure) => format!("{}: {} ({failure})", view.id, view.state.reason),
        None => format!("{}: {}", view.id, view.state.reason),
    };
    let mut text = views.map(one).collect::<Vec<_>>().join("; ");
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}
