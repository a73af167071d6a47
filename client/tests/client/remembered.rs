//! Embedded: promotions that are followed and remembered, and policies from files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::api::EndpointState;
use distributary_client::{Error, FileMemory, Memory, Query, Router, Session, SettingsError};
use harness::postgres::{APP, Shutdown};
use harness::{PgCluster, node, wait};
use serde_json::{Value, json};

use crate::fixture::{builder, served, spec, warm};

/// A policy that follows promotions.
pub fn following(cluster: &PgCluster) -> Value {
    let mut spec = spec(cluster);
    spec["failover"] = json!({"primaryRole": "Follow"});
    spec["healthCheck"] = json!({"interval": "5s", "timeout": "1s", "failoverTimeout": "2s"});
    spec
}

/// A folder of this cluster alone.
pub fn folder(cluster: &PgCluster) -> Result<PathBuf> {
    let folder = node::data_subdir("memories")?.join(cluster.primary().name());
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Who takes a write.
async fn written(router: &Router) -> Result<String, Error> {
    let write = |session: Session| async move {
        session
            .execute("insert into note (body) values ('w')", &[])
            .await?;
        Ok(session.endpoint().to_owned())
    };
    router
        .write(Query::operation("create").within(Duration::from_secs(2)), write)
        .await
}

async fn takes_writes(router: &Router, endpoint: &str) -> Result<()> {
    wait::eventually("the writes to move", Duration::from_secs(20), || async {
        let taken = written(router).await?;
        ensure!(taken == endpoint, "{taken}");
        Ok(())
    })
    .await
}

pub async fn a_promotion_is_followed_and_remembered() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let spec = following(&cluster);
    let refused = builder(&spec)?.connect().await.err();
    ensure!(
        matches!(refused, Some(SettingsError::FollowWithoutMemory)),
        "{refused:?}"
    );
    let path = folder(&cluster)?.join("memory.json");
    let connect = async || {
        let memory = FileMemory::open(&path).context("a memory")?;
        anyhow::Ok(builder(&spec)?.memory(memory).connect().await?)
    };
    let router = warm(connect().await?).await?;
    ensure!(written(&router).await? == "primary");
    ensure!(FileMemory::open(&path).is_err(), "one router uses it");
    cluster.primary().stop(Shutdown::Immediate).await?;
    cluster.replica(0).promote().await?;
    takes_writes(&router, "replica-0").await?;
    let kept = std::fs::read_to_string(&path)?;
    ensure!(
        kept.contains("\"replica-0\"") && !kept.contains(APP.password),
        "{kept}"
    );
    drop(router);
    // The old primary returns while nobody looks, and takes writes.
    cluster.primary().start().await?;
    let router = wait::eventually("the memory to be free", Duration::from_secs(5), connect).await?;
    for _ in 0..10 {
        let taken = written(&router).await?;
        ensure!(taken == "replica-0", "the old primary took a write: {taken}");
    }
    drop(router);
    wait::eventually("the memory to be free", Duration::from_secs(5), || async {
        FileMemory::open(&path).map(drop)
    })
    .await?;
    std::fs::write(&path, kept.replace("\"version\": 1", "\"version\": 7"))?;
    let refused = connect().await.err().context("it is of a newer version")?;
    let said = format!("{refused:#}");
    ensure!(said.contains("it is of version 7"), "{said}");
    Ok(())
}

/// A memory that fails when it is told to.
#[derive(Clone, Default)]
struct Forgetful {
    text: Arc<Mutex<Option<String>>>,
    fails: Arc<AtomicBool>,
}

impl Memory for Forgetful {
    fn recall(&self) -> io::Result<Option<String>> {
        Ok(self.text.lock().expect("no panic").clone())
    }

    fn remember(&self, text: &str) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk is full"));
        }
        *self.text.lock().expect("no panic") = Some(text.to_owned());
        Ok(())
    }
}

pub async fn writes_stay_until_their_move_is_remembered() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let memory = Forgetful::default();
    let settings = builder(&following(&cluster))?.memory(memory.clone());
    let router = warm(settings.connect().await?).await?;
    memory.fails.store(true, Ordering::SeqCst);
    cluster.primary().stop(Shutdown::Immediate).await?;
    cluster.replica(0).promote().await?;
    wait::eventually("the reads to go on", Duration::from_secs(10), || async {
        let by = served(&router, &Query::new(), 5).await?;
        ensure!(by.contains_key("replica-0"), "{by:?}");
        Ok(())
    })
    .await?;
    // Longer than the time after which the writes are led there.
    wait::pass(Duration::from_secs(5), "the move of the writes").await;
    let refused = written(&router).await;
    ensure!(refused.is_err(), "the move is not remembered: {refused:?}");
    memory.fails.store(false, Ordering::SeqCst);
    takes_writes(&router, "replica-0").await?;
    let text = memory.recall()?.context("it is remembered")?;
    ensure!(text.contains("replica-0"), "{text}");
    let fails = Forgetful::default();
    fails.fails.store(true, Ordering::SeqCst);
    let refused = builder(&following(&cluster))?.memory(fails).connect().await.err();
    ensure!(matches!(refused, Some(SettingsError::Memory(_))), "{refused:?}");
    Ok(())
}

fn publish(path: &Path, spec: &Value, password: &str) -> Result<()> {
    let policy = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders"},
        "spec": spec,
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"},
        "stringData": {"username": APP.user, "password": password},
    });
    let new = path.with_extension("new");
    std::fs::write(&new, format!("{policy}\n---\n{secret}\n"))?;
    std::fs::rename(new, path)?;
    Ok(())
}

async fn serve(router: &Router, expected: &[&str]) -> Result<()> {
    wait::eventually("the routes to change", Duration::from_secs(20), || async {
        let by = served(router, &Query::new(), 20).await?;
        ensure!(
            by.keys().map(String::as_str).eq(expected.iter().copied()),
            "{by:?}"
        );
        Ok(())
    })
    .await
}

pub async fn a_policy_file_is_followed() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let path = folder(&cluster)?.join("policy.yaml");
    let mut spec = spec(&cluster);
    publish(&path, &spec, APP.password)?;
    let router = warm(Router::builder().policy_file(&path).connect().await?).await?;
    serve(&router, &["replica-0", "replica-1"]).await?;
    spec["replicas"][1]["state"] = json!("Disabled");
    publish(&path, &spec, APP.password)?;
    serve(&router, &["replica-0"]).await?;
    // What is wrong changes nothing.
    spec["replicas"][0]["mood"] = json!("bad");
    publish(&path, &spec, APP.password)?;
    wait::pass(Duration::from_millis(300), "the file to be read").await;
    serve(&router, &["replica-0"]).await?;
    let refused = Router::builder().policy_file(&path).connect().await.err();
    let refused = refused.context("a field that is not known")?.to_string();
    ensure!(refused.contains("spec.replicas[0].mood"), "{refused}");
    // A password that was changed on the servers and in the file.
    cluster.primary().set_password(APP.user, "another").await?;
    cluster.caught_up().await?;
    spec["replicas"][0] = json!({"id": "replica-0", "host": cluster.replica(0).address().to_string()});
    spec["replicas"][1]["state"] = json!("Active");
    publish(&path, &spec, "another")?;
    serve(&router, &["replica-0", "replica-1"]).await
}

pub async fn servers_are_added_removed_and_weighed_at_run_time() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let mut spec = spec(&cluster);
    spec["loadBalancing"] = json!({"strategy": "Weighted"});
    let router = warm(builder(&spec)?.connect().await?).await?;
    router.remove_replica("replica-1")?;
    serve(&router, &["replica-0"]).await?;
    let host = cluster.replica(1).address().to_string();
    let replica = serde_json::from_value(json!({"id": "added", "host": host}))?;
    router.add_replica(replica)?;
    serve(&router, &["added", "replica-0"]).await?;
    router.set_weight("added", 3)?;
    wait::eventually("the weights to count", Duration::from_secs(10), || async {
        let by = served(&router, &Query::new(), 100).await?;
        ensure!((70..=80).contains(&by["added"]), "{by:?}");
        Ok(())
    })
    .await?;
    router.set_state("replica-0", EndpointState::Draining)?;
    serve(&router, &["added"]).await?;
    router.set_weight("primary", 2)?;
    let again = serde_json::from_value(json!({"id": "added", "host": host}))?;
    ensure!(matches!(router.add_replica(again), Err(SettingsError::Policy(_))));
    let unknown = router.remove_replica("nobody").err().context("it is not there")?;
    ensure!(unknown.to_string().contains("nobody"), "{unknown}");
    serve(&router, &["added"]).await
}
