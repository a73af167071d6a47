//! The objects in the cluster as last seen: by a watch or in an answer, whichever is newer.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Place;
use crate::render::Kind;
use crate::render::reading::{ObservedObject, Version};
use distributary_core::ids::PolicyKey;

/// Objects by their place, and the places of those that a policy controls.
#[derive(Clone, Debug, Hash)]
pub struct Objects<B> {
    all: BTreeMap<Place, ObservedObject<B>>,
    /// By the uid of the policy.
    controlled: BTreeMap<String, BTreeSet<Place>>,
    /// Those that have lost their policy, by its name.
    lost: BTreeMap<PolicyKey, BTreeSet<Place>>,
}

impl<B> Default for Objects<B> {
    fn default() -> Self {
        Self {
            all: BTreeMap::new(),
            controlled: BTreeMap::new(),
            lost: BTreeMap::new(),
        }
    }
}

impl<B> Objects<B> {
    pub fn get(&self, place: &Place) -> Option<&ObservedObject<B>> {
        self.all.get(place)
    }

    /// The objects that the policy of this uid controls.
    pub fn of(&self, policy: &str) -> impl Iterator<Item = &ObservedObject<B>> {
        let places = self.controlled.get(policy).into_iter().flatten();
        places.filter_map(|place| self.all.get(place))
    }

    /// The objects without a controller that were of a policy of this name.
    pub fn lost_by(&self, policy: &PolicyKey) -> impl Iterator<Item = &ObservedObject<B>> {
        let places = self.lost.get(policy).into_iter().flatten();
        places.filter_map(|place| self.all.get(place))
    }

    /// Takes in an object. The uids of the policies for which something to compare changed by it: an older one changes nothing,
    /// nor does an echo.
    pub fn see(&mut self, object: ObservedObject<B>) -> Vec<String> {
        let place = Place::of(&object);
        let known = self.all.get(&place);
        let same = |known: &ObservedObject<B>| known.uid == object.uid && known.digest == object.digest;
        if let Some(known) = known {
            if object.version.is_before(&known.version) {
                return Vec::new();
            }
            if same(known) && known.policy == object.policy && known.lost_by == object.lost_by {
                self.all.insert(place, object);
                return Vec::new();
            }
        }
        let mut concerned = self.remove(&place);
        if let Some(policy) = &object.policy {
            let places = self.controlled.entry(policy.clone()).or_default();
            places.insert(place.clone());
            concerned.push(policy.clone());
        }
        if let Some(policy) = object.lost_by.clone() {
            self.lost.entry(policy).or_default().insert(place.clone());
        }
        self.all.insert(place, object);
        concerned
    }

    /// Takes in an object as a read found it, whatever its version is.
    pub fn replace(&mut self, object: ObservedObject<B>) -> Vec<String> {
        let place = Place::of(&object);
        let backwards = |known: &ObservedObject<B>| object.version.is_before(&known.version);
        if self.all.get(&place).is_some_and(backwards) {
            let mut concerned = self.remove(&place);
            concerned.extend(self.see(object));
            return concerned;
        }
        self.see(object)
    }

    /// The objects of a kind, in a namespace or in all, that are not at these places; each with its policy's uid.
    pub fn missing(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        places: &BTreeSet<Place>,
    ) -> Vec<(Place, Option<String>)> {
        let in_scope = |place: &Place| {
            place.id.kind == kind && namespace.is_none_or(|namespace| namespace == place.namespace)
        };
        let missing = self
            .all
            .iter()
            .filter(|(place, _)| in_scope(place) && !places.contains(place));
        missing
            .map(|(place, object)| (place.clone(), object.policy.clone()))
            .collect()
    }

    /// An object is gone, as of `version`, unless a newer one is known; `None`: a request did not find it.
    pub fn lose(&mut self, place: &Place, version: Option<&Version>) -> Vec<String> {
        let newer =
            |known: &ObservedObject<B>| version.is_some_and(|version| version.is_before(&known.version));
        if self.all.get(place).is_none_or(newer) {
            return Vec::new();
        }
        self.remove(place)
    }

    fn remove(&mut self, place: &Place) -> Vec<String> {
        let Some(object) = self.all.remove(place) else {
            return Vec::new();
        };
        if let Some(policy) = &object.lost_by {
            take(&mut self.lost, policy, place);
        }
        let Some(policy) = object.policy else {
            return Vec::new();
        };
        take(&mut self.controlled, &policy, place);
        vec![policy]
    }
}

fn take<K: Ord>(index: &mut BTreeMap<K, BTreeSet<Place>>, key: &K, place: &Place) {
    if let Some(places) = index.get_mut(key) {
        places.remove(place);
        if places.is_empty() {
            index.remove(key);
        }
    }
}
