//! The smallest engine: what an operator was told of each server, and the choice of the write primary that follows.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use distributary::memory::{self, holding};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::Moment;
use distributary_core::decision::{Decision, DecisionState, EndpointView, RouteDecision};
use distributary_core::fixture::{self, SYSTEM};
use distributary_core::ids::TargetId;
use distributary_core::observation::Role;
use distributary_core::plan::{Admission, Member, Route, RouteState, RoutingPlan};
use distributary_core::policy::Policy;
use distributary_core::resolved::Resolved;
use distributary_core::write_primary::{Claim, Holding, Rules, WriteChoice, Writes, choose_write_primary};
use k8s_openapi::jiff::Timestamp;

use super::servers::{COUNT, NAMES, PORT, Servers, Told, address, socket};

/// What is known of one server.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct View {
    pub writable: Option<bool>,
    pub timeline: Option<u32>,
    /// Its newest check was good.
    pub answers: bool,
    asked: Option<Moment>,
    pub writable_since: Option<Moment>,
    failing_since: Option<Moment>,
    was_standby: bool,
    checked: bool,
}

impl View {
    /// Whether an answer tells something else.
    fn differs(&self, told: Option<Told>) -> bool {
        let Some(told) = told else {
            return self.answers || self.failing_since.is_none() || !self.checked;
        };
        let unproven = told.writable && self.writable_since.is_none();
        let role = self.writable == Some(told.writable) && self.timeline == Some(told.timeline);
        !(self.answers && role) || unproven || !self.checked
    }

    fn learn(&mut self, told: Option<Told>, now: Moment) {
        self.checked = true;
        self.answers = told.is_some();
        let Some(told) = told else {
            self.failing_since = self.failing_since.or(Some(now));
            return;
        };
        self.failing_since = None;
        (self.writable, self.timeline, self.asked) = (Some(told.writable), Some(told.timeline), Some(now));
        self.writable_since = self.writable_since.or(Some(now)).filter(|_| told.writable);
        self.was_standby |= !told.writable;
    }

    /// It takes the writes by a memory, until it tells otherwise.
    fn presume(&mut self, now: Moment) {
        if self.writable != Some(true) {
            (self.writable, self.timeline) = (Some(true), None);
        }
        (self.writable_since, self.asked) = (None, Some(now));
    }

    /// Whether its newest answer proved that it takes writes.
    pub fn proved(&self) -> bool {
        self.writable == Some(true) && self.writable_since.is_some()
    }

    /// Whether its newest check did.
    pub fn proves(&self) -> bool {
        self.answers && self.proved()
    }

    pub fn is_standby(&self) -> bool {
        self.answers && self.writable == Some(false)
    }

    fn claim(&self, server: usize) -> Claim {
        let role = |writable| if writable { Role::Primary } else { Role::Standby };
        Claim {
            target: target(server),
            server: socket(server),
            instance: socket(server),
            moved_at: None,
            declared: server == 0,
            by_service: false,
            promotable: true,
            role: self.writable.map(role),
            answers: self.answers,
            doubted: false,
            asked: self.asked,
            writable_since: self.writable_since,
            well: self.answers,
            alive: false,
            slow: false,
            cannot_be_checked: false,
            failing_since: self.failing_since,
            identity: self.checked.then_some(SYSTEM),
            other_database: false,
            timeline: self.timeline,
            was_standby: self.was_standby,
            pod_of_standby: false,
        }
    }
}

pub fn target(server: usize) -> TargetId {
    TargetId::host(NAMES[server].into())
}

#[derive(Clone, Debug, Hash)]
pub struct Engine {
    pub views: [View; COUNT],
    pub holding: Holding,
    goes_by_memory: bool,
    found: BTreeSet<SocketAddr>,
    recalled: u64,
    /// Whom the reads were led to last, by the memory of this process.
    reads: Vec<usize>,
    pub decision: Option<Arc<Decision>>,
    /// When time alone changes what is decided.
    pub again: Option<Moment>,
}

/// The policy of all decisions.
pub struct Case {
    pub policy: Arc<Policy>,
    pub resolved: Arc<Resolved>,
}

impl Engine {
    /// A process that begins, and knows what the status tells.
    pub fn begins(status: &ReplicaSetPolicyStatus, now: Moment) -> Self {
        let memory = read(status, now);
        let mut engine = Self {
            views: [View::default(); COUNT],
            holding: Holding::default(),
            goes_by_memory: true,
            found: BTreeSet::new(),
            recalled: 0,
            reads: Vec::new(),
            decision: None,
            again: None,
        };
        engine.remember(&memory);
        engine.holding = memory.holding;
        engine.presume(now);
        engine
    }

    /// Who was seen as a standby: the replicas always were.
    fn remember(&mut self, memory: &distributary_core::world::Memory) {
        let was = |server: usize| {
            let known = memory.endpoints.get(&NAMES[server].into());
            server > 0 || known.is_some_and(|known| known.seen_as_standby)
        };
        for (server, view) in self.views.iter_mut().enumerate() {
            view.was_standby |= was(server);
        }
    }

    fn presume(&mut self, now: Moment) {
        let holder = self.holding.holder.clone();
        let view = (0..COUNT).find(|server| holder.as_ref() == Some(&target(*server)));
        if let Some(server) = view {
            self.views[server].presume(now);
        }
    }

    /// Another process wrote this.
    pub fn recall(&mut self, status: &ReplicaSetPolicyStatus, number: u64, now: Moment) {
        let memory = read(status, now);
        self.recalled = number;
        self.remember(&memory);
        let before = std::mem::replace(&mut self.holding, memory.holding);
        if before.holder != self.holding.holder {
            self.goes_by_memory = true;
            self.presume(now);
        }
    }

    pub fn finds(&mut self, servers: BTreeSet<SocketAddr>) {
        self.found = servers;
    }

    /// Whether servers would tell something that is not known.
    pub fn lags(&self, servers: &Servers, parted: Option<usize>) -> bool {
        let mut views = self.views.iter().enumerate();
        views.any(|(server, view)| view.differs(heard(servers, parted, server)))
    }

    /// Asks all servers.
    pub fn observe(&mut self, servers: &Servers, parted: Option<usize>, now: Moment) {
        for (server, view) in self.views.iter_mut().enumerate() {
            view.learn(heard(servers, parted, server), now);
        }
    }

    /// Decides; a decision that is another one.
    pub fn decide(&mut self, case: &Case, now: Moment) -> Option<Arc<Decision>> {
        let state = self.judge(&case.policy, now);
        let decision = Decision {
            policy: Arc::clone(&case.policy),
            resolved: Arc::clone(&case.resolved),
            state,
            answered: None,
            recalled: self.recalled,
        };
        if self.decision.as_deref() == Some(&decision) {
            return None;
        }
        let decision = Arc::new(decision);
        self.decision = Some(Arc::clone(&decision));
        Some(decision)
    }

    fn judge(&mut self, policy: &Policy, now: Moment) -> DecisionState {
        let unchecked = self.views.iter().filter(|view| !view.checked).count();
        let claims: Vec<_> = (0..COUNT)
            .map(|server| self.views[server].claim(server))
            .collect();
        let rules = Rules {
            warm: unchecked == 0,
            found: self.goes_by_memory.then_some(&self.found),
            ..Rules::of(policy)
        };
        let choice = choose_write_primary(&self.holding, &claims, rules, now);
        self.goes_by_memory &= !choice.proven;
        self.again = choice.again;
        if unchecked > 0 {
            return DecisionState::Waiting { unchecked };
        }
        let plan = self.plan(&choice);
        self.holding = choice.holding.clone();
        let split = choice.split.iter().map(|target| target.endpoint.clone());
        DecisionState::Decided(Box::new(RouteDecision {
            warm: true,
            plan,
            endpoints: self.rejoined().into_iter().collect(),
            split: split.collect(),
            holding: choice.holding,
            changed: choice.changed,
            unproven: choice.unproven,
            proven: choice.proven,
            found: self.goes_by_memory.then(|| self.found.clone()),
        }))
    }

    /// The declared primary, where it was seen as a standby.
    fn rejoined(&self) -> Option<EndpointView> {
        let mut view = fixture::view(NAMES[0]);
        view.state.seen_as_standby = true;
        self.views[0].was_standby.then_some(view)
    }

    fn plan(&mut self, choice: &WriteChoice) -> RoutingPlan {
        let holder = choice
            .holding
            .holder
            .as_ref()
            .filter(|_| choice.writes != Writes::Withdrawn);
        let writes = (0..COUNT).find(|server| holder == Some(&target(*server)));
        let standbys: Vec<_> = (0..COUNT)
            .filter(|server| self.views[*server].is_standby())
            .collect();
        let served = choice.writes == Writes::Served;
        let (state, reads) = match (standbys.is_empty(), writes.filter(|_| served)) {
            (false, _) => (RouteState::Served, standbys),
            (true, Some(writes)) => (RouteState::Fallback, vec![writes]),
            (true, None) => (RouteState::Held, self.reads.clone()),
        };
        self.reads.clone_from(&reads);
        RoutingPlan {
            rw: route(
                if served {
                    RouteState::Served
                } else {
                    RouteState::Held
                },
                writes,
            ),
            ro: route(state, reads),
            ..RoutingPlan::default()
        }
    }
}

/// What a server tells an operator that does not reach `parted`.
fn heard(servers: &Servers, parted: Option<usize>, server: usize) -> Option<Told> {
    servers.told(server).filter(|_| parted != Some(server))
}

fn route(state: RouteState, servers: impl IntoIterator<Item = usize>) -> Route {
    let member = |server| Member {
        target: target(server),
        address: address(server),
        port: PORT,
        weight: 100,
        in_slice: true,
        in_uris: true,
        carried: true,
        order: 0,
        admission: Admission::Eligible,
    };
    let members: Vec<_> = servers.into_iter().map(member).collect();
    let state = if members.is_empty() {
        RouteState::Empty
    } else {
        state
    };
    Route { state, members }
}

fn read(status: &ReplicaSetPolicyStatus, moment: Moment) -> distributary_core::world::Memory {
    let wall = Timestamp::UNIX_EPOCH;
    let memory = memory::memory(status, memory::Now { wall, moment });
    debug_assert_eq!(memory.holding, holding(status));
    memory
}
