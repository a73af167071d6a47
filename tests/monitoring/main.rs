//! What programs of others read: the metrics, by a real Prometheus, and the HTTP API, by Schemathesis. `cargo test` runs this only
//! where it is named: `make test-api` does.

mod description;
mod rates;

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/pair.rs"]
mod pair;

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/api/scene.rs"]
mod scene;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::process::Daemon;
use harness::suite::Suite;
use harness::{ControlPlane, Operator, node, wait, web};
use pair::Pair;
use serde_json::{Value, json};

const DEFINITION: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/crds/replicasetpolicies.distributary.dev.yaml"
);
const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/rules.yaml");
const LISTENS: &str = "127.0.0.1:9090";
/// Scraped and judged every second, whatever else the machine does.
const SOON: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    harness::node::enter(|| {
        Suite::new(|| async { ControlPlane::start_with(&[Path::new(DEFINITION)]).await })
            .test(
                "the_alert_of_a_killed_replica_fires_once_and_resolves",
                killed_replica,
            )
            .test("the_api_answers_as_its_description_says", description::holds)
            .test(
                "rates_and_the_share_of_replicas_are_those_that_pgbench_counts",
                rates::are_those_of_pgbench,
            )
            .run()
    })
}

struct Prometheus {
    _daemon: Daemon,
    address: SocketAddr,
}

impl Prometheus {
    /// One that reads these operators. An alert waits for a second, and goes on for another one.
    fn start(operators: [&Operator; 2]) -> Result<Self> {
        let directory = node::data_subdir("prometheus")?;
        let rules = fs::read_to_string(RULES)?;
        let rules: Vec<_> = rules
            .lines()
            .map(|line| match line.trim_start().split_once(": ") {
                Some(("for", _)) => "    for: 1s",
                Some(("keep_firing_for", _)) => "    keep_firing_for: 1s",
                _ => line,
            })
            .collect();
        fs::write(directory.join("rules.yaml"), rules.join("\n"))?;
        let targets = operators.map(|operator| operator.http_address().to_string());
        // JSON is YAML.
        let configuration = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [directory.join("rules.yaml")],
            "scrape_configs": [{
                "job_name": "distributary",
                "honor_labels": true,
                "static_configs": [{"targets": targets, "labels": {"namespace": "distributary-system"}}],
            }],
        });
        fs::write(directory.join("prometheus.yaml"), configuration.to_string())?;
        let daemon = Daemon::new("prometheus", "prometheus")?.args([
            format!("--config.file={}", directory.join("prometheus.yaml").display()),
            format!("--storage.tsdb.path={}", directory.join("data").display()),
            format!("--web.listen-address={LISTENS}"),
        ]);
        daemon.start()?;
        Ok(Self {
            _daemon: daemon,
            address: LISTENS.parse()?,
        })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let response = web::get(self.address, path).await?;
        ensure!(response.status == 200, "{path}: {}", response.body);
        let mut answer: Value = serde_json::from_str(&response.body)?;
        Ok(answer["data"].take())
    }

    /// What fires, each with its labels.
    async fn fires(&self) -> Result<Vec<Value>> {
        let alerts = self.get("/api/v1/alerts").await?["alerts"].take();
        let alerts = alerts.as_array().context("no alerts")?.iter();
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        Ok(firing.map(|alert| alert["labels"].clone()).collect())
    }

    async fn rests(&self) -> Result<()> {
        wait::eventually("no alert to fire", SOON, || async {
            let firing = self.fires().await?;
            ensure!(firing.is_empty(), "{firing:?}");
            anyhow::Ok(())
        })
        .await
    }
}

async fn killed_replica(plane: Arc<ControlPlane>) -> Result<()> {
    let pair = Pair::start(plane, 2).await?;
    let prometheus = Prometheus::start([&pair.it.operator, &pair.second])?;
    wait::eventually("Prometheus to read both", SOON, || async {
        let targets = prometheus.get("/api/v1/targets").await?;
        let targets = targets["activeTargets"].as_array().context("no targets")?;
        let up = targets.iter().filter(|target| target["health"] == "up").count();
        ensure!(up == 2, "{targets:?}");
        anyhow::Ok(())
    })
    .await?;
    prometheus.rests().await?;

    let replica = pair.it.postgres.replica(0);
    replica.kill().await?;
    wait::eventually("the alert to fire", SOON, || async {
        let firing = prometheus.fires().await?;
        let open = |labels: &&Value| labels["alertname"] == "DistributaryCircuitOpen";
        let open: Vec<_> = firing.iter().filter(open).collect();
        ensure!(
            open.len() == 1
                && open[0]["endpoint"] == "replica-1"
                && open[0]["namespace"] == pair.it.namespace.to_string(),
            "{firing:?}"
        );
        ensure!(open[0].get("instance").is_none(), "{open:?}");
        anyhow::Ok(())
    })
    .await?;
    // The other one serves.
    let firing = prometheus.fires().await?;
    ensure!(
        firing.iter().all(|labels| labels["severity"] == "warning"),
        "{firing:?}"
    );
    replica.start().await?;
    prometheus.rests().await?;
    every_query_of_the_dashboard_has_data(&prometheus).await?;

    let groups = prometheus.get("/api/v1/rules").await?["groups"].take();
    let groups = groups.as_array().context("no groups")?;
    let rules = groups
        .iter()
        .filter_map(|group| group["rules"].as_array())
        .flatten();
    for rule in rules {
        ensure!(rule["health"] == "ok", "{rule}");
    }
    Ok(())
}

/// The queries of panels, and those of variables.
async fn every_query_of_the_dashboard_has_data(prometheus: &Prometheus) -> Result<()> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/monitoring/dashboard.json");
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let panels = list(&dashboard["panels"]).into_iter();
    let mut queries: Vec<_> = panels
        .flat_map(|panel| list(&panel["targets"]))
        .filter_map(|target| target["expr"].as_str().map(str::to_owned))
        .collect();
    for variable in list(&dashboard["templating"]["list"]) {
        let query = variable["query"].as_str().context("no query")?;
        if let Some(values) = query.strip_prefix("label_values(") {
            let (series, label) = values
                .trim_end_matches(')')
                .rsplit_once(", ")
                .context("no label")?;
            queries.push(format!("count by ({label}) ({series})"));
        }
    }
    ensure!(queries.len() > 20, "{queries:?}");
    for query in queries {
        let mut asked = query.clone();
        for (variable, value) in [
            ("$namespace", ".*"),
            ("$policy", ".*"),
            ("$region", ".*"),
            ("$__rate_interval", "30s"),
        ] {
            asked = asked.replace(variable, value);
        }
        let encoded: String = asked.bytes().map(|byte| format!("%{byte:02X}")).collect();
        wait::eventually("the query to return data", SOON, || async {
            let data = prometheus.get(&format!("/api/v1/query?query={encoded}")).await?;
            ensure!(
                data["result"].as_array().is_some_and(|result| !result.is_empty()),
                "{query}: {data}"
            );
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}
