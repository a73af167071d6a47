//! Why a request failed, and what is known of a write that did.

use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::error::SqlState;

use distributary_core::observation::FailureKind;
use distributary_core::table::{NoRoute, TableError};

/// Whether a write that failed was done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WriteOutcome {
    /// It was not: nothing of it is in the database, and it can be sent again.
    NotDone,
    /// It may have been done, or a part of it.
    Unknown,
}

/// Why a request failed. Neither its `Display` nor its `Debug` shows a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The routing table has no route for it.
    #[error("the request has no route")]
    NoRoute(#[from] NoRoute),
    /// No target of the route is left to try before the deadline.
    #[error("nobody serves the route {route} of revision {revision}{}", Reasons(reasons))]
    NobodyLeft {
        /// The name of the route: a key of `routes` of routing.json.
        route: String,
        /// Of the routing table.
        revision: String,
        /// Each target that was tried, and why it did not serve.
        reasons: Vec<TargetFailure>,
    },
    /// The deadline of the request passed.
    #[error("the deadline of {after:?} passed")]
    Deadline {
        /// How long the request had.
        after: Duration,
    },
    /// The server refused a statement, or the connection was lost under it.
    #[error("the server {endpoint} did not carry out the statement")]
    Database {
        /// The id of the endpoint.
        endpoint: String,
        /// What PostgreSQL, or the connection, said.
        #[source]
        source: tokio_postgres::Error,
    },
    /// No connection could be had.
    #[error("there is no connection to the server {}", .0)]
    Connect(TargetFailure),
    /// A statement on a session whose request has ended.
    #[error("the request of this session has ended")]
    SessionEnded,
    /// The closure succeeded although a statement of its transaction had failed: the transaction was rolled back.
    #[error("a statement of the transaction had failed, and the transaction was rolled back")]
    Aborted,
    /// The closure of a transaction ended it by itself, by COMMIT, ROLLBACK or a statement like them.
    #[error("the closure ended its transaction by itself")]
    TransactionEnded,
    /// No server proves that it has the write of the token: it is of another database.
    #[error(
        "the token is of another database: its system identifier is {token}, that of the server {server}"
    )]
    OtherDatabase {
        /// That of the token.
        token: u64,
        /// That of the write primary.
        server: u64,
    },
    /// An error of the program's own, from its closure.
    #[error(transparent)]
    Application(Box<dyn StdError + Send + Sync>),
    /// A write failed; what is known of it stands beside the cause.
    #[error("the write is {}", match outcome { WriteOutcome::NotDone => "not done", WriteOutcome::Unknown => "done or not: that is not known" })]
    Write {
        /// Whether it was done.
        outcome: WriteOutcome,
        /// Why it failed.
        #[source]
        source: Box<Error>,
    },
}

/// Why a target did not serve.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct TargetFailure {
    /// The id of its endpoint.
    pub endpoint: String,
    /// Why; one of the words of docs/how-it-decides.md, or of the pool.
    pub reason: FailureReason,
}

/// Why there is no connection, or no answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum FailureReason {
    /// What an attempt to connect, or a lost connection, means.
    Failed(FailureKind),
    /// All connections of its pool are in use.
    PoolFull,
    /// The server refused the statement for a reason that another one may not have.
    Refused,
    /// It is not as new as the token, or the bound of lag, asks for.
    TooOld,
    /// How far behind it is cannot be told: the primary does not say where its log is.
    LagUnknown,
    /// It takes no writes.
    ReadOnly,
}

impl FailureReason {
    /// The server is well, and not proven to be as new as the read asks for.
    pub(crate) const fn is_of_age(self) -> bool {
        matches!(self, Self::TooOld | Self::LagUnknown)
    }
}

impl fmt::Display for TargetFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            FailureReason::Failed(kind) => kind.word(),
            FailureReason::PoolFull => "PoolFull",
            FailureReason::Refused => "Refused",
            FailureReason::TooOld => "TooOld",
            FailureReason::LagUnknown => "LagUnknown",
            FailureReason::ReadOnly => "ReadOnly",
        };
        write!(f, "{}: {reason}", self.endpoint)
    }
}

struct Reasons<'a>(&'a [TargetFailure]);

impl fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, failure) in self.0.iter().enumerate() {
            write!(f, "{}{failure}", if at == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

impl Error {
    /// An error of the program's own, to return from a closure.
    ///
    /// ```
    /// use distributary_client::Error;
    ///
    /// let error = Error::application("there is no such order");
    /// assert_eq!(error.to_string(), "there is no such order");
    /// ```
    pub fn application(error: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Application(error.into())
    }

    /// Of a write that failed: whether it was done. `None`: the request was a read.
    ///
    /// ```no_run
    /// # fn f(error: distributary_client::Error) -> bool {
    /// use distributary_client::WriteOutcome;
    ///
    /// // It may be sent again.
    /// error.write_outcome() == Some(WriteOutcome::NotDone)
    /// # }
    /// ```
    #[must_use]
    pub const fn write_outcome(&self) -> Option<WriteOutcome> {
        match self {
            Self::Write { outcome, .. } => Some(*outcome),
            _ => None,
        }
    }

    /// What the server said, by SQLSTATE; `None`: it said nothing.
    ///
    /// ```no_run
    /// # fn f(error: distributary_client::Error) -> bool {
    /// use distributary_client::tokio_postgres::error::SqlState;
    ///
    /// error.sqlstate() == Some(&SqlState::UNIQUE_VIOLATION)
    /// # }
    /// ```
    #[must_use]
    pub fn sqlstate(&self) -> Option<&SqlState> {
        match self.cause() {
            Self::Database { source, .. } => source.code(),
            Self::Write { source, .. } => source.sqlstate(),
            _ => None,
        }
    }

    /// The error of this crate that a program's own error was made of; itself, where there is none.
    pub(crate) fn cause(&self) -> &Self {
        let Self::Application(own) = self else { return self };
        let mut next: Option<&(dyn StdError + 'static)> = Some(&**own);
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<Self>() {
                return found.cause();
            }
            next = error.source();
        }
        self
    }

    pub(crate) fn of_write(self, outcome: WriteOutcome) -> Self {
        Self::Write {
            outcome,
            source: Box::new(self),
        }
    }
}

/// Why a router cannot be made. It shows no value of a variable or a Secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// Neither a file nor a policy was given.
    #[error("no source of routes was given")]
    NoSource,
    /// No user was given, and the source has none.
    #[error("no credentials were given")]
    NoCredentials,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    ReadFile {
        /// Its path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The routing table cannot be used.
    #[error("cannot use the routing table")]
    Table(#[from] TableError),
    /// The policy is wrong: each problem with its field.
    #[error("the policy is invalid: {}", .0.join("; "))]
    Policy(Vec<String>),
    /// Variables are wrong: each with what must hold of it.
    #[error("the environment variables are wrong: {}", .0.join("; "))]
    Variables(Vec<String>),
    /// The policy asks to follow a promotion, and nothing remembers who was followed.
    #[error(
        "spec.failover.primaryRole: must be Pinned: without a memory nothing tells after a restart of the program who takes the writes"
    )]
    FollowWithoutMemory,
    /// The memory cannot be used: what it has cannot be read, is of another policy or a newer version, or nothing can be kept in it.
    #[error("the memory cannot be used")]
    Memory(#[source] Box<dyn StdError + Send + Sync>),
    /// The policy has no such server.
    #[error("the policy has no endpoint {id}")]
    UnknownEndpoint {
        /// The id that it has not.
        id: String,
    },
    /// The policy is the operator's, and is changed there.
    #[error("the routes come from the operator: change the policy where it reads it")]
    NotEmbedded,
    /// There is no tokio runtime with a clock.
    #[error("a pool of connections cannot be made")]
    Pool(#[from] deadpool::managed::BuildError),
    /// No table came in time.
    #[error("no routing table came within {after:?}")]
    NoTable {
        /// How long was waited.
        after: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the order cannot be shown")]
    struct Own(#[source] Error);

    #[test]
    fn an_error_within_that_of_the_program_is_found() {
        let nested = Error::application(Own(Error::application(Own(Error::SessionEnded))));
        assert!(matches!(nested.cause(), Error::SessionEnded));
        let own = Error::application("no order");
        assert!(matches!(own.cause(), Error::Application(_)));
    }
}
