//! The state of one policy: its targets, the history of its log, who takes its writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use super::memory::{EndpointMemory, Memory, TargetMemory};
use super::watched::WatchedTarget;
use crate::aliases::Aliases;
use crate::cadence::HoldRule;
use crate::candidacy::Candidacy;
use crate::decision::Decision;
use crate::following::Following;
use crate::health::Reason;
use crate::ids::{ClassName, EndpointId, TargetId};
use crate::lag::WalHistory;
use crate::moment::Moment;
use crate::plan::RoutingPlan;
use crate::policy::{Endpoint, LagSource, Mode, Policy};
use crate::resolved::{Resolved, ResolvedEndpoint};
use crate::seeded::SeededFault;
use crate::target::{Deadlines, Incarnation, NextCheck, ProbeOrder};
use crate::write_primary::Holding;

#[derive(Debug)]
pub(super) struct PolicyState {
    pub(super) policy: Arc<Policy>,
    pub(super) resolved: Arc<Resolved>,
    pub(super) targets: BTreeMap<TargetId, WatchedTarget>,
    pub(super) history: WalHistory,
    pub(super) holding: Holding,
    /// Whether the holder is known by a memory alone: neither it nor who took its place has proved that it takes the writes.
    pub(super) goes_by_memory: bool,
    /// The servers of the route of the writes, as it was found.
    pub(super) found: BTreeSet<SocketAddr>,
    /// Which of them are one server.
    pub(super) aliases: Aliases,
    /// Who takes writes while nobody holds them.
    pub(super) candidacy: Option<Candidacy>,
    /// Servers that take writes beside the holder, since its last answer.
    pub(super) contests: BTreeMap<TargetId, Candidacy>,
    /// The server that the others have to follow; its address, where that is known.
    pub(super) upstream: Option<(TargetId, Option<SocketAddr>)>,
    /// Whether a server that is watched from now on has to prove that it follows: the write primary changed, or an earlier
    /// process may have seen it change; or one that had to prove it is watched no more, and may return as another target.
    pub(super) newcomers_prove: bool,
    /// Servers seen as standbys, with the system identifier that they showed.
    pub(super) standbys: BTreeMap<SocketAddr, Option<u64>>,
    /// Endpoints of whose pods one was seen as a standby, with the system identifier that it showed.
    pub(super) standby_services: BTreeMap<EndpointId, Option<u64>>,
    /// Whether every target was checked since probing began.
    pub(super) warm: bool,
    /// Whether servers that may take over the writes are asked more often.
    pub(super) urgent: bool,
    hold_rule: HoldRule,
    /// Since when a decision waits for signs to be confirmed.
    pub(super) gathering: Option<Moment>,
    pub(super) request: CheckRequest,
    pub(super) decision: Option<Arc<Decision>>,
    /// The number of the last memory of another process that was taken in.
    pub(super) recalled: u64,
    /// The endpoint that has the writes, by the newest decision or, where that is newer, by what another process wrote.
    pub(super) writes_at: Option<EndpointId>,
    /// The newest decision that judged the endpoints.
    pub(super) judged: Option<Arc<Decision>>,
    /// The routes of the newest decision that had some.
    pub(super) routes: RoutingPlan,
    /// The reasons of endpoints, and of classes that stayed away from them, from before the operator started: for the first
    /// decision to be compared with.
    pub(super) reasons: BTreeMap<(EndpointId, Option<ClassName>), Reason>,
}

/// A person's request for checks.
#[derive(Debug, Default)]
pub(super) struct CheckRequest {
    pub(super) made: Option<Moment>,
    /// Who has not answered yet.
    pub(super) open: BTreeSet<TargetId>,
    pub(super) answered: Option<String>,
}

impl PolicyState {
    pub(super) fn new(
        (policy, resolved): (Arc<Policy>, Arc<Resolved>),
        memory: Memory,
        incarnations: &mut Incarnations,
        now: Moment,
    ) -> Self {
        let Memory {
            endpoints,
            holding,
            answered,
        } = memory;
        let identity = holding.identity;
        let holding = if SeededFault::MemoryIgnored.is_on() {
            Holding::default()
        } else {
            holding
        };
        let mut holding = by_pod(holding.under(policy.identity), &resolved);
        let writes_at = endpoint_of(&holding);
        let upstream = holding.holder.clone().map(|holder| (holder, holding.server));
        let newcomers_prove = upstream.is_some();
        holding.server = holding
            .server
            .filter(|_| is_where_it_was(&holding, &endpoints, &resolved));
        let same_database = same_database(identity, holding.identity);
        let (mut targets, mut standbys) = (BTreeMap::new(), BTreeMap::new());
        for (id, endpoint) in watched(&policy, &resolved) {
            let known = endpoints.get(&endpoint.0.id).filter(|_| same_database);
            let (incarnation, known_before) = (incarnations.next(), (newcomers_prove, known));
            let target = WatchedTarget::restored(&id, endpoint, incarnation, known_before, &policy, now);
            let was_standby = known
                .and_then(|known| known.of(endpoint.1, &id))
                .is_some_and(TargetMemory::was_standby);
            if let Some(server) = target.server().filter(|_| was_standby) {
                standbys.insert(server, holding.identity);
            }
            targets.insert(id, target);
        }
        let services = endpoints
            .iter()
            .filter(|(_, known)| same_database && known.seen_as_standby);
        let standby_services = services.map(|(id, _)| (id.clone(), holding.identity)).collect();
        presume_holder(&mut targets, &holding, now);
        let mut state = Self {
            standbys,
            standby_services,
            reasons: BTreeMap::new(),
            request: CheckRequest {
                answered,
                ..CheckRequest::default()
            },
            targets,
            history: WalHistory::on(holding.timeline),
            holding,
            goes_by_memory: true,
            found: BTreeSet::new(),
            aliases: Aliases::default(),
            candidacy: None,
            contests: BTreeMap::new(),
            upstream,
            newcomers_prove,
            warm: false,
            urgent: false,
            hold_rule: HoldRule::default(),
            gathering: None,
            decision: None,
            recalled: 0,
            writes_at,
            judged: None,
            routes: RoutingPlan::default(),
            policy,
            resolved,
        };
        state.recall_contests(&endpoints);
        state.reasons = endpoints.into_iter().flat_map(reasons).collect();
        state.recall_routes(now);
        state.ask(now);
        state
    }

    /// A new host, port or identity is another server, a new threshold or time keeps the state, other endpoints never
    /// notice. A server that is named by another id is the same.
    pub(super) fn edit(
        &mut self,
        (policy, resolved): (Arc<Policy>, Arc<Resolved>),
        incarnations: &mut Incarnations,
        now: Moment,
    ) {
        let mut contested = self.contested_targets();
        let before = std::mem::replace(&mut self.policy, Arc::clone(&policy));
        let resolved_before = std::mem::replace(&mut self.resolved, Arc::clone(&resolved));
        self.keep_standby_services(&resolved_before);
        let resumed = before.mode == Mode::Suspend && policy.mode != Mode::Suspend;
        let same_database = self.keep_identity(&policy);
        let wanted: BTreeMap<_, _> = watched(&policy, &resolved).collect();
        let (mut known, mut lost): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(&mut self.targets)
            .into_iter()
            .partition(|(id, target)| {
                let endpoint = wanted.get(id).filter(|_| same_database);
                endpoint.is_some_and(|(_, resolved)| target.is_still(id, resolved))
            });
        let renamed = if same_database {
            self.rename(&wanted, &mut known, &mut lost, &mut contested)
        } else {
            BTreeSet::new()
        };
        let had_to_prove = |target: &WatchedTarget| target.following.state().must_prove();
        self.newcomers_prove |= same_database && lost.values().any(had_to_prove);
        for (id, endpoint) in wanted {
            let target = if let Some(mut target) = known.remove(&id) {
                if renamed.contains(&id) {
                    // It is asked under this id from now on.
                    target.incarnation = incarnations.next();
                    target.ask(now);
                }
                target.kept(endpoint, &before, &policy, now)
            } else {
                let following = Following::watched(self.newcomers_prove);
                let incarnation = incarnations.next();
                let mut target = WatchedTarget::new(&id, endpoint, incarnation, following, &policy, now);
                target.hold_by(self.hold_rule);
                if self.holding.holder.as_ref() == Some(&id) {
                    self.holding.server = None;
                }
                target
            };
            self.targets.insert(id, target);
        }
        let targets = &self.targets;
        self.aliases.retain(|id| targets.contains_key(id));
        self.forget_candidacies();
        self.keep_contests(contested, &resolved_before);
        self.warm &= same_database && !resumed;
        if resumed {
            for target in self.targets.values_mut() {
                target.resume(now);
            }
        }
        if before.check_request == policy.check_request {
            let targets = &self.targets;
            let answers = |id: &TargetId| targets.get(id).is_some_and(|target| target.login.is_some());
            self.request.open.retain(answers);
            self.note_answer();
        } else {
            self.ask(now);
        }
    }

    /// Whether another process decided about another database than this state knows.
    pub(super) fn is_of_another_database(&self, memory: &Memory) -> bool {
        let identity = memory.holding.clone().under(self.policy.identity).identity;
        !same_database(self.holding.identity, identity)
    }

    /// Takes what another process wrote about the same database for its own. Where that changes the holder: what was heard of it
    /// proves nothing, and it is checked at once.
    pub(super) fn recall(&mut self, memory: &Memory, now: Moment) -> Option<(TargetId, NextCheck)> {
        let mut holding = by_pod(memory.holding.clone().under(self.policy.identity), &self.resolved);
        if SeededFault::MarkNotRecalled.is_on() {
            holding.timeline = self.holding.timeline;
        }
        if holding.timeline > self.holding.timeline {
            // The log went on from there; positions on the earlier timeline say nothing of it.
            self.history = WalHistory::on(holding.timeline);
        }
        for (id, target) in &self.targets {
            if let Some(server) = self.remembered_standby(memory, id, target) {
                self.standbys.entry(server).or_insert(holding.identity);
            }
        }
        let services = memory.endpoints.iter().filter(|(_, known)| known.seen_as_standby);
        for (id, _) in services {
            self.standby_services
                .entry(id.clone())
                .or_insert(holding.identity);
        }
        self.request.answered.clone_from(&memory.answered);
        let before = std::mem::replace(&mut self.holding, holding);
        self.writes_at = endpoint_of(&self.holding);
        if before.holder == self.holding.holder {
            // A contest is no choice: that this process saw it is a proof, which the other one may have missed.
            self.holding.contested.extend(before.contested);
            self.holding
                .contested_endpoints
                .extend(before.contested_endpoints);
            return None;
        }
        self.goes_by_memory = true;
        presume_holder(&mut self.targets, &self.holding, now);
        let holder = self.holding.holder.as_ref()?;
        let target = self.targets.get_mut(holder)?;
        target.wake(now);
        Some((holder.clone(), target.check))
    }

    /// The route of the writes leads to these servers, whatever was decided or remembered.
    pub(super) fn find(&mut self, servers: BTreeSet<SocketAddr>) {
        let is_there =
            |target: &WatchedTarget| target.server().is_some_and(|server| servers.contains(&server));
        if let Some((id, _)) = self.targets.iter().find(|(_, target)| is_there(target)) {
            self.writes_at = Some(id.endpoint.clone());
        }
        self.found = servers;
    }

    /// Where a target was seen as a standby, whether this process ever reached it or not.
    fn remembered_standby(
        &self,
        memory: &Memory,
        id: &TargetId,
        target: &WatchedTarget,
    ) -> Option<SocketAddr> {
        let (known, resolved) = (
            memory.endpoints.get(&id.endpoint)?,
            self.resolved.endpoint(&id.endpoint)?,
        );
        let seen = known.of(resolved, id).filter(|seen| seen.was_standby())?;
        Some(SocketAddr::new(seen.address?, target.port?))
    }

    /// Another identity is another database: nothing that was seen says anything of it. Whether it is the same.
    fn keep_identity(&mut self, policy: &Policy) -> bool {
        let known = self.holding.identity;
        self.holding = std::mem::take(&mut self.holding).under(policy.identity);
        let same = same_database(known, self.holding.identity);
        if !same {
            self.history = WalHistory::default();
            self.standbys.clear();
            self.standby_services.clear();
            (self.upstream, self.newcomers_prove) = (None, false);
        }
        same
    }

    /// Checks every target at once where a person asks for it.
    fn ask(&mut self, now: Moment) {
        if self.policy.check_request.is_none() || self.policy.check_request == self.request.answered {
            return;
        }
        self.request.made = Some(now);
        self.request.open = self
            .targets
            .iter()
            .filter(|(_, target)| target.login.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for target in self.targets.values_mut() {
            target.ask(now);
        }
        self.note_answer();
    }

    pub(super) fn note_answer(&mut self) -> bool {
        let answered = self.request.open.is_empty() && self.request.answered != self.policy.check_request;
        if answered && self.policy.check_request.is_some() {
            self.request.answered.clone_from(&self.policy.check_request);
            return true;
        }
        false
    }

    pub(super) fn wanted(&self) -> Vec<ProbeOrder> {
        if self.policy.mode == Mode::Suspend {
            return Vec::new();
        }
        let wanted = |(id, target): (&TargetId, &WatchedTarget)| {
            let endpoint = self.policy.endpoint(&id.endpoint)?;
            let mut location = self.resolved.location(&id.endpoint)?.clone();
            location.port = target.port?;
            Some(ProbeOrder {
                target: id.clone(),
                incarnation: target.incarnation,
                location,
                login: target.login.clone()?,
                lag_query: match &endpoint.lag.source {
                    LagSource::Query(query) => Some(Arc::clone(query)),
                    LagSource::Wal | LagSource::None => None,
                },
                deadlines: Deadlines {
                    timeout: self.policy.probing.timeout,
                    failover_timeout: self.policy.probing.failover_timeout,
                    failure_threshold: self.policy.breaker.failure_threshold,
                },
                probe_queries: self.policy.routing.probe_queries(),
                interval: self.policy.probing.interval,
                check: target.check,
            })
        };
        self.targets.iter().filter_map(wanted).collect()
    }

    /// Sessions are held by another rule: the instructions that follow.
    pub(super) fn hold_by(&mut self, rule: HoldRule) -> Vec<(TargetId, NextCheck)> {
        self.hold_rule = rule;
        let (policy, urgent) = (Arc::clone(&self.policy), self.urgent);
        let changed = |(id, target): (&TargetId, &mut WatchedTarget)| {
            target.hold_by(rule);
            target.hurry(&policy, urgent).then(|| (id.clone(), target.check))
        };
        self.targets.iter_mut().filter_map(changed).collect()
    }

    pub(super) fn wake_all(&mut self, now: Moment) -> Vec<(TargetId, NextCheck)> {
        let woken = |(id, target): (&TargetId, &mut WatchedTarget)| {
            target.ask(now);
            (id.clone(), target.check)
        };
        self.targets.iter_mut().map(woken).collect()
    }
}

/// The targets of a policy: of each endpoint the one that follows its host, or one for each ready pod.
fn watched<'a>(
    policy: &'a Policy,
    resolved: &'a Resolved,
) -> impl Iterator<Item = (TargetId, (&'a Endpoint, &'a ResolvedEndpoint))> {
    let known = |endpoint: &'a Endpoint| Some((endpoint, resolved.endpoint(&endpoint.id)?));
    policy
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.is_watched())
        .filter_map(known)
        .flat_map(|known| {
            let targets = known.1.targets(&known.0.id).into_iter();
            targets.map(move |id| (id, known))
        })
}

/// Whether the endpoint of the holder is the one that the memory knows, and its name alone may lead elsewhere.
fn is_where_it_was(
    holding: &Holding,
    known: &BTreeMap<EndpointId, EndpointMemory>,
    resolved: &Resolved,
) -> bool {
    holding.holder.as_ref().is_some_and(|holder| {
        let (known, now) = (known.get(&holder.endpoint), resolved.endpoint(&holder.endpoint));
        known.zip(now).is_some_and(|(known, now)| known.is(now))
    })
}

/// The same, where the holder is behind a Service of which no pod was ready when the memory was written: it was the pod at its
/// address.
fn by_pod(mut holding: Holding, resolved: &Resolved) -> Holding {
    let server = holding.server;
    if let Some(holder) = holding.holder.as_mut().filter(|holder| holder.pod.is_none()) {
        let endpoint = resolved.endpoint(&holder.endpoint);
        let is_behind_a_service = endpoint.is_some_and(|endpoint| endpoint.pods.is_some());
        holder.pod = server.filter(|_| is_behind_a_service).map(|server| server.ip());
    }
    holding
}

fn endpoint_of(holding: &Holding) -> Option<EndpointId> {
    holding.holder.as_ref().map(|holder| holder.endpoint.clone())
}

/// Who holds the writes by a memory takes them until it tells otherwise.
fn presume_holder(targets: &mut BTreeMap<TargetId, WatchedTarget>, holding: &Holding, now: Moment) {
    let holder = holding.holder.as_ref().and_then(|id| targets.get_mut(id));
    if let Some(holder) = holder {
        holder.health.presume_primary(now);
    }
}

/// The incarnations of targets: no two of one process are the same.
#[derive(Debug, Default)]
pub(super) struct Incarnations(u64);

impl Incarnations {
    fn next(&mut self) -> Incarnation {
        self.0 += 1;
        Incarnation(self.0)
    }
}

fn reasons(
    (id, known): (EndpointId, EndpointMemory),
) -> impl Iterator<Item = ((EndpointId, Option<ClassName>), Reason)> {
    let own = known.reason.map(|reason| ((id.clone(), None), reason));
    let of_class = move |(class, reason)| ((id.clone(), Some(class)), reason);
    own.into_iter().chain(known.classes.into_iter().map(of_class))
}

pub(super) fn same_database(before: Option<u64>, now: Option<u64>) -> bool {
    before.is_none() || now.is_none() || before == now
}
