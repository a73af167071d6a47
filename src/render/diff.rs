//! From what should be and what is to a list of writes, in a safe order. Pure: the order is tested without a server.
//!
//! Order: slices; Services; the ConfigMap; what is no longer wanted. Of the slices those of `rw` and `ro` first, then of
//! classes, then of regions; each time those that only lose targets, then the others, then those whose targets are in another
//! one now. kube-proxy in nftables mode synchronises at once and then not again for a second, so what people use most
//! goes first. A Service is made after its slices: its first synchronisation finds them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Kind, Manifest, ObjectId, labels};
use distributary_core::table::named;

/// One request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// POST.
    Create(Manifest),
    /// PUT of the observed object with our fields replaced; uid and resourceVersion as observed.
    Update(Manifest),
    /// DELETE, if uid and resourceVersion are still those.
    Delete {
        id: ObjectId,
        uid: String,
        resource_version: String,
    },
}

impl Write {
    #[must_use]
    pub const fn id(&self) -> &ObjectId {
        match self {
            Self::Create(manifest) | Self::Update(manifest) => &manifest.id,
            Self::Delete { id, .. } => id,
        }
    }

    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Update(_) => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

/// What to write, and what stands in the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    pub writes: Vec<Write>,
    /// Objects of our names that the policy does not control: left alone.
    pub conflicts: Vec<ObjectId>,
}

/// Objects of the policy's namespace as observed: those that carry the policy's label, or one of its names.
pub type Observed = BTreeMap<ObjectId, Value>;

/// Compares. `uid` is the policy's: an object is ours if the policy controls it.
#[must_use]
pub fn diff(desired: &[Manifest], observed: &Observed, uid: &str) -> Diff {
    let mut diff = Diff::default();
    let mut ranked = Vec::new();
    for manifest in desired {
        match observed.get(&manifest.id) {
            None => ranked.push((rank(None, manifest, desired), Write::Create(manifest.clone()))),
            Some(is) if !controls(uid, is) => diff.conflicts.push(manifest.id.clone()),
            Some(is) => {
                let body = updated(is, manifest);
                if body != *is {
                    let update = Manifest {
                        id: manifest.id.clone(),
                        body,
                    };
                    ranked.push((rank(Some(is), manifest, desired), Write::Update(update)));
                }
            }
        }
    }
    let wanted: BTreeSet<&ObjectId> = desired.iter().map(|manifest| &manifest.id).collect();
    for (id, is) in observed
        .iter()
        .filter(|(id, is)| !wanted.contains(id) && controls(uid, is))
    {
        let rank = match id.kind {
            Kind::EndpointSlice if gives_away(is, None, desired) => Rank::Slice(place(is), Change::GivesAway),
            Kind::EndpointSlice => Rank::Slice(place(is), Change::Goes),
            Kind::Service | Kind::ConfigMap => Rank::Unwanted,
        };
        let text = |field: &str| is["metadata"][field].as_str().unwrap_or_default().to_owned();
        let delete = Write::Delete {
            id: id.clone(),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
        };
        ranked.push((rank, delete));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    diff.writes = ranked.into_iter().map(|(_, write)| write).collect();
    diff
}

/// Whether the policy of this uid controls the object: as its controller or, where it has none, by our annotation.
#[must_use]
pub fn controls(uid: &str, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let owners = metadata["ownerReferences"].as_array();
    let controller = owners.and_then(|owners| owners.iter().find(|owner| owner["controller"] == json!(true)));
    match controller {
        Some(owner) => owner["uid"] == json!(uid),
        None => metadata["annotations"][labels::POLICY_UID] == json!(uid),
    }
}

/// The place of a write in the order.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    /// By the place of its route.
    Slice(u8, Change),
    Service,
    ConfigMap,
    Unwanted,
}

#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
enum Change {
    Goes,
    OnlyLoses,
    Gains,
    /// After the slices that gain: a target that moves from one slice to another is in both for a moment, never in none.
    GivesAway,
}

fn rank(observed: Option<&Value>, manifest: &Manifest, desired: &[Manifest]) -> Rank {
    let is = |change: &dyn Fn(&Value) -> bool| observed.is_some_and(change);
    match manifest.id.kind {
        Kind::EndpointSlice => {
            let change = if is(&|is| gives_away(is, Some(manifest), desired)) {
                Change::GivesAway
            } else if is(&|is| only_loses(is, &manifest.body)) {
                Change::OnlyLoses
            } else {
                Change::Gains
            };
            Rank::Slice(place(&manifest.body), change)
        }
        Kind::Service => Rank::Service,
        Kind::ConfigMap => Rank::ConfigMap,
    }
}

fn place(slice: &Value) -> u8 {
    let name = slice["metadata"]["labels"][labels::ROUTE].as_str();
    name.map_or(0, named::write_order)
}

fn only_loses(observed: &Value, desired: &Value) -> bool {
    let (before, after) = (addresses(observed), addresses(desired));
    after.is_subset(&before) && after != before
}

/// Whether something that a slice loses is to be in another one of its Service and port.
fn gives_away(observed: &Value, becomes: Option<&Manifest>, desired: &[Manifest]) -> bool {
    let of = |slice: &Value| {
        let service = &slice["metadata"]["labels"][labels::SERVICE_NAME];
        (service.clone(), slice["ports"][0]["port"].clone())
    };
    let kept = becomes
        .map(|manifest| addresses(&manifest.body))
        .unwrap_or_default();
    let lost = &addresses(observed) - &kept;
    let others = desired.iter().filter(|other| {
        let same = becomes.is_some_and(|becomes| becomes.id == other.id);
        other.id.kind == Kind::EndpointSlice && !same && of(&other.body) == of(observed)
    });
    !lost.is_empty()
        && others
            .into_iter()
            .any(|other| !lost.is_disjoint(&addresses(&other.body)))
}

fn addresses(slice: &Value) -> BTreeSet<String> {
    let endpoints = slice["endpoints"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    endpoints
        .iter()
        .map(|endpoint| endpoint["addresses"].to_string())
        .collect()
}

/// The observed object with our fields replaced. Allocated fields, foreign labels, annotations and keys are kept.
fn updated(observed: &Value, desired: &Manifest) -> Value {
    let mut body = observed.clone();
    metadata(&mut body["metadata"], &desired.body["metadata"]);
    match desired.id.kind {
        Kind::EndpointSlice => {
            for field in ["addressType", "endpoints", "ports"] {
                // The API server answers an empty list with null, or leaves it out.
                let empty = |list: &Value| list.is_null() || *list == json!([]);
                if !(empty(&body[field]) && empty(&desired.body[field])) {
                    body[field] = desired.body[field].clone();
                }
            }
        }
        Kind::Service => service(&mut body["spec"], &desired.body["spec"]),
        Kind::ConfigMap => {
            let before = observed["metadata"]["annotations"][labels::KEYS]
                .as_str()
                .unwrap_or_default();
            data(&mut body["data"], &desired.body["data"], before);
        }
    }
    body
}

fn metadata(is: &mut Value, desired: &Value) {
    for field in ["labels", "annotations"] {
        let own = desired[field].as_object().cloned().unwrap_or_default();
        let mut kept = is[field].as_object().cloned().unwrap_or_default();
        kept.retain(|key, _| !key.starts_with(labels::PREFIX));
        kept.extend(own);
        is[field] = Value::Object(kept);
    }
    let own = desired["ownerReferences"].as_array().cloned().unwrap_or_default();
    let foreign = is["ownerReferences"].as_array().cloned().unwrap_or_default();
    let foreign = foreign
        .into_iter()
        .filter(|owner| owner["kind"] != json!("ReplicaSetPolicy"));
    let owners: Vec<_> = foreign.chain(own).collect();
    if let Some(fields) = is.as_object_mut() {
        if owners.is_empty() {
            fields.remove("ownerReferences");
        } else {
            fields.insert("ownerReferences".to_owned(), Value::Array(owners));
        }
    }
}

/// A selector would hand our slices to another controller; externalIPs would take traffic of others.
fn service(is: &mut Value, desired: &Value) {
    let Some(spec) = is.as_object_mut() else { return };
    for field in ["selector", "externalIPs", "externalName", "loadBalancerIP"] {
        spec.remove(field);
    }
    for (field, value) in desired.as_object().into_iter().flatten() {
        spec.insert(field.clone(), value.clone());
    }
}

/// Keys that were ours and are no longer rendered go; keys of others stay.
fn data(is: &mut Value, desired: &Value, ours_before: &str) {
    let mut kept: Map<String, Value> = is.as_object().cloned().unwrap_or_default();
    for key in ours_before.split(',') {
        kept.remove(key);
    }
    kept.extend(desired.as_object().cloned().unwrap_or_default());
    *is = Value::Object(kept);
}

#[cfg(test)]
mod tests;
