//! Routes without an operator: the servers are checked, and the routes decided, in the process.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use distributary_api::ReplicaSetPolicySpec;
use distributary_api::validate::{ClusterNames, Declaration};
use distributary_core::Moment;
use distributary_core::decision::Decision;
use distributary_core::jitter;
use distributary_core::outputs::Outputs;
use distributary_core::table::named::WRITES;
use distributary_core::table::{RoutingTable, Subject};
use distributary_core::target::Answer;
use distributary_core::world::{Announcement, Effects, Event, Instruction, Memory, World};
use distributary_probe::{AddressRules, Clock, ClusterZone, Limits, Registry, Resolver};

use crate::declared::{Asked, Declared, Secrets};
use crate::error::SettingsError;
use crate::memory::Keeping;
use crate::remembered::Remembered;
use crate::shared::{Counts, Shared};
use crate::snapshot::{PoolSettings, Snapshot, Told};

/// Answers of checks that wait to be taken in.
const ANSWERS: usize = 64;
/// From one look for connections that were idle for too long to the next.
const EXPIRY: Duration = Duration::from_secs(30);
/// From one attempt to remember a choice to the next.
const REMEMBERING: Duration = Duration::from_secs(1);

/// Where a program changes its policy.
#[derive(Clone)]
pub struct Embedded {
    declared: Arc<watch::Sender<Arc<Declared>>>,
    remembers: bool,
}

impl Embedded {
    /// Changes the policy, where the result is valid.
    pub fn change(
        &self,
        change: impl FnOnce(&mut ReplicaSetPolicySpec, &mut Secrets) -> Result<(), SettingsError>,
    ) -> Result<(), SettingsError> {
        let mut result = Ok(());
        let valid = |declared: &Declared| {
            let mut next = declared.clone();
            change(&mut next.spec, &mut next.secrets)?;
            let asked = Asked {
                generation: 0,
                check: 0,
            };
            next.declaration(asked, self.remembers)?;
            Ok(next)
        };
        self.declared.send_if_modified(|declared| match valid(declared) {
            Ok(next) => {
                *declared = Arc::new(next);
                true
            }
            Err(error) => {
                result = Err(error);
                false
            }
        });
        result
    }
}

impl Embedded {
    /// Takes another policy, where it is valid. `more`: Secrets that go before its own.
    pub fn replace(&self, declared: Declared, more: &Secrets) -> Result<(), SettingsError> {
        let known = self.declared.borrow().name.clone();
        if declared.name != known {
            let says = format!("metadata.name: must be {known}, as it was at the start");
            return Err(SettingsError::Policy(vec![says]));
        }
        let Declared { spec, secrets, .. } = declared.settled(self.remembers);
        self.change(|now, keys| {
            *now = spec;
            keys.extend(secrets);
            keys.extend(more.clone());
            Ok(())
        })
    }
}

/// What requests share, where a program changes the policy, and the task that decides.
pub type Started = (Arc<Shared>, Embedded, AbortOnDropHandle<()>);

/// Checks the servers, and decides.
pub async fn decide(
    declared: Declared,
    memory: Option<Arc<dyn crate::memory::Memory>>,
    settings: PoolSettings,
    (deadline, patience): (Duration, Duration),
) -> Result<Started, SettingsError> {
    let remembers = memory.is_some();
    let declared = declared.settled(remembers);
    let mut asked = Asked {
        generation: 1,
        check: 0,
    };
    let declaration = declared.declaration(asked, remembers)?;
    asked.generation += 1;
    let keeping = match memory {
        Some(memory) => Some(Keeping::recall(memory, &declared.name).await?),
        None => None,
    };
    let (changes, changed) = watch::channel(Arc::new(declared));
    let mut deciding = Deciding::new(declaration, changed, keeping, asked);
    let made = timeout(patience, deciding.first()).await;
    let made = made.map_err(|_| SettingsError::NoTable { after: patience })?;
    if !deciding.is_remembered(&made.remembered).await {
        let problem = "who takes the writes cannot be remembered";
        return Err(SettingsError::Memory(problem.into()));
    }
    let clock = deciding.clock;
    let snapshot = Snapshot::new(made.told, None, &settings, clock)?;
    let shared = Arc::new(Shared::new(snapshot, settings, deadline, clock));
    let task = tokio::spawn(deciding.run(Arc::downgrade(&shared)));
    let embedded = Embedded {
        declared: Arc::new(changes),
        remembers,
    };
    Ok((shared, embedded, AbortOnDropHandle::new(task)))
}

/// The world of one policy, driven as the operator drives its own.
struct Deciding {
    clock: Clock,
    world: World,
    registry: Registry,
    answers: mpsc::Receiver<Answer>,
    changed: watch::Receiver<Arc<Declared>>,
    outputs: Arc<Outputs>,
    asked: Asked,
    /// `None`: nothing is remembered.
    keeping: Option<Keeping>,
    /// A decision whose choice is not remembered, and when that is tried again.
    unkept: Option<(Arc<Decision>, Moment)>,
}

/// What a decision makes.
struct Made {
    decision: Arc<Decision>,
    told: Told,
    remembered: Remembered,
}

impl Deciding {
    fn new(
        declaration: Declaration,
        changed: watch::Receiver<Arc<Declared>>,
        keeping: Option<Keeping>,
        asked: Asked,
    ) -> Self {
        let (clock, (sender, answers)) = (Clock::new(), mpsc::channel(ANSWERS));
        let zone = ClusterZone::of_one_owner(ClusterNames::DOMAIN);
        let resolver = Resolver::from_system(clock, AddressRules::default(), zone);
        let known = keeping.as_ref().and_then(Keeping::kept);
        let memory = known.map(Remembered::memory).unwrap_or_default();
        let mut deciding = Self {
            clock,
            world: World::new(jitter::spread),
            registry: Registry::new(clock, resolver, Limits::default(), sender),
            answers,
            changed,
            outputs: Arc::clone(&declaration.outputs),
            asked,
            keeping,
            unkept: None,
        };
        deciding.advance(Some(declared(declaration, memory)));
        deciding
    }

    /// The first decision that goes by checks of all servers.
    async fn first(&mut self) -> Made {
        loop {
            let event = self.event().await;
            if let Some(made) = self.advance(event)
                && made.decision.state.is_warm()
            {
                return made;
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
            let again = self.unkept.as_ref().map(|(_, at)| *at);
            let mut made = None;
            let event = tokio::select! {
                event = self.event() => event,
                Ok(()) = changed.changed() => {
                    self.changed = changed;
                    self.declare()
                }
                () = wanted.notified() => {
                    self.asked.check += 1;
                    self.declare()
                }
                () = clock.sleep_until(again.unwrap_or_default()), if again.is_some() => {
                    made = self.unkept.take().and_then(|(decision, _)| self.made(decision));
                    None
                }
                () = clock.sleep_until(expiry) => {
                    let Some(shared) = shared.upgrade() else { return };
                    shared.snapshot().servers().for_each(|server| server.close_expired());
                    expiry = clock.now() + EXPIRY;
                    None
                }
            };
            let Some(made) = self.advance(event).or(made) else {
                continue;
            };
            let Some(shared) = shared.upgrade() else { return };
            self.publish(&shared, made).await;
        }
    }

    /// Makes the routes those of a decision. The writes stay where they were until its choice is remembered.
    async fn publish(&mut self, shared: &Shared, made: Made) {
        let Made {
            decision,
            mut told,
            remembered,
        } = made;
        self.unkept = None;
        if !self.is_remembered(&remembered).await {
            hold_writes(&mut told.table, &shared.snapshot().table);
            self.unkept = Some((decision, self.clock.now() + REMEMBERING));
        }
        if let Err(error) = shared.switch(told) {
            Counts::count(&shared.counts.refused_tables);
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the routes are not used; those before serve"
            );
        }
    }

    /// Remembers a choice, where that is wanted; whether it is remembered.
    async fn is_remembered(&mut self, choice: &Remembered) -> bool {
        match &mut self.keeping {
            Some(keeping) => keeping.keep(choice).await,
            None => true,
        }
    }

    /// The policy of now; one that became invalid changes nothing.
    fn declare(&mut self) -> Option<Event> {
        let now = Arc::clone(&self.changed.borrow());
        let asked = self.asked;
        self.asked.generation += 1;
        match now.declaration(asked, self.keeping.is_some()) {
            Ok(declaration) => {
                self.outputs = Arc::clone(&declaration.outputs);
                Some(declared(declaration, Memory::default()))
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the policy is not used");
                None
            }
        }
    }

    /// Takes in what happened. The newest decision, where there is another one.
    fn advance(&mut self, event: Option<Event>) -> Option<Made> {
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
        decided.last().and_then(|decision| self.made(decision))
    }

    /// `None`: it leaves the routes as they are.
    fn made(&self, decision: Arc<Decision>) -> Option<Made> {
        Some(Made {
            told: told(&decision, &self.outputs)?,
            remembered: Remembered::of(&decision)?,
            decision,
        })
    }
}

/// The writes go where they went before.
fn hold_writes(table: &mut RoutingTable, before: &RoutingTable) {
    match before.routes.get(WRITES) {
        Some(route) => {
            table.routes.insert(WRITES.to_owned(), route.clone());
        }
        None => {
            table.routes.remove(WRITES);
        }
    }
}

fn event(answer: Answer) -> Event {
    match answer {
        Answer::Checked { observed, .. } => Event::Observed(observed),
        Answer::Heard(heard) => Event::Heard(heard),
        Answer::Named(named) => Event::Named(named),
    }
}

/// `memory`: of a policy that is new.
fn declared(declaration: Declaration, memory: Memory) -> Event {
    Event::PolicyChanged {
        policy: declaration.policy,
        resolved: declaration.resolved,
        memory,
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
