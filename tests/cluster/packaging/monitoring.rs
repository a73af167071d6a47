//! What the chart installs for Prometheus.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use serde_json::{Value, json};

use super::manifests::{documents, find, template, template_json};

const KINDS: [&str; 6] = [
    "ConfigMap",
    "NetworkPolicy",
    "PodMonitor",
    "PrometheusRule",
    "Service",
    "ServiceMonitor",
];

fn alerts(rule: &Value) -> Result<Vec<&Value>> {
    let groups = rule["spec"]["groups"].as_array().context("no groups")?;
    let rules = groups.iter().filter_map(|group| group["rules"].as_array());
    Ok(rules.flatten().collect())
}

pub(super) async fn the_chart_installs_monitoring(plane: Arc<ControlPlane>) -> Result<()> {
    // Nothing of it by default.
    for document in template(&plane, &[]).await? {
        let kind = document["kind"].as_str().unwrap_or_default();
        ensure!(!KINDS.contains(&kind), "{document}");
    }
    let set = [
        "metrics.perEndpoint=false",
        "metrics.podMonitor.create=true",
        "metrics.podMonitor.interval=15s",
        "metrics.podMonitor.additionalLabels.release=prometheus",
        "metrics.serviceMonitor.create=true",
        "metrics.serviceMonitor.interval=15s",
        "metrics.serviceMonitor.additionalLabels.release=prometheus",
        "prometheusRule.create=true",
        "prometheusRule.additionalLabels.release=prometheus",
        "prometheusRule.excludeRules={DistributaryNoLeader,DistributaryWatchSilent,DistributaryChecksLate}",
        "prometheusRule.runbookUrl=https://docs.example.com/runbooks/",
        "networkPolicy.enabled=true",
        "dashboard.create=true",
    ];
    let chart = template(&plane, &set).await?;
    let deployment = find(&chart, "Deployment", "distributary")?;
    let pod = &deployment["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    ensure!(
        pod["spec"]["containers"][0]["args"]
            .as_array()
            .is_some_and(|args| args.contains(&json!("--metrics-per-endpoint=off"))),
        "{pod}"
    );
    let selects = |selector: &Value| {
        let selector = selector.as_object().filter(|selector| !selector.is_empty());
        selector.is_some_and(|selector| selector.iter().all(|(label, value)| labels[label] == *value))
    };
    let service = find(&chart, "Service", "distributary-metrics")?;
    ensure!(selects(&service["spec"]["selector"]), "{service}");
    let monitor = find(&chart, "PodMonitor", "distributary")?;
    ensure!(selects(&monitor["spec"]["selector"]["matchLabels"]), "{monitor}");
    let endpoint = json!({"port": "http", "path": "/metrics", "honorLabels": true, "interval": "15s"});
    ensure!(
        monitor["spec"]["podMetricsEndpoints"] == json!([endpoint]),
        "{monitor}"
    );
    let of_service = find(&chart, "ServiceMonitor", "distributary")?;
    ensure!(
        of_service["spec"]["endpoints"] == json!([endpoint]),
        "{of_service}"
    );
    let selector = of_service["spec"]["selector"]["matchLabels"].as_object();
    let selector = selector.context("no selector")?;
    // The Service of the metrics, and no other one.
    for document in chart.iter().filter(|document| document["kind"] == "Service") {
        let labels = &document["metadata"]["labels"];
        let is_read = selector.iter().all(|(label, value)| labels[label] == *value);
        ensure!(
            is_read == (document["metadata"]["name"] == "distributary-metrics"),
            "{document}"
        );
    }
    let policy = find(&chart, "NetworkPolicy", "distributary")?;
    ensure!(
        selects(&policy["spec"]["podSelector"]["matchLabels"]) && policy["spec"]["ingress"] == json!([]),
        "{policy}"
    );
    let rule = find(&chart, "PrometheusRule", "distributary")?;
    for labelled in [rule, monitor, of_service] {
        ensure!(
            labelled["metadata"]["labels"]["release"] == "prometheus",
            "{labelled}"
        );
    }
    the_rules_are_those_of_deploy(rule)?;
    let dashboard = find(&chart, "ConfigMap", "distributary-dashboard")?;
    let text = dashboard["data"]["distributary.json"]
        .as_str()
        .context("no dashboard")?;
    let shown: Value = serde_json::from_str(text)?;
    let of_deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/dashboard.json");
    ensure!(
        dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
            && shown == serde_json::from_str::<Value>(&std::fs::read_to_string(of_deploy)?)?,
        "{dashboard}"
    );
    let peers = r#"networkPolicy={"enabled":true,"metricsFrom":[{"podSelector":{}}]}"#;
    let chart = template_json(&plane, peers).await?;
    let policy = find(&chart, "NetworkPolicy", "distributary")?;
    let ingress = json!([{"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": "http"}]}]);
    ensure!(policy["spec"]["ingress"] == ingress, "{policy}");
    Ok(())
}

fn the_rules_are_those_of_deploy(rule: &Value) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/rules.yaml");
    let all = documents(&std::fs::read_to_string(path)?)?;
    let all = json!({"spec": all[0]});
    let shown: BTreeSet<_> = alerts(rule)?
        .iter()
        .map(|alert| {
            (
                alert["alert"].to_string(),
                alert["expr"].to_string(),
                alert["for"].to_string(),
                alert["keep_firing_for"].to_string(),
            )
        })
        .collect();
    let expected = alerts(&all)?;
    let expected = expected.iter().filter(|alert| {
        let name = alert["alert"].as_str().unwrap_or_default();
        ![
            "DistributaryNoLeader",
            "DistributaryWatchSilent",
            "DistributaryChecksLate",
        ]
        .contains(&name)
    });
    let expected: BTreeSet<_> = expected
        .map(|alert| {
            (
                alert["alert"].to_string(),
                alert["expr"].to_string(),
                alert["for"].to_string(),
                alert["keep_firing_for"].to_string(),
            )
        })
        .collect();
    ensure!(shown == expected && shown.len() == 11, "{shown:#?}");
    for alert in alerts(rule)? {
        let short = alert["alert"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("Distributary");
        ensure!(
            alert["annotations"]["runbook_url"] == format!("https://docs.example.com/runbooks/{short}.md"),
            "{alert}"
        );
    }
    Ok(())
}
