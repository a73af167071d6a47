//! The configuration of a server.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::{PORT, Postgres};
use crate::certificates::Identity;

/// TLS of a cluster. The servers' certificates are signed by the cluster's own authority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The certificate that the servers show at first.
    pub certificate: ServerCertificate,
    /// Whether roles other than `postgres` are refused without TLS (`hostssl`).
    pub required: bool,
    /// Whether clients must show a certificate of the authority, with the role as its common name, beside their
    /// password (`clientcert=verify-full`).
    pub client_certificates: bool,
}

/// A server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServerCertificate {
    /// For its name and its addresses.
    #[default]
    Valid,
    /// The same, but expired.
    Expired,
    /// For another name and no address.
    WrongName,
}

/// Small, quick to start and to notice a lost upstream. Durability is of no use here; the rest is as it is installed.
const SETTINGS: &str = "
max_connections = 50
shared_buffers = 16MB
fsync = off
synchronous_commit = off
autovacuum = off
password_encryption = scram-sha-256
wal_level = replica
max_wal_senders = 40
wal_log_hints = on
max_wal_size = 64MB
hot_standby = on
wal_retrieve_retry_interval = 100ms
log_line_prefix = '%m [%p] %q%u@%h '
";

/// What every server of the version that made this data directory has.
pub(super) fn common(data: &Path) -> Result<String> {
    let version = fs::read_to_string(data.join("PG_VERSION")).context("read its version")?;
    // Segments have 1 MB.
    let keep = match version.trim() {
        "12" => "wal_keep_segments = 128",
        _ => "wal_keep_size = 128MB",
    };
    Ok(format!("{SETTINGS}{keep}\n"))
}

impl Postgres {
    /// Writes the settings and the rules of who may connect; they hold from the next start, or reload.
    pub(super) fn configure(&self) -> Result<()> {
        let data = self.data();
        let hba = data.join("pg_hba.conf");
        fs::write(data.join("harness.conf"), self.settings()?)?;
        fs::write(hba, self.rules())?;
        if let Some(tls) = self.shape.builder.tls {
            self.use_certificate(tls.certificate)?;
        }
        Ok(())
    }

    /// Puts another certificate in place. The server shows it after a [`reload`](Self::reload) or restart.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn use_certificate(&self, certificate: ServerCertificate) -> Result<()> {
        let (authority, names) = (&self.shape.authority, [self.name()]);
        let four = std::iter::once(self.address().into());
        let addresses: Vec<_> = four.chain(self.ipv6().map(Into::into)).collect();
        self.use_identity(&match certificate {
            ServerCertificate::Valid => authority.server(&names, &addresses),
            ServerCertificate::Expired => authority.expired_server(&names, &addresses),
            ServerCertificate::WrongName => authority.server(&["elsewhere.test"], &[]),
        }?)
    }

    /// Puts any certificate in place, such as one of another authority; see [`use_certificate`](Self::use_certificate).
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn use_identity(&self, identity: &Identity) -> Result<()> {
        fs::write(self.directory.join("ca.crt"), self.shape.authority.pem())?;
        let (_, key) = identity.write(&self.directory, "server")?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        self.shape.account.give(&key)
    }

    fn settings(&self) -> Result<String> {
        let mut text = common(&self.data())?;
        let directory = self.directory.display();
        // Writing to a String cannot fail.
        let more = self.more_addresses().iter().map(ToString::to_string);
        let addresses: Vec<String> = std::iter::once(self.address().to_string())
            .chain(more)
            .chain(self.ipv6().map(|address| address.to_string()))
            .collect();
        let _ = writeln!(
            text,
            "listen_addresses = '{}'\nport = {PORT}",
            addresses.join(",")
        );
        let _ = writeln!(text, "unix_socket_directories = '{directory}'");
        if self.shape.builder.tls.is_some() {
            let _ = writeln!(text, "ssl = on\nssl_ca_file = '{directory}/ca.crt'");
            let _ = writeln!(
                text,
                "ssl_cert_file = '{directory}/server.crt'\nssl_key_file = '{directory}/server.key'"
            );
        }
        for (name, value) in &self.shape.builder.settings {
            let _ = writeln!(text, "{name} = '{value}'");
        }
        Ok(text)
    }

    /// Puts lines of `pg_hba.conf` before all others, in place of those that this put there before, and makes the running
    /// server read them.
    ///
    /// # Errors
    /// When the file cannot be written, or it does not run.
    pub fn rules_first(&self, lines: &[&str]) -> Result<()> {
        let text = format!("{}\n{}", lines.join("\n"), self.rules());
        fs::write(self.data().join("pg_hba.conf"), text)?;
        self.reload()
    }

    /// The superuser comes over the Unix socket, standbys from the addresses that only they have.
    fn rules(&self) -> String {
        let Tls {
            required,
            client_certificates,
            ..
        } = self.shape.builder.tls.unwrap_or_default();
        let connection = if required { "hostssl" } else { "host" };
        let certificate = if client_certificates {
            " clientcert=verify-full"
        } else {
            ""
        };
        format!(
            "local all all trust\nhost replication postgres 198.18.128.0/18 trust\n{}\n\
             {connection} all all all scram-sha-256{certificate}\n",
            self.shape.builder.rules.join("\n"),
        )
    }
}
