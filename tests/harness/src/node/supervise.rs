//! One child, its signals and its exit code.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, alarm};

/// How long the program may take to end after it was told to, in seconds.
const GRACE: u32 = 15;

fn signals() -> SigSet {
    [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGCHLD,
        Signal::SIGALRM,
    ]
    .into_iter()
    .collect()
}

/// Keeps the signals for [`run`]; children inherit this until they call [`accept_signals`].
pub fn hold_signals() -> Result<()> {
    signals().thread_block().context("block signals")
}

/// Undoes [`hold_signals`] in a child.
pub fn accept_signals() -> Result<()> {
    signals().thread_unblock().context("unblock signals")
}

/// Starts `command`, passes signals on to it and returns its exit code when it has ended.
///
/// Reaps every other child too, which makes it fit for PID 1. A program that outlives a signal by [`GRACE`] is killed.
pub fn run(command: &mut Command) -> Result<ExitCode> {
    let child = command.spawn().context("start the program again")?;
    let child = Pid::from_raw(i32::try_from(child.id()).context("a process id")?);
    loop {
        match signals().wait().context("wait for a signal")? {
            Signal::SIGCHLD => {
                if let Some(code) = reap(child)? {
                    return Ok(ExitCode::from(code));
                }
            }
            Signal::SIGALRM => pass_on(child, Signal::SIGKILL)?,
            signal => {
                pass_on(child, signal)?;
                alarm::set(GRACE);
            }
        }
    }
}

fn pass_on(child: Pid, signal: Signal) -> Result<()> {
    match kill(child, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("send {signal}")),
    }
}

/// Reaps all children that have ended; the exit code of `child` when it is among them.
fn reap(child: Pid) -> Result<Option<u8>> {
    let mut code = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => code = Some(status.to_le_bytes()[0]),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => {
                code = Some((128 + signal as i32).to_le_bytes()[0]);
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(code),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("wait for children"),
        }
    }
}
