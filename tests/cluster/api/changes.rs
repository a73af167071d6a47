//! Changes by the API.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::scene::Scene;
use crate::fixture::POLICY;

const URL: &str = "postgresql://app:pass-9@10.0.0.9:5433/app";

fn add(id: &str) -> Value {
    json!({"action": "add_replica", "replicaConfig": {"id": id, "url": URL, "region": "eu", "enabled": false}})
}

async fn replicas(scene: &Scene) -> Result<Vec<Value>> {
    let policy = serde_json::to_value(scene.it.get().await?)?;
    Ok(policy["spec"]["replicas"].as_array().cloned().unwrap_or_default())
}

pub async fn secret(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set_as(plane, false, &["--secrets=named"]).await?;
    let answer = scene.change(&add("replica-9"), &scene.editor).await?;
    ensure!(answer.status == 200, "{}", answer.body);
    let told: Value = serde_json::from_str(&answer.body)?;
    ensure!(told["secret"] == "orders-replica-9", "{told}");
    ensure!(
        told["notes"][0]
            .as_str()
            .is_some_and(|note| note.contains("get, list and watch")),
        "{told}"
    );
    ensure!(!answer.body.contains("pass-9"), "{told}");
    let secrets = scene.it.api::<Secret>();
    let secret = secrets.get("orders-replica-9").await?;
    let url = secret
        .data
        .clone()
        .unwrap_or_default()
        .remove("url")
        .unwrap_or_default();
    ensure!(url.0 == URL.as_bytes());
    let policy = scene.it.get().await?;
    let owners = secret.metadata.owner_references.unwrap_or_default();
    ensure!(
        owners
            .iter()
            .any(|owner| Some(&owner.uid) == policy.metadata.uid.as_ref()),
        "{owners:?}"
    );
    let added = json!({
        "id": "replica-9", "region": "eu", "state": "Disabled",
        "urlSecretRef": {"name": "orders-replica-9", "key": "url"},
    });
    ensure!(
        replicas(&scene).await?.contains(&added),
        "{:?}",
        replicas(&scene).await?
    );

    let again = scene.change(&add("replica-9"), &scene.editor).await?;
    ensure!(
        again.status == 409 && again.body.contains("AlreadyExists"),
        "{}",
        again.body
    );
    ensure!(secrets.get_opt("orders-replica-9").await?.is_some());
    // A Secret of somebody else is in the way: it stays as it is, and the policy too.
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-replica-8"}});
    scene.it.apply(&other).await?;
    let taken = scene.change(&add("replica-8"), &scene.editor).await?;
    ensure!(
        taken.status == 409 && taken.body.contains("orders-replica-8"),
        "{}",
        taken.body
    );
    ensure!(secrets.get_opt("orders-replica-8").await?.is_some());
    // What the policy may not be makes no Secret.
    let wrong = json!({"action": "add_replica", "replicaConfig": {"id": "replica-7", "url": URL, "region": "no region"}});
    let refused = scene.change(&wrong, &scene.editor).await?;
    ensure!(
        refused.status == 422 && refused.body.contains("region"),
        "{}",
        refused.body
    );
    ensure!(secrets.get_opt("orders-replica-7").await?.is_none());

    let remove = json!({"action": "remove_replica", "replicaId": "replica-9"});
    let removed = scene.change(&remove, &scene.editor).await?;
    ensure!(
        removed.status == 200 && removed.body.contains(r#""secret":"orders-replica-9""#),
        "{}",
        removed.body
    );
    ensure!(secrets.get_opt("orders-replica-9").await?.is_none());
    ensure!(replicas(&scene).await?.len() == 1);
    let log = scene.it.operator.log();
    ensure!(
        !log.contains("pass-9") && !log.contains(&scene.editor),
        "the log has a secret"
    );
    Ok(())
}

/// A new URL has a Secret of its own until the policy names it; one without a password is in the policy.
pub async fn url(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let secrets = scene.it.api::<Secret>();
    let update =
        |url: &str| json!({"action": "update_replica", "replicaConfig": {"id": "replica-9", "url": url}});
    let added = scene.change(&add("replica-9"), &scene.editor).await?;
    ensure!(added.status == 200, "{}", added.body);
    for (url, secret, before) in [
        (
            "postgresql://app:pass-10@10.0.0.10:5433/app",
            "orders-replica-9.2",
            "orders-replica-9",
        ),
        (
            "postgresql://app:pass-11@10.0.0.11:5433/app",
            "orders-replica-9",
            "orders-replica-9.2",
        ),
    ] {
        let updated = scene.change(&update(url), &scene.editor).await?;
        ensure!(
            updated.status == 200 && !updated.body.contains("pass-1"),
            "{}",
            updated.body
        );
        let kept = secrets.get(secret).await?.data.unwrap_or_default().remove("url");
        ensure!(kept.is_some_and(|kept| kept.0 == url.as_bytes()), "{secret}");
        ensure!(secrets.get_opt(before).await?.is_none(), "{before} is left");
        let expected = json!({
            "id": "replica-9", "region": "eu", "state": "Disabled", "urlSecretRef": {"name": secret, "key": "url"},
        });
        ensure!(
            replicas(&scene).await?.contains(&expected),
            "{:?}",
            replicas(&scene).await?
        );
    }
    let updated = scene
        .change(&update("postgresql://10.0.0.12:5434/app"), &scene.editor)
        .await?;
    ensure!(updated.status == 200, "{}", updated.body);
    ensure!(
        secrets.get_opt("orders-replica-9").await?.is_none(),
        "the Secret is left"
    );
    let expected = json!({
        "id": "replica-9", "region": "eu", "state": "Disabled", "host": "10.0.0.12", "port": 5434,
        "connection": {"database": "app"},
    });
    ensure!(
        replicas(&scene).await?.contains(&expected),
        "{:?}",
        replicas(&scene).await?
    );
    let drain =
        json!({"action": "update_replica", "replicaConfig": {"id": "replica-9", "state": "Draining"}});
    let drained = scene.change(&drain, &scene.editor).await?;
    ensure!(drained.status == 200, "{}", drained.body);
    ensure!(replicas(&scene).await?[1]["state"] == "Draining");
    Ok(())
}

/// Of those that add one replica at the same time one has its URL in the end, and no Secret is lost or left.
pub async fn one_id(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let urls: Vec<_> = (1..6)
        .map(|number| format!("postgresql://app:pass-{number}@10.0.0.{number}/app"))
        .collect();
    let bodies: Vec<_> = urls
        .iter()
        .map(|url| json!({"action": "add_replica", "replicaConfig": {"id": "replica-9", "url": url}}))
        .collect();
    let all = bodies.iter().map(|body| scene.change(body, &scene.editor));
    let answers = futures::future::try_join_all(all).await?;
    let done: Vec<_> = urls
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.status == 200)
        .collect();
    ensure!(
        done.len() == 1 && answers.iter().all(|answer| matches!(answer.status, 200 | 409)),
        "{answers:?}"
    );
    let secret = scene.it.api::<Secret>().get("orders-replica-9").await?;
    let kept = secret.data.unwrap_or_default().remove("url").unwrap_or_default();
    ensure!(kept.0 == done[0].0.as_bytes(), "the URL of one that was refused");
    ensure!(replicas(&scene).await?.len() == 2);
    Ok(())
}

/// Each rests on the policy as it was read: one that comes too late is made again, or refused, and none takes back another one.
pub async fn together(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let ids: Vec<_> = (10..14).map(|number| format!("replica-{number}")).collect();
    let bodies: Vec<_> = ids.iter().map(|id| add(id)).collect();
    let all = bodies.iter().map(|body| scene.change(body, &scene.editor));
    let answers = futures::future::try_join_all(all).await?;
    let known = replicas(&scene).await?;
    let mut added = 0;
    for (id, answer) in ids.iter().zip(answers) {
        let is_there = known.iter().any(|replica| replica["id"] == *id);
        let secret = scene
            .it
            .api::<Secret>()
            .get_opt(&format!("{POLICY}-{id}"))
            .await?;
        match answer.status {
            200 => added += 1,
            409 => ensure!(answer.body.contains("changes faster"), "{}", answer.body),
            _ => anyhow::bail!("{} {}", answer.status, answer.body),
        }
        ensure!(
            is_there == (answer.status == 200) && secret.is_some() == is_there,
            "{id}: {answer:?} {known:?}"
        );
    }
    ensure!(added >= 2, "only {added} were added");
    Ok(())
}

pub async fn gitops(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let tracked = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:distributary.dev/ReplicaSetPolicy:shop/orders"}}});
    scene.it.patch(tracked).await?;
    let weigh = |force: bool| json!({"action": "update_replica", "replicaConfig": {"id": "replica-1", "weight": 7}, "force": force});
    let refused = scene.change(&weigh(false), &scene.editor).await?;
    let told = refused.body.contains("ManagedByGitOps") && refused.body.contains("Argo CD application shop");
    ensure!(refused.status == 409 && told, "{}", refused.body);
    let check = json!({"action": "force_health_check"});
    let checked = scene.change(&check, &scene.editor).await?;
    ensure!(checked.status == 200, "{}", checked.body);
    let asked = scene.it.get().await?.metadata.annotations.unwrap_or_default();
    let asked = asked.get("distributary.dev/check-requested-at").cloned();
    ensure!(asked.is_some());
    let answered = |policy: &distributary_api::ReplicaSetPolicy| {
        policy
            .status
            .as_ref()
            .is_some_and(|status| status.checked_for == asked)
    };
    scene
        .it
        .until("the checks to be answered", crate::fixture::SOON, answered)
        .await?;
    let forced = scene.change(&weigh(true), &scene.editor).await?;
    ensure!(forced.status == 200, "{}", forced.body);
    ensure!(replicas(&scene).await?[0]["weight"] == 7);
    let policy = scene.it.get().await?;
    let fields = policy.metadata.managed_fields.unwrap_or_default();
    ensure!(
        fields
            .iter()
            .any(|entry| entry.manager.as_deref() == Some("distributary-api")),
        "{fields:?}"
    );
    Ok(())
}

/// May patch policies, and not make Secrets.
pub async fn refused(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let patcher = scene
        .it
        .plane
        .service_account_token(&scene.it.namespace, "patcher")
        .await?;
    let before = replicas(&scene).await?;
    let answer = scene.change(&add("replica-9"), &patcher).await?;
    ensure!(
        answer.status == 403 && answer.body.contains("secrets"),
        "{}",
        answer.body
    );
    ensure!(!answer.body.contains("pass-9"), "{}", answer.body);
    ensure!(replicas(&scene).await? == before);
    ensure!(
        scene
            .it
            .api::<Secret>()
            .get_opt(&format!("{POLICY}-replica-9"))
            .await?
            .is_none()
    );
    Ok(())
}
