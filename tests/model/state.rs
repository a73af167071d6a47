//! A state of the cluster, and what may happen next.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use distributary::writing::lease::{LeaseAnswer, LeaseCall};
use distributary::writing::{Answer, Call};
use distributary_core::Moment;

use super::api::{Api, Body, Object, Slot, Writer};
use super::bound::Bound;
use super::canon::{Canon, Number};
use super::engine::Case;
use super::laws::{Law, Laws};
use super::operator::{Around, Fate, Operator, Tell};
use super::reached::{Point, Reached};
use super::servers::{COUNT, Servers};

/// Operators that there may be at once.
pub const OPERATORS: usize = 2;

/// What happens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// A second passes.
    Tick,
    /// An operator hears what its watches show, or what its desk tells its engine, or asks all servers.
    Watch(usize),
    WatchLease(usize),
    Tell(usize),
    Observe(usize),
    /// A request is carried out, and its answer heard at once, unless the operator stands still.
    Arrive(usize, usize),
    Hear(usize, usize),
    ArriveLease(usize),
    HearLease(usize),
    /// Faults, and what mends them.
    Late(usize, usize),
    LateLease(usize),
    Land(usize),
    Crash(usize),
    Start(usize),
    Stall(usize),
    Resume(usize),
    Freeze(usize),
    Thaw(usize),
    Slip(usize),
    Part(usize),
    Join(usize),
    Die(usize),
    Return(usize),
    Promote(usize),
    Rejoin(usize),
    Meddle(Slot),
    Occupy(Slot),
    Free(Slot),
}

/// A request without anybody who waits for its answer.
#[derive(Clone, Debug, Hash)]
enum Ghost {
    Call { call: Call<Body>, by: Sender },
    Lease { call: LeaseCall, of: usize, life: u32 },
}

/// Who sent a request, and by which change of leaders it led.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Sender {
    pub term: u32,
    /// It may have given up to log what it decided.
    pub gave_up: bool,
}

#[derive(Clone)]
pub struct State {
    now: u64,
    stamp: i64,
    /// Seconds that the clock of each operator missed.
    missed: [u64; OPERATORS],
    pub operators: [Option<Arc<Operator>>; OPERATORS],
    lives: [u32; OPERATORS],
    pub api: Arc<Api>,
    pub servers: Servers,
    ghosts: Vec<Ghost>,
    /// Changes of leaders.
    terms: u32,
    left: Bound,
    pub laws: Laws,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holder = self.api.lease.as_ref().map(|lease| lease.holder.clone());
        write!(f, "{} s, lease of {holder:?}, {:?}, ", self.now, self.servers)?;
        write!(
            f,
            "rw {:?}, ro {:?}, ",
            self.api.servers(Slot::Writes),
            self.api.servers(Slot::Reads)
        )?;
        write!(f, "memory {:?}, {:?}", self.api.status.memory, self.laws)?;
        for (index, operator) in self.operators.iter().enumerate() {
            let Some(it) = operator else { continue };
            let requests: Vec<_> = it
                .flights
                .iter()
                .map(|it| (it.call.verb(), it.call.kind()))
                .collect();
            let at = self.clock(index);
            write!(
                f,
                "\n  {index}: {:?} at {at:?}, holds {:?}",
                it.writing.lead(),
                it.engine.holding.holder
            )?;
            write!(f, ", wakes {:?}, sent {requests:?}", it.writing.deadline())?;
        }
        Ok(())
    }
}

impl Hash for State {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.digest());
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl State {
    pub fn digest(&self) -> u64 {
        let Self {
            now: _,
            stamp: _,
            missed: _,
            operators,
            lives,
            api,
            servers,
            ghosts,
            terms,
            left,
            laws,
        } = self;
        let mut canon = Canon::default();
        (api, servers, ghosts, terms, left, laws, lives).hash(&mut canon);
        for (index, operator) in operators.iter().enumerate() {
            canon.at(self.clock(index));
            operator.hash(&mut canon);
        }
        canon.digest()
    }

    /// A cluster whose policy is new.
    pub fn new() -> Self {
        Self {
            now: 0,
            stamp: 0,
            missed: [0; OPERATORS],
            operators: [None, None],
            lives: [0; OPERATORS],
            api: Arc::new(Api::new()),
            servers: Servers::new(),
            ghosts: Vec::new(),
            terms: 0,
            left: Bound::default(),
            // The policy is new: everything changes.
            laws: Laws::of_a_new_policy(),
        }
    }

    /// So much may go wrong from here on.
    pub fn bounded(mut self, bound: Bound) -> Self {
        self.left = bound;
        self.laws = Laws::default();
        self
    }

    /// The clock of an operator.
    pub fn clock(&self, operator: usize) -> Moment {
        Moment::new(Duration::from_secs(100 + self.now - self.missed[operator]))
    }

    /// The operators that run.
    fn running(&self) -> impl Iterator<Item = (usize, &Operator)> {
        let all = self.operators.iter().enumerate();
        let there = all.filter_map(|(index, it)| Some((index, &**it.as_ref()?)));
        there.filter(|(_, it)| !it.frozen)
    }

    /// What the network and the watches owe before time passes, in the order of a calm cluster.
    fn due(&self, actions: &mut Vec<Action>) {
        for (index, it) in self.operators.iter().enumerate() {
            let Some(it) = it else { continue };
            let awake = !it.frozen;
            for (at, flight) in it.flights.iter().enumerate() {
                match flight.fate {
                    Fate::Sent => actions.push(Action::Arrive(index, at)),
                    Fate::Answered(_) if awake => actions.push(Action::Hear(index, at)),
                    _ => {}
                }
            }
            match it.lease.as_ref().map(|lease| &lease.fate) {
                Some(Fate::Sent) => actions.push(Action::ArriveLease(index)),
                Some(Fate::Answered(_)) if awake => actions.push(Action::HearLease(index)),
                _ => {}
            }
            if awake {
                let watches = !it.stale;
                let due = [
                    (watches && !it.lease_seen, Action::WatchLease(index)),
                    (watches && self.api.shows(it.cursor), Action::Watch(index)),
                    (!it.tells.is_empty(), Action::Tell(index)),
                    (it.lags(&self.servers), Action::Observe(index)),
                ];
                actions.extend(due.iter().filter(|(due, _)| *due).map(|(_, action)| *action));
            }
        }
    }

    /// What mends faults, in an order that mends all.
    fn mends(&self, actions: &mut Vec<Action>) {
        actions.extend((0..self.ghosts.len()).map(Action::Land));
        for (index, it) in self.operators.iter().enumerate() {
            let Some(it) = it else {
                actions.push(Action::Start(index));
                continue;
            };
            let due = [
                (it.frozen, Action::Thaw(index)),
                (it.stale, Action::Resume(index)),
                (it.parted.is_some(), Action::Join(index)),
            ];
            actions.extend(due.iter().filter(|(due, _)| *due).map(|(_, action)| *action));
        }
        let returns = (0..COUNT).filter(|server| !self.servers.0[*server].up);
        actions.extend(returns.map(Action::Return));
        let rejoins = (0..COUNT).filter(|server| self.servers.may_rejoin(*server));
        actions.extend(rejoins.map(Action::Rejoin));
        let is_foreign = |slot: &Slot| self.api.get(*slot).is_some_and(|object| !object.is_ours());
        actions.extend(Slot::ALL.into_iter().filter(is_foreign).map(Action::Free));
    }

    fn faults(&self, actions: &mut Vec<Action>) {
        let left = &self.left;
        for (index, it) in self.operators.iter().enumerate() {
            let Some(it) = it else { continue };
            let sent = |flight: &super::operator::Flight| matches!(flight.fate, Fate::Sent);
            if left.late > 0 {
                let flights = it.flights.iter().enumerate().filter(|(_, flight)| sent(flight));
                actions.extend(flights.map(|(at, _)| Action::Late(index, at)));
                if it
                    .lease
                    .as_ref()
                    .is_some_and(|lease| matches!(lease.fate, Fate::Sent))
                {
                    actions.push(Action::LateLease(index));
                }
            }
            let holder = self.api.remembered().is_some();
            let may = [
                (left.crashes > 0, Action::Crash(index)),
                (left.stale > 0 && !it.stale, Action::Stall(index)),
                (left.freezes > 0 && !it.frozen, Action::Freeze(index)),
                (left.slips > 0 && !it.frozen && !it.slips, Action::Slip(index)),
                (
                    left.parts > 0 && it.parted.is_none() && holder,
                    Action::Part(index),
                ),
            ];
            actions.extend(may.iter().filter(|(may, _)| *may).map(|(_, action)| *action));
        }
        if left.deaths > 0 {
            let dies = |server: &usize| self.servers.0[*server].up && self.servers.0[*server].writable;
            actions.extend((0..COUNT).filter(dies).map(Action::Die));
        }
        if left.promotions > 0 {
            // The replicas differ by their names alone, and no rule rests on those: the first that is promoted is `a`.
            let fresh = !self.laws.promoted;
            let may = |server: &usize| self.servers.may_promote(*server) && !(fresh && *server == 2);
            actions.extend((0..COUNT).filter(may).map(Action::Promote));
        }
        if left.meddling > 0 {
            let ours = |slot: &Slot| self.api.get(*slot).is_some_and(Object::is_ours);
            actions.extend(Slot::ALL.into_iter().filter(ours).map(Action::Meddle));
            actions.extend(Slot::ALL.into_iter().filter(ours).map(Action::Occupy));
        }
    }

    /// An operator whose request about the Lease is under way.
    fn asks_for_lease(&self) -> Option<usize> {
        let sent = |it: &Operator| {
            it.lease
                .as_ref()
                .is_some_and(|lease| matches!(lease.fate, Fate::Sent))
        };
        self.operators
            .iter()
            .position(|it| it.as_ref().is_some_and(|it| sent(it)))
    }

    /// What may become of that request. It touches nothing that another request does: when it arrives in time, the order in which the two
    /// do is no matter. So it is the next to arrive, or it does not arrive in time.
    fn of_lease(&self, of: usize, actions: &mut Vec<Action>) {
        actions.push(Action::ArriveLease(of));
        let left = &self.left;
        let awake = self.operators[of].as_ref().is_some_and(|it| !it.frozen);
        let may = [
            (left.late > 0, Action::LateLease(of)),
            (left.crashes > 0, Action::Crash(of)),
            (left.freezes > 0 && awake, Action::Freeze(of)),
        ];
        actions.extend(may.iter().filter(|(may, _)| *may).map(|(_, action)| *action));
    }

    /// What an operator that follows has to hear. Nobody sees what it knows, so it hears it at once; one that lags behind is a fault of
    /// its own.
    fn follower_hears(&self) -> Option<Action> {
        let mut actions = Vec::new();
        self.due(&mut actions);
        let of = |action: &Action| match action {
            Action::Watch(of) | Action::WatchLease(of) | Action::Tell(of) | Action::Observe(of) => Some(*of),
            _ => None,
        };
        let follows = |of: usize| self.operators[of].as_ref().is_some_and(|it| !it.leads());
        actions.into_iter().find(|action| of(action).is_some_and(follows))
    }

    /// Whether time may pass: whoever is not held up has done what it does at once.
    fn is_calm(&self) -> bool {
        let mut due = Vec::new();
        self.due(&mut due);
        due.is_empty()
    }

    pub fn actions(&self, actions: &mut Vec<Action>) {
        if self.laws.broken.is_some() {
            return;
        }
        if let Some(of) = self.asks_for_lease() {
            self.of_lease(of, actions);
            return;
        }
        self.due(actions);
        if actions.is_empty() && self.left.ticks > 0 {
            actions.push(Action::Tick);
        }
        self.mends(actions);
        self.faults(actions);
    }

    /// What happens next where nothing goes wrong any more, and faults are mended.
    fn fair(&self) -> Action {
        let mut actions = Vec::new();
        self.mends(&mut actions);
        self.due(&mut actions);
        actions.first().copied().unwrap_or(Action::Tick)
    }

    /// After so many seconds without a fault.
    pub fn after(mut self, seconds: u8, case: &Case) -> Self {
        self.left = Bound {
            ticks: seconds,
            ..Bound::default()
        };
        let silent = Reached::default();
        // A cluster that never rests does not get there.
        for _ in 0..u32::from(seconds) * 200 {
            let action = self.fair();
            if self.laws.broken.is_some() || (action == Action::Tick && self.left.ticks == 0) {
                break;
            }
            self = self.step(action, case, &silent);
        }
        self
    }

    pub fn start(self, operator: usize, case: &Case) -> Self {
        self.step(Action::Start(operator), case, &Reached::default())
    }

    pub fn step(&self, action: Action, case: &Case, reached: &Reached) -> Self {
        let mut next = self.clone();
        Step {
            state: &mut next,
            case,
            reached,
        }
        .take(action);
        next
    }
}

/// One step of a state.
struct Step<'a> {
    state: &'a mut State,
    case: &'a Case,
    reached: &'a Reached,
}

impl Step<'_> {
    fn take(&mut self, action: Action) {
        let left = &mut self.state.left;
        match action {
            Action::Late(..) | Action::LateLease(_) => left.late -= 1,
            Action::Crash(_) => left.crashes -= 1,
            Action::Stall(_) => left.stale -= 1,
            Action::Freeze(_) => left.freezes -= 1,
            Action::Slip(_) => left.slips -= 1,
            Action::Part(_) => left.parts -= 1,
            Action::Die(_) => left.deaths -= 1,
            Action::Promote(_) => left.promotions -= 1,
            Action::Meddle(_) | Action::Occupy(_) => left.meddling -= 1,
            Action::Tick => left.ticks -= 1,
            _ => {}
        }
        self.carry_out(action);
        while let Some(heard) = self.state.follower_hears() {
            self.carry_out(heard);
        }
        self.trim();
        self.observe_laws();
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Tick => self.tick(),
            Action::Watch(of) => self.watch(of),
            Action::WatchLease(of) => {
                let api = Arc::clone(&self.state.api);
                self.act(of, |it, around| it.sees_lease(&api, around));
            }
            Action::Tell(of) => self.tell(of),
            Action::Observe(of) => {
                let servers = self.state.servers.clone();
                self.act(of, |it, around| it.observes(&servers, around));
            }
            Action::Arrive(of, at) => self.arrive(of, at),
            Action::Hear(of, at) => {
                self.act(of, |it, around| {
                    if let Fate::Answered(answer) = std::mem::replace(&mut it.flights[at].fate, Fate::Sent) {
                        it.answered(at, answer, around);
                    }
                });
            }
            Action::ArriveLease(of) => self.arrive_lease(of),
            Action::HearLease(of) => self.act(of, |it, around| {
                if let Some(Fate::Answered(answer)) = it.lease.take().map(|lease| lease.fate) {
                    it.lease_answered(answer, around);
                }
            }),
            Action::Late(of, at) => self.late(of, at),
            Action::LateLease(of) => self.late_lease(of),
            Action::Land(at) => self.land(at),
            Action::Crash(of) => self.crash(of),
            Action::Start(of) => self.start(of),
            Action::Stall(of) => self.change(of, |it| it.stale = true),
            Action::Resume(of) => self.change(of, |it| it.stale = false),
            Action::Freeze(of) => self.change(of, |it| it.frozen = true),
            Action::Thaw(of) => self.change(of, |it| it.frozen = false),
            Action::Slip(of) => self.change(of, |it| it.slips = true),
            Action::Part(of) => {
                let holder = self.state.api.remembered();
                self.state.laws.changed = true;
                self.change(of, |it| it.parted = holder);
            }
            Action::Join(of) => self.change(of, |it| it.parted = None),
            Action::Die(server) => self.befall(|servers| servers.0[server].up = false),
            Action::Return(server) => {
                let servers = &self.state.servers;
                let old = servers.best().is_some_and(|best| best != server);
                self.reached.note(Point::OldPrimaryReturned, old);
                self.befall(|servers| servers.0[server].up = true);
            }
            Action::Promote(server) => {
                self.state.laws.promoted = true;
                self.befall(|servers| servers.promote(server));
            }
            Action::Rejoin(server) => self.befall(|servers| servers.rejoin(server)),
            Action::Meddle(slot) => self.meddle(|api| api.put(slot, BTreeSet::new(), Writer::Person)),
            Action::Occupy(slot) => self.meddle(|api| {
                api.delete(slot);
                api.put(slot, BTreeSet::new(), Writer::Other);
            }),
            Action::Free(slot) => self.meddle(|api| api.delete(slot)),
        }
    }

    fn befall(&mut self, change: impl FnOnce(&mut Servers)) {
        self.state.laws.changed = true;
        change(&mut self.state.servers);
    }

    fn meddle(&mut self, change: impl FnOnce(&mut Api)) {
        self.state.laws.changed = true;
        self.state.laws.meddled = true;
        change(Arc::make_mut(&mut self.state.api));
    }

    fn change(&mut self, of: usize, change: impl FnOnce(&mut Operator)) {
        if let Some(it) = &mut self.state.operators[of] {
            change(Arc::make_mut(it));
        }
    }

    /// An operator does something; what it sends is looked at.
    fn act(&mut self, of: usize, act: impl FnOnce(&mut Operator, &mut Around<'_>)) {
        let now = self.state.clock(of);
        let Some(it) = &mut self.state.operators[of] else {
            return;
        };
        let it = Arc::make_mut(it);
        let newest = it.flights.last().map_or(0, |flight| flight.id);
        let leads = it.leads();
        let mut around = Around {
            case: self.case,
            now,
            stamp: &mut self.state.stamp,
        };
        act(it, &mut around);
        self.reached.note(Point::LeadLost, leads && !it.leads());
        let told = |tell: fn(&Tell) -> bool| it.tells.iter().any(tell);
        self.reached
            .note(Point::Recalled, told(|tell| matches!(tell, Tell::Recall(..))));
        self.reached
            .note(Point::FoundElsewhere, told(|tell| matches!(tell, Tell::Found(_))));
        for flight in it.flights.iter().filter(|flight| flight.id > newest) {
            let broken = self.state.laws.sent(it, &flight.call, &self.state.api);
            self.state.laws.broken = self.state.laws.broken.or(broken);
        }
    }

    fn tick(&mut self) {
        self.state.now += 1;
        for of in 0..OPERATORS {
            let Some(it) = &self.state.operators[of] else {
                continue;
            };
            if it.frozen || it.slips {
                self.state.missed[of] += 1;
            }
            if it.frozen {
                continue;
            }
            let servers = self.state.servers.clone();
            self.act(of, |it, around| {
                it.slips = false;
                it.passes(&servers, around);
            });
        }
    }

    fn watch(&mut self, of: usize) {
        let api = Arc::clone(&self.state.api);
        self.act(of, |it, around| {
            let inputs = api.watched(it.cursor);
            it.cursor = api.head();
            it.take(inputs, around);
        });
    }

    fn tell(&mut self, of: usize) {
        self.act(of, Operator::hears);
    }

    fn arrive(&mut self, of: usize, at: usize) {
        let Some(it) = &self.state.operators[of] else {
            return;
        };
        let by = Sender {
            term: it.term,
            gave_up: it.failed,
        };
        let (call, frozen) = (it.flights[at].call.clone(), it.frozen);
        let answer = self.carried_out(&call, by);
        if frozen {
            self.change(of, |it| it.flights[at].fate = Fate::Answered(answer));
        } else {
            self.act(of, |it, around| it.answered(at, answer, around));
        }
    }

    /// The API server does what a request asks for.
    fn carried_out(&mut self, call: &Call<Body>, by: Sender) -> Answer<Body> {
        let before = Arc::clone(&self.state.api);
        let api = Arc::make_mut(&mut self.state.api);
        let answer = api.carry_out(call);
        let refused = matches!(answer, Answer::Refused { .. });
        let is_old = by.term < self.state.terms;
        self.reached.note(Point::LateRefused, refused && is_old);
        if let Call::PutStatus { status, .. } = call {
            self.reached.note(
                Point::MemoryRefused,
                refused && status.memory != before.status.memory,
            );
        }
        let moved = before.servers(Slot::Writes) != api.servers(Slot::Writes);
        self.reached
            .note(Point::Moved, moved && !api.servers(Slot::Writes).is_empty());
        self.reached
            .note(Point::Withdrawn, moved && api.servers(Slot::Writes).is_empty());
        self.reached
            .note(Point::LateDone, is_old && before.head() != api.head());
        let broken = self.state.laws.done(&before, api, by, self.state.terms);
        self.state.laws.broken = self.state.laws.broken.or(broken);
        answer
    }

    /// The API server does what a request about the Lease asks for.
    fn lend(&mut self, call: &LeaseCall, of: usize, life: u32) -> LeaseAnswer {
        let holder = |api: &Api| api.lease.as_ref().map(|lease| lease.holder.clone());
        let before = (holder(&self.state.api), self.state.api.head());
        let api = Arc::make_mut(&mut self.state.api);
        let answer = api.lend(call);
        let (is_new, after) = (before.1 != api.head(), holder(api));
        if is_new && before.0 != after {
            self.state.terms += 1;
            self.reached.note(Point::LeaderChanged, before.0.is_some());
            let terms = self.state.terms;
            if self.state.lives[of] == life {
                self.change(of, |it| it.granted = terms);
            }
        }
        if is_new {
            for operator in 0..OPERATORS {
                self.change(operator, |it| it.lease_seen = false);
            }
        }
        answer
    }

    fn arrive_lease(&mut self, of: usize) {
        let Some(it) = &self.state.operators[of] else {
            return;
        };
        let (Some(lease), frozen) = (it.lease.as_ref(), it.frozen) else {
            return;
        };
        let call = lease.call.clone();
        let answer = self.lend(&call, of, self.state.lives[of]);
        if frozen {
            self.change(of, |it| {
                if let Some(lease) = &mut it.lease {
                    lease.fate = Fate::Answered(answer);
                }
            });
        } else {
            self.act(of, |it, around| it.lease_answered(answer, around));
        }
    }

    fn late(&mut self, of: usize, at: usize) {
        let mut ghost = None;
        self.change(of, |it| {
            let by = Sender {
                term: it.term,
                gave_up: it.failed,
            };
            let flight = &mut it.flights[at];
            flight.fate = Fate::Late;
            let call = flight.call.clone();
            it.failed |= call.object().is_none();
            ghost = Some(Ghost::Call { call, by });
        });
        self.state.ghosts.extend(ghost);
    }

    fn late_lease(&mut self, of: usize) {
        let life = self.state.lives[of];
        let mut ghost = None;
        self.change(of, |it| {
            if let Some(lease) = &mut it.lease {
                lease.fate = Fate::Late;
                let call = lease.call.clone();
                ghost = Some(Ghost::Lease { call, of, life });
            }
        });
        self.state.ghosts.extend(ghost);
    }

    /// A request that was late is carried out.
    fn land(&mut self, at: usize) {
        match self.state.ghosts.remove(at) {
            Ghost::Call { call, by } => {
                self.carried_out(&call, by);
            }
            Ghost::Lease { call, of, life } => {
                self.lend(&call, of, life);
            }
        }
    }

    fn crash(&mut self, of: usize) {
        let Some(it) = self.state.operators[of].take() else {
            return;
        };
        let servers = self.state.api.servers(Slot::Writes);
        let holder: BTreeSet<_> = self.state.api.remembered().into_iter().collect();
        self.reached
            .note(Point::CrashBetween, it.leads() && servers != holder);
        let by = Sender {
            term: it.term,
            gave_up: it.failed,
        };
        // Reads do nothing when they arrive.
        let sent = it
            .flights
            .iter()
            .filter(|flight| matches!(flight.fate, Fate::Sent));
        let writes = sent.filter(|flight| flight.call.verb() != "get");
        let calls = writes.map(|flight| Ghost::Call {
            call: flight.call.clone(),
            by,
        });
        self.state.ghosts.extend(calls);
        if let Some(lease) = it.lease.as_ref().filter(|lease| matches!(lease.fate, Fate::Sent)) {
            self.state.ghosts.push(Ghost::Lease {
                call: lease.call.clone(),
                of,
                life: self.state.lives[of],
            });
        }
        self.state.lives[of] += 1;
    }

    fn start(&mut self, of: usize) {
        let mut around = Around {
            case: self.case,
            now: self.state.clock(of),
            stamp: &mut self.state.stamp,
        };
        let identity = format!("{of}_{}", self.state.lives[of]);
        let operator = Operator::starts(identity, &self.state.api, &mut around);
        self.state.operators[of] = Some(Arc::new(operator));
    }

    /// What every watch has shown is kept no longer; nor are requests that do nothing any more.
    fn trim(&mut self) {
        let cursors = self.state.operators.iter().flatten().map(|it| it.cursor);
        let least = cursors.min().unwrap_or(self.state.api.head());
        if self.state.api.shows(Number(0)) {
            Arc::make_mut(&mut self.state.api).forget(least);
        }
    }

    fn observe_laws(&mut self) {
        let state = &*self.state;
        let leaders = state
            .running()
            .filter(|(index, it)| it.may_start(state.clock(*index)));
        self.reached.note(Point::TwoLeaders, leaders.count() > 1);
        let engines = || state.running().map(|(_, it)| &it.engine);
        let contested = engines().any(|engine| !engine.holding.contested.is_empty());
        self.reached.note(Point::Contested, contested);
        let broken = state.running().find_map(|(index, it)| {
            let knows = it.knows(&state.api, &state.servers) && !it.stale && it.flights.is_empty();
            let settled = knows && it.may_start(state.clock(index)) && it.writing.deadline().is_none();
            let holds = it.term == state.terms && state.is_calm();
            (settled && holds)
                .then(|| Laws::settled(it, &state.api))
                .flatten()
        });
        self.state.laws.broken = self.state.laws.broken.or(broken);
    }
}

/// What is not as it should be when faults were mended long ago, or goes on changing.
pub fn unsettled(state: &State, case: &Case) -> Option<Law> {
    /// Longer than any lease, any clock of another operator and any pause between requests.
    const SETTLES: u8 = 40;
    const QUIET: u8 = 5;
    let there = state.clone().after(SETTLES, case);
    if there.laws.broken.is_some() {
        return there.laws.broken;
    }
    let best: BTreeSet<_> = there.servers.best().into_iter().collect();
    let others: BTreeSet<_> = (0..COUNT).filter(|server| !best.contains(server)).collect();
    let holder: BTreeSet<_> = there.api.remembered().into_iter().collect();
    let (writes, reads) = (there.api.servers(Slot::Writes), there.api.servers(Slot::Reads));
    if writes != best || reads != others || holder != best {
        return Some(Law::Converges);
    }
    let before = there.api.written();
    let later = there.after(QUIET, case);
    (later.api.written() != before).then_some(Law::Quiet)
}
