//! What there is before the story begins: a control plane, servers, an operator, a policy.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::control_plane::programs;
use harness::postgres::{APP, DATABASE, PORT, PROBE};
use harness::{ControlPlane, Operator, PgCluster, node};
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::policy::{self, NAME, SECRET};
use crate::screen::{Steps, say, show};

pub const NAMESPACE: &str = "shop";
const DEFINITION: &str = "crds/replicasetpolicies.distributary.dev.yaml";

/// All that runs. Dropping it ends the operator first, the control plane last.
pub struct Setting {
    pub operator: Operator,
    pub postgres: PgCluster,
    pub plane: ControlPlane,
}

/// Starts everything; the policy is `Ready` afterwards.
pub async fn start(steps: &mut Steps) -> Result<Setting> {
    let title = "Start a Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager, kube-proxy";
    let plane = steps.step(title, control_plane()).await?;
    let title = "Start PostgreSQL: a primary and two streaming replicas";
    let postgres = steps.step(title, servers()).await?;
    let title = "Install the operator and run it as its ServiceAccount";
    let operator = steps.step(title, operator(&plane)).await?;
    let setting = Setting {
        operator,
        postgres,
        plane,
    };
    let title = "Apply a policy and wait until it is Ready";
    steps.step(title, apply(&setting)).await?;
    Ok(setting)
}

async fn control_plane() -> Result<ControlPlane> {
    let plane = ControlPlane::start_with(&[Path::new(DEFINITION)]).await?;
    show(&plane, &["version"]).await?;
    Ok(plane)
}

async fn servers() -> Result<PgCluster> {
    let postgres = PgCluster::start(2).await?;
    let primary = postgres.primary();
    say(&primary.sql("select split_part(version(), ' on ', 1)").await?);
    say(&format!("primary    {}", primary.address()));
    for (number, replica) in postgres.replicas().iter().enumerate() {
        say(&format!(
            "replica-{}  {}, streams from the primary",
            number + 1,
            replica.address()
        ));
    }
    Ok(postgres)
}

async fn operator(plane: &ControlPlane) -> Result<Operator> {
    show(plane, &["apply", "-k", "deploy"]).await?;
    let kubeconfig = plane
        .service_account_kubeconfig("distributary-system", "distributary")
        .await?;
    say(
        "This node runs no containers, so the binary runs beside the cluster, with the token of that ServiceAccount.",
    );
    say("$ distributary run");
    Operator::builder(&kubeconfig).start().await
}

async fn apply(setting: &Setting) -> Result<()> {
    let (plane, manifest) = (&setting.plane, policy::manifest(&setting.postgres));
    let file = node::data_subdir("demo")?.join("policy.yaml");
    fs::write(&file, &manifest)?;
    let path = file.to_str().context("a path in UTF-8")?;

    show(plane, &["create", "namespace", NAMESPACE]).await?;
    show(
        plane,
        &["config", "set-context", "--current", "--namespace", NAMESPACE],
    )
    .await?;
    let (user, password) = (
        literal("username", PROBE.user),
        literal("password", PROBE.password),
    );
    show(plane, &["create", "secret", "generic", SECRET, &user, &password]).await?;
    say(&format!("$ cat {path}\n{manifest}"));
    show(plane, &["apply", "-f", path]).await?;
    show(
        plane,
        &["wait", "--for=condition=Ready", "--timeout=60s", "rsp/orders"],
    )
    .await?;
    for what in ["rsp", "services", "endpointslices"] {
        show(plane, &["get", what]).await?;
    }
    Ok(())
}

fn literal(key: &str, value: &str) -> String {
    format!("--from-literal={key}={value}")
}

impl Setting {
    /// The ClusterIP and port of a Service of the policy.
    pub async fn cluster_ip(&self, route: &str) -> Result<SocketAddr> {
        let services: Api<Service> = Api::namespaced(self.plane.client(), NAMESPACE);
        let service = services.get(&format!("{NAME}-{route}")).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip);
        Ok(SocketAddr::new(address.context("no clusterIP")?.parse()?, PORT))
    }

    /// With which psql reaches a Service of the policy.
    pub async fn uri(&self, route: &str) -> Result<String> {
        let (user, password) = (APP.user, APP.password);
        let service = self.cluster_ip(route).await?;
        Ok(format!("postgresql://{user}:{password}@{service}/{DATABASE}"))
    }

    /// Makes a kubectl that knows this cluster, for people, and returns its path.
    pub fn kubectl_script(&self) -> Result<PathBuf> {
        let script = node::data_subdir("demo")?.join("kubectl");
        let (kubectl, home) = (
            programs::path("kubectl")?.canonicalize()?,
            node::data_subdir("home")?,
        );
        let text = format!(
            "#!/bin/sh\nexport KUBECONFIG='{}' HOME='{}'\nexec '{}' \"$@\"\n",
            self.plane.admin_kubeconfig().display(),
            home.display(),
            kubectl.display()
        );
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }
}
