//! A Kubernetes control plane with one node, `n1`: the namespace that the program runs in.
//!
//! etcd, kube-apiserver, kube-controller-manager and kube-proxy are the real programs, started with the flags that a
//! cluster would have. There is no scheduler, and the kubelet is a stub that forwards ports: pods stay pending.

pub mod audit;
mod commands;
mod credentials;
mod daemons;
mod namespace;
pub mod programs;
mod tokens;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::{Condition, conditions};
use kube::{Api, Client, Config};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::process::Daemon;
use crate::{node, wait, watch};
use audit::AuditLog;
use credentials::Credentials;

pub use audit::AuditEvent;
pub use commands::service_account_user;
pub use namespace::Namespace;

/// How long the control plane may take to start; 5 s is usual, on a busy machine it is longer.
const START: Duration = Duration::from_mins(1);

/// How long after a slice kube-proxy may follow it.
///
/// In nftables mode it synchronises at once, and then not again for `minSyncPeriod`, which is 1 s by default
/// (`SetDefaults_KubeProxyConfiguration` in kubernetes/pkg/proxy/apis/config/v1alpha1): a change that comes within a
/// second after one of any other Service takes effect about 1.04 s later (seen, 1.37.2). The rest is for writing the rules.
pub const PROXY_DELAY: Duration = Duration::from_millis(1200);

/// A running control plane. Dropping it kills its programs. A program has one at a time; the next one is empty.
pub struct ControlPlane {
    client: Client,
    credentials: Credentials,
    admin: PathBuf,
    audit_log: AuditLog,
    // Dropped in this order: those who depend on another program end before it.
    kubelet: OnceCell<Daemon>,
    proxy: Daemon,
    controller_manager: Daemon,
    api_server: Daemon,
    etcd: Daemon,
}

/// One of its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// etcd.
    Etcd,
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-proxy.
    Proxy,
}

/// The family of the addresses that Services get: they have one of it, and none of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceFamily {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
}

impl ControlPlane {
    /// Starts one; returns when objects can be made and a ClusterIP leads to its endpoints.
    ///
    /// # Errors
    /// When a program is missing or ends, or it is not ready after a minute: the message has the end of its log.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same, and applies these files with CustomResourceDefinitions before the controllers start.
    ///
    /// The garbage collector looks for new resources only every 30 s, so objects owned by custom ones are
    /// collected at once only when it is started after their definition.
    ///
    /// # Errors
    /// As [`start`](Self::start), or when kubectl refuses a file.
    pub async fn start_with(definitions: &[&Path]) -> Result<Self> {
        Self::start_of(ServiceFamily::default(), definitions).await
    }

    /// The same, with Services of this family.
    ///
    /// # Errors
    /// As [`start_with`](Self::start_with).
    pub async fn start_of(family: ServiceFamily, definitions: &[&Path]) -> Result<Self> {
        let control_plane = Self::prepare(family).await?;
        control_plane.etcd.start()?;
        control_plane.api_server.start()?;
        control_plane.ready().await?;
        control_plane.define(definitions).await?;
        control_plane.controller_manager.start()?;
        control_plane.add_node().await?;
        control_plane.proxy.start()?;

        let (accounts, services) = tokio::join!(control_plane.accounts(), control_plane.services(family));
        accounts.and(services)?;
        Ok(control_plane)
    }

    /// A client with all rights.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The kubeconfig of that client.
    #[must_use]
    pub fn admin_kubeconfig(&self) -> &Path {
        &self.admin
    }

    /// One of the programs, to kill, freeze or start again.
    #[must_use]
    pub fn program(&self, program: Program) -> &Daemon {
        match program {
            Program::Etcd => &self.etcd,
            Program::ApiServer => &self.api_server,
            Program::ControllerManager => &self.controller_manager,
            Program::Proxy => &self.proxy,
        }
    }

    /// Waits until the API server says that it is ready.
    ///
    /// # Errors
    /// When etcd or the API server has ended, or it is not ready after a minute.
    pub async fn ready(&self) -> Result<()> {
        let ready = || async {
            let request = http::Request::get("/readyz").body(vec![])?;
            tokio::time::timeout(Duration::from_secs(1), self.client.request_text(request)).await??;
            anyhow::Ok(())
        };
        tokio::select! {
            ready = wait::eventually("the API server to be ready", START, ready) => ready.map(drop),
            ended = end_of(&self.etcd) => ended,
            ended = end_of(&self.api_server) => ended,
        }
    }

    /// Makes a Pod on the node, which stands for a program that listens on this address of the loopback: its ports can be
    /// forwarded. The first one starts the kubelet.
    ///
    /// # Errors
    /// When the Pod cannot be made, or the kubelet is missing or ends.
    pub async fn pod(&self, namespace: &str, name: &str, loopback: Ipv4Addr) -> Result<()> {
        let pods = node::data_subdir("pods")?;
        let kubelet = async || {
            let daemon = daemons::kubelet(&self.credentials, &pods)?;
            daemon.start()?;
            let address = (node::NODE, daemons::KUBELET_PORT);
            let connect = || async { anyhow::Ok(TcpStream::connect(address).await?) };
            wait::eventually("the kubelet to listen", START, connect).await?;
            anyhow::Ok(daemon)
        };
        self.kubelet.get_or_try_init(kubelet).await?.still_runs()?;
        let own = pods.join(namespace);
        std::fs::create_dir_all(&own)?;
        std::fs::write(own.join(name), loopback.to_string())?;
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        let pod = json!({
            "metadata": { "name": name },
            "spec": { "nodeName": "n1", "containers": [{ "name": "distributary", "image": "none" }] },
        });
        api.create(&PostParams::default(), &serde_json::from_value(pod)?)
            .await
            .context("create the pod")?;
        Ok(())
    }

    async fn prepare(family: ServiceFamily) -> Result<Self> {
        let credentials = Credentials::make()?;
        let admin = credentials.for_user("admin", &["system:masters"])?;
        let audit_log = AuditLog::at(node::data_subdir("logs")?.join("audit.log"));
        Ok(Self {
            client: client(&admin).await?,
            kubelet: OnceCell::new(),
            proxy: daemons::proxy(&credentials)?,
            controller_manager: daemons::controller_manager(&credentials)?,
            api_server: daemons::api_server(&credentials, audit_log.path(), family)?,
            etcd: daemons::etcd()?,
            credentials,
            admin,
            audit_log,
        })
    }

    async fn define(&self, definitions: &[&Path]) -> Result<()> {
        for file in definitions {
            let file = file.to_str().context("a path in UTF-8")?;
            self.kubectl(&["apply", "--server-side", "-f", file]).await?;
        }
        let api: Api<CustomResourceDefinition> = Api::all(self.client());
        let established = |all: &[CustomResourceDefinition]| {
            all.iter()
                .all(|one| conditions::is_crd_established().matches_object(Some(one)))
        };
        watch::set(
            &api,
            kube::runtime::watcher::Config::default(),
            "the CRDs",
            START,
            established,
        )
        .await
    }

    async fn add_node(&self) -> Result<()> {
        let api: Api<Node> = Api::all(self.client());
        let addresses = json!([{ "type": "InternalIP", "address": node::NODE }]);
        let node = json!({ "metadata": { "name": "n1" } });
        api.create(&PostParams::default(), &serde_json::from_value(node)?)
            .await
            .context("create the node")?;
        let port = json!({ "kubeletEndpoint": { "Port": daemons::KUBELET_PORT } });
        let status = json!({ "status": { "addresses": addresses, "daemonEndpoints": port } });
        let patch = kube::api::Patch::Merge(status);
        api.patch_status("n1", &kube::api::PatchParams::default(), &patch)
            .await
            .context("give it an address")?;
        Ok(())
    }

    async fn accounts(&self) -> Result<()> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client(), "default");
        let made = watch::object(&api, "default", "the first service account", START, |account| {
            account.is_some()
        });
        tokio::select! { made = made => made, ended = end_of(&self.controller_manager) => ended }
    }

    /// The API server's own Service works: kube-proxy has written its rules.
    async fn services(&self, family: ServiceFamily) -> Result<()> {
        let address = match family {
            ServiceFamily::V4 => "198.19.0.1:443",
            ServiceFamily::V6 => "[fd00:19::1]:443",
        };
        // Before the rules are there the address times out, or has no route.
        let connect = || async {
            let attempt = TcpStream::connect(address);
            anyhow::Ok(tokio::time::timeout(Duration::from_millis(100), attempt).await??)
        };
        let reached = wait::eventually("the ClusterIP of the API server", START, connect);
        tokio::select! { reached = reached => reached.map(drop), ended = end_of(&self.proxy) => ended }
    }
}

/// Ends, with an error, when the program does.
async fn end_of(daemon: &Daemon) -> Result<()> {
    daemon.end(START).await?;
    daemon.still_runs()
}

/// A client for this kubeconfig. It stays usable as long as the [runtime](crate::suite::runtime) runs.
///
/// # Errors
/// When the file cannot be read.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
