//! What the statuses of policies say, as watches show them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::render::reading::Version;
use crate::render::status::{ConditionStatus, FailoverKind};
use distributary_api::{FailoverStatus, ReplicaSetPolicyStatus};
use distributary_core::ids::PolicyKey;
use strum::VariantArray as _;

/// Of every policy. Clones are of the same.
#[derive(Clone, Debug, Default)]
pub struct Statuses(Arc<RwLock<BTreeMap<PolicyKey, StatusFigures>>>);

/// What the status of a policy says.
#[derive(Clone, Debug, Default)]
pub struct StatusFigures {
    uid: String,
    version: Version,
    /// By their types: 1 True, 0 False, -1 Unknown.
    pub conditions: Vec<(String, i64)>,
    known: Vec<FailoverStatus>,
    /// By the place of their kind in [`FailoverKind::VARIANTS`], since the policy is known.
    failovers: [u64; FailoverKind::VARIANTS.len()],
}

impl Statuses {
    /// The policy of this uid was read with this status. What is older than what is known says nothing.
    pub fn saw(&self, key: &PolicyKey, uid: &str, version: &Version, status: &ReplicaSetPolicyStatus) {
        let mut policies = self.0.write();
        let known = policies.get_mut(key).filter(|known| known.uid == uid);
        let Some(known) = known else {
            policies.insert(key.clone(), StatusFigures::new(uid, version, status));
            return;
        };
        if !version.is_before(&known.version) {
            known.version.clone_from(version);
            known.see(status);
        }
    }

    /// A policy is gone.
    pub fn forget(&self, key: &PolicyKey) {
        self.0.write().remove(key);
    }

    /// Those of all policies, by namespace and name.
    pub fn all(&self) -> Vec<(PolicyKey, StatusFigures)> {
        let policies = self.0.read();
        policies
            .iter()
            .map(|(key, figures)| (key.clone(), figures.clone()))
            .collect()
    }
}

impl StatusFigures {
    /// What happened before the policy is known is not counted.
    fn new(uid: &str, version: &Version, status: &ReplicaSetPolicyStatus) -> Self {
        Self {
            uid: uid.to_owned(),
            version: version.clone(),
            conditions: conditions(status),
            known: status.failovers.clone(),
            ..Self::default()
        }
    }

    fn see(&mut self, status: &ReplicaSetPolicyStatus) {
        self.conditions = conditions(status);
        for failover in &status.failovers {
            let place = FailoverKind::VARIANTS
                .iter()
                .position(|kind| kind.into_str() == failover.kind);
            if let Some(place) = place.filter(|_| !self.known.contains(failover)) {
                self.failovers[place] += 1;
            }
        }
        self.known.clone_from(&status.failovers);
    }

    /// Failovers since the policy is known, by the word of their kind.
    pub fn failovers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let kinds = FailoverKind::VARIANTS.iter().zip(self.failovers);
        kinds.map(|(kind, count)| (kind.into_str(), count))
    }
}

fn conditions(status: &ReplicaSetPolicyStatus) -> Vec<(String, i64)> {
    let number = |status: &str| {
        if status == ConditionStatus::True.into_str() {
            1
        } else if status == ConditionStatus::False.into_str() {
            0
        } else {
            -1
        }
    };
    let of = status.conditions.iter();
    of.map(|condition| (condition.type_.clone(), number(&condition.status)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use distributary_api::ReplicaSetPolicyStatus as Status;
    use serde_json::json;

    fn status(failovers: &[(&str, &str)]) -> Status {
        let failover = |(at, kind): &(&str, &str)| json!({"at": format!("2026-01-01T00:00:{at}Z"), "route": "rw", "kind": kind, "from": [], "to": []});
        let failovers: Vec<_> = failovers.iter().map(failover).collect();
        serde_json::from_value(json!({"failovers": failovers})).unwrap()
    }

    fn counts(statuses: &Statuses) -> Vec<u64> {
        let all = statuses.all();
        all[0].1.failovers().map(|(_, count)| count).collect()
    }

    #[test]
    fn a_failover_counts_once_and_not_what_was_before() {
        let (statuses, key) = (Statuses::default(), PolicyKey::new("shop", "orders"));
        let saw = |uid: &str, version: u32, failovers: &[(&str, &str)]| {
            statuses.saw(&key, uid, &Version::new(version.to_string()), &status(failovers));
        };
        let first = [("01", "PrimaryMoved")];
        saw("1", 5, &first);
        assert_eq!(counts(&statuses), [0; 6]);
        let both = [("01", "PrimaryMoved"), ("02", "ReadFallback")];
        for version in [6, 7] {
            saw("1", version, &both);
            assert_eq!(counts(&statuses), [0, 0, 1, 0, 0, 0]);
        }
        // A pass that read the policy before says nothing.
        saw("1", 5, &first);
        saw("1", 8, &both);
        assert_eq!(counts(&statuses), [0, 0, 1, 0, 0, 0]);
        // The list is bounded: old ones leave it.
        saw("1", 9, &[("03", "PrimaryMoved"), ("04", "PrimaryMoved")]);
        assert_eq!(counts(&statuses), [2, 0, 1, 0, 0, 0]);
        // Another policy of the name.
        saw("2", 3, &both);
        assert_eq!(counts(&statuses), [0; 6]);
        statuses.forget(&key);
        assert!(statuses.all().is_empty());
    }
}
