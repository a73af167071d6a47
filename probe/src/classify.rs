//! From an error to its meaning: by SQLSTATE, by kind of I/O error and by the types in the chain of sources, never by
//! the text of a message, which is translated, changes, and is chosen by the server.

use std::error::Error;
use std::io;

use nix::errno::Errno;
use rustls::pki_types::InvalidDnsNameError;
use rustls::{CertificateError, Error as TlsError};
use tokio_postgres::error::{DbError, SqlState};

use super::guard::Breach;
use distributary_core::observation::{Failure, FailureKind};
use distributary_core::sqlstate::Sqlstate;

/// The meaning of an error of the protocol's implementation. `password`: whether the login has one.
#[must_use]
pub fn classify(error: &tokio_postgres::Error, password: bool) -> Failure {
    if let Some(known) = known_source(error) {
        return with_sqlstate(known, error.code());
    }
    let kind = match error.source() {
        // Its bytes could not be read.
        Some(source) if source.is::<io::Error>() => FailureKind::ProtocolViolation,
        // Only a refusal of its own to go on with the login has any other source: no password, or no SCRAM.
        Some(_) if password => FailureKind::PasswordMethodRefused,
        Some(_) => FailureKind::AuthenticationFailed,
        None if error.is_closed() => FailureKind::ConnectionClosed,
        None => FailureKind::ProtocolViolation,
    };
    kind.into()
}

/// An error that has no kind of its own is told by its SQLSTATE.
fn with_sqlstate(kind: FailureKind, state: Option<&SqlState>) -> Failure {
    let state = state.filter(|_| kind == FailureKind::OtherError);
    Failure {
        kind,
        sqlstate: state.and_then(|state| Sqlstate::new(state.code())),
    }
}

/// The meaning of a server's error in answer to a question.
#[must_use]
pub fn failure(state: &SqlState) -> Failure {
    with_sqlstate(classify_sqlstate(state), Some(state))
}

/// The meaning of an error of a socket or of the TLS handshake.
#[must_use]
pub fn classify_io(error: &io::Error) -> FailureKind {
    known_source(error).unwrap_or(match error.kind() {
        io::ErrorKind::UnexpectedEof => FailureKind::ConnectionClosed,
        // A firewall's answer, no route: whatever it is, the server was not reached.
        _ => FailureKind::Unreachable,
    })
}

/// The meaning of an error in answer to a login.
fn classify_login(state: &SqlState) -> FailureKind {
    match classify_sqlstate(state) {
        // Poolers answer so to a wrong password, to an unknown database and when they are full.
        FailureKind::UpstreamLost => FailureKind::PoolerRefused,
        FailureKind::OtherError => match state.code() {
            "42501" => FailureKind::ConnectNotGranted,
            "55000" => FailureKind::DatabaseClosed,
            _ => FailureKind::OtherError,
        },
        kind => kind,
    }
}

/// What is wrong with the certificate of a server, or with its handshake.
const fn classify_tls(error: &TlsError) -> FailureKind {
    let TlsError::InvalidCertificate(error) = error else {
        return FailureKind::TlsFailed;
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            FailureKind::CertificateExpired
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            FailureKind::CertificateNotYetValid
        }
        CertificateError::UnknownIssuer => FailureKind::CertificateIssuerUnknown,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            FailureKind::CertificateNameMismatch
        }
        CertificateError::BadEncoding
        | CertificateError::UnhandledCriticalExtension
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        | CertificateError::InvalidPurpose
        | CertificateError::InvalidPurposeContext { .. }
        | CertificateError::Other(_) => FailureKind::CertificateUnsupported,
        _ => FailureKind::TlsFailed,
    }
}

#[must_use]
pub fn classify_sqlstate(state: &SqlState) -> FailureKind {
    match state.code() {
        "57P03" => FailureKind::Starting,
        "57P01" | "57P02" => FailureKind::Stopping,
        "53300" => FailureKind::Saturated,
        "28P01" | "28000" => FailureKind::AuthenticationFailed,
        "3D000" => FailureKind::DatabaseMissing,
        // A server that speaks says nothing of connections: a pooler or proxy in front of it does.
        code if code.starts_with("08") => FailureKind::UpstreamLost,
        code if ["53", "58", "XX"].iter().any(|class| code.starts_with(class)) => FailureKind::ServerFailing,
        _ => FailureKind::OtherError,
    }
}

/// The first source whose type or kind says what happened, from the outside in.
fn known_source(error: &(dyn Error + 'static)) -> Option<FailureKind> {
    std::iter::successors(Some(error), |error| inner(*error)).find_map(|source| {
        if let Some(breach) = source.downcast_ref::<Breach>() {
            Some(classify_breach(*breach))
        } else if let Some(error) = source.downcast_ref::<DbError>() {
            Some(classify_login(error.code()))
        } else if let Some(error) = source.downcast_ref::<TlsError>() {
            Some(classify_tls(error))
        } else if source.is::<InvalidDnsNameError>() {
            Some(FailureKind::TlsFailed)
        } else {
            source.downcast_ref::<io::Error>().and_then(classify_kind)
        }
    })
}

/// The source of an error. An [`io::Error`] calls the source of what it wraps its own: what it wraps comes first here.
fn inner<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
}

const fn classify_breach(breach: Breach) -> FailureKind {
    match breach {
        Breach::PasswordMethod => FailureKind::PasswordMethodRefused,
        Breach::Iterations => FailureKind::ScramIterationsRefused,
        Breach::TooLong => FailureKind::ReplyTooLong,
        Breach::NotTheProtocol => FailureKind::ProtocolViolation,
        Breach::Closed => FailureKind::ConnectionClosed,
    }
}

/// The kinds that only a socket has: a reader of malformed frames reports the others, too.
fn classify_kind(error: &io::Error) -> Option<FailureKind> {
    if is_own_lack(error) {
        return Some(FailureKind::OutOfResources);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Some(FailureKind::ConnectRefused),
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Some(FailureKind::ConnectionReset)
        }
        io::ErrorKind::TimedOut => Some(FailureKind::TimedOut),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            Some(FailureKind::Unreachable)
        }
        _ => None,
    }
}

/// Whether the kernel says that this process, or its node, has no more to give.
pub(super) fn is_own_lack(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw),
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS | Errno::EADDRNOTAVAIL)
    )
}

#[cfg(test)]
mod tests;
