//! The policies of a scope as a watch shows them, and which of them need a pass.
//!
//! # Guarantees
//! - A key goes out when the store has the object that it goes out for. The store takes a list in when it has ended, and
//!   no earlier; until then its keys wait.
//! - A change of the status alone asks for no pass.
//! - When a list ends, every policy in it is compared with what the store had before. The key of each that differs goes
//!   out, once; one that does not differ costs the comparison alone.
//! - Of a list that has not ended, keys are kept and no more.

use std::collections::BTreeSet;

use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::reflector::{Store, store::Writer};
use kube::runtime::watcher::Event;

use super::stored::StoredPolicy;
use super::watch::reference;
use crate::engine::Changed;
use distributary_core::ids::PolicyKey;

/// What a watch of policies shows.
#[derive(Debug)]
pub enum PolicyChange {
    /// The store has this policy as it was not before.
    Changed(PolicyKey),
    /// No more than the status of this policy is another one.
    StatusChanged(Box<StoredPolicy>),
    Gone(PolicyKey),
    /// A list has ended: there are these policies and no others.
    Listed(BTreeSet<PolicyKey>),
}

impl PolicyChange {
    /// Of which policies something is another one.
    pub fn concerns(&self) -> Changed {
        match self {
            Self::Changed(key) | Self::Gone(key) => Changed::Policy(key.clone()),
            Self::StatusChanged(policy) => Changed::Policy(policy.key()),
            Self::Listed(_) => Changed::Everything,
        }
    }
}

/// Takes `events` into the store of `writer`, and tells what they change there.
pub fn changes(
    writer: Writer<StoredPolicy>,
    events: impl Stream<Item = Event<StoredPolicy>> + Send,
) -> impl Stream<Item = PolicyChange> + Send {
    let mut known = Known {
        store: writer.as_reader(),
        writer,
        listed: BTreeSet::new(),
        differ: BTreeSet::new(),
    };
    events.flat_map(move |event| futures::stream::iter(known.take(event)))
}

struct Known {
    writer: Writer<StoredPolicy>,
    store: Store<StoredPolicy>,
    /// What the list that is under way has shown.
    listed: BTreeSet<PolicyKey>,
    /// Those of them that the store does not have like that.
    differ: BTreeSet<PolicyKey>,
}

impl Known {
    fn take(&mut self, event: Event<StoredPolicy>) -> Vec<PolicyChange> {
        if let Event::InitApply(policy) = &event
            && !self.has(policy)
        {
            self.differ.insert(policy.key());
        }
        let told = match &event {
            Event::Apply(policy) => Some(self.told(policy)),
            _ => None,
        };
        self.writer.apply_watcher_event(&event);
        match event {
            Event::Apply(_) => told.into_iter().collect(),
            Event::Delete(policy) => vec![PolicyChange::Gone(policy.key())],
            Event::Init => {
                self.listed.clear();
                self.differ.clear();
                Vec::new()
            }
            Event::InitApply(policy) => {
                self.listed.insert(policy.key());
                Vec::new()
            }
            Event::InitDone => {
                let listed = PolicyChange::Listed(std::mem::take(&mut self.listed));
                let differ = std::mem::take(&mut self.differ);
                let changed = differ.into_iter().map(PolicyChange::Changed);
                std::iter::once(listed).chain(changed).collect()
            }
        }
    }

    /// What differs from what the store has.
    fn told(&self, policy: &StoredPolicy) -> PolicyChange {
        let known = self.store.get(&reference(&policy.key()));
        if known.is_some_and(|known| known.declares_the_same(policy)) {
            PolicyChange::StatusChanged(Box::new(policy.clone()))
        } else {
            PolicyChange::Changed(policy.key())
        }
    }

    /// Whether the store has this very object.
    fn has(&self, policy: &StoredPolicy) -> bool {
        let version = |policy: &StoredPolicy| {
            let meta = policy.meta();
            (meta.uid.clone(), meta.resource_version.clone())
        };
        let known = self.store.get(&reference(&policy.key()));
        known.is_some_and(|known| version(&known) == version(policy))
    }
}

#[cfg(test)]
mod tests;
