//! What an earlier process knew of a policy, as its status tells it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::breaker::{Breaker, Circuit};
use crate::decision::{ClassView, TargetState};
use crate::health::Reason;
use crate::ids::{ClassName, EndpointId, TargetId};
use crate::moment::Moment;
use crate::observation::Role;
use crate::percent::Percent;
use crate::plan::{full_weight, part};
use crate::policy::{BreakerSettings, Endpoint, Policy};
use crate::resolved::ResolvedEndpoint;
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
    /// Why it was as it was; `NotCheckedYet` where another version said it in a word of its own.
    pub reason: Reason,
    /// Why classes stayed away from it.
    pub classes: BTreeMap<ClassName, Reason>,
    /// Its pods; of a host, the one server.
    pub targets: Vec<TargetMemory>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TargetMemory {
    pub address: Option<IpAddr>,
    /// An open circuit is so until a moment of this process's clock; a half-open one tells no step.
    pub state: TargetState,
}

impl EndpointMemory {
    /// What is known of this target, where it is the server that the policy declares now.
    pub(super) fn of(&self, now: &ResolvedEndpoint, id: &TargetId) -> Option<&TargetMemory> {
        self.target(id).filter(|_| self.is(now))
    }

    fn is(&self, now: &ResolvedEndpoint) -> bool {
        now.location
            .as_ref()
            .is_none_or(|location| self.location.as_ref() == Some(location))
    }

    /// What is known of this target, whatever server it is now.
    pub(super) fn target(&self, id: &TargetId) -> Option<&TargetMemory> {
        match id.pod {
            None => self.targets.first(),
            Some(_) => self.targets.iter().find(|target| target.address == id.pod),
        }
    }
}

impl TargetMemory {
    pub(super) fn was(&self, reason: Reason) -> bool {
        self.state.reason == reason
    }

    pub(super) fn lagged(&self) -> bool {
        lagged(self.state.reason)
    }

    pub(super) fn was_standby(&self) -> bool {
        self.state.seen_as_standby || self.state.role == Some(Role::Standby)
    }

    /// The breaker as of `now`.
    pub(super) fn breaker(&self, policy: &Policy, endpoint: &Endpoint, now: Moment) -> Breaker {
        // The traffic step that its weight shows; the first one where it had none.
        let (full, weight) = (full_weight(endpoint, policy.strategy), self.state.weight);
        let reached = |share: &Percent| weight > 0 && part(full, u32::from(share.get()), 100) <= weight;
        let circuit = restored(self.state.circuit, &policy.breaker, now, reached);
        Breaker::restored(circuit, self.state.trips, now)
    }
}

/// Whether a class stayed away because of lag.
pub(super) fn class_lagged(class: &ClassView) -> bool {
    lagged(class.reason)
}

/// The breaker of a class as of `now`.
pub(super) fn class_breaker(class: &ClassView, settings: &BreakerSettings, now: Moment) -> Breaker {
    let circuit = restored(class.circuit, settings, now, |share| *share <= class.share);
    Breaker::restored(circuit, class.trips, now)
}

/// The circuit as of `now`; an open one no longer than the policy allows, a half-open one at the last traffic step that was
/// `reached`.
fn restored(
    circuit: Circuit,
    settings: &BreakerSettings,
    now: Moment,
    reached: impl Fn(&Percent) -> bool,
) -> Circuit {
    match circuit {
        Circuit::Closed { .. } => Circuit::default(),
        Circuit::Open { until } => Circuit::Open {
            until: until.clamp(now, now + settings.max_reset_timeout),
        },
        Circuit::HalfOpen { .. } => Circuit::HalfOpen {
            step: settings.traffic_steps.iter().rposition(reached).unwrap_or(0),
            successes: 0,
        },
    }
}

const fn lagged(reason: Reason) -> bool {
    matches!(reason, Reason::Lagging | Reason::ReplayStalled)
}
