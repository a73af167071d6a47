//! Who serves each route, and when others took over.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::serving::why;
use super::words::FailoverKind;
use distributary_api::{FailoverStatus, ReplicaSetPolicyStatus, RouteStatus};
use distributary_core::decision::{Decision, EndpointView, RouteDecision};
use distributary_core::ids::EndpointId;
use distributary_core::outputs::Outputs;
use distributary_core::plan::{RouteState, RoutingPlan};
use distributary_core::policy::Policy;
use distributary_core::table::named::{self, DEFAULT, WRITES};

/// So many are remembered.
const MOST: usize = 10;
/// A reason is cut at this length.
const LONGEST: usize = 256;

/// `rw`, `ro`, and each other route with a Service.
pub fn routes(policy: &Policy, outputs: &Outputs, plan: &RoutingPlan) -> Vec<RouteStatus> {
    let routes = named::routes(policy, outputs, plan);
    let shown = routes
        .into_iter()
        .filter(|named| named.service || named.name == WRITES || named.name == DEFAULT);
    shown
        .map(|named| RouteStatus {
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
    let failover = |route: &RouteStatus| {
        let before = previous.routes.iter().find(|before| before.name == route.name)?;
        let (kind, from) = change(decision, decided, (before, route), previous)?;
        let left: Vec<_> = from.iter().filter(|id| !route.endpoints.contains(id)).collect();
        Some(FailoverStatus {
            at: now.clone(),
            route: route.name.clone(),
            kind: kind.into_str().to_owned(),
            reason: reason(decided, &left),
            from,
            to: route.endpoints.clone(),
        })
    };
    let mut all = previous.failovers.clone();
    all.extend(routes.iter().filter_map(failover));
    let old = all.len().saturating_sub(MOST);
    all.split_off(old)
}

/// What happened to a route between two statuses of it, and which endpoints served it before; `None`: nobody took over.
fn change(
    decision: &Decision,
    decided: &RouteDecision,
    (before, after): (&RouteStatus, &RouteStatus),
    previous: &ReplicaSetPolicyStatus,
) -> Option<(FailoverKind, Vec<String>)> {
    if after.name == WRITES {
        return change_of_writes(decided, (before, after), previous);
    }
    let is_fallback = |route: &RouteStatus| RouteState::from_word(&route.state) == Some(RouteState::Fallback);
    let kind = match (is_fallback(before), is_fallback(after)) {
        (false, true) => FailoverKind::ReadFallback,
        (true, false) => FailoverKind::ReadFallbackEnded,
        _ => {
            let regions = &decision.policy.routing.regions;
            let home = regions
                .iter()
                .find(|region| named::of_region(&region.name) == after.name)?;
            let is_near = |route: &RouteStatus| is_at_home(&decision.policy, &home.name, route);
            match (is_near(before)?, is_near(after)?) {
                (true, false) => FailoverKind::RegionLeft,
                (false, true) => FailoverKind::RegionRegained,
                _ => return None,
            }
        }
    };
    Some((kind, before.endpoints.clone()))
}

fn change_of_writes(
    decided: &RouteDecision,
    (before, after): (&RouteStatus, &RouteStatus),
    previous: &ReplicaSetPolicyStatus,
) -> Option<(FailoverKind, Vec<String>)> {
    let old = previous.primary.as_ref().map(|primary| primary.id.as_str());
    let new = decided
        .holding
        .holder
        .as_ref()
        .map(|holder| holder.endpoint.as_str());
    match (old, new) {
        (Some(old), Some(new)) if old != new && !is_server_of(previous, old, decided) => {
            Some((FailoverKind::PrimaryMoved, vec![old.to_owned()]))
        }
        _ if after.endpoints.is_empty() && !before.endpoints.is_empty() => {
            Some((FailoverKind::WritesWithdrawn, before.endpoints.clone()))
        }
        _ => None,
    }
}

/// Whether the writes lead to the server that this endpoint was before: it has another id by an edit, or is reached by another name.
fn is_server_of(previous: &ReplicaSetPolicyStatus, id: &str, decided: &RouteDecision) -> bool {
    let before = previous.endpoints.iter().find(|endpoint| endpoint.id == id);
    let now = decided.plan.rw.members.first();
    before.zip(now).is_some_and(|(before, now)| {
        before.address == Some(now.address.to_string()) && before.port == Some(now.port)
    })
}

/// Whether servers of the region serve its route; `None`: nobody does.
fn is_at_home(policy: &Policy, region: &str, route: &RouteStatus) -> Option<bool> {
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
    let one = |view: &EndpointView| why(&view.id, &view.state);
    let mut text = views.map(one).collect::<Vec<_>>().join("; ");
    if let Some((at, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(at);
        text.push('…');
    }
    text
}
