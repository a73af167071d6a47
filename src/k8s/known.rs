//! Which policies there are, and what is kept of them between passes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use kube::Resource;
use kube::runtime::reflector::Store;

use super::context::lock;
use super::stored::StoredPolicy;
use super::watch;
use distributary_core::ids::PolicyKey;

/// What watches show, which passes over policies began, and the last valid object of each.
#[derive(Default)]
pub struct KnownPolicies {
    /// One for each scope.
    stores: Mutex<Vec<Store<StoredPolicy>>>,
    /// Something may be kept of them.
    begun: Mutex<BTreeSet<PolicyKey>>,
    /// Most are the same that the store has.
    valid: Mutex<HashMap<PolicyKey, Arc<StoredPolicy>>>,
}

impl KnownPolicies {
    pub(super) fn of_store(&self, store: Store<StoredPolicy>) {
        lock(&self.stores).push(store);
    }

    /// Whether a policy exists, of this uid.
    pub(super) fn has(&self, key: &PolicyKey, uid: &str) -> bool {
        self.get(key)
            .is_some_and(|policy| policy.meta().uid.as_deref().unwrap_or_default() == uid)
    }

    pub(super) fn has_any(&self, key: &PolicyKey) -> bool {
        self.get(key).is_some()
    }

    fn get(&self, key: &PolicyKey) -> Option<Arc<StoredPolicy>> {
        let reference = watch::reference(key);
        lock(&self.stores).iter().find_map(|store| store.get(&reference))
    }

    pub(super) fn begin(&self, key: &PolicyKey) {
        let mut begun = lock(&self.begun);
        if !begun.contains(key) {
            begun.insert(key.clone());
        }
    }

    pub(super) fn begun(&self) -> BTreeSet<PolicyKey> {
        lock(&self.begun).clone()
    }

    /// The spec of `object` is valid.
    pub(super) fn is_valid(&self, key: &PolicyKey, object: &Arc<StoredPolicy>) {
        lock(&self.valid).insert(key.clone(), Arc::clone(object));
    }

    /// The last valid object of the same policy, where its spec is another one.
    pub(super) fn valid_before(&self, key: &PolicyKey, object: &StoredPolicy) -> Option<Arc<StoredPolicy>> {
        let valid = Arc::clone(lock(&self.valid).get(key)?);
        let (before, now) = (valid.meta(), object.meta());
        (before.uid == now.uid && before.generation != now.generation).then_some(valid)
    }

    pub(super) fn forget(&self, key: &PolicyKey) {
        lock(&self.begun).remove(key);
        lock(&self.valid).remove(key);
    }
}
