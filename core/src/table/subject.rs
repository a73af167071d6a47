//! What a routing table, and the objects of a policy, are made from.

use crate::decision::{Decision, DecisionState};
use crate::outputs::Outputs;
use crate::plan::RoutingPlan;
use crate::policy::Policy;
use crate::resolved::Resolved;

/// A plan with all that it is published with.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    pub policy: &'a Policy,
    pub resolved: &'a Resolved,
    pub outputs: &'a Outputs,
    pub plan: &'a RoutingPlan,
}

impl<'a> Subject<'a> {
    /// The routes that a decision asks for; `None`: it leaves them as they are.
    #[must_use]
    pub fn of(decision: &'a Decision, outputs: &'a Outputs) -> Option<Self> {
        match &decision.state {
            DecisionState::Decided(decided) => Some(Self {
                policy: &decision.policy,
                resolved: &decision.resolved,
                outputs,
                plan: &decided.plan,
            }),
            _ => None,
        }
    }
}
