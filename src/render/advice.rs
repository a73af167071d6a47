//! What each reason and each failure means for a person, and what must happen next: the one place of these sentences.

use distributary_core::health::Reason;
use distributary_core::observation::FailureKind;

/// A sentence each; both for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Advice {
    /// What is the case.
    pub means: &'static str,
    /// What must happen next; `None`: nothing.
    pub next: Option<&'static str>,
}

/// Whether an endpoint with this reason is as it was declared, so that nobody has to do anything.
#[must_use]
pub const fn is_plain(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Serving | Reason::WeightZero | Reason::Draining | Reason::Disabled
    )
}

/// What a reason means.
#[must_use]
pub const fn of(reason: Reason) -> Advice {
    let (means, next) = sentences(reason);
    let next = if next.is_empty() { None } else { Some(next) };
    Advice { means, next }
}

const fn sentences(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::Serving => ("It is well.", ""),
        Reason::PrimaryInRecovery => (
            "The declared primary is a standby, and nobody else holds the writes.",
            "Promote a server, or declare the one that is the primary.",
        ),
        Reason::Saturated => (
            "It has no free connection.",
            "Raise max_connections on it, or shrink the pools of its clients.",
        ),
        Reason::AnswersWithError => (
            "It answers with an error that says nothing of its health.",
            "Look into its log for the user and the database of the checks.",
        ),
        Reason::ConfigurationHeld => (
            "It cannot be checked because of a Secret, a login or TLS; what it served it serves on.",
            "Mend what its failure names.",
        ),
        Reason::Returning => (
            "It was out, and gets a growing share of the reads.",
            "Nothing: it is fully in after its good checks.",
        ),
        Reason::AdmittedEarly => (
            "Its circuit is not closed, but its newest check was good and nobody better is left.",
            "Look at the others: they are worse off.",
        ),
        Reason::Held => (
            "Nobody is well: it is routed all the same.",
            "Mend what its failure names; if all servers have the same one, look at the network of the operator.",
        ),
        Reason::Suspect => (
            "It refused, reset or closed connections twice, or never had a good check.",
            "Two good checks bring it back: see that the server runs and takes connections.",
        ),
        Reason::Starting => (
            "It is starting up or shutting down.",
            "Two good checks bring it back: wait for its start.",
        ),
        Reason::CircuitOpen => (
            "It failed for longer than healthCheck.failoverTimeout.",
            "A good check after the time of retryAt lets it return, step by step: see that the server answers.",
        ),
        Reason::Lagging => (
            "It is further behind than replicationLag, or maxLag of the class, allows.",
            "It must catch up to replicationLag.recover, or half of maxLag: look at its load and network, or raise the bound.",
        ),
        Reason::ReplayStalled => (
            "It is further behind than replicationLag, or maxLag of the class, allows, and its replay stands still.",
            "Look for a paused replay, a conflict with a long query, a full disk, or a lost connection to the primary.",
        ),
        Reason::LagUnknown => (
            "How far it is behind is not known.",
            "Wait for a heartbeat; for a server that does not tell its log position set replicationLag.source to Query or None.",
        ),
        Reason::ProbeQueryFailed => (
            "It did not answer the probeQuery of the class for healthCheck.failoverTimeout.",
            "An answer after the time of retryAt lets the class return, step by step: run the query there as the user of the checks.",
        ),
        Reason::NameUnresolved => ("Its name has no address.", "Look at DNS, and at host."),
        Reason::NotCheckedYet => ("Its first check is under way.", "Nothing: wait for the check."),
        Reason::ConfigurationFailed => (
            "It cannot be checked because of a Secret, a login or TLS, and it never served.",
            "Mend what its failure names.",
        ),
        Reason::AddressRefused => (
            "Its address is one that may not be used.",
            "Give it another host, or mend DNS and then edit the policy.",
        ),
        Reason::WritableReplica => (
            "It takes writes, and is not the primary.",
            "Rebuild it as a standby, or name it in failover.acceptPrimary.",
        ),
        Reason::IdentityMismatch => (
            "It belongs to another database system than the primary.",
            "Correct its host, or rebuild it from the primary.",
        ),
        Reason::Diverged => (
            "It replayed log that the timeline of the primary does not have.",
            "Rebuild it (pg_rewind).",
        ),
        Reason::WeightZero => ("Its weight is 0: it is checked, and never sent a read.", ""),
        Reason::NoReadyPod => (
            "The Service that it names has no ready pod, or could not be read.",
            "Look at the Service and at its pods.",
        ),
        Reason::Draining => ("Its state is Draining: it is checked, and sent nothing new.", ""),
        Reason::Disabled => ("Its state is Disabled: it is neither checked nor routed.", ""),
    }
}

/// What a failed check found, and what to look at.
#[must_use]
pub const fn of_failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::ConnectRefused => {
            "nothing listens there: see that the server runs; look at host and port"
        }
        FailureKind::ConnectionReset => {
            "the connection was reset: look at the server, and at a firewall or load balancer before it"
        }
        FailureKind::ConnectionClosed => {
            "the server ended the connection without an answer: look into its log"
        }
        FailureKind::TimedOut => {
            "no answer in time: look at its load, the network, a firewall that drops; or raise healthCheck.timeout"
        }
        FailureKind::Unreachable => "there is no way to it: look at the network and at NetworkPolicies",
        FailureKind::Starting => "it is starting up, recovering or shutting down: wait",
        FailureKind::Stopping => "it is shutting down: start it again",
        FailureKind::Saturated => {
            "too many connections: raise max_connections or the connection limit of the role"
        }
        FailureKind::AuthenticationFailed => "the login was refused: look at the Secret and at pg_hba.conf",
        FailureKind::DatabaseMissing => "there is no such database: correct connection.database",
        FailureKind::TlsFailed => {
            "the TLS handshake failed: the certificate is expired, names another host or has another CA"
        }
        FailureKind::TlsNotOffered => "the server offers no TLS: turn it on, or set tls.mode",
        FailureKind::PasswordMethodRefused => {
            "it asks for a password in clear text or as MD5, which is never sent: set password_encryption to scram-sha-256"
        }
        FailureKind::SecretUnresolved => "a Secret that it names is missing or wrong",
        FailureKind::OutOfResources => {
            "the operator has no file, memory or local address left for a check: raise its limits; it says nothing of the server"
        }
        FailureKind::NameNotFound => "its name has no address: look at host and at DNS",
        FailureKind::ResolverFailed => "the resolver did not answer: look at DNS",
        FailureKind::AddressRefused => {
            "its address is a special one (loopback, link-local, multicast), or the operator's rules refuse it"
        }
        FailureKind::ServerFailing => "the server is out of disk or memory, or damaged: look into its log",
        FailureKind::ProtocolViolation => "what answers there is no PostgreSQL: look at host and port",
        FailureKind::ReplyTooLong => "it sends more than an answer can be: look at host and port",
        FailureKind::OtherError => "it answers with an error of another kind: look into its log",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_sentence() {
        for known in Reason::ALL.iter().copied() {
            let advice = of(known);
            assert!(advice.means.ends_with('.'), "{known}");
            assert_eq!(is_plain(known), advice.next.is_none(), "{known}");
        }
    }
}
