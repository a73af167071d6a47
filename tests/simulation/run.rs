//! Runs a script: the clock, the network, and the shells of the operators.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary::render::Kind;
use distributary::render::reading::{Text, Version};
use distributary::writing::lease::{LeaseAnswer, LeaseCall, LeaseInput, LeaseRequest};
use distributary::writing::{Answer, Call, FlightId, Input, Lead};
use distributary_core::fixture::Case;
use distributary_core::ids::TargetId;
use distributary_core::observation::{FailureKind, Observation, Role, Sample, Silence};
use distributary_core::target::{CheckAnswer, ProbeKey, SessionAnswer};
use distributary_core::world::Event;
use serde_json::json;

use super::api::{self, Api, List, is_slice_of, key, refused, unknown};
use super::laws::{Laws, READS, is_out, lacks, may_lead};
use super::operator::{Belief, Operator, Order};
use super::script::{Fate, Fault, Script};
use super::servers::{Servers, address};
use super::wire::Wire;

/// A session that could not be opened is tried again after this.
const REOPEN: Duration = Duration::from_millis(250);
/// Faults begin after this, when a new policy is routed.
const CALM: Duration = Duration::from_secs(40);
/// When faults have ceased, everything is as it should be after this at the latest: the longest that a circuit stays open
/// at default settings, and the steps of its return.
const CONVERGES: Duration = Duration::from_mins(30);
/// What is wrong is noticed, and out, after this at the latest: an interval, and what follows from a check.
const NOTICED: Duration = Duration::from_secs(45);
/// After admission lets writes through again, one that hung or was refused is sent again within this.
const HELD_UP: Duration = Duration::from_secs(45);
/// Then nothing is written for so long.
const QUIET: Duration = Duration::from_mins(3);

/// What a process has beside its state.
#[derive(Default)]
struct Seat {
    operator: Option<Operator>,
    /// Tells the acts of this process from those of an earlier one.
    life: u32,
    /// What watches have shown.
    cursor: Option<u64>,
    /// The list that is being read.
    list: Option<List>,
    wire: Wire,
    stopped: Duration,
    /// Until when its clock stands still.
    paused: Duration,
    cut: Duration,
    lags: Duration,
    /// When its engine is told last of what is on its way: one thing after the other.
    tells: Duration,
    parted: BTreeMap<usize, Duration>,
    dies: Option<(usize, bool, u64)>,
    fates: Vec<(usize, Fate)>,
    watched: bool,
    /// It ends in order, and another process takes its place after so long.
    ends: Option<u64>,
    /// When it is woken next.
    wakes: Option<Duration>,
}

enum Act {
    Fault(Fault),
    /// Faults of servers end.
    Up(usize),
    Thaw(usize),
    Replays(usize),
    Starts(usize),
    Wake,
    Check(TargetId, u64),
    Checked(CheckAnswer, usize),
    Beat(TargetId, u64),
    Heard(SessionAnswer, u64, usize),
    Arrives {
        flight: FlightId,
        call: Call<Text>,
        until: Duration,
        fate: Option<Fate>,
        last: bool,
    },
    Answered(FlightId, Answer<Text>),
    /// When it was sent, and until when its answer is awaited.
    LeaseArrives(LeaseCall, Duration, Duration),
    LeaseAnswered(LeaseAnswer),
    Watched,
    Told(Event),
}

/// The seat and the life of the process that acts, or the world around.
type Actor = Option<(usize, u32)>;

pub struct Run<'a> {
    script: &'a Script,
    case: &'a Case,
    now: Duration,
    acts: BTreeMap<(Duration, u64), (Actor, Act)>,
    count: u64,
    api: Api,
    servers: Servers,
    seats: Vec<Seat>,
    outage: Duration,
    /// Of statuses, and of objects: whether admission refuses their writes, and until when none gets through.
    admission: BTreeMap<bool, (bool, Duration)>,
    /// Until when the lease is, as its holder counts.
    leased: Option<Duration>,
    /// When the last fault was over.
    calm: Duration,
    laws: Laws,
    seen: Seen,
    /// What happened, for people.
    pub trace: Vec<String>,
}

/// How often what matters happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    /// The writes were led to another server.
    pub moves: usize,
    /// A write was refused, as its object had changed.
    pub conflicts: usize,
    /// A request was carried out when nobody waited for its answer any more.
    pub late: usize,
    /// A process ended at a request.
    pub ends: usize,
    /// A watch began anew.
    pub lists: usize,
    /// A list began anew, as its continue token had expired.
    pub expired: usize,
    /// The lease changed hands.
    pub leaders: usize,
    /// Writes after the first fault.
    pub written: usize,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, more: Self) {
        self.moves += more.moves;
        self.conflicts += more.conflicts;
        self.late += more.late;
        self.ends += more.ends;
        self.lists += more.lists;
        self.expired += more.expired;
        self.leaders += more.leaders;
        self.written += more.written;
    }
}

/// What happened, or the invariant that the script breaks.
pub fn run(script: &Script, case: &Case) -> Result<Seen, String> {
    let mut run = Run::new(script, case);
    let done = run.all();
    done.map(|()| run.seen)
        .map_err(|broken| format!("{broken}\n{}", run.trace.join("\n")))
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn server_of(target: &TargetId) -> usize {
    match target.endpoint.as_str() {
        "primary" => 0,
        "a" => 1,
        _ => 2,
    }
}

impl<'a> Run<'a> {
    fn new(script: &'a Script, case: &'a Case) -> Self {
        Self {
            script,
            case,
            now: Duration::from_secs(1),
            acts: BTreeMap::new(),
            count: 0,
            api: Api::default(),
            servers: Servers::new(script.monitor),
            seats: (0..script.operators).map(|_| Seat::default()).collect(),
            outage: Duration::ZERO,
            admission: BTreeMap::new(),
            leased: None,
            calm: Duration::ZERO,
            laws: Laws::default(),
            seen: Seen::default(),
            trace: Vec::new(),
        }
    }

    fn all(&mut self) -> Result<(), String> {
        for seat in 0..self.seats.len() {
            self.push(self.now, None, Act::Starts(seat));
        }
        let mut at = self.now + CALM;
        self.until(at)?;
        let before = self.api.writes;
        for step in &self.script.steps {
            at += millis(step.after);
            self.push(at, None, Act::Fault(step.fault.clone()));
        }
        self.until(at + millis(self.script.rest))?;
        if self.now >= self.calm + NOTICED && !self.laws.is_meddled() {
            is_out(&self.api, &self.servers)?;
        }
        let best = self.heal();
        let end = self.now + CONVERGES;
        while !lacks(&self.api, best).is_empty() {
            if self.now >= end {
                return Err(format!("L2: {}", lacks(&self.api, best)));
            }
            self.until(self.now + Duration::from_secs(5))?;
        }
        // What time alone changes, as steps of a returning server, is over by then.
        let mut quiet = (self.now, self.api.writes);
        let end = self.now + CONVERGES;
        while self.now < quiet.0 + QUIET {
            self.until(self.now + Duration::from_secs(5))?;
            if self.api.writes != quiet.1 {
                quiet = (self.now, self.api.writes);
            }
            if self.now > end {
                return Err("S7: writes go on though nothing changes".to_owned());
            }
        }
        if !lacks(&self.api, best).is_empty() {
            return Err(format!("L1: {}", lacks(&self.api, best)));
        }
        if self.script.operators > 1 && self.leased.is_none_or(|until| until < self.now) {
            return Err("L5: nobody leads".to_owned());
        }
        self.seen.written = self.api.writes - before;
        Ok(())
    }

    fn say(&mut self, text: String) {
        self.trace.push(format!("{:10.3} {text}", self.now.as_secs_f64()));
    }

    /// A number that follows from the script and how much happened before.
    fn chance(&self, below: u64) -> u64 {
        let mut hash = self.script.seed ^ self.count.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (hash ^ (hash >> 31)) % below
    }

    fn push(&mut self, at: Duration, of: Actor, act: Act) {
        self.count += 1;
        self.acts.insert((at.max(self.now), self.count), (of, act));
    }

    fn push_of(&mut self, seat: usize, at: Duration, act: Act) {
        let life = self.seats[seat].life;
        self.push(at, Some((seat, life)), act);
    }

    fn until(&mut self, end: Duration) -> Result<(), String> {
        while let Some(((at, _), (of, act))) = self.acts.pop_first() {
            if at > end {
                self.push(at, of, act);
                break;
            }
            let objects = self.admission.get(&false);
            let is_held_up = objects.is_some_and(|(_, until)| at < *until + HELD_UP);
            if is_held_up || self.seats.iter().any(|it| it.wire.awaits(READS)) {
                self.laws.awaits_reads(at);
            }
            self.now = at;
            self.servers.advance(at);
            self.act(of, act)?;
        }
        self.now = end;
        self.servers.advance(end);
        Ok(())
    }

    fn act(&mut self, of: Actor, act: Act) -> Result<(), String> {
        match (of, act) {
            (_, Act::Fault(fault)) => {
                self.say(format!("{fault:?}"));
                self.befall(fault)?;
            }
            (_, Act::Up(server)) => {
                self.say(format!("server {server} starts"));
                self.servers.start(server);
            }
            (_, Act::Thaw(server)) => self.servers.freeze(server, false),
            (_, Act::Replays(server)) => self.servers.stall(server, false),
            (_, Act::Starts(seat)) => self.start(seat)?,
            // It arrives though who sent it is gone.
            (
                Some((seat, life)),
                Act::Arrives {
                    flight,
                    call,
                    until,
                    fate,
                    last,
                },
            ) => {
                self.arrive((seat, life), flight, call, until, fate, last)?;
            }
            (Some((seat, life)), Act::LeaseArrives(call, sent, until)) => {
                self.lend((seat, life), call, sent, until)?;
            }
            (Some((seat, life)), act) => {
                if self.seats[seat].life != life || self.seats[seat].operator.is_none() {
                    return Ok(());
                }
                let stopped = self.seats[seat].stopped;
                if self.now < stopped {
                    self.push(stopped, Some((seat, life)), act);
                    return Ok(());
                }
                self.act_of(seat, act)?;
            }
            (None, _) => unreachable!("an act of nobody"),
        }
        Ok(())
    }

    fn act_of(&mut self, seat: usize, act: Act) -> Result<(), String> {
        match act {
            Act::Wake => {
                self.seats[seat].wakes = None;
                self.candidate(seat, None)
            }
            Act::Check(target, number) => {
                self.check(seat, target, number);
                Ok(())
            }
            Act::Checked(answer, server) => self.checked(seat, answer, server),
            Act::Beat(target, number) => {
                self.beat(seat, target, number);
                Ok(())
            }
            Act::Heard(answer, number, server) => self.heard(seat, answer, number, server),
            Act::Answered(flight, answer) => {
                let it = &mut self.seats[seat];
                let chosen = it.operator.as_ref().and_then(Operator::holder);
                let is_of_another = it.wire.hears(flight, &answer, chosen, self.now);
                self.take(seat, [Input::Answered { flight, answer }].into(), Vec::new())?;
                if is_of_another && self.seats[seat].wire.recalls == 0 {
                    return Err(format!(
                        "S10: {:?} operator {seat} goes on by its own memory",
                        self.now
                    ));
                }
                Ok(())
            }
            Act::LeaseAnswered(answer) => self.candidate(seat, Some(LeaseInput::Answered(answer))),
            Act::Watched => self.watched(seat),
            Act::Told(event) => {
                let it = &mut self.seats[seat];
                if let (Event::Recalled { .. }, Some(operator)) = (&event, &mut it.operator) {
                    operator.recalled = self.now;
                    it.wire.recalls -= 1;
                }
                self.take(seat, Vec::new(), [event].into())
            }
            _ => Ok(()),
        }
    }

    /// An operator takes something in, and its shells do what it asks for.
    fn take(&mut self, seat: usize, inputs: Vec<Input<Text>>, events: Vec<Event>) -> Result<(), String> {
        let now = self.now;
        let Some(operator) = &mut self.seats[seat].operator else {
            return Ok(());
        };
        let orders = operator.takes(inputs, events, now);
        self.chosen(seat)?;
        self.obey(seat, orders)
    }

    /// What a process has just chosen must follow from what it knows.
    fn chosen(&mut self, seat: usize) -> Result<(), String> {
        let it = &mut self.seats[seat];
        let Some(operator) = &mut it.operator else {
            return Ok(());
        };
        for choice in std::mem::take(&mut operator.choices) {
            self.laws.chosen(operator, &it.wire, &choice, self.now)?;
        }
        it.wire.decided(operator.holder().as_deref());
        Ok(())
    }

    fn candidate(&mut self, seat: usize, input: Option<LeaseInput>) -> Result<(), String> {
        let now = self.now;
        let Some(operator) = &mut self.seats[seat].operator else {
            return Ok(());
        };
        let led = operator.writing.lead() != Lead::Follows;
        let orders = operator.candidate(input, now);
        if !led && operator.writing.lead() != Lead::Follows && self.script.operators > 1 {
            self.seats[seat].wire.leads(now);
        }
        self.chosen(seat)?;
        self.counts_its_lease(seat)?;
        self.obey(seat, orders)
    }

    /// A process that leads counts its lease no longer than the API server knows it, unless its clock stood still.
    fn counts_its_lease(&self, seat: usize) -> Result<(), String> {
        let it = &self.seats[seat];
        let Some(operator) = it.operator.as_ref().filter(|it| !it.slept) else {
            return Ok(());
        };
        match operator.writing.lead() {
            Lead::Leads { until: Some(until) }
                if it.wire.lease.is_none_or(|lease| operator.time(until) > lease) =>
            {
                Err(format!(
                    "S6 (a lease counts from before its renewal): {:?} operator {seat} counts until {:?}, and has it until {:?}",
                    self.now,
                    operator.time(until),
                    it.wire.lease
                ))
            }
            _ => Ok(()),
        }
    }

    fn obey(&mut self, seat: usize, orders: Vec<Order>) -> Result<(), String> {
        for order in orders {
            let Seat {
                operator: Some(operator),
                wire,
                ..
            } = &mut self.seats[seat]
            else {
                return Ok(());
            };
            match order {
                Order::Check(target, number) => {
                    let at = operator.probes.get(&target).and_then(|probe| probe.check.at);
                    if let Some(at) = at.map(|at| operator.time(at)) {
                        self.push_of(seat, at, Act::Check(target, number));
                    }
                }
                Order::Beat(target, number) => self.push_of(seat, self.now, Act::Beat(target, number)),
                Order::Lease(request) => self.stand(seat, request),
                Order::Tell(event) => {
                    wire.recalls += usize::from(matches!(*event, Event::Recalled { .. }));
                    let at = self.now + millis(self.chance(20));
                    let at = at.max(self.seats[seat].tells);
                    self.seats[seat].tells = at;
                    self.push_of(seat, at, Act::Told(*event));
                }
                Order::End => {
                    self.say(format!("operator {seat} has ended"));
                    let lasts = self.seats[seat].ends.take().unwrap_or_default();
                    self.kill(seat, lasts);
                    return Ok(());
                }
                Order::Send(request) => {
                    wire.sends(request.flight, &request.call, self.now)?;
                    self.laws
                        .sent(operator, wire, &request.call, &self.api, self.now)?;
                    self.send(seat, request.flight, request.call, request.deadline);
                }
            }
        }
        let deadline = self.seats[seat].operator.as_ref().and_then(Operator::deadline);
        let wakes = &mut self.seats[seat].wakes;
        if let Some(at) = deadline.filter(|at| wakes.is_none_or(|wakes| *at < wakes)) {
            *wakes = Some(at);
            self.push_of(seat, at, Act::Wake);
        }
        Ok(())
    }

    fn send(&mut self, seat: usize, flight: FlightId, call: Call<Text>, deadline: Duration) {
        let last = match &mut self.seats[seat].dies {
            Some((n, done, lasts)) => {
                *n = n.saturating_sub(1);
                (*n == 0).then_some((*done, *lasts))
            }
            None => None,
        };
        if let Some((false, lasts)) = last {
            self.say(format!("operator {seat} ends before {}", words(&call)));
            self.seen.ends += 1;
            self.kill(seat, lasts);
            return;
        }
        let mut fate = None;
        for (n, of) in &mut self.seats[seat].fates {
            *n = n.saturating_sub(1);
            if *n == 0 && fate.is_none() {
                fate = Some(*of);
            }
        }
        self.seats[seat].fates.retain(|(n, _)| *n > 0);
        let fate = fate.or_else(|| self.admitted(&call));
        let until = self.now + deadline;
        let takes = millis(1 + self.chance(10));
        let fate_words = fate.map(|fate| format!(" {fate:?}")).unwrap_or_default();
        self.say(format!("operator {seat} sends {}{fate_words}", words(&call)));
        if self.now < self.seats[seat].cut || matches!(fate, Some(Fate::Lost)) {
            self.push_of(seat, until, Act::Answered(flight, unknown()));
            return;
        }
        if self.now < self.outage {
            self.push_of(seat, self.now + millis(1), Act::Answered(flight, unknown()));
            return;
        }
        let late = match fate {
            Some(Fate::Late(late)) => millis(late),
            _ => takes,
        };
        if self.now + late > until {
            // It hears nothing until then.
            self.push_of(seat, until, Act::Answered(flight, unknown()));
        }
        let at = self.now + late;
        let last = last.is_some();
        self.push_of(
            seat,
            at,
            Act::Arrives {
                flight,
                call,
                until,
                fate,
                last,
            },
        );
    }

    /// What admission does to a request.
    fn admitted(&self, call: &Call<Text>) -> Option<Fate> {
        let status = match call {
            Call::Get { .. } | Call::GetPolicy => return None,
            Call::PutStatus { .. } => true,
            Call::Create { .. } | Call::Put { .. } | Call::Delete { .. } => false,
        };
        let (refuses, until) = self.admission.get(&status)?;
        let fate = if *refuses { Fate::Refused(403) } else { Fate::Lost };
        (self.now < *until).then_some(fate)
    }

    /// An operator asks for the lease.
    fn stand(&mut self, seat: usize, request: LeaseRequest) {
        let until = self.now + request.deadline;
        if self.now < self.seats[seat].cut.max(self.outage) {
            self.push_of(seat, until, Act::LeaseAnswered(LeaseAnswer::Unknown));
            return;
        }
        let at = self.now + millis(1 + self.chance(10));
        self.push_of(seat, at, Act::LeaseArrives(request.call, self.now, until));
    }

    fn lend(
        &mut self,
        (seat, life): (usize, u32),
        call: LeaseCall,
        sent: Duration,
        until: Duration,
    ) -> Result<(), String> {
        let (before, version) = self.lease();
        let mut answer = if self.now < self.outage {
            LeaseAnswer::Unknown
        } else {
            self.api.lend(call)
        };
        let (after, new) = self.lease();
        if new != version {
            self.lent((seat, life), before != after, sent)?;
        }
        if before != after {
            self.say(format!("the lease is of {after:?}"));
            self.seen.leaders += 1;
        }
        let mut at = self.now + millis(1 + self.chance(10));
        if self.now < self.seats[seat].cut {
            (answer, at) = (LeaseAnswer::Unknown, until);
        }
        self.spread();
        self.push(at, Some((seat, life)), Act::LeaseAnswered(answer));
        Ok(())
    }

    /// The holder of the lease, and the version at which it is so.
    fn lease(&self) -> (Option<String>, Option<Version>) {
        let lease = self.api.lease.clone();
        lease.map_or((None, None), |lease| (Some(lease.holder), lease.version))
    }

    /// The lease was taken, renewed or released.
    fn lent(&mut self, (seat, life): (usize, u32), is_another: bool, sent: Duration) -> Result<(), String> {
        let Some(lease) = self.api.lease.clone() else {
            return Ok(());
        };
        let is_taken = is_another && !lease.holder.is_empty();
        if let Some(until) = self.leased.filter(|until| is_taken && self.now < *until) {
            return Err(format!(
                "S6 (one leader): {:?} operator {seat} takes the lease, which another one has until {until:?}",
                self.now
            ));
        }
        let seconds = u64::try_from(lease.seconds).unwrap_or_default();
        self.leased = (!lease.holder.is_empty()).then(|| sent + Duration::from_secs(seconds));
        let leased = self.leased;
        for (other, it) in self.seats.iter_mut().enumerate() {
            it.wire.lease = leased
                .filter(|_| other == seat && it.life == life)
                .or(it.wire.lease);
        }
        Ok(())
    }

    fn arrive(
        &mut self,
        (seat, life): (usize, u32),
        flight: FlightId,
        call: Call<Text>,
        until: Duration,
        fate: Option<Fate>,
        last: bool,
    ) -> Result<(), String> {
        let in_time = self.now <= until;
        let mut answer = if self.now < self.outage {
            unknown()
        } else if let Some(Fate::Refused(code)) = fate {
            if code == 500 { unknown() } else { refused(code) }
        } else {
            let (head, text, is_newest) = (self.api.head(), words(&call), self.api.is_newest(&call));
            self.laws.arrives(&self.api);
            let answer = self.api.carry_out(call);
            if self.api.head() != head {
                if !is_newest {
                    return Err(format!(
                        "S6 (nothing is overwritten unseen): {:?} {text}",
                        self.now
                    ));
                }
                self.say(format!("done: {text}"));
                self.spread();
            }
            self.laws.applied(&self.api, &self.servers, in_time, self.now)?;
            self.seen.moves = self.laws.moves;
            self.seen.conflicts += usize::from(matches!(answer, Answer::Refused { code: 409, .. }));
            self.seen.late += usize::from(!in_time);
            answer
        };
        let mut at = self.now + millis(1 + self.chance(10));
        let lost = matches!(fate, Some(Fate::AnswerLost)) || self.now < self.seats[seat].cut;
        if lost {
            (answer, at) = (unknown(), until);
        }
        if in_time {
            self.push(at, Some((seat, life)), Act::Answered(flight, answer));
        }
        if last && self.seats[seat].life == life {
            let lasts = self.seats[seat].dies.map_or(0, |(.., lasts)| lasts);
            self.say(format!("operator {seat} ends"));
            self.seen.ends += 1;
            self.kill(seat, lasts);
        }
        Ok(())
    }

    /// Watches show what is new.
    fn spread(&mut self) {
        for seat in 0..self.seats.len() {
            if !self.seats[seat].watched {
                self.seats[seat].watched = true;
                let at = self.now + millis(1 + self.chance(30));
                self.push_of(seat, at, Act::Watched);
            }
        }
    }

    fn watched(&mut self, seat: usize) -> Result<(), String> {
        let it = &mut self.seats[seat];
        let held = it.cut.max(it.lags).max(self.outage);
        if self.now < held {
            self.push_of(seat, held, Act::Watched);
            return Ok(());
        }
        it.watched = false;
        let inputs = self.shown(seat);
        let it = &mut self.seats[seat];
        if it.list.is_some() || it.cursor != Some(self.api.head()) {
            it.watched = true;
            let at = self.now + millis(1 + self.chance(60));
            self.push_of(seat, at, Act::Watched);
        }
        let it = &mut self.seats[seat];
        for input in &inputs {
            match input {
                Input::StatusSeen { version, status, .. } => it.wire.shown(version, status),
                Input::Seen(object) => it.wire.shown_object(&object.id, &object.version),
                _ => {}
            }
        }
        self.take(seat, inputs, Vec::new())?;
        let lease = self
            .api
            .lease
            .clone()
            .map_or(LeaseInput::Missing, LeaseInput::Seen);
        if self.script.operators > 1 {
            self.candidate(seat, Some(lease))?;
        }
        Ok(())
    }

    /// What watches show next: a page of a list, or all that is new.
    fn shown(&mut self, seat: usize) -> Vec<Input<Text>> {
        let it = &mut self.seats[seat];
        if it.list.is_none() && self.api.lists(it.cursor) {
            self.seen.lists += 1;
            it.list = Some(self.api.list());
        }
        let Some(list) = &mut it.list else {
            let new = self.api.watched(it.cursor);
            it.cursor = Some(self.api.head());
            return new;
        };
        let Some(page) = self.api.page(list) else {
            self.seen.expired += 1;
            it.list = None;
            return Vec::new();
        };
        if list.is_read() {
            it.cursor = Some(list.version);
            it.list = None;
        }
        page
    }

    fn start(&mut self, seat: usize) -> Result<(), String> {
        let it = &mut self.seats[seat];
        if it.operator.is_some() {
            return Ok(());
        }
        let held = it.cut.max(self.outage);
        if self.now < held {
            self.push(held, None, Act::Starts(seat));
            return Ok(());
        }
        it.life += 1;
        it.wakes = None;
        (it.dies, it.watched, it.lags) = (None, false, Duration::ZERO);
        (it.stopped, it.paused) = (Duration::ZERO, Duration::ZERO);
        (it.cursor, it.list) = (Some(self.api.head()), None);
        it.ends = None;
        let several = self.script.operators > 1;
        let identity = several.then(|| format!("operator-{seat}_{}", it.life));
        it.wire = Wire::default();
        it.wire.shown(&self.api.status_version(), &self.api.status);
        let mut operator = Operator::starts(self.case, seat, identity, self.now);
        let mut orders = operator.takes(self.api.listed(), Vec::new(), self.now);
        orders.extend(operator.reads(&self.api, self.now));
        orders.extend(operator.candidate(Some(LeaseInput::MayStand), self.now));
        operator.choices.clear();
        it.operator = Some(operator);
        self.say(format!("operator {seat} starts"));
        self.obey(seat, orders)
    }

    fn kill(&mut self, seat: usize, lasts: u64) {
        self.laws.halted();
        let it = &mut self.seats[seat];
        it.operator = None;
        it.life += 1;
        it.dies = None;
        it.fates.clear();
        self.push(self.now + millis(lasts), None, Act::Starts(seat));
    }

    /// Whether an operator reaches a server.
    fn reaches(&self, seat: usize, server: usize) -> bool {
        let parted = self.seats[seat].parted.get(&server);
        parted.is_none_or(|until| self.now >= *until) && !self.servers.get(server).frozen
    }

    fn check(&mut self, seat: usize, target: TargetId, number: u64) {
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

    fn checked(&mut self, seat: usize, answer: CheckAnswer, server: usize) -> Result<(), String> {
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

    fn beat(&mut self, seat: usize, target: TargetId, number: u64) {
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

    fn heard(
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
    fn close(&mut self, server: usize) {
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

    fn befall(&mut self, fault: Fault) -> Result<(), String> {
        let now = self.now;
        self.calm = self.calm.max(now + millis(fault.lasts()));
        let until = |lasts: u64| now + millis(lasts);
        match fault {
            Fault::Crash { server, lasts } => {
                self.close(server);
                self.servers.crash(server);
                self.push(until(lasts), None, Act::Up(server));
            }
            Fault::Freeze { server, lasts } => {
                self.servers.freeze(server, true);
                self.push(until(lasts), None, Act::Thaw(server));
            }
            Fault::Promote { server } => {
                self.servers.promote(server);
            }
            Fault::Rejoin { server, onto } => {
                let was = self.servers.get(server).clone();
                self.servers.rejoin(server, onto);
                if was.is_primary() {
                    self.close(server);
                }
            }
            Fault::Empty { server } => {
                self.close(server);
                self.servers.empty(server);
            }
            Fault::Stall { server, lasts } => {
                self.servers.stall(server, true);
                self.push(until(lasts), None, Act::Replays(server));
            }
            Fault::Part {
                operator,
                server,
                lasts,
            } => {
                let until = until(lasts);
                self.seats[operator].parted.insert(server, until);
            }
            Fault::Cut { operator, lasts } => self.seats[operator].cut = until(lasts),
            Fault::Outage { lasts } => self.outage = until(lasts),
            Fault::Admission {
                status,
                refuses,
                lasts,
            } => {
                self.admission.insert(status, (refuses, until(lasts)));
                self.calm = self.calm.max(until(lasts) + HELD_UP);
            }
            Fault::Lag { operator, lasts } => self.seats[operator].lags = until(lasts),
            Fault::Compact => self.api.compact(),
            Fault::Terminate { operator, lasts } => {
                self.seats[operator].ends = Some(lasts);
                if self.script.operators > 1 {
                    self.candidate(operator, Some(LeaseInput::Stop))?;
                } else {
                    self.kill(operator, lasts);
                }
            }
            Fault::Pause { operator, lasts } => {
                self.laws.halted();
                let it = &mut self.seats[operator];
                // One that is paused already loses the rest.
                let lost = (now + millis(lasts)).saturating_sub(it.paused.max(now));
                it.paused = it.paused.max(now + millis(lasts));
                it.stopped = it.paused.max(it.stopped);
                // By its clock it has the lease for longer: until it asks for it again, versions and the log alone protect.
                it.wire.lease = None;
                if let Some(operator) = &mut it.operator {
                    operator.loses(lost);
                }
            }
            Fault::Stop { operator, lasts } => {
                self.laws.halted();
                self.seats[operator].stopped = until(lasts);
            }
            Fault::Kill { operator, lasts } => self.kill(operator, lasts),
            Fault::KillAt {
                operator,
                n,
                done,
                lasts,
            } => self.seats[operator].dies = Some((n, done, lasts)),
            Fault::Request { operator, n, fate } => self.seats[operator].fates.push((n, fate)),
            Fault::Meddle { slice, deletes } => self.meddle(slice, deletes),
            Fault::Occupy { service } => self.occupy(service),
        }
        Ok(())
    }

    fn meddle(&mut self, slice: bool, deletes: bool) {
        let kind = if slice {
            Kind::EndpointSlice
        } else {
            Kind::ConfigMap
        };
        // Reads alone: what somebody does to the route of the writes is theirs until it is put back.
        let ours = |object: &serde_json::Value| {
            !object["metadata"]["labels"].is_null() && (!slice || is_slice_of("orders-ro", object))
        };
        let found = self.api.of_kind(kind).find(|(_, object)| ours(object));
        let found = found.map(|(place, object)| (place.clone(), object.clone()));
        let Some((place, mut object)) = found else {
            return;
        };
        if deletes {
            self.api.delete(&place);
        } else {
            object["endpoints"] = json!([{"addresses": ["203.0.113.9"]}]);
            object["data"] = json!({});
            self.api.put(place, object);
        }
        self.laws.meddled();
        self.spread();
    }

    fn occupy(&mut self, service: bool) {
        let kind = if service { Kind::Service } else { Kind::ConfigMap };
        let named = |name: &str| !service || name == "orders-ro";
        let found = self.api.of_kind(kind).find(|(place, _)| named(&place.id.name));
        let Some(place) = found.map(|(place, _)| place.clone()) else {
            return;
        };
        self.api.delete(&place);
        let theirs = json!({"metadata": {"name": place.id.name, "uid": "uid-of-others"}, "spec": {}});
        self.api.put(place.clone(), theirs);
        self.laws.occupied(&self.api, place);
        self.spread();
    }

    /// All faults end; which server takes the writes then.
    fn heal(&mut self) -> usize {
        self.say("all faults end".to_owned());
        self.outage = Duration::ZERO;
        for (_, until) in self.admission.values_mut() {
            *until = self.now.min(*until);
        }
        let status = &self.api.status;
        let is_known = |id: usize| may_lead(status, &address(id).to_string());
        let (best, leads) = self.servers.heal(is_known);
        self.say(format!("server {best} is the primary, leads: {leads}"));
        if !leads {
            self.close(best);
            self.push(self.now + CALM, None, Act::Fault(Fault::Promote { server: best }));
        }
        for place in self.laws.freed() {
            self.api.delete(&place);
        }
        self.spread();
        let now = self.now;
        for seat in 0..self.seats.len() {
            let it = &mut self.seats[seat];
            (it.stopped, it.cut, it.lags, it.dies) = (now.max(it.paused), now, now, None);
            it.parted.clear();
            it.fates.clear();
            self.push(now, None, Act::Starts(seat));
        }
        best
    }
}

fn believe(operator: &mut Operator, server: usize, (asked, now): (Duration, Duration), told: Option<Sample>) {
    let known = operator.beliefs.get(&server);
    if known.is_some_and(|known| known.asked > asked) {
        return;
    }
    let latest = told.clone().map(|sample| (asked, sample));
    let latest = latest.or_else(|| known?.latest.clone());
    let is_other = |sample: &Sample| sample.system_identifier != Some(super::servers::SYSTEM);
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

pub fn words(call: &Call<Text>) -> String {
    match call {
        Call::PutStatus { status, version, .. } => {
            let memory = status.memory.clone().unwrap_or_default();
            format!(
                "status at {} memory {:?} {:?}",
                version.as_str(),
                memory.holder.map(|it| it.endpoint),
                memory.timeline
            )
        }
        Call::GetPolicy => "get policy".to_owned(),
        Call::Put { id, wanted, .. } | Call::Create { id, body: wanted }
            if id.kind == Kind::EndpointSlice =>
        {
            let tree = serde_json::from_str(wanted).unwrap_or_default();
            format!("{} {id} {:?}", call.verb(), api::addresses(&tree))
        }
        other => format!(
            "{} {}",
            other.verb(),
            other.object().map(ToString::to_string).unwrap_or_default()
        ),
    }
}

/// Whether a sample is of a server of the first database that takes writes.
pub fn takes_writes(sample: &Sample) -> bool {
    sample.role == Role::Primary && sample.system_identifier == Some(super::servers::SYSTEM)
}
