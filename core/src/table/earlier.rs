//! What version 0.1.0 left out of `routing.json`, which had the same version then: a reader adds it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::named::WRITES;
use crate::policy::EndpointState;
use crate::routing::{Destination, built_in};

/// The document with every field that can be told from its others. `healthCheck` cannot.
pub(super) fn completed(mut document: Value) -> Value {
    add(&mut document, "replicas", true);
    add(&mut document, "defaultTarget", Destination::Replicas.word());
    classes(&mut document);
    for route in map(&mut document, "routes") {
        nearest_in_slice(list(route, "targets"));
    }
    for endpoint in list(&mut document, "endpoints") {
        state(endpoint);
        connect_timeout(endpoint);
    }
    connect_timeout(&mut document);
    document
}

/// A class of a built-in name is built in, unless its route has a Service of its own.
fn classes(document: &mut Value) {
    let names: BTreeSet<_> = built_in().into_iter().map(|class| class.name).collect();
    let is_built_in = |name: &str| names.iter().any(|built_in| built_in.as_str() == name);
    let routes = document.get("routes").cloned().unwrap_or_default();
    for class in list(document, "classes") {
        let text = |field: &str| class.get(field).and_then(Value::as_str).unwrap_or_default();
        let (name, route) = (text("name"), text("route"));
        let served = route != WRITES
            && routes
                .get(route)
                .is_some_and(|route| route.get("service").is_some());
        let built_in = is_built_in(name) && !served;
        add(class, "builtIn", built_in);
    }
}

/// A slice holds the nearest targets alone.
fn nearest_in_slice(targets: &mut [Value]) {
    let order = |target: &Value| target.get("order").and_then(Value::as_u64);
    let nearest = targets.iter().filter_map(order).min();
    for target in targets {
        let is_nearest = order(target) == nearest;
        add(target, "inSlice", is_nearest);
    }
}

/// A draining endpoint, which was no other word then, counts as an active one that is in no route.
fn state(endpoint: &mut Value) {
    let active = endpoint.get("active").and_then(Value::as_bool).unwrap_or(true);
    let state = if active {
        EndpointState::Active
    } else {
        EndpointState::Disabled
    };
    add(endpoint, "state", state.word());
}

fn connect_timeout(owner: &mut Value) {
    let Some(connection) = owner.get_mut("connection") else {
        return;
    };
    let seconds = connection.get("connectTimeoutSeconds").and_then(Value::as_u64);
    if let Some(seconds) = seconds {
        add(
            connection,
            "connectTimeoutMilliseconds",
            seconds.saturating_mul(1000),
        );
    }
}

/// A field that is there stays as it is.
fn add(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(name).or_insert_with(|| value.into());
    }
}

fn list<'a>(object: &'a mut Value, name: &str) -> &'a mut [Value] {
    let items = object.get_mut(name).and_then(Value::as_array_mut);
    items.map(Vec::as_mut_slice).unwrap_or_default()
}

fn map<'a>(object: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> {
    let fields = object.get_mut(name).and_then(Value::as_object_mut);
    fields.into_iter().flat_map(serde_json::Map::values_mut)
}
