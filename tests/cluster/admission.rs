//! What the API server takes and refuses, and the words in which it refuses.

#[path = "../../api/tests/broken/mod.rs"]
mod broken;
mod routing;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broken::{minimal, put};
use distributary_api::rules;
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "invalid_policies_are_refused_in_words",
            invalid_policies_are_refused,
        )
        .test("valid_policies_are_stored_as_written", valid_policies_are_stored)
        .test("the_largest_policy_is_admitted", the_largest_policy_is_admitted)
        .test(
            "an_absent_read_fallback_and_an_empty_one_are_kept_apart",
            read_fallbacks_are_kept_apart,
        )
        .test(
            "defaults_enter_outside_of_lists_only",
            defaults_enter_outside_of_lists,
        )
        .test("null_means_absent", null_means_absent)
        .test(
            "an_unknown_field_is_refused_by_kubectl",
            an_unknown_field_is_refused,
        )
        .test(
            "the_rules_are_affordable_at_twice_the_replicas",
            the_rules_are_affordable,
        )
        .test("kubectl_explain_reads_well", kubectl_explain_reads_well)
}

fn long(length: usize) -> Value {
    json!("a".repeat(length))
}

async fn invalid_policies_are_refused(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("refused").await?;
    let api = policies(plane.client(), &namespace);
    create(&api, &minimal(), true)
        .await
        .context("the policy that the cases change")?;
    let mut wrong = vec![];
    // Of a few the API server sees nothing.
    for case in broken::cases(rules::ALL) {
        let answer = create(&api, &case.policy(), true).await;
        let mut said = answer.map_or_else(|error| causes(&error), |_| Ok(vec![]))?;
        let mut expected = case.admission;
        said.sort();
        expected.sort();
        if said != expected {
            wrong.push(format!(
                "{} = {}:\n  expected {expected:?}\n  was      {said:?}",
                case.set, case.to
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// What is wrong with an object, as `FIELD: MESSAGE`. Without the note that rules wait for a valid schema.
fn causes(error: &kube::Error) -> Result<Vec<String>> {
    let kube::Error::Api(status) = error else {
        bail!("no answer: {error}")
    };
    ensure!(status.code == 422, "{} {}", status.code, status.message);
    let causes = status.details.iter().flat_map(|details| &details.causes);
    let told = causes.filter(|cause| !cause.message.contains("some validation rules were not checked"));
    Ok(told
        .map(|cause| format!("{}: {}", cause.field, cause.message))
        .collect())
}

#[allow(clippy::too_many_lines, reason = "a table")]
async fn valid_policies_are_stored(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("valid").await?;
    let api = policies(plane.client(), &namespace);
    let mut cases = vec![
        ("metadata.name", long(40)),
        ("spec.replicas", json!([])),
        ("spec.replicas[0].port", json!(65535)),
        ("spec.replicas[0].weight", json!(0)),
        ("spec.replicas[0].priority", json!(0)),
        ("spec.replicas[0].tags", json!([])),
        ("spec.replicas[0].dedicatedTo", json!([])),
        ("spec.primary.dedicatedTo", json!(["analytics"])),
        ("spec.replicas[0].state", json!("Disabled")),
        ("spec.primary.id", json!("pg-0")),
        // The same server, as long as only one of them is active.
        (
            "spec.replicas[1]",
            json!({"id": "replica-2", "host": "pg-1.example.com", "state": "Disabled"}),
        ),
        (
            "spec.replicas[1]",
            json!({"id": "replica-2", "host": "pg-1.example.com", "port": 5433}),
        ),
        (
            "spec.replicas[0]",
            json!({"id": "0", "urlSecretRef": {"name": "a.b", "key": "A_b-c.d"}}),
        ),
        ("spec.connection.tls", json!({})),
        (
            "spec.connection.tls",
            json!({"caSecretRef": {"name": "a"}, "clientCertSecretRef": {"name": "b"}}),
        ),
        ("spec.connection.tls", json!({"mode": "Disable"})),
        (
            "spec.connection.tls",
            json!({"mode": "Require", "clientCertSecretRef": {"name": "b"}}),
        ),
        (
            "spec.connection.tls",
            json!({"mode": "VerifyCA", "caSecretRef": {"name": "a", "key": "ca.pem"}}),
        ),
        (
            "spec.connection.tls",
            json!({"mode": "VerifyFull", "caSecretRef": {"name": "a"}}),
        ),
        ("spec.connection.connectTimeout", json!("1s")),
        ("spec.connection.connectTimeout", json!("5m")),
        (
            "spec.healthCheck",
            json!({"interval": "100ms", "timeout": "20ms", "failoverTimeout": "100ms"}),
        ),
        (
            "spec.healthCheck",
            json!({"interval": "59m59s1000ms", "timeout": "1m", "failoverTimeout": "10m"}),
        ),
        (
            "spec.circuitBreaker",
            json!({"state": "Disabled", "failureThreshold": 100, "resetTimeout": "1h"}),
        ),
        (
            "spec.circuitBreaker.halfOpen.trafficSteps",
            json!([1, 2, 3, 4, 5, 6, 99, 100]),
        ),
        ("spec.replicas[0].state", json!("Draining")),
        ("spec.replicas[0].promotable", json!(false)),
        (
            "spec.replicas",
            json!([{"id": "a", "serviceRef": {"name": "0pg"}}, {"id": "b", "serviceRef": {"name": "0pg", "port": 1}}]),
        ),
        ("spec.healthCheck.heartbeat", json!("0s")),
        ("spec.healthCheck.heartbeat", json!("0h0ms")),
        ("spec.healthCheck.heartbeat", json!("100ms")),
        ("spec.healthCheck.heartbeat", json!("1h")),
        // The default of maxResetTimeout grows with it.
        ("spec.circuitBreaker.resetTimeout", json!("11m")),
        (
            "spec.circuitBreaker",
            json!({"resetTimeout": "100ms", "maxResetTimeout": "100ms"}),
        ),
        ("spec.circuitBreaker.maxResetTimeout", json!("24h")),
        ("spec.replicationLag", json!({})),
        ("spec.replicationLag", json!({"max": "0s", "recover": "0s"})),
        ("spec.replicationLag", json!({"max": "168h", "recover": "168h"})),
        ("spec.replicationLag", json!({"recover": "30s", "source": "None"})),
        (
            "spec.replicationLag",
            json!({"source": "Query", "lagQuery": "SELECT 0"}),
        ),
        ("spec.replicas[0].replicationLag", json!({"max": "0s"})),
        (
            "spec.identity",
            json!({"systemIdentifier": "18446744073709551615"}),
        ),
        (
            "spec.identity",
            json!({"systemIdentifier": "9999999999999999999"}),
        ),
        ("spec.failover", json!({"acceptPrimary": "primary"})),
        ("spec.failover", json!({"acceptPrimary": "replica-2"})),
        (
            "spec.failover",
            json!({"primaryRole": "Pinned", "onPrimaryLoss": "Withdraw"}),
        ),
        ("spec.outputs", json!({"services": {"state": "Disabled"}})),
        (
            "spec.outputs",
            json!({"services": {"namePrefix": "a"}, "configMap": {"name": "0.a"}}),
        ),
    ];
    cases.extend(routing::accepted());
    for bytes in [
        "0",
        "1",
        "256Mi",
        "1G",
        "1P",
        "1Pi",
        "1125899906842624",
        "1024Ti",
        "007k",
    ] {
        cases.push(("spec.replicationLag.maxBytes", json!(bytes)));
    }
    for host in [
        "a",
        "pg.shop.svc.cluster.local.",
        "A_b-c.example.com",
        "example.com.",
        "10.0.0.1",
        "2001:db8::1",
        "fd00::1",
        "1.example.com",
    ] {
        cases.push(("spec.replicas[0].host", json!(host)));
    }
    let spec = |more: Value| {
        let mut spec = minimal()["spec"].clone();
        for (field, value) in more.as_object().into_iter().flatten() {
            put(&mut spec, field, value.clone());
        }
        ("spec", spec)
    };
    let asked = json!({"source": "Query", "lagQuery": "SELECT 0"});
    cases.extend([
        spec(json!({"identity": {"check": "None"}, "failover": {"primaryRole": "Pinned"}})),
        spec(json!({"replicationLag": {"max": "1m"}, "replicas[0].replicationLag": {"recover": "1m"}})),
        spec(json!({"replicationLag": {"max": "1m", "recover": "40s"}, "primary.replicationLag": {"max": "40s"}})),
        spec(json!({"replicationLag": asked, "replicas[0].replicationLag": {"lagQuery": "SELECT 1"}})),
        spec(json!({"replicationLag": asked, "replicas[0].replicationLag": {"source": "Wal"}})),
        spec(json!({"replicationLag": asked, "replicas[0].replicationLag": {"source": "Query"}})),
        // Services that the policy would write, if it had other names or wrote any.
        spec(json!({"outputs": {"services": {"namePrefix": "db"}}, "primary.host": "orders-rw"})),
        spec(json!({"outputs": {"services": {"state": "Disabled"}}, "replicas[0].host": "orders-ro"})),
    ]);
    for (set, to) in cases {
        let mut policy = minimal();
        put(&mut policy, set, to.clone());
        let stored = create(&api, &policy, true)
            .await
            .with_context(|| format!("{set} = {to}"))?;
        ensure!(
            contains(&stored["spec"], &policy["spec"]),
            "{set} = {to} was stored as {}",
            stored["spec"]
        );
    }
    Ok(())
}

async fn the_largest_policy_is_admitted(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("largest").await?;
    let api = policies(plane.client(), &namespace);
    let name = |length: usize| "n".repeat(length);
    let connection = json!({
        "database": name(63),
        "connectTimeout": "0h1m59s1000ms",
        "credentialsSecretRef": {"name": name(253)},
        "tls": {
            "mode": "VerifyFull",
            "caSecretRef": {"name": name(253), "key": name(253)},
            "clientCertSecretRef": {"name": name(253)},
        },
    });
    let lag = json!({
        "max": "0h0m59s1000ms",
        "maxBytes": "1125899906842624",
        "recover": "0h0m59s1000ms",
        "source": "Query",
        "lagQuery": name(1024),
    });
    let server = |number: usize| {
        json!({
            "id": format!("{}{number:02}", name(38)),
            "displayName": name(63),
            "host": format!("{}.{}.{}.{}{number:02}", name(63), name(63), name(63), name(59)),
            "port": 65535,
            "region": name(63),
            "zone": name(63),
            "weight": 1000,
            "priority": 1000,
            "maxConnections": 100_000,
            "state": "Active",
            "promotable": true,
            "replicationLag": lag,
            "tags": (10..26).map(|tag| format!("{}{tag}", name(61))).collect::<Vec<_>>(),
            "dedicatedTo": (10..26).map(|class| format!("{}{class}", name(20))).collect::<Vec<_>>(),
            "connection": connection,
        })
    };
    let mut policy = minimal();
    policy["metadata"]["name"] = json!(name(40));
    policy["spec"] = json!({
        "mode": "Enforce",
        "deletionPolicy": "Retain",
        "connection": connection,
        "primary": server(64),
        "replicas": (0..64).map(server).collect::<Vec<_>>(),
        "loadBalancing": {
            "strategy": "Weighted",
            "regions": (10..26).map(|region| json!({
                "name": format!("{}{region}", name(17)),
                "failover": (10..26).map(|other| format!("{}{other}", name(61))).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "zoneHints": "Auto",
        },
        "routing": routing::largest(name),
        "identity": {"check": "SystemIdentifier", "systemIdentifier": "18446744073709551615"},
        "replicationLag": lag,
        "healthCheck": {"interval": "0h0m59s1000ms", "heartbeat": "0h0m59s1000ms", "timeout": "0h0m1s1000ms", "failoverTimeout": "0h9m59s1000ms"},
        "circuitBreaker": {
            "state": "Enabled",
            "failureThreshold": 100,
            "resetTimeout": "0h59m59s1000ms",
            "maxResetTimeout": "0h59m59s1000ms",
            "halfOpen": {"successThreshold": 100, "trafficSteps": [1, 2, 3, 4, 5, 6, 99, 100]},
        },
        "failover": {
            "readFallback": ["DedicatedReplicas", "LaggingReplicas", "Primary"],
            "minHealthyReplicas": "100%",
            "primaryRole": "Follow",
            "onPrimaryLoss": "Withdraw",
            "onReadLoss": "Withdraw",
            "acceptPrimary": format!("{}63", name(38)),
        },
        "outputs": {"services": {"state": "Enabled", "namePrefix": name(40), "perClass": "Enabled", "perRegion": "Auto"}, "configMap": {"name": name(253)}},
    });
    let stored = create(&api, &policy, false).await?;
    ensure!(stored["spec"] == policy["spec"], "stored as {}", stored["spec"]);
    Ok(())
}

async fn read_fallbacks_are_kept_apart(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("fallback").await?;
    let api = policies(plane.client(), &namespace);
    for (name, failover) in [
        ("absent", json!({})),
        ("empty", json!({"readFallback": []})),
        ("primary", json!({"readFallback": ["Primary"]})),
    ] {
        let mut policy = minimal();
        policy["metadata"]["name"] = json!(name);
        policy["spec"]["failover"] = failover.clone();
        create(&api, &policy, false).await?;
        let stored = api.get(name).await?.data["spec"]["failover"].clone();
        let kept = stored.get("readFallback") == failover.get("readFallback");
        ensure!(kept, "{name} was stored as {stored}");
    }
    let mut policy = minimal();
    policy["metadata"]["name"] = json!("nothing");
    create(&api, &policy, false).await?;
    ensure!(
        api.get("nothing").await?.data["spec"].get("failover").is_none(),
        "failover was made up"
    );
    Ok(())
}

async fn defaults_enter_outside_of_lists(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("defaults").await?;
    let api = policies(plane.client(), &namespace);
    let stored = create(&api, &minimal(), true).await?;
    let expected = json!({
        "mode": "Enforce",
        "deletionPolicy": "Delete",
        "primary": {"host": "pg-0.example.com"},
        "replicas": minimal()["spec"]["replicas"],
        "loadBalancing": {"strategy": "RoundRobin", "zoneHints": "Disabled"},
        "healthCheck": {"interval": "30s", "heartbeat": "2s", "timeout": "2s", "failoverTimeout": "5s"},
        "circuitBreaker": {
            "state": "Enabled",
            "failureThreshold": 5,
            "resetTimeout": "60s",
            "halfOpen": {"successThreshold": 3, "trafficSteps": [10, 50]},
        },
    });
    ensure!(stored["spec"] == expected, "stored as {}", stored["spec"]);
    Ok(())
}

async fn null_means_absent(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("null").await?;
    let api = policies(plane.client(), &namespace);
    let mut policy = minimal();
    let nulls = [
        "spec.mode",
        "spec.connection",
        "spec.failover.readFallback",
        "spec.primary.state",
        "spec.replicas[0].tags",
        "spec.replicas[0].connection.tls.mode",
    ];
    for field in nulls {
        put(&mut policy, field, Value::Null);
    }
    let stored = create(&api, &policy, true).await?["spec"].clone();
    ensure!(!stored.to_string().contains("null"), "stored as {stored}");
    ensure!(
        stored["mode"] == "Enforce" && stored["failover"].get("readFallback").is_none(),
        "stored as {stored}"
    );
    Ok(())
}

async fn an_unknown_field_is_refused(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = plane.namespace("unknown").await?;
    let mut policy = minimal();
    policy["spec"]["replicas"][0]["wieght"] = json!(3);
    let answer = plane.apply(&namespace, &policy.to_string()).await;
    let Err(error) = answer else { bail!("accepted") };
    let message = format!("{error:#}");
    ensure!(message.contains("wieght"), "{message}");
    Ok(())
}

async fn the_rules_are_affordable(plane: Arc<ControlPlane>) -> Result<()> {
    let mut crd = distributary_api::crd();
    crd["metadata"]["name"] = json!("replicasetpolicies.affordable.distributary.dev");
    crd["spec"]["group"] = json!("affordable.distributary.dev");
    let replicas = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/replicas/maxItems";
    let most = crd.pointer_mut(replicas).context("no bound of replicas")?;
    ensure!(*most == 64, "at most {most} replicas");
    *most = json!(128);
    let api: Api<CustomResourceDefinition> = Api::all(plane.client());
    api.create(
        &PostParams {
            dry_run: true,
            ..PostParams::default()
        },
        &serde_json::from_value(crd)?,
    )
    .await?;
    Ok(())
}

async fn kubectl_explain_reads_well(plane: Arc<ControlPlane>) -> Result<()> {
    // A short name is known a moment after the definition is established.
    let explain = || plane.kubectl(&["explain", "rsp.spec", "--recursive"]);
    let text = wait::eventually("kubectl to know rsp", Duration::from_secs(20), explain).await?;
    for line in [
        "replicas\t<[]Object>",
        "id\t<string> -required-",
        "enum: Disable, Require, VerifyCA, VerifyFull",
    ] {
        ensure!(text.contains(line), "no {line:?} in\n{text}");
    }
    for path in [
        "rsp",
        "rsp.spec",
        "rsp.spec.replicas",
        "rsp.spec.connection.tls",
        "rsp.status",
        "rsp.status.endpoints",
    ] {
        let text = plane.kubectl(&["explain", path]).await?;
        for blemish in ["<no description>", "<no value>", "<nil>", "crate::"] {
            ensure!(!text.contains(blemish), "{blemish:?} in {path}:\n{text}");
        }
    }
    Ok(())
}

/// Untyped, so that what the types would not hold can be sent and seen.
fn policies(client: Client, namespace: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("distributary.dev", "v1alpha1", "ReplicaSetPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "replicasetpolicies");
    Api::namespaced_with(client, namespace, &resource)
}

async fn create(api: &Api<DynamicObject>, policy: &Value, dry_run: bool) -> Result<Value, kube::Error> {
    let object = serde_json::from_value(policy.clone()).map_err(kube::Error::SerdeError)?;
    let stored = api
        .create(
            &PostParams {
                dry_run,
                ..PostParams::default()
            },
            &object,
        )
        .await?;
    Ok(stored.data)
}

/// Whether `whole` has everything that `part` has; lists are compared item by item.
fn contains(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part))),
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len() && whole.iter().zip(part).all(|(whole, part)| contains(whole, part))
        }
        _ => whole == part,
    }
}
