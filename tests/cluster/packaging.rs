//! `deploy/` and `charts/distributary` on a real API server, and the operator with the rights that they give.
//!
//! No kubelet runs, so no container does either: that Pods are made says that Pod Security admits them, and the
//! operator is run beside the cluster with the token of the ServiceAccount that was installed.

mod chart;
mod manifests;
mod monitoring;
mod release;
mod rights;
mod values;

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::control_plane::Namespace;
use harness::suite::Suite;
use harness::{ControlPlane, watch};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::runtime::watcher;
use serde_json::json;

use crate::fixture::SOON;
use rights::{pair, role_pairs};

pub use manifests::{arguments_of, find, rules, template};
pub use release::helm;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("kustomize_installs_everything", kustomize_installs)
        .test(
            "kustomize_installs_the_samples_anywhere",
            kustomize_installs_the_samples,
        )
        .test(
            "helm_installs_everything_and_leaves_the_definition",
            helm_installs,
        )
        .test("deploy_and_chart_install_the_same", chart::deploy_and_chart_agree)
        .test(
            "the_chart_gives_namespaces_and_secrets_their_roles",
            chart::the_chart_gives_roles,
        )
        .test(
            "every_value_of_the_chart_has_its_place",
            values::every_value_has_its_place,
        )
        .test(
            "the_chart_runs_as_many_pods_as_it_is_told",
            chart::the_chart_runs_as_many_as_it_is_told,
        )
        .test(
            "the_chart_installs_what_reads_the_metrics",
            monitoring::the_chart_installs_monitoring,
        )
        .test("the_chart_refuses_wrong_values", values::wrong_values_are_refused)
        .test(
            "the_operator_needs_exactly_its_role",
            rights::the_operator_needs_its_role,
        )
        .test(
            "named_secrets_suffice_for_the_operator",
            rights::named_secrets_suffice,
        )
        .test("helm_test_tells_whether_an_operator_works", release::helm_tests)
}

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/distributary");
/// The namespace that `deploy/` makes.
const NAMESPACE: &str = "distributary-system";
const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";
const READS: [&str; 3] = ["get", "list", "watch"];

async fn kustomize_installs(plane: Arc<ControlPlane>) -> Result<()> {
    let said = plane.kubectl(&["apply", "-k", DEPLOY]).await?;
    for object in [
        "namespace/distributary-system",
        "customresourcedefinition.apiextensions.k8s.io/replicasetpolicies.distributary.dev",
        "serviceaccount/distributary",
        "clusterrole.rbac.authorization.k8s.io/distributary",
        "clusterrolebinding.rbac.authorization.k8s.io/distributary",
        "role.rbac.authorization.k8s.io/distributary-lease",
        "rolebinding.rbac.authorization.k8s.io/distributary-lease",
        "poddisruptionbudget.policy/distributary",
        "deployment.apps/distributary",
    ] {
        ensure!(
            said.lines().any(|line| line.starts_with(&format!("{object} "))),
            "no {object} in\n{said}"
        );
    }
    let labels = plane
        .kubectl(&["get", "namespace", NAMESPACE, "--show-labels"])
        .await?;
    ensure!(labels.contains(RESTRICTED), "{labels}");
    a_pod_is_made(&plane, NAMESPACE).await?;
    // Whoever may view a namespace may read its policies; nobody may write them who could not before.
    let roles: Api<ClusterRole> = Api::all(plane.client());
    for role in ["view", "edit", "admin"] {
        let rules = |role: Option<&ClusterRole>| {
            let pairs = role_pairs(&json!(role?.rules));
            let ours: BTreeSet<_> = pairs
                .into_iter()
                .filter(|pair| pair.contains("replicasetpolicies"))
                .collect();
            (!ours.is_empty()).then_some(ours)
        };
        let may = watch::object(&roles, role, &format!("{role} to be aggregated"), SOON, rules).await?;
        let resources = ["replicasetpolicies", "replicasetpolicies/status"];
        let read = resources
            .iter()
            .flat_map(|resource| READS.map(|verb| pair(verb, "distributary.dev", resource)));
        ensure!(may == read.collect(), "{role} may {may:?}");
    }
    // From kubectl to Helm: what has another selector is made anew, all else becomes that of the release.
    let with_selectors = [
        "delete",
        "deployment,poddisruptionbudget",
        "distributary",
        "-n",
        NAMESPACE,
    ];
    plane.kubectl(&with_selectors).await?;
    let install = [
        "install",
        "distributary",
        CHART,
        "-n",
        NAMESPACE,
        "--take-ownership",
        // Another test has a release take the definition over, which belongs to one at a time.
        "--set",
        "crds.install=false",
    ];
    let said = plane.helm(&install).await?;
    ensure!(said.contains("STATUS: deployed"), "{said}");
    a_pod_is_made(&plane, NAMESPACE).await
}

async fn kustomize_installs_the_samples(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("samples").await?;
    plane
        .kubectl(&["apply", "-k", &format!("{DEPLOY}/samples"), "-n", &namespace])
        .await?;
    let policies = plane
        .kubectl(&[
            "get",
            "replicasetpolicies.distributary.dev",
            "-n",
            &namespace,
            "-o",
            "name",
        ])
        .await?;
    let names: Vec<_> = policies.lines().collect();
    ensure!(
        names
            == [
                "replicasetpolicy.distributary.dev/orders",
                "replicasetpolicy.distributary.dev/orders-cnpg",
                "replicasetpolicy.distributary.dev/sessions"
            ],
        "{policies}"
    );
    Ok(())
}

async fn helm_installs(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = restricted(&plane, "release").await?;
    // The definition is there already: the suite starts with it.
    let install = ["install", "one", CHART, "-n", &namespace, "--take-ownership"];
    let said = plane.helm(&install).await?;
    ensure!(
        said.contains("STATUS: deployed") && said.contains("kind: ReplicaSetPolicy"),
        "{said}"
    );
    let warning = "No registry has the image";
    ensure!(said.contains(warning), "{said}");
    a_pod_is_made(&plane, &namespace).await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(plane.client());
    let name = "replicasetpolicies.distributary.dev";
    let annotations = definitions
        .get(name)
        .await?
        .metadata
        .annotations
        .unwrap_or_default();
    ensure!(
        annotations
            .get("helm.sh/resource-policy")
            .is_some_and(|policy| policy == "keep"),
        "{annotations:?}"
    );

    let upgraded = plane
        .helm(&[
            "upgrade",
            "one",
            CHART,
            "-n",
            &namespace,
            "--set",
            "logLevel=debug,image.repository=mirror/distributary",
        ])
        .await?;
    ensure!(!upgraded.contains(warning), "{upgraded}");
    plane
        .helm(&["uninstall", "one", "-n", &namespace, "--wait"])
        .await?;
    let definition = definitions.get(name).await?;
    ensure!(
        definition.metadata.deletion_timestamp.is_none(),
        "the definition went with the release"
    );
    let left = plane
        .kubectl(&["get", "clusterroles,clusterrolebindings", "-o", "name"])
        .await?;
    ensure!(!left.contains("one-distributary"), "{left}");
    Ok(())
}

/// A namespace that refuses Pods with more rights than they need.
pub async fn restricted(plane: &ControlPlane, prefix: &str) -> Result<Namespace> {
    let namespace = plane.namespace(prefix).await?;
    plane
        .kubectl(&["label", "namespace", &namespace, RESTRICTED])
        .await?;
    Ok(namespace)
}

async fn a_pod_is_made(plane: &ControlPlane, namespace: &str) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(plane.client(), namespace);
    let config = watcher::Config::default().labels("app.kubernetes.io/name=distributary");
    watch::set(&pods, config, "a Pod of the operator", SOON, |pods: &[Pod]| {
        !pods.is_empty()
    })
    .await?;
    Ok(())
}
