//! The routes of a plan by their names: what their Services end with, and where routing.json has them.
//!
//! Order: `rw`, `ro`, classes, regions. It is that in which slices are written: what people use most goes first.

use crate::plan::{Route, RoutingPlan};
use crate::policy::Policy;
use crate::routing::Class;

/// The route of writes.
pub const WRITES: &str = "rw";
/// The route of reads that no class names.
pub const DEFAULT: &str = "ro";
/// The class, and so the route, of reads that prefer the primary, unless the policy gives the name to others.
pub const PRIMARY_PREFERRED: &str = "primary-preferred";
/// The TCP port of every Service.
pub const SERVICE_PORT: u16 = 5432;

/// A route with its name.
pub struct Named<'a> {
    pub name: String,
    pub route: &'a Route,
    /// Whether a Service leads to it.
    pub service: bool,
}

/// Every route of a plan.
#[must_use]
pub fn routes<'a>(policy: &Policy, plan: &'a RoutingPlan) -> Vec<Named<'a>> {
    let mut routes = Vec::new();
    let mut add = |name: String, route: Option<&'a Route>, service: bool| {
        let service = service && policy.outputs.services.is_some();
        routes.extend(route.map(|route| Named { name, route, service }));
    };
    add(WRITES.to_owned(), Some(&plan.rw), true);
    add(DEFAULT.to_owned(), Some(&plan.ro), true);
    for class in policy.routing.classes.iter().filter(|class| class.has_route()) {
        add(
            class.name.to_string(),
            plan.classes.get(&class.name),
            has_service(policy, class),
        );
    }
    for region in &policy.routing.regions {
        let route = plan.regions.get(&region.name);
        add(of_region(&region.name), route, policy.outputs.per_region);
    }
    routes
}

/// The names of the Services of a policy.
#[must_use]
pub fn services(policy: &Policy) -> Vec<String> {
    let Some(prefix) = &policy.outputs.services else {
        return Vec::new();
    };
    let classes = policy.routing.classes.iter();
    let of_classes = classes
        .filter(|class| has_service(policy, class))
        .map(|class| class.name.to_string());
    let regions = policy
        .routing
        .regions
        .iter()
        .filter(|_| policy.outputs.per_region);
    let of_regions = regions.map(|region| of_region(&region.name));
    let both = [WRITES, DEFAULT].map(ToOwned::to_owned).into_iter();
    let suffixes = both.chain(of_classes).chain(of_regions);
    suffixes.map(|suffix| service(prefix, &suffix)).collect()
}

/// What is built in alone is in routing.json: a Service of it would lead where `rw` and `ro` do.
fn has_service(policy: &Policy, class: &Class) -> bool {
    policy.outputs.per_class && class.declared && class.has_route()
}

/// The name of the Service of a route: `PREFIX-rw`, `PREFIX-ro`, `PREFIX-CLASS`, `PREFIX-ro-REGION`. A prefix has at most 40
/// characters, so that it is a valid name.
#[must_use]
pub fn service(prefix: &str, route: &str) -> String {
    format!("{prefix}-{route}")
}

/// The name of the route of a region.
#[must_use]
pub fn of_region(region: &str) -> String {
    format!("ro-{region}")
}

/// The place of a route in the order of writes, by its name.
#[must_use]
pub fn place(name: &str) -> u8 {
    match name {
        WRITES | DEFAULT | "" => 0,
        name if name.starts_with("ro-") => 2,
        _ => 1,
    }
}
