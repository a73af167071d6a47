//! Who needs a pass, and whether passes may begin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Scope;
use crate::domain::policy::PolicyKey;
use crate::render::Kind;

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

/// Lists that have not ended once: before, nothing is known to be missing.
#[derive(Debug)]
pub struct Synced {
    left: Mutex<BTreeSet<(Kind, Scope)>>,
    all: tokio::sync::watch::Sender<bool>,
}

impl Synced {
    #[must_use]
    pub fn new(scopes: &[Scope]) -> Self {
        let lists = scopes
            .iter()
            .flat_map(|scope| Kind::ALL.map(|kind| (kind, scope.clone())));
        Self {
            left: Mutex::new(lists.collect()),
            all: tokio::sync::watch::Sender::new(false),
        }
    }

    pub(super) fn done(&self, kind: Kind, scope: Option<&str>) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.remove(&(kind, scope.map(ToOwned::to_owned)));
        if left.is_empty() {
            self.all.send_replace(true);
        }
    }

    /// Whether every list has ended once.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self.all.borrow()
    }

    /// Returns when every list has ended once.
    pub async fn wait(&self) {
        // The sender lives as long as `self`.
        let _ = self.all.subscribe().wait_for(|done| *done).await;
    }
}
