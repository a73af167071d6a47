//! A data directory that is made once and copied.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use nix::unistd::User;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::settings::SETTINGS;
use super::{APP, DATABASE, Login, PROBE, program};
use crate::{node, process};

/// Who PostgreSQL runs as: it refuses to run as root.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Account {
    pub(super) fn find() -> Result<Self> {
        let user =
            User::from_name("postgres")?.context("there is no user postgres; is PostgreSQL installed?")?;
        Ok(Self {
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
        })
    }

    /// Makes this account the owner of a file or directory.
    pub(super) fn give(self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid)).with_context(|| format!("chown {}", path.display()))
    }

    /// One of PostgreSQL's programs, to be run by this account.
    pub(super) fn command(self, name: &str) -> Command {
        let mut command = Command::new(program(name));
        command
            .uid(self.uid)
            .gid(self.gid)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }
}

/// Puts the same fresh data directory at each of these places, all of one cluster: copies of the one that this process made
/// first, with its system identifier, or of one with an identifier of its own.
pub(super) async fn place(account: Account, places: &[PathBuf], own_identity: bool) -> Result<()> {
    static TEMPLATE: OnceCell<PathBuf> = OnceCell::const_new();
    if own_identity {
        let (first, others) = places.split_first().context("a place")?;
        make(account, first).await?;
        return copy(first, others).await;
    }
    let template = TEMPLATE.get_or_try_init(|| async {
        let directory = node::data_subdir("pg")?.join("template");
        fs::create_dir(&directory)?;
        account.give(&directory)?;
        let data = directory.join("data");
        make(account, &data).await?;
        anyhow::Ok(data)
    });
    copy(template.await?, places).await
}

async fn copy(from: &Path, places: &[PathBuf]) -> Result<()> {
    for place in places {
        process::output(Command::new("cp").arg("-a").arg(from).arg(place)).await?;
    }
    Ok(())
}

async fn make(account: Account, data: &Path) -> Result<()> {
    let options = [
        "--username=postgres",
        "--auth=trust",
        "--locale=C",
        "--encoding=UTF8",
        "--wal-segsize=1",
    ];
    let quick = ["--no-sync", "--no-instructions"];
    process::output(
        account
            .command("initdb")
            .args(options)
            .args(quick)
            .arg("-D")
            .arg(data),
    )
    .await?;
    let file = data.join("postgresql.conf");
    let settings = fs::read_to_string(&file)?;
    fs::write(&file, settings + "\ninclude 'harness.conf'\n")?;
    // A copy that starts as a standby needs settings that are no lower than those of the last start.
    fs::write(data.join("harness.conf"), SETTINGS)?;
    let role = |login: Login| format!("create role {} login password '{}'", login.user, login.password);
    let globals = [role(PROBE), role(APP), format!("create database {DATABASE}")].join("\n");
    single(account, data, "postgres", &globals).await?;
    let table = "create table note (id bigint generated always as identity primary key, body text not null)\n\
                 insert into note (body) select 'note ' || n from generate_series(1, 100) n\n\
                 alter table note owner to app\n";
    single(account, data, DATABASE, table).await
}

/// Runs statements, one to a line, without a server. In that mode errors are only printed.
async fn single(account: Account, data: &Path, database: &str, statements: &str) -> Result<()> {
    let mut command = account.command("postgres");
    command
        .args(["--single", "-F", "-D"])
        .arg(data)
        .args(["-c", "log_min_messages=error", database]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let mut child = command.spawn().context("start postgres --single")?;
    child
        .stdin
        .take()
        .context("its input")?
        .write_all(statements.as_bytes())
        .await?;
    let output = child.wait_with_output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || said.contains("ERROR") {
        bail!("{statements:?} failed: {said}");
    }
    Ok(())
}
