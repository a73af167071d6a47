//! The state of one policy: its targets, the history of its log, who takes its writes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Figures;
use super::remembered::Remembered;
use super::watched::Target;
use crate::domain::decision::{
    Decided, Decision, DecisionState, EndpointView, Transition, explain, transitions,
};
use crate::domain::health::{Health, Suspicion};
use crate::domain::lag::{Freshness, Replay, WalHistory};
use crate::domain::moment::Moment;
use crate::domain::observation::{Role, Sample};
use crate::domain::plan::{Judgement, RoutingPlan, plan};
use crate::domain::policy::{Declared, Endpoint, EndpointId, EndpointState, LagSource, Mode, Policy};
use crate::domain::primary::{Claim, Election, Rules, Tenure, Writes, elect};
use crate::domain::role::Known;
use crate::domain::target::{Heard, NextCheck, Observed, TargetId, Wanted};

/// A decision waits so long for signs of a crash to be confirmed, so that servers that go together leave together.
const GATHER: Duration = Duration::from_millis(25);
/// Servers remembered as standbys, at most.
const STANDBYS: usize = 256;

#[derive(Debug)]
pub(super) struct PolicyState {
    pub(super) policy: Arc<Policy>,
    targets: BTreeMap<TargetId, Target>,
    history: WalHistory,
    tenure: Tenure,
    /// Servers seen as standbys, with the system identifier that they showed.
    standbys: BTreeMap<SocketAddr, Option<u64>>,
    /// Whether every target was checked since probing began.
    warm: bool,
    /// Whether whoever may follow the primary is asked more often.
    urgent: bool,
    /// Since when a decision waits for signs to be confirmed.
    gathering: Option<Moment>,
    request: Request,
    decision: Option<Arc<Decision>>,
    /// The newest decision that judged the endpoints.
    judged: Option<Arc<Decision>>,
    /// The routes of the newest decision that had some.
    routes: RoutingPlan,
    /// The reasons of endpoints from before the operator started, for the first decision to be compared with.
    reasons: BTreeMap<EndpointId, String>,
}

/// A person's request for checks.
#[derive(Debug, Default)]
struct Request {
    made: Moment,
    /// Who has not answered yet.
    open: BTreeSet<TargetId>,
    answered: Option<String>,
}

/// What became of one sample.
pub(super) struct Taken {
    /// The policy must be decided anew.
    pub(super) changed: bool,
    pub(super) check: Option<NextCheck>,
    pub(super) figures: Option<Figures>,
}

/// What became of a call to decide.
pub(super) enum Settled {
    /// Signs are being confirmed, until then.
    Gathering(Moment),
    Decided {
        /// `None`: as before.
        decided: Option<(Arc<Decision>, Vec<Transition>)>,
        hurried: Vec<(TargetId, NextCheck)>,
        again: Option<Moment>,
    },
}

impl Settled {
    pub(super) const fn again(&self) -> Option<Moment> {
        match self {
            Self::Gathering(until) => Some(*until),
            Self::Decided { again, .. } => *again,
        }
    }
}

impl PolicyState {
    pub(super) fn new(policy: Arc<Policy>, remembered: Remembered, now: Moment) -> Self {
        let Remembered {
            endpoints,
            tenure,
            answered,
        } = remembered;
        let targets: BTreeMap<_, _> = watched(&policy)
            .map(|(id, endpoint)| {
                let target = Target::restored(&id, endpoint, endpoints.get(&endpoint.id), &policy, now);
                (id, target)
            })
            .collect();
        let standby = |target: &Target| {
            let server = target
                .server()
                .filter(|_| target.health.role == Some(Role::Standby))?;
            Some((server, tenure.identity))
        };
        let mut state = Self {
            standbys: targets.values().filter_map(standby).collect(),
            reasons: endpoints
                .into_iter()
                .map(|(id, endpoint)| (id, endpoint.reason))
                .collect(),
            request: Request {
                answered,
                ..Request::default()
            },
            targets,
            history: WalHistory::default(),
            tenure,
            warm: false,
            urgent: false,
            gathering: None,
            decision: None,
            judged: None,
            routes: RoutingPlan::default(),
            policy,
        };
        state.ask(now);
        state
    }

    /// A new host, port or identity is another server, a new threshold or time keeps the state, other endpoints never
    /// notice.
    pub(super) fn edit(&mut self, policy: Arc<Policy>, now: Moment) {
        let before = std::mem::replace(&mut self.policy, Arc::clone(&policy));
        let mut known = std::mem::take(&mut self.targets);
        let resumed = before.mode == Mode::Suspend && policy.mode != Mode::Suspend;
        let same_database = before.identity == policy.identity;
        for (id, endpoint) in watched(&policy) {
            let earlier = before.endpoint(&endpoint.id);
            let target = match (earlier, known.remove(&id)) {
                (Some(earlier), Some(target)) if same_database && same_server(earlier, endpoint) => {
                    target.kept(endpoint, &before, &policy, now)
                }
                (_, Some(target)) => Target::new(&id, endpoint, target.incarnation.0 + 1, &policy, now),
                (_, None) => Target::new(
                    &id,
                    endpoint,
                    policy.generation.unsigned_abs() << 16,
                    &policy,
                    now,
                ),
            };
            self.targets.insert(id, target);
        }
        if resumed {
            self.warm = false;
            for target in self.targets.values_mut() {
                target.resume(now);
            }
        }
        if before.check_request != policy.check_request {
            self.ask(now);
        } else {
            let targets = &self.targets;
            self.request.open.retain(|id| targets.contains_key(id));
            self.note_answer();
        }
    }

    /// Checks every target at once where a person asks for it.
    fn ask(&mut self, now: Moment) {
        if self.policy.check_request.is_none() || self.policy.check_request == self.request.answered {
            return;
        }
        self.request.made = now;
        self.request.open = self
            .targets
            .iter()
            .filter(|(_, target)| target.login.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for target in self.targets.values_mut() {
            target.wake(now);
        }
        self.note_answer();
    }

    fn note_answer(&mut self) -> bool {
        let answered = self.request.open.is_empty() && self.request.answered != self.policy.check_request;
        if answered && self.policy.check_request.is_some() {
            self.request.answered.clone_from(&self.policy.check_request);
            return true;
        }
        false
    }

    pub(super) fn wanted(&self) -> Vec<Wanted> {
        if self.policy.mode == Mode::Suspend {
            return Vec::new();
        }
        let wanted = |(id, target): (&TargetId, &Target)| {
            let endpoint = self.policy.endpoint(&id.endpoint)?;
            let mut location = endpoint.location.clone()?;
            location.port = target.port;
            Some(Wanted {
                target: id.clone(),
                incarnation: target.incarnation,
                location,
                login: target.login.clone()?,
                lag_query: match &endpoint.lag.source {
                    LagSource::Query(query) => Some(Arc::clone(query)),
                    LagSource::Wal | LagSource::None => None,
                },
                check: target.check,
            })
        };
        self.targets.iter().filter_map(wanted).collect()
    }

    pub(super) fn observe(&mut self, observed: &Observed) -> Option<Taken> {
        let (id, observation) = (&observed.key.target, &observed.observation);
        let target = self.targets.get_mut(id)?;
        if target.incarnation != observed.incarnation {
            return None;
        }
        let before = Verdict::of(target);
        target
            .health
            .observe(observation, &self.policy.breaker, &self.policy.probing);
        let sample = observation.result.as_ref().ok();
        let read = sample.is_some_and(|sample| self.read(id, sample, observation.started, observation.ended));
        let (policy, urgent) = (Arc::clone(&self.policy), self.urgent);
        let target = self.targets.get_mut(id)?;
        target.reschedule(&observed.key, observation, &policy, urgent);
        let positioned = sample.is_some_and(|sample| sample.role == Role::Standby && sample.lsn.is_some());
        if positioned && policy.probing.heartbeat.is_none() && target.replay.freshness == Freshness::Unknown {
            target.look_again_soon(observation.ended);
        }
        let changed = Verdict::of(target) != before || read;
        let (check, figures) = (
            Some(target.check).filter(|_| !target.asleep),
            sample.map(|sample| figures(target, sample)),
        );
        let answers =
            observation.started >= self.request.made && self.request.open.remove(id) && self.note_answer();
        Some(Taken {
            changed: changed || answers,
            check,
            figures,
        })
    }

    pub(super) fn hear(&mut self, heard: &Heard, now: Moment) -> Option<Taken> {
        let id = &heard.key.target;
        let target = self.targets.get_mut(id)?;
        if target.incarnation != heard.incarnation {
            return None;
        }
        let before = Verdict::of(target);
        let told = heard.result.as_ref().map_err(|silence| *silence);
        let check = target
            .health
            .hear(heard.address, heard.started, heard.ended, told)
            && !target.asleep;
        if check {
            target.wake(now);
        }
        let current = target.health.address == Some(heard.address);
        let read = match told {
            Ok(sample) if current => self.read(id, sample, heard.started, heard.ended),
            _ => false,
        };
        let target = self.targets.get(id)?;
        Some(Taken {
            changed: Verdict::of(target) != before || read,
            check: Some(target.check).filter(|_| check),
            figures: told.ok().map(|sample| figures(target, sample)),
        })
    }

    /// Takes in the log position, the role and the load of a good sample. Whether others are judged anew by it.
    fn read(&mut self, id: &TargetId, sample: &Sample, started: Moment, ended: Moment) -> bool {
        let heartbeat = self.heartbeat();
        let span = self
            .policy
            .endpoints
            .iter()
            .map(|endpoint| endpoint.lag.max)
            .max();
        let span = span.unwrap_or_default() + heartbeat * 2;
        let policy = Arc::clone(&self.policy);
        let (Some(endpoint), Some(target)) = (policy.endpoint(&id.endpoint), self.targets.get_mut(id)) else {
            return false;
        };
        let draining = endpoint.state == EndpointState::Draining;
        let counted = draining && target.count_sessions(sample.load, ended);
        if sample.role == Role::Standby {
            let server = target.server();
            let newest = sample.lsn.max(sample.received);
            if let Some(position) = newest {
                self.history
                    .standby_at(started, position, sample.timeline, heartbeat * 4, span);
            }
            target.replay.observe(
                ended,
                sample.lsn,
                sample.timeline,
                sample.lag,
                &self.history,
                &endpoint.lag,
                heartbeat,
            );
            if let Some(server) = server.filter(|_| self.standbys.len() < STANDBYS) {
                self.standbys.insert(server, sample.system_identifier);
            }
            return counted;
        }
        target.replay = Replay::default();
        let holds = match &self.tenure.holder {
            Some(holder) => holder == id,
            None => endpoint.declared == Declared::Primary,
        };
        match sample.lsn.filter(|_| holds) {
            Some(position) => {
                self.history.primary_at(started, position, sample.timeline, span);
                self.reconsider(heartbeat) || counted
            }
            None => counted,
        }
    }

    /// The history moved on: what was not known of standbys may be known now.
    fn reconsider(&mut self, heartbeat: Duration) -> bool {
        let mut changed = false;
        for (id, target) in &mut self.targets {
            let Some(endpoint) = self.policy.endpoint(&id.endpoint) else {
                continue;
            };
            let before = target.replay.freshness;
            target.replay.reconsider(&self.history, &endpoint.lag, heartbeat);
            changed |= target.replay.freshness != before;
        }
        changed
    }

    /// How often samples come.
    fn heartbeat(&self) -> Duration {
        self.policy
            .probing
            .heartbeat
            .unwrap_or(self.policy.probing.interval)
    }

    pub(super) fn wake_refused(&mut self, now: Moment) -> Vec<(TargetId, NextCheck)> {
        let woken = |(id, target): (&TargetId, &mut Target)| {
            target.asleep.then(|| {
                target.wake(now);
                (id.clone(), target.check)
            })
        };
        self.targets.iter_mut().filter_map(woken).collect()
    }

    /// Decides, unless signs of a crash are about to be confirmed.
    pub(super) fn settle(&mut self, now: Moment) -> Settled {
        let confirming = |target: &Target| matches!(target.health.suspicion, Suspicion::Confirming { since } if now.since(since) < GATHER);
        if self.policy.mode != Mode::Suspend && self.targets.values().any(confirming) {
            let until = *self.gathering.get_or_insert(now) + GATHER;
            if now < until {
                return Settled::Gathering(until);
            }
        }
        self.gathering = None;
        let (state, again) = self.decide(now);
        let decision = Decision {
            policy: Arc::clone(&self.policy),
            state,
            answered: self.request.answered.clone(),
        };
        Settled::Decided {
            hurried: self.hurry(),
            decided: self.announce(decision),
            again,
        }
    }

    fn announce(&mut self, decision: Decision) -> Option<(Arc<Decision>, Vec<Transition>)> {
        if self.decision.as_deref() == Some(&decision) {
            return None;
        }
        let transitions = self.transitions(&decision.state);
        let decision = Arc::new(decision);
        self.decision = Some(Arc::clone(&decision));
        if decision.state.endpoints().is_some() {
            self.judged = Some(Arc::clone(&decision));
        }
        Some((decision, transitions))
    }

    fn decide(&mut self, now: Moment) -> (DecisionState, Option<Moment>) {
        if self.policy.mode == Mode::Suspend {
            return (DecisionState::Suspended, None);
        }
        let unchecked = self
            .targets
            .values()
            .filter(|target| !target.health.checked)
            .count();
        self.warm |= unchecked == 0;
        let election = self.elect(now);
        let again = election.again;
        self.tenure.identity = election.tenure.identity;
        let judgements = self.judge(&election.tenure);
        if let (Some(known), Some(shown)) = (election.tenure.identity, election.shown) {
            let endpoints = self.explain(&judgements, &self.routes);
            return (
                DecisionState::IdentityChanged {
                    known,
                    shown,
                    endpoints,
                },
                None,
            );
        }
        if !self.warm && !self.a_served_one_is_wrong(&judgements, &election.tenure) {
            return (DecisionState::Waiting { unchecked }, None);
        }
        let routes = plan(&self.policy, &judgements, &election);
        let endpoints = self.explain(&judgements, &routes);
        if self.warm {
            self.remember(&routes);
        }
        self.urgent = election.writes != Writes::Served;
        self.tenure = election.tenure.clone();
        self.routes = routes.clone();
        let split = election.split.iter().map(|target| target.endpoint.clone());
        let decided = Decided {
            plan: routes,
            endpoints,
            tenure: election.tenure,
            split: split.collect::<BTreeSet<_>>().into_iter().collect(),
        };
        (DecisionState::Decided(Box::new(decided)), again)
    }

    fn elect(&self, now: Moment) -> Election {
        let identity = self.tenure.identity;
        let was_standby = |server: SocketAddr| {
            self.standbys
                .get(&server)
                .is_some_and(|shown| shown.is_none() || identity.is_none() || *shown == identity)
        };
        let claims: Vec<Claim> = self
            .known()
            .filter_map(|known| known.claim(was_standby))
            .collect();
        let rules = Rules {
            identity: self.policy.identity,
            failover: &self.policy.failover,
            failover_timeout: self.policy.probing.failover_timeout,
            warm: self.warm,
        };
        elect(&self.tenure, &claims, rules, now)
    }

    /// Every target with its endpoint, in declared order.
    fn known(&self) -> impl Iterator<Item = Known<'_>> {
        self.policy.endpoints.iter().flat_map(|endpoint| {
            let own = self
                .targets
                .iter()
                .filter(move |(id, _)| id.endpoint == endpoint.id);
            own.map(move |(id, target)| Known {
                id,
                endpoint,
                port: target.port,
                health: &target.health,
                replay: &target.replay,
            })
        })
    }

    fn judge(&self, tenure: &Tenure) -> Vec<Judgement> {
        let judge = |known: Known<'_>| {
            let mut judgement = known.judge(&self.policy, tenure);
            let served = self.targets.get(known.id).is_some_and(|target| target.served);
            if !self.warm && served {
                judgement.standing = judgement.standing.held();
            }
            judgement
        };
        self.known().map(judge).collect()
    }

    fn explain(&self, judgements: &[Judgement], routes: &RoutingPlan) -> Vec<EndpointView> {
        explain(&self.policy, judgements, routes, |id| {
            self.targets.get(id).and_then(|target| target.sessions.told)
        })
    }

    fn a_served_one_is_wrong(&self, judgements: &[Judgement], tenure: &Tenure) -> bool {
        judgements.iter().any(|judgement| {
            let target = self.targets.get(&judgement.target);
            target.is_some_and(|target| {
                target.served && target.health.checked && judgement.proven_wrong(tenure)
            })
        })
    }

    fn remember(&mut self, routes: &RoutingPlan) {
        for (id, target) in &mut self.targets {
            let (reads, writes) = routes.membership(id);
            target.served = reads.is_some() || writes.is_some();
        }
    }

    /// Another cadence for the held sessions, where the primary is lost or is back.
    fn hurry(&mut self) -> Vec<(TargetId, NextCheck)> {
        let (policy, urgent) = (Arc::clone(&self.policy), self.urgent);
        let hurried = |(id, target): (&TargetId, &mut Target)| {
            target.hurry(&policy, urgent).then(|| (id.clone(), target.check))
        };
        self.targets.iter_mut().filter_map(hurried).collect()
    }

    /// What a person may want to know; what the status said before the operator started is nothing new.
    fn transitions(&self, after: &DecisionState) -> Vec<Transition> {
        let Some(before) = &self.judged else {
            let mut first = transitions(&DecisionState::Suspended, after);
            first.retain(|change| match change {
                Transition::Endpoint { id, to, .. } => self.reasons.get(id) != Some(&format!("{to:?}")),
                _ => true,
            });
            return first;
        };
        transitions(&before.state, after)
    }
}

/// What decides about a target: while it is the same, nobody judges anew.
#[derive(PartialEq)]
struct Verdict {
    health: Health,
    freshness: Freshness,
    diverged: bool,
}

impl Verdict {
    fn of(target: &Target) -> Self {
        Self {
            health: target.health.clone(),
            freshness: target.replay.freshness,
            diverged: target.replay.diverged,
        }
    }
}

fn figures(target: &Target, sample: &Sample) -> Figures {
    Figures {
        lag: target.replay.lag.filter(|_| sample.role == Role::Standby),
        load: sample.load,
    }
}

/// The targets of a policy: of each endpoint the one that follows its host, or one for each ready pod.
fn watched(policy: &Policy) -> impl Iterator<Item = (TargetId, &Endpoint)> {
    policy
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.is_watched())
        .flat_map(|endpoint| endpoint.targets().into_iter().map(move |id| (id, endpoint)))
}

/// A URL that cannot be read for the moment does not make another server.
fn same_server(before: &Endpoint, after: &Endpoint) -> bool {
    before.is_watched()
        && before.declared == after.declared
        && (after.location.is_none() || before.location.is_none() || before.location == after.location)
}
