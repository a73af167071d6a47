//! The operator with exactly the rights that the chart gives it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::control_plane::AuditEvent;
use harness::{ControlPlane, wait, watch};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};

use super::manifests::{documents, rules, strings};
use super::release::{Release, helm};
use crate::fixture::{Fixture, POLICY, SOON};

/// What only OpenShift asks for.
const OPENSHIFT: &str = "create endpointslices/restricted";

/// What the operator does in a life full of incidents is what its Role allows: a right that is missing shows as a
/// refusal, one that is superfluous as a pair that was never asked for.
pub(super) async fn the_operator_needs_its_role(plane: Arc<ControlPlane>) -> Result<()> {
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
pub(super) async fn named_secrets_suffice(plane: Arc<ControlPlane>) -> Result<()> {
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

/// What the rules of a Role allow, as `VERB RESOURCE`, with the group of the resource where another has its name.
pub(super) fn role_pairs(rules: &Value) -> BTreeSet<String> {
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
pub(super) const CLUSTER_WIDE: &str = "servicecidrs";

/// What was asked of the API server, in the same form. Discovery and reviews, which everybody may do, are left out.
fn audit_pairs(events: &[AuditEvent]) -> BTreeSet<String> {
    let for_resources = events
        .iter()
        .filter(|event| !event.resource.is_empty() && event.resource != CLUSTER_WIDE);
    for_resources
        .map(|event| pair(&event.verb, &event.group, &event.target()))
        .collect()
}

pub(super) fn pair(verb: &str, group: &str, resource: &str) -> String {
    // Events are in two groups, and only one is ours.
    if resource == "events" {
        format!("{verb} {resource}.{group}")
    } else {
        format!("{verb} {resource}")
    }
}
