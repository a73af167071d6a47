//! Whether a database is well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::parts::{ConditionAnswer, Origin, ReasonAnswer, TargetAnswer};

/// Whether reads and writes of a policy are routed.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Health {
    /// Whether the condition Ready is True.
    pub healthy: bool,
    /// Of what.
    pub database: DatabaseHealth,
    #[serde(flatten)]
    pub origin: Origin,
}

/// The health of a database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DatabaseHealth {
    /// What the operator says of it.
    pub enhanced: EnhancedHealth,
    /// Where requests lead.
    pub routing: RoutingHealth,
    /// How the replicas are.
    pub replicas: ReplicaHealth,
}

/// What the operator says of a database.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct EnhancedHealth {
    /// Whether Ready is True and Degraded is not.
    pub healthy: bool,
    /// The conditions of the status.
    pub conditions: Vec<ConditionAnswer>,
    /// Of each endpoint that is not as it was declared.
    pub reasons: Vec<ReasonAnswer>,
}

/// Where requests lead.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RoutingHealth {
    /// SHA-256 of the routes that were written last, as in the status; null: none were written.
    pub revision: Option<String>,
    /// RoundRobin, Weighted, LeastConnections or Geographic; null: the policy was not accepted yet.
    pub strategy: Option<String>,
    /// The routes that have a Service.
    pub routes: BTreeMap<String, RouteTargets>,
}

/// One route.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RouteTargets {
    /// Served, Fallback, Held or Empty, as in the status; null: not in the status.
    pub state: Option<String>,
    /// The servers in its EndpointSlices; null: the process that answered has not listed them yet. In mode Observe there are none.
    pub targets: Option<Vec<TargetAnswer>>,
}

/// How the replicas are.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaHealth {
    /// How many are well; null: not judged yet.
    pub healthy: Option<u32>,
    /// How many servers there are beside the write primary; null: the policy was not accepted yet.
    pub total: Option<u32>,
    /// The share of all transactions of the last minute that standbys did, 0 to 100; null: not known.
    pub replica_usage_percentage: Option<f64>,
    /// Their mean response time: of the last good checks of each, at most 32, in milliseconds; null: there were none.
    pub average_response_time: Option<f64>,
}
