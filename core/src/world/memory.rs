//! What an earlier process knew of a policy, as its status tells it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::breaker::{Breaker, Circuit};
use crate::following::FollowingState;
use crate::health::Reason;
use crate::ids::{ClassName, EndpointId, TargetId};
use crate::moment::Moment;
use crate::observation::Role;
use crate::percent::Percent;
use crate::plan::{full_weight, part};
use crate::policy::{BreakerSettings, Endpoint, Policy};
use crate::resolved::ResolvedEndpoint;
use crate::seeded::SeededFault;
use crate::server::Location;
use crate::write_primary::Holding;

/// What was known of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    pub endpoints: BTreeMap<EndpointId, EndpointMemory>,
    pub holding: Holding,
    /// The request for checks that was answered.
    pub answered: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EndpointMemory {
    /// Where it was.
    pub location: Option<Location>,
    /// Why it was as it was; `None`: another version says it in a word of its own.
    pub reason: Option<Reason>,
    /// Why classes stayed away from it.
    pub classes: BTreeMap<ClassName, Reason>,
    /// A pod of its Service was seen as a standby of this database.
    pub seen_as_standby: bool,
    /// Its pods; of a host, the one server.
    pub targets: Vec<TargetMemory>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetMemory {
    pub address: Option<IpAddr>,
    pub role: Option<Role>,
    /// Whether it took writes, and was seen as a standby of this database before.
    pub seen_as_standby: bool,
    /// `None`: another version says it in a word of its own.
    pub circuit: Option<CircuitMemory>,
    /// Trips of its circuit within the last `maxResetTimeout`.
    pub trips: u32,
    /// Whether it was in a route.
    pub eligible: bool,
    /// `None`: another version says it in a word of its own.
    pub reason: Option<Reason>,
    /// Its share of the reads in hundredths.
    pub weight: u32,
    /// Where a class stayed away, or had done lately.
    pub classes: BTreeMap<ClassName, ClassMemory>,
}

/// What one class knew of a server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassMemory {
    /// `None`: another version says it in a word of its own.
    pub reason: Option<Reason>,
    /// Of its probe query; `None`: another version says it in a word of its own.
    pub circuit: Option<CircuitMemory>,
    /// What that circuit let through.
    pub share: Percent,
    /// Trips of that circuit within the last `maxResetTimeout`.
    pub trips: u32,
}

/// A circuit as a status tells it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CircuitMemory {
    Closed,
    /// `until`: by the clock of this process.
    Open {
        until: Moment,
    },
    /// At the traffic step that the weight shows.
    HalfOpen,
}

impl EndpointMemory {
    /// What is known of this target, where it is the server that the policy declares now.
    pub(super) fn of(&self, now: &ResolvedEndpoint, id: &TargetId) -> Option<&TargetMemory> {
        self.target(id).filter(|_| self.is(now))
    }

    pub(super) fn is(&self, now: &ResolvedEndpoint) -> bool {
        now.location
            .as_ref()
            .is_none_or(|location| self.location.as_ref() == Some(location))
    }

    fn target(&self, id: &TargetId) -> Option<&TargetMemory> {
        match id.pod {
            None => self.targets.first(),
            Some(_) => self.targets.iter().find(|target| target.address == id.pod),
        }
    }
}

impl TargetMemory {
    pub(super) fn was(&self, reason: Reason) -> bool {
        self.reason == Some(reason)
    }

    pub(super) fn lagged(&self) -> bool {
        lagged(self.reason)
    }

    pub(super) fn was_standby(&self) -> bool {
        (self.seen_as_standby || self.role == Some(Role::Standby)) && !SeededFault::StandbysForgotten.is_on()
    }

    /// Whether it follows the write primary: who served as a standby does. Of one that the policy kept out it is not told, and of one
    /// that was not heard it is not known whether the write primary `may_have_changed` meanwhile.
    pub(super) fn following(&self, may_have_changed: bool) -> FollowingState {
        match self.reason {
            _ if self.role == Some(Role::Primary) => FollowingState::Required,
            Some(Reason::Diverged) => FollowingState::Diverged,
            Some(Reason::NotFollowing | Reason::Disabled | Reason::Draining) => FollowingState::Required,
            _ if self.eligible => FollowingState::Follows,
            reason if may_have_changed && reason.is_none_or(Reason::is_silent) => FollowingState::Required,
            _ => FollowingState::Presumed,
        }
    }

    /// The breaker as of `now`.
    pub(super) fn breaker(&self, policy: &Policy, endpoint: &Endpoint, now: Moment) -> Breaker {
        // The traffic step that its weight shows; the first one where it had none.
        let (full, weight) = (full_weight(endpoint, policy.strategy), self.weight);
        let reached = |share: &Percent| weight > 0 && part(full, u32::from(share.get()), 100) <= weight;
        let circuit = restored(self.circuit, &policy.breaker, now, reached);
        Breaker::restored(circuit, self.trips, now)
    }
}

impl ClassMemory {
    /// Whether the class stayed away because of lag.
    pub(super) const fn lagged(&self) -> bool {
        lagged(self.reason)
    }

    /// The breaker of the class as of `now`.
    pub(super) fn breaker(&self, settings: &BreakerSettings, now: Moment) -> Breaker {
        let circuit = restored(self.circuit, settings, now, |share| *share <= self.share);
        Breaker::restored(circuit, self.trips, now)
    }
}

/// The circuit as of `now`: an open one no longer than the policy allows, a half-open one at the last traffic step that was
/// `reached`. One in an unknown word is half-open at the first step: new checks decide.
fn restored(
    circuit: Option<CircuitMemory>,
    settings: &BreakerSettings,
    now: Moment,
    reached: impl Fn(&Percent) -> bool,
) -> Circuit {
    let half_open = |step| Circuit::HalfOpen { step, successes: 0 };
    match circuit {
        Some(CircuitMemory::Closed) => Circuit::default(),
        Some(CircuitMemory::Open { until }) => Circuit::Open {
            until: until.clamp(now, now + settings.max_reset_timeout),
        },
        Some(CircuitMemory::HalfOpen) => {
            half_open(settings.traffic_steps.iter().rposition(reached).unwrap_or(0))
        }
        None => half_open(0),
    }
}

const fn lagged(reason: Option<Reason>) -> bool {
    matches!(reason, Some(Reason::Lagging | Reason::ReplayStalled))
}
