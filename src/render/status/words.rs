//! The words of the status. A word that was published stays; docs/conditions.md explains those of the conditions.

/// The type of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum ConditionType {
    Accepted,
    ResolvedRefs,
    Programmed,
    Reconciling,
    Stalled,
    Ready,
    Degraded,
    PrimaryReachable,
    ReadFallbackActive,
    SplitBrainSuspected,
    StrategyEnforced,
}

impl ConditionType {
    /// The status of the condition while all is well.
    #[must_use]
    pub const fn good(self) -> ConditionStatus {
        match self {
            Self::Accepted
            | Self::ResolvedRefs
            | Self::Programmed
            | Self::Ready
            | Self::PrimaryReachable
            | Self::StrategyEnforced => ConditionStatus::True,
            Self::Reconciling
            | Self::Stalled
            | Self::Degraded
            | Self::ReadFallbackActive
            | Self::SplitBrainSuspected => ConditionStatus::False,
        }
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// What a failover was.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum FailoverKind {
    /// Another endpoint takes the writes.
    PrimaryMoved,
    /// The route of writes leads nowhere.
    WritesWithdrawn,
    /// The read fallback serves the route.
    ReadFallback,
    /// Replicas serve the route again.
    ReadFallbackEnded,
    /// Servers of other regions serve the route of a region.
    RegionLeft,
    /// Servers of the region serve its route again.
    RegionRegained,
}

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum ConditionReason {
    // Of several conditions.
    IdentityChanged,
    Invalid,
    Observing,
    Suspended,
    Waiting,
    AwaitingProof,
    NameConflict,
    ForeignEndpoints,
    ForeignOperator,
    FamilyNotServed,
    TooLarge,
    SecretUnresolved,
    // Accepted.
    Valid,
    // ResolvedRefs.
    Resolved,
    ServiceUnresolved,
    // Programmed.
    Programmed,
    WriteFailed,
    // Reconciling.
    Retrying,
    Settled,
    // Stalled.
    AddressRefused,
    ConfigurationFailed,
    Progressing,
    // Ready.
    Routable,
    RoutableByFallback,
    RoutableUnproven,
    PrimaryUnreachable,
    NoPrimary,
    PrimaryBelowMark,
    ReadOnly,
    PrimaryUnproven,
    NoReadTarget,
    NotProgrammed,
    // Degraded.
    AllServing,
    EndpointsNotServing,
    ConnectionLimit,
    // PrimaryReachable.
    Writable,
    Answers,
    InRecovery,
    OlderTimeline,
    NotReachable,
    NotChecked,
    NotDeclared,
    // ReadFallbackActive.
    NotNeeded,
    NoReplicaEligible,
    TooFewReplicas,
    ClassByFallback,
    // SplitBrainSuspected.
    NotSuspected,
    SeveralWritable,
    // StrategyEnforced.
    ByClients,
    ByRegion,
    Everywhere,
    ServicesSpreadEvenly,
    DedicatedWithoutService,
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use strum::VariantArray;

    use super::*;

    /// Every word of a type, joined; each is read back as the value that it was written for.
    macro_rules! words {
        ($name:ident) => {{
            for value in $name::VARIANTS {
                assert_eq!($name::from_str(value.into_str()), Ok(*value));
            }
            let words: Vec<_> = $name::VARIANTS.iter().map($name::into_str).collect();
            words.join(" ")
        }};
    }

    #[test]
    fn words_that_were_published_stay() {
        assert_eq!(
            words!(ConditionType),
            "Accepted ResolvedRefs Programmed Reconciling Stalled Ready Degraded PrimaryReachable ReadFallbackActive \
             SplitBrainSuspected StrategyEnforced"
        );
        assert_eq!(words!(ConditionStatus), "True False Unknown");
        assert_eq!(
            words!(FailoverKind),
            "PrimaryMoved WritesWithdrawn ReadFallback ReadFallbackEnded RegionLeft RegionRegained"
        );
    }
}
