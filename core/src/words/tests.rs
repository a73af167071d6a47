use crate::breaker::CircuitState;
use crate::health::Reason;
use crate::login::TlsMode;
use crate::observation::{FailureKind, Role};
use crate::outputs::Format;
use crate::plan::{Admission, RouteState};
use crate::policy::{DeclaredRole, EndpointState, Mode, OnPrimaryLoss, OnReadLoss, PrimaryRole, Strategy};
use crate::routing::{Destination, Priority, ReadFallback, ZoneHints};
use crate::write_primary::Obstacle;

/// Every word of a type, joined; each is read back as the value that it was written for.
macro_rules! all {
    ($name:ident) => {{
        for value in $name::ALL {
            assert_eq!($name::from_word(value.word()), Some(*value));
            assert_eq!(value.to_string(), value.word());
        }
        assert_eq!($name::from_word(""), None);
        assert_eq!($name::from_word("closed"), None);
        $name::ALL
            .iter()
            .map(|value| value.word())
            .collect::<Vec<_>>()
            .join(" ")
    }};
}

/// These stand in statuses, in routing.json, in policies and in metrics: a change breaks who reads them.
#[test]
fn words_that_were_published_stay() {
    assert_eq!(
        all!(Reason),
        "Serving PrimaryInRecovery ReadOnly Saturated AnswersWithError ConfigurationHeld Returning AdmittedEarly Held Suspect \
         Starting StillStarting CircuitOpen Lagging ReplayStalled LagUnknown NameUnresolved NotCheckedYet ConfigurationFailed \
         AddressRefused WritableReplica IdentityMismatch Diverged NotFollowing FamilyNotServed WeightZero ProbeQueryFailed NoReadyPod SameServer Draining Disabled"
    );
    assert_eq!(
        all!(FailureKind),
        "ConnectRefused ConnectionReset ConnectionClosed TimedOut Unreachable Starting Stopping Saturated \
         AuthenticationFailed DatabaseMissing ConnectNotGranted DatabaseClosed CertificateExpired CertificateNotYetValid \
         CertificateIssuerUnknown CertificateNameMismatch CertificateUnsupported TlsModeTooLow TlsFailed TlsNotOffered PoolerRefused PasswordMethodRefused ScramIterationsRefused \
         SecretNotForHost SecretUnresolved OutOfResources \
         NameNotFound ResolverFailed AddressRefused AddressOfService AddressDenied AddressNotAllowed ServerFailing UpstreamLost ProtocolViolation ReplyTooLong OtherError"
    );
    assert_eq!(
        all!(Obstacle),
        "NotActive Pinned NotPromotable IdentityMismatch IdentityUnknown OlderTimeline TimelineUnknown Contested NeverStandby \
         NotProven"
    );
    assert_eq!(all!(CircuitState), "Closed Open HalfOpen");
    assert_eq!(all!(Role), "Primary Standby");
    assert_eq!(Role::word_of(None), "Unknown");
    assert_eq!(Role::word_of(Some(Role::Standby)), "Standby");
    assert_eq!(all!(RouteState), "Served Fallback Held Empty");
    assert_eq!(all!(Admission), "Eligible AdmittedEarly Fallback Held");
    assert_eq!(all!(DeclaredRole), "Primary Replica");
    assert_eq!(all!(EndpointState), "Active Draining Disabled");
    assert_eq!(all!(Mode), "Enforce Observe Suspend");
    assert_eq!(all!(Strategy), "RoundRobin Weighted LeastConnections Geographic");
    assert_eq!(all!(PrimaryRole), "Follow Pinned");
    assert_eq!(all!(OnPrimaryLoss), "Hold Withdraw");
    assert_eq!(all!(OnReadLoss), "Hold Withdraw");
    assert_eq!(all!(ReadFallback), "DedicatedReplicas LaggingReplicas Primary");
    assert_eq!(
        all!(Destination),
        "Primary PrimaryPreferred Replicas ReplicasOnly"
    );
    assert_eq!(all!(Priority), "critical high medium low");
    assert_eq!(all!(ZoneHints), "Disabled Auto");
    assert_eq!(all!(Format), "Libpq Jdbc Env");
    assert_eq!(all!(TlsMode), "Disable Require VerifyCA VerifyFull");
}
