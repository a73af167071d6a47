//! What each reason and each failure means, and what to do: all of these sentences are here.

use distributary_api::ServerStatus;
use distributary_core::decision::TargetState;
use distributary_core::health::Reason;
use distributary_core::observation::{FailureKind, Role};
use distributary_core::write_primary::Obstacle;

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
        Reason::Serving | Reason::WeightZero | Reason::SameServer | Reason::Draining | Reason::Disabled
    )
}

/// What a reason means.
#[must_use]
pub const fn of(reason: Reason) -> Advice {
    Advice {
        means: means(reason),
        next: next(reason),
    }
}

/// What is the case.
const fn means(reason: Reason) -> &'static str {
    match reason {
        Reason::Serving => "The server is well.",
        Reason::PrimaryInRecovery => {
            "The declared primary is a standby, and no other server has taken over the writes."
        }
        Reason::ReadOnly => {
            "The server is the write primary, but takes no writes: its configuration sets default_transaction_read_only to on."
        }
        Reason::Saturated => "The server has no free connection.",
        Reason::AnswersWithError => "The server answers with an error that says nothing about its health.",
        Reason::ConfigurationHeld => {
            "A Secret, the login or TLS prevents checks of the server, or the operator lacks a resource for them; the server keeps the traffic that it had."
        }
        Reason::Returning => "The server was out of the routes, and receives a growing share of the reads.",
        Reason::AdmittedEarly => {
            "The circuit of the server is not closed, but its newest check was good and too few other servers can serve."
        }
        Reason::Held => "No server of the route is well, so the route keeps this one.",
        Reason::Suspect => {
            "The server refused, reset or closed connections twice, or it fails and never had a good check."
        }
        Reason::Starting => "The server is starting up or shutting down.",
        Reason::StillStarting => {
            "The server has been starting up, recovering or shutting down for longer than healthCheck.failoverTimeout."
        }
        Reason::CircuitOpen => {
            "Checks of the server failed circuitBreaker.failureThreshold times in a row, or for healthCheck.failoverTimeout; or the server was suspected ten times within 10 minutes."
        }
        Reason::Lagging => "The server lags by more than replicationLag, or maxLag of the class, allows.",
        Reason::ReplayStalled => {
            "The server lags by more than replicationLag, or maxLag of the class, allows, and its replay stands still."
        }
        Reason::LagUnknown => "The lag of the server is not known.",
        Reason::ProbeQueryFailed => {
            "The server did not answer the probeQuery of the class for healthCheck.failoverTimeout."
        }
        Reason::NameUnresolved => "The host name has no address.",
        Reason::NotCheckedYet => "The first check has not ended yet.",
        Reason::ConfigurationFailed => {
            "A Secret, the login or TLS prevents checks of the server, or the operator lacks a resource for them; the server never served before."
        }
        Reason::AddressRefused => "The address of the server may not be used.",
        Reason::WritableReplica => "The server takes writes, but is not the write primary.",
        Reason::IdentityMismatch => "The server belongs to another database system than the primary.",
        Reason::Diverged => "The server has log that the write primary lacks, or follows another server.",
        Reason::NotFollowing => "The server has not proven yet that it follows the write primary.",
        Reason::FamilyNotServed => {
            "The server is well, but the Service of the route cannot carry its address, which is of another IP family."
        }
        Reason::WeightZero => "The weight is 0: the server is checked, and receives no reads.",
        Reason::NoReadyPod => {
            "The Service of the endpoint has no ready pod, or the operator could not read it."
        }
        Reason::SameServer => "The server is that of another endpoint, and is used under that name.",
        Reason::Draining => {
            "The state of the server is Draining: it is checked, and receives no new connections."
        }
        Reason::Disabled => "The state of the server is Disabled: it is neither checked nor in a route.",
    }
}

/// What must happen next; `None`: nothing.
const fn next(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::PrimaryInRecovery => {
            "If another server is the primary, add it to the policy, or name it in failover.acceptPrimary if it is there; otherwise promote one."
        }
        Reason::ReadOnly => {
            "Find out why the server was set so, for example because its disk was full; then set default_transaction_read_only to off."
        }
        Reason::Saturated => {
            "Raise max_connections on the server, or reduce the connection pools of its clients."
        }
        Reason::AnswersWithError => {
            "Look in the server's log for errors of the user and the database of the checks."
        }
        Reason::ConfigurationHeld | Reason::ConfigurationFailed => "Fix the cause that the failure names.",
        Reason::Returning => "Wait: good checks bring the server back to its full share.",
        Reason::AdmittedEarly => "Look at the reasons of the other servers.",
        Reason::Held => {
            "Fix the cause that the failure names; if all servers have the same failure, check the network of the operator."
        }
        Reason::Suspect => {
            "Check that the server runs and accepts connections: it returns after two good checks, or two errors of its own such as Saturated."
        }
        Reason::Starting => {
            "Wait until the server has started: it returns after two good checks, or two errors of its own such as Saturated."
        }
        Reason::StillStarting => {
            "Look in its log: it may have much log to replay, or be a standby with hot_standby = off, which accepts no connections."
        }
        Reason::CircuitOpen => {
            "Check that the server answers: from retryAt on, good checks let it return in steps."
        }
        Reason::Lagging => {
            "Look at the load and the network of the server, or raise the bound: it returns when its lag is down to replicationLag.recover, or half of maxLag."
        }
        Reason::ReplayStalled => {
            "Look for a paused replay, a conflict with a long query, a full disk, settings below those of the primary, an archive without new files, or a lost connection to the primary."
        }
        Reason::LagUnknown => {
            "Wait for a heartbeat. If it stays so under replicationLag.source Wal, the server does not tell its log position: set the source to Query or None."
        }
        Reason::ProbeQueryFailed => {
            "Run the query on the server as the user of the checks: from retryAt on, good answers let the class return in steps."
        }
        Reason::NameUnresolved => "Check DNS and the field host.",
        Reason::NotCheckedYet => "Wait for the check.",
        Reason::AddressRefused => "Set another host, or correct DNS and then edit the policy.",
        Reason::WritableReplica => {
            "If the write primary has the right data, rebuild this server as a standby; if this one has it, name it in failover.acceptPrimary, and stop the other one."
        }
        Reason::IdentityMismatch => {
            "Correct the host of the server, or identity.systemIdentifier; rebuild a replica that is a copy of another database. A logical replica cannot be a replica of a policy."
        }
        Reason::Diverged => {
            "Let the server replicate from the write primary: check primary_conninfo, and rebuild the server where it has log of its own, for example with pg_rewind."
        }
        Reason::NotFollowing => {
            "If it stays so, check from which server it replicates; an old primary may have to be rebuilt, for example with pg_rewind."
        }
        Reason::FamilyNotServed => {
            "Add the family to spec.ipFamilies of the Service, if the cluster has both families; or name the server by an address of the family of the Service."
        }
        Reason::NoReadyPod => "Check the Service and its pods.",
        Reason::Serving | Reason::WeightZero | Reason::SameServer | Reason::Draining | Reason::Disabled => {
            return None;
        }
    })
}

/// What must happen next of a server: of one that is held, about what it is held in spite of. `None`: nothing.
#[must_use]
pub fn next_of(state: &TargetState) -> Option<&'static str> {
    next_step(state.reason, state.despite, state.role, state.no_lag.is_some())
}

/// The same in the words of a status. `None`: nothing, or the reason is of another version.
#[must_use]
pub fn next_in_words(server: &ServerStatus) -> Option<&'static str> {
    let reason = Reason::from_word(&server.reason)?;
    let despite = server.held_despite.as_deref().and_then(Reason::from_word);
    let role = Role::from_word(&server.role);
    next_step(reason, despite, role, server.lag_answer.is_some())
}

/// `answers`: whether a `lagQuery` answers something else than a lag.
fn next_step(
    own: Reason,
    despite: Option<Reason>,
    role: Option<Role>,
    answers: bool,
) -> Option<&'static str> {
    let reason = despite.unwrap_or(own);
    if reason == Reason::LagUnknown && answers {
        return Some(LAG_QUERY);
    }
    // Of those that take writes only the write primary is held.
    let is_down = matches!(
        despite,
        Some(Reason::Suspect | Reason::CircuitOpen | Reason::StillStarting)
    );
    if is_down && role == Some(Role::Primary) {
        return Some(LOST_PRIMARY);
    }
    next(reason).or(next(own))
}

/// What must happen next where the write primary is down, in order.
const LOST_PRIMARY: &str = "Bring the server back. If it is lost, see that it stays stopped, then promote a standby that may take over the writes: they follow it.";

/// What must happen next where a `lagQuery` answers something else than a lag.
const LAG_QUERY: &str = "Run lagQuery on the server as the user of the checks, and correct it: it must answer one number of seconds, also where nothing is replayed.";

/// Why a server may not take over the writes.
#[must_use]
pub const fn of_obstacle(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::NotActive => "the state of its endpoint is Draining or Disabled",
        Obstacle::Pinned => "failover.primaryRole is Pinned, and its endpoint is not the declared primary",
        Obstacle::NotPromotable => "promotable of its endpoint is false",
        Obstacle::IdentityMismatch => "it belongs to another database system",
        Obstacle::IdentityUnknown => "its system identifier, or that of this database, is not known",
        Obstacle::OlderTimeline => "it takes writes on an older timeline than the last write primary",
        Obstacle::TimelineUnknown => "it takes writes, and does not tell on which timeline",
        Obstacle::Contested => "it was promoted while the write primary took writes",
        Obstacle::NeverStandby => "it takes writes, and this policy never saw it as a standby",
        Obstacle::NotProven => "it took writes when it was last seen, and its newest checks do not prove it",
    }
}

/// What a failed check found, and what to look at.
#[must_use]
pub const fn of_failure(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::ConnectRefused => {
            "nothing listens on the port: check that the server runs, and check host and port"
        }
        FailureKind::ConnectionReset => {
            "the connection was reset: check the server, and any firewall or load balancer in front of it"
        }
        FailureKind::ConnectionClosed => "the server ended the connection without an answer: look in its log",
        FailureKind::TimedOut => {
            "the server did not answer in time: check its load, the network and firewalls, or raise healthCheck.timeout"
        }
        FailureKind::Unreachable => {
            "no network path leads to the server: check the network and NetworkPolicies"
        }
        FailureKind::Starting => "the server is starting up, recovering or shutting down: wait",
        FailureKind::Stopping => "the server is shutting down: start it again",
        FailureKind::Saturated => {
            "the server has too many connections: raise max_connections or the connection limit of the role"
        }
        FailureKind::AuthenticationFailed => {
            "the server refused the login: check user and password in the Secret; the line of pg_hba.conf for the user, the database, the network of the operator and TLS; and the role, which needs LOGIN and a password of scram-sha-256 that has not expired"
        }
        FailureKind::DatabaseMissing => "the database does not exist: correct connection.database",
        FailureKind::ConnectNotGranted => {
            "the role lacks a privilege for the login: GRANT CONNECT ON DATABASE, for the database of connection.database"
        }
        FailureKind::DatabaseClosed => {
            "the database of connection.database accepts no connections: ALTER DATABASE with ALLOW_CONNECTIONS true, or correct the name"
        }
        FailureKind::CertificateExpired => "the certificate of the server has expired: renew it",
        FailureKind::CertificateNotYetValid => {
            "the certificate of the server is not valid yet: check the clocks of the node and of the CA"
        }
        FailureKind::CertificateIssuerUnknown => {
            "no known CA signed the certificate of the server: put the certificate of its CA into a Secret, and name that in connection.tls.caSecretRef"
        }
        FailureKind::CertificateNameMismatch => {
            "the certificate of the server names another host: check the field host and the alternative names of the certificate"
        }
        FailureKind::CertificateUnsupported => {
            "the certificate of the server cannot be verified: make one of X.509 version 3 for servers, that is not the certificate of a CA, or put the certificate itself into tls.caSecretRef"
        }
        FailureKind::TlsModeTooLow => {
            "the operator demands more of every login than tls.mode, or sslmode of the URL, asks for: raise it to what --require-tls says"
        }
        FailureKind::TlsFailed => {
            "the TLS handshake failed: check the server's certificate, tls.clientCertSecretRef and the TLS versions of the server"
        }
        FailureKind::TlsNotOffered => {
            "the server does not offer TLS: set ssl = on there, or connection.tls.mode to Disable, where nobody else can read the network"
        }
        FailureKind::PasswordMethodRefused => {
            "the server asks for another method than SCRAM, such as a password in clear text or as MD5, which the operator never sends: set password_encryption to scram-sha-256, then the password of the role anew, and name the method scram-sha-256 in pg_hba.conf"
        }
        FailureKind::PoolerRefused => {
            "the pooler or proxy refused the login: check the Secret, the database and the users that it knows, and whether it is full"
        }
        FailureKind::ScramIterationsRefused => {
            "the server asks for fewer than 4096 iterations of SCRAM, or for more than the operator does: set the password anew with scram_iterations = 4096, or raise --max-scram-iterations"
        }
        FailureKind::SecretNotForHost => {
            "the Secret with the credentials is for other hosts: correct the host, or the annotation distributary.dev/hosts of the Secret"
        }
        FailureKind::SecretUnresolved => {
            "a Secret that the policy names is missing or has a wrong value: the condition ResolvedRefs names it; plan does so in a warning, check in a line below the servers"
        }
        FailureKind::OutOfResources => {
            "the operator has no file, memory or local address left for a check: raise its limits; this says nothing about the server"
        }
        FailureKind::NameNotFound => "the host name has no address: check host and DNS",
        FailureKind::ResolverFailed => "the resolver did not answer: check DNS",
        FailureKind::AddressRefused => {
            "the address is special: loopback, link-local, multicast, unspecified or broadcast"
        }
        FailureKind::AddressOfService => {
            "the address is in a Service CIDR of the cluster, so it is a ClusterIP: name the Service in serviceRef instead"
        }
        FailureKind::AddressDenied => {
            "the address is in the list of the operator's flag --deny-cidrs: use another one, or change the flag"
        }
        FailureKind::AddressNotAllowed => {
            "the address is not in the list of the operator's flag --allow-cidrs: use another one, or change the flag"
        }
        FailureKind::ServerFailing => {
            "the server is out of disk space or memory, or its data is damaged: look in its log"
        }
        FailureKind::UpstreamLost => {
            "the pooler or proxy has no connection to the server behind it: check that server, and the pooler's log"
        }
        FailureKind::ProtocolViolation => {
            "what listens there does not speak the PostgreSQL protocol: check host and port"
        }
        FailureKind::ReplyTooLong => {
            "the server sent a message longer than any valid answer: check host and port"
        }
        FailureKind::OtherError => "the server answered with another error: look in its log",
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
