//! One connection to a server: opened, checked to be read-only by default, pooled.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, SimpleQueryMessage};
use tokio_util::task::AbortOnDropHandle;

use distributary_core::observation::FailureKind;
use distributary_core::server::Host;
use distributary_probe::{Clock, Dialer, LoginGuard, meaning};

use crate::credentials::{Credentials, Presented};
use crate::wire::{Encrypted, Heard, Tap, Traffic};

/// Makes a session read-only unless it says otherwise.
const READ_ONLY: &str = "-c default_transaction_read_only=on";
const IS_READ_ONLY: &str = "SHOW default_transaction_read_only";
/// Makes a session what it was after the login. Not DISCARD ALL: the protocol's implementation keeps statements of its own.
const RESET: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
    SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";
/// What PgBouncer reports of itself in a login, from 1.26 on.
const POOLER_SETTING: &str = "pgbouncer.version";

/// Where a server is, and how to log in there.
pub struct Opener {
    pub host: Host,
    pub address: SocketAddr,
    pub database: String,
    pub credentials: Credentials,
    pub dialer: Dialer,
    pub application_name: String,
    /// Of a connection, from its beginning to the end of the login.
    pub timeout: Duration,
    /// A connection is replaced when it is used after so long; `age` of the whole, `idle` since it was used last.
    pub age: Duration,
    pub idle: Duration,
    pub heard: Heard,
    /// A pooler stands before the server, which does not keep the settings of a session.
    pub pooled: AtomicBool,
}

/// Whether transactions of a session are read-only by default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Access {
    ReadOnly = 0,
    ReadWrite = 1,
}

/// An open connection.
pub struct Connection {
    pub client: Client,
    pub traffic: Arc<Traffic>,
    /// A pooler stands before the server: each transaction says for itself what it may do.
    pub pooled: bool,
    access: AtomicU8,
    /// Of `application_name`, what follows the name of the program.
    operation: Mutex<String>,
    task: Option<AbortOnDropHandle<()>>,
}

/// Statements that make a session what a request needs.
pub struct Preparation {
    pub statements: String,
    /// They only name the session: nothing that follows must wait for them.
    pub only_names: bool,
}

impl Connection {
    /// What makes the session what a request needs; `None`: it is so already.
    pub fn preparation(&self, access: Access, program: &str, operation: &str) -> Option<Preparation> {
        let (mut statements, mut only_names) = (String::new(), true);
        if !self.pooled && self.access.swap(access as u8, Ordering::AcqRel) != access as u8 {
            only_names = false;
            let value = if access == Access::ReadOnly { "on" } else { "off" };
            statements = format!("SET default_transaction_read_only = {value};");
        }
        let mut known = self.operation.lock();
        if *known != operation {
            operation.clone_into(&mut known);
            let name = application_name(program, operation);
            let quoted = name.replace('\'', "''");
            // With E'' backslashes would count; the plain form has none, as standard_conforming_strings is on by default.
            statements += &format!("SET application_name = '{quoted}';");
        }
        (!statements.is_empty()).then_some(Preparation {
            statements,
            only_names,
        })
    }

    /// Makes the session what it was after the login; whether that worked.
    pub async fn reset(&self) -> bool {
        if self.client.batch_execute(RESET).await.is_err() {
            return false;
        }
        self.traffic.forget_state();
        self.access.store(Access::ReadOnly as u8, Ordering::Release);
        self.operation.lock().clear();
        true
    }

    /// Nothing is under way on it, and it is open.
    pub fn is_clean(&self) -> bool {
        self.traffic.is_idle() && !self.client.is_closed()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // A clean one says good-bye to the server; any other is closed at once.
        if self.is_clean()
            && let Some(task) = self.task.take()
        {
            drop(task.detach());
        }
    }
}

/// `NAME/OPERATION`, in ASCII and within the 63 bytes that PostgreSQL keeps.
fn application_name(program: &str, operation: &str) -> String {
    let whole = if operation.is_empty() {
        program.to_owned()
    } else {
        format!("{program}/{operation}")
    };
    let printable = whole
        .chars()
        .map(|c| if c.is_ascii_graphic() && c != '\\' { c } else { '_' });
    printable.take(63).collect()
}

impl Opener {
    /// Opens a connection, and reads the credentials again where the server refuses them.
    ///
    /// # Errors
    /// What kept it from being open.
    pub async fn open(&self) -> Result<Connection, FailureKind> {
        let presented = self.credentials.presented();
        let opened = self.open_as(&presented).await;
        if opened.as_ref().err() == Some(&FailureKind::AuthenticationFailed)
            && self.credentials.refresh(&presented)
        {
            return self.open_as(&self.credentials.presented()).await;
        }
        opened
    }

    async fn open_as(&self, presented: &Presented) -> Result<Connection, FailureKind> {
        let opened = timeout(self.timeout, self.log_in(presented)).await;
        opened.unwrap_or(Err(FailureKind::TimedOut))
    }

    async fn log_in(&self, presented: &Presented) -> Result<Connection, FailureKind> {
        if !self.pooled.load(Ordering::Relaxed) {
            match self.connect(presented, Some(READ_ONLY)).await {
                Err((_, Some(state))) if refuses_options(&state) => {
                    self.pooled.store(true, Ordering::Relaxed);
                }
                Err((kind, _)) => return Err(kind),
                Ok((connection, named)) => {
                    let kept = connection.is_read_only().await?;
                    if kept && !named {
                        return Ok(connection);
                    }
                    self.pooled.store(true, Ordering::Relaxed);
                }
            }
        }
        let (mut connection, _) = self.connect(presented, None).await.map_err(|(kind, _)| kind)?;
        connection.pooled = true;
        Ok(connection)
    }

    /// The connection, and whether a pooler names itself.
    async fn connect(
        &self,
        presented: &Presented,
        options: Option<&str>,
    ) -> Result<(Connection, bool), (FailureKind, Option<SqlState>)> {
        let stream = self.dialer.open(&self.host, self.address, self.timeout).await;
        let (tap, traffic) = Tap::new(
            LoginGuard::new(stream.map_err(|kind| (kind, None))?),
            self.heard.clone(),
        );
        let config = self.config(presented, options).map_err(|kind| (kind, None))?;
        let login = config.connect_raw(tap, Encrypted).await;
        let (client, connection) = login.map_err(|error| {
            let kind = meaning(&error, presented.password.is_some()).kind;
            (kind, error.code().cloned())
        })?;
        let named = connection.parameter(POOLER_SETTING).is_some();
        let task = tokio::spawn(async move {
            // Whoever waits for an answer is told of the error.
            let _ = connection.await;
        });
        let connection = Connection {
            client,
            traffic,
            pooled: false,
            access: AtomicU8::new(Access::ReadOnly as u8),
            operation: Mutex::default(),
            task: Some(AbortOnDropHandle::new(task)),
        };
        Ok((connection, named))
    }

    fn config(&self, presented: &Presented, options: Option<&str>) -> Result<Config, FailureKind> {
        let names = [&presented.user, &self.database];
        if names.iter().any(|name| name.contains('\0')) {
            return Err(FailureKind::SecretUnresolved);
        }
        let mut config = Config::new();
        config
            .user(&presented.user)
            .dbname(&self.database)
            .application_name(application_name(&self.application_name, ""))
            .ssl_negotiation(SslNegotiation::Direct)
            // The stream is encrypted already, where it is to be.
            .ssl_mode(SslMode::Require);
        if let Some(password) = &presented.password {
            config.password(password.reveal());
        }
        if let Some(options) = options {
            config.options(options);
        }
        Ok(config)
    }
}

/// How a pooler refuses a parameter of the login that it does not pass on.
fn refuses_options(state: &SqlState) -> bool {
    [SqlState::PROTOCOL_VIOLATION, SqlState::FEATURE_NOT_SUPPORTED].contains(state)
}

impl Connection {
    async fn is_read_only(&self) -> Result<bool, FailureKind> {
        let answer = self.client.simple_query(IS_READ_ONLY).await;
        let answer = answer.map_err(|error| meaning(&error, true).kind)?;
        let told = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(told == Some("on"))
    }
}

impl Manager for Opener {
    /// In a box: it is moved some times for each request.
    type Type = Box<Connection>;
    type Error = FailureKind;

    async fn create(&self) -> Result<Box<Connection>, FailureKind> {
        // Rare and large.
        let opened = Box::pin(self.open()).await?;
        Ok(Box::new(opened))
    }

    async fn recycle(
        &self,
        connection: &mut Box<Connection>,
        metrics: &Metrics,
    ) -> RecycleResult<FailureKind> {
        if !connection.is_clean() || self.is_worn(metrics) {
            return Err(RecycleError::message("it is not used again"));
        }
        Ok(())
    }
}

impl Opener {
    /// It is too old, or nobody has used it for too long.
    fn is_worn(&self, metrics: &Metrics) -> bool {
        // One reading of the clock serves for both.
        let unused = metrics.last_used();
        let before = metrics.recycled.map_or(Duration::ZERO, |used| {
            used.saturating_duration_since(metrics.created)
        });
        unused > self.idle || before + unused > self.age
    }
}

/// A time of a connection that is not the same for all of them: 90 to 100 % of `most`.
pub fn spread(most: Duration, clock: &Clock) -> Duration {
    let tenth = most / 10;
    let drawn = clock.now().since_start().subsec_nanos() % 1000;
    most - tenth.mul_f64(f64::from(drawn) / 1000.0)
}
