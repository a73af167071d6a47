//! One target of a policy: its health, and the instruction to its prober.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::memory::{EndpointMemory, TargetMemory};
use crate::breaker::spacing;
use crate::cadence::{self, HoldRule};
use crate::class_states::ClassStates;
use crate::following::Following;
use crate::health::{Health, Reason, Standing};
use crate::ids::TargetId;
use crate::jitter::Jitter;
use crate::lag::Replay;
use crate::login::Login;
use crate::moment::Moment;
use crate::observation::{FailureClass, FailureKind, LagAnswer, Load, NoLag, Observation};
use crate::policy::{Endpoint, Policy};
use crate::resolved::ResolvedEndpoint;
use crate::server::Location;
use crate::target::{Hold, Incarnation, NameState, NextCheck, ProbeKey};

/// The sessions left on a draining server are told anew at most this often, and when the last one ends.
const SESSIONS_APART: Duration = Duration::from_secs(5);

/// A standby whose lag is not known yet, or that has to prove that it follows, is asked again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct WatchedTarget {
    pub(super) incarnation: Incarnation,
    /// Where its endpoint is, as it was last read.
    pub(super) location: Option<Location>,
    /// Where it listens; `None`: that is not known yet.
    pub(super) port: Option<u16>,
    pub(super) health: Health,
    pub(super) replay: Replay,
    pub(super) following: Following,
    /// What the lookups of its name say.
    pub(super) name: NameState,
    pub(super) class_states: ClassStates,
    /// As the newest answer tells it.
    pub(super) load: Option<Load>,
    /// Those that people were told of; `None`: none yet.
    pub(super) sessions: Option<Sessions>,
    /// What its `lagQuery` answers in place of a lag; of values the first.
    pub(super) no_lag: Option<NoLag>,
    pub(super) login: Option<Arc<Login>>,
    /// As what it was in a route before probing began: until every target was checked, only a proof changes it.
    pub(super) served: Option<Standing>,
    /// It was too far behind then.
    pub(super) lagged: bool,
    pub(super) check: NextCheck,
    hold_rule: HoldRule,
    /// It had no place for a session since the rule is that one.
    full: bool,
    /// A check that began before this leaves the next one due at once.
    asked: Option<Moment>,
}

/// Sessions of others on a target, as they were told to people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sessions {
    pub(super) count: u32,
    at: Moment,
}

impl WatchedTarget {
    pub(super) fn new(
        id: &TargetId,
        (endpoint, resolved): (&Endpoint, &ResolvedEndpoint),
        incarnation: Incarnation,
        following: Following,
        policy: &Policy,
        now: Moment,
    ) -> Self {
        let timeout = cadence::first_attempt(&policy.probing, &policy.breaker);
        let mut target = Self {
            incarnation,
            location: resolved.location.clone(),
            port: resolved.port(id),
            health: Health::default(),
            replay: Replay::default(),
            following,
            name: NameState::default(),
            class_states: ClassStates::default(),
            load: None,
            sessions: None,
            no_lag: None,
            login: None,
            served: None,
            lagged: false,
            check: NextCheck {
                number: 0,
                at: Some(now),
                timeout,
                prefer: id.pod,
                hold: None,
            },
            hold_rule: HoldRule::default(),
            full: false,
            asked: None,
        };
        target.log_in_as(resolved);
        target.class_states.take_classes(policy, endpoint, &target.replay);
        target
    }

    pub(super) fn restored(
        id: &TargetId,
        (endpoint, resolved): (&Endpoint, &ResolvedEndpoint),
        incarnation: Incarnation,
        (must_prove, memory): (bool, Option<&EndpointMemory>),
        policy: &Policy,
        now: Moment,
    ) -> Self {
        let following = Following::watched(must_prove);
        let mut target = Self::new(id, (endpoint, resolved), incarnation, following, policy, now);
        if let Some(known) = memory.and_then(|memory| memory.of(resolved, id)) {
            target.recall(known, endpoint, policy, now);
            target.following = Following::recalled(known.following(must_prove));
            target.class_states = ClassStates::default();
            target.class_states.take_classes(policy, endpoint, &target.replay);
            for (class, own) in &known.classes {
                let lagged = own.lagged().then(|| Replay::lagging_since(now));
                let breaker = own.breaker(&policy.breaker, now);
                target.class_states.recall(class, breaker, lagged);
            }
            if known.eligible && known.lagged() {
                // Whom it served it serves on; others it did not serve.
                target.replay = Replay::lagging_since(now);
                target.lagged = true;
            }
        }
        // Where its URL cannot be read yet, it is still where it was.
        let before = memory.and_then(|memory| memory.location.as_ref());
        if let (None, Some(location)) = (&target.location, before) {
            target.port = Some(location.port);
            target.location = Some(location.clone());
        }
        target
    }

    fn recall(&mut self, known: &TargetMemory, endpoint: &Endpoint, policy: &Policy, now: Moment) {
        self.health.admitted = known.eligible && known.role.is_some();
        self.health.address = known.address;
        self.health.role = known.role;
        self.health.breaker = known.breaker(policy, endpoint, now);
        if known.eligible {
            self.served = Some(self.health.judge(&policy.breaker).0.in_route());
            self.replay = Replay::fresh_since(now);
        }
        // What was proven stands until the opposite is.
        self.health.other_database = known.was(Reason::IdentityMismatch);
        self.health.read_only = known.was(Reason::ReadOnly);
        self.check.prefer = known.address;
    }

    /// Whether the endpoint is still this server: by its host, and by its port or that of its pod. A URL that cannot be
    /// read for the moment does not make another one.
    pub(super) fn is_still(&self, id: &TargetId, resolved: &ResolvedEndpoint) -> bool {
        let host = |location: &Option<Location>| location.as_ref().map(|location| location.host.clone());
        let (before, now) = (host(&self.location), host(&resolved.location));
        let port = resolved.port(id);
        (now.is_none() || now == before) && (port.is_none() || port == self.port)
    }

    /// Whether an endpoint of another id names this server: its host and port, or its pod and Service.
    pub(super) fn is_named(&self, before: &TargetId, id: &TargetId, resolved: &ResolvedEndpoint) -> bool {
        let is_there = self.location.is_some() && self.location == resolved.location;
        is_there && before.pod == id.pod && self.port == resolved.port(id)
    }

    pub(super) fn kept(
        mut self,
        (endpoint, resolved): (&Endpoint, &ResolvedEndpoint),
        before: &Policy,
        policy: &Policy,
        now: Moment,
    ) -> Self {
        self.location = resolved.location.clone().or(self.location);
        let login = self.login.take();
        self.log_in_as(resolved);
        self.class_states.take_classes(policy, endpoint, &self.replay);
        if self.is_asleep() {
            self.ask(now);
        }
        if login.is_none() && self.login.is_some() {
            self.health.resume();
        }
        let sooner = if login == self.login {
            now + policy.probing.interval
        } else {
            self.asked = Some(now);
            now
        };
        if login != self.login || before.probing != policy.probing || before.breaker != policy.breaker {
            let timeout = cadence::first_attempt(&policy.probing, &policy.breaker);
            self.check = NextCheck {
                number: self.check.number + 1,
                at: Some(self.check.at.map_or(sooner, |at| at.min(sooner))),
                timeout,
                hold: self.hold(policy, false),
                ..self.check
            };
        }
        self
    }

    pub(super) fn resume(&mut self, now: Moment) {
        self.health.checked = self.login.is_none();
        self.health.resume();
        self.ask(now);
    }

    /// Checks it at once. A check that is under way is no answer.
    pub(super) fn ask(&mut self, now: Moment) {
        self.asked = Some(now);
        self.wake(now);
    }

    /// Checks it at once. A check that is under way, and ends later, says when the next one is due.
    pub(super) fn wake(&mut self, now: Moment) {
        self.check = NextCheck {
            number: self.check.number + 1,
            at: Some(now),
            ..self.check
        };
    }

    /// A login that cannot be had is a result too: nothing else will be heard of this target.
    fn log_in_as(&mut self, resolved: &ResolvedEndpoint) {
        self.login = resolved.usable_login().cloned();
        if self.login.is_none() {
            self.health.checked = true;
            self.health.failure = Some(FailureKind::SecretUnresolved);
        }
    }

    pub(super) fn reschedule(
        &mut self,
        key: &ProbeKey,
        observation: &Observation,
        policy: &Policy,
        urgent: bool,
        jitter: Jitter,
    ) {
        let number = self.check.number + 1;
        let prefer = self.health.address;
        let next = cadence::next(
            &self.health,
            observation,
            &policy.probing,
            &policy.breaker,
            jitter(key, number),
        );
        if let Some((at, timeout)) = next {
            let hold = self.hold(policy, urgent);
            self.check = NextCheck {
                number,
                at: Some(at),
                timeout,
                prefer,
                hold,
            };
        } else {
            self.check.number = number;
            self.check.at = None;
            self.check.hold = None;
        }
        if self.is_led_away() {
            let watched = policy.probing.watched();
            self.check_by(observation.ended.max(observation.started + watched));
        }
        if self.asked.is_some_and(|asked| observation.started < asked) {
            self.wake(observation.ended);
        }
    }

    /// Whether its name leads elsewhere, and no check there was good yet.
    fn is_led_away(&self) -> bool {
        self.name.left.is_some() && self.name.left == self.health.address
    }

    /// Takes in what the lookups of its name say: the next check goes where the name leads now, and is due at once.
    pub(super) fn named(&mut self, state: NameState, now: Moment) -> bool {
        let led = self.is_led_away();
        self.name = state;
        let check = self.is_led_away() && !led && !self.is_asleep();
        if check {
            self.ask(now);
        }
        check
    }

    /// How far it is behind, or whether it follows, is not known yet: no interval goes by before it is asked again.
    pub(super) fn look_again_soon(&mut self, now: Moment) {
        self.check_by(now + LOOK_AGAIN);
    }

    /// Where that is sooner than its check is due; whether it is.
    pub(super) fn hasten(&mut self, now: Moment) -> bool {
        let sooner = self.check.at.is_some_and(|at| at > now + LOOK_AGAIN);
        if sooner {
            self.check.number += 1;
            self.look_again_soon(now);
        }
        sooner
    }

    fn check_by(&mut self, latest: Moment) {
        self.check.at = self.check.at.map(|at| at.min(latest));
    }

    /// Whether it is not checked before the policy changes.
    pub(super) const fn is_asleep(&self) -> bool {
        self.check.at.is_none()
    }

    /// A class's circuit is checked as closely as the target's own would be.
    pub(super) fn check_classes_soon(&mut self, policy: &Policy, now: Moment) {
        let window = policy.probing.failover_timeout;
        if let Some(count) = self.class_states.failures() {
            let threshold = policy.breaker.failure_threshold;
            let gap = spacing(count, threshold, window).saturating_sub(spacing(count - 1, threshold, window));
            self.check_by(now + gap);
        } else if self.class_states.is_returning() {
            self.check_by(now + window);
        }
    }

    fn hold(&self, policy: &Policy, urgent: bool) -> Option<Hold> {
        let hold = cadence::hold(&self.health, &policy.probing, &policy.breaker, urgent);
        hold.filter(|_| self.may_hold())
    }

    /// Whether the process may hold a session on it.
    pub(super) const fn may_hold(&self) -> bool {
        self.hold_rule.allows(self.full)
    }

    /// Sessions are held by another rule.
    pub(super) fn hold_by(&mut self, rule: HoldRule) {
        if self.hold_rule != rule {
            (self.hold_rule, self.full) = (rule, false);
        }
    }

    /// A check was answered: whether the server has a place for a session is known by it.
    pub(super) fn note_room(&mut self, observation: &Observation) {
        let class = observation.result.as_ref().err().map(|kind| kind.class());
        self.full |= class == Some(FailureClass::Saturated);
    }

    /// There was no place for a session; whether one is not wanted any more.
    pub(super) fn note_full(&mut self, policy: &Policy) -> bool {
        self.full = true;
        !self.may_hold() && self.hurry(policy, false)
    }

    /// Another cadence of heartbeats; whether there is one to tell.
    pub(super) fn hurry(&mut self, policy: &Policy, urgent: bool) -> bool {
        let hold = self.hold(policy, urgent);
        if self.is_asleep() || hold == self.check.hold {
            return false;
        }
        self.check.number += 1;
        self.check.hold = hold;
        true
    }

    /// Whether what people see of the sessions changed.
    pub(super) fn count_sessions(&mut self, load: Option<Load>, now: Moment) -> bool {
        let Some(Load { sessions, .. }) = load else {
            return false;
        };
        let is_new = |told: Sessions| {
            let due = sessions == 0 || now.since(told.at) >= SESSIONS_APART;
            told.count != sessions && due
        };
        if !self.sessions.is_none_or(is_new) {
            return false;
        }
        self.sessions = Some(Sessions {
            count: sessions,
            at: now,
        });
        true
    }

    /// Takes in what its `lagQuery` answered; `None`: it was not asked.
    pub(super) fn note_lag_answer(&mut self, told: Option<&LagAnswer>) {
        let no_lag = told.and_then(|told| told.as_ref().err());
        let known = self.no_lag.as_ref().zip(no_lag);
        if !known.is_some_and(|(known, now)| known.is_like(now)) {
            self.no_lag = no_lag.cloned();
        }
    }

    /// Its server, once a check was good.
    pub(super) fn server(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.health.address?, self.port?))
    }
}
