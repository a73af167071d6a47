//! Carries out what [`crate::writing`] asks for: the only one that writes to the API server.

mod ledger;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::events::{self, PolicyEvent};
use super::fence::Fence;
use super::memory::{self, memory};
use super::requests;
use crate::clock::{Clock, timestamp};
use crate::engine::EngineHandle;
use crate::metrics::Metrics;
use crate::render::reading::Text;
use crate::writing::{
    Answer, Declared, Effect, Figure, FlightId, Input, Installation, Lead, Now, WholeObjects, Writing,
};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::health::Reason;
use distributary_core::ids::PolicyKey;
use distributary_core::observation::FailureKind;
use distributary_core::transition::Transition;
use ledger::Ledger;

/// Inputs that are not taken in yet; a fuller queue makes the sender wait.
const QUEUE: usize = 1024;
/// Inputs that are taken in before something is done about them.
const BATCH: usize = 256;

/// Where intake and engine hand in what they know. Clones are of the same desk.
#[derive(Clone, Debug)]
pub struct DeskHandle(mpsc::Sender<Input<Text>>);

impl DeskHandle {
    /// A policy was read.
    pub async fn declare(&self, declared: Declared) {
        self.send(Input::Declared(Box::new(declared))).await;
    }

    /// A policy is gone.
    pub async fn gone(&self, key: PolicyKey) {
        self.send(Input::Gone { key }).await;
    }

    /// The queue itself, for the engine's decisions.
    #[must_use]
    pub fn inputs(&self) -> mpsc::Sender<Input<Text>> {
        self.0.clone()
    }

    /// Hands in an input. The desk has ended only while the process ends.
    pub async fn send(&self, input: Input<Text>) {
        let _ = self.0.send(input).await;
    }
}

/// The task that writes.
pub struct Desk {
    writing: Writing<WholeObjects>,
    inputs: mpsc::Receiver<Input<Text>>,
    requests: JoinSet<(FlightId, Answer<Text>)>,
    /// Behind the fence.
    clients: Clients,
    fence: Fence,
    clock: Clock,
    metrics: Metrics,
    ledger: Ledger,
    engine: EngineHandle,
    /// Statuses that another writer changed, with the uid of their policy, until the engine's queue has room for what they
    /// remember. The engine may wait for room in the queue here, so nothing here stands still for it.
    recalls: BTreeMap<PolicyKey, (String, Box<ReplicaSetPolicyStatus>, u64)>,
    /// Where routes of the writes were found to lead, until there is room for it as well.
    found: BTreeMap<PolicyKey, (String, BTreeSet<SocketAddr>)>,
    events: mpsc::Sender<PolicyEvent>,
    /// For the fence.
    told: watch::Sender<Lead>,
    /// It was told that the CustomResourceDefinition is of an earlier version.
    warned: bool,
}

/// A desk's queue, made before those who hand in to it.
#[must_use]
pub fn queue() -> (DeskHandle, mpsc::Receiver<Input<Text>>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (DeskHandle(sender), receiver)
}

impl Desk {
    /// A desk that takes in what its `queue` holds.
    #[must_use]
    pub fn new(
        installation: Installation,
        inputs: mpsc::Receiver<Input<Text>>,
        clients: Clients,
        clock: Clock,
        metrics: Metrics,
        engine: EngineHandle,
        events: mpsc::Sender<PolicyEvent>,
    ) -> Self {
        let (told, lead) = watch::channel(Lead::default());
        let fence = Fence::new(move || lead.borrow().may_start(clock.now()));
        Self {
            writing: Writing::new(WholeObjects).of(installation),
            inputs,
            requests: JoinSet::new(),
            clients: clients.fenced(&fence),
            fence,
            clock,
            ledger: Ledger::new(metrics.clone()),
            metrics,
            engine,
            recalls: BTreeMap::new(),
            found: BTreeMap::new(),
            events,
            told,
            warned: false,
        }
    }

    /// Whether this process writes, at any time.
    pub fn leads(&self) -> impl Fn() -> bool + use<> {
        let fence = self.fence.clone();
        move || fence.is_open()
    }

    /// The client that Events are published with: they are written while this process writes.
    pub fn client_of_events(&self) -> Client {
        self.clients.requests.clone()
    }

    /// Writes until `stop`; then no request begins, and it returns when those that are under way are answered. Where there is a
    /// `lease`, it writes while that says so.
    pub async fn run(mut self, mut lease: Option<mpsc::Receiver<Input<Text>>>, stop: CancellationToken) {
        if lease.is_none() {
            self.take([Input::Leads { until: None }].into());
        }
        loop {
            let deadline = self.writing.deadline();
            let mut inputs = Vec::new();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(input) = of_lease(&mut lease) => inputs.push(input),
                Some(answer) = self.requests.join_next(), if !self.requests.is_empty() => inputs.push(answered(answer)),
                Ok(permit) = self.engine.recall_permit(), if !self.recalls.is_empty() || !self.found.is_empty() => {
                    if let Some((key, (uid, status, number))) = self.recalls.pop_first() {
                        let (wall, moment) = (timestamp(), self.clock.now());
                        permit.recalled(key, uid, memory(&status, memory::Now { wall, moment }), number);
                    } else if let Some((key, (uid, servers))) = self.found.pop_first() {
                        permit.found(key, uid, servers);
                    }
                }
                input = self.inputs.recv() => match input {
                    Some(input) => inputs.push(input),
                    None => break,
                },
                () = self.clock.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => {}
            }
            self.drain(&mut inputs);
            self.take(inputs);
        }
        self.take([Input::Follows].into());
        while let Some(answer) = self.requests.join_next().await {
            self.take([answered(answer)].into());
        }
    }

    /// Before a request starts, and to those that are under way.
    fn tell_who_leads(&self) {
        let lead = self.writing.lead();
        self.told
            .send_if_modified(|told| std::mem::replace(told, lead) != lead);
    }

    fn drain(&mut self, inputs: &mut Vec<Input<Text>>) {
        for _ in 0..BATCH {
            if let Some(answer) = self.requests.try_join_next() {
                inputs.push(answered(answer));
            } else if let Ok(input) = self.inputs.try_recv() {
                inputs.push(input);
            } else {
                return;
            }
        }
    }

    fn now(&self) -> Now {
        Now {
            moment: self.clock.now(),
            wall: timestamp(),
        }
    }

    /// Once, though the API server does so with the status of every policy.
    fn warn_of_definition(&mut self) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(
                "the API server drops status.memory.author and status.memory.term: apply the CustomResourceDefinition of this version"
            );
        }
    }

    fn take(&mut self, inputs: Vec<Input<Text>>) {
        if self.writing.lead() != Lead::Follows {
            inputs.iter().for_each(log);
        }
        let now = self.now();
        for input in &inputs {
            self.ledger.take(input, now.moment);
        }
        let effects = self.writing.advance(inputs, now);
        self.tell_who_leads();
        for effect in effects {
            match effect {
                Effect::Request(request) => {
                    self.ledger.sent(&request, now.moment);
                    let (clients, fence) = (self.clients.clone(), self.fence.clone());
                    self.requests.spawn(requests::carry_out(clients, request, fence));
                }
                Effect::Event { key, uid, notice } => {
                    let about = events::reference(&key.namespace, &key.name, &uid);
                    // A full queue loses an Event, never a route.
                    let _ = self.events.try_send(PolicyEvent { about, notice });
                }
                Effect::Recall {
                    key,
                    uid,
                    status,
                    number,
                } => {
                    self.recalls.insert(key, (uid, status, number));
                }
                Effect::Found { key, uid, servers } => {
                    self.found.insert(key, (uid, servers));
                }
                Effect::Unsigned => self.warn_of_definition(),
                Effect::Figure(Figure::Wrote { kind, verb }) => self.metrics.wrote(kind, verb),
                Effect::Figure(Figure::Undone) => self.metrics.undone(),
                Effect::Figure(Figure::Failed { category }) => self.metrics.failed(category),
            }
        }
        self.ledger.settle();
    }
}

/// Tells what changed by a decision. A process that follows decides, too, and changes nothing by it.
fn log(input: &Input<Text>) {
    let Input::Decided { key, transitions, .. } = input else {
        return;
    };
    for transition in transitions {
        match transition {
            Transition::Endpoint {
                id,
                from,
                to,
                despite,
                excess,
                failure,
                eligible,
            } => {
                let (from, failure) = (from.map(Reason::word), failure.map(FailureKind::word));
                let (despite, lag) = (despite.map(Reason::word), excess.map(|lag| lag.to_string()));
                tracing::info!(policy = %key.name, namespace = %key.namespace, endpoint = %id, from, to = to.word(), despite, lag, failure, eligible, "endpoint changed");
            }
            route => {
                tracing::info!(policy = %key.name, namespace = %key.namespace, change = ?route, "route changed");
            }
        }
    }
}

/// What the Lease says next; without one, nothing ever.
async fn of_lease(lease: &mut Option<mpsc::Receiver<Input<Text>>>) -> Option<Input<Text>> {
    match lease {
        Some(lease) => lease.recv().await,
        None => std::future::pending().await,
    }
}

/// A request that panics is a fault of ours, which ends the process as one of the desk itself would.
fn answered(answer: Result<(FlightId, Answer<Text>), JoinError>) -> Input<Text> {
    match answer {
        Ok((flight, answer)) => Input::Answered { flight, answer },
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// How long requests that are under way may take after the signal to stop.
pub const GRACE: Duration = Duration::from_millis(1500);
