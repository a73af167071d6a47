//! Poolers in front of a server.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::template::Account;
use super::{APP, DATABASE, Login, PORT, PROBE, Postgres};
use crate::process::Daemon;
use crate::{node, reader, wait};

/// How long a pooler may take to start.
const START: Duration = Duration::from_secs(30);

/// Makes the function by which `PgBouncer` asks a server for the password of a role; the owner of the table may call it.
pub const LOOKUP: &str = "create function password_of(role text) returns table (name name, password text) \
     language sql security definer as 'select usename, passwd from pg_catalog.pg_shadow where usename = role'";

/// Where `PgBouncer` has the passwords of its clients from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passwords {
    /// From a file.
    Known,
    /// From the server, at every login.
    Asked,
}

/// A pooler that knows one server, at an address of its own. Dropping it kills it.
#[derive(Debug)]
pub struct Pooler {
    address: Ipv4Addr,
    daemon: Daemon,
}

impl Pooler {
    /// `PgBouncer`, which pools transactions and keeps no connection to the server for longer than a second.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn pgbouncer(server: &Postgres, passwords: Passwords) -> Result<Self> {
        let (address, directory) = place("pgbouncer")?;
        let (own, behind) = (directory.display(), server.address());
        let logins = match passwords {
            Passwords::Known => &[APP, PROBE][..],
            Passwords::Asked => &[APP],
        };
        let line = |login: &Login| format!("\"{}\" \"{}\"\n", login.user, login.password);
        let users = logins.iter().map(line).collect();
        let settings = format!(
            "[databases]
             {DATABASE} = host={behind} port={PORT}
             [pgbouncer]
             listen_addr = {address}
             listen_port = {PORT}
             unix_socket_dir =
             auth_type = scram-sha-256
             auth_file = {own}/users
             auth_user = {}
             auth_query = select * from password_of($1)
             pool_mode = transaction
             server_lifetime = 1
             server_login_retry = 1
            ",
            APP.user
        );
        let files = [("users", users), ("settings", settings)];
        let settings = directory.join("settings");
        Self::start("/usr/sbin/pgbouncer", &directory, address, &files, &[&settings]).await
    }

    /// Pgpool-II, which looks after the server itself every second.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub async fn pgpool(server: &Postgres) -> Result<Self> {
        let (address, directory) = place("pgpool")?;
        let (own, behind) = (directory.display(), server.address());
        let users = [APP, PROBE].map(|login| format!("{}:TEXT{}\n", login.user, login.password));
        let settings = format!(
            "backend_clustering_mode = 'streaming_replication'
             backend_hostname0 = '{behind}'
             backend_port0 = {PORT}
             backend_flag0 = 'ALLOW_TO_FAILOVER'
             listen_addresses = '{address}'
             port = {PORT}
             socket_dir = '{own}'
             pcp_socket_dir = '{own}'
             wd_ipc_socket_dir = '{own}'
             pid_file_name = '{own}/pid'
             logdir = '{own}'
             work_dir = '{own}'
             num_init_children = 8
             enable_pool_hba = on
             pool_passwd = 'users'
             health_check_period = 1
             health_check_user = '{}'
             health_check_password = 'TEXT{}'
             health_check_database = '{DATABASE}'
             sr_check_period = 0
            ",
            PROBE.user, PROBE.password,
        );
        let rules = "host all all 0.0.0.0/0 scram-sha-256\n".to_owned();
        let files = [
            ("users", users.concat()),
            ("rules", rules),
            ("pcp", String::new()),
            ("settings", settings),
        ];
        let [settings, rules, pcp] = ["settings", "rules", "pcp"].map(|name| directory.join(name));
        let options = ["-n", "-D", "-f", "-a", "-F"].map(PathBuf::from);
        let [foreground, discard, of_settings, of_rules, of_pcp] = &options;
        let arguments = [
            foreground,
            discard,
            of_settings,
            &settings,
            of_rules,
            &rules,
            of_pcp,
            &pcp,
        ];
        Self::start("/usr/sbin/pgpool", &directory, address, &files, &arguments).await
    }

    async fn start(
        program: &str,
        directory: &Path,
        address: Ipv4Addr,
        files: &[(&str, String)],
        arguments: &[&PathBuf],
    ) -> Result<Self> {
        let account = Account::find()?;
        account.give(directory)?;
        for (name, text) in files {
            let file = directory.join(name);
            fs::write(&file, text)?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
            account.give(&file)?;
        }
        let name = directory.file_name().unwrap_or_default().to_string_lossy();
        let arguments = arguments.iter().map(|argument| argument.display().to_string());
        let daemon = Daemon::new(name, program)?
            .args(arguments)
            .user(account.uid, account.gid);
        daemon.start()?;
        let pooler = Self { address, daemon };
        pooler.accepts().await?;
        Ok(pooler)
    }

    async fn accepts(&self) -> Result<()> {
        let asked = || async {
            ensure!(
                self.daemon.ended().is_none(),
                "it ended:\n{}",
                self.daemon.log_tail(20)
            );
            reader::ask((self.address, PORT).into()).await
        };
        wait::eventually("the pooler to answer", START, asked)
            .await
            .map(drop)
    }

    /// Where its clients connect; the port is [`PORT`].
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }
}

/// An address and a directory.
fn place(program: &str) -> Result<(Ipv4Addr, PathBuf)> {
    let address = node::claim_address()?.server;
    let directory = node::data_subdir("poolers")?.join(format!("{program}-{address}"));
    fs::create_dir(&directory).context("create its directory")?;
    Ok((address, directory))
}
