//! Writes that the API server refuses, or takes long for.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::gate::Gate;
use harness::postgres::PROBE;
use harness::suite::Suite;
use harness::webhook::Webhook;
use harness::{ControlPlane, Operator, Postgres, wait, watch};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::fixture::{self, Fixture, POLICY, SOON, put};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_quota_on_services_keeps_no_dead_server_in_the_routes", services)
        .test("a_quota_on_slices_keeps_no_dead_server_in_other_slices", slices)
        .test(
            "a_quota_on_config_maps_keeps_no_dead_server_in_the_slices",
            config_maps,
        )
        .test("a_busy_api_server_is_asked_again_when_it_says_so", busy)
        .test("a_slow_webhook_delays_what_it_is_asked_about_and_no_more", slow)
        .waiting_test("a_namespace_whose_webhook_hangs_delays_no_other_one", hanging)
}

async fn quota(it: &Fixture, hard: Value) -> Result<()> {
    it.apply(&json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "tight"}, "spec": {"hard": hard},
    }))
    .await?;
    watch::object(
        &it.api::<ResourceQuota>(),
        "tight",
        "the quota to count",
        SOON,
        |quota| quota.is_some_and(|quota| quota.status.as_ref().is_some_and(|status| status.used.is_some())),
    )
    .await?;
    Ok(())
}

async fn lift(it: &Fixture) -> Result<()> {
    let all = it.api::<ResourceQuota>();
    all.delete("tight", &DeleteParams::default()).await?;
    Ok(())
}

/// routing.json names no server with this address as a member of a route.
async fn left_the_document(it: &Fixture, dead: &Postgres) -> Result<()> {
    let dead = dead.address().to_string();
    wait::eventually("the dead server to leave routing.json", SOON, || async {
        let routing = it.routing().await?;
        let targets = routing["routes"]["ro"]["targets"]
            .as_array()
            .context("no route ro")?;
        let served = targets.iter().filter(|target| target["inSlice"] == json!(true));
        let there = served.into_iter().any(|target| target["address"] == json!(dead));
        ensure!(!there, "{targets:?}");
        anyhow::Ok(())
    })
    .await
}

async fn services(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    quota(&it, json!({"services": "0"})).await?;
    it.apply(&it.policy()).await?;
    let told = it.condition("Programmed", "False", "WriteFailed").await?;
    ensure!(
        told.message.contains("create Service orders-ro: Forbidden")
            && told.message.contains("exceeded quota: tight"),
        "{}",
        told.message
    );
    it.condition("Stalled", "True", "WriteFailed").await?;
    let (dead, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.leads("ro", &[dead, other], SOON).await?;
    dead.kill().await?;
    it.leads("ro", &[other], SOON).await?;
    left_the_document(&it, dead).await?;
    let events = it
        .plane
        .kubectl(&["get", "events.events.k8s.io", "-n", &it.namespace, "-o", "yaml"])
        .await?;
    ensure!(events.contains("exceeded quota: tight"), "{events}");
    lift(&it).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    it.condition("Stalled", "False", "Progressing").await?;
    Ok(())
}

async fn slices(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    quota(&it, json!({"count/endpointslices.discovery.k8s.io": "2"})).await?;
    // A class of its own would have a slice of its own.
    it.patch(json!({"spec": {"routing": {"classes": [{"name": "reports", "operations": ["report"]}]}}}))
        .await?;
    let told = it.condition("Programmed", "False", "WriteFailed").await?;
    ensure!(
        told.message.contains("create EndpointSlice orders-reports"),
        "{}",
        told.message
    );
    let (dead, other) = (it.postgres.replica(0), it.postgres.replica(1));
    dead.kill().await?;
    it.leads("ro", &[other], SOON).await?;
    left_the_document(&it, dead).await?;
    lift(&it).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    it.leads("reports", &[other], SOON).await
}

async fn config_maps(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 2).await?;
    quota(&it, json!({"count/configmaps": "0"})).await?;
    it.apply(&it.policy()).await?;
    let told = it.condition("Programmed", "False", "WriteFailed").await?;
    ensure!(
        told.message
            .contains("create ConfigMap orders-routing: Forbidden")
            && told.message.contains("exceeded quota: tight"),
        "{}",
        told.message
    );
    let (dead, other) = (it.postgres.replica(0), it.postgres.replica(1));
    it.leads("rw", &[it.postgres.primary()], SOON).await?;
    it.leads("ro", &[dead, other], SOON).await?;
    dead.kill().await?;
    it.leads("ro", &[other], SOON).await?;
    lift(&it).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    left_the_document(&it, dead).await
}

async fn busy(plane: Arc<ControlPlane>) -> Result<()> {
    const WAIT: Duration = Duration::from_secs(2);
    let mut it = Fixture::start(plane, 2).await?;
    let kubeconfig = it.plane.service_account_kubeconfig(&it.namespace, "operator");
    let gate = Gate::of(&kubeconfig.await?).await?;
    it.operator = Operator::builder(gate.kubeconfig())
        .namespace(&it.namespace)
        .start()
        .await?;
    it.apply(&it.policy()).await?;
    it.serves().await?;
    it.rests().await?;
    let (dead, other) = (it.postgres.replica(0), it.postgres.replica(1));
    let refusing = gate.refuse(WAIT, |request| {
        request.method == "PUT" && request.path.contains("/endpointslices/orders-ro")
    });
    dead.kill().await?;
    let three = || async {
        ensure!(refusing.ages().len() >= 3, "{:?}", refusing.ages());
        anyhow::Ok(())
    };
    wait::eventually("three refusals", SOON, three).await?;
    let ages = refusing.ages();
    let pauses: Vec<_> = ages.windows(2).map(|pair| pair[0] - pair[1]).collect();
    ensure!(pauses.iter().all(|pause| *pause >= WAIT), "{pauses:?}");
    // What is not refused is written meanwhile.
    it.condition("Programmed", "False", "WriteFailed").await?;
    drop(refusing);
    it.leads("ro", &[other], SOON).await?;
    it.condition("Programmed", "True", "Programmed").await?;
    Ok(())
}

/// A namespace whose slices a webhook is asked about.
struct Slow {
    namespace: String,
    delay: u64,
    policy: &'static str,
}

impl Slow {
    /// The API server waits for 10 s.
    fn is_written(&self) -> bool {
        self.policy == "Ignore" || self.delay < 10
    }
}

/// Has the webhook asked about these resources of a namespace, slices among them; returns when the API server does so.
async fn ask(
    it: &Fixture,
    webhook: &Webhook,
    namespace: &str,
    resources: &[&str],
    delay: Duration,
    policy: &str,
) -> Result<()> {
    const ATTEMPT: Duration = Duration::from_millis(100);
    let all: Api<ValidatingWebhookConfiguration> = Api::all(it.plane.client());
    let configuration = webhook.configuration(namespace, resources, delay, policy);
    all.create(&PostParams::default(), &serde_json::from_value(configuration)?)
        .await?;
    let slices: Api<EndpointSlice> = Api::namespaced(it.plane.client(), namespace);
    let slice = json!({"metadata": {"name": "never-stored"}, "addressType": "IPv4", "endpoints": []});
    let slice: EndpointSlice = serde_json::from_value(slice)?;
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    wait::eventually("the API server to ask the webhook", SOON, || async {
        let _ = wait::within("an answer", ATTEMPT, slices.create(&dry_run, &slice)).await;
        webhook.was_asked_about(namespace)
    })
    .await
}

/// One operator, the same servers, a namespace for each case.
async fn slow(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(Arc::clone(&plane), 2).await?;
    let webhook = Webhook::start().await?;
    let (mut cases, mut kept) = (vec![], vec![]);
    // After just 10 s it would depend on who is quicker, the answer or the API server that gives up.
    for delay in [3, 8, 11, 15] {
        for policy in ["Ignore", "Fail"] {
            let namespace = plane.namespace("slow").await?;
            it.join(&namespace).await?;
            cases.push(Slow {
                namespace: namespace.to_string(),
                delay,
                policy,
            });
            kept.push(namespace);
        }
    }
    let names: Vec<_> = cases.iter().map(|case| case.namespace.as_str()).collect();
    let _operator = operator_of(&it, &names).await?;
    for case in &cases {
        it.leads_in(
            &case.namespace,
            "ro",
            &[it.postgres.replica(0), it.postgres.replica(1)],
        )
        .await?;
    }
    for case in &cases {
        let delay = Duration::from_secs(case.delay);
        let slices = ["endpointslices"];
        ask(&it, &webhook, &case.namespace, &slices, delay, case.policy).await?;
    }
    it.postgres.replica(0).kill().await?;
    let watch = wait::Stopwatch::start();
    for case in &cases {
        let Slow {
            namespace,
            delay,
            policy,
        } = case;
        if case.is_written() {
            it.leads_in(namespace, "ro", &[it.postgres.replica(1)]).await?;
            println!(
                "a webhook that takes {delay} s ({policy}): {:.1?}",
                watch.elapsed()
            );
        } else {
            it.told_in(namespace, "Programmed", "failed calling webhook")
                .await?;
        }
    }
    Ok(())
}

async fn hanging(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(Arc::clone(&plane), 2).await?;
    let webhook = Webhook::start().await?;
    let (slow, quick) = (plane.namespace("slow").await?, plane.namespace("quick").await?);
    for namespace in [&slow, &quick] {
        it.join(namespace).await?;
    }
    // Twenty policies more than a namespace has places.
    for number in 0..20 {
        let mut policy = it.policy();
        policy["metadata"]["name"] = json!(format!("{POLICY}-{number}"));
        put::<ReplicaSetPolicy>(&plane, &slow, &policy).await?;
    }
    let resources = ["endpointslices", "services", "configmaps"];
    ask(&it, &webhook, &slow, &resources, Duration::from_secs(60), "Fail").await?;
    let _operator = operator_of(&it, &[&slow, &quick]).await?;
    let both = [it.postgres.replica(0), it.postgres.replica(1)];
    it.leads_in(&quick, "ro", &both).await?;
    it.told_in(&slow, "Programmed", "failed calling webhook").await?;
    it.postgres.replica(0).kill().await?;
    let watch = wait::Stopwatch::start();
    it.leads_in(&quick, "ro", &[it.postgres.replica(1)]).await?;
    println!(
        "a killed server is out of the other namespace after {:.1?}",
        watch.elapsed()
    );
    Ok(())
}

/// An operator of these namespaces, with the ServiceAccount of the fixture's.
pub async fn operator_of(it: &Fixture, namespaces: &[&str]) -> Result<Operator> {
    let kubeconfig = it
        .plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    let rest = namespaces[1..].iter().map(|name| format!("--namespace={name}"));
    Operator::builder(&kubeconfig)
        .namespace(namespaces[0])
        .args(rest)
        .start()
        .await
}

impl Fixture {
    /// Adds the policy of these servers to another namespace, where the operator of this one has the same rights.
    pub async fn join(&self, namespace: &str) -> Result<()> {
        let (binding, policy) = (fixture::binding(&self.namespace), self.policy());
        let secret = fixture::secret("probe", PROBE.user, PROBE.password);
        put::<RoleBinding>(&self.plane, namespace, &binding).await?;
        put::<Secret>(&self.plane, namespace, &secret).await?;
        put::<ReplicaSetPolicy>(&self.plane, namespace, &policy).await
    }

    pub async fn leads_in(&self, namespace: &str, route: &str, servers: &[&Postgres]) -> Result<()> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.plane.client(), namespace);
        let service = format!("{POLICY}-{route}");
        watch::routes(&slices, &service, &fixture::addresses(servers), 2 * SOON).await
    }

    /// Waits until a condition of the policy in another namespace tells something.
    async fn told_in(&self, namespace: &str, type_: &str, text: &str) -> Result<()> {
        let policies: Api<ReplicaSetPolicy> = Api::namespaced(self.plane.client(), namespace);
        let what = format!("{type_} to tell {text}");
        watch::object(&policies, POLICY, &what, 2 * SOON, |policy| {
            let condition = policy.and_then(|policy| fixture::condition(policy, type_));
            condition.is_some_and(|condition| condition.message.contains(text))
        })
        .await?;
        Ok(())
    }
}
