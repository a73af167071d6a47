//! Who needs a pass.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::Scope;
use distributary_core::ids::PolicyKey;

/// Passes asked for and not yet begun, for each scope; a fuller queue makes the asking wait.
const TRIGGERS: usize = 1024;

/// Asks for passes over policies, in the controller of their scope.
#[derive(Clone, Debug, Default)]
pub struct Triggers(BTreeMap<Scope, mpsc::Sender<PolicyKey>>);

impl Triggers {
    /// One queue for each scope, and their ends.
    #[must_use]
    pub fn new(scopes: &[Scope]) -> (Self, Vec<(Scope, mpsc::Receiver<PolicyKey>)>) {
        let mut senders = BTreeMap::new();
        let mut ends = Vec::new();
        for scope in scopes {
            let (sender, end) = mpsc::channel(TRIGGERS);
            senders.insert(scope.clone(), sender);
            ends.push((scope.clone(), end));
        }
        (Self(senders), ends)
    }

    pub async fn ask(&self, key: PolicyKey) {
        let sender = self
            .0
            .get(&None)
            .or_else(|| self.0.get(&Some(key.namespace.clone())));
        if let Some(sender) = sender {
            // The other end is gone only while the process ends.
            let _ = sender.send(key).await;
        }
    }
}
