//! By what the write primary is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::candidacy::Candidacy;
use crate::ids::TargetId;
use crate::moment::Moment;
use crate::policy::{Failover, IdentityRule, Policy, PrimaryRole};

/// The rules of the policy.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub identity: IdentityRule,
    pub failover: &'a Failover,
    pub failover_timeout: Duration,
    /// Whether every target was checked: before, nobody new takes the writes.
    pub warm: bool,
    /// Whether the holder was a pod that has left its Service.
    pub left: bool,
    /// How long a holder is awaited that is another server since an edit, and had no good check yet; `None`: there is none.
    pub awaited: Option<Patience>,
    /// Of a declared primary that never answered, or answers as a standby: what may make another server the first holder.
    pub first: Option<FirstEvidence<'a>>,
    /// Contested servers, with the standbys that proved by positions that they follow one.
    pub contests: Option<&'a BTreeMap<TargetId, Candidacy>>,
    /// The servers of the route of the writes as it was found, while the holder is known by a memory alone.
    pub found: Option<&'a BTreeSet<SocketAddr>>,
}

/// What may make another server than the declared primary the first holder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FirstEvidence<'a> {
    /// Since when every check of the declared primary has found it dead; `None`: it answers as a standby.
    pub dead_since: Option<Moment>,
    /// The one server that takes writes and that a standby is proven to follow, where none is ahead of it and every server
    /// of all other endpoints answered.
    pub followed: &'a TargetId,
}

/// How long a holder is awaited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// No check of it failed yet.
    Unbounded,
    /// It is out for `failoverTimeout` then.
    Until(Moment),
}

impl<'a> Rules<'a> {
    /// Those of a policy whose targets were all checked.
    #[must_use]
    pub fn of(policy: &'a Policy) -> Self {
        Self {
            identity: policy.identity,
            failover: &policy.failover,
            failover_timeout: policy.probing.failover_timeout,
            warm: true,
            left: false,
            awaited: None,
            first: None,
            contests: None,
            found: None,
        }
    }
    /// Whether only the declared primary may take writes.
    pub(super) fn pinned(&self) -> bool {
        self.failover.primary_role == PrimaryRole::Pinned
    }
}
