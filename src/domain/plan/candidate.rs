//! A target that may be in a route, as one class or region sees it.

use std::net::IpAddr;

use super::{Admission, Judgement, Member};
use crate::domain::breaker::Circuit;
use crate::domain::health::Standing;
use crate::domain::lag::{Freshness, Lag};
use crate::domain::observation::Role;
use crate::domain::policy::{Endpoint, EndpointState, Percent, Policy, Strategy};
use crate::domain::routing::Class;

/// A target that has an address and is not proven wrong.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub endpoint: &'a Endpoint,
    pub judgement: &'a Judgement,
    pub address: IpAddr,
    pub role: Role,
    standing: Standing,
    /// Lower ones serve first.
    pub order: u16,
}

impl<'a> Candidate<'a> {
    pub fn new(policy: &'a Policy, judgement: &'a Judgement) -> Option<Self> {
        let endpoint = policy.endpoint(&judgement.target.endpoint)?;
        let (address, role) = (judgement.address?, judgement.role?);
        let usable = endpoint.state == EndpointState::Active
            && !matches!(judgement.standing, Standing::Wrong | Standing::Unproven);
        usable.then_some(Self {
            endpoint,
            judgement,
            address,
            role,
            standing: judgement.standing,
            order: 0,
        })
    }

    /// As a class sees it: by its bound of lag, in place of the endpoint's, and by the circuit of its probe query.
    pub fn seen_by(self, policy: &Policy, class: &Class) -> Self {
        let Some(own) = self.judgement.classes.get(&class.name) else {
            return self;
        };
        let standing = match own.freshness {
            None => self.standing,
            Some(Freshness::Fresh) => self.judgement.health,
            Some(_) => stale(self.judgement.health),
        };
        let standing = match (own.circuit, standing) {
            (Circuit::Open { .. }, Standing::Good | Standing::Returning { .. }) => {
                Standing::Unhealthy { answers: false }
            }
            (circuit @ Circuit::HalfOpen { .. }, Standing::Good) => Standing::Returning {
                share: circuit.share(&policy.breaker),
                last: circuit.at_last_step(&policy.breaker),
            },
            (_, standing) => standing,
        };
        Self { standing, ..self }
    }

    pub fn in_order(self, order: u16) -> Self {
        Self { order, ..self }
    }

    pub fn member(&self, strategy: Strategy, admission: Admission) -> Member {
        let share = match self.standing {
            Standing::Returning { share, .. } => share,
            _ => Percent::FULL,
        };
        let in_slice = admission != Admission::Eligible || !self.is_returning_early();
        Member {
            target: self.judgement.target.clone(),
            address: self.address,
            port: self.judgement.port,
            weight: self.weight(strategy) * u32::from(share.get()),
            in_slice,
            order: self.order,
            admission,
        }
    }

    /// Under Weighted the declared weight, under LeastConnections the less the more of it is used, otherwise every weight
    /// above 0 alike. In units of which 100 are a whole share for the first two.
    fn weight(&self, strategy: Strategy) -> u32 {
        match strategy {
            Strategy::RoundRobin | Strategy::Geographic => u32::from(self.endpoint.weight.min(1)),
            Strategy::Weighted => u32::from(self.endpoint.weight),
            Strategy::LeastConnections => {
                u32::from(self.endpoint.weight.min(1))
                    * (10 / u32::from(self.judgement.used.clamp(1, 10))).max(1)
            }
        }
    }

    /// Below the last traffic step.
    fn is_returning_early(&self) -> bool {
        matches!(self.standing, Standing::Returning { last: false, .. })
    }

    pub fn is_well(&self) -> bool {
        matches!(self.standing, Standing::Good | Standing::Returning { .. })
    }

    /// Well, and in a slice too.
    pub fn is_all_in(&self) -> bool {
        self.is_well() && !self.is_returning_early()
    }

    /// Its circuit is not closed, but its newest check is good.
    pub fn answers(&self) -> bool {
        self.is_returning_early()
            || (matches!(self.judgement.circuit, Circuit::Open { .. })
                && matches!(self.standing, Standing::Unhealthy { answers: true }))
    }

    /// How far behind one is that is nothing but behind, in steps that double, so that small changes change nothing. A
    /// delayed standby is never one.
    pub fn behind(&self) -> Option<u32> {
        let time = match self.judgement.lag {
            Some(Lag::Behind { time, .. } | Lag::AtLeast { time, .. }) => time,
            Some(Lag::Unknown) | None => return None,
        };
        let lags = self.standing == Standing::Behind && !self.endpoint.lag.own;
        lags.then(|| u64::BITS - time.as_secs().leading_zeros())
    }
}

/// Not fresh enough, whatever else is good of it.
const fn stale(standing: Standing) -> Standing {
    match standing {
        Standing::Good | Standing::Returning { .. } => Standing::Behind,
        Standing::Unhealthy { .. } => Standing::Unhealthy { answers: false },
        other => other,
    }
}
