//! What a valid policy says in vain: names that match nothing. A person probably meant something else.

use std::collections::BTreeSet;

use distributary_core::policy::{DeclaredRole, Endpoint, EndpointState, Policy, PrimaryRole};
use distributary_core::routing::{Class, Destination, Region};

/// Each as a field and what is odd about it.
pub fn of(policy: &Policy) -> Vec<String> {
    let classes = policy.routing.classes.iter().filter(|class| class.declared);
    let mut all: Vec<_> = classes.flat_map(|class| of_class(class, policy)).collect();
    all.extend(
        policy
            .routing
            .regions
            .iter()
            .flat_map(|region| of_region(region, policy)),
    );
    all.extend(of_promotion(policy));
    all
}

fn of_class(class: &Class, policy: &Policy) -> Vec<String> {
    let field = format!("routing.classes[{}]", class.name);
    let has = |tag: &String| {
        policy
            .endpoints
            .iter()
            .any(|endpoint| endpoint.tags.contains(tag))
    };
    let tags = class.selector.tags.iter().filter(|tag| !has(tag));
    let mut all: Vec<_> = tags
        .map(|tag| format!("{field}.replicaSelector.tags: no server has the tag {tag}"))
        .collect();
    if class.operations.is_empty() && class.destination != Destination::Primary {
        all.push(format!(
            "{field}: the class has no operations: only its Service, and requests that name the class, use it"
        ));
    }
    if class.operations.is_empty() && class.destination == Destination::Primary {
        all.push(format!(
            "{field}: the class has neither operations nor a Service: nothing uses it"
        ));
    }
    all
}

fn of_region(region: &Region, policy: &Policy) -> Vec<String> {
    let regions: BTreeSet<_> = policy
        .endpoints
        .iter()
        .filter_map(|endpoint| endpoint.region.as_deref())
        .collect();
    let name = &region.name;
    let own = (!regions.contains(name.as_str()))
        .then(|| format!("loadBalancing.regions[{name}]: no server is in the region {name}"));
    let failover = region.failover.iter();
    let others = failover
        .filter(|other| !regions.contains(other.as_str()))
        .map(|other| format!("loadBalancing.regions[{name}].failover: no server is in the region {other}"));
    own.into_iter().chain(others).collect()
}

/// Where the writes may move, but to no server.
fn of_promotion(policy: &Policy) -> Option<String> {
    let may = |endpoint: &Endpoint| endpoint.promotable && endpoint.state == EndpointState::Active;
    let replicas: Vec<_> = policy
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.declared == DeclaredRole::Replica)
        .collect();
    let none = !replicas.is_empty() && !replicas.iter().any(|endpoint| may(endpoint));
    (none && policy.failover.primary_role == PrimaryRole::Follow).then(|| {
        "failover.primaryRole: no replica may take over the writes: each has promotable false, or a state other than Active"
            .to_owned()
    })
}
