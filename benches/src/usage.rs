//! Processor time, memory and connections of a process, from /proc.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddrV4;
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

    /// The same less what it uses anyway, so many cores.
    #[must_use]
    pub fn own_beyond(&self, before: &Self, cores: f64) -> Duration {
        let anyway = (self.at - before.at).mul_f64(cores.max(0.0));
        self.own_since(before).saturating_sub(anyway)
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

/// The connections of a process to this address that are established.
///
/// # Errors
/// When there is no such process.
pub fn connections(pid: Pid, to: SocketAddrV4) -> Result<usize> {
    // The address is the number that its bytes are in memory (proc_net_tcp.rst of Linux).
    let end = format!("{:08X}:{:04X}", u32::from_ne_bytes(to.ip().octets()), to.port());
    established(pid, |other| other == end)
}

/// The connections of a process to this port, of any address, that are established.
///
/// # Errors
/// When there is no such process.
pub fn connections_to_port(pid: Pid, port: u16) -> Result<usize> {
    let end = format!(":{port:04X}");
    established(pid, |other| other.ends_with(&end))
}

/// The connections of a process that are established, whose other end is such.
fn established(pid: Pid, is_such: impl Fn(&str) -> bool) -> Result<usize> {
    let mut sockets = HashSet::new();
    for file in fs::read_dir(format!("/proc/{pid}/fd"))? {
        // A file may be closed meanwhile.
        let Ok(target) = fs::read_link(file?.path()) else {
            continue;
        };
        let target = target.to_string_lossy();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        sockets.extend(inode.map(ToOwned::to_owned));
    }
    // The table is that of the whole network namespace. Its third field is the other end, address and port; then the state, of
    // which 01 is ESTABLISHED; the tenth is the inode (proc_net_tcp.rst of Linux).
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp"))?;
    let ours = table.lines().skip(1).filter(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        fields.get(2).is_some_and(|other| is_such(other))
            && fields.get(3) == Some(&"01")
            && fields.get(9).is_some_and(|inode| sockets.contains(*inode))
    });
    Ok(ours.count())
}
