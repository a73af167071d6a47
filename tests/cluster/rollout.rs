//! docs/rollout.md, command by command, with the names of the test's servers in place of its own and short times to watch.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::postgres::Tls;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::Value;

use crate::fixture::{Fixture, SOON};
use crate::tutorial::{Block, Shell, blocks};

const PAGE: &str = include_str!("../../docs/rollout.md");
const RULES: &str = include_str!("../../deploy/monitoring/rules.yaml");

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test("the_rollout_does_what_it_says", rollout)
}

async fn rollout(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder()
        .replicas(2)
        .tls(Tls::default())
        .rule("host all postgres 198.18.0.0/15 trust");
    let it = Fixture::start_with(plane, servers, &[]).await?;
    it.postgres.primary().sql("create database orders").await?;
    it.postgres.caught_up().await?;
    let mut shell = Shell::new(&it, "rollout")?;
    shell.names.extend([
        ("pg-2.example.com", it.postgres.replica(1).name().to_owned()),
        ("$(seq 30); do sleep 60;", "$(seq 2); do sleep 1;".to_owned()),
    ]);
    std::fs::write(shell.folder.join("rules.yaml"), RULES)?;
    machines(&it, &shell)?;
    let mut steps = 0;
    for Block {
        language,
        text,
        heading,
    } in blocks(PAGE)
    {
        if language == "yaml" {
            std::fs::write(shell.folder.join("orders.yaml"), shell.named(&text))?;
            continue;
        }
        ensure!(language == "sh", "a block of {language}");
        shell.run(&text, 0).await?;
        seen(&it, &heading).await?;
        steps += 1;
    }
    ensure!(steps == 12, "{steps} steps");
    Ok(())
}

/// What a person has for the machine of the primary: it does what the page asks for, and nothing else.
fn machines(it: &Fixture, shell: &Shell) -> Result<()> {
    let primary = it.postgres.primary();
    let (name, data) = (primary.name(), primary.data());
    let process = data.join("postmaster.pid");
    let process = process.display();
    let script = format!(
        "#!/bin/bash
[ \"$*\" = '{name} sudo systemctl stop postgresql' ] || {{ echo \"ssh $*\" >&2; exit 255; }}
kill -INT \"$(head -n 1 '{process}')\"
for try in $(seq 300); do [ -e '{process}' ] || exit 0; sleep 0.1; done
exit 1
"
    );
    let ssh = shell.folder.join("bin/ssh");
    std::fs::write(&ssh, script)?;
    std::fs::set_permissions(&ssh, Permissions::from_mode(0o755))?;
    Ok(())
}

/// What a step must have come to.
async fn seen(it: &Fixture, heading: &str) -> Result<()> {
    let (primary, replicas) = (
        it.postgres.primary(),
        [it.postgres.replica(0), it.postgres.replica(1)],
    );
    match heading.split('.').next().unwrap_or_default() {
        "1" => it.postgres.caught_up().await,
        // No route is written.
        "2" | "3" | "4" => {
            let slices = it.slices().list(&kube::api::ListParams::default()).await?;
            ensure!(slices.items.is_empty(), "{slices:?}");
            Ok(())
        }
        "5" => it.leads("ro", &[primary], SOON).await,
        "7" => it.leads("ro", &replicas[..1], SOON).await,
        "8" => it.leads("ro", &replicas, SOON).await,
        "10" => alerts(it).await,
        "11" => it.leads("rw", &replicas[..1], SOON).await,
        _ => Ok(()),
    }
}

/// What a Prometheus reads where the ConfigMap is mounted, which has a file for each key.
async fn alerts(it: &Fixture) -> Result<()> {
    let map = it.api::<ConfigMap>().get("distributary-alerts").await?;
    let mounted = harness::node::data_subdir(&format!("rules-{}", &*it.namespace))?;
    for (key, text) in map.data.unwrap_or_default() {
        std::fs::write(mounted.join(key), text)?;
    }
    let names = |text: &str| {
        let rules: Value = serde_yaml::from_str(text)?;
        let groups = rules["groups"].as_array().context("no groups")?;
        let rules = groups.iter().filter_map(|group| group["rules"].as_array());
        let alert = |rule: &Value| {
            let has_query = rule["expr"].as_str().is_some_and(|query| !query.is_empty());
            ensure!(has_query, "no query: {rule}");
            Ok(rule["alert"].as_str().context("no name")?.to_owned())
        };
        rules.flatten().map(alert).collect::<Result<Vec<_>>>()
    };
    let mut read = vec![];
    for file in std::fs::read_dir(&mounted)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            read.extend(names(&std::fs::read_to_string(path)?)?);
        }
    }
    ensure!(!read.is_empty() && read == names(RULES)?, "{read:?}");
    Ok(())
}
