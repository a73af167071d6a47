//! What would be written, with whole bodies, for people to look at before it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::objects::Objects;
use super::order::{Step, StepChange, due};
use super::ownership::Owner;
use super::rendering::Wanted;
use super::whole_objects;
use crate::render::merge::merge;
use crate::render::reading::{Text, Version, observed};
use crate::render::{Manifest, ObjectId, labels};
use distributary_core::ids::PolicyKey;

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
        version: Version,
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

/// What to write in its order, and what stands in the way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    pub writes: Vec<Write>,
    /// Objects of our names that the policy does not control: left alone.
    pub conflicts: Vec<ObjectId>,
}

/// Objects of a policy's namespace as observed: those that carry the policy's label, or one of its names.
pub type Observed = BTreeMap<ObjectId, Value>;

/// Compares. `uid` is the policy's: an object is ours if the policy controls it, or may adopt it; no other policy is known.
#[must_use]
pub fn diff(desired: &[Manifest], seen: &Observed, uid: &str) -> Diff {
    let mut objects = Objects::default();
    for (id, body) in seen {
        let mut object = observed(id.kind, body.clone());
        // They are all of one namespace, whether they say so or not.
        object.namespace = String::new();
        if let Some(policy) = &mut object.lost_by {
            policy.namespace = String::new();
        }
        objects.see(object);
    }
    let wanted: Vec<Wanted<Text>> = desired.iter().cloned().map(whole_objects::wanted).collect();
    let name = desired
        .first()
        .and_then(|first| first.body["metadata"]["labels"][labels::POLICY].as_str());
    let owner = Owner {
        key: &PolicyKey::new("", name.unwrap_or_default()),
        uid,
        living: &BTreeMap::new(),
        deleting: false,
    };
    let due = due(&wanted, &BTreeSet::new(), &objects, owner);
    Diff {
        writes: due.steps.into_iter().map(write).collect(),
        conflicts: due.conflicts,
    }
}

fn write(step: Step<Text>) -> Write {
    // Texts are our own: they are JSON.
    let tree = |text: &Text| serde_json::from_str(text).unwrap_or_default();
    let id = step.id;
    match step.change {
        StepChange::Create(body) => Write::Create(Manifest {
            body: tree(&body),
            id,
        }),
        StepChange::Put { onto, wanted } => Write::Update(Manifest {
            body: merge(id.kind, tree(&onto), &tree(&wanted)),
            id,
        }),
        StepChange::Delete { uid, version } => Write::Delete { id, uid, version },
    }
}

#[cfg(test)]
mod tests;
