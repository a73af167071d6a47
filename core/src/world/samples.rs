//! What a check or a heartbeat changes in the state of its policy.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::event::Figures;
use super::policy::PolicyState;
use super::watched::WatchedTarget;
use crate::aliases::Sighting;
use crate::cadence::has_room;
use crate::class_states::ClassJudgement;
use crate::following::{Following, FollowingState};
use crate::health::Health;
use crate::ids::{ClassName, TargetId};
use crate::jitter::Jitter;
use crate::lag::{Freshness, Replay, ReplayReport};
use crate::level::{LagStep, UseStep};
use crate::moment::Moment;
use crate::observation::{FailureClass, NoLag, Role, Sample, Silence};
use crate::policy::{DeclaredRole, EndpointState};
use crate::statistics::Measured;
use crate::target::{CheckAnswer, NameAnswer, NextCheck, SessionAnswer};

/// Servers remembered as standbys: where there are more, only those that are watched.
const STANDBYS: usize = 256;

/// Lags are told apart up to so many times their bound, where lagging replicas may stand in.
const PAST_BOUND: u32 = 8;

/// What follows from one sample.
pub(super) struct SampleOutcome {
    /// The policy must be decided anew.
    pub(super) changed: bool,
    pub(super) check: Option<NextCheck>,
    pub(super) figures: Option<Figures>,
    /// Of a check that failed.
    pub(super) failure: Option<FailureClass>,
    /// Its endpoint tells nothing any more.
    pub(super) silent: bool,
}

impl PolicyState {
    pub(super) fn observe(&mut self, observed: &CheckAnswer, jitter: Jitter) -> Option<SampleOutcome> {
        let (id, observation) = (&observed.key.target, &observed.observation);
        let target = self.targets.get_mut(id)?;
        if target.incarnation != observed.incarnation {
            return None;
        }
        let before = Verdict::of(target);
        // Of the server that the target is, one where its name leads now says nothing before a check there is good.
        let elsewhere = observed.elsewhere && observation.result.is_err() && target.health.address.is_some();
        if observed.elsewhere && !elsewhere {
            target.health.arrive();
        }
        if !elsewhere {
            target
                .health
                .observe(observation, &self.policy.breaker, &self.policy.probing);
        }
        let moved = target.health.address != before.health.address;
        if moved && before.health.address.is_some() {
            target.replay = Replay::default();
            self.newcomers_prove |= target.following.state().must_prove();
            target.following = Following::watched(self.newcomers_prove);
            target.class_states.forget_lag();
        }
        target.class_states.probed(observation, &self.policy);
        let sample = observation.result.as_ref().ok();
        if moved {
            if before.health.address.is_some() {
                self.forget_candidacies();
            }
            self.follow_instance(id, sample);
        }
        // A heartbeat that was asked for since the check began told more: a position from before it is no step back.
        let overtaken = self.targets.get(id)?.health.is_outdated(observation.started);
        let read = sample.filter(|_| !overtaken).is_some_and(|sample| {
            let times = (observation.started, observation.ended);
            self.read(id, sample, times, false)
        });
        let proving = self.proving().contains(id);
        let (policy, urgent) = (Arc::clone(&self.policy), self.urgent || proving);
        let target = self.targets.get_mut(id)?;
        target.note_room(observation);
        target.reschedule(&observed.key, observation, &policy, urgent, jitter);
        let positioned = sample.is_some_and(|sample| sample.role == Role::Standby && sample.lsn.is_some());
        let unknown = (positioned && target.replay.freshness == Freshness::Unknown) || proving;
        let room = target.may_hold() && has_room(&target.health, &policy.probing);
        let unheld = policy.probing.heartbeat.is_none() || !room;
        if unknown && unheld {
            target.look_again_soon(observation.ended);
        }
        if observation.result.is_ok() {
            target.check_classes_soon(&policy, observation.ended);
        }
        let changed = Verdict::of(target) != before || read;
        let check = Some(target.check);
        let took = observation.ended.since(observation.started);
        let figures = sample.map(|sample| {
            let newest = (!overtaken).then_some((sample, observation.ended));
            figures(target, Some(took), newest)
        });
        // A session that is held may tell more.
        let silent = sample.is_none() && !elsewhere && target.check.hold.is_none() && self.is_alone(id);
        let after = self.request.made.is_some_and(|made| observation.started >= made);
        let answers = after && self.request.open.remove(id) && self.note_answer();
        Some(SampleOutcome {
            changed: changed || answers,
            check,
            figures,
            failure: observation.result.as_ref().err().map(|kind| kind.class()),
            silent,
        })
    }

    pub(super) fn named(&mut self, named: &NameAnswer, now: Moment) -> Option<SampleOutcome> {
        let target = self.targets.get_mut(&named.key.target)?;
        if target.incarnation != named.incarnation {
            return None;
        }
        let rotated = target.name.rotates;
        let check = target.named(named.state, now);
        Some(SampleOutcome {
            changed: target.name.rotates != rotated,
            check: Some(target.check).filter(|_| check),
            figures: None,
            failure: None,
            silent: false,
        })
    }

    pub(super) fn hear(&mut self, heard: &SessionAnswer, now: Moment) -> Option<SampleOutcome> {
        let id = &heard.key.target;
        let target = self.targets.get_mut(id)?;
        if target.incarnation != heard.incarnation {
            return None;
        }
        if heard.result == Err(Silence::Full) {
            let leaves = target.note_full(&self.policy);
            return Some(SampleOutcome {
                changed: false,
                check: Some(target.check).filter(|_| leaves),
                figures: None,
                failure: None,
                silent: false,
            });
        }
        let before = Verdict::of(target);
        let answer = heard.result.as_ref().map_err(|silence| *silence);
        let health = &target.health;
        let current = health.address == Some(heard.address)
            && !health.is_outdated(heard.started)
            && !answer.is_ok_and(|sample| health.is_of_another_server(sample));
        let check = target
            .health
            .hear(heard.address, heard.started, heard.ended, answer)
            && !target.is_asleep();
        if check {
            target.wake(now);
        }
        let sample = answer.ok().filter(|_| current);
        let read = sample.is_some_and(|sample| self.read(id, sample, (heard.started, heard.ended), true));
        let target = self.targets.get(id)?;
        let figures = sample.map(|sample| figures(target, None, Some((sample, heard.ended))));
        let silent = answer.is_err() && target.health.address == Some(heard.address) && self.is_alone(id);
        Some(SampleOutcome {
            changed: Verdict::of(target) != before || read,
            check: Some(target.check).filter(|_| check),
            figures,
            failure: None,
            silent,
        })
    }

    /// Whether no other target of its endpoint answers.
    fn is_alone(&self, id: &TargetId) -> bool {
        let answers = |(other, target): (&TargetId, &WatchedTarget)| {
            other.endpoint == id.endpoint && other != id && target.health.answers()
        };
        !self.targets.iter().any(answers)
    }

    /// Takes in the log position, the role and the load of a good sample. Whether others are judged anew by it.
    fn read(
        &mut self,
        id: &TargetId,
        sample: &Sample,
        (started, ended): (Moment, Moment),
        held: bool,
    ) -> bool {
        let heartbeat = self.heartbeat();
        let span = self.span(heartbeat);
        let policy = Arc::clone(&self.policy);
        let (Some(endpoint), Some(target)) = (policy.endpoint(&id.endpoint), self.targets.get_mut(id)) else {
            return false;
        };
        target.load = sample.load;
        let draining = endpoint.state == EndpointState::Draining;
        let counted = draining && target.count_sessions(sample.load, ended);
        target
            .class_states
            .loaded(sample.load, endpoint, policy.strategy, ended);
        target.note_lag_answer(sample.lag.as_ref());
        let considered =
            self.recognise(id, sample, (started, ended), held) | self.consider(id, sample, started, ended);
        let Some(target) = self.targets.get_mut(id) else {
            return considered;
        };
        // Positions in the log of another database say nothing of this one.
        let is_ours = !self.holding.is_other_database(sample.system_identifier);
        if sample.role == Role::Standby {
            let server = target.server();
            let newest = sample.lsn.max(sample.received);
            // Log of another branch is no head of this one.
            let apart = target.following.state().must_prove();
            if let Some(position) = newest.filter(|_| is_ours && !apart) {
                self.history
                    .standby_at(started, position, sample.timeline, heartbeat * 4, span);
            }
            let report = ReplayReport {
                moment: ended,
                position: sample.lsn,
                queried: sample.lag.as_ref().and_then(|told| told.as_ref().ok()).copied(),
            };
            target
                .replay
                .observe(report, &self.history, &endpoint.lag, heartbeat);
            target
                .class_states
                .replayed(report, &target.replay, &self.history, heartbeat);
            self.note_standby(id, sample, started, ended);
            if is_ours {
                self.end_contest(id, server);
            }
            if let Some(server) = server {
                self.remember_standby(server, sample.system_identifier);
            }
            if id.pod.is_some() {
                self.standby_services
                    .insert(id.endpoint.clone(), sample.system_identifier);
            }
            return counted || considered;
        }
        target.replay = Replay::default();
        target.following.takes_writes();
        target.class_states.forget_lag();
        let holds = match &self.holding.holder {
            Some(holder) => holder == id,
            None => endpoint.declared == DeclaredRole::Primary,
        };
        let mut changed =
            counted || considered || self.stands_in(id) || (holds && self.contests(id, started, ended));
        if holds && self.is_of_the_log(sample) {
            if let Some(position) = sample.lsn {
                self.history.primary_at(started, position, sample.timeline, span);
                changed |= self.reconsider(heartbeat);
            }
            changed |= self.compare(id, sample, started, ended);
        }
        changed
    }

    /// Whether it may be another name of the holder, whose own is silent.
    fn stands_in(&self, id: &TargetId) -> bool {
        let holder = self.holding.holder.as_ref().filter(|holder| *holder != id);
        holder.is_some_and(|holder| {
            let silent = self
                .targets
                .get(holder)
                .is_some_and(|target| !target.health.is_well());
            let firsts = if silent {
                self.aliases.firsts()
            } else {
                BTreeMap::new()
            };
            firsts.contains_key(id) && firsts.get(id) == firsts.get(holder)
        })
    }

    /// A server that answers at another address than before, and did not start anew, did not change.
    fn follow_instance(&mut self, id: &TargetId, sample: Option<&Sample>) {
        let told = sample.and_then(|sample| sample.system_identifier.zip(sample.instance.as_ref()));
        let is_same = told
            .is_some_and(|(identifier, instance)| self.aliases.is_known_as(id, identifier, instance.started));
        if is_same && self.holding.holder.as_ref() == Some(id) {
            self.holding.server = self.targets.get(id).and_then(WatchedTarget::server);
        }
    }

    /// Takes in which server answered; whether another target is known to be the same one, or no more.
    fn recognise(&mut self, id: &TargetId, sample: &Sample, times: (Moment, Moment), held: bool) -> bool {
        let heartbeat = self.heartbeat();
        let pooled = self.targets.get(id).is_some_and(|target| target.health.pooled);
        let sighting = Sighting {
            identifier: sample.system_identifier,
            instance: sample.instance.as_ref(),
            asked: times.0,
            came: times.1,
            held,
            pooled,
        };
        self.aliases.saw(id, sighting, heartbeat)
    }

    /// Whether the holder's answer to what was asked at this moment contests another server that was not contested before.
    fn contests(&self, holder: &TargetId, asked: Moment, now: Moment) -> bool {
        let is_later = |since: Moment| since < asked;
        let another = |(id, target): (&TargetId, &WatchedTarget)| {
            id != holder && target.health.writable_since.is_some_and(is_later)
        };
        self.targets.iter().any(another)
            && self
                .choose_write_primary(&self.instances(), now)
                .holding
                .contested
                != self.holding.contested
    }

    /// The longest lag that must be told apart: past it a replica is out, and where those that are out may stand in, the one
    /// that is less far behind is to be known among them.
    fn span(&self, heartbeat: Duration) -> Duration {
        let policy = &self.policy;
        let bounds = policy.endpoints.iter().map(|endpoint| endpoint.lag.max);
        let of_classes = policy.routing.classes.iter().filter_map(|class| class.max_lag);
        let longest = bounds.chain(of_classes).max().unwrap_or_default();
        let times = if policy.compares_lagging() { PAST_BOUND } else { 1 };
        longest * times + heartbeat * 2
    }

    fn remember_standby(&mut self, server: SocketAddr, identity: Option<u64>) {
        self.standbys.insert(server, identity);
        if self.standbys.len() > STANDBYS {
            let watched: BTreeSet<_> = self.targets.values().filter_map(WatchedTarget::server).collect();
            self.standbys.retain(|server, _| watched.contains(server));
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
            let (known, class_states) = (&target.replay, &mut target.class_states);
            changed |= class_states.reconsider(known, &self.history, heartbeat);
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
}

/// What decides about a target: while it is the same, nobody judges anew.
#[derive(PartialEq)]
struct Verdict {
    health: Health,
    freshness: Freshness,
    following: FollowingState,
    no_lag: Option<NoLag>,
    /// Of one that is too far behind: the least far serves first.
    behind: Option<LagStep>,
    used: UseStep,
    classes: BTreeMap<ClassName, ClassJudgement>,
}

impl Verdict {
    fn of(target: &WatchedTarget) -> Self {
        Self {
            health: target.health.verdict(),
            freshness: target.replay.freshness,
            following: target.following.state(),
            no_lag: target.no_lag.clone(),
            behind: target
                .class_states
                .behind()
                .filter(|_| target.replay.freshness != Freshness::Fresh),
            used: target.class_states.used(),
            classes: target.class_states.classes(),
        }
    }
}

/// `newest`: the sample that they are of, and when it came; `None`: a newer one came before it.
fn figures(target: &WatchedTarget, took: Option<Duration>, newest: Option<(&Sample, Moment)>) -> Figures {
    let is_standby = target.health.role == Some(Role::Standby);
    // Who has log that the primary lacks is neither behind nor fresh.
    let lag = target
        .replay
        .lag
        .filter(|_| is_standby && target.following.state() != FollowingState::Diverged);
    Figures {
        lag,
        load: target.load,
        took,
        measured: newest.map(|(sample, at)| Measured {
            at,
            role: sample.role,
            asked: sample.asked,
            operators: sample
                .instance
                .as_ref()
                .and_then(|it| it.ours.len().try_into().ok()),
        }),
    }
}
