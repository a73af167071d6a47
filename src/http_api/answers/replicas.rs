//! The servers of a policy.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parts::{Origin, ServerAnswer};

/// The servers of a policy, and their figures.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Replicas {
    /// The servers.
    pub status: ReplicaStatus,
    /// Figures of all of them.
    pub statistics: ReplicaStatistics,
    #[serde(flatten)]
    pub origin: Origin,
}

/// The servers of a policy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ReplicaStatus {
    /// The server that takes the writes, or took them last; while none did, the declared primary. null: the policy was not accepted
    /// yet.
    pub primary: Option<ServerAnswer>,
    /// The other servers, as declared: after a failover the declared primary is one of them.
    pub replicas: Vec<ServerAnswer>,
    /// How many are well.
    pub summary: ReplicaSummary,
}

/// How many replicas are well.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ReplicaSummary {
    /// How many servers there are beside the write primary, or are declared as replicas before they are judged; null: the policy
    /// was not accepted yet.
    pub total: Option<u32>,
    /// How many of them are standbys that are well and meant to serve reads; null: not judged yet.
    pub healthy: Option<u32>,
    /// How many are in a route; null: not judged yet.
    pub eligible: Option<u32>,
}

/// Figures of all servers of a policy, as the process that answered measured them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaStatistics {
    /// The share of all transactions of the last minute that standbys did, 0 to 100; null: not known.
    pub replica_usage_percentage: Option<f64>,
    /// The mean response time of the servers beside the write primary: of the last good checks of each, at most 32, in milliseconds;
    /// null: there were none.
    pub average_response_time: Option<f64>,
    /// Sessions of clients on all servers of which they are known, each server once; null: of none.
    pub connections: Option<u64>,
    /// The largest lag of a server beside the write primary, in milliseconds; null: none is known.
    pub worst_lag_milliseconds: Option<u64>,
}
