//! A decision: the plan of a policy with a reason for every endpoint. A value to render, compare and report.

mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::breaker::Circuit;
use super::health::{Reason, Standing};
use super::ids::{ClassName, EndpointId, TargetId};
use super::judgement::Judgement;
use super::lag_reading::LagReading;
use super::observation::{FailureKind, NoLag, Role};
use super::percent::Percent;
use super::plan::{Admission, RoutingPlan};
use super::policy::{BreakerSettings, DeclaredRole, Endpoint, EndpointState, Policy, Probing};
use super::resolved::{Resolved, ResolvedEndpoint};
use super::server::Location;
use super::sqlstate::Sqlstate;
use super::write_primary::{Holding, IdentityChange, Obstacle};

/// The newest decision of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub policy: Arc<Policy>,
    /// What had been looked up for it.
    pub resolved: Arc<Resolved>,
    pub state: DecisionState,
    /// The request for checks that all endpoints have answered.
    pub answered: Option<String>,
    /// The number of the last memory of another process that it goes by ([`Event::Recalled`]).
    ///
    /// [`Event::Recalled`]: crate::world::Event::Recalled
    pub recalled: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum DecisionState {
    /// Not every target was checked yet since the operator, or the policy's probing, began: routes stay as they are.
    Waiting { unchecked: usize },
    /// The policy is suspended: routes stay as they are.
    Suspended,
    /// The routes, and every endpoint in declared order.
    Decided(Box<RouteDecision>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct RouteDecision {
    pub plan: RoutingPlan,
    pub endpoints: Vec<EndpointView>,
    /// Who takes the writes, and what is known of this database.
    pub holding: Holding,
    /// Endpoints that take writes at once, where there are two or more.
    pub split: Vec<EndpointId>,
    /// The holder shows another system identifier than the known one, and nobody may follow it: `rw` stays until a person says
    /// which one is right.
    pub changed: Option<IdentityChange>,
    /// The holder cannot be checked, and another server of `split` was promoted above it: `rw` stays.
    pub unproven: bool,
    /// Whether the holder told this process that it takes writes. Before, `rw` is not led to another server than it was.
    pub proven: bool,
    /// Whether every target was checked since probing began. Before, only what is proven wrong leaves the routes of an earlier
    /// process.
    pub warm: bool,
    /// While the holder is known by a memory alone: the servers of the route of the writes as it was found, as far as this decision
    /// knows of them.
    pub found: Option<BTreeSet<SocketAddr>>,
}

/// By what is written for it, and the policy by its generation.
impl Hash for Decision {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.policy.uid, self.policy.generation).hash(state);
        (&self.answered, self.recalled).hash(state);
        std::mem::discriminant(&self.state).hash(state);
        if let Some(decided) = self.state.decided() {
            (&decided.holding, &decided.plan, &decided.split).hash(state);
            (decided.unproven, decided.proven, &decided.found).hash(state);
        }
    }
}

impl DecisionState {
    #[must_use]
    pub const fn decided(&self) -> Option<&RouteDecision> {
        match self {
            Self::Decided(decided) => Some(decided),
            _ => None,
        }
    }

    /// Whether every target was checked since probing began; of a policy that is suspended none has to be.
    #[must_use]
    pub const fn is_warm(&self) -> bool {
        match self {
            Self::Waiting { .. } => false,
            Self::Suspended => true,
            Self::Decided(decided) => decided.warm,
        }
    }

    /// Every endpoint, where they were judged.
    #[must_use]
    pub fn endpoints(&self) -> Option<&[EndpointView]> {
        self.decided().map(|decided| &*decided.endpoints)
    }
}

/// What is known and decided of one server; of an endpoint with several targets, of the one that is worst off.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetState {
    pub role: Option<Role>,
    /// Whether it takes writes, and this policy saw it as a standby of this database before: it may take over.
    pub seen_as_standby: bool,
    /// Why it may not take over the writes; `None`: nothing is in the way, or nothing is known of it.
    pub obstacle: Option<Obstacle>,
    pub circuit: Circuit,
    /// Trips of its circuit within the last `maxResetTimeout`.
    pub trips: u32,
    /// Whether it is in a route.
    pub eligible: bool,
    pub reason: Reason,
    /// Why it would leave, where it is held.
    pub despite: Option<Reason>,
    /// How far behind it was when anything else here changed last, of a standby.
    pub lag: Option<LagReading>,
    /// The endpoint under whose name its server is used, where it is another one.
    pub same_as: Option<EndpointId>,
    pub failure: Option<FailureKind>,
    /// What its `lagQuery` answers, where its lag is not known for that.
    pub no_lag: Option<NoLag>,
    /// A pooler or proxy answers at its address.
    pub pooled: bool,
    /// Of the failure OtherError.
    pub sqlstate: Option<Sqlstate>,
    /// How many connections the role of the login may have, where those are too few for the operator.
    pub role_limit: Option<u32>,
    /// How many connections the server has for ordinary roles, where its endpoint is declared for more.
    pub usable_connections: Option<u32>,
    /// An address came back lately that its name had left.
    pub name_rotates: bool,
    /// Its share of the reads in hundredths.
    pub weight: u32,
    /// Where a class stays away, or did lately.
    pub classes: BTreeMap<ClassName, ClassView>,
}

impl TargetState {
    /// Of a server of which nothing is known but why.
    #[must_use]
    pub const fn unknown(reason: Reason) -> Self {
        Self {
            role: None,
            seen_as_standby: false,
            obstacle: None,
            circuit: Circuit::Closed { run: None },
            trips: 0,
            eligible: false,
            reason,
            despite: None,
            lag: None,
            same_as: None,
            failure: None,
            no_lag: None,
            pooled: false,
            sqlstate: None,
            role_limit: None,
            usable_connections: None,
            name_rotates: false,
            weight: 0,
            classes: BTreeMap::new(),
        }
    }

    /// The lag that was told of it before, where nothing else changed: a lag changes all the time.
    pub fn keep_lag(&mut self, before: &Self) {
        let lag = std::mem::replace(&mut self.lag, before.lag);
        if self != before {
            self.lag = lag;
        }
    }

    /// The lag, where it is what speaks against it.
    #[must_use]
    pub fn excess(&self) -> Option<LagReading> {
        let reason = self.despite.unwrap_or(self.reason);
        self.lag.filter(|_| reason.is_of_lag())
    }
}

/// An endpoint as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointView {
    pub id: EndpointId,
    pub declared: DeclaredRole,
    pub location: Option<Location>,
    pub address: Option<IpAddr>,
    /// Of several targets the one that is worst off gives the reason.
    pub state: TargetState,
    /// Whether it is well, whatever it is used for.
    pub healthy: bool,
    /// Sessions of others that are left on it, while it drains.
    pub sessions: Option<u32>,
    /// The ready pods behind its Service; empty where it names a host.
    pub targets: Vec<TargetView>,
}

impl EndpointView {
    /// The lags that were told of it before, where nothing else changed.
    pub fn keep_lags(&mut self, before: &Self) {
        self.state.keep_lag(&before.state);
        for pod in &mut self.targets {
            let known = before.targets.iter().find(|known| known.address == pod.address);
            if let Some(known) = known {
                pod.state.keep_lag(&known.state);
            }
        }
    }

    /// Why a class stays away from it; `Serving`: it does not.
    #[must_use]
    pub fn seen_by(&self, class: &ClassName) -> Reason {
        self.state
            .classes
            .get(class)
            .map_or(Reason::Serving, |own| own.reason)
    }
}

/// What one class knows of a server by a bound of lag or a probe query of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClassView {
    /// Why it stays away; `Serving`: it does not.
    pub reason: Reason,
    /// Of its probe query.
    pub circuit: Circuit,
    /// What that circuit lets through.
    pub share: Percent,
    /// Trips of that circuit within the last `maxResetTimeout`.
    pub trips: u32,
}

impl ClassView {
    /// Views of the same class, in this order: the worst comes first.
    fn rank(&self) -> (bool, Percent, u32) {
        (self.reason == Reason::Serving, self.share, u32::MAX - self.trips)
    }
}

/// One pod behind the Service of an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetView {
    pub address: IpAddr,
    pub state: TargetState,
    /// Whether it is well, whatever it is used for.
    pub healthy: bool,
}

/// What is told of a target beside its judgement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetNote {
    /// Where its endpoint was, as it was last read.
    pub location: Option<Location>,
    /// Sessions of others.
    pub sessions: Option<u32>,
    /// How far behind it is, of a standby.
    pub lag: Option<LagReading>,
    /// What its `lagQuery` answers in place of a lag.
    pub no_lag: Option<NoLag>,
    pub was_standby: bool,
    /// It is a primary that takes no writes, by its configuration.
    pub read_only: bool,
    /// Why it may not take over the writes.
    pub obstacle: Option<Obstacle>,
    /// A pooler or proxy answers at its address.
    pub pooled: bool,
    /// Of the failure OtherError.
    pub sqlstate: Option<Sqlstate>,
    /// How many connections the role of the login may have; `None`: it has no limit.
    pub role_limit: Option<u32>,
    /// How many connections the server has for ordinary roles; `None`: it does not tell.
    pub usable_connections: Option<u32>,
    /// An address came back lately that its name had left.
    pub name_rotates: bool,
}

/// Joins plan and judgements: what people see of each endpoint.
#[must_use]
pub fn explain(
    policy: &Policy,
    resolved: &Resolved,
    judgements: &[Judgement],
    plan: &RoutingPlan,
    note: impl Fn(&TargetId) -> TargetNote,
) -> Vec<EndpointView> {
    let view = |endpoint: &Endpoint| {
        let own: Vec<_> = judgements
            .iter()
            .filter(|judgement| judgement.target.endpoint == endpoint.id)
            .collect();
        let notes: Vec<_> = own.iter().map(|judgement| note(&judgement.target)).collect();
        let targets: Vec<_> = own
            .iter()
            .zip(&notes)
            .map(|(judgement, note)| (judgement.address, target(policy, judgement, plan, note)))
            .collect();
        let states: Vec<_> = targets
            .iter()
            .zip(&own)
            .map(|((_, state), judgement)| (state, judgement.is_well()))
            .collect();
        let draining = endpoint.state == EndpointState::Draining;
        let left = || {
            notes
                .iter()
                .filter_map(|note| note.sessions)
                .reduce(u32::saturating_add)
        };
        let resolved = resolved.endpoint(&endpoint.id);
        let location = resolved.and_then(|resolved| resolved.location.clone());
        EndpointView {
            id: endpoint.id.clone(),
            declared: endpoint.declared,
            location: location.or_else(|| notes.first()?.location.clone()),
            address: own.first().and_then(|judgement| judgement.address),
            state: summed((endpoint, resolved), &states),
            healthy: states.iter().any(|(_, well)| *well),
            sessions: draining.then(left).flatten(),
            targets: if resolved.is_some_and(|resolved| resolved.pods.is_some()) {
                pods(&own, targets)
            } else {
                Vec::new()
            },
        }
    };
    policy.endpoints.iter().map(view).collect()
}

/// The targets as pods, which are told by their addresses.
fn pods(own: &[&Judgement], targets: Vec<(Option<IpAddr>, TargetState)>) -> Vec<TargetView> {
    let view = |(judgement, (address, state)): (&&Judgement, (Option<IpAddr>, TargetState))| {
        Some(TargetView {
            // One that had no good check yet is known by its pod.
            address: address.or(judgement.target.pod)?,
            state,
            healthy: judgement.is_well(),
        })
    };
    own.iter().zip(targets).filter_map(view).collect()
}

/// The state of an endpoint by those of its targets, each with whether it is well.
fn summed(
    (endpoint, resolved): (&Endpoint, Option<&ResolvedEndpoint>),
    states: &[(&TargetState, bool)],
) -> TargetState {
    // One that is used under another name is as it should be.
    let passed_over = |state: &TargetState| state.reason == Reason::SameServer;
    let worst = states
        .iter()
        .min_by_key(|(state, well)| (passed_over(state), state.eligible, *well));
    let Some((worst, _)) = worst else {
        return TargetState {
            same_as: resolved.and_then(ResolvedEndpoint::same_as).cloned(),
            ..TargetState::unknown(without_target(endpoint, resolved))
        };
    };
    let all = || states.iter().map(|(state, _)| *state);
    TargetState {
        seen_as_standby: all().any(|state| state.seen_as_standby),
        trips: all().map(|state| state.trips).max().unwrap_or(0),
        role_limit: all().filter_map(|state| state.role_limit).min(),
        usable_connections: all().filter_map(|state| state.usable_connections).min(),
        eligible: all().any(|state| state.eligible),
        weight: all().map(|state| state.weight).sum(),
        classes: worst_of_classes(all()),
        ..(*worst).clone()
    }
}

fn without_target(endpoint: &Endpoint, resolved: Option<&ResolvedEndpoint>) -> Reason {
    match endpoint.state {
        EndpointState::Disabled => Reason::Disabled,
        EndpointState::Draining => Reason::Draining,
        EndpointState::Active if resolved.is_some_and(ResolvedEndpoint::is_passed_over) => Reason::SameServer,
        EndpointState::Active => Reason::NoReadyPod,
    }
}

fn target(policy: &Policy, judgement: &Judgement, plan: &RoutingPlan, note: &TargetNote) -> TargetState {
    let reads = plan.reads(policy, &judgement.target);
    let member = plan.member(policy, &judgement.target);
    let carried = member.is_none_or(|member| member.carried);
    let reason = match member.map(|member| member.admission) {
        // Only where the routes stay as they are: why it would leave says more.
        _ if judgement.standing == Standing::Excluded => judgement.reason,
        _ if !carried && judgement.reason.stands_back() => Reason::FamilyNotServed,
        _ if !carried => judgement.reason,
        Some(Admission::Early) if note.read_only => Reason::ReadOnly,
        Some(Admission::Early) => Reason::AdmittedEarly,
        Some(Admission::Held) => Reason::Held,
        // It stands in, or holds the writes: its circuit keeps it from neither while it answers.
        Some(_)
            if judgement.reason == Reason::CircuitOpen
                && judgement.standing == (Standing::Unhealthy { answers: true }) =>
        {
            Reason::AdmittedEarly
        }
        _ => judgement.reason,
    };
    // A single missed deadline of a server that serves, or would, is no transition.
    let plain = matches!(judgement.reason, Reason::Serving | Reason::SameServer);
    let failure = judgement.failure.filter(|_| !plain);
    let saturated = failure == Some(FailureKind::Saturated);
    let endpoint = policy.endpoint(&judgement.target.endpoint);
    let declared_for = endpoint.map_or(0, |endpoint| endpoint.max_connections);
    TargetState {
        role: judgement.role,
        seen_as_standby: note.was_standby && judgement.role == Some(Role::Primary),
        obstacle: note.obstacle,
        circuit: judgement.circuit,
        trips: judgement.trips,
        eligible: member.is_some() && carried,
        reason,
        despite: Some(judgement.reason)
            .filter(|beneath| reason == Reason::Held && *beneath != Reason::Serving),
        lag: note.lag,
        same_as: judgement.same_as.clone(),
        failure,
        no_lag: note
            .no_lag
            .clone()
            .filter(|_| judgement.reason == Reason::LagUnknown),
        pooled: note.pooled,
        sqlstate: note.sqlstate.filter(|_| failure == Some(FailureKind::OtherError)),
        role_limit: note
            .role_limit
            .filter(|limit| is_low(*limit, &policy.probing, saturated)),
        usable_connections: note.usable_connections.filter(|usable| *usable < declared_for),
        name_rotates: note.name_rotates,
        weight: reads.map_or(0, |member| member.weight),
        classes: classes(judgement, &policy.breaker),
    }
}

/// Whether a role may have too few connections. Where all are in use, it may be by those of the operator itself, of which two
/// processes may run.
fn is_low(limit: u32, probing: &Probing, saturated: bool) -> bool {
    let processes = if saturated { 2 } else { 1 };
    limit < processes * probing.connections()
}

/// Only what differs from a class that never had a doubt.
fn classes(judgement: &Judgement, settings: &BreakerSettings) -> BTreeMap<ClassName, ClassView> {
    let views = judgement.classes.iter().map(|(name, own)| {
        let view = ClassView {
            reason: own.reason(judgement.role),
            circuit: own.circuit,
            share: own.circuit.share(settings),
            trips: own.trips,
        };
        (name.clone(), view)
    });
    views
        .filter(|(_, view)| view.reason != Reason::Serving || view.trips > 0)
        .collect()
}

fn worst_of_classes<'a>(targets: impl Iterator<Item = &'a TargetState>) -> BTreeMap<ClassName, ClassView> {
    let mut worst = BTreeMap::<ClassName, ClassView>::new();
    for (name, view) in targets.flat_map(|target| &target.classes) {
        let known = worst.entry(name.clone()).or_insert(*view);
        *known = std::cmp::min_by_key(*known, *view, ClassView::rank);
    }
    worst
}

#[cfg(test)]
mod tests;
