//! What befalls a server, and how it is mended.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use anyhow::{Result, bail};
use harness::Postgres;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A fault of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL to all its processes.
    Kill,
    /// SIGKILL to its postmaster alone; the others notice and end.
    KillPostmaster,
    /// SIGQUIT to its postmaster, as `pg_ctl stop -m immediate` does.
    ImmediateStop,
    /// SIGSTOP to all its processes.
    Freeze,
    /// Every packet from and to it is dropped.
    BlackHole,
}

/// A fault that a server suffered, and when it began.
#[derive(Debug)]
pub struct Incident {
    /// Just before the first signal, or before nft was started: some milliseconds before its rule is there.
    pub at: Instant,
    processes: Vec<Pid>,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Kill,
        Self::KillPostmaster,
        Self::ImmediateStop,
        Self::Freeze,
        Self::BlackHole,
    ];

    /// Does it.
    ///
    /// # Errors
    /// When the server does not run, or nft fails.
    pub fn befall(self, server: &Postgres) -> Result<Incident> {
        // The postmaster comes first. Looking for its processes takes time, which is not the fault's.
        let processes = server.processes();
        let Some(postmaster) = processes.first() else {
            bail!("{} does not run", server.name());
        };
        let at = Instant::now();
        match self {
            Self::Kill => all(&processes, Signal::SIGKILL),
            Self::KillPostmaster => kill(*postmaster, Signal::SIGKILL)?,
            Self::ImmediateStop => kill(*postmaster, Signal::SIGQUIT)?,
            Self::Freeze => {
                all(&processes, Signal::SIGSTOP);
                // Those that were forked since.
                server.freeze()?;
            }
            Self::BlackHole => server.black_hole()?,
        }
        Ok(Incident { at, processes })
    }

    /// Undoes it; returns when the server accepts connections again.
    ///
    /// # Errors
    /// When it does not.
    pub async fn mend(self, server: &Postgres, incident: Incident) -> Result<()> {
        match self {
            Self::Kill | Self::KillPostmaster | Self::ImmediateStop => {
                server.gone(&incident.processes).await?;
                server.start().await
            }
            Self::Freeze => server.thaw(),
            Self::BlackHole => server.heal(),
        }
    }

    /// The name of it, as in FAULTS.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillPostmaster => "kill-postmaster",
            Self::ImmediateStop => "immediate-stop",
            Self::Freeze => "freeze",
            Self::BlackHole => "black-hole",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Fault {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|fault| fault.name() == text);
        known.ok_or_else(|| format!("there is no fault {text:?}"))
    }
}

fn all(processes: &[Pid], signal: Signal) {
    for pid in processes {
        // One that ended meanwhile is no failure.
        let _ = kill(*pid, signal);
    }
}
