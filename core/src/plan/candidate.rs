//! A target that may be in a route, as one class or region sees it.

use std::net::IpAddr;

use super::route::{Admission, Member};
use crate::breaker::Circuit;
use crate::cluster::Families;
use crate::health::Standing;
use crate::judgement::Judgement;
use crate::lag::Freshness;
use crate::level::LagStep;
use crate::observation::{FailureClass, FailureKind, Role};
use crate::percent::Percent;
use crate::policy::{Endpoint, EndpointState, Policy, Strategy};
use crate::routing::Class;

/// Hundredths of the weight 1.
const WHOLE: u32 = 100;
/// A server without a free connection keeps this part of its share, where shares differ.
const SATURATED: u32 = 10;

/// A target whose address and port are known, and that is not proven wrong.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    pub endpoint: &'a Endpoint,
    pub judgement: &'a Judgement,
    pub address: IpAddr,
    port: u16,
    pub role: Role,
    standing: Standing,
    circuit: Circuit,
    /// Lower ones serve first.
    pub order: u16,
    /// Whether the Service of the route can carry its address.
    pub carried: bool,
}

impl<'a> Candidate<'a> {
    pub fn new(policy: &'a Policy, judgement: &'a Judgement) -> Option<Self> {
        let endpoint = policy.endpoint(&judgement.target.endpoint)?;
        let (address, port, role) = (judgement.address?, judgement.port?, judgement.role?);
        let usable = endpoint.state == EndpointState::Active
            && !matches!(judgement.standing, Standing::Excluded | Standing::Unproven);
        usable.then_some(Self {
            endpoint,
            judgement,
            address,
            port,
            role,
            standing: judgement.standing,
            circuit: judgement.circuit,
            order: 0,
            carried: true,
        })
    }

    /// As a class sees it: by its bound of lag, in place of the endpoint's, and by the circuit of its probe query.
    pub fn seen_by(self, policy: &Policy, class: &Class) -> Self {
        let Some(own) = self.judgement.classes.get(&class.name) else {
            return self;
        };
        let fresh = match own.freshness.filter(|_| self.role == Role::Standby) {
            None => self.standing,
            Some(Freshness::Fresh) => self.judgement.health,
            Some(_) => stale(self.judgement.health),
        };
        let standing = match (own.circuit, fresh) {
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

    /// As a route sees it whose Service has these families; `None`: it carries any address.
    pub fn carried_by(self, families: Option<Families>) -> Self {
        let carried = families.is_none_or(|families| families.carry(self.address));
        Self { carried, ..self }
    }

    pub fn in_order(self, order: u16) -> Self {
        Self { order, ..self }
    }

    pub fn member(&self, strategy: Strategy, admission: Admission) -> Member {
        let share = match self.standing {
            Standing::Returning { share, .. } => share,
            _ => Percent::FULL,
        };
        let fully = admission != Admission::Eligible || !self.is_returning_early();
        Member {
            target: self.judgement.target.clone(),
            address: self.address,
            port: self.port,
            weight: part(self.weight(strategy), u32::from(share.get()), 100),
            in_slice: self.carried && fully,
            in_uris: fully,
            carried: self.carried,
            order: self.order,
            admission,
        }
    }

    /// In hundredths: under Weighted the declared weight, under LeastConnections the less the more of it is used, otherwise
    /// every weight above 0 alike.
    fn weight(&self, strategy: Strategy) -> u32 {
        let full = full_weight(self.endpoint, strategy);
        let (weight, shares) = match strategy {
            Strategy::RoundRobin | Strategy::Geographic => (full, false),
            Strategy::Weighted => (full, true),
            Strategy::LeastConnections => (full / WHOLE * self.judgement.used.share(), true),
        };
        let class = self.judgement.failure.map(FailureKind::class);
        if shares && class == Some(FailureClass::Saturated) {
            part(weight, 1, SATURATED)
        } else {
            weight
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
        self.carried && self.is_well() && !self.is_returning_early()
    }

    /// Its circuit is not closed, but its newest check is good; and a slice may hold it.
    pub fn answers(&self) -> bool {
        let open = matches!(self.circuit, Circuit::Open { .. })
            && matches!(self.standing, Standing::Unhealthy { answers: true });
        self.carried && (self.is_returning_early() || open)
    }

    /// Its newest check was good, whatever keeps it out.
    pub const fn is_heard(&self) -> bool {
        self.judgement.failure.is_none()
    }

    /// Whether it may stand in: well, or at least answering, and a slice may hold it.
    pub fn may_stand_in(&self) -> bool {
        self.carried && (self.is_well() || self.answers())
    }

    /// How far behind one is that is nothing but behind, and that a slice may hold. A delayed standby is never one, nor is who
    /// does not tell.
    pub fn behind(&self) -> Option<LagStep> {
        let lags = self.carried && self.standing == Standing::Behind && !self.endpoint.lag.own;
        self.judgement.behind.filter(|_| lags)
    }
}

/// In hundredths: the weight of an endpoint that is fully in, of which nothing is used.
pub fn full_weight(endpoint: &Endpoint, strategy: Strategy) -> u32 {
    let declared = u32::from(endpoint.weight);
    WHOLE
        * match strategy {
            Strategy::Weighted => declared,
            Strategy::RoundRobin | Strategy::Geographic | Strategy::LeastConnections => declared.min(1),
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

/// A part of a weight; of one above 0 something is left.
pub fn part(weight: u32, numerator: u32, denominator: u32) -> u32 {
    (weight * numerator / denominator).max(weight.min(1))
}
