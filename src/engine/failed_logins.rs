//! Policies whose logins servers refused: their Secrets may be others than those that were read.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use distributary_core::ids::PolicyKey;

/// A set of policies that fills from one side and is emptied from the other. Clones are of the same set.
#[derive(Clone, Debug, Default)]
pub struct FailedLogins(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    policies: Mutex<BTreeSet<PolicyKey>>,
    filled: Notify,
}

impl FailedLogins {
    pub(super) fn add(&self, key: &PolicyKey) {
        let mut policies = self.0.policies.lock();
        if !policies.contains(key) {
            policies.insert(key.clone());
            self.0.filled.notify_one();
        }
    }

    /// Waits for some, and takes them all.
    pub async fn take(&self) -> BTreeSet<PolicyKey> {
        loop {
            let taken = std::mem::take(&mut *self.0.policies.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.0.filled.notified().await;
        }
    }
}
