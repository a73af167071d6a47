//! One run of the binary.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// What a run said, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Output {
    /// Itself, where it ended with this code.
    pub fn with(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == code,
            "it ended with {}, not {code}: {self:#?}",
            self.code
        );
        Ok(self)
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.out).with_context(|| format!("no JSON: {self:#?}"))
    }

    /// The cells of the row of a table that begins with these.
    pub fn row(&self, first: &[&str]) -> Result<Vec<String>> {
        let cells = |line: &str| -> Vec<String> {
            let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
            cells.map(ToOwned::to_owned).collect()
        };
        let found =
            self.out.lines().map(cells).find(|row| {
                row.len() > first.len() && row.iter().zip(first).all(|(is, wanted)| is == wanted)
            });
        found.with_context(|| format!("no row {first:?}: {self:#?}"))
    }
}

/// Runs it; `input`: its standard input. Nothing of the environment of the tests reaches it.
pub fn distributary(arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Result<Output> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_distributary"))
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("a standard input")?;
    // Who does not read it ends sooner.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let ended = child.wait_with_output()?;
    Ok(Output {
        code: ended.status.code().context("ended by a signal")?,
        out: String::from_utf8(ended.stdout)?,
        err: String::from_utf8(ended.stderr)?,
    })
}

/// A file of the node.
pub fn file(name: &str, text: &str) -> Result<PathBuf> {
    let path = harness::node::data_subdir("cli")?.join(name);
    std::fs::write(&path, text)?;
    Ok(path)
}

pub fn sample(name: &str) -> String {
    format!("{}/deploy/samples/{name}", env!("CARGO_MANIFEST_DIR"))
}
