//! A prober whose servers follow a script: hours pass in milliseconds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary::domain::Moment;
use distributary::domain::decision::{Decision, DecisionState};
use distributary::domain::health::Reason;
use distributary::domain::observation::{FailureKind, Observation, Role, Sample};
use distributary::domain::plan::Route;
use distributary::domain::policy::{EndpointId, Policy};
use distributary::domain::target::{Incarnation, NextCheck, Observed, ProbeKey, Wanted};
use distributary::domain::world::{Effect, Event, Remembered, RememberedEndpoint, World};

/// What a server does with a check that begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    /// A standby, after 2 ms.
    Standby,
    /// It takes writes, after 2 ms.
    Primary,
    /// The same, this many milliseconds late.
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

/// One target as the prober sees it.
struct Probed {
    incarnation: Incarnation,
    check: NextCheck,
    /// When the check under way began and ends, and its result.
    running: Option<Observation>,
}

pub struct Simulation {
    world: World,
    policy: Arc<Policy>,
    now: Moment,
    /// Whether the log tells of waiting, which every new policy begins with.
    tells_waiting: bool,
    /// What each server does from a moment on; the last entry that has begun counts.
    scripts: BTreeMap<EndpointId, Vec<(Moment, Answer)>>,
    probed: BTreeMap<EndpointId, Probed>,
    pub log: Vec<(Moment, String)>,
    pub decisions: Vec<(Moment, Arc<Decision>)>,
    pub checks: usize,
}

impl Simulation {
    /// Begins with `policy`: the primary takes writes, every replica is a standby.
    pub fn new(policy: &Arc<Policy>) -> Self {
        Self::restarted(policy, Remembered::new())
    }

    /// Begins with what a status remembers.
    pub fn restarted(policy: &Arc<Policy>, remembered: Remembered) -> Self {
        let mut simulation = Self {
            world: World::default(),
            policy: Arc::clone(policy),
            now: Moment::default(),
            tells_waiting: !remembered.is_empty(),
            scripts: BTreeMap::new(),
            probed: BTreeMap::new(),
            log: Vec::new(),
            decisions: Vec::new(),
            checks: 0,
        };
        simulation.edit(policy, remembered);
        simulation
    }

    /// From `seconds` on, the server of `id` answers so.
    pub fn from(&mut self, seconds: f64, id: &str, answer: Answer) -> &mut Self {
        let moment = Moment::new(Duration::from_secs_f64(seconds));
        let script = self.scripts.entry(id.into()).or_default();
        script.push((moment, answer));
        script.sort_by_key(|(moment, _)| *moment);
        self
    }

    /// Runs until `seconds`.
    pub fn run(&mut self, seconds: f64) -> &mut Self {
        let end = Moment::new(Duration::from_secs_f64(seconds));
        while let Some((moment, id)) = self.next_event().filter(|(moment, _)| *moment <= end) {
            assert!(moment >= self.now, "time runs forward");
            self.now = moment;
            self.act(&id);
        }
        self.now = end;
        self
    }

    /// The policy is edited now.
    pub fn edit(&mut self, policy: &Arc<Policy>, remembered: Remembered) {
        self.policy = Arc::clone(policy);
        let event = Event::PolicyChanged {
            policy: Arc::clone(policy),
            remembered,
        };
        let effects = self.world.step(event, self.now);
        self.take(effects);
        self.decide();
    }

    fn next_event(&self) -> Option<(Moment, EndpointId)> {
        let event = |(id, probed): (&EndpointId, &Probed)| {
            let moment = probed
                .running
                .as_ref()
                .map_or(probed.check.at, |observation| observation.ended);
            (moment.max(self.now), id.clone())
        };
        self.probed.iter().map(event).min()
    }

    fn act(&mut self, id: &EndpointId) {
        let (key, now) = (self.key(id), self.now);
        let answer = self.answer(id);
        let address = self.address(id);
        let Some(probed) = self.probed.get_mut(id) else {
            return;
        };
        let Some(observation) = probed.running.take() else {
            probed.running = Some(check(answer, address, now, probed.check.timeout));
            self.checks += 1;
            return;
        };
        let incarnation = probed.incarnation;
        let event = Event::Observed(Observed {
            key,
            incarnation,
            observation,
        });
        let effects = self.world.step(event, now);
        if effects.is_empty() {
            self.probed.remove(id);
        }
        self.take(effects);
        self.decide();
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Want { wanted, .. } => self.want(wanted),
                Effect::Next { key, check } => {
                    if let Some(probed) = self.probed.get_mut(&key.endpoint) {
                        assert!(check.number > probed.check.number, "instructions are numbered");
                        probed.check = check;
                    }
                }
                Effect::Decided { .. } | Effect::Forget { .. } => {}
            }
        }
    }

    fn want(&mut self, wanted: Vec<Wanted>) {
        let ids: BTreeSet<_> = wanted.iter().map(|wanted| wanted.endpoint.clone()).collect();
        self.probed.retain(|id, _| ids.contains(id));
        for wanted in wanted {
            let same = self
                .probed
                .get_mut(&wanted.endpoint)
                .filter(|probed| probed.incarnation == wanted.incarnation);
            if let Some(probed) = same {
                probed.check = wanted.check;
                continue;
            }
            let probed = Probed {
                incarnation: wanted.incarnation,
                check: wanted.check,
                running: None,
            };
            self.probed.insert(wanted.endpoint, probed);
        }
    }

    fn decide(&mut self) {
        for effect in self.world.decide() {
            if let Effect::Decided { decision, .. } = effect {
                let words = words(&decision.state);
                let told = self.tells_waiting || !matches!(decision.state, DecisionState::Waiting { .. });
                if told && self.log.last().is_none_or(|(_, last)| *last != words) {
                    self.log.push((self.now, words));
                }
                self.decisions.push((self.now, decision));
            }
        }
    }

    fn answer(&self, id: &EndpointId) -> Answer {
        let usual = if id.as_str() == "primary" {
            Answer::Primary
        } else {
            Answer::Standby
        };
        let script = self.scripts.get(id).map(Vec::as_slice).unwrap_or_default();
        let begun = script.iter().rfind(|(moment, _)| *moment <= self.now);
        begun.map_or(usual, |(_, answer)| *answer)
    }

    fn address(&self, id: &EndpointId) -> Option<IpAddr> {
        let location = self.policy.endpoint(id)?.location.as_ref()?;
        location.host.to_string().parse().ok()
    }

    fn key(&self, id: &EndpointId) -> ProbeKey {
        ProbeKey {
            policy: self.policy.key.clone(),
            endpoint: id.clone(),
        }
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
        let after = Moment::new(Duration::from_secs_f64(seconds));
        let decided = self.decisions.iter().filter(|(moment, _)| *moment >= after);
        let mut found = decided.filter(|(_, decision)| match &decision.state {
            DecisionState::Decided { plan, .. } => holds(&plan.ro),
            _ => false,
        });
        found.next().map(|(moment, _)| moment.since_start().as_secs_f64())
    }

    /// When the circuit of `id` opened after `seconds`.
    pub fn tripped(&self, id: &str, seconds: f64) -> Option<f64> {
        let word = format!("{id} CircuitOpen");
        let after = Moment::new(Duration::from_secs_f64(seconds));
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
    pub fn remembered(&self) -> Remembered {
        let Some((_, decision)) = self.decisions.last() else {
            return Remembered::new();
        };
        let DecisionState::Decided { endpoints, .. } = &decision.state else {
            return Remembered::new();
        };
        let one = |view: &distributary::domain::decision::EndpointView| {
            let known = RememberedEndpoint {
                host: view.location.as_ref().map(|location| location.host.to_string()),
                port: view.location.as_ref().map(|location| location.port),
                address: view.address,
                role: view.role,
                eligible: view.eligible,
                reason: format!("{:?}", view.reason),
            };
            (view.id.clone(), known)
        };
        endpoints.iter().map(one).collect()
    }
}

fn check(answer: Answer, address: Option<IpAddr>, now: Moment, timeout: Duration) -> Observation {
    let good = |role| {
        Ok(Sample {
            role,
            lsn: None,
            system_identifier: Some(7),
            timeline: Some(1),
        })
    };
    let (millis, result) = match answer {
        Answer::Standby => (2, good(Role::Standby)),
        Answer::Primary => (2, good(Role::Primary)),
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
    }
}

fn in_slice(route: &Route, id: &str) -> bool {
    route
        .members
        .iter()
        .any(|member| member.endpoint.as_str() == id && member.in_slice)
}

/// `rw primary | ro a b:50 (c:10) | c Returning`: in brackets who is listed, but not in a slice.
fn words(state: &DecisionState) -> String {
    let (plan, endpoints) = match state {
        DecisionState::Decided { plan, endpoints } => (plan, endpoints),
        DecisionState::Waiting { unchecked } => return format!("waiting for {unchecked}"),
        DecisionState::Suspended => return "suspended".to_owned(),
    };
    let route = |route: &Route| {
        let mut text = match route.state {
            distributary::domain::plan::RouteState::Served => String::new(),
            other => format!(" [{other:?}]"),
        };
        for member in &route.members {
            let weight = match member.weight {
                100 => String::new(),
                weight => format!(":{weight}"),
            };
            let (open, close) = if member.in_slice { ("", "") } else { ("(", ")") };
            text += &format!(" {open}{}{weight}{close}", member.endpoint);
        }
        text
    };
    let others: Vec<_> = endpoints
        .iter()
        .filter(|view| view.reason != Reason::Serving)
        .map(|view| format!("{} {:?}", view.id, view.reason))
        .collect();
    let text = format!(
        "rw{} | ro{} | {}",
        route(&plan.rw),
        route(&plan.ro),
        others.join(", ")
    );
    text.trim_end_matches([' ', '|']).to_owned()
}
