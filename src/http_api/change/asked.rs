//! What a caller asks for.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::patch::{Addition, Edit, secret_name};
use crate::http_api::names;
use crate::http_api::problem::Problem;
use distributary_api::validate;
use distributary_core::ids::PolicyKey;

/// A change of a policy.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Change {
    /// What to do.
    pub action: Action,
    /// The replica, for add_replica and update_replica; for remove_replica its id alone is read.
    #[serde(default)]
    #[schema(nullable = false)]
    pub replica_config: Option<ReplicaConfig>,
    /// The id of the replica, for remove_replica.
    #[serde(default)]
    #[schema(nullable = false)]
    pub replica_id: Option<String>,
    /// Whether the spec is changed, though GitOps manages it. Default: false.
    #[serde(default)]
    pub force: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Check every server now.
    ForceHealthCheck,
    /// Add a replica.
    AddReplica,
    /// Change fields of a replica; those that are left out stay.
    UpdateReplica,
    /// Remove a replica.
    RemoveReplica,
}

/// A replica.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicaConfig {
    /// The id of the endpoint: a DNS-1123 label.
    #[schema(min_length = 1, max_length = 40)]
    pub id: String,
    /// A name for people.
    #[serde(default)]
    #[schema(nullable = false, min_length = 1, max_length = 63)]
    pub name: Option<String>,
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE`, for add_replica alone. One with a password goes into the Secret
    /// POLICY-ID; of one without, host, port, database and sslmode go into the policy.
    #[serde(default)]
    #[schema(nullable = false)]
    pub url: Option<String>,
    /// Its region.
    #[serde(default)]
    #[schema(nullable = false, min_length = 1, max_length = 63)]
    pub region: Option<String>,
    /// Its share of the reads under the strategy Weighted.
    #[serde(default)]
    #[schema(nullable = false, maximum = 1000)]
    pub weight: Option<u16>,
    /// The size of a client's pool for it.
    #[serde(default)]
    #[schema(nullable = false, minimum = 1, maximum = 100_000)]
    pub max_connections: Option<u32>,
    /// False: the state Disabled. True: Active. Default for add_replica: true.
    #[serde(default)]
    #[schema(nullable = false)]
    pub enabled: Option<bool>,
    /// Its place in ordered lists, lowest first.
    #[serde(default)]
    #[schema(nullable = false, maximum = 1000)]
    pub priority: Option<u16>,
}

/// Without the URL, which may have a password.
impl fmt::Debug for ReplicaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicaConfig")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// The change that a body asks for.
///
/// # Errors
/// Where it is wrong, without its text, which may have a password.
pub fn read(body: &[u8]) -> Result<Change, Problem> {
    serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Problem::bad(format!(
            "the body must be a change as /openapi.json describes it: look at line {line}, column {column}"
        ))
    })
}

impl Change {
    /// What is changed of the policy. `now`: the value of a request for checks.
    ///
    /// # Errors
    /// What is missing, too much or wrong.
    pub fn edit(&self, key: &PolicyKey, now: &str) -> Result<Edit, Problem> {
        let of = |config: &Option<ReplicaConfig>| config.is_some();
        match (self.action, &self.replica_config, &self.replica_id) {
            (Action::ForceHealthCheck, None, None) => Ok(Edit::Check(now.to_owned())),
            (Action::AddReplica, Some(config), None) => config.addition(key).map(Edit::Add),
            (Action::UpdateReplica, Some(config), None) => config.update(),
            (Action::RemoveReplica, Some(ReplicaConfig { id, .. }), None)
            | (Action::RemoveReplica, None, Some(id)) => Ok(Edit::Remove(names::endpoint(id)?.to_owned())),
            (Action::ForceHealthCheck, ..) => Err(Problem::bad(
                "force_health_check has neither replicaConfig nor replicaId",
            )),
            (Action::RemoveReplica, ..) => Err(Problem::bad(
                "remove_replica has replicaId, or replicaConfig with an id",
            )),
            _ if of(&self.replica_config) => Err(Problem::bad("replicaId is for remove_replica alone")),
            _ => Err(Problem::bad("the action needs replicaConfig")),
        }
    }
}

impl ReplicaConfig {
    /// The fields of an endpoint, but for those of its address.
    fn fields(&self) -> Map<String, Value> {
        let state = self
            .enabled
            .map(|enabled| if enabled { "Active" } else { "Disabled" });
        let fields = [
            ("displayName", self.name.as_ref().map(|name| json!(name))),
            ("region", self.region.as_ref().map(|region| json!(region))),
            ("weight", self.weight.map(|weight| json!(weight))),
            ("maxConnections", self.max_connections.map(|most| json!(most))),
            ("priority", self.priority.map(|priority| json!(priority))),
            ("state", state.map(|state| json!(state))),
        ];
        let given = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        given.collect()
    }

    fn update(&self) -> Result<Edit, Problem> {
        let id = names::endpoint(&self.id)?.to_owned();
        let fields = self.fields();
        if self.url.is_some() {
            return Err(Problem::bad(
                "update_replica changes no url: remove the replica, and add it with the new one",
            ));
        }
        if fields.is_empty() {
            return Err(Problem::bad("update_replica needs a field beside id"));
        }
        Ok(Edit::Update { id, fields })
    }

    fn addition(&self, key: &PolicyKey) -> Result<Addition, Problem> {
        let id = names::endpoint(&self.id)?.to_owned();
        let url = self
            .url
            .as_deref()
            .ok_or_else(|| Problem::bad("add_replica needs replicaConfig.url"))?
            .trim();
        let parsed =
            validate::server_url(url).map_err(|must| Problem::bad(format!("replicaConfig.url {must}")))?;
        let mut endpoint = self.fields();
        endpoint.insert("id".to_owned(), json!(id));
        if endpoint.get("state") == Some(&json!("Active")) {
            // The default.
            endpoint.remove("state");
        }
        if parsed.password.is_some() {
            let name = secret_name(key, &id);
            if name.len() > 253 {
                return Err(Problem::bad(
                    "the names of the policy and of the replica are too long for a Secret",
                ));
            }
            endpoint.insert("urlSecretRef".to_owned(), json!({"name": name, "key": "url"}));
            return Ok(Addition {
                id,
                endpoint,
                secret: Some((name, url.to_owned())),
            });
        }
        if parsed.user.is_some() {
            return Err(Problem::bad(
                "replicaConfig.url has a user and no password: leave the user out where the login of the policy is meant",
            ));
        }
        endpoint.insert("host".to_owned(), json!(parsed.location.host.to_string()));
        endpoint.insert("port".to_owned(), json!(parsed.location.port));
        let mut connection = Map::new();
        connection.extend(
            parsed
                .database
                .map(|database| ("database".to_owned(), json!(database))),
        );
        connection.extend(
            parsed
                .tls
                .map(|mode| ("tls".to_owned(), json!({"mode": mode.word()}))),
        );
        if !connection.is_empty() {
            endpoint.insert("connection".to_owned(), connection.into());
        }
        Ok(Addition {
            id,
            endpoint,
            secret: None,
        })
    }
}
