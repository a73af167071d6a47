//! Our objects in the hands of others.

mod deleted;

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::postgres::DATABASE;
use harness::suite::Suite;
use harness::{ControlPlane, wait, watch};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::fixture::{Fixture, POLICY, SOON};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("manual_edits_are_put_back_and_foreign_labels_kept", manual_edits)
        .test(
            "fields_of_a_service_that_lead_traffic_elsewhere_are_put_back",
            service_fields,
        )
        .test("an_immutable_config_map_is_made_anew", immutable_config_map)
        .test(
            "labels_that_the_policy_asks_for_are_on_every_object_and_go_with_the_wish",
            asked_labels,
        )
        .test("deleted_objects_are_made_again", deleted_objects)
        .test(
            "an_object_of_our_name_is_left_alone_until_it_is_gone",
            name_conflict,
        )
        .test("slices_of_others_for_our_service_are_reported", foreign_slices)
        .test("deleting_the_policy_deletes_its_objects", deleted::deletion)
        .test(
            "a_policy_deleted_in_the_foreground_makes_nothing_anew",
            deleted::foreground,
        )
        .test(
            "environment_variables_have_a_config_map_of_their_own_also_after_an_earlier_version",
            variables,
        )
        .test("retained_routes_outlive_the_policy", deleted::retain)
        .test("a_policy_that_a_finalizer_keeps_is_routed_on", deleted::kept)
        .test(
            "restored_objects_are_adopted_without_a_lost_read",
            deleted::restored,
        )
        .test(
            "orphaned_objects_are_adopted_without_a_lost_read",
            deleted::orphaned,
        )
        .test(
            "retained_objects_are_adopted_without_a_lost_read",
            deleted::retained,
        )
        .test("outputs_are_named_moved_and_disabled", outputs)
}

async fn asked_labels(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let without = labelled(&it, "cost-center", "42").await?;
    ensure!(without.is_empty(), "not asked for: {without:?}");
    let asks = |labels: Value| json!({"spec": {"outputs": {"metadata": {"labels": labels}}}});
    it.patch(asks(json!({"cost-center": "42"}))).await?;
    let all = wait::eventually("every object to have the label", SOON, || async {
        let found = labelled(&it, "cost-center", "42").await?;
        let all = labelled(&it, "app.kubernetes.io/managed-by", "distributary").await?;
        ensure!(found == all, "{found:?} of {all:?}");
        anyhow::Ok(all)
    })
    .await?;
    ensure!(all.len() >= 5, "{all:?}");

    let name = format!("{POLICY}-ro");
    let change = json!({"metadata": {"labels": {"cost-center": "43", "team": "shop"}}});
    it.api::<Service>()
        .patch(&name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    wait::eventually("the label to be put back", SOON, || async {
        let found = labelled(&it, "cost-center", "42").await?;
        ensure!(found == all, "{found:?}");
        anyhow::Ok(())
    })
    .await?;

    it.patch(asks(json!({"cost-center": null}))).await?;
    wait::eventually("the label to go", SOON, || async {
        let found = labelled(&it, "cost-center", "42").await?;
        ensure!(found.is_empty(), "{found:?}");
        anyhow::Ok(())
    })
    .await?;
    let kept = labelled(&it, "team", "shop").await?;
    ensure!(kept == [format!("Service {name}")], "{kept:?}");

    it.patch(asks(json!({"distributary.dev/route": "x"}))).await?;
    let told = it.condition("Accepted", "False", "Invalid").await?;
    ensure!(
        told.message.contains("labels[distributary.dev/route]"),
        "{}",
        told.message
    );
    Ok(())
}

/// The objects of the namespace with this label.
async fn labelled(it: &Fixture, key: &str, value: &str) -> Result<Vec<String>> {
    let with = ListParams::default().labels(&format!("{key}={value}"));
    let services = it.api::<Service>().list(&with).await?.items;
    let slices = it.slices().list(&with).await?.items;
    let config_maps = it.api::<ConfigMap>().list(&with).await?.items;
    let services = services
        .iter()
        .map(|object| format!("Service {}", object.name_any()));
    let slices = slices
        .iter()
        .map(|object| format!("EndpointSlice {}", object.name_any()));
    let config_maps = config_maps
        .iter()
        .map(|object| format!("ConfigMap {}", object.name_any()));
    Ok(services.chain(slices).chain(config_maps).collect())
}

async fn manual_edits(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let slice = format!("{POLICY}-ro-ipv4-5432");
    let change =
        json!({"endpoints": [{"addresses": ["198.18.255.1"]}], "metadata": {"labels": {"team": "shop"}}});
    it.slices()
        .patch(&slice, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let labels = it.slices().get(&slice).await?.metadata.labels.unwrap_or_default();
    ensure!(
        labels.get("team").is_some_and(|team| team == "shop"),
        "{labels:?}"
    );

    let name = format!("{POLICY}-ro");
    let change = json!({
        "metadata": {"labels": {"distributary.dev/route": "other", "app.kubernetes.io/managed-by": null, "team": "shop"}},
        "spec": {"selector": {"app": "other"}, "externalIPs": ["198.18.255.2"]},
    });
    it.api::<Service>()
        .patch(&name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    watch::object(
        &it.api::<Service>(),
        &name,
        "the Service to be put back",
        SOON,
        |service| {
            let service = service.cloned().unwrap_or_default();
            let (spec, labels) = (
                service.spec.unwrap_or_default(),
                service.metadata.labels.unwrap_or_default(),
            );
            let ours = labels
                .get("distributary.dev/route")
                .is_some_and(|route| route == "ro")
                && labels.contains_key("app.kubernetes.io/managed-by");
            ours && labels.contains_key("team") && spec.selector.is_none() && spec.external_ips.is_none()
        },
    )
    .await?;

    let name = format!("{POLICY}-routing");
    let change = json!({"data": {"routing.json": "{}", "theirs": "kept"}});
    it.api::<ConfigMap>()
        .patch(&name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    watch::object(
        &it.api::<ConfigMap>(),
        &name,
        "the ConfigMap to be put back",
        SOON,
        |config_map| {
            let data = config_map.cloned().unwrap_or_default().data.unwrap_or_default();
            data.get("routing.json").is_some_and(|text| text != "{}") && data.contains_key("theirs")
        },
    )
    .await?;
    Ok(())
}

/// As far as a real API server takes them.
async fn service_fields(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let name = format!("{POLICY}-ro");
    for change in [
        json!({"spec": {"internalTrafficPolicy": "Local"}}),
        json!({"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10}}}}),
        json!({"spec": {"trafficDistribution": "PreferClose", "publishNotReadyAddresses": true}}),
        json!({"spec": {"type": "NodePort", "externalTrafficPolicy": "Local"}}),
        json!({"spec": {
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "loadBalancerClass": "example.com/theirs",
            "loadBalancerSourceRanges": ["203.0.113.0/24"], "allocateLoadBalancerNodePorts": false,
        }}),
        json!({"spec": {"type": "ExternalName", "externalName": "example.com"}}),
        json!({"metadata": {"labels": {"service.kubernetes.io/service-proxy-name": "theirs"}}}),
    ] {
        let before = it.api::<Service>().get(&name).await?;
        it.api::<Service>()
            .patch(&name, &PatchParams::default(), &Patch::Merge(&change))
            .await?;
        let what = format!("the Service to be put back after {change}");
        watch::object(&it.api::<Service>(), &name, &what, SOON, |service| {
            let fields = |service: &Service| {
                let mut spec = service.spec.clone().unwrap_or_default();
                // A Service that was of type ExternalName has another one.
                (spec.cluster_ip, spec.cluster_ips) = (None, None);
                (spec, service.metadata.labels.clone())
            };
            service.is_some_and(|service| fields(service) == fields(&before))
        })
        .await?;
    }
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn immutable_config_map(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let name = format!("{POLICY}-routing");
    let change = json!({"immutable": true});
    it.api::<ConfigMap>()
        .patch(&name, &PatchParams::default(), &Patch::Merge(change))
        .await?;
    watch::object(&it.api::<ConfigMap>(), &name, "another ConfigMap", SOON, |map| {
        map.is_some_and(|map| map.immutable.is_none() && map.data.is_some())
    })
    .await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn deleted_objects(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.api::<Service>()
        .delete(&format!("{POLICY}-rw"), &DeleteParams::default())
        .await?;
    it.slices()
        .delete(&format!("{POLICY}-ro-ipv4-5432"), &DeleteParams::default())
        .await?;
    it.api::<ConfigMap>()
        .delete(&format!("{POLICY}-routing"), &DeleteParams::default())
        .await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    watch::object(
        &it.api::<Service>(),
        &format!("{POLICY}-rw"),
        "NAME-rw",
        SOON,
        |is| is.is_some(),
    )
    .await?;
    watch::object(
        &it.api::<ConfigMap>(),
        &format!("{POLICY}-routing"),
        "NAME-routing",
        SOON,
        |is| is.is_some(),
    )
    .await?;
    Ok(())
}

async fn name_conflict(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(plane, 1).await?;
    it.apply(&json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders-rw"},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    }))
    .await?;
    it.apply(&it.policy()).await?;
    let stalled = it.condition("Stalled", "True", "NameConflict").await?;
    ensure!(
        stalled.message.contains("Service orders-rw"),
        "{}",
        stalled.message
    );
    it.condition("Ready", "False", "NotProgrammed").await?;
    it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    let theirs: Service = it.api().get("orders-rw").await?;
    let ports = theirs.spec.unwrap_or_default().ports.unwrap_or_default();
    ensure!(
        ports[0].port == 80 && theirs.metadata.labels.is_none(),
        "it was changed"
    );
    it.api::<Service>()
        .delete("orders-rw", &DeleteParams::default())
        .await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

async fn foreign_slices(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.apply(&json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "theirs", "labels": {"kubernetes.io/service-name": "orders-ro"}},
        "endpoints": [{"addresses": ["198.18.255.1"]}], "ports": [{"name": "postgres", "port": 5432}],
    }))
    .await?;
    let stalled = it.condition("Stalled", "True", "ForeignEndpoints").await?;
    ensure!(stalled.message.contains("theirs"), "{}", stalled.message);
    it.condition("Ready", "False", "NotProgrammed").await?;
    it.slices().delete("theirs", &DeleteParams::default()).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}

/// As a Pod has them by `envFrom`.
async fn variables(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let maps = it.api::<ConfigMap>();
    it.operator.stop().await?;
    // Version 0.1.0 wrote the variables beside routing.json.
    let routing = maps.get("orders-routing").await?;
    let keys = routing.annotations()["distributary.dev/keys"].clone();
    let earlier = json!({
        "metadata": {"annotations": {"distributary.dev/keys": format!("DATABASE_URL,DB_RETRY_ATTEMPTS,{keys}")}},
        "data": {"DATABASE_URL": "postgresql://198.18.0.99:5432/orders", "DB_RETRY_ATTEMPTS": "2", "OTHERS": "kept"},
    });
    maps.patch("orders-routing", &PatchParams::default(), &Patch::Merge(earlier))
        .await?;
    it.patch(json!({"spec": {"outputs": {"configMap": {"formats": ["Libpq", "Env"]}}}}))
        .await?;
    it.operator.start_again().await?;
    let variables = wait::eventually("the ConfigMap of the variables", SOON, || async {
        let map = maps.get("orders-env").await?;
        anyhow::Ok(map.data.unwrap_or_default())
    })
    .await?;
    it.condition("Programmed", "True", "Programmed").await?;
    let echoed = std::process::Command::new("/bin/sh")
        .args(["-c", "echo $DATABASE_URL $DB_REPLICA_1_ENABLED"])
        .env_clear()
        .envs(&variables)
        .output()?;
    let primary = it.postgres.primary().address();
    let url = format!("postgresql://{primary}:5432/{DATABASE}?sslmode=disable true\n");
    ensure!(String::from_utf8_lossy(&echoed.stdout) == url, "{echoed:?}");
    let names_one = |name: &str| {
        let inner = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(inner)
    };
    ensure!(variables.keys().all(|name| names_one(name)), "{variables:?}");
    let routing = maps.get("orders-routing").await?.data.unwrap_or_default();
    ensure!(
        !routing.keys().any(|key| names_one(key) && key != "OTHERS") && routing.contains_key("OTHERS"),
        "{:?}",
        routing.keys()
    );
    let told = it.get().await?.status.and_then(|status| status.routing);
    ensure!(
        told.is_some_and(|told| told.environment.as_deref() == Some("orders-env")),
        "status"
    );
    it.patch(json!({"spec": {"outputs": {"configMap": {"formats": ["Libpq"]}}}}))
        .await?;
    wait::eventually("the ConfigMap of the variables to go", SOON, || async {
        let map = maps.get_opt("orders-env").await?;
        ensure!(map.is_none(), "{map:?}");
        anyhow::Ok(())
    })
    .await
}

async fn outputs(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    it.patch(
        json!({"spec": {"outputs": {"services": {"namePrefix": "db"}, "configMap": {"name": "db-routes"}}}}),
    )
    .await?;
    let ours =
        || kube::runtime::watcher::Config::default().labels("app.kubernetes.io/managed-by=distributary");
    let names = |services: &[Service]| {
        services
            .iter()
            .map(kube::ResourceExt::name_any)
            .eq(["db-ro", "db-rw"])
    };
    watch::set(
        &it.api::<Service>(),
        ours(),
        "Services of the new prefix alone",
        SOON,
        names,
    )
    .await?;
    let named = |maps: &[ConfigMap]| maps.iter().map(kube::ResourceExt::name_any).eq(["db-routes"]);
    watch::set(
        &it.api::<ConfigMap>(),
        ours(),
        "the ConfigMap of the new name alone",
        SOON,
        named,
    )
    .await?;
    it.patch(json!({"spec": {"outputs": {"services": {"state": "Disabled"}}}}))
        .await?;
    watch::set(&it.api::<Service>(), ours(), "no Services", SOON, <[_]>::is_empty).await?;
    watch::set(&it.slices(), ours(), "no slices", SOON, <[_]>::is_empty).await?;
    it.condition("Ready", "True", "Routable").await?;
    Ok(())
}
