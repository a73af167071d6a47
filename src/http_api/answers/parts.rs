//! What several answers have.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who answered, and when.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Origin {
    /// The Pod of the operator that answered, whose figures these are.
    pub answered_by: String,
    /// The holder of the operator's Lease; null: nobody holds it, or it is not known. Without a Lease: the process that answered.
    pub leader: Option<String>,
    /// The time of the answer.
    #[schema(format = DateTime)]
    pub observed_at: String,
}

/// A condition of the status.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionAnswer {
    /// Such as Ready or Degraded.
    pub r#type: String,
    /// True, False or Unknown.
    pub status: String,
    /// One word.
    pub reason: String,
    /// For people.
    pub message: String,
    /// The time of the last change of its status.
    #[schema(format = DateTime)]
    pub last_transition_time: String,
}

/// Why an endpoint is not as it was declared.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReasonAnswer {
    /// The id of the endpoint.
    pub endpoint: String,
    /// One word, as in the status.
    pub reason: String,
    /// What is the case.
    pub means: String,
    /// What must happen next; null: nothing.
    pub next: Option<String>,
}

/// A server in the EndpointSlices of a route.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetAnswer {
    /// The id of its endpoint; null: no endpoint of the newest decision has this address.
    pub endpoint: Option<String>,
    /// Its address.
    pub address: String,
    /// Its TCP port.
    pub port: u16,
}

/// One declared server, with what this process knows of it: of several pods behind a Service the longest lag, and the connections and
/// transactions of the one that is nearest to its limit of connections.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerAnswer {
    /// The id of the endpoint.
    pub id: String,
    /// Its name for people; null: none is declared.
    pub name: Option<String>,
    /// The state that the policy declares: Active, Draining or Disabled.
    pub state: String,
    /// Whether it is well; null: not judged yet.
    pub healthy: Option<bool>,
    /// Whether it is in a route; null: not judged yet.
    pub eligible: Option<bool>,
    /// Primary, Standby or Unknown, by its newest good check.
    pub role: String,
    /// Why it is in a route, or in none; null: not judged yet.
    pub reason: Option<String>,
    /// What the reason means; null: not judged yet.
    pub means: Option<String>,
    /// Why it would leave its routes if another server could serve them; null: it is not held.
    pub held_despite: Option<String>,
    /// What that means; null: it is not held.
    pub held_despite_means: Option<String>,
    /// What must happen next; null: nothing, or not judged yet.
    pub next: Option<String>,
    /// The time of the last change of its state, as in the status; null: not in the status.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// Why it may not take over the writes, one word; of a standby: if it were promoted. null: it may, it is the write primary, or its
    /// role is Unknown.
    pub cannot_take_over: Option<String>,
    /// The same in a sentence, without a capital letter and a dot; null: as above.
    pub cannot_take_over_means: Option<String>,
    /// The failure of its newest check; null: it did not fail.
    pub failure: Option<String>,
    /// Closed, Open or HalfOpen; null: not judged yet.
    pub circuit: Option<String>,
    /// The host as declared, or as the URL names it; null: not known.
    pub host: Option<String>,
    /// The TCP port; null: not known.
    pub port: Option<u16>,
    /// The address of its last good check; null: there was none, or it is a Service of pods.
    pub address: Option<String>,
    /// Its region; null: none is declared.
    pub region: Option<String>,
    /// Its declared share of the reads.
    pub weight: u16,
    /// Its place in ordered lists, lowest first.
    pub priority: u16,
    /// The size of a client's pool for it.
    pub max_connections: u32,
    /// How far it is behind, in milliseconds; null: it is no standby, or its lag is not known.
    pub lag_milliseconds: Option<u64>,
    /// How far it is behind, in bytes of log; null: as above, or the source of the lag tells no positions.
    pub lag_bytes: Option<u64>,
    /// Whether it is further behind than that, by how much is not known; null: its lag is not known.
    pub lag_at_least: Option<bool>,
    /// How long its newest good check took, in milliseconds; null: there was none.
    pub response_time_milliseconds: Option<f64>,
    /// Sessions of clients on it; null: not known.
    pub connections: Option<u32>,
    /// What it declares as max_connections; null: not known.
    pub server_max_connections: Option<u32>,
    /// Sessions that ordinary roles can have on it: max_connections less superuser_reserved_connections and reserved_connections;
    /// null: not known.
    pub usable_connections: Option<u32>,
    /// Transactions since its statistics began, all databases, checks included; null: not known.
    pub transactions: Option<u64>,
    /// Rates and times of it; null: it was not checked.
    pub statistics: Option<ServerStatistics>,
}

/// Rates and times of one server, as the process that answered measured them; of several pods behind a Service, of the one that
/// told last.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatistics {
    /// Of the last 10 s.
    pub ten_seconds: RatesAnswer,
    /// Of the last minute.
    pub minute: RatesAnswer,
    /// Of the last 5 minutes.
    pub five_minutes: RatesAnswer,
    /// Of the last good checks; null: there was none.
    pub response_time: Option<ResponseTimeAnswer>,
    /// Failed checks since it is watched, by the class of the failure.
    pub errors: BTreeMap<String, u64>,
    /// The longest lag of the last 5 minutes, in milliseconds; null: none was known, or it is a primary.
    pub worst_lag_milliseconds: Option<u64>,
}

/// Over one window; null: the window is not full, or the server restarted, reset its statistics or was silent in it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RatesAnswer {
    /// Transactions per second, all databases and clients, without those of the operator as far as these are known.
    pub transactions: Option<f64>,
    /// The mean number of client sessions.
    pub sessions: Option<f64>,
    /// Rows that scans and indexes returned per second.
    pub rows_returned: Option<f64>,
    /// Rows inserted, updated and deleted per second; of a standby 0.
    pub rows_changed: Option<f64>,
}

/// How long the last good checks took.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResponseTimeAnswer {
    /// How many checks these times are of, at most 32.
    pub checks: u32,
    /// The mean, in milliseconds.
    pub mean_milliseconds: f64,
    /// Half of the checks took as long or less, in milliseconds.
    pub p50_milliseconds: f64,
    /// 95 percent of the checks took as long or less, in milliseconds.
    pub p95_milliseconds: f64,
}

/// One time that other servers took over a route, or gave it back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailoverAnswer {
    /// The time of the change.
    #[schema(format = DateTime)]
    pub at: String,
    /// The name of the route.
    pub route: String,
    /// PrimaryMoved, WritesWithdrawn, ReadFallback, ReadFallbackEnded, RegionLeft or RegionRegained.
    pub kind: String,
    /// The endpoints that served the route before.
    pub from: Vec<String>,
    /// The endpoints that serve it since then.
    pub to: Vec<String>,
    /// The reasons of the endpoints that left it.
    pub reason: String,
}
