//! Figures of the routes and of the replicas.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parts::{Origin, ServerAnswer};
use super::replicas::ReplicaStatistics;

/// Figures of a policy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Stats {
    /// Absent where the component replicas was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub routing: Option<RoutingStats>,
    /// Absent where the component routing was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub replicas: Option<ReplicaStats>,
    #[serde(flatten)]
    pub origin: Origin,
}

/// Figures of the routes.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoutingStats {
    /// SHA-256 of the routes that were written last, as in the status; null: none were written.
    pub revision: Option<String>,
    /// The time when they were written; null: none were.
    #[schema(format = DateTime)]
    pub programmed_at: Option<String>,
    /// RoundRobin, Weighted, LeastConnections or Geographic; null: the policy was not accepted yet.
    pub strategy: Option<String>,
    /// Enforce, Observe or Suspend; null: the policy was not accepted yet.
    pub mode: Option<String>,
    /// The routes that have a Service.
    pub routes: BTreeMap<String, RouteStats>,
    /// How many changes of routes the status remembers, 0 to 10.
    pub failovers: u32,
}

/// Figures of one route.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RouteStats {
    /// Served, Fallback, Held or Empty, as in the status; null: not in the status.
    pub state: Option<String>,
    /// How many servers its EndpointSlices have; null: the process that answered has not listed them yet.
    pub targets: Option<u32>,
}

/// Figures of the replicas.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ReplicaStats {
    /// How many servers there are beside the write primary; null: the policy was not accepted yet.
    pub total: Option<u32>,
    /// How many are well; null: not judged yet.
    pub healthy: Option<u32>,
    /// Of all of them.
    pub statistics: ReplicaStatistics,
    /// Of each of them, as declared.
    pub endpoints: Vec<ServerAnswer>,
}
