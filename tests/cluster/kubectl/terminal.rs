//! What is shown on a terminal, and there alone.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, wait};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::scene::{Caller, Scene};
use crate::fixture::SOON;

/// Before each table that takes the place of another.
const CLEARED: &str = "\u{1b}[H\u{1b}[2J";
const GREEN: &str = "\u{1b}[32mServing\u{1b}[0m";

/// The same command on a terminal of its own, by script(1).
fn on_terminal(command: &Command) -> Command {
    let command = command.as_std();
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]);
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            script.env(name, value);
        }
    }
    script
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    script
}

pub async fn shown(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let command = scene
        .command(Caller::Reader, &["status", "orders", "--watch"])
        .await?;
    let mut child = on_terminal(&command).spawn()?;
    let mut out = child.stdout.take().context("an output")?;
    let mut text = String::new();
    // Nothing changes but figures.
    let screens = async {
        let mut bytes = [0; 4096];
        while text.matches(CLEARED).count() < 4 {
            let length = out.read(&mut bytes).await?;
            ensure!(length > 0, "the output has ended: {text}");
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        anyhow::Ok(())
    };
    wait::within("four tables", SOON, screens).await?;
    ensure!(text.contains(GREEN), "{text:?}");
    drop(child);

    let once = scene.command(Caller::Reader, &["status", "orders"]).await?;
    for (variable, value, has_colours) in [("", "", true), ("NO_COLOR", "1", false), ("TERM", "dumb", false)]
    {
        let mut command = on_terminal(&once);
        if !variable.is_empty() {
            command.env(variable, value);
        }
        let ended = wait::within("the command to end", SOON, command.output()).await?;
        let text = String::from_utf8_lossy(&ended.stdout);
        ensure!(text.contains("Serving"), "{ended:?}");
        ensure!(text.contains(GREEN) == has_colours, "{variable}: {text:?}");
        ensure!(text.contains('\u{1b}') == has_colours, "{variable}: {text:?}");
    }
    // Nor is anything erased where nobody obeys.
    let mut child = on_terminal(&command).env("TERM", "dumb").spawn()?;
    let mut out = BufReader::new(child.stdout.take().context("an output")?).lines();
    wait::within("the first table", SOON, out.next_line())
        .await?
        .filter(|line| !line.contains('\u{1b}'))
        .context("a plain line")?;
    drop(child);
    // To a file there are none.
    let plain = scene.run(Caller::Reader, &["status", "orders"]).await?;
    ensure!(!plain.out.contains('\u{1b}'), "{plain:?}");
    asked(&scene).await
}

/// Whoever sits there writes one line, and is spared what is no text.
async fn asked(scene: &Scene) -> Result<()> {
    let add = ["add", "orders", "replica-9", "-", "--disabled", "--dry-run"];
    let mut child = on_terminal(&scene.command(Caller::Editor, &add).await?).spawn()?;
    let mut input = child.stdin.take().context("an input")?;
    input.write_all(b"postgresql://10.0.0.9:5432/app\n").await?;
    let ended = wait::within("the command to end", SOON, child.wait_with_output()).await?;
    drop(input);
    let text = String::from_utf8_lossy(&ended.stdout);
    ensure!(
        ended.status.success() && text.contains("replica-9 added (server dry run)"),
        "{text:?}"
    );
    let report = scene
        .command(Caller::Reader, &["report", "orders", "--to", "-"])
        .await?;
    let ended = wait::within("the command to end", SOON, on_terminal(&report).output()).await?;
    let text = String::from_utf8_lossy(&ended.stdout);
    ensure!(
        ended.status.code() == Some(1) && text.contains("error: standard output is a terminal"),
        "{text:?}"
    );
    Ok(())
}
