//! The operator's own binary, as a user runs it.

mod metrics;
mod stopping;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;

use crate::node::connections;
use crate::process::Daemon;
use crate::stop::{self, Stop};
use crate::web::{self, Response};
use crate::{node, suite, wait};

/// How long it may take to start or to stop.
const DEADLINE: Duration = Duration::from_mins(1);
const HTTP_PORT: u16 = 8080;
const API_PORT: u16 = 8443;
const LOG_LEVEL: &str = "--log-level";

/// How it is to be started; see [`Operator::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    kubeconfig: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    program: Option<PathBuf>,
    stop: Option<Stop>,
    api: bool,
}

/// A running operator with an address of its own. Dropping it kills it.
///
/// When the test that started it fails, the end of its log is shown.
#[derive(Debug)]
pub struct Operator {
    daemon: Daemon,
    address: Ipv4Addr,
    builder: Builder,
}

impl Builder {
    /// Adds a namespace to those that it watches; without any it watches all.
    #[must_use]
    pub fn namespace(self, namespace: &str) -> Self {
        self.args(["--namespace", namespace])
    }

    /// Adds arguments of `distributary run`. It logs at `debug` unless these say otherwise.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs this program in place of the one that was built with the tests.
    #[must_use]
    pub fn program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Runs it with a layer around its client that counts its requests to the API server, and stops it at one of them. The
    /// program that runs is this one, whose main function asks for [`Stop::asked`].
    #[must_use]
    pub fn stop_at(mut self, stop: Stop) -> Self {
        self.stop = Some(stop);
        self
    }

    /// Serves the HTTP API, on port 8443 of its address; arguments say with which certificate.
    #[must_use]
    pub fn api(mut self) -> Self {
        self.api = true;
        self
    }

    /// Starts it and waits until `/livez` answers 200.
    ///
    /// # Errors
    /// When it ends instead (the message has the end of its log), or after a minute.
    pub async fn start(self) -> Result<Operator> {
        let operator = self.start_no_wait()?;
        operator.answers("/livez").await?;
        Ok(operator)
    }

    /// Starts it and returns at once.
    ///
    /// # Errors
    /// When the binary is missing.
    pub fn start_no_wait(self) -> Result<Operator> {
        let address = node::claim_address()?.server;
        let daemon = self.daemon(address)?;
        suite::show_on_failure(daemon.log_path());
        daemon.start()?;
        Ok(Operator {
            daemon,
            address,
            builder: self,
        })
    }

    fn daemon(&self, address: Ipv4Addr) -> Result<Daemon> {
        let [_, _, third, fourth] = address.octets();
        let program = match (&self.stop, &self.program) {
            (Some(_), _) => env::current_exe()?,
            (None, Some(program)) => program.clone(),
            (None, None) => binary()?,
        };
        let level: &[&str] = if self.arguments.iter().any(|argument| argument == LOG_LEVEL) {
            &[]
        } else {
            &[LOG_LEVEL, "debug"]
        };
        let mut daemon = Daemon::new(format!("distributary-{third}-{fourth}"), program)?
            .args(["run", "--log-format", "json"])
            .args(level.iter().copied())
            .args([
                "--http-address".to_owned(),
                SocketAddr::from((address, HTTP_PORT)).to_string(),
            ])
            .args(self.arguments.iter().cloned())
            .args(
                self.api
                    .then(|| format!("--api-address={}", SocketAddr::from((address, API_PORT)))),
            )
            .env("KUBECONFIG", self.kubeconfig.display().to_string());
        let stop = self
            .stop
            .iter()
            .map(|stop| (stop::VARIABLE.to_owned(), stop.text()));
        for (name, value) in self.environment.iter().cloned().chain(stop) {
            daemon = daemon.env(&name, value);
        }
        Ok(daemon)
    }
}

impl Operator {
    /// Describes an operator that acts with the rights of this kubeconfig.
    #[must_use]
    pub fn builder(kubeconfig: &Path) -> Builder {
        Builder {
            kubeconfig: kubeconfig.to_owned(),
            arguments: vec![],
            environment: vec![],
            program: None,
            stop: None,
            api: false,
        }
    }

    /// The address on which it serves HTTP.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        (self.address, HTTP_PORT).into()
    }

    /// The address on which it serves its API, where it was asked to.
    #[must_use]
    pub fn api_address(&self) -> SocketAddr {
        (self.address, API_PORT).into()
    }

    /// Waits until this page answers 200.
    ///
    /// # Errors
    /// When it ends instead (the message has the end of its log), or after a minute.
    pub async fn answers(&self, path: &str) -> Result<()> {
        let answer = || async {
            if self.daemon.ended().is_some() {
                return Ok(self.daemon.still_runs());
            }
            let response = self.http_get(path).await?;
            ensure!(response.status == 200, "{} {}", response.status, response.body);
            Ok(Ok(()))
        };
        wait::eventually(&format!("{path} of the operator to answer 200"), DEADLINE, answer).await?
    }

    /// Asks for a page, `/livez`, `/readyz` or `/metrics`.
    ///
    /// # Errors
    /// When there is no answer; any status is an answer.
    pub async fn http_get(&self, path: &str) -> Result<Response> {
        web::get(self.http_address(), path).await
    }

    /// Sends SIGTERM and waits for its end; returns how long that took and how it ended.
    ///
    /// # Errors
    /// When it does not run, or has not ended after a minute.
    pub async fn stop(&self) -> Result<(Duration, ExitStatus)> {
        let started = Instant::now();
        let status = self.daemon.terminate(DEADLINE).await?;
        Ok((started.elapsed(), status))
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&self) {
        self.daemon.kill();
    }

    /// Starts it again after its end, with the same arguments and address, and waits until `/livez` answers 200.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub async fn start_again(&self) -> Result<()> {
        self.daemon.start()?;
        self.answers("/livez").await
    }

    /// Its process, to be frozen or watched.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Its whole log so far, one JSON object to a line.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// The files and sockets that it has open.
    ///
    /// # Errors
    /// When it does not run.
    pub fn open_files(&self) -> Result<usize> {
        let pid = self.daemon.pid().context("the operator does not run")?;
        Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
    }

    /// The ports of its connections to the API server.
    ///
    /// # Errors
    /// When it does not run.
    pub fn connections(&self) -> Result<Vec<u16>> {
        let pid = self.daemon.pid().context("the operator does not run")?;
        let mut sockets = BTreeSet::new();
        for file in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // It may close a file while they are read.
            let link = fs::read_link(file?.path()).unwrap_or_default();
            let link = link.to_string_lossy();
            let inode = link
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            sockets.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
        }
        let all = connections::established(node::API_SERVER, node::API_PORT)?;
        let its = all
            .iter()
            .filter(|connection| sockets.contains(&connection.inode));
        Ok(its.map(|connection| connection.port).collect())
    }

    /// Drops the packets of its connections to the API server, as when a firewall forgets them; new ones go through.
    /// Returns how many there are.
    ///
    /// # Errors
    /// When it does not run, or nft fails.
    pub fn sever_connections(&self) -> Result<usize> {
        let ports = self.connections()?;
        connections::sever(node::API_SERVER, &ports)?;
        Ok(ports.len())
    }

    /// Sets its soft limit of open files, as text; what is open stays. Returns the limit before.
    ///
    /// # Errors
    /// When it does not run, or `prlimit` of util-linux is missing or fails.
    pub fn limit_files(&self, limit: &str) -> Result<String> {
        let pid = self
            .daemon
            .pid()
            .context("the operator does not run")?
            .to_string();
        let prlimit = |arguments: &[&str]| {
            let output = std::process::Command::new("prlimit")
                .args(["--pid", &pid])
                .args(arguments)
                .output()?;
            ensure!(output.status.success(), "prlimit: {output:?}");
            anyhow::Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let before = prlimit(&["--nofile", "--output=SOFT", "--noheadings", "--raw"])?;
        prlimit(&[&format!("--nofile={limit}:")])?;
        Ok(before)
    }

    /// Its peak resident memory so far, in bytes.
    ///
    /// # Errors
    /// When it does not run.
    pub fn vm_hwm(&self) -> Result<u64> {
        peak_memory(self.daemon.pid().context("the operator does not run")?)
    }
}

fn peak_memory(pid: Pid) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

/// `DISTRIBUTARY_BIN`, or the binary of the profile that this executable was built with.
fn binary() -> Result<PathBuf> {
    if let Some(path) = env::var_os("DISTRIBUTARY_BIN") {
        return Ok(path.into());
    }
    let this = env::current_exe()?;
    let found = this
        .ancestors()
        .skip(1)
        .take(3)
        .map(|directory| directory.join("distributary"));
    match found.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok(path),
        None => bail!(
            "there is no distributary beside {}; cargo build makes it",
            this.display()
        ),
    }
}
