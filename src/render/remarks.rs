//! What a valid policy says in vain: names that match nothing, and settings that have no effect. A person probably meant something else.

use std::collections::BTreeSet;

use distributary_api::notation;
use distributary_api::validate::structure::is_mistyped;
use distributary_core::policy::{
    DeclaredRole, Endpoint, EndpointState, LagSource, Policy, PrimaryRole, Strategy,
};
use distributary_core::routing::{Class, Destination, Region};

/// Each as a field and what is odd about it. A class that only its Service leads to is well where that is meant, so it is none of the
/// [`mistakes`].
pub fn of(policy: &Policy) -> Vec<String> {
    let mut all: Vec<_> = declared(policy).filter_map(without_operations).collect();
    all.extend(mistakes(policy));
    all
}

/// Those that nobody can have meant: they stay in the status.
pub fn mistakes(policy: &Policy) -> Vec<String> {
    let mut all: Vec<_> = declared(policy)
        .flat_map(|class| of_class(class, policy))
        .collect();
    all.extend(
        policy
            .routing
            .regions
            .iter()
            .flat_map(|region| of_region(region, policy)),
    );
    all.extend(of_reads(policy));
    all.extend(
        policy
            .endpoints
            .iter()
            .flat_map(|endpoint| of_endpoint(endpoint, policy)),
    );
    all.extend(of_checks(policy));
    all.extend(of_promotion(policy));
    all
}

fn declared(policy: &Policy) -> impl Iterator<Item = &Class> {
    policy.routing.classes.iter().filter(|class| class.declared)
}

fn field(class: &Class) -> String {
    format!("routing.classes[{}]", class.name)
}

fn without_operations(class: &Class) -> Option<String> {
    let is_led_to = class.operations.is_empty() && class.destination != Destination::Primary;
    is_led_to.then(|| {
        format!(
            "{}: the class has no operations: only its Service, and requests that name the class, use it",
            field(class)
        )
    })
}

fn of_class(class: &Class, policy: &Policy) -> Vec<String> {
    let field = field(class);
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
    let selected = || {
        let replicas = policy
            .endpoints
            .iter()
            .filter(|it| it.declared == DeclaredRole::Replica);
        replicas.filter(|it| class.selector.selects(&it.id, &it.tags))
    };
    let none = !class.selector.selects_all() && selected().next().is_some();
    if none && selected().all(|endpoint| endpoint.state != EndpointState::Active) {
        all.push(format!(
            "{field}.replicaSelector: each replica that it selects has a state other than Active"
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

/// Reads without a class that no replica gets, or too few even where all servers are well.
fn of_reads(policy: &Policy) -> Option<String> {
    let is_replica = |endpoint: &&Endpoint| endpoint.declared == DeclaredRole::Replica;
    let replicas = || policy.endpoints.iter().filter(is_replica);
    let serves = |endpoint: &&Endpoint| {
        endpoint.state == EndpointState::Active && endpoint.weight > 0 && endpoint.dedicated_to.is_empty()
    };
    if !policy.routing.replicas || replicas().next().is_none() {
        return None;
    }
    let active = replicas().filter(|endpoint| endpoint.state != EndpointState::Disabled);
    let wanted = policy.failover.min_healthy.of(active.count());
    match replicas().filter(serves).count() {
        0 => Some(
            "replicas: reads have no replica: each has weight 0, is dedicated to classes, or has a state other than Active"
                .to_owned(),
        ),
        serving if serving < wanted => {
            let replicas = if serving == 1 { "replica" } else { "replicas" };
            Some(format!(
                "failover.minHealthyReplicas: it is {wanted}, and only {serving} {replicas} can serve reads: the fallback is always used"
            ))
        }
        _ => None,
    }
}

fn of_endpoint(endpoint: &Endpoint, policy: &Policy) -> Vec<String> {
    let field = if endpoint.declared == DeclaredRole::Primary {
        "primary".to_owned()
    } else {
        format!("replicas[{}]", endpoint.id)
    };
    let mut all = Vec::new();
    if endpoint.weight > 1 && policy.strategy != Strategy::Weighted {
        all.push(format!(
            "{field}.weight: weights other than 0 have an effect under loadBalancing.strategy Weighted alone"
        ));
    }
    let own = endpoint.region.as_deref().unwrap_or_default();
    let here = policy
        .endpoints
        .iter()
        .filter(|it| it.region.as_deref() == Some(own));
    let others = policy.endpoints.iter().filter_map(|it| it.region.as_deref());
    let declared = policy.routing.regions.iter().map(|region| region.name.as_str());
    let meant = declared.filter(|name| others.clone().any(|other| other == *name));
    let meant = meant.filter(|name| is_mistyped(own, name)).min();
    if let Some(meant) = meant.filter(|_| here.count() == 1) {
        all.push(format!(
            "{field}.region: no other server is in the region {own}: did you mean {meant}?"
        ));
    }
    if endpoint.lag.own && endpoint.lag.source != LagSource::None && endpoint.lag.max.is_zero() {
        all.push(format!("{field}.replicationLag.max: {NO_LAG}"));
    }
    all
}

const NO_LAG: &str = "it is 0s: a replica leaves the routes with any lag";

fn of_checks(policy: &Policy) -> Vec<String> {
    let mut all = Vec::new();
    let inherits = |endpoint: &&Endpoint| !endpoint.lag.own && endpoint.lag.source != LagSource::None;
    if policy
        .endpoints
        .iter()
        .filter(inherits)
        .any(|endpoint| endpoint.lag.max.is_zero())
    {
        all.push(format!("replicationLag.max: {NO_LAG}"));
    }
    let (timeout, most) = (policy.probing.timeout, policy.probing.failover_timeout);
    if timeout > most {
        all.push(format!(
            "healthCheck.timeout: it is above failoverTimeout, {}: no check takes longer than that",
            notation(most)
        ));
    }
    all
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
