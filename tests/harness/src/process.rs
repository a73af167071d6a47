//! A server process: started, stopped, frozen, killed, and gone when its owner is.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::node;
use crate::wait;

/// A program that runs in the background, in a process group of its own, with its output in a file.
///
/// Dropping it kills the whole process group and waits for the process.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    user: Option<(u32, u32)>,
    log: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Daemon {
    /// Describes a program; `name` is for messages and for its log, `DATA/logs/NAME.log`.
    ///
    /// # Errors
    /// When the directory of the logs cannot be made.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Result<Self> {
        let name = name.into();
        let log = node::data_subdir("logs")?.join(format!("{name}.log"));
        let (program, child) = (program.into(), Mutex::new(None));
        Ok(Self {
            name,
            program,
            arguments: vec![],
            environment: vec![],
            user: None,
            log,
            child,
        })
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment; the rest is inherited.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Runs it as this user and group instead of root.
    #[must_use]
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.user = Some((uid, gid));
        self
    }

    /// Starts it; its log continues where an earlier run ended.
    ///
    /// # Errors
    /// When it runs already or cannot be executed.
    pub fn start(&self) -> Result<()> {
        if self.is_running() {
            bail!("{} runs already", self.name);
        }
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .context("open its log")?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid).current_dir("/");
        }
        let child = command
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        *self.child() = Some(child);
        Ok(())
    }

    /// Its process id, while it runs (or is frozen).
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        let mut child = self.child();
        let child = child.as_mut()?;
        let running = matches!(child.try_wait(), Ok(None)).then(|| child.id())?;
        i32::try_from(running).ok().map(Pid::from_raw)
    }

    /// Whether it was started and has not ended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Whether it stands still, by [`freeze`](Self::freeze) or by a SIGSTOP of its own.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        let status = self
            .pid()
            .map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")));
        // The state follows the name of the program, which is in parentheses (proc(5)).
        status.is_some_and(|status| {
            status.is_ok_and(|text| text.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
        })
    }

    /// How it ended, when it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child()
            .as_mut()
            .and_then(|child| child.try_wait().ok().flatten())
    }

    /// Sends a signal to the process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = self
            .pid()
            .with_context(|| format!("{} does not run", self.name))?;
        kill(pid, signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    /// Stops the whole process group as it is (SIGSTOP), until [`thaw`](Self::thaw).
    ///
    /// # Errors
    /// When it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.signal_group(Signal::SIGSTOP)
    }

    /// Lets a frozen process group go on.
    ///
    /// # Errors
    /// When it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.signal_group(Signal::SIGCONT)
    }

    /// Kills the process group at once (SIGKILL) and returns when the process is gone. Nothing happens when it does
    /// not run.
    pub fn kill(&self) {
        if let Some(pid) = self.pid() {
            let _ = killpg(pid, Signal::SIGKILL);
        }
        if let Some(child) = self.child().as_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Waits until it has ended by itself.
    ///
    /// # Errors
    /// When it has not after `deadline`.
    pub async fn end(&self, deadline: Duration) -> Result<ExitStatus> {
        wait::eventually(&format!("the end of {}", self.name), deadline, || async {
            self.ended()
        })
        .await
    }

    /// Sends SIGTERM and waits until it has ended.
    ///
    /// # Errors
    /// When it does not run, or has not ended after `deadline`.
    pub async fn terminate(&self, deadline: Duration) -> Result<ExitStatus> {
        self.signal(Signal::SIGTERM)?;
        self.end(deadline).await
    }

    /// Its whole output so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(&self.log)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// The last lines of its output.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    /// The file with its output.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Fails, with the end of the log, when the process has ended.
    pub(crate) fn still_runs(&self) -> Result<()> {
        match self.ended() {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log_tail(20)),
        }
    }

    fn signal_group(&self, signal: Signal) -> Result<()> {
        let pid = self
            .pid()
            .with_context(|| format!("{} does not run", self.name))?;
        killpg(pid, signal).with_context(|| format!("send {signal} to {}", self.name))
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The last lines of a file, of its last 64 KiB at most.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = last_bytes(path, 64 * 1024).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn last_bytes(path: &Path, bytes: u64) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(bytes)))?;
    let mut end = vec![];
    file.read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

/// Runs a program to its end and returns what it wrote to its standard output.
///
/// # Errors
/// When it fails: the message has its arguments and what it wrote to its standard error.
pub(crate) async fn output(command: &mut tokio::process::Command) -> Result<String> {
    let described = describe(command);
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("start {described}"))?;
    if !output.status.success() {
        bail!(
            "{described} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn describe(command: &tokio::process::Command) -> String {
    let command = command.as_std();
    let program = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
