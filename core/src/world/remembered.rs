//! What the status of a policy says from before the operator started.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::breaker::{Breaker, Circuit};
use crate::health::Reason;
use crate::ids::ClassName;
use crate::ids::EndpointId;
use crate::ids::TargetId;
use crate::moment::Moment;
use crate::observation::Role;
use crate::percent::Percent;
use crate::plan::{full_weight, part};
use crate::policy::{BreakerSettings, Endpoint, Host, Location, Policy};
use crate::primary::Tenure;

/// What was known of a policy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Remembered {
    pub endpoints: BTreeMap<EndpointId, RememberedEndpoint>,
    pub tenure: Tenure,
    /// The request for checks that was answered.
    pub answered: Option<String>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RememberedEndpoint {
    pub host: Option<String>,
    pub port: Option<u16>,
    /// Why it was as it was; `None`: in a word of another version.
    pub reason: Option<Reason>,
    /// Why classes stayed away from it.
    pub classes: BTreeMap<ClassName, Option<Reason>>,
    /// Its pods; of a host, the one server.
    pub targets: Vec<RememberedTarget>,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RememberedTarget {
    pub address: Option<IpAddr>,
    pub role: Option<Role>,
    /// Whether it took writes, and was a standby of this database before.
    pub seen_as_standby: bool,
    /// Whether it was in a route.
    pub eligible: bool,
    /// Why it was as it was; `None`: in a word of another version.
    pub reason: Option<Reason>,
    pub circuit: RememberedCircuit,
    pub trips: u32,
    /// Its share of the reads, in hundredths.
    pub weight: u32,
    pub classes: BTreeMap<ClassName, RememberedClass>,
}

/// What a class knew of a target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RememberedClass {
    /// Why it stayed away; `None`: in a word of another version.
    pub reason: Option<Reason>,
    pub circuit: RememberedCircuit,
    pub trips: u32,
    /// What its circuit let through.
    pub share: Percent,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RememberedCircuit {
    #[default]
    Closed,
    /// Until so long after the operator started.
    Open {
        left: Duration,
    },
    HalfOpen,
}

impl RememberedEndpoint {
    /// What is known of this target, where it is the server that the policy declares now.
    pub(super) fn of(&self, endpoint: &Endpoint, id: &TargetId) -> Option<&RememberedTarget> {
        self.target(id).filter(|_| self.is(endpoint))
    }

    pub(super) fn location(&self) -> Option<Location> {
        let host = self.host.as_ref()?;
        let host = host
            .parse()
            .map_or_else(|_| Host::Name(host.clone()), Host::Address);
        let port = self.port?;
        Some(Location { host, port })
    }

    fn is(&self, endpoint: &Endpoint) -> bool {
        endpoint.location.as_ref().is_none_or(|location| {
            self.host.as_deref() == Some(location.host.to_string().as_str())
                && self.port == Some(location.port)
        })
    }

    fn target(&self, id: &TargetId) -> Option<&RememberedTarget> {
        match id.pod {
            None => self.targets.first(),
            Some(_) => self.targets.iter().find(|target| target.address == id.pod),
        }
    }
}

impl RememberedTarget {
    pub(super) fn was(&self, reason: Reason) -> bool {
        self.reason == Some(reason)
    }

    pub(super) fn lagged(&self) -> bool {
        lagged(self.reason)
    }

    pub(super) fn was_standby(&self) -> bool {
        self.seen_as_standby || self.role == Some(Role::Standby)
    }

    /// The breaker as of `now`.
    pub(super) fn breaker(&self, policy: &Policy, endpoint: &Endpoint, now: Moment) -> Breaker {
        // The traffic step that its weight shows; the first one where it had none.
        let full = full_weight(endpoint, policy.strategy);
        let reached =
            |share: &Percent| self.weight > 0 && part(full, u32::from(share.get()), 100) <= self.weight;
        let circuit = self.circuit.restored(&policy.breaker, now, reached);
        Breaker::restored(circuit, self.trips, now)
    }
}

impl RememberedClass {
    pub(super) fn lagged(&self) -> bool {
        lagged(self.reason)
    }

    /// The breaker as of `now`.
    pub(super) fn breaker(&self, settings: &BreakerSettings, now: Moment) -> Breaker {
        let circuit = self.circuit.restored(settings, now, |share| *share <= self.share);
        Breaker::restored(circuit, self.trips, now)
    }
}

impl RememberedCircuit {
    /// The circuit as of `now`; an open one no longer than the policy allows, a half-open one at the last traffic step that
    /// was `reached`.
    fn restored(
        self,
        settings: &BreakerSettings,
        now: Moment,
        reached: impl Fn(&Percent) -> bool,
    ) -> Circuit {
        match self {
            Self::Closed => Circuit::default(),
            Self::Open { left } => Circuit::Open {
                until: now + left.min(settings.max_reset_timeout),
            },
            Self::HalfOpen => Circuit::HalfOpen {
                step: settings.traffic_steps.iter().rposition(reached).unwrap_or(0),
                successes: 0,
            },
        }
    }
}

fn lagged(reason: Option<Reason>) -> bool {
    matches!(reason, Some(Reason::Lagging | Reason::ReplayStalled))
}
