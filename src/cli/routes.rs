//! The routes of a plan, for people and for programs.

use serde_json::{Map, Value, json};

use super::output::Table;
use crate::domain::decision::DecisionState;
use crate::domain::plan::{Route, RouteState, RoutingPlan};
use crate::domain::target::TargetId;
use crate::render;
use crate::render::config_map::{admission, state};

/// Every route by its name, in the order in which they are written.
pub fn all(plan: &RoutingPlan) -> Vec<(String, &Route)> {
    render::routes(plan)
        .into_iter()
        .map(|(name, route)| (name.to_string(), route))
        .collect()
}

/// Whether every route leads to somebody who is well.
pub fn are_well(plan: &RoutingPlan) -> bool {
    all(plan).into_iter().all(|(_, route)| is_well(route))
}

pub const fn is_well(route: &Route) -> bool {
    matches!(route.state, RouteState::Served | RouteState::Fallback)
}

/// The names of the routes that a target is in.
pub fn of_target(plan: &RoutingPlan, target: &TargetId) -> Vec<String> {
    let is_in = |(_, route): &(String, &Route)| route.members.iter().any(|member| member.target == *target);
    all(plan)
        .into_iter()
        .filter(is_in)
        .map(|(name, _)| name)
        .collect()
}

pub fn document(plan: &RoutingPlan) -> Value {
    let each = |(name, route): (String, &Route)| {
        let members = route.members.iter().map(|member| {
            json!({
                "endpoint": member.target.endpoint.as_str(),
                "address": member.address,
                "port": member.port,
                "weight": member.weight,
                "inSlice": member.in_slice,
                "admission": admission(member.admission),
            })
        });
        let route = json!({"state": state(route.state), "targets": members.collect::<Vec<_>>()});
        (name, route)
    };
    Value::Object(all(plan).into_iter().map(each).collect::<Map<_, _>>())
}

pub fn table(plan: &RoutingPlan) -> String {
    let mut table = Table::new(&[
        "ROUTE", "STATE", "ENDPOINT", "ADDRESS", "WEIGHT", "IN SLICE", "WHY",
    ]);
    for (name, route) in all(plan) {
        let state = state(route.state).to_owned();
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
                admission(member.admission).to_owned(),
            ]);
        }
    }
    table.text()
}

const fn why_nobody() -> &'static str {
    "nobody may serve: it leads nowhere"
}

/// Why there are no routes; `None`: there are.
pub fn undecided(state: &DecisionState) -> Option<String> {
    match state {
        DecisionState::Decided(_) => None,
        DecisionState::Suspended => Some("mode is Suspend: routes stay as they are".to_owned()),
        DecisionState::Waiting { unchecked } => Some(format!(
            "routes stay as they are until every server was checked; {unchecked} to go"
        )),
        DecisionState::IdentityChanged { known, shown, .. } => Some(format!(
            "the declared primary shows the system identifier {shown}, not {known}: routes stay as they are"
        )),
    }
}
