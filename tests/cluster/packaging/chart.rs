//! The chart beside `deploy/`: the same objects, and the roles of namespaces and Secrets.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use serde_json::{Value, json};

use super::DEPLOY;
use super::manifests::{
    arguments, arguments_of, documents, find, in_namespace, rules, template, template_json,
};
use super::rights::{CLUSTER_WIDE, role_pairs};

pub(super) async fn deploy_and_chart_agree(plane: Arc<ControlPlane>) -> Result<()> {
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

pub(super) async fn the_chart_gives_roles(plane: Arc<ControlPlane>) -> Result<()> {
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

pub(super) async fn the_chart_runs_as_many_as_it_is_told(plane: Arc<ControlPlane>) -> Result<()> {
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
