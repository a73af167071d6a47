//! Who serves which reads: classes of operations, priorities, regions.

use std::borrow::Cow;

use distributary_core::routing::{
    DefaultDestination, Destination, Priority, PriorityDestination, ReadFallback,
};
#[cfg(feature = "kube")]
use kube::KubeSchema;
#[cfg(feature = "kube")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::duration::DurationText;
use super::policy::Switch;
use super::rules;

/// Which servers serve which operations.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct Routing {
    /// Disabled: every operation goes to the primary, whatever its class and the weight of the primary; the replicas
    /// are still checked. Default: Enabled.
    #[serde(default)]
    pub replicas: Switch,
    /// The servers of reads without a class, which are the reads of NAME-ro. Default: Replicas.
    #[serde(default)]
    pub default_target: DefaultDestination,
    /// For clients that read routing.json: number of attempts on another server after one failed, 0 to 10. Default: 2.
    #[serde(default = "retry_attempts")]
    #[cfg_attr(feature = "kube", schemars(range(min = 0, max = 10)))]
    pub retry_attempts: u8,
    /// Classes: kinds of operations, at most 16. Built-in classes are write (Primary), primary-preferred
    /// (PrimaryPreferred) and analytics (Replicas); a class of the same name replaces a built-in one. A declared class
    /// whose target is not Primary has a Service, NAME-CLASS; a built-in one has it where a server is dedicated to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "kube", schemars(length(max = 16)))]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Map(vec!["name".into()])))]
    pub classes: Vec<Class>,
    /// For clients that read routing.json: the target of reads by priority, whatever their class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priorities: Option<Priorities>,
}

const fn retry_attempts() -> u8 {
    2
}

/// A kind of operations, and the servers that serve it.
// Every default is in crate::validate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(
    validation = Rule::new("!has(self.target) || self.target != 'Primary' || !(has(self.replicaSelector) || has(self.maxLag) || has(self.probeQuery) || has(self.readFallback))").message(rules::CLASS_OF_PRIMARY).field_path(".target"),
    validation = Rule::new("!has(self.target) || self.target != 'ReplicasOnly' || !has(self.readFallback) || !('Primary' in self.readFallback)").message(rules::REPLICAS_ONLY).field_path(".readFallback")
))]
pub struct Class {
    /// The name of the class, and the end of the name of its Service: a DNS-1123 label of at most 22 characters, not
    /// rw, ro or routing, and not beginning with ro-.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 22)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(format!("{} && !(self in ['rw', 'ro', 'routing']) && !self.startsWith('ro-')", rules::form(rules::DNS_1123_LABEL))).message(rules::CLASS_NAME)))]
    pub name: String,
    /// Names of operations, at most 64, published in routing.json. An operation of a built-in class moves to the class
    /// that lists it; two declared classes may not list the same operation. Default: for the name of a built-in class
    /// those of that class, less what other classes name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 64), inner(length(min = 1, max = 63)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(format!("self.all(operation, operation.matches('{}'))", rules::WORD)).message(rules::OPERATIONS)))]
    pub operations: Vec<String>,
    /// Primary: the write primary. PrimaryPreferred: the write primary, and replicas while it is not well. Replicas:
    /// replicas, or the fallback. ReplicasOnly: replicas, and never the primary. Default: Replicas, and that of the
    /// built-in class for its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Destination>,
    /// The replicas that serve the class while enough of them are eligible; otherwise any replica does, then the
    /// fallback. Default: those that are dedicated to the class; all, where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_selector: Option<ReplicaSelector>,
    /// A replica that lags by more than this does not serve the class, 0s to 168h; it returns at half of it. It
    /// replaces replicationLag.max and maxBytes, also those of an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("0s", "168h")).message(rules::CLASS_MAX_LAG)))]
    pub max_lag: Option<DurationText>,
    /// One read-only statement that the operator sends to each server with every check, 1 to 1024 characters, without
    /// `;`. A server that does not complete it in time is out for this class only, by a circuit for this class with the
    /// settings of circuitBreaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 1024)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::STATEMENT).message(rules::PROBE_QUERY)))]
    pub probe_query: Option<String>,
    /// Replaces failover.readFallback for this class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "kube", schemars(length(max = 3)))]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub read_fallback: Option<Vec<ReadFallback>>,
}

/// Selects the replicas with any of the tags, and those with one of the ids.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(validation = Rule::new("has(self.tags) && self.tags.size() > 0 || has(self.ids) && self.ids.size() > 0").message(rules::SELECTOR).field_path(".tags")))]
pub struct ReplicaSelector {
    /// Replicas with any of these tags, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 16), inner(length(min = 1, max = 63)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub tags: Vec<String>,
    /// Replicas with one of these ids, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 64), inner(length(min = 1, max = 40)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub ids: Vec<String>,
}

/// The target of reads by priority. Default of each: as its class says.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct Priorities {
    /// The target of critical reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<PriorityDestination>,
    /// The target of reads of high priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<PriorityDestination>,
    /// The target of reads of medium priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub medium: Option<PriorityDestination>,
    /// The target of reads of low priority.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<PriorityDestination>,
}

impl Priorities {
    /// The target of reads of a priority.
    #[must_use]
    pub const fn of(&self, priority: Priority) -> Option<PriorityDestination> {
        match priority {
            Priority::Critical => self.critical,
            Priority::High => self.high,
            Priority::Medium => self.medium,
            Priority::Low => self.low,
        }
    }
}

/// A region, and the regions that take over its reads when it has no server.
// Every default is in crate::validate.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(validation = Rule::new("!has(self.failover) || !(self.name in self.failover)").message(rules::REGION_FAILOVER).field_path(".failover")))]
pub struct Region {
    /// The region as endpoints declare it, and the end of the name of its Service: a DNS-1123 label of at most 19
    /// characters.
    #[cfg_attr(feature = "kube", schemars(length(min = 1, max = 19)))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::form(rules::DNS_1123_LABEL)).message(rules::REGION_NAME)))]
    pub name: String,
    /// Regions that take over in this order, at most 16. The other regions follow, by the lowest priority in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "kube",
        schemars(length(max = 16), inner(length(min = 1, max = 63)))
    )]
    // The order counts: a set keeps it.
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Set))]
    pub failover: Vec<String>,
}

/// A number of replicas, or a percentage of them. Its form and bounds are a rule of the field that has it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Least {
    Count(i64),
    Percent(String),
}

impl Default for Least {
    fn default() -> Self {
        Self::Count(1)
    }
}

#[cfg(feature = "kube")]
impl JsonSchema for Least {
    fn schema_name() -> Cow<'static, str> {
        "Least".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 4,
        })
    }
}
