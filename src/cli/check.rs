//! `distributary check`: probes the real servers once, by the code that the operator probes them with.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::credentials::Credentials;
use super::documents::Documents;
use super::endpoints::{self, Shown};
use super::output::{Output, Table};
use super::policy_file::{self, Source};
use super::{Ended, Error, block_on, routes};
use crate::clock::Clock;
use crate::probe::{AddressRules, Limits, Registry, Resolver};
use distributary_core::Moment;
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::health::Reason;
use distributary_core::jitter::Jitter;
use distributary_core::lag::Lag;
use distributary_core::observation::{FailureClass, FailureKind};
use distributary_core::policy::{Mode, Policy};
use distributary_core::target::{Answer, NextCheck, ProbeKey};
use distributary_core::world::{Effect, Event, Remembered, World};

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

pub fn main(arguments: &Arguments) -> Result<Ended, Error> {
    let documents = arguments.source.documents()?;
    let credentials = Credentials::of_environment();
    let policies = policies(&documents, &credentials)?;
    let mut results = Vec::new();
    for policy in policies {
        results.push(block_on(look(policy))?);
    }
    let document = json!({"policies": results.iter().map(Looked::document).collect::<Vec<_>>()});
    let text = || results.iter().map(Looked::text).collect::<Vec<_>>().join("\n");
    arguments.output.print(&document, text)?;
    Ok(if results.iter().all(Looked::is_well) {
        Ended::Well
    } else {
        Ended::Unwell
    })
}

fn policies(documents: &Documents, credentials: &Credentials) -> Result<Vec<Arc<Policy>>, Error> {
    let found = policy_file::policies(documents, |object| {
        let secrets = credentials.secrets(object, documents);
        let services = policy_file::services(object, &secrets, documents);
        (secrets, services)
    })?;
    // Who asks for a check wants one, whatever the mode.
    let checked = |policy: &Arc<Policy>| {
        Arc::new(Policy {
            mode: Mode::Enforce,
            ..credentials.complete(policy)
        })
    };
    Ok(found.iter().map(checked).collect())
}

/// What the checks of a policy found.
struct Looked {
    policy: Arc<Policy>,
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
struct Looking {
    clock: Clock,
    world: World,
    registry: Registry,
    looked: Looked,
    /// Who may be looked at again.
    next: BTreeMap<ProbeKey, NextCheck>,
}

async fn look(policy: Arc<Policy>) -> Result<Looked, Error> {
    let (clock, (answers, mut answered)) = (Clock::new(), mpsc::channel(64));
    let resolver = Resolver::from_system(clock, AddressRules::default());
    let mut looking = Looking {
        clock,
        world: World::new(Jitter::Spread),
        registry: Registry::new(clock, resolver, Limits::default(), answers),
        looked: Looked {
            policy: Arc::clone(&policy),
            decision: None,
            figures: BTreeMap::new(),
        },
        next: BTreeMap::new(),
    };
    let changed = Event::PolicyChanged {
        policy: Arc::clone(&policy),
        remembered: Remembered::default(),
    };
    let end = clock.now() + policy.probing.timeout + LOOK_AGAIN;
    looking.step(changed);
    looking.decide();
    while !looking.is_over() && clock.now() < end {
        let wake = looking.world.deadline().unwrap_or(Moment::NEVER).min(end);
        tokio::select! {
            answer = answered.recv() => match answer {
                Some(answer) => looking.take(answer),
                None => break,
            },
            () = clock.sleep_until(wake) => {}
        }
        looking.decide();
    }
    // What is still gathered is decided now.
    if let Some(due) = looking.world.deadline() {
        clock.sleep_until(due.min(end)).await;
        looking.decide();
    }
    Ok(looking.looked)
}

impl Looking {
    fn take(&mut self, answer: Answer) {
        let Answer::Checked { observed, .. } = answer else {
            return;
        };
        let observation = &observed.observation;
        let figures = self
            .looked
            .figures
            .entry(observed.key.target.to_string())
            .or_default();
        figures.latency = observation.ended.since(observation.started);
        figures.failure = observation.result.as_ref().err().copied();
        self.step(Event::Observed(observed));
    }

    fn step(&mut self, event: Event) {
        for effect in self.world.step(event, self.clock.now()) {
            match effect {
                Effect::Want { policy, wanted } => self.registry.want(&policy, wanted),
                Effect::Next { key, check } => {
                    self.next.insert(key, check);
                }
                Effect::Measured { key, figures } => {
                    let known = self.looked.figures.entry(key.target.to_string()).or_default();
                    known.lag = figures.and_then(|figures| figures.lag);
                }
                Effect::Decided { .. } | Effect::Forget { .. } => {}
            }
        }
    }

    fn decide(&mut self) {
        for effect in self.world.decide(self.clock.now()) {
            if let Effect::Decided { decision, .. } = effect {
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
                !views.any(|view| unknown(view.reason) || view.targets.iter().any(|pod| unknown(pod.reason)))
                    || !decided
                        .endpoints
                        .iter()
                        .any(|view| view.role == Some(distributary_core::observation::Role::Primary))
            }
        }
    }
}

impl Looked {
    fn shown(&self) -> Vec<Shown> {
        let mut shown = self
            .decision
            .as_ref()
            .map(|it| endpoints::of_decision(it))
            .unwrap_or_default();
        for it in &mut shown {
            let failure = self.figures.get(&it.id).and_then(|figures| figures.failure);
            it.failure = it.failure.take().or(failure.map(|failure| failure.to_string()));
            if let Some(circuit) = self.circuit_to_be(failure) {
                it.circuit = circuit;
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
            && self.shown().iter().all(Shown::is_plain)
    }

    fn document(&self) -> Value {
        let endpoint = |shown: &Shown| {
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
        if let Some(decided) = state.and_then(DecisionState::decided) {
            document["routes"] = routes::document(&self.policy, &decided.plan);
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
                it.role.clone(),
                figures
                    .and_then(|figures| figures.lag)
                    .map(lag)
                    .unwrap_or_default(),
                figures
                    .map(|figures| format!("{} ms", millis(figures.latency)))
                    .unwrap_or_default(),
                it.circuit.clone(),
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
