//! What comes into the world, and what goes out of it.

use std::sync::Arc;
use std::time::Duration;

use super::remembered::Remembered;
use crate::decision::Decision;
use crate::ids::PolicyKey;
use crate::lag::Lag;
use crate::observation::Load;
use crate::policy::Policy;
use crate::target::{Heard, NextCheck, Observed, ProbeKey, Wanted};
use crate::transition::Transition;

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A policy is new or changed, or a Secret or Service that it names.
    PolicyChanged {
        policy: Arc<Policy>,
        remembered: Remembered,
    },
    PolicyGone {
        key: PolicyKey,
    },
    Observed(Observed),
    /// A held session told something, or is silent.
    Heard(Heard),
    /// Other addresses are refused than before: everybody is checked anew.
    AddressesChanged,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// The whole set of servers that the policy wants probed.
    Want { policy: PolicyKey, wanted: Vec<Wanted> },
    /// When to check a target again.
    Next { key: ProbeKey, check: NextCheck },
    /// What a target told of itself, for the metrics; `None`: its endpoint tells nothing any more.
    Measured { key: ProbeKey, figures: Option<Figures> },
    /// The newest decision of a policy, and what changed by it.
    Decided {
        key: PolicyKey,
        decision: Arc<Decision>,
        transitions: Vec<Transition>,
    },
    /// Nothing of the policy is to be kept.
    Forget { key: PolicyKey },
}

/// Live figures of one target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// `None`: of a primary, or where lag is not judged.
    pub lag: Option<Lag>,
    pub load: Option<Load>,
    /// How long a good check took; `None`: a heartbeat told it.
    pub took: Option<Duration>,
}
