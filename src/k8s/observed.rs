//! Our objects as last seen: by a watch, or in the answer to our own write, whichever is newer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::Scope;
use crate::render::diff::Observed;
use crate::render::{Kind, ObjectId, labels};
use distributary_core::ids::PolicyKey;

/// Objects that carry our label, by policy. Shared by watches and passes; held only to read or replace.
#[derive(Debug, Default)]
pub struct ObservedObjects(Mutex<State>);

/// Namespace and object.
type Place = (String, ObjectId);

/// An object as text: its tree takes ten times the memory.
#[derive(Debug)]
struct Kept {
    version: u64,
    text: Box<str>,
}

#[derive(Debug, Default)]
struct State {
    objects: HashMap<PolicyKey, BTreeMap<ObjectId, Kept>>,
    /// The policy under which an object is kept, by namespace.
    owners: BTreeMap<Place, PolicyKey>,
    /// What was seen since a list of (kind, scope) began.
    listed: HashMap<(Kind, Scope), BTreeSet<Place>>,
}

impl ObservedObjects {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The objects of a policy.
    #[must_use]
    pub fn of(&self, key: &PolicyKey) -> Observed {
        let state = self.state();
        let kept = state.objects.get(key).into_iter().flatten();
        kept.filter_map(|(id, kept)| Some((id.clone(), serde_json::from_str(&kept.text).ok()?)))
            .collect()
    }

    /// An object as a watch, or the answer to a request, shows it. Older than what is known, it changes nothing.
    pub fn seen(&self, kind: Kind, object: Value) -> Option<PolicyKey> {
        let key = labelled(&object)?;
        self.keep(&key, kind, object);
        Some(key)
    }

    /// Keeps an object under a policy whatever its labels say: one of its names.
    pub fn keep(&self, key: &PolicyKey, kind: Kind, mut object: Value) {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let id = ObjectId {
            kind,
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
        };
        let at = (key.namespace.clone(), id.clone());
        let mut state = self.state();
        for ((listing, _), names) in &mut state.listed {
            if *listing == kind {
                names.insert(at.clone());
            }
        }
        let version = version(&object);
        if state.version(&at).is_none_or(|known| known <= version) {
            state.remove(&at);
            state.owners.insert(at, key.clone());
            let text = object.to_string().into_boxed_str();
            state
                .objects
                .entry(key.clone())
                .or_default()
                .insert(id, Kept { version, text });
        }
    }

    /// An object is gone at `object`'s version; the policy that it was kept under.
    pub fn gone(&self, kind: Kind, object: &Value) -> Option<PolicyKey> {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        let at = (
            text("namespace"),
            ObjectId {
                kind,
                name: text("name"),
            },
        );
        let mut state = self.state();
        let newer = state.version(&at).is_some_and(|known| known <= version(object));
        if newer { state.remove(&at) } else { None }
    }

    /// Forgets an object that a request did not find.
    pub fn absent(&self, namespace: &str, id: &ObjectId) {
        self.state().remove(&(namespace.to_owned(), id.clone()));
    }

    /// A list of all objects of a kind begins.
    pub fn list_begins(&self, kind: Kind, scope: Option<&str>) {
        self.state()
            .listed
            .insert((kind, scope.map(ToOwned::to_owned)), BTreeSet::new());
    }

    /// The list ends: what it did not show, nor anyone since it began, is gone.
    pub fn list_ends(&self, kind: Kind, scope: Option<&str>) -> Vec<PolicyKey> {
        let mut state = self.state();
        let Some(listed) = state.listed.remove(&(kind, scope.map(ToOwned::to_owned))) else {
            return Vec::new();
        };
        let of_list = |at: &Place| at.1.kind == kind && scope.is_none_or(|scope| scope == at.0);
        let lost: Vec<_> = state
            .owners
            .keys()
            .filter(|at| of_list(at) && !listed.contains(*at))
            .cloned()
            .collect();
        lost.iter().filter_map(|at| state.remove(at)).collect()
    }

    /// Forgets the objects of a policy that is gone.
    pub fn forget(&self, key: &PolicyKey) {
        let mut state = self.state();
        state.objects.remove(key);
        state.owners.retain(|_, owner| owner != key);
    }

    /// The policy of a Service of ours.
    #[must_use]
    pub fn owner_of_service(&self, namespace: &str, name: &str) -> Option<PolicyKey> {
        let id = ObjectId {
            kind: Kind::Service,
            name: name.to_owned(),
        };
        self.state().owners.get(&(namespace.to_owned(), id)).cloned()
    }
}

impl State {
    fn version(&self, at: &Place) -> Option<u64> {
        let kept = self.objects.get(self.owners.get(at)?)?.get(&at.1)?;
        Some(kept.version)
    }

    fn remove(&mut self, at: &Place) -> Option<PolicyKey> {
        let key = self.owners.remove(at)?;
        if let Some(objects) = self.objects.get_mut(&key) {
            objects.remove(&at.1);
            if objects.is_empty() {
                self.objects.remove(&key);
            }
        }
        Some(key)
    }
}

fn labelled(object: &Value) -> Option<PolicyKey> {
    let metadata = &object["metadata"];
    let name = metadata["labels"][labels::POLICY].as_str()?;
    Some(PolicyKey::new(metadata["namespace"].as_str()?, name))
}

/// Resource versions of one kind compare as numbers (Kubernetes 1.35, KEP-5504; in practice before it too).
pub fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
