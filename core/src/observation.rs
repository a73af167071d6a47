//! What one check of one server found.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::aliases::Instance;
use super::moment::Moment;
use super::sqlstate::Sqlstate;
use crate::words::words;

/// The result of one whole check.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When the check began.
    pub started: Moment,
    /// When its result was known.
    pub ended: Moment,
    /// The address that was connected to, where it came so far.
    pub address: Option<IpAddr>,
    /// What the server said, or why it said nothing.
    pub result: Result<Sample, FailureKind>,
    /// Of the failure OtherError.
    pub sqlstate: Option<Sqlstate>,
}

/// Why a check failed, and the SQLSTATE of an error that has no kind of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    pub kind: FailureKind,
    /// Of the kind OtherError.
    pub sqlstate: Option<Sqlstate>,
}

impl From<FailureKind> for Failure {
    fn from(kind: FailureKind) -> Self {
        Self { kind, sqlstate: None }
    }
}

/// What a server said of itself. `None`: it would not tell.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// Whether it takes writes.
    pub role: Role,
    /// `pg_current_wal_lsn()` of a primary, `pg_last_wal_replay_lsn()` of a standby.
    pub lsn: Option<Lsn>,
    /// `pg_last_wal_receive_lsn()` of a standby.
    pub received: Option<Lsn>,
    /// `pg_control_system()`.
    pub system_identifier: Option<u64>,
    /// Of a primary: of the WAL file that it writes (`pg_walfile_name()`). Of a standby: `received_tli` of
    /// `pg_stat_wal_receiver`, told to members of `pg_monitor` while it streams; what it replayed may be older.
    pub timeline: Option<u32>,
    /// Of its last checkpoint (`pg_control_checkpoint()`): it is on this timeline, or on a newer one.
    pub checkpoint_timeline: Option<u32>,
    /// Of a primary: it takes no writes, as its configuration makes transactions read-only (`default_transaction_read_only`).
    /// A setting of the role, the database or the session says nothing of other clients.
    pub read_only: bool,
    /// How busy it is.
    pub load: Option<Load>,
    /// Which running server answered; `None`: it does not tell, or lists no sessions.
    pub instance: Option<Instance>,
    /// How many connections the role of the login may have there (CONNECTION LIMIT); `None`: it has no limit.
    pub role_limit: Option<u32>,
    /// The answer of the policy's `lagQuery`; `None`: there is none, or it was not asked.
    pub lag: Option<LagAnswer>,
    /// What answers is a pooler or proxy: it says so, or the session went over to another process of the server.
    pub pooled: bool,
    /// Of a whole check: whether each probe query of the policy's classes was answered.
    pub probes: BTreeMap<Arc<str>, bool>,
    /// The transactions of ours that it took, and those on the same connection since the sample before.
    pub asked: u32,
}

impl Sample {
    /// A server that says nothing but its role.
    #[must_use]
    pub const fn of(role: Role) -> Self {
        Self {
            role,
            lsn: None,
            received: None,
            system_identifier: None,
            timeline: None,
            checkpoint_timeline: None,
            read_only: false,
            load: None,
            instance: None,
            role_limit: None,
            lag: None,
            pooled: false,
            probes: BTreeMap::new(),
            asked: 0,
        }
    }
}

/// What a `lagQuery` answered: how far the server is behind.
pub type LagAnswer = Result<Duration, NoLag>;

/// What a `lagQuery` answered in place of a number of seconds, in words for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoLag {
    Null,
    /// No row, or no text in it.
    Nothing,
    /// A value that is no number, or that no time is as long as: its beginning, printable.
    Value(String),
    /// The server refused the query: the SQLSTATE, printable.
    Refused(String),
}

impl NoLag {
    /// What is shown of a value at most, in bytes, before the last character.
    const LONGEST: usize = 40;

    #[must_use]
    pub fn value(text: &str) -> Self {
        Self::Value(Self::printable(text))
    }

    #[must_use]
    pub fn refused(sqlstate: &str) -> Self {
        Self::Refused(Self::printable(sqlstate))
    }

    /// Whether it says the same to a person: a value that changes with every answer is one.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    /// What a server chose, in a bounded length and without control characters.
    fn printable(text: &str) -> String {
        let mut printable = String::new();
        for letter in text.chars() {
            if printable.len() >= Self::LONGEST {
                printable.push('…');
                break;
            }
            printable.extend(letter.escape_debug());
        }
        printable
    }
}

impl std::fmt::Display for NoLag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Nothing => f.write_str("no row"),
            Self::Value(text) => write!(f, "\"{text}\""),
            Self::Refused(sqlstate) => write!(f, "SQLSTATE {sqlstate}"),
        }
    }
}

/// How busy a server is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Client sessions (`pg_stat_activity`) other than those of `application_name` distributary.
    pub sessions: u32,
    /// The setting `max_connections`.
    pub max_connections: u32,
    /// The connections of these that ordinary roles never get: the settings `superuser_reserved_connections` and, since
    /// PostgreSQL 16, `reserved_connections`.
    pub reserved_connections: u32,
    /// Transactions committed or rolled back since its statistics began, all databases (`pg_stat_database`).
    pub transactions: u64,
    /// Rows that scans and indexes returned (`tup_returned`), as above; those of catalogs count too.
    pub rows_returned: u64,
    /// Rows inserted, updated and deleted, as above.
    pub rows_changed: u64,
    /// The databases of these sums.
    pub databases: u32,
    /// The sum of their `stats_reset`, each in milliseconds since 1970, 0 for none: another one where any was reset.
    pub resets: i64,
    /// `pg_postmaster_start_time()`, in microseconds since 1970: counters of another start are not comparable.
    pub started: i64,
}

impl Load {
    /// How many connections ordinary roles may have.
    #[must_use]
    pub const fn usable_connections(&self) -> u32 {
        self.max_connections.saturating_sub(self.reserved_connections)
    }
}

/// Why the held session told nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Silence {
    /// The server, or something on the way, closed or reset it: a hard sign of a crash.
    Closed,
    /// The heartbeat's deadline passed without an answer: a soft sign.
    Missed,
    /// The server had no place for it when it was opened: no sign of anything, but others may need the next place.
    Full,
}

/// From `pg_is_in_recovery()`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Role {
    /// Not in recovery: it takes writes, unless it is configured otherwise ([`Sample::read_only`]).
    Primary,
    /// In recovery.
    Standby,
}

impl Role {
    /// The word for a role that may not be known.
    #[must_use]
    pub const fn word_of(role: Option<Self>) -> &'static str {
        match role {
            Some(role) => role.word(),
            None => "Unknown",
        }
    }
}

/// A position in the write-ahead log, in bytes.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Lsn(pub u64);

impl std::str::FromStr for Lsn {
    type Err = InvalidLsn;
    /// PostgreSQL's text form: two hexadecimal halves, `16/B374D848`.
    fn from_str(text: &str) -> Result<Self, InvalidLsn> {
        let (high, low) = text.split_once('/').ok_or(InvalidLsn)?;
        let half = |digits: &str| u32::from_str_radix(digits, 16).map_err(|_| InvalidLsn);
        Ok(Self((u64::from(half(high)?) << 32) + u64::from(half(low)?)))
    }
}

/// A text that is no position in the write-ahead log.
#[derive(Debug, thiserror::Error)]
#[error("not a log position of the form 16/B374D848")]
pub struct InvalidLsn;

/// Why a check failed, by SQLSTATE and error kind, never by the text of a message.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(const_into_str)]
pub enum FailureKind {
    /// Nobody listens at the port (ECONNREFUSED).
    ConnectRefused,
    /// The connection was reset (ECONNRESET).
    ConnectionReset,
    /// The connection was closed in the middle of the check.
    ConnectionClosed,
    /// The deadline of the check passed.
    TimedOut,
    /// No way leads to the address (EHOSTUNREACH, ENETUNREACH, ENETDOWN).
    Unreachable,
    /// 57P03 and crash recovery.
    Starting,
    /// 57P01, 57P02 in answer to a new connection.
    Stopping,
    /// 53300.
    Saturated,
    /// 28P01, 28000.
    AuthenticationFailed,
    /// 3D000.
    DatabaseMissing,
    /// 42501 in answer to a login: the role lacks the privilege CONNECT on the database.
    ConnectNotGranted,
    /// 55000 in answer to a login: the database accepts no connections.
    DatabaseClosed,
    /// The certificate has expired.
    CertificateExpired,
    /// The certificate is not valid yet.
    CertificateNotYetValid,
    /// No CA that is known signed the certificate.
    CertificateIssuerUnknown,
    /// The certificate names another host.
    CertificateNameMismatch,
    /// The certificate is one that is not verified, as one of X.509 version 1, or one of a CA.
    CertificateUnsupported,
    /// The policy asks for less than the operator demands of every policy (`--require-tls`).
    TlsModeTooLow,
    /// The handshake failed for another reason.
    TlsFailed,
    /// The server offers no TLS where the policy asks for it.
    TlsNotOffered,
    /// SQLSTATE class 08 in answer to a login: a pooler or proxy refuses it.
    PoolerRefused,
    /// The server asks for a clear-text or MD5 password, which is never sent.
    PasswordMethodRefused,
    /// The server asks for more iterations of SCRAM than the operator does for a login, or for so few that they protect nothing.
    ScramIterationsRefused,
    /// The Secret with the credentials says that they are for other hosts.
    SecretNotForHost,
    /// A Secret that the endpoint names is missing or wrong.
    SecretUnresolved,
    /// The operator itself has no free file, memory, local port or address of the family.
    OutOfResources,
    /// NXDOMAIN, or no address.
    NameNotFound,
    /// The resolver did not answer.
    ResolverFailed,
    /// Loopback, link-local, multicast, unspecified or broadcast.
    AddressRefused,
    /// In a Service CIDR of the cluster: a ClusterIP.
    AddressOfService,
    /// In the operator's list of denied addresses.
    AddressDenied,
    /// Not in the operator's list of allowed addresses.
    AddressNotAllowed,
    /// SQLSTATE classes 53 (others), 58, XX.
    ServerFailing,
    /// SQLSTATE class 08 in answer to a question, or to a login after the held session was lost or checks found the server
    /// dead: a pooler or proxy lost the server behind it.
    UpstreamLost,
    /// Bytes that are not the PostgreSQL protocol.
    ProtocolViolation,
    /// A message over the size that an answer can have.
    ReplyTooLong,
    /// Any other SQLSTATE: the server is alive.
    OtherError,
}

/// What a failure means; the table of docs/how-it-decides.md.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailureClass {
    /// Counts for the breaker. `hard`: the connection was refused, reset or closed, which is a sign of a crash.
    Dead { hard: bool },
    /// Starting or stopping: out at once, no count.
    Transient,
    /// Alive without a free connection: stays.
    Saturated,
    /// The policy's or a Secret's fault: what is served is held, what is new is not admitted.
    Configuration,
    /// Our own want: as configuration, but it is no sign of life either. What was known of the server stands.
    Own,
    /// No address, and none from before that may still be used: out, and held where nobody is better.
    Name,
    /// An address that no slice may hold: out.
    RefusedAddress,
    /// Alive, with an error that says nothing of its health.
    Alive,
}

impl FailureClass {
    /// The words of the classes, in the order of their numbers.
    pub const WORDS: [&str; 8] = [
        "Dead",
        "Transient",
        "Saturated",
        "Configuration",
        "Own",
        "Name",
        "RefusedAddress",
        "Alive",
    ];

    /// Its place in [`Self::WORDS`].
    #[must_use]
    pub const fn number(self) -> usize {
        match self {
            Self::Dead { .. } => 0,
            Self::Transient => 1,
            Self::Saturated => 2,
            Self::Configuration => 3,
            Self::Own => 4,
            Self::Name => 5,
            Self::RefusedAddress => 6,
            Self::Alive => 7,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        Self::WORDS[self.number()]
    }
}

impl FailureKind {
    /// What it means.
    #[must_use]
    pub const fn class(self) -> FailureClass {
        match self {
            Self::ConnectRefused | Self::ConnectionReset | Self::ConnectionClosed => {
                FailureClass::Dead { hard: true }
            }
            Self::TimedOut
            | Self::Unreachable
            | Self::ServerFailing
            | Self::UpstreamLost
            | Self::ProtocolViolation
            | Self::ReplyTooLong => FailureClass::Dead { hard: false },
            Self::Starting | Self::Stopping => FailureClass::Transient,
            Self::Saturated => FailureClass::Saturated,
            Self::AuthenticationFailed
            | Self::DatabaseMissing
            | Self::ConnectNotGranted
            | Self::DatabaseClosed
            | Self::CertificateExpired
            | Self::CertificateNotYetValid
            | Self::CertificateIssuerUnknown
            | Self::CertificateNameMismatch
            | Self::CertificateUnsupported
            | Self::TlsModeTooLow
            | Self::TlsFailed
            | Self::TlsNotOffered
            | Self::PoolerRefused
            | Self::PasswordMethodRefused
            | Self::ScramIterationsRefused
            | Self::SecretNotForHost
            | Self::SecretUnresolved => FailureClass::Configuration,
            Self::OutOfResources => FailureClass::Own,
            Self::NameNotFound | Self::ResolverFailed => FailureClass::Name,
            Self::AddressRefused | Self::AddressOfService | Self::AddressDenied | Self::AddressNotAllowed => {
                FailureClass::RefusedAddress
            }
            Self::OtherError => FailureClass::Alive,
        }
    }

    /// Whether the server itself sent it as an error: then it lives, whatever its role.
    #[must_use]
    pub const fn proves_life(self) -> bool {
        matches!(
            self,
            Self::Saturated
                | Self::AuthenticationFailed
                | Self::DatabaseMissing
                | Self::ConnectNotGranted
                | Self::DatabaseClosed
                | Self::OtherError
        )
    }
}

words!(Role, FailureKind);

#[cfg(test)]
mod tests;
