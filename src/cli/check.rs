//! `distributary check`: probes the real servers once, by the code that the operator probes them with.

mod unsettled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::credentials::Credentials;
use super::documents::{ClusterArguments, Documents};
use super::endpoints::{self, Row};
use super::output::{Output, Table};
use super::policy_file::{self, Source};
use super::terms::Terms;
use super::{Error, ExitStatus, block_on, routes, warn};
use crate::clock::{self, Clock};
use crate::k8s::services::service_problem;
use crate::render::{Subject, cause};
use distributary_api::notation;
use distributary_api::validate::{self, Declaration, LoginSources};
use distributary_core::Moment;
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::health::Reason;
use distributary_core::ids::EndpointId;
use distributary_core::jitter;
use distributary_core::lag::Lag;
use distributary_core::observation::{Failure, FailureClass, Load, Role};
use distributary_core::outputs::Outputs;
use distributary_core::policy::{LagSource, Policy};
use distributary_core::resolved::ResolvedEndpoint;
use distributary_core::target::{Answer, NextCheck, ProbeKey};
use distributary_core::world::{Announcement, Event, Instruction, Measurement, Memory, World};
use distributary_probe::{Limits, Registry, Resolver};

/// Where one check does not show the lag of a standby, or whether it has log that the primary lacks, all are checked again for so long.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// From the end of one check of a server to the next one.
const PAUSE: Duration = Duration::from_millis(500);

/// Check the real servers of a policy once, and show the routes that would follow.
///
/// Needs no cluster and writes nothing; run it where the servers can be reached. The login comes from the Secrets in the
/// files. For a Secret that is not in the files it comes from variables such as DISTRIBUTARY_SECRET_ORDERS_PROBE_PASSWORD
/// (key password of the Secret orders-probe). Without those, the user is PGUSER (default: distributary), and the password
/// is PGPASSWORD or the one in PGPASSFILE (default: ~/.pgpass). CIRCUIT shows when a circuit opens if
/// the checks go on failing.
///
/// Exit codes: 0; 3 the policy is invalid; 4 a server is not well, something is wrong with a Secret, or a route would be held or lead
/// nowhere.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    cluster: ClusterArguments,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    output: Output,
}

pub fn main(arguments: &Arguments) -> Result<ExitStatus, Error> {
    // A check is wanted, whatever the mode.
    let mut documents = arguments.source.documents()?.enforced();
    arguments.cluster.are_of(&mut documents);
    let credentials = Credentials::of_environment();
    let policies = policies(&documents, &credentials)?;
    let mut results = Vec::new();
    for (policy, unresolved) in policies {
        results.push(block_on(check(policy, unresolved, arguments))?);
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

/// Each policy, and what is wrong with its Secrets and Services.
fn policies(
    documents: &Documents,
    credentials: &Credentials,
) -> Result<Vec<(Declaration, Vec<String>)>, Error> {
    let certificates = clock::certificates();
    let mut unresolved = Vec::new();
    let policies = policy_file::policies(documents, |object| {
        let logins = credentials.logins(object, documents);
        let services = policy_file::services(object, &logins.secrets, documents);
        let sources = LoginSources {
            passwords: Some(&logins),
            certificates: Some(&certificates),
        };
        let resolved =
            validate::resolve_with(documents.declared(object), &logins.secrets, &services, sources);
        let problems: BTreeSet<_> = resolved.values().flat_map(ResolvedEndpoint::problems).collect();
        let told = problems.into_iter().map(|problem| logins.told(problem, object));
        let wrong: BTreeSet<_> = resolved.values().filter_map(service_problem).collect();
        let services = wrong
            .into_iter()
            .map(|wrong| format!("{wrong}. check reads Services and EndpointSlices from the files alone."));
        unresolved.push(told.chain(services).collect());
        resolved
    })?;
    Ok(policies.into_iter().zip(unresolved).collect())
}

/// What the checks of a policy found.
struct CheckResult {
    policy: Arc<Policy>,
    outputs: Arc<Outputs>,
    decision: Option<Arc<Decision>>,
    servers: Vec<CheckedServer>,
    /// What is wrong with its Secrets and Services.
    unresolved: Vec<String>,
    /// Why the writes, or all routes, lead nowhere, where no server alone is the cause.
    unsettled: Option<String>,
}

/// A server as it is shown.
struct CheckedServer {
    row: Row,
    figures: Option<Figures>,
    /// The time after which its circuit opens if it goes on failing like this; `None`: its failure opens none.
    opens_in: Option<Duration>,
}

/// What the checks of a server measured.
#[derive(Clone, Debug, Default)]
struct Figures {
    latency: Duration,
    lag: Option<Lag>,
    failure: Option<Failure>,
    /// By its newest answer.
    role: Option<Role>,
    /// When its first good answer had come.
    answered: Option<Moment>,
    /// When it was asked last.
    asked: Moment,
    /// How many connections it takes.
    load: Option<Load>,
}

/// The operator's prober and its world, until every server was checked.
struct CheckRun {
    clock: Clock,
    world: World,
    registry: Registry,
    decision: Option<Arc<Decision>>,
    /// By the id of the server.
    figures: BTreeMap<String, Figures>,
    /// The servers that may be checked again.
    next: BTreeMap<ProbeKey, NextCheck>,
}

async fn check(
    declared: Declaration,
    unresolved: Vec<String>,
    arguments: &Arguments,
) -> Result<CheckResult, Error> {
    let (clock, (answers, mut answered)) = (Clock::new(), mpsc::channel(64));
    let rules = arguments.terms.addresses();
    let resolver = Resolver::from_system(clock, rules, arguments.cluster.zone());
    let limits = arguments.terms.limits(Limits::default());
    let mut run = CheckRun {
        clock,
        world: World::new(jitter::spread),
        registry: Registry::new(clock, resolver, limits, answers),
        decision: None,
        figures: BTreeMap::new(),
        next: BTreeMap::new(),
    };
    let Declaration {
        policy,
        resolved,
        outputs,
    } = declared;
    let changed = Event::PolicyChanged {
        policy: Arc::clone(&policy),
        resolved,
        memory: Memory::default(),
    };
    let end = clock.now() + policy.probing.timeout + LOOK_AGAIN;
    run.advance(Some(changed));
    while !run.is_over() && clock.now() < end {
        let wake = run.world.deadline().map_or(end, |due| due.min(end));
        let event = tokio::select! {
            answer = answered.recv() => match answer {
                Some(answer) => run.take(answer),
                None => break,
            },
            () = clock.sleep_until(wake) => None,
        };
        run.advance(event);
    }
    // What is still gathered is decided now.
    if let Some(due) = run.world.deadline() {
        clock.sleep_until(due.min(end)).await;
        run.advance(None);
    }
    for server in run
        .figures
        .iter()
        .filter_map(|(id, figures)| pool(&policy, id, figures))
    {
        warn(&server);
    }
    Ok(CheckResult {
        unsettled: run
            .decision
            .as_ref()
            .and_then(|decision| unsettled::of(decision, &run.figures)),
        servers: servers(&policy, run.decision.as_deref(), &run.figures),
        decision: run.decision,
        policy,
        outputs,
        unresolved,
    })
}

/// That clients may want more connections of a server than it takes.
fn pool(policy: &Policy, id: &str, figures: &Figures) -> Option<String> {
    let endpoint = policy.endpoint(&EndpointId::from(id.split('@').next()?))?;
    let (wanted, most) = (endpoint.max_connections, figures.load?.usable_connections());
    (wanted > most).then(|| {
        format!(
            "{}: {id}: maxConnections is {wanted}, but the server has {most} connections for ordinary roles \
             (max_connections less those that are reserved)",
            policy.key
        )
    })
}

fn servers(
    policy: &Policy,
    decision: Option<&Decision>,
    figures: &BTreeMap<String, Figures>,
) -> Vec<CheckedServer> {
    let failure = |id: &str| figures.get(id).and_then(|figures| figures.failure);
    let rows = decision.map(|decision| endpoints::of_decision(decision, failure));
    let primary_told = figures
        .values()
        .any(|figures| figures.role == Some(Role::Primary));
    let measures = |row: &Row| {
        let id = row.id.split('@').next().unwrap_or_default();
        let endpoint = policy.endpoint(&EndpointId::from(id));
        primary_told || endpoint.is_some_and(|endpoint| endpoint.lag.source != LagSource::Wal)
    };
    let server = |row: Row| CheckedServer {
        figures: figures.get(&row.id).cloned().map(|figures| Figures {
            // Positions of standbys alone tell nothing of the log that none of them has.
            lag: figures.lag.filter(|_| measures(&row)),
            ..figures
        }),
        opens_in: failure(&row.id)
            .filter(|failure| matches!(failure.kind.class(), FailureClass::Dead { .. }))
            .map(|_| policy.probing.failover_timeout),
        row,
    };
    rows.unwrap_or_default().into_iter().map(server).collect()
}

impl CheckRun {
    fn take(&mut self, answer: Answer) -> Option<Event> {
        let observed = match answer {
            Answer::Checked { observed, .. } => observed,
            Answer::Named(named) => return Some(Event::Named(named)),
            Answer::Heard(_) => return None,
        };
        let observation = &observed.observation;
        let id = observed.key.target.to_string();
        let figures = self.figures.entry(id).or_default();
        figures.latency = observation.ended.since(observation.started);
        figures.failure = observation.result.as_ref().err().map(|kind| Failure {
            kind: *kind,
            sqlstate: observation.sqlstate,
        });
        figures.role = observation.result.as_ref().ok().map(|sample| sample.role);
        figures.asked = observation.started;
        if figures.role.is_some() {
            figures.answered.get_or_insert(observation.ended);
        }
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
        for Measurement {
            key, figures, silent, ..
        } in effects.figures
        {
            let known = self.figures.entry(key.target.to_string()).or_default();
            if figures.is_some() || silent {
                known.lag = figures.and_then(|figures| figures.lag);
            }
            known.load = figures.and_then(|figures| figures.load).or(known.load);
        }
        for report in effects.writer {
            if let Announcement::Decided { decision, .. } = report {
                self.decision = Some(decision);
            }
        }
        if self.is_over() {
            return;
        }
        // One check was not enough: a server that answered is checked again, over a new connection, and sooner than
        // by the policy, whose next check comes after this command has ended.
        let soon = Some(self.clock.now() + PAUSE);
        for (key, check) in std::mem::take(&mut self.next) {
            let figures = self.figures.get(&key.target.to_string());
            if figures.is_some_and(|figures| figures.failure.is_none()) {
                let check = NextCheck {
                    at: check.at.min(soon),
                    hold: None,
                    ..check
                };
                self.registry.next(&key, check);
            }
        }
    }

    /// Whether a server that takes writes was asked after all standbys had answered: only that shows log that it lacks.
    fn is_compared(&self) -> bool {
        let of = |role| {
            self.figures
                .values()
                .filter(move |figures| figures.role == Some(role))
        };
        let asked = of(Role::Primary).map(|figures| figures.asked).max();
        let answered = of(Role::Standby).filter_map(|figures| figures.answered).max();
        asked.is_none_or(|asked| answered.is_none_or(|answered| asked > answered))
    }

    /// Whether every server was checked, and what is not known will not be known soon.
    fn is_over(&self) -> bool {
        match self.decision.as_ref().map(|decision| &decision.state) {
            None | Some(DecisionState::Waiting { .. }) => false,
            Some(DecisionState::Suspended) => true,
            Some(DecisionState::Decided(decided)) => {
                let unknown = |reason| reason == Reason::LagUnknown;
                let mut views = decided.endpoints.iter();
                let any_unknown = views.any(|view| {
                    unknown(view.state.reason) || view.targets.iter().any(|pod| unknown(pod.state.reason))
                });
                let mut views = decided.endpoints.iter();
                let writable = views.any(|view| view.state.role == Some(Role::Primary));
                let comes = unsettled::first_holder_may_come(decided, &self.figures);
                (!any_unknown || !writable) && self.is_compared() && !comes
            }
        }
    }
}

impl CheckedServer {
    fn document(&self) -> Value {
        let mut document = self.row.document();
        if let Some(figures) = &self.figures {
            document["latencyMilliseconds"] = json!(millis(figures.latency));
            document["lag"] = json!(figures.lag.map(lag));
        }
        if let Some(time) = self.opens_in {
            document["circuitOpensIn"] = json!(notation(time));
        }
        document
    }

    fn cells(&self) -> [String; 7] {
        let (row, figures) = (&self.row, self.figures.as_ref());
        let latency = figures.map(|figures| format!("{} ms", millis(figures.latency)));
        let circuit = self.opens_in.map(|time| format!("Open in {}", notation(time)));
        [
            row.id.clone(),
            row.address.clone().unwrap_or_default(),
            row.server.role.clone(),
            figures
                .and_then(|figures| figures.lag)
                .map(lag)
                .unwrap_or_default(),
            latency.unwrap_or_default(),
            circuit.unwrap_or_else(|| row.server.circuit.clone()),
            cause::of(&row.server),
        ]
    }
}

impl CheckResult {
    fn is_well(&self) -> bool {
        let decided = self
            .decision
            .as_ref()
            .and_then(|decision| decision.state.decided());
        self.unresolved.is_empty()
            && decided.is_some_and(|decided| routes::are_well(&self.policy, &decided.plan))
            && self.rows().all(Row::is_plain)
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.servers.iter().map(|server| &server.row)
    }

    fn document(&self) -> Value {
        let mut document = json!({
            "policy": {"namespace": self.policy.key.namespace, "name": self.policy.key.name},
            "endpoints": self.servers.iter().map(CheckedServer::document).collect::<Vec<_>>(),
            "unresolved": self.unresolved,
        });
        let state = self.decision.as_ref().map(|decision| &decision.state);
        let subject = self.decision.as_deref();
        if let Some(subject) = subject.and_then(|decision| Subject::of(decision, &self.outputs)) {
            document["routes"] = routes::document(&subject);
        }
        if let Some(why) = state.and_then(routes::undecided) {
            document["undecided"] = why.into();
        }
        if let Some(why) = &self.unsettled {
            document["unsettled"] = why.as_str().into();
        }
        document
    }

    fn text(&self) -> String {
        let mut table = Table::new(&[
            "ENDPOINT", "ADDRESS", "ROLE", "LAG", "LATENCY", "CIRCUIT", "REASON",
        ]);
        for server in &self.servers {
            table.row(server.cells());
        }
        let mut text = format!("{}\n\n{}", self.policy.key, table.text());
        if !self.unresolved.is_empty() {
            text.push_str(&format!("\n{}\n", self.unresolved.join("\n")));
        }
        let state = self.decision.as_ref().map(|decision| &decision.state);
        if let Some(decided) = state.and_then(DecisionState::decided) {
            text.push_str(&format!("\n{}", routes::table(&self.policy, &decided.plan)));
        }
        if let Some(why) = state.and_then(routes::undecided) {
            text.push_str(&format!("\n{why}\n"));
        }
        if let Some(why) = &self.unsettled {
            text.push_str(&format!("\n{why}\n"));
        }
        let explanations = endpoints::explanations(self.rows());
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
