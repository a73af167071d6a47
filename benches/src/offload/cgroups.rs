//! Groups of processes with a quota of processor time: the controllers `cpu` and `cpuacct` of cgroup v1, or `cpu` of v2, whichever is
//! there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;

/// The directory of this benchmark among the groups of the machine.
const OURS: &str = "distributary-offload";
/// So often, and so long after each other, groups are tried to be removed.
const SWEEPS: u32 = 40;
const SWEEP: Duration = Duration::from_millis(50);
const MOUNTS: &str = "/proc/self/mountinfo";

/// Where groups are made.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Hierarchy {
    /// The mounts of `cpu` and of `cpuacct`, which may be one.
    V1 { quotas: PathBuf, usage: PathBuf },
    /// The mount of the one hierarchy.
    V2(PathBuf),
}

/// The groups of this run. Dropping it removes them; no process may be left in them by then.
#[derive(Debug)]
pub struct Cgroups {
    hierarchy: Hierarchy,
    made: Vec<String>,
}

/// One group.
#[derive(Clone, Debug)]
pub struct Group {
    hierarchy: Hierarchy,
    name: String,
}

impl Cgroups {
    /// Looks for quotas on this machine.
    ///
    /// # Errors
    /// When there are none, in words; when another run uses them.
    pub fn find() -> Result<Self> {
        let mounts = fs::read_to_string(MOUNTS).context("read the mounts")?;
        let hierarchy = hierarchy(&mounts, has_quotas).context(
            "there is no cgroup with quotas: neither a mount of the controllers cpu and cpuacct (v1) nor one of v2 with the \
             controller cpu; mount one, or run this on the machine itself rather than in a container without them",
        )?;
        sweep_of(&hierarchy).context("another bench-offload runs on this machine; wait for its end")?;
        let this = Self {
            hierarchy,
            made: vec![],
        };
        for directory in this.hierarchy.directories() {
            fs::create_dir_all(&directory)
                .with_context(|| format!("make {}: quotas need root", directory.display()))?;
        }
        this.hierarchy.delegate()?;
        this.hierarchy.prefer()?;
        Ok(this)
    }

    /// v1 or v2.
    #[must_use]
    pub fn version(&self) -> &'static str {
        match self.hierarchy {
            Hierarchy::V1 { .. } => "v1",
            Hierarchy::V2(_) => "v2",
        }
    }

    /// Makes a group.
    ///
    /// # Errors
    /// When its quota cannot be set.
    pub fn group(&mut self, name: &str) -> Result<Group> {
        for directory in self.hierarchy.directories() {
            fs::create_dir_all(directory.join(name))?;
        }
        self.made.push(name.to_owned());
        Ok(Group {
            hierarchy: self.hierarchy.clone(),
            name: name.to_owned(),
        })
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        let _ = sweep_of(&self.hierarchy);
    }
}

/// What a run leaves, however it ends.
#[derive(Debug)]
pub struct Leftovers(Option<Hierarchy>);

impl Leftovers {
    /// Looks where they will be. Call it before the node is entered, which hides the mounts of the machine.
    #[must_use]
    pub fn find() -> Self {
        let mounts = fs::read_to_string(MOUNTS).unwrap_or_default();
        Self(hierarchy(&mounts, has_quotas))
    }

    /// Removes them. Call it when all processes of the node are gone.
    pub fn sweep(&self) {
        let Some(hierarchy) = &self.0 else { return };
        let mut left = None;
        // The kernel takes processes that were killed out of their groups a moment after their end.
        for _ in 0..SWEEPS {
            left = sweep_of(hierarchy).err();
            if left.is_none() {
                return;
            }
            thread::sleep(SWEEP);
        }
        eprintln!("groups of this run are left: {left:?}");
    }
}

/// Whether a mount of v2 has the controller of quotas.
fn has_quotas(mount: &Path) -> bool {
    let controllers = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
    controllers.split_whitespace().any(|name| name == "cpu")
}

/// A group in which processes are cannot be removed.
fn sweep_of(hierarchy: &Hierarchy) -> Result<()> {
    for directory in hierarchy.directories() {
        let children = fs::read_dir(&directory).into_iter().flatten().flatten();
        let children = children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir()));
        for child in children.map(|child| child.path()).chain([directory.clone()]) {
            match fs::remove_dir(&child) {
                Err(error) if error.kind() != ErrorKind::NotFound => bail!("{}: {error}", child.display()),
                _ => {}
            }
        }
    }
    Ok(())
}

impl Hierarchy {
    fn directories(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> = match self {
            Self::V1 { quotas, usage } => vec![quotas.join(OURS), usage.join(OURS)],
            Self::V2(mount) => vec![mount.join(OURS)],
        };
        all.dedup();
        all
    }

    /// Where others want the core as well, the servers get their quotas first: these are what limits them.
    fn prefer(&self) -> Result<()> {
        let (file, most) = match self {
            Self::V1 { quotas, .. } => (quotas.join(OURS).join("cpu.shares"), "262144"),
            Self::V2(mount) => (mount.join(OURS).join("cpu.weight"), "10000"),
        };
        fs::write(&file, most).with_context(|| format!("write {}", file.display()))
    }

    /// In v2 a group passes the controller on to those in it.
    fn delegate(&self) -> Result<()> {
        let Self::V2(mount) = self else { return Ok(()) };
        for directory in [mount.clone(), mount.join(OURS)] {
            let file = directory.join("cgroup.subtree_control");
            fs::write(&file, "+cpu").with_context(|| {
                format!(
                    "the controller cpu cannot be passed on in {}: run this where the root of the hierarchy can be written",
                    file.display()
                )
            })?;
        }
        Ok(())
    }
}

impl Group {
    /// Lets its processes use so many cores, in each of these periods anew.
    ///
    /// # Errors
    /// When the kernel refuses: a quota has at least 1 ms.
    pub fn limit(&self, cores: f64, period: Duration) -> Result<()> {
        let quota = period.mul_f64(cores).as_micros();
        ensure!(quota >= 1000, "a quota of {quota} µs in {period:?} is below 1 ms");
        let period = period.as_micros();
        match &self.hierarchy {
            Hierarchy::V1 { quotas, .. } => {
                let directory = quotas.join(OURS).join(&self.name);
                // No quota meanwhile: a new period must fit to the old one.
                fs::write(directory.join("cpu.cfs_quota_us"), "-1")?;
                fs::write(directory.join("cpu.cfs_period_us"), period.to_string())?;
                fs::write(directory.join("cpu.cfs_quota_us"), quota.to_string())
            }
            Hierarchy::V2(mount) => fs::write(
                mount.join(OURS).join(&self.name).join("cpu.max"),
                format!("{quota} {period}"),
            ),
        }
        .with_context(|| format!("set the quota of {}", self.name))
    }

    /// Puts a process into it; those that it starts from now on are in it, too.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn add(&self, pid: Pid) -> Result<()> {
        for directory in self.hierarchy.directories() {
            fs::write(directory.join(&self.name).join("cgroup.procs"), pid.to_string())
                .with_context(|| format!("put process {pid} into {}", self.name))?;
        }
        Ok(())
    }

    /// Processor time of all its processes, those that ended included.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn used(&self) -> Result<Duration> {
        match &self.hierarchy {
            Hierarchy::V1 { usage, .. } => {
                let text = fs::read_to_string(usage.join(OURS).join(&self.name).join("cpuacct.usage"))?;
                Ok(Duration::from_nanos(text.trim().parse()?))
            }
            Hierarchy::V2(mount) => {
                let text = fs::read_to_string(mount.join(OURS).join(&self.name).join("cpu.stat"))?;
                let line = text.lines().find_map(|line| line.strip_prefix("usage_usec "));
                Ok(Duration::from_micros(
                    line.context("no usage_usec")?.trim().parse()?,
                ))
            }
        }
    }
}

/// v1 where it has both controllers, else v2 where `cpu` says that a mount of it has quotas.
fn hierarchy(mounts: &str, cpu: impl Fn(&Path) -> bool) -> Option<Hierarchy> {
    // proc_pid_mountinfo(5): the mount point is the fifth field; the type, the source and the options follow a hyphen.
    let mounts = mounts.lines().filter_map(|line| {
        let (first, last) = line.split_once(" - ")?;
        let (point, mut last) = (first.split(' ').nth(4)?, last.split(' '));
        Some((PathBuf::from(point), last.next()?, last.nth(1)?))
    });
    let mounts: Vec<_> = mounts.collect();
    let v1 = |controller: &str| {
        let of = |(_, kind, options): &&(PathBuf, &str, &str)| {
            *kind == "cgroup" && options.split(',').any(|option| option == controller)
        };
        mounts.iter().find(of).map(|(point, ..)| point.clone())
    };
    if let (Some(quotas), Some(usage)) = (v1("cpu"), v1("cpuacct")) {
        return Some(Hierarchy::V1 { quotas, usage });
    }
    let v2 = mounts
        .iter()
        .find(|(point, kind, _)| *kind == "cgroup2" && cpu(point));
    v2.map(|(point, ..)| Hierarchy::V2(point.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
                      32 25 0:27 / /sys/fs/cgroup/cpuacct rw,relatime shared:10 - cgroup cgroup rw,cpuacct\n\
                      33 25 0:28 / /sys/fs/cgroup/unified rw,relatime shared:11 - cgroup2 none rw\n";

    #[test]
    fn v1_is_found_with_its_controllers_together_or_apart() {
        let apart = hierarchy(V1, |_| false).unwrap();
        assert_eq!(apart.directories().len(), 2);
        let together = "31 25 0:26 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n";
        let together = hierarchy(together, |_| false).unwrap();
        assert_eq!(together.directories(), [Path::new("/cg/cpu").join(OURS)]);
    }

    #[test]
    fn v2_is_found_where_it_has_quotas_and_without_them_there_is_nothing() {
        let text = "33 25 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 none rw\n";
        assert_eq!(
            hierarchy(text, |_| true),
            Some(Hierarchy::V2("/sys/fs/cgroup".into()))
        );
        assert_eq!(hierarchy(text, |_| false), None);
        let cpu_alone = V1.lines().next().unwrap();
        assert_eq!(hierarchy(cpu_alone, |_| false), None, "nothing counts the time");
        assert_eq!(hierarchy("", |_| true), None);
    }
}
