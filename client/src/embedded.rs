//! Routes without an operator: the servers are checked, and the routes decided, in the process.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use distributary_api::validate::{self, ClusterNames, Declaration, PolicySource, SecretKeys, Services};
use distributary_api::{Failover, ReplicaSetPolicySpec};
use distributary_core::cluster::Cluster;
use distributary_core::decision::Decision;
use distributary_core::jitter;
use distributary_core::login::SecretProblem;
use distributary_core::outputs::Outputs;
use distributary_core::policy::{Mode, PrimaryRole};
use distributary_core::resolved::ResolvedEndpoint;
use distributary_core::table::{RoutingTable, Subject};
use distributary_core::target::Answer;
use distributary_core::world::{Announcement, Effects, Event, Instruction, Memory, World};
use distributary_probe::{AddressRules, Clock, Limits, Registry, Resolver};

use crate::error::SettingsError;
use crate::shared::{Counts, Shared};
use crate::snapshot::{PoolSettings, Snapshot, Told};

/// Answers of checks that wait to be taken in.
const ANSWERS: usize = 64;
/// From one look for connections that were idle for too long to the next.
const EXPIRY: Duration = Duration::from_secs(30);
/// Names the policy in errors and logs.
const NAMESPACE: &str = "embedded";

/// The keys and values of Secrets, by their names.
pub type Secrets = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// A policy as the program gives it.
#[derive(Clone)]
pub struct Declared {
    pub name: String,
    pub spec: ReplicaSetPolicySpec,
}

/// Where a program changes its policy.
#[derive(Clone)]
pub struct Embedded {
    declared: Arc<watch::Sender<Arc<Declared>>>,
    secrets: Arc<validate::Secrets>,
}

impl Embedded {
    /// Changes the policy, where the result is valid.
    pub fn change(&self, change: impl FnOnce(&mut ReplicaSetPolicySpec)) -> Result<(), SettingsError> {
        let mut result = Ok(());
        self.declared.send_if_modified(|declared| {
            let mut next = Declared::clone(declared);
            change(&mut next.spec);
            match declaration(&next, &self.secrets, (0, 0)) {
                Ok(_) => {
                    *declared = Arc::new(next);
                    true
                }
                Err(error) => {
                    result = Err(error);
                    false
                }
            }
        });
        result
    }
}

/// What requests share, where a program changes the policy, and the task that decides.
pub type Started = (Arc<Shared>, Embedded, AbortOnDropHandle<()>);

/// Checks the servers, and decides.
pub async fn decide(
    declared: Declared,
    secrets: Secrets,
    settings: PoolSettings,
    (deadline, patience): (Duration, Duration),
) -> Result<Started, SettingsError> {
    let secrets = Arc::new(known(secrets));
    let declared = pinned(declared);
    let declaration = declaration(&declared, &secrets, (1, 0))?;
    let (changes, changed) = watch::channel(Arc::new(declared));
    let mut deciding = Deciding::new(declaration, changed, Arc::clone(&secrets));
    let told = timeout(patience, deciding.first()).await;
    let told = told.map_err(|_| SettingsError::NoTable { after: patience })?;
    let clock = deciding.clock;
    let snapshot = Snapshot::new(told, None, &settings, clock)?;
    let shared = Arc::new(Shared::new(snapshot, settings, deadline, clock));
    let task = tokio::spawn(deciding.run(Arc::downgrade(&shared)));
    let embedded = Embedded {
        declared: Arc::new(changes),
        secrets,
    };
    Ok((shared, embedded, AbortOnDropHandle::new(task)))
}

fn known(secrets: Secrets) -> validate::Secrets {
    let one = |(name, keys)| (name, Ok::<_, SecretProblem>(SecretKeys(keys)));
    secrets.into_iter().map(one).collect()
}

/// What is wrong with a policy, by its fields, or with its Secrets, by their names.
pub fn problems(declared: &Declared, secrets: &Secrets) -> Vec<(String, String)> {
    let declared = pinned(declared.clone());
    let source = source(&declared, 1, None);
    let wrong = validate::policy(source).err().unwrap_or_default();
    if !wrong.is_empty() {
        let told = wrong
            .iter()
            .map(|problem| (problem.field.clone(), problem.says()));
        return told.collect();
    }
    let endpoints = validate::resolve(source, &known(secrets.clone()), &Services::new());
    let refused = endpoints.values().flat_map(ResolvedEndpoint::problems);
    refused
        .map(|refused| {
            let says = match &refused.problem {
                SecretProblem::Malformed { must, .. } => (*must).to_owned(),
                problem => problem.to_string(),
            };
            (refused.secret.clone(), says)
        })
        .collect()
}

fn source<'a>(declared: &'a Declared, generation: i64, check_requested: Option<&'a str>) -> PolicySource<'a> {
    PolicySource {
        namespace: NAMESPACE,
        name: &declared.name,
        uid: NAMESPACE,
        generation,
        check_requested,
        spec: &declared.spec,
        names: None,
    }
}

/// Pinned, where the policy says nothing of failover.
fn pinned(mut declared: Declared) -> Declared {
    declared.spec.failover.get_or_insert_with(|| Failover {
        primary_role: PrimaryRole::Pinned,
        ..Failover::default()
    });
    declared
}

/// The valid policy, with what its Secrets say. `check`: a number that asks for checks of all servers when it grows.
fn declaration(
    declared: &Declared,
    secrets: &validate::Secrets,
    (generation, check): (i64, u64),
) -> Result<Declaration, SettingsError> {
    let requested = check.to_string();
    let source = source(declared, generation, (check > 0).then_some(requested.as_str()));
    let words = |problems: Vec<validate::Problem>| {
        SettingsError::Policy(problems.iter().map(ToString::to_string).collect())
    };
    let failover = declared.spec.failover.as_ref();
    if failover.is_none_or(|failover| failover.primary_role == PrimaryRole::Follow) {
        return Err(SettingsError::FollowWithoutMemory);
    }
    if declared.spec.mode != Mode::Enforce {
        return Err(SettingsError::Policy(vec![
            "spec.mode: must be Enforce: the routes of an embedded policy are its own".to_owned(),
        ]));
    }
    let valid = validate::policy(source).map_err(words)?;
    let endpoints = validate::resolve(source, secrets, &Services::new());
    let wrong: Vec<_> = endpoints.values().flat_map(ResolvedEndpoint::problems).collect();
    if !wrong.is_empty() {
        return Err(SettingsError::Policy(
            wrong.iter().map(ToString::to_string).collect(),
        ));
    }
    Ok(valid.with(endpoints, Cluster::default()))
}

/// The world of one policy, driven as the operator drives its own.
struct Deciding {
    clock: Clock,
    world: World,
    registry: Registry,
    answers: mpsc::Receiver<Answer>,
    changed: watch::Receiver<Arc<Declared>>,
    secrets: Arc<validate::Secrets>,
    outputs: Arc<Outputs>,
    generation: i64,
    check: u64,
}

impl Deciding {
    fn new(
        declaration: Declaration,
        changed: watch::Receiver<Arc<Declared>>,
        secrets: Arc<validate::Secrets>,
    ) -> Self {
        let (clock, (sender, answers)) = (Clock::new(), mpsc::channel(ANSWERS));
        let resolver = Resolver::from_system(clock, AddressRules::default(), ClusterNames::DOMAIN);
        let mut deciding = Self {
            clock,
            world: World::new(jitter::spread),
            registry: Registry::new(clock, resolver, Limits::default(), sender),
            answers,
            changed,
            secrets,
            outputs: Arc::clone(&declaration.outputs),
            generation: 1,
            check: 0,
        };
        deciding.advance(Some(declared(declaration)));
        deciding
    }

    /// The first table.
    async fn first(&mut self) -> Told {
        loop {
            let event = self.event().await;
            if let Some(told) = self.advance(event) {
                return told;
            }
        }
    }

    /// What happens next; `None`: time has passed.
    async fn event(&mut self) -> Option<Event> {
        let (deadline, clock) = (self.world.deadline(), self.clock);
        tokio::select! {
            Some(answer) = self.answers.recv() => Some(event(answer)),
            () = clock.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => None,
        }
    }

    async fn run(mut self, shared: Weak<Shared>) {
        let Some(wanted) = shared.upgrade().map(|shared| Arc::clone(&shared.wanted)) else {
            return;
        };
        let mut expiry = self.clock.now() + EXPIRY;
        loop {
            let clock = self.clock;
            let mut changed = self.changed.clone();
            let event = tokio::select! {
                event = self.event() => event,
                Ok(()) = changed.changed() => {
                    self.changed = changed;
                    self.generation += 1;
                    self.declare()
                }
                () = wanted.notified() => {
                    self.check += 1;
                    self.declare()
                }
                () = clock.sleep_until(expiry) => {
                    let Some(shared) = shared.upgrade() else { return };
                    shared.snapshot().servers().for_each(|server| server.close_expired());
                    expiry = clock.now() + EXPIRY;
                    None
                }
            };
            let Some(told) = self.advance(event) else { continue };
            let Some(shared) = shared.upgrade() else { return };
            if let Err(error) = shared.switch(told) {
                Counts::count(&shared.counts.refused_tables);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the routes are not used; those before serve"
                );
            }
        }
    }

    /// The policy of now; one that became invalid changes nothing.
    fn declare(&mut self) -> Option<Event> {
        let now = Arc::clone(&self.changed.borrow());
        match declaration(&now, &self.secrets, (self.generation, self.check)) {
            Ok(declaration) => {
                self.outputs = Arc::clone(&declaration.outputs);
                Some(declared(declaration))
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the policy is not used");
                None
            }
        }
    }

    /// Takes in what happened. A table, where the decision has a new one.
    fn advance(&mut self, event: Option<Event>) -> Option<Told> {
        let mut events: Vec<_> = event.into_iter().collect();
        while let (true, Ok(answer)) = (events.len() < ANSWERS, self.answers.try_recv()) {
            events.push(self::event(answer));
        }
        let Effects { prober, writer, .. } = self.world.advance(self.clock.now(), events);
        for instruction in prober {
            match instruction {
                Instruction::Want { policy, wanted } => self.registry.want(&policy, wanted),
                Instruction::Next { key, check } => self.registry.next(&key, check),
            }
        }
        let decided = writer.into_iter().filter_map(|report| match report {
            Announcement::Decided { decision, .. } => Some(decision),
            Announcement::Gone { .. } => None,
        });
        decided.last().and_then(|decision| told(&decision, &self.outputs))
    }
}

fn event(answer: Answer) -> Event {
    match answer {
        Answer::Checked { observed, .. } => Event::Observed(observed),
        Answer::Heard(heard) => Event::Heard(heard),
        Answer::Named(named) => Event::Named(named),
    }
}

fn declared(declaration: Declaration) -> Event {
    Event::PolicyChanged {
        policy: declaration.policy,
        resolved: declaration.resolved,
        memory: Memory::default(),
    }
}

/// The table of a decision; `None`: it leaves the routes as they are.
fn told(decision: &Decision, outputs: &Outputs) -> Option<Told> {
    let table = RoutingTable::new(&Subject::of(decision, outputs)?);
    let login = |endpoint: &distributary_core::policy::Endpoint| {
        let resolved = decision.resolved.endpoint(&endpoint.id)?;
        let login = resolved.login.as_ref().ok()?;
        Some((endpoint.id.to_string(), Arc::clone(login)))
    };
    Some(Told {
        table,
        logins: decision.policy.endpoints.iter().filter_map(login).collect(),
    })
}
