//! The health of one target: what its checks say together, and the verdict.
//!
//! Out fast, trip slow: a sign of a crash, confirmed by a second look, takes a target out (`Suspect`) without a trip;
//! two answers in a row that prove it alive bring it back. Only failures over the whole failover timeout, or ten suspicions
//! within ten minutes, open its circuit.

mod loss;
mod reason;

use std::net::IpAddr;

use super::breaker::{Breaker, Circuit, Outcome};
use super::moment::Moment;
use super::observation::{FailureClass, FailureKind, Observation, Role, Sample, Silence};
use super::percent::Percent;
use super::policy::{BreakerSettings, Probing};
use super::sqlstate::ToldSqlstate;
use super::suspicion::Suspicion;

pub use reason::Reason;

/// What is known of one target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    pub breaker: Breaker,
    pub suspicion: Suspicion,
    /// The address of the newest good check.
    pub address: Option<IpAddr>,
    /// Since when it is found at this address, where it was at another one before.
    pub(super) moved_at: Option<Moment>,
    /// By the newest good check, or heartbeat.
    pub role: Option<Role>,
    /// Of a primary: its configuration keeps it from taking writes.
    pub read_only: bool,
    pub system_identifier: Option<u64>,
    /// A pooler or proxy answers at its address. Only some of its answers show it, so what was seen once stands.
    pub pooled: bool,
    /// It was of another database when the operator restarted, and has not told since.
    pub other_database: bool,
    /// When the newest sample was asked for.
    pub(super) asked: Option<Moment>,
    /// When the answer came that showed it writable first, if none showed otherwise since.
    pub(super) writable_since: Option<Moment>,
    /// The newest that was told: the present one of a primary, the received one of a standby.
    pub timeline: Option<u32>,
    /// Since when it is not well: the start of the first failed check, or the heartbeat that was missed before it.
    pub failing_since: Option<Moment>,
    /// When it began to fail before it was last suspected, while it has told no role since: it may be back as another.
    pub(super) untold_since: Option<Moment>,
    /// When the heartbeat was sent that was missed since the newest good check.
    pub(super) doubted_since: Option<Moment>,
    /// The held session was lost since the newest good check, and none has answered since.
    pub(super) session_lost: bool,
    /// It has failed for `failoverTimeout`, and is starting up or shutting down.
    pub(super) starts_for_long: bool,
    /// What the newest check failed with; `None` after a good one.
    pub failure: Option<FailureKind>,
    /// Since the first check, where every check has found it dead.
    pub(super) only_dead_since: Option<Moment>,
    /// Of the failure OtherError.
    pub sqlstate: ToldSqlstate,
    /// How many connections the role of the login may have, as the server told last; `None`: it has no limit.
    pub role_limit: Option<u32>,
    /// Whether any check gave a result since the target is watched.
    pub checked: bool,
    /// Whether a check was ever good, or the target served before the operator restarted.
    pub admitted: bool,
}

/// What the checks of a target say of it, before anyone asks what it is used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It may serve.
    Good,
    /// It returns, with a share of its weight; `last`: the last traffic step.
    Returning { share: Percent, last: bool },
    /// It is not well, and may be held when nobody is. `answers`: its newest check was good, and it is fresh.
    Unhealthy { answers: bool },
    /// Well, and not fresh enough: held when nobody is better.
    Behind,
    /// It never proved anything.
    Unproven,
    /// It must not serve: it is proven wrong, or the policy keeps it out. It leaves even if the route is then empty.
    Excluded,
}

impl Health {
    /// Takes in the result of one check.
    pub fn observe(&mut self, observation: &Observation, breaker: &BreakerSettings, probing: &Probing) {
        let now = observation.ended;
        let suspected = self.is_suspected();
        let failure = observation.result.as_ref().err();
        let failure = failure.map(|kind| self.after_loss(*kind));
        let dead = failure.is_some_and(|kind| matches!(kind.class(), FailureClass::Dead { .. }));
        let first = (!self.checked).then_some(observation.started);
        self.only_dead_since = self.only_dead_since.or(first).filter(|_| dead);
        self.checked = true;
        self.sqlstate.observe(observation.sqlstate);
        if let Ok(sample) = &observation.result {
            self.found_at(observation.address, now);
            self.learn(sample, observation.started, now);
            (self.failure, self.session_lost) = (None, false);
            self.admitted = true;
            if !self.is_before_the_sign(observation.started) {
                self.suspicion = self.suspicion.after_answer();
            }
        }
        let outcome = match failure {
            None => Some(Outcome::Success),
            Some(kind) => self.fail(kind, observation.started, now),
        };
        if let Some(outcome) = outcome {
            self.breaker
                .observe(outcome, now, breaker, probing.failover_timeout);
        }
        let transient = self.failure.map(FailureKind::class) == Some(FailureClass::Transient);
        let long = |since| now.since(since) >= probing.failover_timeout;
        self.starts_for_long = transient && self.failing_since.is_some_and(long);
        if self.is_suspected() && !suspected {
            self.untold_since = self.untold_since.or(self.failing_since);
            self.breaker.suspect(now, breaker);
        }
        if matches!(self.breaker.circuit, Circuit::Open { .. }) {
            self.suspicion = Suspicion::None;
        }
        if self.answered() {
            self.doubted_since = None;
            // A good check tells all, whatever the circuit; another answer proves no role.
            if self.is_routable() || (self.failure.is_none() && !self.is_suspected()) {
                self.failing_since = None;
            }
        }
    }

    /// Whether a check that began then may have been answered before the sign that awaits confirmation.
    fn is_before_the_sign(&self, started: Moment) -> bool {
        matches!(self.suspicion, Suspicion::Confirming { since } if started < since)
    }

    /// Whether the newest check found a server that is alive, whatever it said.
    fn answered(&self) -> bool {
        self.failure.is_none_or(|kind| {
            matches!(
                kind.class(),
                FailureClass::Saturated | FailureClass::Configuration | FailureClass::Alive
            )
        })
    }

    /// What a failed check says to the breaker. The window of the failover timeout begins with a heartbeat that was
    /// missed just before.
    fn fail(&mut self, kind: FailureKind, started: Moment, now: Moment) -> Option<Outcome> {
        let class = kind.class();
        let next = self.suspicion.after_failure(kind, now);
        if next != Suspicion::None || !self.is_before_the_sign(started) {
            self.suspicion = next;
        }
        let started = self.doubted_since.map_or(started, |doubted| doubted.min(started));
        self.failure = Some(kind);
        if matches!(
            class,
            FailureClass::Dead { .. }
                | FailureClass::Transient
                | FailureClass::Name
                | FailureClass::RefusedAddress
        ) {
            self.failing_since.get_or_insert(started);
        }
        outcome(class, started)
    }

    /// Whether an answer shows another system identifier than the newest check: a session then leads to another server than
    /// new connections do.
    #[must_use]
    pub fn is_of_another_server(&self, sample: &Sample) -> bool {
        let (known, shown) = (self.system_identifier, sample.system_identifier);
        known.zip(shown).is_some_and(|(known, shown)| known != shown)
    }

    /// Takes in what the held session to `address` told, or that it is silent. It clears no failed check. Whether a
    /// check must follow at once.
    pub fn hear(
        &mut self,
        address: IpAddr,
        started: Moment,
        now: Moment,
        told: Result<&Sample, Silence>,
    ) -> bool {
        if self.address != Some(address) || told == Err(Silence::Full) {
            return false;
        }
        self.session_lost = told.is_err();
        match told {
            Ok(sample) if self.is_of_another_server(sample) => {}
            Ok(sample) => {
                self.learn(sample, started, now);
                return false;
            }
            Err(Silence::Closed) if self.suspicion == Suspicion::None => {
                self.suspicion = Suspicion::Confirming { since: now };
            }
            Err(Silence::Closed | Silence::Full) => {}
            Err(Silence::Missed) => {
                self.doubted_since.get_or_insert(started);
            }
        }
        !matches!(self.breaker.circuit, Circuit::Open { .. })
    }

    /// Checks begin again after a pause: a failure from before it begins no run of what comes now.
    pub fn resume(&mut self) {
        self.breaker.forget_run();
        if matches!(self.suspicion, Suspicion::Confirming { .. }) {
            self.suspicion = Suspicion::None;
        }
        (self.failing_since, self.doubted_since, self.session_lost) = (None, None, false);
    }

    /// Its name leads to a server that answers: what the last one went through says nothing of it.
    pub fn arrive(&mut self) {
        (self.breaker, self.suspicion) = (Breaker::default(), Suspicion::None);
        (self.failing_since, self.doubted_since, self.session_lost) = (None, None, false);
    }

    /// Another address is another server: what the last one told of itself says nothing of it.
    fn found_at(&mut self, address: Option<IpAddr>, now: Moment) {
        let Some(address) = address else { return };
        if self.address.is_some_and(|before| before != address) {
            (self.system_identifier, self.timeline, self.other_database) = (None, None, false);
            // Nor is what it does there known from what was asked elsewhere.
            (self.role, self.asked, self.writable_since) = (None, None, None);
            (self.untold_since, self.pooled, self.role_limit) = (None, false, None);
            self.moved_at = Some(now);
        }
        self.address = Some(address);
    }

    /// An earlier process, or another one, decided that it takes the writes: what was heard of it before proves nothing.
    pub(super) fn presume_primary(&mut self, now: Moment) {
        if self.role != Some(Role::Primary) {
            (self.role, self.timeline) = (Some(Role::Primary), None);
        }
        (self.writable_since, self.asked) = (None, Some(now));
        self.admitted |= self.address.is_some();
    }

    /// An answer that was asked for before the newest one is out of date.
    fn learn(&mut self, sample: &Sample, asked: Moment, came: Moment) {
        if self.is_outdated(asked) {
            return;
        }
        self.writable_since = match sample.role {
            Role::Primary => self.writable_since.or(Some(came)),
            Role::Standby => None,
        };
        if self.role != Some(sample.role) {
            self.timeline = None;
        }
        self.asked = Some(asked);
        self.untold_since = self.untold_since.filter(|since| asked < *since);
        (self.role, self.read_only) = (Some(sample.role), sample.read_only);
        self.role_limit = sample.role_limit;
        self.pooled |= sample.pooled;
        self.system_identifier = sample.system_identifier.or(self.system_identifier);
        self.other_database &= sample.system_identifier.is_none();
        self.timeline = sample.timeline.or(self.timeline);
    }

    /// What decides about it, without the times that change with every sample.
    #[must_use]
    pub fn verdict(&self) -> Self {
        let mut verdict = self.clone();
        verdict.breaker.circuit = verdict.breaker.circuit.shown();
        (verdict.asked, verdict.doubted_since) = (None, None);
        verdict.sqlstate = verdict.sqlstate.shown();
        verdict
    }

    /// Whether something newer is known than an answer that was asked for at this moment.
    #[must_use]
    pub fn is_outdated(&self, asked: Moment) -> bool {
        self.asked.is_some_and(|newest| asked < newest)
    }

    /// Whether neither suspicion nor circuit keeps it out.
    #[must_use]
    pub fn is_routable(&self) -> bool {
        !self.is_suspected() && !matches!(self.breaker.circuit, Circuit::Open { .. })
    }

    const fn is_suspected(&self) -> bool {
        matches!(self.suspicion, Suspicion::Out { .. })
    }

    /// Since when it is down, or back without having told its role: not before it told it last.
    #[must_use]
    pub fn silent_since(&self) -> Option<Moment> {
        let told = self.asked.filter(|_| self.role.is_some());
        let down = self
            .failing_since
            .filter(|_| !self.is_well())
            .map(|since| told.map_or(since, |told| told.max(since)));
        [down, self.untold_since].into_iter().flatten().min()
    }

    /// Whether its newest check is an error that the server itself sent, and it is not suspected.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.is_suspected() && self.failure.is_some_and(FailureKind::proves_life)
    }

    /// Whether its newest check shows no more than that it is slow, and it did not go down before.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        let soft = self.failure.map(FailureKind::class) == Some(FailureClass::Dead { hard: false });
        soft && !self.is_suspected() && self.untold_since.is_none()
    }

    /// Whether its newest check failed in a way that says nothing of its health or its role, and it did not go down before.
    #[must_use]
    pub fn cannot_be_checked(&self) -> bool {
        let class = self.failure.map(FailureKind::class);
        let says_nothing = matches!(
            class,
            Some(
                FailureClass::Configuration
                    | FailureClass::Own
                    | FailureClass::Alive
                    | FailureClass::Saturated
            )
        );
        says_nothing && !self.proves_role() && self.failing_since.is_none() && self.silent_since().is_none()
    }

    /// Whether nothing says that it is down: neither suspicion nor circuit, and its address is known and allowed.
    #[must_use]
    pub fn is_well(&self) -> bool {
        let class = self.failure.map(FailureKind::class);
        let lost = matches!(class, Some(FailureClass::Name | FailureClass::RefusedAddress));
        self.is_routable() && !lost
    }

    /// Whether it is a primary that takes no writes, by its configuration.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.role == Some(Role::Primary) && self.read_only
    }

    /// Whether its newest check was good.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.failure.is_none() && self.admitted && self.checked
    }

    /// Whether its role is proven: its newest check was good; or it had no free connection for it, which a server that
    /// was seen, and did not go down since, needs not to keep its role.
    #[must_use]
    pub fn proves_role(&self) -> bool {
        let saturated = self.failure.map(FailureKind::class) == Some(FailureClass::Saturated);
        self.answers() || (saturated && self.admitted && self.is_routable() && self.untold_since.is_none())
    }

    /// The verdict of the checks alone; whether the target's role and identity fit its use is asked by the plan.
    #[must_use]
    pub fn judge(&self, breaker: &BreakerSettings) -> (Standing, Reason) {
        let class = self.failure.map(FailureKind::class);
        if class == Some(FailureClass::RefusedAddress) {
            return (Standing::Excluded, Reason::AddressRefused);
        }
        if !self.admitted {
            return (Standing::Unproven, self.unproven(class));
        }
        if self.is_suspected() {
            let reason = if class == Some(FailureClass::Transient) {
                self.starting()
            } else {
                Reason::Suspect
            };
            return (
                Standing::Unhealthy {
                    answers: self.answers(),
                },
                reason,
            );
        }
        let circuit = self.breaker.circuit;
        match circuit {
            Circuit::Open { .. } => (
                Standing::Unhealthy {
                    answers: self.failure.is_none(),
                },
                Reason::CircuitOpen,
            ),
            _ if class == Some(FailureClass::Name) => {
                (Standing::Unhealthy { answers: false }, Reason::NameUnresolved)
            }
            Circuit::HalfOpen { .. } => {
                let (share, last) = (circuit.share(breaker), circuit.at_last_step(breaker));
                (Standing::Returning { share, last }, Reason::Returning)
            }
            Circuit::Closed { .. } => Self::closed(class),
        }
    }

    const fn starting(&self) -> Reason {
        if self.starts_for_long {
            Reason::StillStarting
        } else {
            Reason::Starting
        }
    }

    fn closed(class: Option<FailureClass>) -> (Standing, Reason) {
        match class {
            Some(FailureClass::Configuration | FailureClass::Own) => {
                (Standing::Good, Reason::ConfigurationHeld)
            }
            Some(FailureClass::Saturated) => (Standing::Good, Reason::Saturated),
            Some(FailureClass::Alive) => (Standing::Good, Reason::AnswersWithError),
            _ => (Standing::Good, Reason::Serving),
        }
    }

    fn unproven(&self, class: Option<FailureClass>) -> Reason {
        match (self.breaker.circuit, class) {
            (Circuit::Open { .. }, _) => Reason::CircuitOpen,
            (_, Some(FailureClass::Configuration | FailureClass::Own)) => Reason::ConfigurationFailed,
            (_, Some(FailureClass::Name)) => Reason::NameUnresolved,
            (_, Some(FailureClass::Transient)) => self.starting(),
            (_, Some(FailureClass::Dead { .. })) => Reason::Suspect,
            (_, Some(FailureClass::Saturated)) => Reason::Saturated,
            (_, Some(FailureClass::Alive)) => Reason::AnswersWithError,
            _ => Reason::NotCheckedYet,
        }
    }
}

impl Standing {
    /// As what a target of this standing is in a route.
    #[must_use]
    pub const fn in_route(self) -> Self {
        match self {
            Self::Returning { .. } => self,
            _ => Self::Good,
        }
    }

    /// The standing of a target that is held as it was `before`, whatever its checks say, short of a proof.
    #[must_use]
    pub const fn held(self, before: Self) -> Self {
        match self {
            Self::Unhealthy { .. } | Self::Behind | Self::Returning { .. } => before,
            _ => self,
        }
    }
}

/// What a failure says to the breaker; `None`: nothing, the server was not reached.
fn outcome(class: FailureClass, started: Moment) -> Option<Outcome> {
    match class {
        FailureClass::Dead { .. } => Some(Outcome::Failure { started }),
        FailureClass::Transient
        | FailureClass::Saturated
        | FailureClass::Configuration
        | FailureClass::Alive => Some(Outcome::Alive),
        FailureClass::Name | FailureClass::RefusedAddress | FailureClass::Own => None,
    }
}

#[cfg(test)]
mod tests;
