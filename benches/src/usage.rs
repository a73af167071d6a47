//! Processor time and memory of a process, from /proc.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// Processor time of a process up to now, and of its children that have ended.
#[derive(Clone, Copy, Debug)]
pub struct CpuTime {
    own: Duration,
    children: Duration,
    at: Instant,
}

impl CpuTime {
    /// Reads it.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn of(pid: Pid) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = stat.rsplit_once(") ").context("no name in the state")?;
        let fields: Vec<_> = fields.split(' ').collect();
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        // utime and stime are fields 14 and 15 of proc(5), cutime and cstime 16 and 17; the state is field 3.
        let time = |first: usize| -> Result<Duration> {
            let mut sum = 0;
            for field in fields.get(first - 3..first - 1).context("too few fields")? {
                sum += field.parse::<u64>()?;
            }
            Ok(Duration::from_secs(sum) / u32::try_from(ticks)?)
        };
        Ok(Self {
            own: time(14)?,
            children: time(16)?,
            at: Instant::now(),
        })
    }

    /// What the process itself used since then, in cores.
    #[must_use]
    pub fn cores_since(&self, before: &Self) -> f64 {
        (self.own - before.own).as_secs_f64() / (self.at - before.at).as_secs_f64()
    }

    /// What the process itself used since then.
    #[must_use]
    pub fn own_since(&self, before: &Self) -> Duration {
        self.own.saturating_sub(before.own)
    }

    /// The same with what its ended children used.
    #[must_use]
    pub fn all_since(&self, before: &Self) -> Duration {
        self.own_since(before) + self.children.saturating_sub(before.children)
    }
}

/// The resident memory of a process now, in bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes: u64 = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}
