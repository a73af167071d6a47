//! The routes of a plan, for people and for programs.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde_json::{Value, json};

use super::output::Table;
use distributary_core::decision::DecisionState;
use distributary_core::ids::{EndpointId, TargetId};
use distributary_core::plan::{Admission, Member, Route, RouteState, RoutingPlan};
use distributary_core::policy::Policy;
use distributary_core::routing::Class;
use distributary_core::table::{RouteTarget, RoutingTable, Subject};

pub use distributary_core::table::named::declared as all;

/// Whether every route leads to somebody who is well.
pub fn are_well(policy: &Policy, plan: &RoutingPlan) -> bool {
    all(policy, plan).into_iter().all(|(_, route)| is_well(route))
}

pub const fn is_well(route: &Route) -> bool {
    matches!(route.state, RouteState::Served | RouteState::Fallback)
}

/// The names of the routes whose slices hold a target.
pub fn of_target(policy: &Policy, plan: &RoutingPlan, target: &TargetId) -> Vec<String> {
    let serves = |member: &Member| member.in_slice && member.target == *target;
    let is_in = |(_, route): &(String, &Route)| route.members.iter().any(serves);
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

/// A server in a route, as it is shown.
pub struct Place {
    pub endpoint: String,
    pub address: SocketAddr,
    /// In hundredths.
    pub weight: u32,
    pub order: u16,
    pub in_slice: bool,
    /// Whether the route has a Service, and so slices: a built-in class has none.
    pub has_service: bool,
    pub in_uris: bool,
    pub admission: Admission,
}

impl Place {
    fn of(member: &Member) -> Self {
        Self {
            endpoint: member.target.endpoint.to_string(),
            address: SocketAddr::new(member.address, member.port),
            weight: member.weight,
            order: member.order,
            in_slice: member.in_slice,
            has_service: true,
            in_uris: member.in_uris,
            admission: member.admission,
        }
    }

    /// As routing.json has it.
    pub fn of_table(target: &RouteTarget, has_service: bool) -> Self {
        Self {
            endpoint: target.endpoint.clone(),
            address: SocketAddr::new(target.address, target.port),
            weight: target.weight,
            order: target.order,
            in_slice: target.in_slice,
            has_service,
            in_uris: target.is_in_uris(),
            admission: target.admission,
        }
    }

    const fn slice(&self) -> &'static str {
        match (self.has_service, self.in_slice) {
            (false, _) => "-",
            (true, true) => "yes",
            (true, false) => "no",
        }
    }

    /// On what ground it is in the route, or why it is not in the slice; empty where it is as well as all others.
    fn why(&self, nearest: u16) -> &'static str {
        match self.admission {
            Admission::Eligible if self.in_slice => "",
            Admission::Eligible if self.order > nearest => "nearer servers come first",
            Admission::Eligible if self.in_uris => "its address is of another IP family",
            Admission::Eligible => "returning",
            admission => admission.word(),
        }
    }
}

pub fn table(policy: &Policy, plan: &RoutingPlan) -> String {
    let places = |(name, route): (String, &Route)| {
        let places: Vec<_> = route.members.iter().map(Place::of).collect();
        (name, route.state, places)
    };
    of_places(all(policy, plan).into_iter().map(places))
}

/// To whom the operations of a class go: a built-in class has no route of its own where nothing is dedicated to it.
struct Operations<'a> {
    class: &'a Class,
    endpoints: Vec<EndpointId>,
}

fn of_classes<'a>(policy: &'a Policy, plan: &RoutingPlan) -> Vec<Operations<'a>> {
    let named = policy.routing.classes.iter();
    let named = named.filter(|class| !class.operations.is_empty());
    let of_class = |class: &'a Class| {
        let route = if class.has_route() {
            plan.classes.get(&class.name)
        } else {
            Some(&plan.rw)
        };
        Operations {
            class,
            endpoints: route.map(Route::serving).unwrap_or_default(),
        }
    };
    named.map(of_class).collect()
}

/// The operations of each class, and the servers that they go to.
pub fn operations(policy: &Policy, plan: &RoutingPlan) -> String {
    let mut table = Table::new(&["CLASS", "OPERATIONS", "ENDPOINTS"]);
    for Operations { class, endpoints } in of_classes(policy, plan) {
        let ids: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
        table.row([
            class.name.to_string(),
            class.operations.join(", "),
            ids.join(", "),
        ]);
    }
    table.text()
}

/// The same for programs.
pub fn operations_document(policy: &Policy, plan: &RoutingPlan) -> Value {
    let one = |it: &Operations<'_>| {
        let ids: Vec<_> = it.endpoints.iter().map(ToString::to_string).collect();
        json!({"class": it.class.name.as_str(), "operations": it.class.operations, "endpoints": ids})
    };
    of_classes(policy, plan).iter().map(one).collect()
}

/// Routes with their states and servers.
pub fn of_places(routes: impl IntoIterator<Item = (String, RouteState, Vec<Place>)>) -> String {
    let mut table = Table::new(&[
        "ROUTE", "STATE", "ENDPOINT", "ADDRESS", "WEIGHT", "IN SLICE", "WHY",
    ]);
    for (name, state, places) in routes {
        let state = state.to_string();
        if places.is_empty() {
            let [endpoint, address, weight, slice] = std::array::from_fn(|_| String::new());
            let why = why_nobody().to_owned();
            table.row([name.clone(), state.clone(), endpoint, address, weight, slice, why]);
        }
        let nearest = places.iter().map(|place| place.order).min().unwrap_or(0);
        let near = || places.iter().filter(|place| place.order == nearest);
        let all: u32 = near().map(|place| place.weight).sum();
        for place in &places {
            let share = (place.order == nearest).then(|| percent(place.weight, all));
            table.row([
                name.clone(),
                state.clone(),
                place.endpoint.clone(),
                place.address.to_string(),
                share.unwrap_or_default(),
                place.slice().to_owned(),
                place.why(nearest).to_owned(),
            ]);
        }
    }
    table.text()
}

/// A part of a whole in percent, rounded; what is not nothing is not told as nothing.
fn percent(part: u32, whole: u32) -> String {
    let (part, whole) = (u64::from(part), u64::from(whole.max(1)));
    match (part * 200 + whole) / (whole * 2) {
        0 if part > 0 => "<1%".to_owned(),
        percent => format!("{percent}%"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_told_in_percent_of_the_nearest_servers() {
        let place = |endpoint: &str, (weight, order), in_slice, admission| Place {
            endpoint: endpoint.to_owned(),
            address: ([198, 18, 0, 1], 5432).into(),
            weight,
            order,
            in_slice,
            has_service: true,
            in_uris: in_slice,
            admission,
        };
        let places = vec![
            place("a", (100, 0), true, Admission::Eligible),
            place("b", (200, 0), true, Admission::Early),
            place("c", (1, 0), false, Admission::Eligible),
            place("far", (100, 1), false, Admission::Eligible),
        ];
        let routes = [
            ("ro".to_owned(), RouteState::Served, places),
            ("rw".to_owned(), RouteState::Empty, Vec::new()),
        ];
        let text = of_places(routes);
        let rows: Vec<_> = text.lines().skip(1).map(|line| line.split("  ")).collect();
        let rows = rows.into_iter().map(|cells| {
            let cells: Vec<_> = cells.map(str::trim).filter(|cell| !cell.is_empty()).collect();
            cells.join(" | ")
        });
        let expected = [
            "ro | Served | a | 198.18.0.1:5432 | 33% | yes | -",
            "ro | Served | b | 198.18.0.1:5432 | 66% | yes | AdmittedEarly",
            "ro | Served | c | 198.18.0.1:5432 | <1% | no | returning",
            "ro | Served | far | 198.18.0.1:5432 | - | no | nearer servers come first",
            "rw | Empty | - | - | - | - | no server may serve: the route leads nowhere",
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
