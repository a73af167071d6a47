//! Which servers belong to the database, and what happens when some are lost.

use distributary_core::policy::{OnPrimaryLoss, OnReadLoss, PrimaryRole};
use distributary_core::routing::ReadFallback;
#[cfg(feature = "kube")]
use kube::KubeSchema;
#[cfg(feature = "kube")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::routing::Least;
use super::rules;

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(validation = Rule::new("!has(self.systemIdentifier) || self.check != 'None'").message(rules::IDENTIFIER_NEEDS_CHECK).field_path(".systemIdentifier")))]
pub struct Identity {
    /// SystemIdentifier: a server whose system identifier differs from that of the database receives no traffic. None:
    /// identifiers are not compared, for servers that do not tell them; then failover.primaryRole must be Pinned.
    /// Default: SystemIdentifier.
    #[serde(default)]
    pub check: IdentityCheck,
    /// The system identifier of the database, as `SELECT system_identifier FROM pg_control_system()` returns it: a
    /// number from 1 to 18446744073709551615, in quotes. Set it after pg_upgrade or a restore. Default: what the
    /// declared primary shows first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 20)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new("self.matches('^[1-9][0-9]{0,19}$') && (self.size() < 20 || self <= '18446744073709551615')").message(rules::SYSTEM_IDENTIFIER)))]
    pub system_identifier: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(JsonSchema))]
pub enum IdentityCheck {
    #[default]
    SystemIdentifier,
    None,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct Failover {
    /// The servers that serve reads when too few replicas can, in this order. DedicatedReplicas: the replicas that are
    /// dedicated to other classes and eligible, those of the lowest priority first. LaggingReplicas: the replicas that lag
    /// too far, those with the least lag first, except replicas with a bound of their own. Primary: the write primary.
    /// With an empty list no other server serves, and onReadLoss says what the route does. Default where it is absent: [Primary].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(max = 3)))]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub read_fallback: Option<Vec<ReadFallback>>,
    /// Number of eligible replicas below which members of readFallback serve too: a number from 1 to 64, or a
    /// percentage of the active replicas from 1% to 100%, rounded up. A replica that is dedicated to classes counts for
    /// these alone. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::least()).message(rules::MIN_HEALTHY)))]
    pub min_healthy_replicas: Option<Least>,
    /// Follow: the writes follow a promotion to any endpoint. Pinned: only the declared primary takes the writes. Must
    /// be Pinned where identity.check is None. Default: Follow.
    #[serde(default)]
    pub primary_role: PrimaryRole,
    /// The route NAME-rw when the primary is lost and no server may follow it. Hold: the route stays, and connections
    /// of clients fail. Withdraw: the route becomes empty, so that connections are refused at once. Default: Hold.
    #[serde(default)]
    pub on_primary_loss: OnPrimaryLoss,
    /// A route for reads when no server may serve it, the fallback included. Hold: it keeps the servers that are only
    /// unhealthy or behind, first those that answer, so that reads may fail or be older than replicationLag allows.
    /// Withdraw: it becomes empty, so that connections are refused at once. Default: Hold.
    #[serde(default)]
    pub on_read_loss: OnReadLoss,
    /// The id of the endpoint that is the right primary, set by a person when several endpoints take writes. The
    /// operator obeys it once; remove it afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 40)))]
    pub accept_primary: Option<String>,
}
