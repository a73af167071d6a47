//! Clients that keep a server busy.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use super::{APP, DATABASE, PORT, PROGRAMS, Postgres};
use crate::process::Daemon;

/// The transactions that pgbench counted, once it has ended.
#[must_use]
pub fn processed(bench: &Daemon) -> Option<f64> {
    let log = bench.log();
    let mut lines = log.lines();
    let line = lines.find(|line| line.contains("transactions actually processed"))?;
    line.rsplit(' ').next()?.parse().ok()
}

impl Postgres {
    /// Starts pgbench, which sends this statement, as `app`, until it is dropped; ten minutes at most. `arguments` are its
    /// own, such as `--client=12`.
    ///
    /// # Errors
    /// When it cannot be executed. Whether it gets through is in its log.
    pub fn pgbench(&self, statement: &str, arguments: &[&str]) -> Result<Daemon> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let name = format!("pgbench-{}", STARTED.fetch_add(1, Ordering::Relaxed));
        let script = self.directory.join(format!("{name}.sql"));
        fs::write(&script, format!("{statement};\n")).context("write its script")?;
        let server = [
            format!("--host={}", self.address()),
            format!("--port={PORT}"),
            format!("--username={}", APP.user),
            format!("--file={}", script.display()),
        ];
        let daemon = Daemon::new(name, Path::new(PROGRAMS).join("pgbench"))?
            .env("PGPASSWORD", APP.password)
            .args(["--no-vacuum", "--time=600"])
            .args(server)
            .args(arguments.iter().copied())
            .args([DATABASE]);
        daemon.start()?;
        Ok(daemon)
    }
}
