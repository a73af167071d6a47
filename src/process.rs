//! Makes every part and connects them. Data moves one way: watches and probes → engine → writer.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch as watched};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::admin::{self, Liveness};
use crate::clock::Clock;
use crate::engine::{Board, CheckCounts, Engine};
use crate::http::{self, Exposition};
use crate::http_api::certificate::{self, CertificateFiles, KeptCertificate};
use crate::http_api::{self, Parts, loopback};
use crate::k8s::clients::Clients;
use crate::k8s::context::{ClusterSettings, Context};
use crate::k8s::desk::{self, Desk, GRACE};
use crate::k8s::events;
use crate::k8s::lease::{self, Leadership, LeaseSettings};
use crate::k8s::secrets::SecretAccess;
use crate::k8s::service_cidrs;
use crate::k8s::triggers::Triggers;
use crate::k8s::warmth::Warmth;
use crate::k8s::{Scope, reconcile, watch};
use crate::metrics::Metrics;
use distributary_probe::{AddressRules, ClusterZone, Limits, Registry, Resolver};

/// Answers of probes and Events under way; a fuller queue makes the sender wait.
const QUEUE: usize = 1024;

/// What `distributary run` was asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub http_address: SocketAddr,
    /// Whether endpoints have metrics of their own.
    pub metrics_per_endpoint: bool,
    pub secrets: SecretAccess,
    pub limits: Limits,
    /// Which addresses may be connected to and published.
    pub addresses: AddressRules,
    /// The name of this process in Events.
    pub instance: String,
    pub cluster: ClusterSettings,
    /// The domain of the cluster, which names in it are completed with.
    pub cluster_domain: String,
    /// The Lease that decides who writes; without one this process does.
    pub lease: Option<LeaseSettings>,
    /// Address of the loopback for those who may forward to the Pod; `None`: nothing is served there.
    pub loopback: Option<SocketAddr>,
    /// The HTTP API; `None`: there is none.
    pub api: Option<ApiSettings>,
}

/// How the HTTP API is served.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    pub address: SocketAddr,
    pub certificate: CertificateSource,
    /// Whether it has the metrics, for those who may get them, and the other port has none.
    pub has_metrics: bool,
}

/// Where the certificate of the API comes from.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    Files(CertificateFiles),
    /// The operator makes it.
    Kept(KeptCertificate),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("a part of the operator has ended; the log says which")]
    PartEnded,
}

/// Runs until `stop`, then finishes what is under way. Every request to the API server goes through `clients`.
///
/// # Errors
/// What keeps the process from starting; afterwards it retries whatever fails.
#[expect(
    clippy::too_many_lines,
    reason = "every part is made here once, in the order in which they need each other"
)]
pub async fn run(settings: Settings, clients: Clients, stop: CancellationToken) -> Result<(), Error> {
    let address = settings.http_address;
    let listen = |address| http::listen(address).map_err(|source| Error::Listen { address, source });
    let listener = listen(address)?;
    let api = settings
        .api
        .map(|api| listen(api.address).map(|listener| (api, listener)));
    let api = api.transpose()?;
    let (board, checks, clock) = (Board::default(), CheckCounts::default(), Clock::new());
    let metrics = Metrics::new(board.clone(), &checks, clock, settings.metrics_per_endpoint);
    let clients = clients.timed(&metrics, clock);
    let (answers, answered) = mpsc::channel(QUEUE);
    let (desk, inputs) = desk::queue();
    let (events_in, events_out) = mpsc::channel(QUEUE);
    let following = settings.lease.as_ref().map(|lease| lease.following);
    let (hold_rule, held) = watched::channel(following.unwrap_or_default());
    let rules = settings.addresses;
    let allowed = settings.cluster.names.namespaces().iter().cloned();
    let zone = ClusterZone::new(&settings.cluster_domain, allowed);
    let resolver = Resolver::from_system(clock, rules.clone(), zone);
    let registry = Registry::new(clock, resolver, settings.limits, answers);
    let (engine, handle) = Engine::new(
        clock,
        registry,
        board.clone(),
        checks,
        answered,
        desk.inputs(),
        held,
    );
    let scopes = scopes(&settings.namespaces);
    let (triggers, ends) = Triggers::new(&scopes);
    let context = Arc::new(Context::new(
        clients.clone(),
        clock,
        handle.clone(),
        desk,
        metrics.clone(),
        &scopes,
        triggers,
        settings.secrets,
        settings.cluster,
    ));
    let installation = settings.lease.as_ref().map(LeaseSettings::installation);
    let desk = Desk::new(
        installation.unwrap_or_default(),
        inputs,
        clients.clone(),
        clock,
        metrics.clone(),
        handle.clone(),
        events_in,
    );

    let (alive, mut background) = (Liveness::default(), JoinSet::new());
    background.spawn(alive.of("engine", engine.run()));
    let refuse = move |cidrs: Vec<String>| rules.refuse_services(cidrs.iter().map(String::as_str));
    let cidrs = service_cidrs::follow(Arc::clone(&context), refuse);
    background.spawn(alive.of("watch of service CIDRs", cidrs));
    let logins = reconcile::follow_failed_logins(Arc::clone(&context));
    background.spawn(alive.of("reader of Secrets", logins));
    let instance = settings.instance;
    let events = events::publish(
        desk.client_of_events(),
        instance.clone(),
        events_out,
        desk.leads(),
    );
    background.spawn(alive.of("publisher of Events", events));
    let exposition = Exposition::new(metrics, clock);
    let has_own = api.as_ref().is_none_or(|(api, _)| !api.has_metrics);
    let pages = admin::State {
        liveness: alive.clone(),
        exposition: has_own.then(|| exposition.clone()),
        readiness: context.synced.subscribe(),
        warmth: settings.lease.is_some().then(|| {
            let leads = desk.leads();
            Warmth::new(Arc::clone(&context), board.clone(), leads)
        }),
    };
    background.spawn(alive.of("HTTP server", admin::serve(listener, pages)));
    let callers = clients.callers.clone();
    let identity = settings.lease.as_ref().map(|lease| lease.identity.clone());
    let (holder, held_by) = watched::channel(None);
    let parts = Parts {
        context: Arc::clone(&context),
        board: board.clone(),
        callers: callers.clone(),
        clock,
        holder: identity.is_some().then_some(held_by),
        identity: identity.unwrap_or(instance),
        namespaces: settings.namespaces.clone(),
        secrets: settings.secrets,
        exposition: (!has_own).then_some(exposition),
    };
    if let Some(listener) = settings.loopback.and_then(listen_for_plugin) {
        let served = loopback::serve(listener, parts.clone());
        background.spawn(alive.of("HTTP server of the loopback", served));
    }
    if let Some((api, listener)) = api {
        let (client, leads) = (clients.requests.clone(), desk.leads());
        let served = serve_api(listener, api.certificate, parts, client, leads);
        background.spawn(alive.of("HTTP API", served));
    }
    for (scope, end) in ends {
        for watch in watch::all_owned(&context, &scope) {
            background.spawn(alive.of("watch of written objects", watch));
        }
        let intake = reconcile::run(Arc::clone(&context), scope, end, stop.clone());
        background.spawn(alive.of("intake", intake));
    }
    let (rests, released) = (CancellationToken::new(), CancellationToken::new());
    let lease = settings.lease.map(|settings| {
        let (told, lease) = lease::queue();
        let leadership = Leadership::new(Arc::clone(&context), clients, settings, told, hold_rule, holder);
        let ends = released.clone().drop_guard();
        let held = leadership.run(stop.clone(), rests.clone());
        background.spawn(alive.of("lease", async move {
            let _ends = ends;
            held.await;
        }));
        lease
    });
    if lease.is_none() {
        context.metrics.leads(true);
        released.cancel();
    }
    let mut desk = tokio::spawn(alive.of("desk", desk.run(lease, stop.clone())));
    tracing::info!(%address, namespaces = ?settings.namespaces, "started");
    run_until(&stop, &mut background, &mut desk).await?;
    let finished = {
        let ends = async { tokio::join!(end(desk, &rests, &released), callers.rest()) };
        tokio::time::timeout(GRACE, ends).await
    };
    tracing::info!(finished = finished.is_ok(), "stopped");
    Ok(())
}

/// The routing does not depend on it: where another program of the Pod has the port, it is done without.
fn listen_for_plugin(address: SocketAddr) -> Option<TcpListener> {
    let listener = http::listen(address);
    listener
        .inspect_err(|error| {
            tracing::warn!(%address, %error, "cannot listen for kubectl distributary: see --loopback-address");
        })
        .ok()
}

/// Serves the API with the newest certificate, until the process ends.
async fn serve_api(
    listener: TcpListener,
    source: CertificateSource,
    parts: Parts,
    client: kube::Client,
    leads: impl Fn() -> bool,
) {
    let (newest, served) = watched::channel(None);
    let certificate = async {
        match source {
            CertificateSource::Files(files) => certificate::follow_files(files, &newest).await,
            CertificateSource::Kept(kept) => certificate::keep(kept, client, leads, &newest).await,
        }
    };
    tokio::join!(certificate, http_api::serve(listener, served, parts));
}

/// Returns when the desk `rests` and the Lease is `released`.
async fn end(desk: JoinHandle<()>, rests: &CancellationToken, released: &CancellationToken) {
    // How it ended is told by whoever waits for its end while the process runs.
    let _ = desk.await;
    rests.cancel();
    released.cancelled().await;
}

fn scopes(namespaces: &[String]) -> Vec<Scope> {
    if namespaces.is_empty() {
        vec![None]
    } else {
        namespaces.iter().cloned().map(Some).collect()
    }
}

/// Waits for the signal to stop. Every task runs as long as the process: one that panics, or ends, ends it.
async fn run_until(
    stop: &CancellationToken,
    background: &mut JoinSet<()>,
    desk: &mut JoinHandle<()>,
) -> Result<(), Error> {
    let ended = tokio::select! {
        // First, as the desk also ends by it, and is awaited afterwards.
        biased;
        () = stop.cancelled() => return Ok(()),
        Some(ended) = background.join_next() => ended,
        ended = desk => ended,
    };
    match ended {
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        _ if stop.is_cancelled() => Ok(()),
        _ => Err(Error::PartEnded),
    }
}
