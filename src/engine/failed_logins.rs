//! Logins that servers refused: their Secrets may be others than those that were read.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use distributary_core::ids::{EndpointId, PolicyKey};

/// The login of a policy to one of its endpoints.
pub type EndpointLogin = (PolicyKey, EndpointId);

/// A set of logins that fills from one side and is emptied from the other. Clones are of the same set.
#[derive(Clone, Debug, Default)]
pub struct FailedLogins(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    logins: Mutex<BTreeSet<EndpointLogin>>,
    filled: Notify,
}

impl FailedLogins {
    pub(super) fn add(&self, policy: &PolicyKey, endpoint: &EndpointId) {
        let is_new = self.0.logins.lock().insert((policy.clone(), endpoint.clone()));
        if is_new {
            self.0.filled.notify_one();
        }
    }

    /// Waits for some, and takes them all.
    pub async fn take(&self) -> BTreeSet<EndpointLogin> {
        loop {
            let taken = std::mem::take(&mut *self.0.logins.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.0.filled.notified().await;
        }
    }
}
