//! How many endpoints the policies of a namespace may have together, so that one namespace does not take the places and the
//! memory of all.
//!
//! # Guarantees
//! - Which policies are within the quota follows from what is declared and when it was created: two processes, and one before and after a
//!   restart, say the same. In the order of their creation each one counts for which those before it leave room.
//! - A change asks for a pass over every other policy for which it changes that, and over no more.
//! - Without a quota nothing is kept.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;
use parking_lot::Mutex;

use distributary_core::ids::PolicyKey;

/// The endpoints of all namespaces.
#[derive(Debug, Default)]
pub struct EndpointQuota {
    /// Of one namespace; 0: as many as there are.
    most: usize,
    namespaces: Mutex<BTreeMap<String, DeclaredEndpoints>>,
}

/// The endpoints of one namespace, of each policy in the order of their creation.
type DeclaredEndpoints = BTreeMap<(Timestamp, String), usize>;

/// What a policy declares.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Size {
    pub created: Timestamp,
    pub endpoints: usize,
}

/// A policy for which those before it leave no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Excess {
    pub most: usize,
    /// What those before it have that are within the quota.
    pub before: usize,
    pub endpoints: usize,
}

impl EndpointQuota {
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    /// Takes in what a policy declares. `listed`: all policies of its namespace, which are asked for before the first one is
    /// taken in. Whether it is beyond the quota, and for which others that changes.
    pub fn take(
        &self,
        key: &PolicyKey,
        size: &Size,
        listed: impl FnOnce() -> Vec<(String, Size)>,
    ) -> (Option<Excess>, Vec<PolicyKey>) {
        if self.most == 0 {
            return (None, Vec::new());
        }
        let mut namespaces = self.namespaces.lock();
        let declared = namespaces.entry(key.namespace.clone()).or_insert_with(|| {
            let all = listed().into_iter();
            all.map(|(name, size)| ((size.created, name), size.endpoints))
                .collect()
        });
        let before = self.beyond(declared);
        declared.retain(|(created, name), _| *name != key.name || *created == size.created);
        declared.insert((size.created, key.name.clone()), size.endpoints);
        let after = self.beyond(declared);
        (after.get(&key.name).copied(), changed(key, &before, &after))
    }

    /// A policy is gone. For which others that changes whether they are within the quota.
    pub fn forget(&self, key: &PolicyKey) -> Vec<PolicyKey> {
        let mut namespaces = self.namespaces.lock();
        let Some(declared) = namespaces.get_mut(&key.namespace) else {
            return Vec::new();
        };
        let before = self.beyond(declared);
        declared.retain(|(_, name), _| *name != key.name);
        let after = self.beyond(declared);
        if declared.is_empty() {
            namespaces.remove(&key.namespace);
        }
        changed(key, &before, &after)
    }

    /// The policies that are counted.
    pub fn counted(&self) -> BTreeSet<PolicyKey> {
        let namespaces = self.namespaces.lock();
        let keys = namespaces.iter().flat_map(|(namespace, declared)| {
            let names = declared.keys().map(|(_, name)| name);
            names.map(move |name| PolicyKey::new(namespace.clone(), name.clone()))
        });
        keys.collect()
    }

    fn beyond(&self, declared: &DeclaredEndpoints) -> BTreeMap<String, Excess> {
        let mut before = 0;
        let mut beyond = BTreeMap::new();
        for ((_, name), endpoints) in declared {
            let (most, endpoints) = (self.most, *endpoints);
            if before + endpoints <= most {
                before += endpoints;
            } else {
                let excess = Excess {
                    most,
                    before,
                    endpoints,
                };
                beyond.insert(name.clone(), excess);
            }
        }
        beyond
    }
}

/// The other policies that are within the quota before and not after, or after and not before.
fn changed(
    key: &PolicyKey,
    before: &BTreeMap<String, Excess>,
    after: &BTreeMap<String, Excess>,
) -> Vec<PolicyKey> {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.keys().collect(), after.keys().collect());
    let differ = before.symmetric_difference(&after);
    differ
        .filter(|name| ***name != key.name)
        .map(|name| PolicyKey::new(key.namespace.clone(), (**name).clone()))
        .collect()
}

impl std::fmt::Display for Excess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            most,
            before,
            endpoints,
        } = self;
        write!(
            f,
            "metadata.namespace: the policies of a namespace may have {most} endpoints together (--max-endpoints-per-namespace): older ones have \
             {before}, and this one has {endpoints}, so its servers are not checked and its routes stay as they are"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> PolicyKey {
        PolicyKey::new("shop", name)
    }

    fn size(created: i64, endpoints: usize) -> Size {
        Size {
            created: Timestamp::from_second(created).unwrap(),
            endpoints,
        }
    }

    fn take(quota: &EndpointQuota, name: &str, created: i64, endpoints: usize) -> (bool, Vec<String>) {
        let (excess, others) = quota.take(&key(name), &size(created, endpoints), Vec::new);
        (excess.is_none(), others.into_iter().map(|key| key.name).collect())
    }

    #[test]
    fn older_policies_go_first_whatever_the_order_in_which_they_are_read() {
        let quota = EndpointQuota::new(10);
        assert_eq!(take(&quota, "c", 3, 4), (true, vec![]));
        assert_eq!(take(&quota, "a", 1, 6), (true, vec![]));
        // No room for b, and room for c, which is newer and smaller.
        assert_eq!(take(&quota, "b", 2, 5), (false, vec![]));
        assert_eq!(take(&quota, "a", 1, 7), (true, vec!["c".to_owned()]));
        assert!(!take(&quota, "c", 3, 4).0);
        assert_eq!(take(&quota, "a", 1, 5), (true, vec!["b".to_owned()]));
        assert_eq!(
            (take(&quota, "b", 2, 5).0, take(&quota, "c", 3, 4).0),
            (true, false)
        );
    }

    #[test]
    fn what_goes_leaves_room_and_nothing_is_kept_of_it() {
        let quota = EndpointQuota::new(4);
        take(&quota, "a", 1, 4);
        assert_eq!(take(&quota, "b", 2, 2), (false, vec![]));
        assert_eq!(quota.forget(&key("a")), [key("b")]);
        assert_eq!(take(&quota, "b", 2, 2), (true, vec![]));
        // Made anew under its name, it is the newest.
        assert_eq!(take(&quota, "b", 5, 2), (true, vec![]));
        assert_eq!(take(&quota, "c", 4, 3), (true, vec!["b".to_owned()]));
        assert_eq!(quota.forget(&key("unheard")), []);
        quota.forget(&key("b"));
        quota.forget(&key("c"));
        assert!(quota.namespaces.lock().is_empty());
    }

    #[test]
    fn the_first_of_a_namespace_knows_the_others_before_they_are_read() {
        let quota = EndpointQuota::new(3);
        let listed = || vec![("a".to_owned(), size(1, 3)), ("b".to_owned(), size(2, 1))];
        let (excess, others) = quota.take(&key("b"), &size(2, 1), listed);
        let excess = excess.unwrap();
        assert_eq!((excess.before, excess.most, excess.endpoints), (3, 3, 1));
        assert_eq!(others, []);
        assert_eq!(quota.counted(), [key("a"), key("b")].into());
        let other = PolicyKey::new("bank", "b");
        assert_eq!(
            quota.take(&other, &size(2, 1), Vec::new).0,
            None,
            "each namespace by itself"
        );
    }

    #[test]
    fn without_a_quota_nothing_is_counted() {
        let quota = EndpointQuota::new(0);
        assert_eq!(take(&quota, "a", 1, 1000), (true, vec![]));
        assert!(quota.namespaces.lock().is_empty());
    }
}
