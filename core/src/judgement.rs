//! What is known of one target when a plan is made.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::breaker::Circuit;
use super::class_states::ClassJudgement;
use super::health::{Reason, Standing};
use super::ids::{ClassName, EndpointId, TargetId};
use super::level::{LagStep, UseStep};
use super::observation::{FailureKind, Role};
use super::write_primary::Holding;

/// What is known of one target when a plan is made.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    pub target: TargetId,
    /// The address of its newest good check.
    pub address: Option<IpAddr>,
    /// Where it listens; `None`: that is not known yet.
    pub port: Option<u16>,
    pub role: Option<Role>,
    pub circuit: Circuit,
    /// Trips within the last `maxResetTimeout`.
    pub trips: u32,
    pub standing: Standing,
    /// The same, whatever its lag: what a class with a bound of its own begins with.
    pub health: Standing,
    pub reason: Reason,
    /// The endpoint under whose name its server is used, where it is another one.
    pub same_as: Option<EndpointId>,
    pub failure: Option<FailureKind>,
    /// How far behind it is, where that is known.
    pub behind: Option<LagStep>,
    /// How much of it is used, under the strategy `LeastConnections`.
    pub used: UseStep,
    /// What the classes know of it that have a bound of lag or a probe query of their own.
    pub classes: BTreeMap<ClassName, ClassJudgement>,
}

impl Judgement {
    /// Whether it is well, whatever it is used for.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.standing == Standing::Good
    }

    /// Whether the target may not stay in a route that it is in: it must not serve, or holds the writes as a standby.
    #[must_use]
    pub fn is_excluded(&self, holding: &Holding) -> bool {
        let holds = holding.holder.as_ref() == Some(&self.target);
        self.standing == Standing::Excluded || (holds && self.role == Some(Role::Standby))
    }
}
