//! Which policies there are, and what is kept of them between passes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::Resource;
use kube::runtime::reflector::Store;
use parking_lot::Mutex;

use super::quota::Size;
use super::stored::StoredPolicy;
use super::watch;
use distributary_api::validate::Declaration;
use distributary_core::ids::PolicyKey;

/// What watches show, and what is kept of the policies of which a pass began.
#[derive(Default)]
pub struct KnownPolicies {
    /// One for each scope.
    stores: Mutex<Vec<Store<StoredPolicy>>>,
    intakes: Mutex<BTreeMap<PolicyKey, PolicyIntake>>,
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
        self.stores.lock().push(store);
    }

    /// Whether a policy exists, of this uid.
    pub(super) fn has(&self, key: &PolicyKey, uid: &str) -> bool {
        self.get(key)
            .is_some_and(|policy| policy.meta().uid.as_deref().unwrap_or_default() == uid)
    }

    /// A policy as the watch has shown it last.
    pub(super) fn get(&self, key: &PolicyKey) -> Option<Arc<StoredPolicy>> {
        let reference = watch::reference(key);
        self.stores.lock().iter().find_map(|store| store.get(&reference))
    }

    /// The names of the policies that watches show, of one namespace or of all.
    pub(super) fn names(&self, namespace: Option<&str>) -> BTreeSet<PolicyKey> {
        let stores = self.stores.lock();
        let keys = stores.iter().flat_map(Store::state).map(|policy| policy.key());
        keys.filter(|key| namespace.is_none_or(|namespace| key.namespace == namespace))
            .collect()
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
        let stores = self.stores.lock();
        let all = stores.iter().flat_map(Store::state);
        let own = all.map(|policy| (policy.key(), policy.size()));
        own.filter(|(key, _)| key.namespace == namespace)
            .map(|(key, size)| (key.name, size))
            .collect()
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
        let (stores, intakes) = (self.stores.lock(), self.intakes.lock());
        let existing = stores.iter().flat_map(Store::state);
        let passed =
            |policy: Arc<StoredPolicy>| intakes.get(&policy.key()).is_some_and(|intake| intake.passed);
        if !existing.into_iter().all(passed) {
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
