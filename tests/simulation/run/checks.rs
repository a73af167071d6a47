//! The way to the servers and back: checks and sessions.

use std::time::Duration;

use distributary_core::ids::TargetId;
use distributary_core::observation::{FailureKind, Observation, Role, Sample, Silence};
use distributary_core::target::{CheckAnswer, ProbeKey, SessionAnswer};
use distributary_core::world::Event;

use super::super::api::key;
use super::super::operator::{Belief, Operator};
use super::super::servers::{SYSTEM, address};
use super::{Act, REOPEN, Run, millis, server_of};

impl Run<'_> {
    /// Whether an operator reaches a server.
    fn reaches(&self, seat: usize, server: usize) -> bool {
        let parted = self.seats[seat].parted.get(&server);
        parted.is_none_or(|until| self.now >= *until) && !self.servers.get(server).frozen
    }

    pub(super) fn check(&mut self, seat: usize, target: TargetId, number: u64) {
        let (server, now) = (server_of(&target), self.now);
        let reaches = self.reaches(seat, server);
        let up = self.servers.get(server).up;
        let sample = self.servers.sample(server);
        let Some(operator) = &mut self.seats[seat].operator else {
            return;
        };
        let (born, timeout) = (
            operator.moment(now),
            operator.probes.get(&target).map(|it| it.check.timeout),
        );
        let Some(probe) = operator.probes.get_mut(&target) else {
            return;
        };
        if probe.check.number != number || probe.running.is_some() {
            return;
        }
        probe.running = Some(number);
        let (takes, result) = if !reaches {
            (timeout.unwrap_or_default(), Err(FailureKind::TimedOut))
        } else if up {
            (millis(2), Ok(sample))
        } else {
            (millis(1), Err(FailureKind::ConnectRefused))
        };
        let answer = CheckAnswer {
            key: ProbeKey {
                policy: key(),
                target,
            },
            incarnation: probe.incarnation,
            elsewhere: false,
            observation: Observation {
                started: born,
                ended: born + takes,
                address: result.is_ok().then(|| address(server)),
                result,
                sqlstate: None,
            },
        };
        self.push_of(seat, now + takes, Act::Checked(answer, server));
    }

    pub(super) fn checked(&mut self, seat: usize, answer: CheckAnswer, server: usize) -> Result<(), String> {
        let now = self.now;
        let Some(operator) = &mut self.seats[seat].operator else {
            return Ok(());
        };
        let asked = operator.time(answer.observation.started);
        self.laws.told(server, answer.observation.result.as_ref().ok());
        believe(
            operator,
            server,
            (asked, now),
            answer.observation.result.clone().ok(),
        );
        let target = answer.key.target.clone();
        let mut again = None;
        if let Some(probe) = operator.probes.get_mut(&target) {
            let began = probe.running.take();
            // Another instruction came meanwhile.
            again = probe.check.at.filter(|_| began != Some(probe.check.number));
        }
        if let Some(at) = again {
            let number = operator.probes[&target].check.number;
            let at = operator.time(at).max(now);
            self.push_of(seat, at, Act::Check(target, number));
        }
        self.take(seat, Vec::new(), [Event::Observed(answer)].into())
    }

    pub(super) fn beat(&mut self, seat: usize, target: TargetId, number: u64) {
        let (server, now) = (server_of(&target), self.now);
        let reaches = self.reaches(seat, server);
        let up = self.servers.get(server).up;
        let sample = self.servers.sample(server);
        let Some(operator) = &mut self.seats[seat].operator else {
            return;
        };
        let started = operator.moment(now);
        let Some(probe) = operator.probes.get_mut(&target) else {
            return;
        };
        let incarnation = probe.incarnation;
        let Some(session) = probe.session.as_mut().filter(|session| session.number == number) else {
            return;
        };
        let answer = |takes, result| SessionAnswer {
            key: ProbeKey {
                policy: key(),
                target: target.clone(),
            },
            incarnation,
            address: address(server),
            started,
            ended: started + takes,
            result,
        };
        if reaches && up {
            session.open = true;
            let (takes, every) = (millis(1), session.hold.every);
            let heard = answer(takes, Ok(sample));
            self.push_of(seat, now + takes, Act::Heard(heard, number, server));
            self.push_of(seat, now + every, Act::Beat(target, number));
        } else if session.open && !reaches {
            session.open = false;
            let (takes, every) = (session.hold.timeout, session.hold.every);
            let heard = answer(takes, Err(Silence::Missed));
            self.push_of(seat, now + takes, Act::Heard(heard, number, server));
            self.push_of(seat, now + takes.max(every), Act::Beat(target, number));
        } else {
            session.open = false;
            self.push_of(seat, now + REOPEN, Act::Beat(target, number));
        }
    }

    pub(super) fn heard(
        &mut self,
        seat: usize,
        answer: SessionAnswer,
        number: u64,
        server: usize,
    ) -> Result<(), String> {
        let Some(operator) = &mut self.seats[seat].operator else {
            return Ok(());
        };
        let session = operator
            .probes
            .get(&answer.key.target)
            .and_then(|probe| probe.session.as_ref());
        if session.is_none_or(|session| session.number != number) {
            return Ok(());
        }
        let asked = operator.time(answer.started);
        // What ends a session is known by the check that follows.
        if let Ok(sample) = &answer.result {
            self.laws.told(server, Some(sample));
            believe(operator, server, (asked, self.now), Some(sample.clone()));
        }
        self.take(seat, Vec::new(), [Event::Heard(answer)].into())
    }

    /// The sessions on a server end.
    pub(super) fn close(&mut self, server: usize) {
        for seat in 0..self.seats.len() {
            if !self.reaches(seat, server) {
                continue;
            }
            let at = self.now + millis(1);
            let Some(operator) = &mut self.seats[seat].operator else {
                continue;
            };
            let started = operator.moment(self.now);
            let mut closed = Vec::new();
            for (target, probe) in &mut operator.probes {
                let Some(session) = probe.session.as_mut().filter(|session| session.open) else {
                    continue;
                };
                if server_of(target) == server {
                    session.open = false;
                    let answer = SessionAnswer {
                        key: ProbeKey {
                            policy: key(),
                            target: target.clone(),
                        },
                        incarnation: probe.incarnation,
                        address: address(server),
                        started,
                        ended: started + millis(1),
                        result: Err(Silence::Closed),
                    };
                    closed.push((answer, session.number));
                }
            }
            for (answer, number) in closed {
                self.push_of(seat, at, Act::Heard(answer, number, server));
            }
        }
    }
}

fn believe(operator: &mut Operator, server: usize, (asked, now): (Duration, Duration), told: Option<Sample>) {
    let known = operator.beliefs.get(&server);
    if known.is_some_and(|known| known.asked > asked) {
        return;
    }
    let latest = told.clone().map(|sample| (asked, sample));
    let latest = latest.or_else(|| known?.latest.clone());
    let is_other = |sample: &Sample| sample.system_identifier != Some(SYSTEM);
    let is_wrong = told
        .as_ref()
        .is_some_and(|sample| is_other(sample) || sample.role == Role::Primary);
    let wrong = is_wrong.then(|| known.and_then(|known| known.wrong).unwrap_or(now));
    let takes = told.as_ref().is_some_and(takes_writes);
    let writable = takes.then(|| known.and_then(|known| known.writable).unwrap_or(now));
    let belief = Belief {
        asked,
        told,
        latest,
        wrong,
        writable,
    };
    operator.beliefs.insert(server, belief);
    operator.contests(server, asked, now);
}

/// Whether a sample is of a server of the first database that takes writes.
pub fn takes_writes(sample: &Sample) -> bool {
    sample.role == Role::Primary && sample.system_identifier == Some(SYSTEM)
}
