//! A first start of a thousand policies of ten that have no routes, and beside it a plain client that creates the same objects
//! with as many requests at once.
//!
//! POLICIES (1000), REQUESTS at once of the plain client (16, as many as the operator has for a namespace: src/writing/places.rs).

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::contest::versions;
use benches::crowd::{Crowd, Shape, objects};
use benches::figures::{aim, milliseconds, save, show, table};
use benches::option;
use futures::{StreamExt, TryStreamExt, stream};
use harness::control_plane::{AuditEvent, audit, client, service_account_user};
use harness::wait;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::jiff::Timestamp;
use k8s_openapi::serde::de::DeserializeOwned;
use kube::api::ListParams;
use kube::{Api, Resource};
use serde_json::{Value, json};

use crate::settle;

const WRITTEN: Duration = Duration::from_mins(20);
/// The aim: so many times the rate of a plain client.
const SHARE: f64 = 0.7;

pub async fn measure() -> Result<()> {
    let (policies, at_once) = (option("POLICIES", 1000_usize)?, option("REQUESTS", 16_usize)?);
    let mut crowd = Crowd::start(Shape::TEN, policies).await?;
    crowd.grow(policies).await?;
    settle().await?;
    let (begun, started) = (audit::now(), Instant::now());
    let operator = crowd.operator().start().await?;
    let start = crowd.started(started).await?;
    written(&crowd).await?;
    // Status and Events follow the objects.
    settle().await?;
    operator.kill();
    let ours = Writes::since(&crowd, begun)?;
    let plain = create(&crowd, &ours.objects, at_once).await?;

    let count = ours.objects.len();
    let (rate, plain_rate) = (per_second(count, ours.took), per_second(count, plain));
    let row = |who: &str, objects: usize, took, rate: f64| {
        vec![
            who.to_owned(),
            objects.to_string(),
            show(Some(took)),
            format!("{rate:.1}"),
        ]
    };
    table(&[
        ["who", "objects", "created in", "each second"]
            .map(ToOwned::to_owned)
            .to_vec(),
        row("operator, from its start", count, ours.took, rate),
        row(
            "operator, from its first write",
            count,
            ours.writing,
            per_second(count, ours.writing),
        ),
        row("plain client", count, plain, plain_rate),
    ]);
    println!(
        "beside the objects: {} writes of status, {} of Events; {:.1} writes each second in all",
        ours.statuses,
        ours.events,
        per_second(count + ours.statuses + ours.events, ours.all)
    );
    let share = rate / plain_rate;
    aim(
        &format!("at least {SHARE} times the rate of a plain client ({share:.2})"),
        Some(share >= SHARE),
    );
    crowd.end_stub().await?;
    save(
        "scale-cold",
        json!({
            "policies": policies, "endpoints": crowd.servers(), "objects": count, "statusWrites": ours.statuses,
            "eventWrites": ours.events, "routedMs": milliseconds(start.routed), "createdMs": milliseconds(ours.took),
            "writingMs": milliseconds(ours.writing), "allWrittenMs": milliseconds(ours.all),
            "objectsPerSecond": rate, "requestsAtOnce": at_once,
            "plainClient": {"createdMs": milliseconds(plain), "objectsPerSecond": plain_rate},
            "share": share, "versions": versions(),
        }),
    )
}

/// Waits until the namespace has every object: two Services with a slice each, and a ConfigMap, for each policy.
async fn written(crowd: &Crowd) -> Result<()> {
    let policies = crowd.policies;
    wait::eventually("every object", WRITTEN, || async {
        let second = Duration::from_secs(1);
        wait::pass(second, "the API server is not to be kept busy by questions").await;
        let (services, slices) = (
            count::<Service>(crowd).await?,
            count::<EndpointSlice>(crowd).await?,
        );
        // One is not the operator's: kube-root-ca.crt.
        let maps = count::<ConfigMap>(crowd).await?;
        ensure!(
            (services, slices, maps) == (2 * policies, 2 * policies, policies + 1),
            "{services} Services, {slices} slices, {maps} ConfigMaps"
        );
        anyhow::Ok(())
    })
    .await
}

/// How many objects of this kind the namespace has: the API server tells, and sends one.
async fn count<K>(crowd: &Crowd) -> Result<usize>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(crowd.plane.client(), &crowd.namespace);
    let listed = api.list_metadata(&ListParams::default().limit(1)).await?;
    let more = listed.metadata.remaining_item_count.unwrap_or(0);
    Ok(listed.items.len() + usize::try_from(more)?)
}

/// What the operator wrote, by the log of the API server.
struct Writes {
    /// The objects that it created, in order.
    objects: Vec<Value>,
    statuses: usize,
    events: usize,
    /// From its start to its last object.
    took: Duration,
    /// From its first object to its last.
    writing: Duration,
    /// From its start to its last write.
    all: Duration,
}

impl Writes {
    fn since(crowd: &Crowd, begun: Timestamp) -> Result<Self> {
        let user = service_account_user("distributary-system", "distributary");
        let of_crowd = |event: &AuditEvent| {
            event.is_write()
                && event.succeeded()
                && event.namespace == *crowd.namespace
                && event.received >= begun
        };
        let writes: Vec<_> = crowd
            .plane
            .audit_of(&user)?
            .into_iter()
            .filter(of_crowd)
            .collect();
        let created = |event: &&AuditEvent| {
            event.verb == "create"
                && matches!(
                    event.resource.as_str(),
                    "services" | "endpointslices" | "configmaps"
                )
        };
        let times = || writes.iter().filter(created).map(|event| event.received);
        let (first, last) = times().min().zip(times().max()).context("it created nothing")?;
        let latest = writes.iter().map(|event| event.received).max().unwrap_or(last);
        let since = |from: Timestamp, to: Timestamp| Duration::try_from(to.duration_since(from));
        let objects = writes
            .iter()
            .filter(created)
            .map(|event| event.request.clone().context("a body"));
        Ok(Self {
            objects: objects.collect::<Result<_>>()?,
            statuses: writes
                .iter()
                .filter(|event| event.subresource == "status")
                .count(),
            events: writes.iter().filter(|event| event.resource == "events").count(),
            took: since(begun, last)?,
            writing: since(first, last)?,
            all: since(begun, latest)?,
        })
    }
}

/// Creates copies of these objects in another namespace, as the same user; how long that took.
async fn create(crowd: &Crowd, objects: &[Value], at_once: usize) -> Result<Duration> {
    let namespace = crowd.plane.namespace("plain").await?;
    let client = client(&crowd.kubeconfig).await?;
    let copies: Vec<_> = objects.iter().map(|object| copy(object, &namespace)).collect();
    let started = Instant::now();
    let made = stream::iter(copies).map(|object| objects::create(&client, &namespace, object));
    made.buffer_unordered(at_once).try_collect::<()>().await?;
    Ok(started.elapsed())
}

/// Without its owner, which is in another namespace.
fn copy(object: &Value, namespace: &str) -> Value {
    let mut copy = object.clone();
    if let Some(metadata) = copy["metadata"].as_object_mut() {
        metadata.retain(|name, _| matches!(name.as_str(), "name" | "labels" | "annotations"));
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    copy
}

fn per_second(count: usize, time: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let count = count as f64;
    count / time.as_secs_f64()
}
