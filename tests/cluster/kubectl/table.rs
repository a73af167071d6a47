//! Every command of the table of docs/cli.md, as each of its callers.

use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use harness::ControlPlane;
use serde_json::json;

use super::scene::{Caller, Scene};
use crate::api::cells;

/// A command, and the exit code of each caller.
type Row = (Vec<String>, Vec<(Caller, i32)>);

pub async fn codes(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 2).await?;
    let authority = std::fs::read_to_string(scene.directory.join("ca.crt"))?;
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "distributary-api"}, "data": {"ca.crt": authority}});
    scene.it.apply(&map).await?;
    let rows = rows(&scene.it.namespace)?;
    ensure!(rows.len() > 15, "{rows:?}");
    for (words, codes) in &rows {
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        for (caller, code) in codes {
            let ended = scene.run(*caller, &words).await?;
            ensure!(
                ended.code == *code,
                "{words:?} as {caller:?} is not {code}: {ended:?}"
            );
            let told = match code {
                0 => !ended.out.is_empty() && ended.err.is_empty(),
                _ => ended.out.is_empty() && ended.err.to_lowercase().contains("error"),
            };
            ensure!(told || is_offline(&words), "{words:?} as {caller:?}: {ended:?}");
        }
    }
    instead(&scene).await?;
    completion(&scene).await
}

/// The commands that the plugin takes the place of, each with a word of what it showed.
const BEFORE: [(&str, &str); 4] = [
    ("db:replica-health", "REASON"),
    ("db:replica-stats", "SESSIONS"),
    ("db:router-stats", "ROUTE"),
    ("db:force-health-check", " checked"),
];

/// The table of docs/cli.md has these commands and no others, and what it names in their place does their work.
async fn instead(scene: &Scene) -> Result<()> {
    let page = include_str!("../../../docs/cli.md");
    let (_, table) = page.split_once("\n| before | now |\n").context("the table")?;
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    let rows: Vec<_> = rows.map(cells).collect();
    ensure!(rows.len() == BEFORE.len(), "{rows:?}");
    for (row, (before, word)) in rows.iter().zip(BEFORE) {
        ensure!(row[0] == format!("`{before}`"), "{row:?} is not {before}");
        let commands: Vec<_> = row[1].split('`').skip(1).step_by(2).collect();
        ensure!(!commands.is_empty(), "{row:?}");
        for command in commands {
            let words = command.strip_prefix("kubectl distributary ");
            let words = words
                .context("a command of the plugin")?
                .replace("POLICY", "orders");
            let words: Vec<_> = words.split(' ').collect();
            let ended = scene.run(Caller::Editor, &words).await?;
            ensure!(
                ended.code == 0 && ended.err.is_empty() && ended.out.contains(word),
                "{command}: {ended:?}"
            );
        }
    }
    Ok(())
}

/// They warn of what the files do not have.
fn is_offline(words: &[&str]) -> bool {
    ["plan", "drill"].contains(&words[0])
}

fn rows(namespace: &str) -> Result<Vec<Row>> {
    let page = include_str!("../../../docs/cli.md");
    let (_, section) = page
        .split_once("\n### Rights and exit codes\n")
        .context("the section")?;
    let mut lines = section.lines().skip_while(|line| !line.starts_with("| command"));
    let callers = cells(lines.next().context("the head")?)[1..]
        .iter()
        .map(|name| {
            Ok(match name.as_str() {
                "reader" => Caller::Reader,
                "editor" => Caller::Editor,
                "nobody" => Caller::Nobody,
                other => bail!("{other} is no caller"),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    rows.map(|row| {
        ensure!(row.len() == callers.len() + 1, "{row:?}");
        let command = row[0].trim_matches('`').strip_prefix("kubectl distributary ");
        let words = command.context("a command of the plugin")?.split(' ');
        let word = |word: &str| {
            let word = word.replace('\'', "");
            match word.as_str() {
                "shop" => namespace.to_owned(),
                word => word.replace("=shop", &format!("={namespace}")),
            }
        };
        let codes = row[1..].iter().map(|code| code.parse::<i32>().context("a code"));
        let codes = codes.collect::<Result<Vec<_>>>()?;
        Ok((
            words.map(word).collect(),
            callers.iter().copied().zip(codes).collect(),
        ))
    })
    .collect()
}

/// By kubectl, which runs the program by its other name.
async fn completion(scene: &Scene) -> Result<()> {
    let asked = async |words: &[&str]| {
        let line = [&["__complete", "distributary"], words].concat();
        anyhow::Ok(scene.kubectl(Caller::Reader, &line).await?.out)
    };
    let commands = asked(&["st"]).await?;
    ensure!(commands.starts_with("stats\nstatus\n:4"), "{commands}");
    let by_script = scene.run(Caller::Reader, &["__complete", "st"]).await?;
    ensure!(by_script.out.starts_with("stats\nstatus\n:4"), "{by_script:?}");
    let policies = asked(&["status", ""]).await?;
    ensure!(policies.starts_with("orders\n:4"), "{policies}");
    let endpoints = asked(&["drain", "orders", ""]).await?;
    ensure!(
        endpoints.starts_with("primary\nreplica-1\nreplica-2\n:4"),
        "{endpoints}"
    );
    let elsewhere = asked(&["-n", "kube-system", "status", ""]).await?;
    ensure!(elsewhere.starts_with(":4"), "{elsewhere}");
    Ok(())
}
