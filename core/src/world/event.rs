//! What comes into the world, and what goes out of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::memory::Memory;
use crate::cadence::HoldRule;
use crate::decision::Decision;
use crate::ids::PolicyKey;
use crate::lag::Lag;
use crate::observation::{FailureClass, Load};
use crate::policy::Policy;
use crate::resolved::Resolved;
use crate::statistics::Measured;
use crate::target::{CheckAnswer, NameAnswer, NextCheck, ProbeKey, ProbeOrder, SessionAnswer};
use crate::transition::Transition;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A policy is new or changed, or a Secret or Service that it names.
    PolicyChanged {
        policy: Arc<Policy>,
        resolved: Arc<Resolved>,
        /// Of a policy that is new: what an earlier process knew of it.
        memory: Memory,
    },
    PolicyGone {
        key: PolicyKey,
    },
    /// Another process decided about a known policy, and wrote what it remembers: its write primary, the highest
    /// timeline, the identity, the accepted word and the answered request go before our own, and the servers seen as standbys
    /// are added. With another identity the policy begins anew, with this memory. The next decision carries the number: who
    /// writes waits for it, be it the same as before.
    Recalled {
        key: PolicyKey,
        /// The policy of this uid alone: one that was made anew under its name takes over nothing.
        uid: String,
        memory: Memory,
        number: u64,
    },
    /// The route of the writes leads to these servers, and not to where the decision leads it.
    Found {
        key: PolicyKey,
        /// As above.
        uid: String,
        servers: BTreeSet<SocketAddr>,
    },
    Observed(CheckAnswer),
    /// A held session told something, or is silent.
    Heard(SessionAnswer),
    /// The lookups of a target's name say something else than before.
    Named(NameAnswer),
    /// Other addresses are refused than before: everybody is checked anew.
    AddressesChanged,
    /// Sessions are held by this rule from now on.
    HoldBy(HoldRule),
}

/// What follows from events, by who has to know it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effects {
    /// For the prober, in this order.
    pub prober: Vec<Instruction>,
    /// For the one who writes.
    pub writer: Vec<Announcement>,
    /// For the metrics.
    pub figures: Vec<Measurement>,
}

/// What the prober must do.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    /// The whole set of servers that the policy wants probed.
    Want {
        policy: PolicyKey,
        wanted: Vec<ProbeOrder>,
    },
    /// When to check a target again.
    Next { key: ProbeKey, check: NextCheck },
}

/// What the one who writes must know.
#[derive(Clone, Debug, PartialEq)]
pub enum Announcement {
    /// The newest decision of a policy, and what changed by it.
    Decided {
        key: PolicyKey,
        decision: Arc<Decision>,
        transitions: Vec<Transition>,
    },
    /// The policy is gone: nothing of it is to be kept.
    Gone { key: PolicyKey },
}

/// What a target told of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    pub key: ProbeKey,
    /// `None`: it told nothing.
    pub figures: Option<Figures>,
    /// Of a check that failed.
    pub failure: Option<FailureClass>,
    /// Its endpoint tells nothing any more.
    pub silent: bool,
}

impl Effects {
    /// Whether nothing follows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prober.is_empty() && self.writer.is_empty() && self.figures.is_empty()
    }

    /// Adds what follows later.
    pub fn extend(&mut self, later: Self) {
        self.prober.extend(later.prober);
        self.writer.extend(later.writer);
        self.figures.extend(later.figures);
    }

    pub(super) fn for_prober(instructions: impl IntoIterator<Item = Instruction>) -> Self {
        Self {
            prober: instructions.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// Live figures of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// `None`: of a primary, or where lag is not judged.
    pub lag: Option<Lag>,
    pub load: Option<Load>,
    /// How long a good check took; `None`: a heartbeat told it.
    pub took: Option<Duration>,
    /// For statistics; `None`: of an answer that was asked for before the newest one.
    pub measured: Option<Measured>,
}
