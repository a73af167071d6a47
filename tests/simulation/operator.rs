//! A simulated operator: all of it but its shells. What its shells do is in `run.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary::memory::{self, memory};
use distributary::render::reading::Text;
use distributary::writing::lease::{Candidate, LeaseEffect, LeaseInput, LeaseRequest, Terms};
use distributary::writing::{Declared, Effect, Input, Installation, Now, Request, WholeObjects, Writing};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_api::validate::Declaration;
use distributary_core::Moment;
use distributary_core::decision::Decision;
use distributary_core::fixture::{self, Case};
use distributary_core::ids::TargetId;
use distributary_core::observation::{Role, Sample};
use distributary_core::target::{Hold, Incarnation, NextCheck};
use distributary_core::world::{Announcement, Event, Instruction, Memory, World};
use k8s_openapi::jiff::Timestamp;

use super::api::{Api, UID, key};
use super::run::{server_of, takes_writes};
use super::servers::address;

/// What an operator was told of a server last, and when it had asked.
#[derive(Clone, Debug)]
pub struct Belief {
    pub asked: Duration,
    pub told: Option<Sample>,
    /// The newest answer that told its role, and when that was asked for.
    pub latest: Option<(Duration, Sample)>,
    /// Since when all it tells is of another database, or that it takes writes.
    pub wrong: Option<Duration>,
    /// When the first answer came by which it takes writes, of those without another one in between.
    pub writable: Option<Duration>,
}

/// A decision names another server than the one before as the one that takes the writes.
#[derive(Clone, Debug)]
pub struct Choice {
    pub from: usize,
    pub to: Option<usize>,
    /// The high-water mark before.
    pub mark: Option<u32>,
    /// Whether the one that is chosen was contested.
    pub contested: bool,
}

#[derive(Debug)]
pub struct Probe {
    pub incarnation: Incarnation,
    pub check: NextCheck,
    /// The number of the check that is under way.
    pub running: Option<u64>,
    pub session: Option<Session>,
}

#[derive(Debug)]
pub struct Session {
    pub hold: Hold,
    pub open: bool,
    /// Tells the questions of this session from those of an earlier one.
    pub number: u64,
}

/// What an operator asks its shells to do.
#[derive(Debug)]
pub enum Order {
    Send(Request<Text>),
    Lease(LeaseRequest),
    /// The desk tells the engine, when there is room.
    Tell(Box<Event>),
    /// The process has released the lease, and ends.
    End,
    Check(TargetId, u64),
    Beat(TargetId, u64),
}

pub struct Operator {
    pub world: World,
    pub writing: Writing<WholeObjects>,
    pub probes: BTreeMap<TargetId, Probe>,
    /// By server.
    pub beliefs: BTreeMap<usize, Belief>,
    /// What was chosen since this was looked at last.
    pub choices: Vec<Choice>,
    /// The write primary of the newest decision, and the high-water mark.
    holding: (Option<usize>, Option<u32>),
    /// Servers that took writes while the write primary did, as an answer of that one proved, and since when.
    pub contested: BTreeMap<usize, Duration>,
    /// Its clock stood still.
    pub slept: bool,
    /// When it took in a memory of another process last.
    pub recalled: Duration,
    /// Where there are several operators.
    candidate: Option<Candidate>,
    sessions: u64,
    case: Case,
    born: Duration,
    /// Its wall clock is ahead by so much.
    ahead: Duration,
}

/// Of the first process the defaults of `distributary run`, of the second longer ones, as while they are changed.
fn terms(seat: usize) -> Terms {
    let seconds = Duration::from_secs;
    let (duration, deadline) = if seat == 0 { (15, 10) } else { (25, 15) };
    Terms::new(seconds(duration), seconds(deadline), seconds(2)).expect("they fit together")
}

impl Operator {
    /// `identity`: under which it stands for the lease; without one it needs none.
    pub fn starts(case: &Case, seat: usize, identity: Option<String>, born: Duration) -> Self {
        let installation = Installation {
            lease: identity.as_ref().map(|_| "shop/distributary".to_owned()),
            ..Installation::default()
        };
        let candidate = |identity| Candidate::new(identity, terms(seat), Duration::from_millis(50));
        Self {
            candidate: identity.map(candidate),
            choices: Vec::new(),
            holding: (None, None),
            contested: BTreeMap::new(),
            slept: false,
            recalled: born,
            // So long that no lease would be left.
            ahead: Duration::from_secs(40) * u32::try_from(seat).unwrap_or_default(),
            world: World::default(),
            writing: Writing::new(WholeObjects).of(installation),
            probes: BTreeMap::new(),
            beliefs: BTreeMap::new(),
            sessions: 0,
            case: case.clone(),
            born,
        }
    }

    /// The address of the server that its newest decision names as the one that takes the writes.
    pub fn holder(&self) -> Option<String> {
        self.holding.0.map(|server| address(server).to_string())
    }

    /// Whether its newest decision names this server as the one that takes the writes.
    pub fn holds(&self, server: Option<usize>) -> bool {
        server.is_some() && self.holding.0 == server
    }

    /// Notes what an answer of a server, asked for then, says of contests.
    pub fn contests(&mut self, server: usize, asked: Duration, now: Duration) {
        let takes = |belief: &Belief| belief.told.as_ref().is_some_and(takes_writes);
        let holds = self.holds(Some(server));
        let belief = self.beliefs.get(&server);
        let told = belief.and_then(|belief| belief.told.as_ref());
        if told.is_some_and(|sample| sample.role == Role::Standby) {
            self.contested.remove(&server);
            if holds {
                self.contested.clear();
            }
        }
        let mark = self.holding.1;
        if !holds || !belief.is_some_and(takes) || told.is_some_and(|sample| sample.timeline < mark) {
            return;
        }
        for (other, belief) in &self.beliefs {
            let current = belief.told.as_ref().is_some_and(|sample| sample.timeline >= mark);
            let earlier = belief.writable.is_some_and(|came| came < asked);
            if *other != server && takes(belief) && current && earlier {
                self.contested.entry(*other).or_insert(now);
            }
        }
    }

    /// Its own clock.
    pub fn moment(&self, now: Duration) -> Moment {
        Moment::new(now.saturating_sub(self.born) + Duration::from_secs(1))
    }

    /// When that moment is.
    pub fn time(&self, moment: Moment) -> Duration {
        (self.born + moment.since_start()).saturating_sub(Duration::from_secs(1))
    }

    pub fn now(&self, now: Duration) -> Now {
        let millis = i64::try_from((now + self.ahead).as_millis()).unwrap_or(i64::MAX);
        Now {
            moment: self.moment(now),
            wall: Timestamp::from_millisecond(1_750_000_000_000 + millis).expect("a time of this century"),
        }
    }

    /// When it must be woken at the latest.
    pub fn deadline(&self) -> Option<Duration> {
        let lease = self.candidate.as_ref().and_then(Candidate::deadline);
        let deadlines = [self.world.deadline(), self.writing.deadline(), lease];
        let deadline = deadlines.into_iter().flatten().min();
        deadline.map(|moment| self.time(moment))
    }

    /// Its clock stood still for so long.
    pub fn loses(&mut self, time: Duration) {
        self.born += time;
        self.slept = true;
    }

    /// Time has passed, or something was learned of the lease.
    pub fn candidate(&mut self, input: Option<LeaseInput>, now: Duration) -> Vec<Order> {
        let at = self.now(now);
        let Some(candidate) = &mut self.candidate else {
            let leads = input.map(|_| Input::Leads { until: None });
            return self.takes(leads.into_iter().collect(), Vec::new(), now);
        };
        let (mut inputs, mut orders) = (Vec::new(), Vec::new());
        for effect in candidate.advance(input, at) {
            match effect {
                LeaseEffect::Request(request) => orders.push(Order::Lease(request)),
                LeaseEffect::Leads { until } => inputs.push(Input::Leads { until: Some(until) }),
                LeaseEffect::Renewed { until } => inputs.push(Input::Renewed { until }),
                LeaseEffect::Follows => inputs.push(Input::Follows),
                LeaseEffect::Ended => orders.push(Order::End),
            }
        }
        orders.extend(self.takes(inputs, Vec::new(), now));
        orders
    }

    fn remembers(&self, status: &ReplicaSetPolicyStatus, now: Duration) -> Memory {
        let Now { wall, moment } = self.now(now);
        memory(status, memory::Now { wall, moment })
    }

    /// What intake hands on of the policy as it is.
    pub fn reads(&mut self, api: &Api, now: Duration) -> Vec<Order> {
        let declared = Declared {
            key: key(),
            uid: UID.to_owned(),
            generation: 1,
            deleting: false,
            valid: Some(Declaration {
                policy: self.case.policy(),
                resolved: self.case.resolved(),
                outputs: fixture::outputs().into(),
            }),
            problems: Vec::new(),
            unresolved: Vec::new(),
            status: api.status.clone(),
            version: api.status_version(),
        };
        let known = self.remembers(&api.status, now);
        let changed = self.case.changed(known);
        self.takes(
            [Input::Declared(Box::new(declared))].into(),
            [changed].into(),
            now,
        )
    }

    /// Takes in what its shells hand in.
    pub fn takes(&mut self, mut inputs: Vec<Input<Text>>, events: Vec<Event>, now: Duration) -> Vec<Order> {
        let mut orders = Vec::new();
        let effects = self.world.advance(self.moment(now), events);
        for instruction in effects.prober {
            self.instruct(instruction, &mut orders);
        }
        for announcement in effects.writer {
            if let Announcement::Decided { decision, .. } = &announcement {
                self.notes(decision);
            }
            inputs.push(match announcement {
                Announcement::Decided {
                    key,
                    decision,
                    transitions,
                } => Input::Decided {
                    key,
                    decision,
                    transitions,
                },
                Announcement::Gone { key } => Input::Gone { key },
            });
        }
        for effect in self.writing.advance(inputs, self.now(now)) {
            match effect {
                Effect::Request(request) => orders.push(Order::Send(request)),
                Effect::Recall {
                    key,
                    uid,
                    status,
                    number,
                } => {
                    let memory = self.remembers(&status, now);
                    let recalled = Event::Recalled {
                        key,
                        uid,
                        memory,
                        number,
                    };
                    orders.push(Order::Tell(Box::new(recalled)));
                }
                Effect::Found { key, uid, servers } => {
                    orders.push(Order::Tell(Box::new(Event::Found { key, uid, servers })));
                }
                Effect::Event { .. } | Effect::Unsigned | Effect::Figure(_) => {}
            }
        }
        orders
    }

    /// Notes which server a decision names.
    fn notes(&mut self, decision: &Decision) {
        let Some(decided) = decision.state.decided() else {
            return;
        };
        let holder = decided.holding.holder.as_ref().map(server_of);
        let (before, mark) = std::mem::replace(&mut self.holding, (holder, decided.holding.timeline));
        if before == holder {
            return;
        }
        let contested = std::mem::take(&mut self.contested);
        let contested = holder.is_some_and(|holder| contested.contains_key(&holder));
        self.choices.extend(before.map(|from| Choice {
            from,
            to: holder,
            mark,
            contested,
        }));
    }

    fn instruct(&mut self, instruction: Instruction, orders: &mut Vec<Order>) {
        match instruction {
            Instruction::Next { key, check } => self.next(&key.target, check, orders),
            Instruction::Want { wanted, .. } => {
                self.probes
                    .retain(|id, _| wanted.iter().any(|order| order.target == *id));
                for order in wanted {
                    let known = self.probes.get(&order.target);
                    if known.is_none_or(|probe| probe.incarnation != order.incarnation) {
                        let probe = Probe {
                            incarnation: order.incarnation,
                            check: order.check,
                            running: None,
                            session: None,
                        };
                        self.probes.insert(order.target.clone(), probe);
                    }
                    self.next(&order.target, order.check, orders);
                }
            }
        }
    }

    fn next(&mut self, target: &TargetId, check: NextCheck, orders: &mut Vec<Order>) {
        let Some(probe) = self.probes.get_mut(target) else {
            return;
        };
        probe.check = check;
        if probe.running.is_none() && check.at.is_some() {
            orders.push(Order::Check(target.clone(), check.number));
        }
        match (check.hold, &mut probe.session) {
            (None, session) => *session = None,
            (Some(hold), Some(session)) if session.hold.address == hold.address => session.hold = hold,
            (Some(hold), session) => {
                self.sessions += 1;
                let number = self.sessions;
                *session = Some(Session {
                    hold,
                    open: false,
                    number,
                });
                orders.push(Order::Beat(target.clone(), number));
            }
        }
    }
}
