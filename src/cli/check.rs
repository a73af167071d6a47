//! `distributary check`: probes the real servers once, by the code that the operator probes them with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::credentials::Credentials;
use super::documents::Documents;
use super::endpoints::{self, Row};
use super::output::{Output, Table};
use super::policy_file::{self, Source};
use super::{Error, ExitStatus, block_on, routes};
use crate::clock::Clock;
use crate::render::Subject;
use distributary_api::validate::{self, Declaration};
use distributary_core::Moment;
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::health::Reason;
use distributary_core::jitter::Jitter;
use distributary_core::lag::Lag;
use distributary_core::observation::{FailureClass, FailureKind};
use distributary_core::outputs::Outputs;
use distributary_core::policy::Policy;
use distributary_core::target::{Answer, NextCheck, ProbeKey};
use distributary_core::world::{Event, Instruction, Measurement, Memory, Report, World};
use distributary_probe::{AddressRules, Limits, Registry, Resolver};

/// A standby whose lag one look does not tell is looked at again for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Check the real servers of a policy once, and show the routes that would follow.
///
/// Needs no cluster and writes nothing; run it where the servers can be reached. The login comes from the Secrets in the
/// files. For a Secret that is not in the files it comes from variables such as DISTRIBUTARY_SECRET_ORDERS_PROBE_PASSWORD
/// (key password of the Secret orders-probe). Without those, the user is PGUSER (default: distributary), and the password
/// is PGPASSWORD or the one in PGPASSFILE (default: ~/.pgpass). CIRCUIT shows the circuit if the server stays as it is.
///
/// Exit codes: 0; 3 the policy is invalid; 4 a server is not well, or a route would be held or lead nowhere.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    output: Output,
}

pub fn main(arguments: &Arguments) -> Result<ExitStatus, Error> {
    let mut documents = arguments.source.documents()?;
    let credentials = Credentials::of_environment();
    let policies = policies(&mut documents, &credentials)?;
    let mut results = Vec::new();
    for policy in policies {
        results.push(block_on(look(policy))?);
    }
    let document = json!({"policies": results.iter().map(CheckResult::document).collect::<Vec<_>>()});
    let text = || {
        results
            .iter()
            .map(CheckResult::text)
            .collect::<Vec<_>>()
            .join("\n")
    };
    arguments.output.print(&document, text)?;
    Ok(if results.iter().all(CheckResult::is_well) {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

fn policies(documents: &mut Documents, credentials: &Credentials) -> Result<Vec<Declaration>, Error> {
    // Who asks for a check wants one, whatever the mode.
    documents.enforce();
    policy_file::policies(documents, |object| {
        let secrets = credentials.secrets(object, documents);
        let services = policy_file::services(object, &secrets, documents);
        let mut endpoints = validate::resolve(object, &secrets, &services)?;
        credentials.complete(&mut endpoints);
        Ok(endpoints)
    })
}

/// What the checks of a policy found.
struct CheckResult {
    policy: Arc<Policy>,
    outputs: Arc<Outputs>,
    decision: Option<Arc<Decision>>,
    figures: BTreeMap<String, Figures>,
}

#[derive(Clone, Debug, Default)]
struct Figures {
    latency: Duration,
    lag: Option<Lag>,
    failure: Option<FailureKind>,
}

/// The operator's prober and its world, until every server was checked.
struct CheckRun {
    clock: Clock,
    world: World,
    registry: Registry,
    looked: CheckResult,
    /// Who may be looked at again.
    next: BTreeMap<ProbeKey, NextCheck>,
}

async fn look(declared: Declaration) -> Result<CheckResult, Error> {
    let policy = declared.policy;
    let (clock, (answers, mut answered)) = (Clock::new(), mpsc::channel(64));
    let resolver = Resolver::from_system(clock, AddressRules::default());
    let mut looking = CheckRun {
        clock,
        world: World::new(Jitter::Spread),
        registry: Registry::new(clock, resolver, Limits::default(), answers),
        looked: CheckResult {
            policy: Arc::clone(&policy),
            outputs: declared.outputs,
            decision: None,
            figures: BTreeMap::new(),
        },
        next: BTreeMap::new(),
    };
    let changed = Event::PolicyChanged {
        policy: Arc::clone(&policy),
        resolved: declared.resolved,
        memory: Memory::default(),
    };
    let end = clock.now() + policy.probing.timeout + LOOK_AGAIN;
    looking.advance(Some(changed));
    while !looking.is_over() && clock.now() < end {
        let wake = looking.world.deadline().unwrap_or(Moment::NEVER).min(end);
        let event = tokio::select! {
            answer = answered.recv() => match answer {
                Some(answer) => looking.take(answer),
                None => break,
            },
            () = clock.sleep_until(wake) => None,
        };
        looking.advance(event);
    }
    // What is still gathered is decided now.
    if let Some(due) = looking.world.deadline() {
        clock.sleep_until(due.min(end)).await;
        looking.advance(None);
    }
    Ok(looking.looked)
}

impl CheckRun {
    fn take(&mut self, answer: Answer) -> Option<Event> {
        let Answer::Checked { observed, .. } = answer else {
            return None;
        };
        let observation = &observed.observation;
        let figures = self
            .looked
            .figures
            .entry(observed.key.target.to_string())
            .or_default();
        figures.latency = observation.ended.since(observation.started);
        figures.failure = observation.result.as_ref().err().copied();
        Some(Event::Observed(observed))
    }

    fn advance(&mut self, event: Option<Event>) {
        let effects = self.world.advance(self.clock.now(), event);
        for instruction in effects.prober {
            match instruction {
                Instruction::Want { policy, wanted } => self.registry.want(&policy, wanted),
                Instruction::Next { key, check } => {
                    self.next.insert(key, check);
                }
            }
        }
        for Measurement { key, figures } in effects.figures {
            let known = self.looked.figures.entry(key.target.to_string()).or_default();
            known.lag = figures.and_then(|figures| figures.lag);
        }
        for report in effects.writer {
            if let Report::Decided { decision, .. } = report {
                self.looked.decision = Some(decision);
            }
        }
        if self.is_over() {
            return;
        }
        // One look was not enough: who answered is looked at again, over a new connection.
        for (key, check) in std::mem::take(&mut self.next) {
            let figures = self.looked.figures.get(&key.target.to_string());
            if figures.is_some_and(|figures| figures.failure.is_none()) {
                self.registry.next(&key, NextCheck { hold: None, ..check });
            }
        }
    }

    /// Whether every server was checked, and what is not known will not be known soon.
    fn is_over(&self) -> bool {
        match self.looked.decision.as_ref().map(|decision| &decision.state) {
            None | Some(DecisionState::Waiting { .. }) => false,
            Some(DecisionState::Suspended | DecisionState::IdentityChanged { .. }) => true,
            Some(DecisionState::Decided(decided)) => {
                let unknown = |reason| reason == Reason::LagUnknown;
                let mut views = decided.endpoints.iter();
                !views.any(|view| {
                    unknown(view.state.reason) || view.targets.iter().any(|pod| unknown(pod.state.reason))
                }) || !decided
                    .endpoints
                    .iter()
                    .any(|view| view.state.role == Some(distributary_core::observation::Role::Primary))
            }
        }
    }
}

impl CheckResult {
    fn shown(&self) -> Vec<Row> {
        let mut shown = self
            .decision
            .as_ref()
            .map(|it| endpoints::of_decision(it))
            .unwrap_or_default();
        for it in &mut shown {
            let failure = self.figures.get(&it.id).and_then(|figures| figures.failure);
            it.server.failure = it
                .server
                .failure
                .take()
                .or(failure.map(|failure| failure.to_string()));
            if let Some(circuit) = self.circuit_to_be(failure) {
                it.server.circuit = circuit;
            }
        }
        shown
    }

    /// What the circuit of a server would be that goes on failing like this.
    fn circuit_to_be(&self, failure: Option<FailureKind>) -> Option<String> {
        let dead = matches!(failure?.class(), FailureClass::Dead { .. });
        dead.then(|| format!("Open in {:?}", self.policy.probing.failover_timeout))
    }

    fn is_well(&self) -> bool {
        let decided = self
            .decision
            .as_ref()
            .and_then(|decision| decision.state.decided());
        decided.is_some_and(|decided| routes::are_well(&self.policy, &decided.plan))
            && self.shown().iter().all(Row::is_plain)
    }

    fn document(&self) -> Value {
        let endpoint = |shown: &Row| {
            let mut document = shown.document();
            if let Some(figures) = self.figures.get(&shown.id) {
                document["latencyMilliseconds"] = json!(millis(figures.latency));
                document["lag"] = json!(figures.lag.map(lag));
            }
            document
        };
        let mut document = json!({
            "policy": {"namespace": self.policy.key.namespace, "name": self.policy.key.name},
            "endpoints": self.shown().iter().map(endpoint).collect::<Vec<_>>(),
        });
        let state = self.decision.as_ref().map(|decision| &decision.state);
        let subject = self.decision.as_deref();
        if let Some(subject) = subject.and_then(|decision| Subject::of(decision, &self.outputs)) {
            document["routes"] = routes::document(&subject);
        }
        if let Some(why) = state.and_then(routes::undecided) {
            document["undecided"] = why.into();
        }
        document
    }

    fn text(&self) -> String {
        let shown = self.shown();
        let mut table = Table::new(&[
            "ENDPOINT", "ADDRESS", "ROLE", "LAG", "LATENCY", "CIRCUIT", "REASON",
        ]);
        for it in &shown {
            let figures = self.figures.get(&it.id);
            table.row([
                it.id.clone(),
                it.address.clone(),
                it.server.role.clone(),
                figures
                    .and_then(|figures| figures.lag)
                    .map(lag)
                    .unwrap_or_default(),
                figures
                    .map(|figures| format!("{} ms", millis(figures.latency)))
                    .unwrap_or_default(),
                it.server.circuit.clone(),
                endpoints::reason(it),
            ]);
        }
        let mut text = format!("{}\n\n{}", self.policy.key, table.text());
        let state = self.decision.as_ref().map(|decision| &decision.state);
        if let Some(decided) = state.and_then(DecisionState::decided) {
            text.push_str(&format!("\n{}", routes::table(&self.policy, &decided.plan)));
        }
        if let Some(why) = state.and_then(routes::undecided) {
            text.push_str(&format!("\n{why}\n"));
        }
        let explanations = endpoints::explanations(&shown);
        if !explanations.is_empty() {
            text.push_str(&format!("\n{explanations}"));
        }
        text
    }
}

fn millis(time: Duration) -> String {
    let micros = time.as_micros();
    format!("{}.{}", micros / 1000, micros % 1000 / 100)
}

fn lag(lag: Lag) -> String {
    let seconds = |time: Duration| format!("{}.{:01}s", time.as_secs(), time.subsec_millis() / 100);
    match lag {
        Lag::Unknown => "unknown".to_owned(),
        Lag::Behind { time, .. } => seconds(time),
        Lag::AtLeast { time, .. } => format!("over {}", seconds(time)),
    }
}
