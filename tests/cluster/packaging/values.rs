//! The values of the chart: what each becomes, and which are refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use harness::ControlPlane;
use serde_json::json;

use super::manifests::{find, template};

/// Values of the chart, none as it is by default.
const VALUES: &[&str] = &[
    "image.repository=mirror/distributary",
    "image.pullPolicy=Always",
    "imagePullSecrets[0].name=pull",
    "fullnameOverride=router",
    "crds.install=false",
    "rbac.aggregateToView=false",
    "serviceAccount.name=router-account",
    "serviceAccount.annotations.a=b",
    "logLevel=debug",
    "logFormat=text",
    "extraArgs={--probes=512}",
    "env[0].name=A",
    "env[0].value=b",
    "runAsUser=1000660000",
    "resources.limits.cpu=1",
    "podAnnotations.c=d",
    "priorityClassName=system-cluster-critical",
    "nodeSelector.e=f",
    "tolerations[0].operator=Exists",
    "affinity.podAffinity.g=h",
    "addresses.allow={10.0.0.0/8,fd00::/8}",
    "addresses.deny={10.96.0.0/12}",
    "addresses.namespaces={databases}",
    "clusterDomain=k8s.example.com",
    "minInterval=1s",
    "maxEndpointsPerNamespace=500",
    "requireTls=VerifyFull",
    "region=eu-west-1",
    "followerSessions=None",
];

/// What they become.
const ARGUMENTS: [&str; 15] = [
    "run",
    "--log-level=debug",
    "--log-format=text",
    "--lease-name=router",
    "--follower-sessions=None",
    "--allow-cidrs=10.0.0.0/8",
    "--allow-cidrs=fd00::/8",
    "--deny-cidrs=10.96.0.0/12",
    "--require-tls=VerifyFull",
    "--allow-namespaces=databases",
    "--min-interval=1s",
    "--max-endpoints-per-namespace=500",
    "--cluster-domain=k8s.example.com",
    "--region=eu-west-1",
    "--probes=512",
];

pub(super) async fn every_value_has_its_place(plane: Arc<ControlPlane>) -> Result<()> {
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut with_digest = VALUES.to_vec();
    let by_digest = format!("image.digest={digest}");
    with_digest.push(&by_digest);
    let documents = template(&plane, &with_digest).await?;
    let kinds: BTreeSet<_> = documents
        .iter()
        .filter_map(|document| document["kind"].as_str())
        .collect();
    let expected = [
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
        "Pod",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
        "ServiceAccount",
    ];
    ensure!(
        kinds == BTreeSet::from(expected) && documents.len() == 8,
        "{kinds:?}"
    );
    let account = find(&documents, "ServiceAccount", "router-account")?;
    ensure!(
        account["metadata"]["annotations"] == json!({"a": "b"}),
        "{account}"
    );
    let template = find(&documents, "Deployment", "router")?["spec"]["template"].clone();
    ensure!(
        template["metadata"]["annotations"] == json!({"c": "d"}),
        "{template}"
    );
    let expected = json!({
        "serviceAccountName": "router-account",
        "imagePullSecrets": [{"name": "pull"}],
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"e": "f"},
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"podAffinity": {"g": "h"}},
    });
    for (field, value) in expected.as_object().into_iter().flatten() {
        ensure!(
            template["spec"][field] == *value,
            "{field}: {}",
            template["spec"][field]
        );
    }
    ensure!(
        template["spec"]["securityContext"]["runAsUser"] == 1_000_660_000,
        "{}",
        template["spec"]
    );
    let container = &template["spec"]["containers"][0];
    let expected = json!({
        "image": format!("mirror/distributary@{digest}"),
        "imagePullPolicy": "Always",
        "args": ARGUMENTS,
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "POD_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
            {"name": "A", "value": "b"},
        ],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": 1, "memory": "256Mi"}},
    });
    for (field, value) in expected.as_object().into_iter().flatten() {
        ensure!(container[field] == *value, "{field}: {}", container[field]);
    }
    chart_on_openshift(&plane).await
}

/// The user is the namespace's.
async fn chart_on_openshift(plane: &ControlPlane) -> Result<()> {
    let on_openshift = template(plane, &["runAsUser=null", "image.tag=edge"]).await?;
    let spec = &find(&on_openshift, "Deployment", "distributary")?["spec"]["template"]["spec"];
    ensure!(spec["securityContext"].get("runAsUser").is_none(), "{spec}");
    ensure!(spec["containers"][0]["image"] == "distributary:edge", "{spec}");
    Ok(())
}

/// A value that the chart refuses, and what it says.
const WRONG_VALUES: &[(&str, &str)] = &[
    (
        "loglevel=info",
        "at '': additional properties 'loglevel' not allowed",
    ),
    (
        "image.name=x",
        "at '/image': additional properties 'name' not allowed",
    ),
    (
        "logLevel=loud",
        "at '/logLevel': value must be one of 'error', 'warn', 'info', 'debug', 'trace'",
    ),
    (
        "logFormat=xml",
        "at '/logFormat': value must be one of 'json', 'text'",
    ),
    (
        "image.pullPolicy=Maybe",
        "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'",
    ),
    (
        "image.digest=abc",
        "at '/image/digest': 'abc' does not match pattern '^(sha256:[0-9a-f]{64})?$'",
    ),
    (
        "image.repository=",
        "at '/image/repository': minLength: got 0, want 1",
    ),
    (
        "watchNamespaces=shop",
        "at '/watchNamespaces': got string, want array",
    ),
    (
        "watchNamespaces={a,a}",
        "at '/watchNamespaces': items at 0 and 1 are equal",
    ),
    (
        "secrets.access=All",
        "at '/secrets/access': value must be one of 'ClusterWide', 'Named'",
    ),
    (
        "secrets.names[0].namespace=shop",
        "at '/secrets/names/0': missing property 'names'",
    ),
    (
        "secrets.names[0].namespace=shop,secrets.names[0].names={a}",
        "at '/secrets/names': maxItems: got 1, want 0",
    ),
    (
        "addresses.deny={pg.example.com}",
        "at '/addresses/deny/0': 'pg.example.com' does not match pattern",
    ),
    (
        "addresses.namespaces={a.b}",
        "at '/addresses/namespaces/0': 'a.b' does not match pattern",
    ),
    ("minInterval=1w", "at '/minInterval': '1w' does not match pattern"),
    (
        "clusterDomain=K8s.",
        "at '/clusterDomain': 'K8s.' does not match pattern",
    ),
    (
        "requireTls=Require",
        "at '/requireTls': value must be one of 'None', 'VerifyCA', 'VerifyFull'",
    ),
    ("region=Europe", "at '/region': 'Europe' does not match pattern"),
    (
        "serviceAccount.create=perhaps",
        "at '/serviceAccount/create': got string, want boolean",
    ),
    ("crds.install=null", "at '/crds': missing property 'install'"),
    (
        "resources.limit.cpu=1",
        "at '/resources': additional properties 'limit' not allowed",
    ),
    (
        "followerSessions=Some",
        "at '/followerSessions': value must be one of 'Held', 'None'",
    ),
    ("replicas=-1", "at '/replicas': minimum: got -1, want 0"),
    ("runAsUser=0", "at '/runAsUser': minimum: got 0, want 1"),
    ("env[0].value=x", "at '/env/0': missing property 'name'"),
    (
        "tolerations[0].effect=Flee",
        "at '/tolerations/0/effect': value must be one of",
    ),
];

pub(super) async fn wrong_values_are_refused(plane: Arc<ControlPlane>) -> Result<()> {
    for (set, message) in WRONG_VALUES {
        let answer = template(&plane, &[set]).await;
        let Err(error) = answer else {
            bail!("{set} is taken")
        };
        let said = format!("{error:#}");
        ensure!(
            said.contains(&format!("- {message}")),
            "{set} is refused with\n{said}"
        );
    }
    Ok(())
}
