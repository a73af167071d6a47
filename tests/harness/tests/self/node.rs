//! Nothing is left of a node, however it ends. The nodes here are made inside the node of the tests.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, PgCluster, suite, wait};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

pub const HELD: &str = "HARNESS_SELF_TEST_HELD";
const DEADLINE: Duration = Duration::from_secs(15);
const CODE: u8 = 7;

type Shared = Arc<ControlPlane>;

/// The program that runs in such a node: a PostgreSQL server, until somebody ends it. Told to, it ends by itself.
pub fn hold() -> ExitCode {
    let result = suite::runtime().block_on(async {
        let cluster = PgCluster::start(0).await?;
        println!("ready");
        if std::env::var(HELD).as_deref() == Ok("forever") {
            std::future::pending::<()>().await;
        }
        // Its processes are not waited for.
        std::mem::forget(cluster);
        anyhow::Ok(())
    });
    match result {
        Ok(()) => ExitCode::from(CODE),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

pub async fn ends_with_its_program(_: Shared) -> Result<()> {
    let child = ChildNode::start("once")?;
    child.leaves_nothing().await
}

pub async fn passes_the_exit_code_on(_: Shared) -> Result<()> {
    let mut child = ChildNode::start("once")?;
    let status = child.ended().await?;
    ensure!(status.code() == Some(i32::from(CODE)), "it ended with {status}");
    Ok(())
}

pub async fn ends_on_sigterm(_: Shared) -> Result<()> {
    let child = ChildNode::start("forever")?;
    kill(child.pid()?, Signal::SIGTERM)?;
    child.leaves_nothing().await
}

pub async fn ends_on_interrupt_of_its_process_group(_: Shared) -> Result<()> {
    let child = ChildNode::start("forever")?;
    killpg(child.pid()?, Signal::SIGINT)?;
    child.leaves_nothing().await
}

pub async fn ends_when_the_outside_is_killed(_: Shared) -> Result<()> {
    let child = ChildNode::start("forever")?;
    kill(child.pid()?, Signal::SIGKILL)?;
    child.leaves_nothing().await
}

/// A node that has started its server, and what it consists of.
struct ChildNode {
    outside: Child,
    processes: BTreeSet<i32>,
    mounts: String,
}

impl ChildNode {
    fn start(how: &str) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        // A test run in the background inherits that interrupts are ignored.
        let mut command = Command::new("env");
        command
            .arg("--default-signal=INT,TERM")
            .arg(std::env::current_exe()?);
        harness::node::leave(&mut command)
            .env(HELD, how)
            .stdout(Stdio::piped())
            .process_group(0);
        let mut outside = command.spawn()?;
        let mut line = String::new();
        BufReader::new(outside.stdout.take().context("its output")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "it said {line:?}");
        let processes = descendants(outside.id().cast_signed());
        ensure!(how == "once" || processes.len() > 5, "only {processes:?}");
        Ok(Self {
            outside,
            processes,
            mounts,
        })
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(self.outside.id().try_into()?))
    }

    async fn ended(&mut self) -> Result<std::process::ExitStatus> {
        let outside = &mut self.outside;
        wait::eventually("the end of the outside", DEADLINE, || {
            let ended = outside.try_wait().ok().flatten();
            async move { ended }
        })
        .await
    }

    async fn leaves_nothing(mut self) -> Result<()> {
        self.ended().await?;
        let gone = || async {
            let left: Vec<_> = self.processes.iter().filter(|pid| alive(**pid)).collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?} are left"))
            }
        };
        wait::eventually("the end of the processes", Duration::from_secs(2), gone).await?;
        ensure!(
            fs::read_to_string("/proc/self/mountinfo")? == self.mounts,
            "mounts are left"
        );
        Ok(())
    }
}

impl Drop for ChildNode {
    fn drop(&mut self) {
        let _ = self.outside.kill();
        let _ = self.outside.wait();
    }
}

fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn descendants(root: i32) -> BTreeSet<i32> {
    let mut found = BTreeSet::from([root]);
    loop {
        let all = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let children: Vec<i32> = pids
            .filter(|pid| parent(*pid).is_some_and(|of| found.contains(&of)))
            .collect();
        let before = found.len();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}
