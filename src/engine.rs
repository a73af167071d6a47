//! The one task that decides. It alone owns the [`World`]; its body is [`World::step`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::metrics::Metrics;
use distributary_core::decision::Decision;
use distributary_core::health::Reason;
use distributary_core::ids::PolicyKey;
use distributary_core::jitter::Jitter;
use distributary_core::observation::FailureKind;
use distributary_core::policy::Policy;
use distributary_core::resolved::Resolved;
use distributary_core::target::Answer;
use distributary_core::transition::Transition;
use distributary_core::world::{Event, Instruction, Measurement, Memory, Report, World};
use distributary_probe::Registry;

/// Events taken in before the marked policies are decided.
const BATCH: usize = 256;

/// The newest decision of every policy, for the writing side to read.
#[derive(Clone, Debug, Default)]
pub struct Decisions(Arc<RwLock<HashMap<PolicyKey, Arc<Decision>>>>);

impl Decisions {
    #[must_use]
    pub fn get(&self, key: &PolicyKey) -> Option<Arc<Decision>> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn set(&self, key: PolicyKey, decision: Arc<Decision>) -> Option<Arc<Decision>> {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, decision)
    }

    fn remove(&self, key: &PolicyKey) -> Option<Arc<Decision>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

/// What the engine tells the writing side: there is a new decision to write.
#[derive(Clone, Debug)]
pub struct DecisionChange {
    pub policy: Arc<Policy>,
    /// What changed by it that a person may want to know.
    pub transitions: Vec<Transition>,
}

enum Command {
    Change {
        policy: Arc<Policy>,
        resolved: Arc<Resolved>,
        memory: Memory,
        decided: oneshot::Sender<()>,
    },
    Gone {
        key: PolicyKey,
    },
    AddressesChanged,
}

/// Where the watching side hands in policies. Clones are the same engine's.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    commands: mpsc::Sender<Command>,
    pub decisions: Decisions,
}

/// The engine has ended: the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

impl EngineHandle {
    /// Hands in a policy, and returns when the decision that follows from it is in [`EngineHandle::decisions`].
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn change(
        &self,
        policy: Arc<Policy>,
        resolved: Arc<Resolved>,
        memory: Memory,
    ) -> Result<(), Stopped> {
        let (decided, done) = oneshot::channel();
        self.commands
            .send(Command::Change {
                policy,
                resolved,
                memory,
                decided,
            })
            .await
            .map_err(|_| Stopped)?;
        done.await.map_err(|_| Stopped)
    }

    /// Says that a policy is gone.
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn gone(&self, key: PolicyKey) -> Result<(), Stopped> {
        self.commands
            .send(Command::Gone { key })
            .await
            .map_err(|_| Stopped)
    }

    /// Says that other addresses are refused than before.
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn addresses_changed(&self) -> Result<(), Stopped> {
        self.commands
            .send(Command::AddressesChanged)
            .await
            .map_err(|_| Stopped)
    }

    /// Whether the engine still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.commands.is_closed()
    }
}

pub struct Engine {
    world: World,
    clock: Clock,
    registry: Registry,
    metrics: Metrics,
    decisions: Decisions,
    commands: mpsc::Receiver<Command>,
    answers: mpsc::Receiver<Answer>,
    reports: mpsc::Sender<DecisionChange>,
    decided: Vec<oneshot::Sender<()>>,
}

impl Engine {
    /// An engine, and the handle to it. `reports` is where decisions are announced.
    #[must_use]
    pub fn new(
        clock: Clock,
        registry: Registry,
        metrics: Metrics,
        answers: mpsc::Receiver<Answer>,
        reports: mpsc::Sender<DecisionChange>,
    ) -> (Self, EngineHandle) {
        let (sender, commands) = mpsc::channel(BATCH);
        let decisions = Decisions::default();
        let handle = EngineHandle {
            commands: sender,
            decisions: decisions.clone(),
        };
        let (world, decided) = (World::new(Jitter::Spread), Vec::new());
        (
            Self {
                world,
                clock,
                registry,
                metrics,
                decisions,
                commands,
                answers,
                reports,
                decided,
            },
            handle,
        )
    }

    /// Runs until its handles are gone. Watches go before probes.
    pub async fn run(mut self) {
        loop {
            let deadline = self.world.deadline();
            let clock = self.clock;
            let mut events = Vec::new();
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => events.push(self.command(command)),
                    None => return,
                },
                Some(answer) = self.answers.recv() => events.push(self.answered(answer)),
                () = clock.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {}
            }
            self.drain(&mut events);
            self.advance(events).await;
        }
    }

    fn drain(&mut self, events: &mut Vec<Event>) {
        for _ in 0..BATCH {
            if let Ok(command) = self.commands.try_recv() {
                events.push(self.command(command));
            } else if let Ok(answer) = self.answers.try_recv() {
                events.push(self.answered(answer));
            } else {
                return;
            }
        }
    }

    fn command(&mut self, command: Command) -> Event {
        match command {
            Command::Change {
                policy,
                resolved,
                memory,
                decided,
            } => {
                self.decided.push(decided);
                Event::PolicyChanged {
                    policy,
                    resolved,
                    memory,
                }
            }
            Command::Gone { key } => Event::PolicyGone { key },
            Command::AddressesChanged => Event::AddressesChanged,
        }
    }

    fn answered(&self, answer: Answer) -> Event {
        match answer {
            Answer::Checked { observed, late } => {
                self.metrics.late(late);
                tracing::trace!(policy = %observed.key.policy, endpoint = %observed.key.target, result = ?observed.observation.result, "checked");
                self.metrics.observed(&observed.observation);
                Event::Observed(observed)
            }
            Answer::Heard(heard) => Event::Heard(heard),
        }
    }

    /// Takes in the events, decides, and announces what changed.
    async fn advance(&mut self, events: Vec<Event>) {
        let effects = self.world.advance(self.clock.now(), events);
        // Before all else: the routes follow from it.
        for report in effects.writer {
            self.report(report).await;
        }
        for instruction in effects.prober {
            match instruction {
                Instruction::Want { policy, wanted } => self.registry.want(&policy, wanted),
                Instruction::Next { key, check } => self.registry.next(&key, check),
            }
        }
        for Measurement { key, figures } in &effects.figures {
            self.metrics.measured(key, figures.as_ref());
        }
        for decided in self.decided.drain(..) {
            let _ = decided.send(());
        }
    }

    async fn report(&mut self, report: Report) {
        match report {
            Report::Gone { key } => {
                let last = self.decisions.remove(&key);
                self.metrics.forget(&key, last.as_deref());
            }
            Report::Decided {
                key,
                decision,
                transitions,
            } => {
                let before = self.decisions.set(key.clone(), Arc::clone(&decision));
                let change = DecisionChange {
                    policy: Arc::clone(&decision.policy),
                    transitions: transitions.clone(),
                };
                // The receiver is gone only while the process ends.
                let _ = self.reports.send(change).await;
                self.metrics.decided(&key, before.as_deref(), &decision);
                log(&key, &transitions);
            }
        }
    }
}

fn log(key: &PolicyKey, transitions: &[Transition]) {
    for transition in transitions {
        match transition {
            Transition::Endpoint {
                id,
                from,
                to,
                failure,
                eligible,
            } => {
                let (from, failure) = (from.map(Reason::word), failure.map(FailureKind::word));
                tracing::info!(policy = %key.name, namespace = %key.namespace, endpoint = %id, from, to = to.word(), failure, eligible, "endpoint changed");
            }
            route => {
                tracing::info!(policy = %key.name, namespace = %key.namespace, change = ?route, "route changed");
            }
        }
    }
}
