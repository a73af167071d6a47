//! A data directory that is made once and copied.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use nix::unistd::User;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::{APP, DATABASE, Login, PROBE, settings};
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
    pub(super) fn command(self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .uid(self.uid)
            .gid(self.gid)
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }
}

/// Who makes a data directory, and with which programs.
pub(super) struct Maker<'a> {
    pub(super) account: Account,
    /// The directory of `initdb` and `postgres`.
    pub(super) programs: &'a Path,
}

/// Puts the same fresh data directory at each of these places, all of one cluster: copies of the one that this process made
/// first with these programs, with its system identifier, or of one with an identifier of its own.
pub(super) async fn place(maker: &Maker<'_>, places: &[PathBuf], own_identity: bool) -> Result<()> {
    if own_identity {
        let (first, others) = places.split_first().context("a place")?;
        make(maker, first).await?;
        return copy(first, others).await;
    }
    let cell = template_of(maker.programs);
    let template = cell.get_or_try_init(|| async {
        let name = format!("template{}", maker.programs.display()).replace('/', "-");
        let directory = node::data_subdir("pg")?.join(name);
        fs::create_dir(&directory)?;
        maker.account.give(&directory)?;
        let data = directory.join("data");
        make(maker, &data).await?;
        anyhow::Ok(data)
    });
    copy(template.await?, places).await
}

/// Where the data directory that programs made first is, once they did.
fn template_of(programs: &Path) -> Arc<OnceCell<PathBuf>> {
    static TEMPLATES: Mutex<BTreeMap<PathBuf, Arc<OnceCell<PathBuf>>>> = Mutex::new(BTreeMap::new());
    let mut templates = TEMPLATES.lock().unwrap_or_else(PoisonError::into_inner);
    templates.entry(programs.to_owned()).or_default().clone()
}

async fn copy(from: &Path, places: &[PathBuf]) -> Result<()> {
    let copies = places
        .iter()
        .map(|place| async move { process::output(Command::new("cp").arg("-a").arg(from).arg(place)).await });
    try_join_all(copies).await.map(drop)
}

async fn make(maker: &Maker<'_>, data: &Path) -> Result<()> {
    let account = maker.account;
    let options = [
        "--username=postgres",
        "--auth=trust",
        "--locale=C",
        "--encoding=UTF8",
        "--wal-segsize=1",
    ];
    let quick = ["--no-sync"];
    process::output(
        account
            .command(&maker.programs.join("initdb"))
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
    fs::write(data.join("harness.conf"), settings::common(data)?)?;
    let role = |login: Login| format!("create role {} login password '{}'", login.user, login.password);
    let globals = [role(PROBE), role(APP), format!("create database {DATABASE}")].join("\n");
    single(maker, data, "postgres", &globals).await?;
    let table = "create table note (id bigint generated always as identity primary key, body text not null)\n\
                 insert into note (body) select 'note ' || n from generate_series(1, 100) n\n\
                 alter table note owner to app\n";
    single(maker, data, DATABASE, table).await
}

/// Runs statements, one to a line, without a server. In that mode errors are only printed.
async fn single(maker: &Maker<'_>, data: &Path, database: &str, statements: &str) -> Result<()> {
    let mut command = maker.account.command(&maker.programs.join("postgres"));
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
