//! What a caller asks for.

mod fields;

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::edit::{Addition, Address, Edit, Update, Whose};
use super::refusal::Refusal;
use distributary_api::validate;
use distributary_core::policy::EndpointState;
pub use fields::{is_id, is_key, read};

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
#[derive(Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplicaConfig {
    /// The id of the endpoint: a DNS-1123 label.
    #[schema(min_length = 1, max_length = 40, pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    pub id: String,
    /// A name for people.
    #[serde(default)]
    #[schema(nullable = false, min_length = 1, max_length = 63)]
    pub name: Option<String>,
    /// `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE`. One with a password goes into the Secret POLICY-ID, or POLICY-ID.2
    /// while the replica has its URL in the first one; of one without, host, port, database and sslmode go into the policy.
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
    /// Active: checked and routed. Draining: checked, and no longer routed. Disabled: neither. In place of enabled.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false, pattern = "^(Active|Draining|Disabled)$")]
    pub state: Option<EndpointState>,
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

impl Change {
    /// What is changed of the policy. `now`: the value of a request for checks.
    ///
    /// # Errors
    /// What is missing, too much or wrong.
    pub fn edit(&self, now: &str) -> Result<Edit, Refusal> {
        match (self.action, &self.replica_config, &self.replica_id) {
            (Action::ForceHealthCheck, None, None) => Ok(Edit::Check(now.to_owned())),
            (Action::AddReplica, Some(config), None) => config.addition().map(Edit::Add),
            (Action::UpdateReplica, Some(config), None) => config.update().map(Edit::Update),
            (Action::RemoveReplica, Some(ReplicaConfig { id, .. }), None)
            | (Action::RemoveReplica, None, Some(id)) => Ok(Edit::Remove(id.clone())),
            (Action::ForceHealthCheck, ..) => Err(Refusal::bad(
                "replicaConfig and replicaId must be left out of force_health_check",
            )),
            (Action::RemoveReplica, None, None) => {
                Err(Refusal::bad("replicaId must be given for remove_replica"))
            }
            (Action::RemoveReplica, Some(_), Some(_)) => Err(Refusal::bad(
                "replicaConfig must be left out of remove_replica where replicaId is given",
            )),
            (Action::AddReplica | Action::UpdateReplica, _, Some(_)) => Err(Refusal::bad(
                "replicaId must be left out but for remove_replica: the id is replicaConfig.id",
            )),
            (Action::AddReplica | Action::UpdateReplica, None, None) => Err(Refusal::bad(
                "replicaConfig must be given for add_replica and update_replica",
            )),
        }
    }
}

impl ReplicaConfig {
    /// The fields of an endpoint, but for those of its address.
    fn fields(&self) -> Result<Map<String, Value>, Refusal> {
        let state = match (self.enabled, self.state) {
            (Some(_), Some(_)) => {
                return Err(Refusal::bad(
                    "replicaConfig.enabled must be left out where replicaConfig.state is given",
                ));
            }
            (Some(true), None) => Some(EndpointState::Active),
            (Some(false), None) => Some(EndpointState::Disabled),
            (None, state) => state,
        };
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
        Ok(given.collect())
    }

    /// # Errors
    /// What is wrong, or that nothing is to be changed.
    pub fn update(&self) -> Result<Update, Refusal> {
        let update = Update {
            whose: Whose::Replica(self.id.clone()),
            fields: self.fields()?,
            address: self.url.as_deref().map(address).transpose()?,
        };
        if update.fields.is_empty() && update.address.is_none() {
            return Err(Refusal::bad(
                "replicaConfig must have a field beside id for update_replica",
            ));
        }
        Ok(update)
    }

    /// # Errors
    /// What is missing or wrong.
    pub fn addition(&self) -> Result<Addition, Refusal> {
        let url = self.url.as_deref();
        let url = url.ok_or_else(|| Refusal::bad("replicaConfig.url must be given for add_replica"))?;
        let mut fields = self.fields()?;
        if fields.get("state") == Some(&json!("Active")) {
            // The default.
            fields.remove("state");
        }
        Ok(Addition {
            id: self.id.clone(),
            fields,
            address: address(url)?,
        })
    }
}

/// What a URL names.
fn address(url: &str) -> Result<Address, Refusal> {
    let url = url.trim();
    let parsed = validate::server_url(url);
    let parsed = parsed.map_err(|must| Refusal::bad(format!("replicaConfig.url {must}")))?;
    if parsed.password.is_some() {
        return Ok(Address::Url(url.to_owned()));
    }
    if parsed.user.is_some() {
        return Err(Refusal::bad(
            "replicaConfig.url must have a password where it has a user: leave the user out where the login of the policy is meant",
        ));
    }
    Ok(Address::Parts {
        host: parsed.location.host.to_string(),
        port: parsed.location.port,
        database: parsed.database,
        tls: parsed.tls.map(distributary_core::login::TlsMode::word),
    })
}
