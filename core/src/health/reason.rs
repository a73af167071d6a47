//! Why a target stands as it does.

use crate::words::words;

/// Why a target stands as it does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Reason {
    Serving,
    /// The declared primary is in recovery: it serves reads, and no writes.
    PrimaryInRecovery,
    /// The write primary takes no writes, by its configuration: its routes stay.
    ReadOnly,
    /// Out of free connections; it stays.
    Saturated,
    /// It answers with an error that says nothing of its health; it stays.
    AnswersWithError,
    /// It cannot be checked because of a Secret, a login or TLS, or because the operator lacks something; what it served
    /// it serves on.
    ConfigurationHeld,
    Returning,
    AdmittedEarly,
    /// Nobody is well: it is routed all the same.
    Held,
    Suspect,
    Starting,
    /// For longer than `failoverTimeout`: a standby with `hot_standby = off` lets nobody in for ever.
    StillStarting,
    CircuitOpen,
    /// Too far behind.
    Lagging,
    /// Too far behind, and its replay stands still.
    ReplayStalled,
    /// How far it is behind is not known.
    LagUnknown,
    NameUnresolved,
    NotCheckedYet,
    ConfigurationFailed,
    AddressRefused,
    /// It takes writes, and is not the primary.
    WritableReplica,
    /// It belongs to another database system than the primary.
    IdentityMismatch,
    /// It has log that the write primary lacks, or follows somebody else.
    Diverged,
    /// It has yet to prove that it follows the write primary.
    NotFollowing,
    /// It is well, but the Service of the route cannot carry its address.
    FamilyNotServed,
    /// Weight 0: checked, never routed.
    WeightZero,
    /// Of a class: its probe query is not answered there.
    ProbeQueryFailed,
    /// The Service that it names has no ready pod.
    NoReadyPod,
    /// It is the server of another endpoint, and is used under that name.
    SameServer,
    /// No new connections; the sessions that are left are counted.
    Draining,
    Disabled,
}

impl Reason {
    /// Whether it is well as far as its newest check tells: what was found of it before stands, and says more.
    #[must_use]
    pub const fn stands_back(self) -> bool {
        matches!(
            self,
            Self::Serving | Self::Saturated | Self::AnswersWithError | Self::ConfigurationHeld
        )
    }

    /// Whether its newest check told nothing of its log, or there was none.
    #[must_use]
    pub const fn is_silent(self) -> bool {
        matches!(
            self,
            Self::Suspect
                | Self::Starting
                | Self::StillStarting
                | Self::CircuitOpen
                | Self::NameUnresolved
                | Self::NotCheckedYet
                | Self::ConfigurationFailed
                | Self::AddressRefused
        )
    }

    /// Whether a figure of lag tells why.
    #[must_use]
    pub const fn is_of_lag(self) -> bool {
        matches!(self, Self::Lagging | Self::ReplayStalled)
    }
}

words!(Reason);
