//! docs/tutorial.md, command by command, with the names of the test's servers in place of its own.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::control_plane::programs;
use harness::postgres::{PROGRAMS, Shutdown, Tls};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster};
use tokio::process::Command;

use crate::fixture::Fixture;

const PAGE: &str = include_str!("../../docs/tutorial.md");
/// The longest command waits for 5 minutes.
const DEADLINE: Duration = Duration::from_mins(6);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test("the_tutorial_does_what_it_says", tutorial)
}

/// A fenced block: its language, its text, and the heading that it is under.
pub struct Block {
    pub language: String,
    pub text: String,
    pub heading: String,
}

pub fn blocks(page: &str) -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (Vec::new(), "", None);
    for line in page.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Block {
                    language: language.to_owned(),
                    text: String::new(),
                    heading: heading.to_owned(),
                });
            }
            (Some(_), block @ Some(_)) => blocks.extend(block.take()),
            (None, Some(block)) => block.text.push_str(&format!("{line}\n")),
            (None, None) => heading = line.strip_prefix("## ").unwrap_or(heading),
        }
    }
    blocks
}

/// The directory in which the commands run, with what they find there.
pub struct Shell {
    pub folder: PathBuf,
    /// The names of the page, and those of the test.
    pub names: Vec<(&'static str, String)>,
}

impl Shell {
    /// One for this page, of an administrator.
    pub fn new(it: &Fixture, page: &str) -> Result<Self> {
        let folder = harness::node::data_subdir(page)?.join(&*it.namespace);
        let names = vec![
            ("pg-0.example.com", it.postgres.primary().name().to_owned()),
            ("pg-1.example.com", it.postgres.replica(0).name().to_owned()),
            ("--namespace=shop", format!("--namespace={}", &*it.namespace)),
            ("namespace: shop", format!("namespace: {}", &*it.namespace)),
        ];
        let shell = Self::of(folder, it.plane.admin_kubeconfig(), names)?;
        std::fs::write(shell.folder.join("ca.crt"), it.postgres.authority().pem())?;
        Ok(shell)
    }

    /// One with kubectl, the operator's program by its names, and this kubeconfig.
    pub fn of(folder: PathBuf, kubeconfig: &Path, names: Vec<(&'static str, String)>) -> Result<Self> {
        let bin = folder.join("bin");
        std::fs::create_dir_all(&bin)?;
        symlink(programs::path("kubectl")?.canonicalize()?, bin.join("kubectl"))?;
        for name in ["distributary", "kubectl-distributary"] {
            symlink(env!("CARGO_BIN_EXE_distributary"), bin.join(name))?;
        }
        std::fs::copy(kubeconfig, folder.join("kubeconfig"))?;
        Ok(Self { folder, names })
    }

    /// With the names of the test.
    pub fn named(&self, text: &str) -> String {
        self.names
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    /// Runs commands, which must end with this code; what they printed.
    pub async fn run(&self, commands: &str, code: i32) -> Result<String> {
        let (ended, out, err) = self.end(commands).await?;
        ensure!(ended == code, "{commands}{out}{err}{ended}");
        Ok(out)
    }

    /// Runs commands: their exit code, what they printed and what they said.
    pub async fn end(&self, commands: &str) -> Result<(i32, String, String)> {
        let path = format!("{}:{PROGRAMS}:/usr/bin:/bin", self.folder.join("bin").display());
        let ran = Command::new("bash")
            .args(["-euc", &self.named(commands)])
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.folder)
            .env("KUBECONFIG", self.folder.join("kubeconfig"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let ran = tokio::time::timeout(DEADLINE, ran)
            .await
            .context("it takes too long")??;
        let code = ran.status.code().context("a code")?;
        Ok((
            code,
            String::from_utf8(ran.stdout)?,
            String::from_utf8(ran.stderr)?,
        ))
    }
}

async fn tutorial(plane: Arc<ControlPlane>) -> Result<()> {
    let servers = PgCluster::builder()
        .replicas(1)
        .tls(Tls::default())
        .rule("host all postgres 198.18.0.0/15 trust");
    let it = Fixture::start_with(plane, servers, &[]).await?;
    it.postgres.primary().sql("create database orders").await?;
    it.postgres.caught_up().await?;
    let shell = Shell::new(&it, "tutorial")?;
    let mut stopped = false;
    for Block {
        language,
        text,
        heading,
    } in blocks(PAGE)
    {
        match language.as_str() {
            "yaml" => std::fs::write(shell.folder.join("orders.yaml"), shell.named(&text))?,
            "sh" => {
                if heading == "Break the replica" && !stopped {
                    it.postgres.replica(0).stop(Shutdown::Fast).await?;
                    stopped = true;
                }
                let explains = text.starts_with("distributary explain ");
                let said = shell.run(&text, if explains { 4 } else { 0 }).await?;
                if heading == "Create a role for the checks" {
                    it.postgres.caught_up().await?;
                }
                let expected = expected(&text);
                ensure!(
                    expected.iter().all(|word| said.contains(word)),
                    "{text} prints {said}, without one of {expected:?}"
                );
                if explains {
                    it.postgres.replica(0).start().await?;
                }
            }
            other => anyhow::bail!("a block of {other}"),
        }
    }
    ensure!(stopped, "nothing was broken");
    let wait = [
        "wait",
        "--for=delete",
        "service/orders-rw",
        "service/orders-ro",
        "--timeout=60s",
    ];
    it.plane
        .kubectl(&[&wait[..], &["-n", &it.namespace]].concat())
        .await?;
    Ok(())
}

/// What the page says that these commands print.
fn expected(commands: &str) -> &'static [&'static str] {
    let last = commands.trim_end().lines().next_back().unwrap_or_default();
    match last {
        "kubectl get rsp orders" => &["READY", "True", "primary", "1/1", "False"],
        "distributary explain orders" => &["replica-1: ", " (ConnectRefused)\n", "Next: "],
        _ if last.contains("pg_is_in_recovery") => &["t\n"],
        _ if last.contains(".endpoints}") => &[r#"["primary"]"#],
        _ if last.starts_with("kubectl get events") => &["ReadFallbackActive", "reads go to primary"],
        _ => &[],
    }
}
