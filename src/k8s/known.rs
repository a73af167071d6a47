//! Which policies there are, and what is kept of them between passes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::Store;
use parking_lot::Mutex;

use super::policies::PolicyChange;
use super::quota::Size;
use super::stored::StoredPolicy;
use super::watch;
use distributary_api::validate::Declaration;
use distributary_core::ids::PolicyKey;

/// What watches show, and what is kept of the policies of which a pass began.
#[derive(Default)]
pub struct KnownPolicies {
    shown: Mutex<Shown>,
    intakes: Mutex<BTreeMap<PolicyKey, PolicyIntake>>,
}

#[derive(Default)]
struct Shown {
    /// One for each scope.
    stores: Vec<Store<StoredPolicy>>,
    /// Of the policies that they have, so that a few of many are found without a look at all.
    names: BTreeSet<PolicyKey>,
}

impl Shown {
    fn get(&self, key: &PolicyKey) -> Option<Arc<StoredPolicy>> {
        let reference = watch::reference(key);
        self.stores.iter().find_map(|store| store.get(&reference))
    }

    /// The names of a namespace, or all, in their order: those after `after`.
    fn names<'a>(
        &'a self,
        namespace: Option<&'a str>,
        after: Option<&PolicyKey>,
    ) -> impl Iterator<Item = &'a PolicyKey> + use<'a> {
        let first = PolicyKey::new(namespace.unwrap_or_default(), "");
        let start = match after {
            Some(after) if *after > first => Excluded(after.clone()),
            _ => Included(first),
        };
        let names = self.names.range((start, Unbounded));
        names.take_while(move |key| namespace.is_none_or(|namespace| key.namespace == namespace))
    }
}

/// What is kept of one policy between passes.
#[derive(Default)]
struct PolicyIntake {
    /// The last valid object; most are the same that the store has.
    valid: Option<Arc<StoredPolicy>>,
    /// What was last handed on.
    handed: Option<Declaration>,
    /// Whether a pass has ended.
    passed: bool,
    /// Passes that failed in a row.
    failures: u32,
}

impl KnownPolicies {
    pub(super) fn of_store(&self, store: Store<StoredPolicy>) {
        let mut shown = self.shown.lock();
        let had = store.state().into_iter().map(|policy| policy.key());
        shown.names.extend(had.collect::<Vec<_>>());
        shown.stores.push(store);
    }

    /// The store of a scope has taken this in.
    pub(super) fn see(&self, change: &PolicyChange, scope: Option<&str>) {
        let names = &mut self.shown.lock().names;
        match change {
            PolicyChange::Changed(key) => drop(names.insert(key.clone())),
            PolicyChange::StatusChanged(_) => {}
            PolicyChange::Gone(key) => drop(names.remove(key)),
            PolicyChange::Listed(listed) => {
                names.retain(|key| scope.is_some_and(|scope| scope != key.namespace));
                names.extend(listed.iter().cloned());
            }
        }
    }

    /// Whether a policy exists, of this uid.
    pub(super) fn has(&self, key: &PolicyKey, uid: &str) -> bool {
        self.get(key)
            .is_some_and(|policy| policy.meta().uid.as_deref().unwrap_or_default() == uid)
    }

    /// A policy as the watch has shown it last.
    pub(super) fn get(&self, key: &PolicyKey) -> Option<Arc<StoredPolicy>> {
        self.shown.lock().get(key)
    }

    /// The first `most` names of the policies that watches show, of one namespace or of all, after `after`, in their order.
    pub(super) fn names(
        &self,
        namespace: Option<&str>,
        after: Option<&PolicyKey>,
        most: usize,
    ) -> Vec<PolicyKey> {
        let shown = self.shown.lock();
        shown.names(namespace, after).take(most).cloned().collect()
    }

    /// A pass begins.
    pub(super) fn begin(&self, key: &PolicyKey) {
        let mut intakes = self.intakes.lock();
        if !intakes.contains_key(key) {
            intakes.insert(key.clone(), PolicyIntake::default());
        }
    }

    /// What each policy of a namespace declares, by name.
    pub(super) fn sizes(&self, namespace: &str) -> Vec<(String, Size)> {
        let shown = self.shown.lock();
        let own = shown.names(Some(namespace), None);
        let sizes = own.filter_map(|key| Some((key.name.clone(), shown.get(key)?.size())));
        sizes.collect()
    }

    /// Nothing of a policy is in force.
    pub(super) fn withdraw(&self, key: &PolicyKey) {
        if let Some(intake) = self.intakes.lock().get_mut(key) {
            intake.handed = None;
        }
    }

    /// The policies of which something is kept.
    pub(super) fn begun(&self) -> BTreeSet<PolicyKey> {
        self.intakes.lock().keys().cloned().collect()
    }

    /// The spec of `object` is valid.
    pub(super) fn is_valid(&self, key: &PolicyKey, object: &Arc<StoredPolicy>) {
        if let Some(intake) = self.intakes.lock().get_mut(key) {
            intake.valid = Some(Arc::clone(object));
        }
    }

    /// The last valid object of the same policy, where its spec is another one.
    pub(super) fn valid_before(&self, key: &PolicyKey, object: &StoredPolicy) -> Option<Arc<StoredPolicy>> {
        let valid = self.intakes.lock().get(key)?.valid.clone()?;
        let (before, now) = (valid.meta(), object.meta());
        (before.uid == now.uid && before.generation != now.generation).then_some(valid)
    }

    /// What was last handed on of a policy.
    pub(super) fn handed(&self, key: &PolicyKey) -> Option<Declaration> {
        self.intakes.lock().get(key)?.handed.clone()
    }

    /// A pass has read everything, and hands this on; what was handed on before.
    pub(super) fn hand(&self, key: &PolicyKey, declared: Option<&Declaration>) -> Option<Declaration> {
        let mut intakes = self.intakes.lock();
        let intake = intakes.get_mut(key)?;
        (intake.failures, intake.passed) = (0, true);
        match declared {
            Some(declared) => intake.handed.replace(declared.clone()),
            None => intake.handed.clone(),
        }
    }

    /// A pass failed; how often in a row others did before.
    pub(super) fn fail(&self, key: &PolicyKey) -> u32 {
        let mut intakes = self.intakes.lock();
        let Some(intake) = intakes.get_mut(key) else {
            return 0;
        };
        let before = intake.failures;
        intake.failures = (before + 1).min(16);
        intake.passed = true;
        before
    }

    /// The policies that were handed on; `None`: a pass over one that exists has not ended yet.
    pub(super) fn all_handed(&self) -> Option<Vec<PolicyKey>> {
        let (shown, intakes) = (self.shown.lock(), self.intakes.lock());
        let passed = |policy: &PolicyKey| intakes.get(policy).is_some_and(|intake| intake.passed);
        if !shown.names.iter().all(passed) {
            return None;
        }
        let handed = intakes.iter().filter(|(_, intake)| intake.handed.is_some());
        Some(handed.map(|(key, _)| key.clone()).collect())
    }

    /// Nothing is kept of a policy that is gone.
    pub(super) fn forget(&self, key: &PolicyKey) {
        self.intakes.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> PolicyKey {
        PolicyKey::new(namespace, name)
    }

    #[test]
    fn names_are_those_that_the_stores_have_a_page_at_a_time() {
        let policies = KnownPolicies::default();
        let list = |scope: Option<&str>, keys: &[PolicyKey]| {
            policies.see(&PolicyChange::Listed(keys.iter().cloned().collect()), scope);
        };
        list(Some("a"), &[key("a", "z"), key("a", "x"), key("a", "y")]);
        list(Some("ab"), &[key("ab", "x")]);
        policies.see(&PolicyChange::Changed(key("b", "x")), Some("b"));
        let names = |namespace: Option<&str>, after: Option<PolicyKey>, most: usize| {
            let names = policies.names(namespace, after.as_ref(), most);
            names
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(names(None, None, 9), "a/x a/y a/z ab/x b/x");
        assert_eq!(names(Some("a"), None, 2), "a/x a/y");
        assert_eq!(names(Some("a"), Some(key("a", "y")), 2), "a/z");
        assert_eq!(names(None, Some(key("a", "y")), 2), "a/z ab/x");
        // The page before was of others.
        assert_eq!(names(Some("b"), Some(key("a", "y")), 9), "b/x");
        assert_eq!(names(Some("a"), Some(key("b", "x")), 9), "");
        policies.see(&PolicyChange::Gone(key("a", "x")), Some("a"));
        list(Some("ab"), &[]);
        assert_eq!(names(None, None, 9), "a/y a/z b/x");
        list(None, &[key("c", "x")]);
        assert_eq!(names(None, None, 9), "c/x");
    }
}
