//! What the API answers. Doc comments are the descriptions in openapi.json. A time ends in Milliseconds; what is not known is
//! null, and never 0.

mod health;
mod parts;
mod policies;
mod replicas;
mod stats;

pub use health::{DatabaseHealth, EnhancedHealth, Health, ReplicaHealth, RouteTargets, RoutingHealth};
pub use parts::{
    ConditionAnswer, FailoverAnswer, Origin, RatesAnswer, ReasonAnswer, ResponseTimeAnswer, ServerAnswer,
    ServerStatistics, TargetAnswer,
};
pub use policies::{
    PoliciesChange, PoliciesSnapshot, PolicyAnswer, PolicyItem, PolicyList, PolicyName, RightsAnswer,
    StateAnswer,
};
pub use replicas::{ReplicaStatistics, ReplicaStatus, ReplicaSummary, Replicas};
pub use stats::{ReplicaStats, RouteStats, RoutingStats, Stats};
