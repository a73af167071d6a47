//! A prober whose servers follow a script: hours pass in milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::Moment;
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::fixture::{self, Case};
use distributary_core::health::Reason;
use distributary_core::ids::TargetId;
use distributary_core::jitter;
use distributary_core::observation::{
    FailureClass, FailureKind, Load, Lsn, Observation, Role, Sample, Silence,
};
use distributary_core::plan::{Route, RouteState};
use distributary_core::target::{
    CheckAnswer, Hold, Incarnation, NameAnswer, NameState, NextCheck, ProbeKey, ProbeOrder, SessionAnswer,
};
use distributary_core::transition::Transition;
use distributary_core::world::{Announcement, Effects, EndpointMemory, Event, Instruction, Memory, World};

use super::log::Log;
use super::servers::Servers;

/// What a server does with a check that begins, and with its held session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// A standby, after 2 ms.
    Standby,
    /// It takes writes on timeline 1, after 2 ms.
    Primary,
    /// It takes writes on this timeline.
    Promoted(u32),
    /// A standby, this many milliseconds late.
    SlowStandby(u64),
    /// After 1 ms.
    Fails(FailureKind),
    /// It fails so after this many milliseconds.
    FailsLate(FailureKind, u64),
    /// No answer at all.
    Silent,
}

pub const REFUSED: Answer = Answer::Fails(FailureKind::ConnectRefused);
pub const STARTING: Answer = Answer::Fails(FailureKind::Starting);
/// A session that could not be opened is tried again after this.
const REOPEN: Duration = Duration::from_millis(100);
/// A name is found to lead elsewhere by the second of two answers, which come at its TTL: 1 s.
const LOOKUPS: Duration = Duration::from_secs(2);

/// One target as the prober sees it.
struct Probe {
    incarnation: Incarnation,
    check: NextCheck,
    /// When the check under way began and ends, and its result.
    running: Option<Observation>,
    session: Option<Session>,
    /// The address that its name does not lead to any more.
    left: Option<IpAddr>,
}

/// A held session.
struct Session {
    hold: Hold,
    open: bool,
    /// When the next heartbeat begins, or the session is opened again.
    next: Moment,
    running: Option<SessionAnswer>,
}

pub struct Simulation {
    world: World,
    policy: Case,
    now: Moment,
    /// Whether the log tells of waiting, which every new policy begins with.
    tells_waiting: bool,
    /// What each server does from a moment on; the last entry that has begun counts.
    scripts: BTreeMap<String, Vec<(Moment, Answer)>>,
    pub servers: Servers,
    /// The write-ahead log, and how far each standby is in it.
    pub wal: Log,
    /// Where set, the wall clocks of the servers jump by it.
    pub wall_clock: Option<u32>,
    /// When an administrator ends the sessions of a server.
    terminations: BTreeMap<String, BTreeSet<Moment>>,
    probes: BTreeMap<TargetId, Probe>,
    pub log: Vec<(Moment, String)>,
    pub decisions: Vec<(Moment, Arc<Decision>)>,
    pub transitions: Vec<(Moment, Transition)>,
    pub checks: usize,
    /// The largest lag that was measured of any target, in milliseconds.
    pub most_lag: u128,
}

enum Act {
    Check,
    Session,
    /// The lookups of its name found that it leads elsewhere.
    Named,
}

/// When it begins: things befall servers at whole seconds, and are seen by checks in between.
const BEGIN: Moment = Moment::new(Duration::from_millis(400));

impl Simulation {
    /// Begins with `policy`: the primary takes writes, every replica is a standby.
    pub fn new(policy: &Case) -> Self {
        Self::restarted(policy, Memory::default())
    }

    /// Begins with what a status remembers.
    pub fn restarted(policy: &Case, memory: Memory) -> Self {
        let mut simulation = Self {
            world: World::new(jitter::none),
            policy: policy.clone(),
            now: BEGIN,
            tells_waiting: !memory.endpoints.is_empty(),
            scripts: BTreeMap::new(),
            servers: Servers::default(),
            wal: Log::default(),
            wall_clock: None,
            terminations: BTreeMap::new(),
            probes: BTreeMap::new(),
            log: Vec::new(),
            decisions: Vec::new(),
            transitions: Vec::new(),
            checks: 0,
            most_lag: 0,
        };
        simulation.edit(policy, memory);
        simulation
    }

    /// From `seconds` on, this server answers so; a server is named as the endpoint that leads to it, unless it is said otherwise.
    pub fn from(&mut self, seconds: f64, server: &str, answer: Answer) -> &mut Self {
        let script = self.scripts.entry(server.to_owned()).or_default();
        script.push((moment(seconds), answer));
        script.sort_by_key(|(moment, _)| *moment);
        self
    }

    /// At `seconds` an administrator ends our session on the server of `id`.
    pub fn terminate(&mut self, seconds: f64, id: &str) -> &mut Self {
        self.terminations
            .entry(id.into())
            .or_default()
            .insert(moment(seconds));
        self
    }

    /// Runs until `seconds`.
    pub fn run(&mut self, seconds: f64) -> &mut Self {
        let end = moment(seconds);
        loop {
            let event = self.next_event().filter(|(moment, ..)| *moment <= end);
            let wake = self.world.deadline().filter(|moment| *moment <= end);
            match (event, wake) {
                (Some((moment, id, act)), wake) if wake.is_none_or(|wake| moment <= wake) => {
                    assert!(moment >= self.now, "time runs forward");
                    self.now = moment;
                    match act {
                        Act::Check => self.check(&id),
                        Act::Session => self.session(&id),
                        Act::Named => self.named(&id),
                    }
                }
                (_, Some(wake)) => self.now = wake.max(self.now),
                _ => break,
            }
            self.decide();
        }
        self.now = end;
        self
    }

    /// The policy is edited now.
    pub fn edit(&mut self, policy: &Case, memory: Memory) {
        self.policy = policy.clone();
        let resolved = policy.resolved();
        for endpoint in &policy.endpoints {
            let host = resolved
                .location(&endpoint.id)
                .map(|location| location.host.to_string());
            if let Some(address) = host.and_then(|host| host.parse().ok()) {
                self.servers.is_at(endpoint.id.as_str(), address);
            }
        }
        self.step(policy.changed(memory));
        self.decide();
    }

    fn step(&mut self, event: Event) -> bool {
        let effects = self.world.advance(self.now, [event]);
        let any = !effects.is_empty();
        self.take(effects);
        any
    }

    fn next_event(&self) -> Option<(Moment, TargetId, Act)> {
        let events = |(id, probe): (&TargetId, &Probe)| {
            let check = match &probe.running {
                Some(observation) => Some(observation.ended),
                None => probe.check.at,
            };
            let session = probe.session.as_ref().map(|session| {
                let due = session.running.as_ref().map_or(session.next, |heard| heard.ended);
                self.closes(id, session).map_or(due, |closes| closes.min(due))
            });
            let check = check.map(|at| (at.max(self.now), 0, id.clone()));
            let session = session.map(|at| (at.max(self.now), 1, id.clone()));
            check.into_iter().chain(session).min()
        };
        let named = self.servers.next_move(self.now - LOOKUPS);
        let named = named.map(|(moment, id)| (moment + LOOKUPS, 2, id));
        let (moment, which, id) = self.probes.iter().filter_map(events).chain(named).min()?;
        let act = match which {
            0 => Act::Check,
            1 => Act::Session,
            _ => Act::Named,
        };
        Some((moment, id, act))
    }

    /// The name of a target leads elsewhere.
    fn named(&mut self, id: &TargetId) {
        let key = self.key(id);
        let Some(probe) = self.probes.get_mut(id) else {
            return;
        };
        probe.left = probe.check.prefer;
        let state = NameState {
            left: probe.left,
            rotates: false,
        };
        let incarnation = probe.incarnation;
        self.step(Event::Named(NameAnswer {
            key,
            incarnation,
            state,
        }));
    }

    /// The server that new connections of a target lead to: the one that it is known at, until its name let go of it.
    fn server(&self, id: &TargetId) -> String {
        let probe = self.probes.get(id);
        let known = probe.and_then(|probe| probe.check.prefer.filter(|prefer| Some(*prefer) != probe.left));
        known.map_or_else(
            || self.servers.of(id, self.now),
            |address| self.servers.at(address),
        )
    }

    /// The server that its session leads to.
    fn held(&self, id: &TargetId) -> String {
        let probe = self.probes.get(id);
        let session = probe.and_then(|probe| probe.session.as_ref());
        session.map_or_else(
            || self.server(id),
            |session| self.servers.at(session.hold.address),
        )
    }

    /// When an open session is closed from the other side, after now.
    fn closes(&self, id: &TargetId, session: &Session) -> Option<Moment> {
        let script = self
            .scripts
            .get(&self.held(id))
            .map(Vec::as_slice)
            .unwrap_or_default();
        let dies = script
            .iter()
            .find(|(moment, answer)| *moment >= self.now && closes_sessions(*answer))
            .map(|(moment, _)| *moment);
        let ended = self
            .terminations
            .get(&self.held(id))
            .and_then(|moments| moments.first());
        dies.into_iter()
            .chain(ended.copied())
            .min()
            .filter(|_| session.open)
    }

    fn check(&mut self, id: &TargetId) {
        let (key, now, server) = (self.key(id), self.now, self.server(id));
        let answer = self.answer(&server);
        let sample = |role| self.sample(&server, answer, role);
        let timeout = self
            .probes
            .get(id)
            .map_or(Duration::ZERO, |probe| probe.check.timeout);
        let address = self.servers.address(&server).or(id.pod);
        let started = check(answer, address, now, timeout, sample);
        let Some(probe) = self.probes.get_mut(id) else {
            return;
        };
        let Some(observation) = probe.running.take() else {
            probe.running = Some(started);
            self.checks += 1;
            return;
        };
        let incarnation = probe.incarnation;
        let elsewhere = probe.left.is_some() && probe.left == probe.check.prefer;
        let failure = observation.result.as_ref().err();
        let asleep = failure.is_some_and(|kind| kind.class() == FailureClass::RefusedAddress);
        self.step(Event::Observed(CheckAnswer {
            key,
            incarnation,
            elsewhere,
            observation,
        }));
        if asleep {
            self.probes.remove(id);
        }
    }

    /// The held session closes, answers, or asks.
    fn session(&mut self, id: &TargetId) {
        let (key, now, server) = (self.key(id), self.now, self.held(id));
        let answer = self.answer(&server);
        let usual = self.usual(&server);
        let due = self
            .probes
            .get(id)
            .and_then(|probe| self.closes(id, probe.session.as_ref()?));
        if let Some(moments) = self.terminations.get_mut(&server) {
            moments.retain(|moment| *moment > now);
        }
        let sample = self.heartbeat(&server, answer, usual);
        let Some(probe) = self.probes.get_mut(id) else {
            return;
        };
        let incarnation = probe.incarnation;
        let Some(session) = probe.session.as_mut() else {
            return;
        };
        let address = session.hold.address;
        let heard = |started, result| SessionAnswer {
            key: key.clone(),
            incarnation,
            address,
            started,
            ended: now,
            result,
        };
        if due.is_some_and(|due| due <= now) {
            (session.open, session.running, session.next) = (false, None, now + REOPEN);
            let told = heard(now, Err(Silence::Closed));
            self.step(Event::Heard(told));
            return;
        }
        if let Some(told) = session.running.take() {
            session.open = told.result.is_ok();
            session.next = told.started + session.hold.every;
            self.step(Event::Heard(told));
            return;
        }
        // What keeps new connections out leaves an old one alone.
        let opens = !matches!(answer, Answer::Fails(_) | Answer::FailsLate(..));
        match sample.filter(|_| session.open || opens) {
            // It cannot be opened.
            None => (session.open, session.next) = (false, now + REOPEN),
            Some((takes, sample)) => {
                session.open = true;
                let late = takes > session.hold.timeout;
                let mut told = heard(now, if late { Err(Silence::Missed) } else { Ok(sample) });
                told.ended = now + takes.min(session.hold.timeout);
                session.running = Some(told);
            }
        }
    }

    /// What the session tells, and after what time; `None`: there is none to be had.
    fn heartbeat(&self, server: &str, answer: Answer, usual: Role) -> Option<(Duration, Sample)> {
        let millis = Duration::from_millis;
        let (takes, role) = match answer {
            Answer::Standby => (millis(1), Role::Standby),
            Answer::Primary | Answer::Promoted(_) => (millis(1), Role::Primary),
            Answer::SlowStandby(late) => (millis(late), Role::Standby),
            Answer::Silent => (Duration::MAX, usual),
            answer if closes_sessions(answer) => return None,
            Answer::Fails(_) | Answer::FailsLate(..) => (millis(1), usual),
        };
        Some((takes, self.sample(server, answer, role)))
    }

    fn sample(&self, server: &str, answer: Answer, role: Role) -> Sample {
        let life = self.servers.life(server, self.now);
        let timeline = match (answer, life) {
            (Answer::Promoted(timeline), _) => timeline,
            (_, Some(life)) => life.timeline,
            _ => 1,
        };
        let written = match role {
            Role::Primary => self.wal.head(self.now),
            Role::Standby => self.wal.replayed(server, self.now),
        };
        let position = Lsn(written.0.saturating_sub(life.map_or(0, |life| life.lacks)));
        let load = |started| Load {
            sessions: 1,
            max_connections: 100,
            transactions: 0,
            started,
            ..Load::default()
        };
        // It jumps back and forth by days.
        let millis = i64::try_from(self.now.since_start().as_millis()).unwrap_or(0);
        let jumps = self
            .wall_clock
            .map(|seed| (i64::from(seed) * millis) % 100_000_000_000);
        Sample {
            lsn: Some(position),
            load: jumps.or(life.map(|life| life.started)).map(load),
            received: (role == Role::Standby).then_some(position),
            system_identifier: Some(life.map_or(7, |life| life.system)),
            // What a receiver receives is told to `pg_monitor` alone.
            timeline: (role == Role::Primary || life.is_some()).then_some(timeline),
            ..Sample::of(role)
        }
    }

    fn take(&mut self, effects: Effects) {
        use distributary_core::lag::Lag;
        for instruction in effects.prober {
            match instruction {
                Instruction::Want { wanted, .. } => self.want(wanted),
                Instruction::Next { key, check } => {
                    if let Some(probe) = self.probes.get_mut(&key.target) {
                        assert!(check.number > probe.check.number, "instructions are numbered");
                        probe.instruct(check, self.now);
                    }
                }
            }
        }
        for measured in effects.figures {
            if let Some(Lag::Behind { time, .. } | Lag::AtLeast { time, .. }) =
                measured.figures.and_then(|figures| figures.lag)
            {
                self.most_lag = self.most_lag.max(time.as_millis());
            }
        }
        for report in effects.writer {
            if let Announcement::Decided {
                decision,
                transitions,
                ..
            } = report
            {
                self.decided(decision, transitions);
            }
        }
    }

    fn decided(&mut self, decision: Arc<Decision>, transitions: Vec<Transition>) {
        let words = words(&decision.state);
        let told = self.tells_waiting || !matches!(decision.state, DecisionState::Waiting { .. });
        if told && self.log.last().is_none_or(|(_, last)| *last != words) {
            self.log.push((self.now, words));
        }
        let now = self.now;
        self.transitions
            .extend(transitions.into_iter().map(|change| (now, change)));
        self.decisions.push((now, decision));
    }

    fn want(&mut self, wanted: Vec<ProbeOrder>) {
        let ids: BTreeSet<_> = wanted.iter().map(|wanted| wanted.target.clone()).collect();
        self.probes.retain(|id, _| ids.contains(id));
        for wanted in wanted {
            let same = self
                .probes
                .get_mut(&wanted.target)
                .filter(|probe| probe.incarnation == wanted.incarnation);
            if let Some(probe) = same {
                probe.instruct(wanted.check, self.now);
                continue;
            }
            let mut probe = Probe {
                incarnation: wanted.incarnation,
                check: wanted.check,
                running: None,
                session: None,
                left: None,
            };
            probe.instruct(wanted.check, self.now);
            self.probes.insert(wanted.target, probe);
        }
    }

    fn decide(&mut self) {
        let effects = self.world.advance(self.now, []);
        self.take(effects);
    }

    fn usual(&self, server: &str) -> Role {
        let script = self.scripts.get(server).map(Vec::as_slice).unwrap_or_default();
        let known = |answer: &Answer| match answer {
            Answer::Primary | Answer::Promoted(_) => Some(Role::Primary),
            Answer::Standby | Answer::SlowStandby(_) => Some(Role::Standby),
            _ => None,
        };
        let before = script.iter().rev().filter(|(moment, _)| *moment <= self.now);
        let declared = if server == "primary" {
            Role::Primary
        } else {
            Role::Standby
        };
        let mut answers = before.map(|(_, answer)| answer);
        answers.find_map(known).unwrap_or(declared)
    }

    fn answer(&self, server: &str) -> Answer {
        let usual = if server == "primary" {
            Answer::Primary
        } else {
            Answer::Standby
        };
        let script = self.scripts.get(server).map(Vec::as_slice).unwrap_or_default();
        let begun = script.iter().rfind(|(moment, _)| *moment <= self.now);
        begun.map_or(usual, |(_, answer)| *answer)
    }

    fn key(&self, id: &TargetId) -> ProbeKey {
        ProbeKey {
            policy: self.policy.key.clone(),
            target: id.clone(),
        }
    }

    /// The routes of every decision that had some.
    pub fn plans(&self) -> impl Iterator<Item = (f64, &distributary_core::decision::RouteDecision)> {
        self.decisions.iter().filter_map(|(moment, decision)| {
            let decided = decision.state.decided()?;
            Some((moment.since_start().as_secs_f64(), decided))
        })
    }

    /// When `id` left the slice of `ro` after `seconds`.
    pub fn left(&self, id: &str, seconds: f64) -> Option<f64> {
        self.first(seconds, |ro| !in_slice(ro, id))
    }

    /// When `id` was in the slice of `ro` again after `seconds`.
    pub fn joined(&self, id: &str, seconds: f64) -> Option<f64> {
        self.first(seconds, |ro| in_slice(ro, id))
    }

    fn first(&self, seconds: f64, holds: impl Fn(&Route) -> bool) -> Option<f64> {
        let mut found = self
            .plans()
            .filter(|(at, decided)| *at >= seconds && holds(&decided.plan.ro));
        found.next().map(|(at, _)| at)
    }

    /// When the circuit of `id` opened after `seconds`.
    pub fn tripped(&self, id: &str, seconds: f64) -> Option<f64> {
        let word = format!("{id} CircuitOpen");
        let after = moment(seconds);
        let found = self
            .log
            .iter()
            .find(|(moment, text)| *moment >= after && text.contains(&word));
        found.map(|(moment, _)| moment.since_start().as_secs_f64())
    }

    /// The log as a table: seconds, routes, and who is not as it should be.
    pub fn table(&self) -> String {
        self.log.iter().fold(String::new(), |mut table, (moment, words)| {
            let seconds = moment.since_start().as_secs_f64();
            writeln!(table, "{seconds:9.3}  {words}").expect("a String takes it");
            table
        })
    }

    /// What the status would say now, for the next process.
    pub fn memory(&self) -> Memory {
        let decided = self
            .decisions
            .last()
            .and_then(|(_, decision)| decision.state.decided());
        let Some(decided) = decided else {
            return Memory::default();
        };
        let one = |view: &distributary_core::decision::EndpointView| {
            let classes = view.state.classes.iter();
            let memory = EndpointMemory {
                seen_as_standby: view.state.seen_as_standby,
                location: view.location.clone(),
                reason: Some(view.state.reason),
                classes: classes
                    .map(|(name, class)| (name.clone(), class.reason))
                    .collect(),
                // The clock of the next process begins anew.
                targets: vec![fixture::remembered(view.address, &view.state, self.now)],
            };
            (view.id.clone(), memory)
        };
        Memory {
            endpoints: decided.endpoints.iter().map(one).collect(),
            holding: decided.holding.clone(),
            answered: None,
        }
    }
}

impl Probe {
    /// Obeys an instruction, as the prober does.
    fn instruct(&mut self, check: NextCheck, now: Moment) {
        self.check = check;
        match (check.hold, &mut self.session) {
            (None, session) => *session = None,
            (Some(hold), Some(session)) if session.hold.address == hold.address => {
                session.next = session
                    .next
                    .min(now.max(session.next - session.hold.every) + hold.every);
                session.hold = hold;
            }
            (Some(hold), session) => {
                *session = Some(Session {
                    hold,
                    open: false,
                    next: now,
                    running: None,
                });
            }
        }
    }
}

fn moment(seconds: f64) -> Moment {
    Moment::new(Duration::from_secs_f64(seconds))
}

/// Whether a server that answers so has lost its sessions.
fn closes_sessions(answer: Answer) -> bool {
    match answer {
        Answer::Fails(kind) | Answer::FailsLate(kind, _) => {
            let class = kind.class();
            matches!(class, FailureClass::Dead { hard: true } | FailureClass::Transient)
                && kind != FailureKind::ConnectionReset
        }
        _ => false,
    }
}

fn check(
    answer: Answer,
    address: Option<IpAddr>,
    now: Moment,
    timeout: Duration,
    sample: impl Fn(Role) -> Sample,
) -> Observation {
    let good = |role| Ok(sample(role));
    let (millis, result) = match answer {
        Answer::Standby => (2, good(Role::Standby)),
        Answer::Primary | Answer::Promoted(_) => (2, good(Role::Primary)),
        Answer::SlowStandby(millis) => (millis, good(Role::Standby)),
        Answer::Fails(kind) => (1, Err(kind)),
        Answer::FailsLate(kind, millis) => (millis, Err(kind)),
        Answer::Silent => (u64::MAX, Err(FailureKind::TimedOut)),
    };
    let takes = Duration::from_millis(millis);
    let (takes, result) = if takes > timeout {
        (timeout, Err(FailureKind::TimedOut))
    } else {
        (takes, result)
    };
    Observation {
        started: now,
        ended: now + takes,
        address: address.filter(|_| result.is_ok()),
        result,
        sqlstate: None,
    }
}

fn in_slice(route: &Route, id: &str) -> bool {
    route
        .members
        .iter()
        .any(|member| member.target.endpoint.as_str() == id && member.in_slice)
}

/// `rw primary | ro a b:50 (c:10) | c Returning`: in brackets who is listed, but not in a slice.
fn words(state: &DecisionState) -> String {
    let (plan, endpoints) = match state {
        DecisionState::Decided(decided) => (&decided.plan, &decided.endpoints),
        DecisionState::Waiting { unchecked } => return format!("waiting for {unchecked}"),
        DecisionState::Suspended => return "suspended".to_owned(),
    };
    let route = |route: &Route| {
        let mut text = match route.state {
            RouteState::Served => String::new(),
            other => format!(" [{other:?}]"),
        };
        for member in &route.members {
            let weight = match member.weight {
                100 => String::new(),
                weight => format!(":{weight}"),
            };
            let (open, close) = if member.in_slice { ("", "") } else { ("(", ")") };
            text += &format!(" {open}{}{weight}{close}", member.target);
        }
        text
    };
    let others: Vec<_> = endpoints
        .iter()
        .filter(|view| view.state.reason != Reason::Serving)
        .map(|view| format!("{} {:?}", view.id, view.state.reason))
        .collect();
    let built_in = ["analytics", "primary-preferred", "write"];
    let classes = plan.classes.iter().map(|(name, table)| (name.to_string(), table));
    let classes = classes.filter(|(name, _)| !built_in.contains(&name.as_str()));
    let regions = plan
        .regions
        .iter()
        .map(|(name, table)| (format!("ro-{name}"), table));
    let more: String = classes
        .chain(regions)
        .map(|(name, table)| format!(" | {name}{}", route(table)))
        .collect();
    let text = format!(
        "rw{} | ro{}{more} | {}",
        route(&plan.rw),
        route(&plan.ro),
        others.join(", ")
    );
    text.trim_end_matches([' ', '|']).to_owned()
}
