//! The policies that a caller may read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::health::RoutingHealth;
use super::parts::{ConditionAnswer, FailoverAnswer, Origin, ReasonAnswer, ServerAnswer};
use super::replicas::ReplicaStatistics;

/// A page of policies, in the order of namespace and name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct PolicyList {
    /// The policies of this page.
    pub items: Vec<PolicyItem>,
    /// What to give as continue for the next page; null: this is the last one.
    pub r#continue: Option<String>,
    #[serde(flatten)]
    pub origin: Origin,
}

/// A policy in a page.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct PolicyItem {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Whether the condition Ready is True.
    pub healthy: bool,
    /// How many replicas are well; null: not judged yet.
    #[serde(rename = "healthyReplicas")]
    pub healthy_replicas: Option<u32>,
    /// How many replicas are declared; null: the policy was not accepted yet.
    #[serde(rename = "totalReplicas")]
    pub total_replicas: Option<u32>,
}

/// All that is known of a policy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAnswer {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The generation of the spec that was decided last; null: none was.
    pub generation: Option<i64>,
    /// Waiting (not every server was checked yet), Suspended or Decided; null: the policy was not accepted yet.
    pub decision: Option<String>,
    /// The endpoint that takes the writes, or took them last, as in the status; null: none did.
    pub write_primary: Option<String>,
    /// The conditions of the status.
    pub conditions: Vec<ConditionAnswer>,
    /// Of each endpoint that is not as it was declared.
    pub reasons: Vec<ReasonAnswer>,
    /// Where requests lead.
    pub routing: RoutingHealth,
    /// The declared primary first, then the replicas as declared.
    pub endpoints: Vec<ServerAnswer>,
    /// Of all of them.
    pub statistics: ReplicaStatistics,
    /// The last 10 times that other servers took over a route or gave it back, the newest last.
    pub history: Vec<FailoverAnswer>,
    #[serde(flatten)]
    pub origin: Origin,
}

impl PolicyAnswer {
    /// What is no change where it alone differs is left out: figures, and who told them.
    #[must_use]
    pub fn essence(&self) -> Self {
        let mut essence = self.clone();
        for server in &mut essence.endpoints {
            server.lag_milliseconds = None;
            server.lag_bytes = None;
            server.lag_at_least = None;
            server.response_time_milliseconds = None;
            server.connections = None;
            server.transactions = None;
            server.statistics = None;
        }
        essence.statistics = ReplicaStatistics::default();
        essence.origin = Origin::default();
        essence
    }
}

/// What the caller may do with a policy.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RightsAnswer {
    /// Whether the token may patch it, which every change needs. One with a URL that has a password needs rights on Secrets too.
    pub change: bool,
    /// Why not, for people; null: it may.
    pub message: Option<String>,
}
