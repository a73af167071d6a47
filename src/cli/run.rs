//! `distributary run`: the operator.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::api::{self, ApiArguments};
use super::fail;
use super::lease::{self, LeaseArguments, duration};
use super::loopback::LoopbackArguments;
use super::terms::Terms;
use crate::k8s::clients::{self, Clients};
use crate::k8s::context::ClusterSettings;
use crate::k8s::secrets::SecretAccess;
use crate::process::{self, Settings};
use crate::telemetry::{self, LogFormat};
use distributary_api::validate::{self, ClusterNames};
use distributary_probe::{Limits, cluster_domain};

/// Run the operator.
///
/// Credentials come from the kubeconfig (KUBECONFIG, or ~/.kube/config) or from the pod's ServiceAccount.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Namespace whose policies the operator serves; may be given more than once. Default: all.
    #[arg(
        long = "namespace",
        env = "DISTRIBUTARY_NAMESPACE",
        value_name = "NAME",
        value_delimiter = ','
    )]
    namespaces: Vec<String>,
    /// Address to listen on for /livez, /readyz and /metrics. [::] is every address of both families, or of IPv4 where there
    /// is no IPv6.
    #[arg(long, env = "DISTRIBUTARY_HTTP_ADDRESS", default_value = "[::]:8080")]
    http_address: SocketAddr,
    /// Whether each endpoint has metrics of its own: about 21 series, see docs/metrics.md. off: those of policies alone are left.
    #[arg(
        long,
        env = "DISTRIBUTARY_METRICS_PER_ENDPOINT",
        value_enum,
        default_value = "on"
    )]
    metrics_per_endpoint: Switch,
    /// Format of the log.
    #[arg(long, env = "DISTRIBUTARY_LOG_FORMAT", value_enum, default_value = "json")]
    log_format: LogFormat,
    /// Level of the log: error, warn, info, debug or trace; or directives such as distributary=debug,kube=info.
    #[arg(long, env = "DISTRIBUTARY_LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// How Secrets are watched: with one watch on all Secrets, or with one watch for each Secret that a policy names.
    #[arg(
        long,
        env = "DISTRIBUTARY_SECRETS",
        value_enum,
        default_value = "cluster-wide"
    )]
    secrets: SecretAccess,
    /// Maximum number of checks at the same time.
    #[arg(long, env = "DISTRIBUTARY_PROBES", default_value_t = 256, value_parser = at_least_one)]
    probes: usize,
    /// Maximum number of checks at the same time for one policy.
    #[arg(long, env = "DISTRIBUTARY_PROBES_PER_POLICY", default_value_t = 16, value_parser = at_least_one)]
    probes_per_policy: usize,
    /// Shortest healthCheck.interval and healthCheck.heartbeat that is used: a policy that declares a shorter one gets this one,
    /// and Accepted says so. 0s: as policies say.
    #[arg(long, env = "DISTRIBUTARY_MIN_INTERVAL", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    min_interval: Duration,
    #[command(flatten)]
    terms: Terms,
    /// Maximum number of endpoints that the policies of a namespace have together: those that were created later and find no
    /// room are not checked, and Accepted says so. 0: no maximum.
    #[arg(
        long,
        env = "DISTRIBUTARY_MAX_ENDPOINTS_PER_NAMESPACE",
        value_name = "NUMBER",
        default_value_t = 0
    )]
    max_endpoints_per_namespace: usize,
    /// Region of the cluster, as policies name it: under the strategy Geographic, NAME-ro leads to the servers that are nearest
    /// to it. Default: none, and NAME-ro ignores regions.
    #[arg(long, env = "DISTRIBUTARY_REGION", value_name = "REGION", value_parser = validate::cluster_region)]
    region: Option<String>,
    /// Namespaces whose Services and pods the host of a policy may name, beside those of its own namespace. May be given more
    /// than once, or separated by commas. Default: none.
    #[arg(
        long = "allow-namespaces",
        env = "DISTRIBUTARY_ALLOW_NAMESPACES",
        value_name = "NAMESPACE",
        value_delimiter = ',',
        value_parser = validate::namespace
    )]
    allow_namespaces: Vec<String>,
    /// DNS domain of the cluster. Default: as /etc/resolv.conf has it behind `svc.`, else cluster.local.
    #[arg(long, env = "DISTRIBUTARY_CLUSTER_DOMAIN", value_name = "DOMAIN", value_parser = validate::cluster_domain)]
    cluster_domain: Option<String>,
    #[command(flatten)]
    lease: LeaseArguments,
    #[command(flatten)]
    api: ApiArguments,
    #[command(flatten)]
    loopback: LoopbackArguments,
    /// Name of this process in Events.
    #[arg(long, env = "DISTRIBUTARY_INSTANCE", default_value = "distributary")]
    instance: String,
}

/// On or off.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| "must be a number of at least 1".to_owned())
}

/// Runs until a signal; `clients` are made on the runtime of the operator.
pub fn main<F>(arguments: Arguments, clients: impl FnOnce() -> F) -> ExitCode
where
    F: Future<Output = Result<Clients, clients::Error>>,
{
    if let Err(error) = telemetry::start(arguments.log_format, &arguments.log_level) {
        return fail(&error);
    }
    let settings = match settings(arguments) {
        Ok(settings) => settings,
        Err(refused) => return fail(&refused),
    };
    allow_sockets();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let ended: Result<(), Box<dyn std::error::Error>> = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(cancel_on_signal(stop.clone()));
        Ok(process::run(settings, clients().await?, stop).await?)
    });
    // Probes hold no state: what is left of them may go at once.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

/// One socket for each endpoint stays open: as many files as the system lets this process have.
fn allow_sockets() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most).map(|()| most));
    match raised {
        Ok(most) => tracing::debug!(most, "open files"),
        Err(error) => tracing::warn!(%error, "the limit of open files cannot be raised"),
    }
}

/// Why the options do not fit together.
#[derive(Debug, thiserror::Error)]
enum SettingsError {
    #[error(transparent)]
    Lease(#[from] lease::Error),
    #[error(transparent)]
    Api(#[from] api::Error),
}

fn settings(arguments: Arguments) -> Result<Settings, SettingsError> {
    let cluster_domain = arguments.cluster_domain.or_else(cluster_domain);
    let cluster_domain = cluster_domain.unwrap_or_else(|| ClusterNames::DOMAIN.to_owned());
    Ok(Settings {
        namespaces: arguments.namespaces,
        http_address: arguments.http_address,
        metrics_per_endpoint: arguments.metrics_per_endpoint == Switch::On,
        secrets: arguments.secrets,
        limits: arguments.terms.limits(Limits {
            all: arguments.probes,
            policy: arguments.probes_per_policy,
            ..Limits::default()
        }),
        addresses: arguments.terms.addresses(),
        instance: arguments.instance,
        cluster: ClusterSettings {
            region: arguments.region,
            names: ClusterNames::new(&cluster_domain, arguments.allow_namespaces),
            min_interval: arguments.min_interval,
            max_endpoints_per_namespace: arguments.max_endpoints_per_namespace,
        },
        api: arguments.api.settings(&cluster_domain)?,
        cluster_domain,
        loopback: arguments.loopback.address(),
        lease: arguments.lease.settings()?,
    })
}

async fn cancel_on_signal(stop: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot listen for signals");
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
}
