//! A release of the chart in a namespace of its own, and `helm test` of it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::control_plane::{AuditEvent, service_account_user};
use harness::{ControlPlane, Operator, PgCluster, watch};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;

use super::manifests::arguments_of;
use super::{CHART, restricted};
use crate::fixture::{Fixture, SOON, secret};

/// An operator with the rights, and the arguments, that the chart gives it in a namespace of its own.
pub(super) struct Release {
    pub(super) fixture: Fixture,
    /// The release, and what the names of its objects begin with.
    pub(super) name: String,
}

impl Release {
    pub(super) async fn install(plane: Arc<ControlPlane>, prefix: &str, values: &[&str]) -> Result<Self> {
        let namespace = restricted(&plane, prefix).await?;
        let name = namespace.to_string();
        helm(&plane, "install", &name, values).await?;
        let account = format!("{name}-distributary");
        let deployments: Api<Deployment> = Api::namespaced(plane.client(), &namespace);
        let deployment = serde_json::to_value(deployments.get(&account).await?)?;
        let kubeconfig = plane.service_account_kubeconfig(&namespace, &account).await?;
        // The harness sets those of the log by itself.
        let arguments = arguments_of(&deployment)?
            .into_iter()
            .skip(1)
            .filter(|argument| !argument.starts_with("--log"));
        let operator = Operator::builder(&kubeconfig)
            .args(arguments)
            .env("POD_NAMESPACE", &namespace);
        plane
            .apply(
                &namespace,
                &secret(
                    "probe",
                    harness::postgres::PROBE.user,
                    harness::postgres::PROBE.password,
                )
                .to_string(),
            )
            .await?;
        let (postgres, operator) = tokio::try_join!(PgCluster::start(1), operator.start())?;
        Ok(Self {
            fixture: Fixture {
                operator,
                postgres,
                namespace,
                plane,
            },
            name,
        })
    }

    pub(super) fn audit(&self) -> Result<Vec<AuditEvent>> {
        let user = service_account_user(&self.name, &format!("{}-distributary", self.name));
        self.fixture.plane.audit_of(&user)
    }
}

pub async fn helm(plane: &ControlPlane, action: &str, name: &str, values: &[&str]) -> Result<()> {
    let namespaces = format!("watchNamespaces={{{name}}}");
    let mut arguments = vec![action, name, CHART, "-n", name];
    for value in ["crds.install=false", "rbac.aggregateToView=false", &namespaces] {
        arguments.extend(["--set", value]);
    }
    for value in values {
        arguments.extend(["--set-json", value]);
    }
    plane.helm(&arguments).await?;
    Ok(())
}

/// Nothing runs Pods here: the test does what the Pod of the release says, with the rights of its ServiceAccount.
pub(super) async fn helm_tests(plane: Arc<ControlPlane>) -> Result<()> {
    let quick = r#"extraArgs=["--lease-duration=3s","--renew-deadline=2s","--retry-period=500ms"]"#;
    let release = Release::install(plane, "verified", &[quick]).await?;
    let it = &release.fixture;
    it.apply(&it.policy()).await?;
    it.condition("Ready", "True", "Routable").await?;
    let (code, said) = helm_test(&release).await?;
    ensure!(
        code == 0 && said.contains("1 policies, of which 1 are Ready") && said.contains("is renewed by "),
        "{code} {said}"
    );
    it.operator.kill();
    let (code, said) = helm_test(&release).await?;
    ensure!(
        code == 4 && said.contains("nobody renewed the Lease") && said.contains("within 8 s"),
        "{code} {said}"
    );
    let leases: Api<Lease> = it.api();
    leases
        .delete(
            &format!("{}-distributary", release.name),
            &DeleteParams::default(),
        )
        .await?;
    let (code, said) = helm_test(&release).await?;
    ensure!(code == 4 && said.contains("there is no Lease"), "{code} {said}");
    Ok(())
}

/// How the Pod of `helm test` ends, and what it says; helm is told the same.
async fn helm_test(release: &Release) -> Result<(i32, String)> {
    let it = &release.fixture;
    let account = format!("{}-distributary", release.name);
    let pods: Api<Pod> = it.api();
    let name = format!("{account}-verify");
    let run = async {
        let created = |pod: Option<&Pod>| {
            let pod = pod?;
            let phase = pod.status.as_ref()?.phase.as_deref();
            pod.spec.clone().filter(|_| phase == Some("Pending"))
        };
        let spec = watch::object(&pods, &name, "the Pod of helm test", SOON, created).await?;
        ensure!(
            spec.service_account_name.as_deref() == Some(&*account),
            "{spec:?}"
        );
        let arguments = spec.containers[0].args.clone().context("arguments")?;
        let kubeconfig = it
            .plane
            .service_account_kubeconfig(&it.namespace, &account)
            .await?;
        let said = tokio::process::Command::new(env!("CARGO_BIN_EXE_distributary"))
            .args(arguments)
            .env("KUBECONFIG", kubeconfig)
            .output()
            .await?;
        let code = said.status.code().context("a code")?;
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let status = Patch::Merge(json!({"status": {"phase": phase}}));
        pods.patch_status(&name, &PatchParams::default(), &status).await?;
        anyhow::Ok((code, String::from_utf8([said.stdout, said.stderr].concat())?))
    };
    let arguments = ["test", &*release.name, "-n", &*release.name, "--timeout", "60s"];
    let (helm, ran) = tokio::join!(it.plane.helm(&arguments), run);
    let (code, said) = ran?;
    ensure!(helm.is_ok() == (code == 0), "{code} {said}: {helm:?}");
    Ok((code, said))
}
