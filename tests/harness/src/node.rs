//! The node: network, PID, mount and IPC namespaces in which a program of the harness runs.
//!
//! Three processes make it, all of the same executable:
//!
//! ```text
//! outside ── creates the namespaces, passes signals on, ends with the program's exit code
//!   └─ init ── PID 1 in there: sets the node up, reaps orphans, passes signals on
//!        └─ inside ── the program itself; all servers are its descendants
//! ```
//!
//! # Guarantees
//! - When `outside` has ended, however it ended, no process of the node is left: the kernel kills every process of a
//!   PID namespace when its init ends, and init dies with `outside` (parent-death signal). Interfaces, nftables rules
//!   and mounts go with the namespaces.
//! - Two nodes share nothing but the file system of the machine, to which the harness does not write: its data are in
//!   [`data_dir`], a tmpfs that only this node sees.
//! - Nothing that is sent leaves the node: it has no interface to the outside, and its resolver is an address of its
//!   own, which knows the names that [`dns`](crate::dns) was told.

pub(crate) mod connections;
mod network;
mod supervise;

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command, ExitCode};

use anyhow::{Context, Result, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Uid;

pub(crate) use network::route;
pub use network::{
    API_PORT, API_SERVER, API_SERVER6, Addresses, NODE, RESOLVER, SERVICE_RANGE, SERVICE_RANGE6,
    claim_address, claim_address6, nft,
};

const ROLE: &str = "DISTRIBUTARY_NODE";
const OUTSIDE: &str = "DISTRIBUTARY_NODE_OUTSIDE";
const SHARED_MEMORY: &str = "/dev/shm";
const DATA: &str = "/dev/shm/node";

/// The directory for all data of this node: on a tmpfs that no other process sees and that vanishes with the node.
#[must_use]
pub fn data_dir() -> &'static Path {
    Path::new(DATA)
}

/// A directory below [`data_dir`], created when it does not exist; every user may enter it.
///
/// # Errors
/// When it cannot be created.
pub fn data_subdir(name: &str) -> Result<PathBuf> {
    let path = data_dir().join(name);
    fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
}

/// Runs `main` inside a node of its own and returns its exit code (128 + n when signal n ended it).
///
/// Call it first in the program's `main`, before anything starts a thread: the program is executed again, with the
/// same arguments, inside the namespaces. Needs root.
#[must_use]
pub fn enter(main: fn() -> ExitCode) -> ExitCode {
    let ended = match env::var(ROLE).as_deref() {
        Ok("inside") => supervise::accept_signals().map(|()| main()),
        Ok("init") => init(),
        _ => outside(),
    };
    ended.unwrap_or_else(|error| {
        eprintln!("cannot set up the test node: {error:#}");
        ExitCode::FAILURE
    })
}

/// The start of a command line that runs a program inside this node, for a person on the machine outside of it.
#[must_use]
pub fn enter_command() -> String {
    let outside = env::var(OUTSIDE).unwrap_or_default();
    format!("nsenter --target {outside} --net --mount --wd=\"$PWD\"")
}

/// Removes from `command` what marks a process as one inside a node, so that a program of the harness started by it
/// makes a node of its own.
pub fn leave(command: &mut Command) -> &mut Command {
    command.env_remove(ROLE).env_remove(OUTSIDE)
}

fn outside() -> Result<ExitCode> {
    ensure!(
        Uid::effective().is_root(),
        "it makes namespaces, so it must run as root"
    );
    supervise::hold_signals()?;
    let namespaces = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC;
    unshare(namespaces).context("make namespaces")?;
    // The rest runs in a process group of its own: ^C reaches this process alone, which passes it on once.
    let mut init = this_program()?;
    init.env(ROLE, "init")
        .env(OUTSIDE, process::id().to_string())
        .process_group(0);
    supervise::run(&mut init)
}

fn init() -> Result<ExitCode> {
    supervise::hold_signals()?;
    set_pdeathsig(Signal::SIGKILL).context("set the parent-death signal")?;
    ensure!(outside_lives(), "the process outside has ended");
    mount_private().context("mount")?;
    network::set_up().context("set the network up")?;
    supervise::run(this_program()?.env(ROLE, "inside"))
}

fn this_program() -> Result<Command> {
    let mut arguments = env::args_os();
    let name = arguments.next().unwrap_or_default();
    let mut command = Command::new(env::current_exe().context("find the executable")?);
    command.arg0(name).args(arguments);
    Ok(command)
}

/// Whether the process outside was still there after the parent-death signal was set. It looks at the /proc of the
/// outside, which is ours until we mount our own.
fn outside_lives() -> bool {
    let Ok(pid) = env::var(OUTSIDE) else { return false };
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

fn mount_private() -> Result<()> {
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("/ private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        flags | MsFlags::MS_NOEXEC,
        none,
    )
    .context("/proc")?;
    mount(
        Some("tmpfs"),
        SHARED_MEMORY,
        Some("tmpfs"),
        flags,
        Some("mode=1777"),
    )
    .context(SHARED_MEMORY)?;
    fs::create_dir(DATA)?;
    fs::set_permissions(DATA, fs::Permissions::from_mode(0o755))?;
    replace(
        "/etc/resolv.conf",
        &format!("nameserver {}\noptions timeout:1 attempts:1\n", network::RESOLVER),
    )?;
    replace("/etc/hosts", "127.0.0.1 localhost\n")
}

/// Puts a file of our own over one of the machine, for this node only.
fn replace(path: &str, text: &str) -> Result<()> {
    let ours = data_subdir("etc")?.join(path.trim_start_matches('/').replace('/', "-"));
    fs::write(&ours, text)?;
    if Path::new(path).exists() {
        mount(Some(&ours), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).context(path.to_owned())?;
    }
    Ok(())
}
