//! `deploy/` and `charts/distributary` on a real API server, and the operator with the rights that they give.
//!
//! No kubelet runs, so no container does either: that Pods are made says that Pod Security admits them, and the
//! operator is run beside the cluster with the token of the ServiceAccount that was installed.

mod monitoring;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::control_plane::{AuditEvent, Namespace, service_account_user};
use harness::suite::Suite;
use harness::{ControlPlane, Operator, PgCluster, wait, watch};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON, secret};

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
        .test("deploy_and_chart_install_the_same", deploy_and_chart_agree)
        .test(
            "the_chart_gives_namespaces_and_secrets_their_roles",
            the_chart_gives_roles,
        )
        .test(
            "every_value_of_the_chart_has_its_place",
            every_value_has_its_place,
        )
        .test(
            "the_chart_runs_as_many_pods_as_it_is_told",
            the_chart_runs_as_many_as_it_is_told,
        )
        .test(
            "the_chart_installs_what_reads_the_metrics",
            monitoring::the_chart_installs_monitoring,
        )
        .test("the_chart_refuses_wrong_values", wrong_values_are_refused)
        .test("the_operator_needs_exactly_its_role", the_operator_needs_its_role)
        .test("named_secrets_suffice_for_the_operator", named_secrets_suffice)
        .test("helm_test_tells_whether_an_operator_works", helm_tests)
}

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/distributary");
/// The namespace that `deploy/` makes.
const NAMESPACE: &str = "distributary-system";
const RESTRICTED: &str = "pod-security.kubernetes.io/enforce=restricted";
const READS: [&str; 3] = ["get", "list", "watch"];
/// What only OpenShift asks for.
const OPENSHIFT: &str = "create endpointslices/restricted";

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

async fn deploy_and_chart_agree(plane: Arc<ControlPlane>) -> Result<()> {
    let deploy = documents(&plane.kubectl(&["kustomize", DEPLOY]).await?)?;
    let chart = template(&plane, &[]).await?;
    for name in ["distributary", "distributary-view"] {
        let (deploy, chart) = (
            rules(&deploy, "ClusterRole", name)?,
            rules(&chart, "ClusterRole", name)?,
        );
        ensure!(deploy == chart, "the rules of {name} differ:\n{deploy}\n{chart}");
    }
    let lease = |documents: &[Value]| rules(documents, "Role", "distributary-lease");
    ensure!(lease(&deploy)? == lease(&chart)?, "the rules of the Lease differ");
    let budget = |documents: &[Value]| {
        let spec = find(documents, "PodDisruptionBudget", "distributary")?["spec"].clone();
        anyhow::Ok(spec["maxUnavailable"].clone())
    };
    ensure!(
        budget(&deploy)? == 1 && budget(&chart)? == 1,
        "the budgets differ"
    );
    let pod = |documents: &[Value]| -> Result<Value> {
        let mut spec = find(documents, "Deployment", "distributary")?["spec"].clone();
        ensure!(
            spec["replicas"] == 2
                && spec["strategy"]
                    == json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}),
            "{spec}"
        );
        Ok(spec["template"]["spec"].take())
    };
    let (mut deploy, mut chart) = (pod(&deploy)?, pod(&chart)?);
    // Each selects its own Pods.
    for pod in [&mut deploy, &mut chart] {
        for constraint in pod["topologySpreadConstraints"]
            .as_array_mut()
            .context("no constraints")?
        {
            let own = constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/name"].take();
            ensure!(own == "distributary", "{constraint}");
            constraint["labelSelector"].take();
        }
    }
    let container = &mut chart["containers"][0];
    ensure!(
        container["args"]
            == json!([
                "run",
                "--log-level=info",
                "--log-format=json",
                "--lease-name=distributary"
            ]),
        "{}",
        container["args"]
    );
    container["args"] = json!(["run"]);
    container
        .as_object_mut()
        .context("no container")?
        .remove("imagePullPolicy");
    ensure!(deploy == chart, "the Pods differ:\n{deploy}\n{chart}");
    Ok(())
}

async fn the_chart_gives_roles(plane: Arc<ControlPlane>) -> Result<()> {
    let name = "distributary";
    let cluster_wide = role_pairs(&rules(&template(&plane, &[]).await?, "ClusterRole", name)?);
    let mut namespaced = cluster_wide.clone();
    namespaced.retain(|pair| !pair.ends_with(CLUSTER_WIDE));
    ensure!(namespaced.len() + 2 == cluster_wide.len(), "{cluster_wide:?}");

    let documents = template(&plane, &["watchNamespaces={shop,bank}"]).await?;
    ensure!(
        find(&documents, "ClusterRole", name).is_err(),
        "a ClusterRole beside the Roles"
    );
    for namespace in ["shop", "bank"] {
        let role = in_namespace(&documents, "Role", name, namespace)?;
        ensure!(role_pairs(&role["rules"]) == namespaced, "{role}");
        let binding = in_namespace(&documents, "RoleBinding", name, namespace)?;
        ensure!(
            binding["subjects"][0]["namespace"] == "default" && binding["roleRef"]["name"] == name,
            "{binding}"
        );
    }
    ensure!(
        arguments(&documents)?[4..] == ["--namespace=shop", "--namespace=bank"],
        "{:?}",
        arguments(&documents)
    );

    let named = r#"secrets={"access":"Named","names":[{"namespace":"shop","names":["a","b"]}]}"#;
    let documents = template_json(&plane, named).await?;
    let role = rules(&documents, "ClusterRole", name)?;
    let secrets = in_namespace(&documents, "Role", "distributary-secrets", "shop")?;
    ensure!(
        secrets["rules"][0]["resourceNames"] == json!(["a", "b"]),
        "{secrets}"
    );
    let both: BTreeSet<_> = role_pairs(&role)
        .union(&role_pairs(&secrets["rules"]))
        .cloned()
        .collect();
    ensure!(
        both == cluster_wide && !role.to_string().contains("secrets"),
        "{role}"
    );
    ensure!(
        arguments(&documents)?[4..] == ["--secrets=named"],
        "{:?}",
        arguments(&documents)
    );
    Ok(())
}

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

async fn every_value_has_its_place(plane: Arc<ControlPlane>) -> Result<()> {
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

async fn the_chart_runs_as_many_as_it_is_told(plane: Arc<ControlPlane>) -> Result<()> {
    let one = template(
        &plane,
        &[
            "replicas=1",
            "podDisruptionBudget.create=false",
            "fullnameOverride=router",
        ],
    )
    .await?;
    let deployment = find(&one, "Deployment", "router")?;
    ensure!(deployment["spec"]["replicas"] == 1, "{deployment}");
    let arguments = arguments_of(deployment)?;
    ensure!(
        arguments.contains(&"--lease-name=router".to_owned()),
        "{arguments:?}"
    );
    let lease = rules(&one, "Role", "router-lease")?;
    ensure!(lease[1]["resourceNames"] == json!(["router"]), "{lease}");
    ensure!(
        find(&one, "PodDisruptionBudget", "router").is_err(),
        "a budget that nobody wants"
    );
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

async fn wrong_values_are_refused(plane: Arc<ControlPlane>) -> Result<()> {
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

/// An operator with the rights, and the arguments, that the chart gives it in a namespace of its own.
struct Release {
    fixture: Fixture,
    /// The release, and what the names of its objects begin with.
    name: String,
}

impl Release {
    async fn install(plane: Arc<ControlPlane>, prefix: &str, values: &[&str]) -> Result<Self> {
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

    fn audit(&self) -> Result<Vec<AuditEvent>> {
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

/// What the operator does in a life full of incidents is what its Role allows: a right that is missing shows as a
/// refusal, one that is superfluous as a pair that was never asked for.
async fn the_operator_needs_its_role(plane: Arc<ControlPlane>) -> Result<()> {
    let release = Release::install(plane, "role", &[]).await?;
    let it = &release.fixture;
    let manifest = it
        .plane
        .helm(&["get", "manifest", &release.name, "-n", &release.name])
        .await?;
    let mut role = role_pairs(&rules(
        &documents(&manifest)?,
        "Role",
        &format!("{}-distributary", release.name),
    )?);
    ensure!(role.remove(OPENSHIFT), "the Role lacks {OPENSHIFT}");
    role.extend(role_pairs(&rules(
        &documents(&manifest)?,
        "Role",
        &format!("{}-distributary-lease", release.name),
    )?));

    lead_a_full_life(it).await?;

    let what = "every right of the Role to be used, and no other";
    wait::eventually(what, SOON, || async {
        let used = audit_pairs(&release.audit()?);
        let (unused, missing): (Vec<_>, Vec<_>) =
            (role.difference(&used).collect(), used.difference(&role).collect());
        ensure!(
            unused.is_empty() && missing.is_empty(),
            "never used: {unused:?}; not in the Role: {missing:?}"
        );
        Ok(())
    })
    .await?;
    let refused: Vec<_> = release
        .audit()?
        .into_iter()
        .filter(|event| event.code == 403 && event.resource != CLUSTER_WIDE)
        .map(|event| event.uri)
        .collect();
    ensure!(refused.is_empty(), "refused: {refused:?}");
    Ok(())
}

/// Name conflicts, edits by hand, a fallback that comes twice, objects that are no longer wanted.
async fn lead_a_full_life(it: &Fixture) -> Result<()> {
    let foreign = [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-rw"}, "spec": {"ports": [{"port": 1}]}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "orders-routing"}}),
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "orders-ro-ipv4-5432"},
            "addressType": "IPv4", "endpoints": [],
        }),
    ];
    for object in &foreign {
        it.apply(object).await?;
    }
    it.apply(&it.policy()).await?;
    it.condition("Programmed", "False", "NameConflict").await?;
    let now = DeleteParams::default();
    it.api::<Service>().delete("orders-rw", &now).await?;
    it.api::<ConfigMap>().delete("orders-routing", &now).await?;
    it.api::<EndpointSlice>()
        .delete("orders-ro-ipv4-5432", &now)
        .await?;
    it.condition("Ready", "True", "Routable").await?;

    let edit = Patch::Merge(json!({"spec": {"selector": {"app": "other"}}}));
    it.api::<Service>()
        .patch("orders-ro", &PatchParams::default(), &edit)
        .await?;
    watch::object(
        &it.api::<Service>(),
        "orders-ro",
        "the selector to go",
        SOON,
        |service: Option<&Service>| {
            service.is_some_and(|service| service.spec.as_ref().is_some_and(|spec| spec.selector.is_none()))
        },
    )
    .await?;

    let mut replica = it.policy()["spec"]["replicas"][0].clone();
    for state in ["Disabled", "Active", "Disabled", "Active"] {
        replica["state"] = json!(state);
        it.patch(json!({"spec": {"replicas": [replica]}})).await?;
        let server = if state == "Active" {
            it.postgres.replica(0)
        } else {
            it.postgres.primary()
        };
        it.leads("ro", &[server], SOON).await?;
    }

    cross_statuses(it, replica).await?;

    let outputs = json!({"services": {"state": "Disabled"}, "configMap": {"name": "elsewhere"}});
    it.patch(json!({"spec": {"outputs": outputs}})).await?;
    let gone = "the old objects to go";
    watch::set(
        &it.api::<Service>(),
        watcher::Config::default(),
        gone,
        SOON,
        |left: &[Service]| left.is_empty(),
    )
    .await?;
    watch::object(
        &it.api::<ConfigMap>(),
        "orders-routing",
        gone,
        SOON,
        |left: Option<&ConfigMap>| left.is_none(),
    )
    .await?;
    watch::object(
        &it.api::<ConfigMap>(),
        "elsewhere",
        "the new one",
        SOON,
        |found: Option<&ConfigMap>| found.is_some(),
    )
    .await?;
    Ok(())
}

/// Changes the policy while its status is on the way, so that the write is refused and the policy read. One of these rounds meets
/// it in nearly every case; so many do.
async fn cross_statuses(it: &Fixture, mut replica: Value) -> Result<()> {
    for round in 0..12 {
        let (state, server) = if round % 2 == 0 {
            ("Disabled", it.postgres.primary())
        } else {
            ("Active", it.postgres.replica(0))
        };
        replica["state"] = json!(state);
        it.patch(json!({"spec": {"replicas": [replica]}})).await?;
        for number in 0..12 {
            let label = format!("{round}-{number}");
            it.patch(json!({"metadata": {"labels": {"crossed": label}}}))
                .await?;
        }
        it.leads("ro", &[server], SOON).await?;
    }
    Ok(())
}

/// A Secret that no Role names is told of; once it is named, it is read and watched, alone.
async fn named_secrets_suffice(plane: Arc<ControlPlane>) -> Result<()> {
    let named = |namespace: &str, secret: &str| {
        format!(
            r#"secrets={{"access":"Named","names":[{{"namespace":"{namespace}","names":["{secret}"]}}]}}"#
        )
    };
    let release = Release::install(plane, "named", &[r#"secrets={"access":"Named","names":[]}"#]).await?;
    let it = &release.fixture;
    it.apply(&it.policy()).await?;
    it.condition("ResolvedRefs", "False", "SecretUnresolved").await?;
    helm(
        &it.plane,
        "upgrade",
        &release.name,
        &[&named(&release.name, "probe")],
    )
    .await?;
    it.condition("Ready", "True", "Routable").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;

    let watched =
        |event: &AuditEvent| event.verb == "watch" && event.resource == "secrets" && event.code == 200;
    let what = "a watch on the Secret";
    wait::eventually(what, Duration::from_secs(60), || async {
        anyhow::Ok(release.audit()?.iter().any(watched))
    })
    .await?;
    let reads: Vec<_> = release
        .audit()?
        .into_iter()
        .filter(|event| event.resource == "secrets")
        .collect();
    let others = reads
        .iter()
        .filter(|event| event.name != "probe")
        .map(|event| &event.uri);
    let others: Vec<_> = others
        .filter(|uri| !uri.contains("metadata.name%3Dprobe"))
        .collect();
    ensure!(others.is_empty(), "{POLICY} asked for {others:?}");
    Ok(())
}

/// Nothing runs Pods here: the test does what the Pod of the release says, with the rights of its ServiceAccount.
async fn helm_tests(plane: Arc<ControlPlane>) -> Result<()> {
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

/// What the rules of a Role allow, as `VERB RESOURCE`, with the group of the resource where another has its name.
fn role_pairs(rules: &Value) -> BTreeSet<String> {
    let mut pairs = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        for (group, resource) in strings(&rule["apiGroups"])
            .flat_map(|group| strings(&rule["resources"]).map(move |resource| (group, resource)))
        {
            pairs.extend(strings(&rule["verbs"]).map(|verb| pair(verb, group, resource)));
        }
    }
    pairs
}

/// Asked for, and done without where a namespace is all that the operator may see.
const CLUSTER_WIDE: &str = "servicecidrs";

/// What was asked of the API server, in the same form. Discovery and reviews, which everybody may do, are left out.
fn audit_pairs(events: &[AuditEvent]) -> BTreeSet<String> {
    let for_resources = events
        .iter()
        .filter(|event| !event.resource.is_empty() && event.resource != CLUSTER_WIDE);
    for_resources
        .map(|event| pair(&event.verb, &event.group, &event.target()))
        .collect()
}

fn pair(verb: &str, group: &str, resource: &str) -> String {
    // Events are in two groups, and only one is ours.
    if resource == "events" {
        format!("{verb} {resource}.{group}")
    } else {
        format!("{verb} {resource}")
    }
}

fn strings(list: &Value) -> impl Iterator<Item = &str> + Clone {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

pub async fn template(plane: &ControlPlane, values: &[&str]) -> Result<Vec<Value>> {
    let mut arguments = vec!["template", "distributary", CHART];
    arguments.extend(values.iter().flat_map(|value| ["--set", value]));
    documents(&plane.helm(&arguments).await?)
}

async fn template_json(plane: &ControlPlane, value: &str) -> Result<Vec<Value>> {
    documents(
        &plane
            .helm(&["template", "distributary", CHART, "--set-json", value])
            .await?,
    )
}

/// Every object of a manifest.
fn documents(manifest: &str) -> Result<Vec<Value>> {
    let documents = serde_yaml::Deserializer::from_str(manifest);
    let objects: Vec<_> = documents
        .map(Value::deserialize)
        .collect::<Result<_, _>>()
        .context("parse a manifest")?;
    Ok(objects.into_iter().filter(Value::is_object).collect())
}

pub fn find<'a>(documents: &'a [Value], kind: &str, name: &str) -> Result<&'a Value> {
    let is = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    documents
        .iter()
        .find(is)
        .with_context(|| format!("no {kind} {name}"))
}

fn in_namespace<'a>(documents: &'a [Value], kind: &str, name: &str, namespace: &str) -> Result<&'a Value> {
    let is = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    let mut found = documents.iter().filter(is);
    found
        .find(|document| document["metadata"]["namespace"] == namespace)
        .with_context(|| format!("no {kind} {name} in {namespace}"))
}

pub fn rules(documents: &[Value], kind: &str, name: &str) -> Result<Value> {
    Ok(find(documents, kind, name)?["rules"].clone())
}

fn arguments(documents: &[Value]) -> Result<Vec<String>> {
    arguments_of(find(documents, "Deployment", "distributary")?)
}

pub fn arguments_of(deployment: &Value) -> Result<Vec<String>> {
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments: Vec<String> = strings(arguments).map(ToOwned::to_owned).collect();
    ensure!(
        arguments.first().is_some_and(|first| first == "run"),
        "{arguments:?}"
    );
    Ok(arguments)
}
