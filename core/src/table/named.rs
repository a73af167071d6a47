//! The routes of a plan by their names: what their Services end with, and where routing.json has them.
//!
//! Order: `rw`, `ro`, classes, regions. It is that in which slices are written: what people use most goes first.

use crate::ids::EndpointId;
use crate::outputs::Outputs;
use crate::plan::{Route, RoutingPlan};
use crate::policy::{DeclaredRole, Endpoint, EndpointState, Policy};
use crate::routing::{Class, Destination, REGION_PREFIX};

pub use crate::routing::{DEFAULT, WRITES, of_region};

/// The class, and so the route, of reads that prefer the primary, unless the policy gives the name to others.
pub const PRIMARY_PREFERRED: &str = "primary-preferred";
/// The TCP port of every Service.
pub const SERVICE_PORT: u16 = 5432;

/// A route with its name.
pub struct NamedRoute<'a> {
    pub name: String,
    pub route: &'a Route,
    /// Whether a Service leads to it.
    pub service: bool,
}

/// Every route of a plan by its name, those of classes with their class.
fn all<'a, 'b>(
    policy: &'b Policy,
    plan: &'a RoutingPlan,
) -> impl Iterator<Item = (String, &'a Route, Option<&'b Class>)> {
    let first = [(WRITES, &plan.rw), (DEFAULT, &plan.ro)];
    let first = first.map(|(name, route)| (name.to_owned(), route, None));
    let classes = policy.routing.classes.iter().filter(|class| class.has_route());
    let of_classes = classes.filter_map(|class| {
        Some((
            class.name.to_string(),
            plan.classes.get(&class.name)?,
            Some(class),
        ))
    });
    let regions = policy.routing.regions.iter();
    let of_regions =
        regions.filter_map(|region| Some((of_region(&region.name), plan.regions.get(&region.name)?, None)));
    first.into_iter().chain(of_classes).chain(of_regions)
}

/// Every route of a plan, and whether a Service leads to it.
#[must_use]
pub fn routes<'a>(policy: &Policy, outputs: &Outputs, plan: &'a RoutingPlan) -> Vec<NamedRoute<'a>> {
    let named = |(name, route, class): (String, &'a Route, Option<&Class>)| {
        let service = match class {
            Some(class) => has_service(policy, outputs, class),
            None => name == WRITES || name == DEFAULT || outputs.per_region,
        };
        NamedRoute {
            service: service && outputs.services.is_some(),
            name,
            route,
        }
    };
    all(policy, plan).map(named).collect()
}

/// Those without the routes of built-in classes that lead where `rw` and `ro` do.
fn own<'a, 'b>(
    policy: &'b Policy,
    plan: &'a RoutingPlan,
) -> impl Iterator<Item = (String, &'a Route, Option<&'b Class>)> {
    all(policy, plan).filter(move |(.., class)| class.is_none_or(|class| policy.has_own_route(class)))
}

/// Every route of a plan by its name, without those of built-in classes that lead where `rw` and `ro` do.
#[must_use]
pub fn declared<'a>(policy: &Policy, plan: &'a RoutingPlan) -> Vec<(String, &'a Route)> {
    let own = own(policy, plan);
    own.map(|(name, route, _)| (name, route)).collect()
}

/// The routes of [`declared`], each with the number of endpoints that are meant to serve it and Active, whether they are well or not:
/// of `rw` the `holder` of the writes, or else the declared primary; of reads the others that have a weight and are no fallback.
#[must_use]
pub fn meant<'a>(
    policy: &Policy,
    plan: &'a RoutingPlan,
    holder: Option<&EndpointId>,
) -> Vec<(String, &'a Route, usize)> {
    let holder = holder.filter(|id| policy.endpoint(id).is_some());
    let writes = |endpoint: &Endpoint| match holder {
        Some(id) => endpoint.id == *id,
        None => endpoint.declared == DeclaredRole::Primary,
    };
    let is_active = |endpoint: &&Endpoint| endpoint.state == EndpointState::Active;
    let active: Vec<_> = policy.endpoints.iter().filter(is_active).collect();
    let writers = active.iter().filter(|endpoint| writes(endpoint)).count();
    let readers = |class: Option<&Class>| {
        let reads = |endpoint: &&&Endpoint| {
            !writes(endpoint) && endpoint.weight > 0 && policy.prefers(class, endpoint)
        };
        active.iter().filter(reads).count()
    };
    let of_reads = |class: Option<&Class>| {
        let unnamed = Destination::from(policy.routing.default_destination);
        match class.map_or(unnamed, |class| class.destination) {
            Destination::PrimaryPreferred if policy.routing.replicas => writers + readers(class),
            Destination::Replicas | Destination::ReplicasOnly if policy.routing.replicas => readers(class),
            _ => writers,
        }
    };
    let own = own(policy, plan);
    own.map(|(name, route, class)| {
        let meant = if name == WRITES { writers } else { of_reads(class) };
        (name, route, meant)
    })
    .collect()
}

/// The names of the Services of a policy.
#[must_use]
pub fn services(policy: &Policy, outputs: &Outputs) -> Vec<String> {
    let services = routes_with_services(policy, outputs).into_iter();
    services.map(|(_, service)| service).collect()
}

/// The names of the routes of a policy that Services lead to, each with that of its Service.
#[must_use]
pub fn routes_with_services(policy: &Policy, outputs: &Outputs) -> Vec<(String, String)> {
    let Some(prefix) = &outputs.services else {
        return Vec::new();
    };
    let classes = policy.routing.classes.iter();
    let of_classes = classes
        .filter(|class| has_service(policy, outputs, class))
        .map(|class| class.name.to_string());
    let regions = policy.routing.regions.iter().filter(|_| outputs.per_region);
    let of_regions = regions.map(|region| of_region(&region.name));
    let both = [WRITES, DEFAULT].map(ToOwned::to_owned).into_iter();
    let routes = both.chain(of_classes).chain(of_regions);
    let with_service = |route: String| {
        let service = service(prefix, &route);
        (route, service)
    };
    routes.map(with_service).collect()
}

/// What is built in, and no endpoint is dedicated to, is in routing.json alone: a Service of it would lead where `rw` and `ro`
/// do.
fn has_service(policy: &Policy, outputs: &Outputs, class: &Class) -> bool {
    outputs.per_class && policy.has_own_route(class)
}

/// The name of the Service of a route: `PREFIX-rw`, `PREFIX-ro`, `PREFIX-CLASS`, `PREFIX-ro-REGION`. A prefix has at most 40
/// characters, so that it is a valid name.
#[must_use]
pub fn service(prefix: &str, route: &str) -> String {
    format!("{prefix}-{route}")
}

/// The place of a route in the order of writes, by its name.
#[must_use]
pub fn write_order(name: &str) -> u8 {
    match name {
        WRITES | DEFAULT => 0,
        name if name.starts_with(REGION_PREFIX) => 2,
        _ => 1,
    }
}
