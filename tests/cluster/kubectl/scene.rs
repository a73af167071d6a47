//! An operator in a Pod whose ports can be forwarded, and callers with rights of their own.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result, ensure};
use harness::control_plane::programs;
use harness::{ControlPlane, Operator, node, wait};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::api::scene::{HOST, certificate};
use crate::fixture::{Fixture, SOON};

/// The name of the Pod.
pub const POD: &str = "distributary-0";

/// Who calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Caller {
    /// Reads policies, and may forward to the operator's Pod.
    Reader,
    /// The same, and changes them.
    Editor,
    /// Reads policies alone.
    Viewer,
    /// The same, and may get the Lease and forward with get alone.
    Getter,
    Nobody,
}

impl Caller {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::Getter => "getter",
            Self::Nobody => "nobody",
        }
    }
}

pub struct Scene {
    pub it: Fixture,
    pub directory: PathBuf,
    /// Where the operator answers those who may forward to its Pod.
    pub loopback: SocketAddr,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Scene {
    /// A policy of a primary and so many replicas, ready.
    pub async fn set(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        static POINT: AtomicU8 = AtomicU8::new(1);
        let mut it = Fixture::start(Arc::clone(&plane), replicas).await?;
        let loopback = Ipv4Addr::new(127, 18, 0, POINT.fetch_add(1, Ordering::Relaxed));
        let (directory, authority) = certificate(&format!("plugin-{}", &*it.namespace))?;
        std::fs::write(directory.join("ca.crt"), authority)?;
        it.operator.kill();
        it.operator = operator(&it, loopback, &directory).await?;
        plane.apply(&it.namespace, &callers().to_string()).await?;
        plane.pod(&it.namespace, POD, loopback).await?;
        it.apply(&it.policy()).await?;
        it.serves().await?;
        let loopback = SocketAddr::from((loopback, 8081));
        let scene = Self {
            it,
            directory,
            loopback,
        };
        // The API server may know a role a little later.
        wait::eventually("the rights of the callers to be known", SOON, || async {
            for caller in [Caller::Reader, Caller::Editor] {
                let ended = scene.run(caller, &["health"]).await?;
                ensure!(ended.code == 0 && ended.err.is_empty(), "{ended:?}");
            }
            let ended = scene.run(Caller::Getter, &["health"]).await?;
            ensure!(ended.err.contains("portforward"), "{ended:?}");
            anyhow::Ok(())
        })
        .await?;
        Ok(scene)
    }

    /// The plugin as a caller; it finds the operator in the namespace of the test.
    pub async fn command(&self, caller: Caller, arguments: &[&str]) -> Result<Command> {
        let kubeconfig = self
            .it
            .plane
            .service_account_kubeconfig(&self.it.namespace, caller.name())
            .await?;
        let mut command = Command::new(self.plugin("kubectl-distributary")?);
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        if has_live(arguments) {
            command.args(["--operator-namespace", &self.it.namespace]);
        }
        Ok(command)
    }

    pub async fn run(&self, caller: Caller, arguments: &[&str]) -> Result<Ended> {
        ended(&mut self.command(caller, arguments).await?).await
    }

    /// By kubectl itself, which finds the plugin.
    pub async fn kubectl(&self, caller: Caller, arguments: &[&str]) -> Result<Ended> {
        let kubeconfig = self
            .it
            .plane
            .service_account_kubeconfig(&self.it.namespace, caller.name())
            .await?;
        self.plugin("kubectl_complete-distributary")?;
        let plugin = self.plugin("kubectl-distributary")?;
        let mut path = OsString::from(plugin.parent().context("a directory")?);
        path.push(":/usr/bin:/bin");
        let mut command = Command::new(programs::path("kubectl")?);
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        command.env("PATH", path).env("HOME", node::data_subdir("home")?);
        ended(&mut command).await
    }

    /// The binary by a name of the plugin.
    pub fn plugin(&self, name: &str) -> Result<PathBuf> {
        let link = self.directory.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_distributary"), &link)?;
        }
        Ok(link)
    }
}

/// Whether a command takes the flags of live figures.
fn has_live(arguments: &[&str]) -> bool {
    let live = ["health", "status", "stats"];
    arguments.iter().any(|argument| live.contains(argument)) && !arguments.contains(&"--operator-namespace")
}

pub async fn ended(command: &mut Command) -> Result<Ended> {
    let output = wait::within("the command to end", SOON, command.output()).await?;
    Ok(Ended {
        code: output.status.code().context("a code")?,
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

async fn operator(it: &Fixture, loopback: Ipv4Addr, directory: &Path) -> Result<Operator> {
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    Operator::builder(&kubeconfig)
        .namespace(&it.namespace)
        .api()
        .args([
            "--leader-elect".to_owned(),
            format!("--lease-namespace={}", &*it.namespace),
            format!("--loopback-address={loopback}:8081"),
            format!("--api-tls-directory={}", directory.display()),
        ])
        .env("POD_NAME", POD)
        .start()
        .await
}

/// The address of the HTTP API, for `--server`.
pub fn flags_of_server(scene: &Scene) -> [String; 3] {
    [
        format!("--server=https://{}", scene.it.operator.api_address()),
        format!(
            "--certificate-authority={}",
            scene.directory.join("ca.crt").display()
        ),
        format!("--tls-server-name={HOST}"),
    ]
}

fn callers() -> Value {
    let account =
        |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let rule = |group: &str, resource: &str, verbs: Value| json!({"apiGroups": [group], "resources": [resource], "verbs": verbs});
    let policies = |verbs: Value| rule("distributary.dev", "replicasetpolicies", verbs);
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules});
    let binding = |name: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": format!("{name}-{role}")},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        })
    };
    let leases = || rule("coordination.k8s.io", "leases", json!(["get"]));
    json!({"apiVersion": "v1", "kind": "List", "items": [
        account("reader"), account("editor"), account("viewer"), account("getter"), account("nobody"),
        role("view", json!([
            policies(json!(["get", "list", "watch"])), rule("", "configmaps", json!(["get"])),
        ])),
        role("edit", json!([policies(json!(["patch"]))])),
        role("forward", json!([leases(), rule("", "pods/portforward", json!(["get", "create"]))])),
        role("half-forward", json!([leases(), rule("", "pods/portforward", json!(["get"]))])),
        binding("reader", "view"), binding("reader", "forward"),
        binding("editor", "view"), binding("editor", "edit"), binding("editor", "forward"),
        binding("viewer", "view"),
        binding("getter", "view"), binding("getter", "half-forward"),
    ]})
}
