//! Which processes there are, from /proc.

use std::fs;

use nix::unistd::Pid;

/// The processes that `parent` has started and that are still there.
pub(super) fn children(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![];
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw));
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

/// Whether there is such a process; one that has ended but was not waited for is none.
pub(super) fn exists(pid: Pid) -> bool {
    status(pid).is_some_and(|status| !status.starts_with('Z'))
}

fn parent_of(pid: Pid) -> Option<Pid> {
    status(pid)?.split(' ').nth(1)?.parse().ok().map(Pid::from_raw)
}

/// What follows the name of the program in `/proc/PID/stat`: the state, the parent, …
fn status(pid: Pid) -> Option<String> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    line.rsplit_once(") ").map(|(_, rest)| rest.to_owned())
}

/// Its command line, which PostgreSQL sets to what the process does. Empty when there is none.
pub(super) fn command(pid: Pid) -> String {
    fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default()
}
