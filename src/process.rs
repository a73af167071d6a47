//! Makes every part and connects them. Data moves one way: watches and probes → engine → writer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::clock::Clock;
use crate::engine::{DecisionChange, Engine};
use crate::k8s::Scope;
use crate::k8s::clients::Clients;
use crate::k8s::context::Context;
use crate::k8s::events::{self, PolicyEvent};
use crate::k8s::reconcile;
use crate::k8s::secrets::SecretAccess;
use crate::k8s::service_cidrs;
use crate::k8s::triggers::Triggers;
use crate::metrics::Metrics;
use crate::probe::{AddressRules, Limits, Registry, Resolver};
use crate::render;

/// Answers of probes, decisions and Events under way; a fuller queue makes the sender wait.
const QUEUE: usize = 1024;
/// Passes under way have this long to finish after the signal to stop.
const GRACE: Duration = Duration::from_millis(1500);

/// What `distributary run` was asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub http_address: SocketAddr,
    pub secrets: SecretAccess,
    pub limits: Limits,
    /// Which addresses may be connected to and published.
    pub addresses: AddressRules,
    /// The name of this process in Events.
    pub instance: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot find the API server: no kubeconfig and no in-cluster credentials")]
    Config(#[source] Box<kube::config::InferConfigError>),
    #[error("cannot make a client of the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// Runs until `stop`, then finishes what is under way.
///
/// # Errors
/// What keeps the process from starting; afterwards it retries whatever fails.
pub async fn run(settings: Settings, stop: CancellationToken) -> Result<(), Error> {
    let config = kube::Config::infer()
        .await
        .map_err(|error| Error::Config(Box::new(error)))?;
    let clients = Clients::new(&config).map_err(|error| Error::Client(Box::new(error)))?;
    let address = settings.http_address;
    let listener = admin::listen(address).map_err(|source| Error::Listen { address, source })?;
    let metrics = Metrics::new();
    let (answers, answered) = mpsc::channel(QUEUE);
    let (reports, reported) = mpsc::channel(QUEUE);
    let (events_in, events_out) = mpsc::channel(QUEUE);
    let clock = Clock::new();
    let rules = settings.addresses;
    let resolver = Resolver::from_system(clock, rules.clone());
    let registry = Registry::new(clock, resolver, settings.limits, answers);
    let (engine, handle) = Engine::new(clock, registry, metrics.clone(), answered, reports);
    let scopes = scopes(&settings.namespaces);
    let (triggers, ends) = Triggers::new(&scopes);
    let context = Arc::new(Context::new(
        clients.clone(),
        clock,
        handle.clone(),
        metrics.clone(),
        &scopes,
        triggers,
        settings.secrets,
        events_in,
    ));

    let mut background = JoinSet::new();
    background.spawn(engine.run());
    background.spawn(forward(reported, Arc::clone(&context)));
    background.spawn(service_cidrs::follow(Arc::clone(&context), move |cidrs| {
        rules.refuse_services(cidrs.iter().map(String::as_str))
    }));
    background.spawn(events::publish(clients.requests, settings.instance, events_out));
    background.spawn(admin::serve(
        listener,
        admin::State {
            engine: handle,
            metrics,
            readiness: context.synced.subscribe(),
        },
    ));
    let mut controllers = JoinSet::new();
    for (scope, end) in ends {
        controllers.spawn(reconcile::run(Arc::clone(&context), scope, end, stop.clone()));
    }
    tracing::info!(%address, namespaces = ?settings.namespaces, "started");
    stop.cancelled().await;
    let finished =
        tokio::time::timeout(GRACE, async { while controllers.join_next().await.is_some() {} }).await;
    tracing::info!(finished = finished.is_ok(), "stopped");
    Ok(())
}

fn scopes(namespaces: &[String]) -> Vec<Scope> {
    if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().cloned().map(Some).collect()
    }
}

/// From the engine to the writer: the slices first, then the Events, and a pass for the rest.
async fn forward(mut reports: mpsc::Receiver<DecisionChange>, context: Arc<Context>) {
    while let Some(DecisionChange { policy, transitions }) = reports.recv().await {
        let event = |notice| PolicyEvent {
            about: events::about(&policy),
            notice,
        };
        let events = transitions.iter().filter_map(render::events::notice).map(event);
        context.write_slices_first(&policy.key, events.collect());
        context.triggers.ask(policy.key.clone()).await;
    }
}
