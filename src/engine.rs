//! The one task that decides. It alone owns the [`World`]; its body is [`World::step`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::probe::Registry;
use distributary_core::decision::Decision;
use distributary_core::health::Reason;
use distributary_core::ids::PolicyKey;
use distributary_core::jitter::Jitter;
use distributary_core::observation::FailureKind;
use distributary_core::policy::Policy;
use distributary_core::target::{Answer, Observed};
use distributary_core::transition::Transition;
use distributary_core::world::{Effect, Event, Remembered, World};

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
pub struct Report {
    pub policy: Arc<Policy>,
    /// What changed by it that a person may want to know.
    pub transitions: Vec<Transition>,
}

enum Command {
    Change {
        policy: Arc<Policy>,
        remembered: Remembered,
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
    pub async fn change(&self, policy: Arc<Policy>, remembered: Remembered) -> Result<(), Stopped> {
        let (decided, done) = oneshot::channel();
        self.commands
            .send(Command::Change {
                policy,
                remembered,
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
    reports: mpsc::Sender<Report>,
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
        reports: mpsc::Sender<Report>,
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
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(answer) = self.answers.recv() => self.answered(answer),
                () = clock.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {}
            }
            self.drain();
            self.settle().await;
        }
    }

    fn drain(&mut self) {
        for _ in 0..BATCH {
            if let Ok(command) = self.commands.try_recv() {
                self.command(command);
            } else if let Ok(answer) = self.answers.try_recv() {
                self.answered(answer);
            } else {
                return;
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Change {
                policy,
                remembered,
                decided,
            } => {
                self.decided.push(decided);
                self.step(Event::PolicyChanged { policy, remembered });
            }
            Command::Gone { key } => self.step(Event::PolicyGone { key }),
            Command::AddressesChanged => self.step(Event::AddressesChanged),
        }
    }

    fn answered(&mut self, answer: Answer) {
        match answer {
            Answer::Checked { observed, late } => {
                self.metrics.late(late);
                self.observed(observed);
            }
            Answer::Heard(heard) => self.step(Event::Heard(heard)),
        }
    }

    fn observed(&mut self, observed: Observed) {
        tracing::trace!(policy = %observed.key.policy, endpoint = %observed.key.target, result = ?observed.observation.result, "checked");
        self.metrics.observed(&observed.observation);
        self.step(Event::Observed(observed));
    }

    fn step(&mut self, event: Event) {
        for effect in self.world.step(event, self.clock.now()) {
            self.act(effect);
        }
    }

    /// Does what is done at once; a decision is for [`Engine::announce`].
    fn act(&mut self, effect: Effect) -> Option<(PolicyKey, Arc<Decision>, Vec<Transition>)> {
        match effect {
            Effect::Want { policy, wanted } => self.registry.want(&policy, wanted),
            Effect::Next { key, check } => self.registry.next(&key, check),
            Effect::Measured { key, figures } => self.metrics.measured(&key, figures.as_ref()),
            Effect::Forget { key } => {
                let last = self.decisions.remove(&key);
                self.metrics.forget(&key, last.as_deref());
            }
            Effect::Decided {
                key,
                decision,
                transitions,
            } => return Some((key, decision, transitions)),
        }
        None
    }

    /// Decides the marked policies and announces what changed.
    async fn settle(&mut self) {
        for effect in self.world.decide(self.clock.now()) {
            let Some((key, decision, transitions)) = self.act(effect) else {
                continue;
            };
            let before = self.decisions.set(key.clone(), Arc::clone(&decision));
            let report = Report {
                policy: Arc::clone(&decision.policy),
                transitions: transitions.clone(),
            };
            // Before all else: the routes follow from it. The receiver is gone only while the process ends.
            let _ = self.reports.send(report).await;
            self.metrics.decided(&key, before.as_deref(), &decision);
            log(&key, &transitions);
        }
        for decided in self.decided.drain(..) {
            let _ = decided.send(());
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
