//! Who needs a pass, and whether passes may begin.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use tokio::sync::mpsc;

use super::Scope;
use crate::render::Kind;
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

/// What passes wait for at the start.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum First {
    /// A list of our objects: before it has ended, nothing is known to be missing.
    List(Kind, Scope),
    /// Which addresses are refused: before, a ClusterIP could be taken for a server.
    Addresses,
}

/// What is not known yet of what passes need.
#[derive(Debug)]
pub struct FirstLists {
    left: Mutex<BTreeSet<First>>,
    all: tokio::sync::watch::Sender<bool>,
}

impl FirstLists {
    #[must_use]
    pub fn new(scopes: &[Scope]) -> Self {
        let lists = scopes.iter().flat_map(|scope| {
            Kind::ALL
                .iter()
                .map(move |kind| First::List(*kind, scope.clone()))
        });
        Self {
            left: Mutex::new(lists.chain([First::Addresses]).collect()),
            all: tokio::sync::watch::Sender::new(false),
        }
    }

    pub(super) fn done(&self, kind: Kind, scope: Option<&str>) {
        self.known(&First::List(kind, scope.map(ToOwned::to_owned)));
    }

    /// Which addresses are refused is known, or will not be. Whether it was not before.
    pub(super) fn addresses_known(&self) -> bool {
        self.known(&First::Addresses)
    }

    fn known(&self, first: &First) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let new = left.remove(first);
        if left.is_empty() {
            self.all.send_replace(true);
        }
        new
    }

    /// Whether all of it is known.
    #[must_use]
    pub fn is_done(&self) -> bool {
        *self.all.borrow()
    }

    /// Returns when all of it is known.
    pub async fn wait(&self) {
        // The sender lives as long as `self`.
        let _ = self.all.subscribe().wait_for(|done| *done).await;
    }
}
