//! The words of the conditions. A word that was published stays; docs/conditions.md explains each.

/// The type of a condition.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
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
    NameConflict,
    ForeignEndpoints,
    // Accepted.
    Valid,
    // ResolvedRefs.
    Resolved,
    SecretUnresolved,
    ServiceUnresolved,
    // Programmed.
    Programmed,
    WriteFailed,
    // Reconciling.
    Retrying,
    Settled,
    // Stalled.
    AddressRefused,
    Progressing,
    // Ready.
    Routable,
    RoutableByFallback,
    PrimaryUnreachable,
    NoPrimary,
    NoReadTarget,
    NotProgrammed,
    // Degraded.
    AllServing,
    EndpointsNotServing,
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
}
