//! Runs a script: the clock, the network, and the shells of the operators.

mod checks;
mod faults;
mod requests;

use std::collections::BTreeMap;
use std::time::Duration;

use distributary::render::reading::Text;
use distributary::writing::lease::{LeaseAnswer, LeaseCall, LeaseInput};
use distributary::writing::{Answer, Call, FlightId, Input, Lead};
use distributary_core::fixture::Case;
use distributary_core::ids::TargetId;
use distributary_core::target::{CheckAnswer, SessionAnswer};
use distributary_core::world::Event;

use super::api::{Api, List};
use super::laws::{Laws, READS, is_out, lacks};
use super::operator::{Operator, Order};
use super::script::{Fate, Fault, Script};
use super::servers::Servers;
use super::wire::Wire;

pub use checks::takes_writes;
pub use requests::words;

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
}
