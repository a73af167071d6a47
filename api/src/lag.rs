//! When a replica is too far behind to serve.

use distributary_core::policy::LagSourceKind;
#[cfg(feature = "kube")]
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::DurationText;
use super::rules;

/// The lag at which a replica leaves the routes. A field of the endpoint overrides the field of the policy.
// The same type below a list item: every default is in crate::validate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(
    validation = Rule::new(rules::at_least("self.recover", "self.max")).message(rules::RECOVER).field_path(".recover"),
    validation = Rule::new("!has(self.lagQuery) || !has(self.source) || self.source == 'Query'").message(rules::LAG_QUERY_NEEDS_SOURCE).field_path(".lagQuery")
))]
pub struct ReplicationLag {
    /// A replica that lags by more than this leaves the routes, 0s to 168h. 0s: a replica with any lag leaves. A
    /// standby that is delayed on purpose needs a bound of its own. Default: 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("0s", "168h")).message(rules::LAG_MAX)))]
    pub max: Option<DurationText>,
    /// A replica that lags by more than this leaves the routes too, 0 to 1Pi bytes: a whole number, with or without one
    /// of k, M, G, T, P, Ki, Mi, Gi, Ti, Pi; in quotes where it is only a number. The source Query gives no bytes.
    /// Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 20)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::bytes_at_most("1Pi")).message(rules::LAG_MAX_BYTES)))]
    pub max_bytes: Option<String>,
    /// A replica that left returns when its lag is down to this, 0s to 168h, at most max; the bound for maxBytes is in
    /// the same proportion. Default: half of max.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("0s", "168h")).message(rules::LAG_RECOVER)))]
    pub recover: Option<DurationText>,
    /// The source of the lag. Wal: the log positions of the primary over time; the lag is 0 while the primary is idle.
    /// Query: the answer of lagQuery. None: lag is not judged. Default: Wal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<LagSourceKind>,
    /// For the source Query: one read-only statement that the operator sends to each replica with every heartbeat and
    /// check, 1 to 1024 characters, without `;`. It returns one value: the lag in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 1024)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::STATEMENT).message(rules::LAG_QUERY)))]
    pub lag_query: Option<String>,
}
