//! The routes of a plan, for people and for programs.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::output::Table;
use distributary_core::decision::DecisionState;
use distributary_core::ids::TargetId;
use distributary_core::plan::{Route, RouteState, RoutingPlan};
use distributary_core::policy::Policy;
use distributary_core::table::{RoutingTable, Subject};

pub use distributary_core::table::named::declared as all;

/// Whether every route leads to somebody who is well.
pub fn are_well(policy: &Policy, plan: &RoutingPlan) -> bool {
    all(policy, plan).into_iter().all(|(_, route)| is_well(route))
}

pub const fn is_well(route: &Route) -> bool {
    matches!(route.state, RouteState::Served | RouteState::Fallback)
}

/// The names of the routes that a target is in.
pub fn of_target(policy: &Policy, plan: &RoutingPlan, target: &TargetId) -> Vec<String> {
    let is_in = |(_, route): &(String, &Route)| route.members.iter().any(|member| member.target == *target);
    all(policy, plan)
        .into_iter()
        .filter(is_in)
        .map(|(name, _)| name)
        .collect()
}

/// The routes as routing.json has them.
pub fn document(subject: &Subject<'_>) -> Value {
    let mut routes = RoutingTable::new(subject).routes;
    let known: BTreeSet<_> = all(subject.policy, subject.plan)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    routes.retain(|name, _| known.contains(name));
    json!(routes)
}

pub fn table(policy: &Policy, plan: &RoutingPlan) -> String {
    let mut table = Table::new(&[
        "ROUTE", "STATE", "ENDPOINT", "ADDRESS", "WEIGHT", "IN SLICE", "WHY",
    ]);
    for (name, route) in all(policy, plan) {
        let state = route.state.to_string();
        if route.members.is_empty() {
            table.row([
                name.clone(),
                state.clone(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                why_nobody().to_owned(),
            ]);
        }
        for member in &route.members {
            table.row([
                name.clone(),
                state.clone(),
                member.target.endpoint.to_string(),
                std::net::SocketAddr::new(member.address, member.port).to_string(),
                member.weight.to_string(),
                if member.in_slice { "yes" } else { "no" }.to_owned(),
                member.admission.to_string(),
            ]);
        }
    }
    table.text()
}

const fn why_nobody() -> &'static str {
    "no server may serve: the route leads nowhere"
}

/// Why there are no routes; `None`: there are.
pub fn undecided(state: &DecisionState) -> Option<String> {
    match state {
        DecisionState::Decided(_) => None,
        DecisionState::Suspended => Some("mode is Suspend: the routes stay as they are".to_owned()),
        DecisionState::Waiting { unchecked } => Some(format!(
            "the routes stay as they are until every server has been checked; not checked yet: {unchecked}"
        )),
    }
}
