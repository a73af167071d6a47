//! The processors: who runs on which, and how busy they are.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// Others may use so much of the machine before the start, in cores.
pub const CALM: f64 = 0.15;

/// The cores of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Of the servers.
    pub servers: usize,
    /// Of everybody else: the generator, the operator, the control plane, HAProxy.
    pub others: usize,
}

/// How long each core has been busy since the machine started.
#[derive(Clone, Debug)]
pub struct Busy {
    cores: BTreeMap<usize, Core>,
    at: Instant,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Core {
    busy: Duration,
    /// It would have run, and the host let another machine run.
    stolen: Duration,
}

impl Cores {
    /// The first two that this process may use.
    ///
    /// # Errors
    /// When there are fewer, in words.
    pub fn find() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0)).context("ask which cores may be used")?;
        let all: Vec<_> = (0..CpuSet::count())
            .filter(|core| allowed.is_set(*core).unwrap_or(false))
            .collect();
        Self::of(&all)
    }

    fn of(all: &[usize]) -> Result<Self> {
        ensure!(
            all.len() >= 2,
            "this machine has {} core for this program, and the benchmark needs two: one for the servers, one for all else; \
             give the machine or the container another one",
            all.len()
        );
        Ok(Self {
            servers: all[0],
            others: all[1],
        })
    }
}

/// Keeps a process, and what it starts from now on, on one core. 0 is the calling thread.
///
/// # Errors
/// When there is no such process.
pub fn pin(pid: Pid, core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(pid, &set).with_context(|| format!("keep process {pid} on core {core}"))
}

impl Busy {
    /// Reads it.
    ///
    /// # Errors
    /// When /proc/stat cannot be read.
    pub fn now() -> Result<Self> {
        let ticks = sysconf(SysconfVar::CLK_TCK)?.context("no clock tick")?;
        let text = fs::read_to_string("/proc/stat")?;
        Ok(Self {
            cores: read(&text, u32::try_from(ticks)?),
            at: Instant::now(),
        })
    }

    /// The share of this core that was used since then.
    #[must_use]
    pub fn of_core(&self, core: usize, before: &Self) -> f64 {
        self.share(before, core, |core| core.busy)
    }

    /// The largest share of a core that the host took from this machine since then.
    #[must_use]
    pub fn stolen(&self, before: &Self) -> f64 {
        let each = self.cores.keys();
        each.map(|core| self.share(before, *core, |core| core.stolen))
            .fold(0.0, f64::max)
    }

    fn share(&self, before: &Self, core: usize, time: fn(&Core) -> Duration) -> f64 {
        let of = |busy: &Self| busy.cores.get(&core).map(time).unwrap_or_default();
        let time = of(self).saturating_sub(of(before));
        time.as_secs_f64() / (self.at - before.at).as_secs_f64().max(1e-9)
    }

    /// What was used of all cores since then, in cores.
    #[must_use]
    pub fn of_all(&self, before: &Self) -> f64 {
        self.cores.keys().map(|core| self.of_core(*core, before)).sum()
    }
}

/// proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal, in ticks. Idle and iowait are not busy; what the host takes is
/// not ours.
fn read(text: &str, ticks: u32) -> BTreeMap<usize, Core> {
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.strip_prefix("cpu")?.split(' ');
        let core = fields.next()?.parse().ok()?;
        let numbers: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
        let number = |field: usize| numbers.get(field).copied().unwrap_or(0);
        let busy = [0, 1, 2, 5, 6].map(number).iter().sum();
        let time = |sum| Duration::from_secs(sum) / ticks;
        Some((
            core,
            Core {
                busy: time(busy),
                stolen: time(number(7)),
            },
        ))
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_busy_with_all_but_idling_and_waiting() {
        let text =
            "cpu  9 9 9 9 9 9 9\ncpu0 10 20 30 1000 2000 40 50 7 0 0\ncpu1 0 0 100 5 5 0 0 0 0 0\nintr 1\n";
        let core = |busy, stolen| Core {
            busy: Duration::from_millis(busy),
            stolen: Duration::from_millis(stolen),
        };
        let read = read(text, 100);
        assert_eq!(read, BTreeMap::from([(0, core(1500, 70)), (1, core(1000, 0))]));
        let at = Instant::now();
        let busy = |cores, at| Busy { cores, at };
        let before = busy(read, at);
        let more = BTreeMap::from([(0, core(2000, 70)), (1, core(2000, 100))]);
        let after = busy(more, at + Duration::from_secs(2));
        assert!((after.of_core(1, &before) - 0.5).abs() < 1e-9);
        assert!((after.of_all(&before) - 0.75).abs() < 1e-9);
        assert!((after.stolen(&before) - 0.05).abs() < 1e-9);
    }

    #[test]
    fn one_core_is_refused_in_words() {
        assert_eq!(
            Cores::of(&[2, 5, 6]).unwrap(),
            Cores {
                servers: 2,
                others: 5
            }
        );
        let refused = Cores::of(&[0]).unwrap_err().to_string();
        assert!(refused.contains("needs two"), "{refused}");
    }
}
