//! What a policy says of who is read from: classes of operations, regions, fallbacks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::ids::{ClassName, EndpointId};
use super::percent::Percent;
use crate::words::words;

/// The name of the route of writes.
pub const WRITES: &str = "rw";
/// The name of the route of reads that no class names.
pub const DEFAULT: &str = "ro";
/// What the names of the routes of regions begin with.
pub const REGION_PREFIX: &str = "ro-";
const RETRY_ATTEMPTS: u8 = 2;
const WRITE: [&str; 7] = [
    "create",
    "update",
    "delete",
    "upsert",
    "createMany",
    "updateMany",
    "deleteMany",
];
const PRIMARY_PREFERRED: [&str; 3] = ["transaction", "migration", "admin"];
const ANALYTICS: [&str; 5] = ["analytics", "reports", "dashboard", "export", "search"];

/// The name of the route of a region.
#[must_use]
pub fn of_region(region: &str) -> String {
    format!("{REGION_PREFIX}{region}")
}

/// How reads are spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Routing {
    /// False: everything goes to the primary.
    pub replicas: bool,
    /// Of reads that no class names.
    pub default_destination: DefaultDestination,
    /// For clients and proxies: attempts on another server after the first one failed.
    pub retry_attempts: u8,
    /// Every class, the built-in ones that are not replaced among them, by name.
    pub classes: Vec<Class>,
    /// For clients: where an operation of this priority goes, whatever its class.
    pub priorities: BTreeMap<Priority, PriorityDestination>,
    /// Regions with an order of fallbacks, as declared, each once.
    pub regions: Vec<Region>,
    pub zone_hints: ZoneHints,
}

impl Default for Routing {
    /// What holds where a policy says nothing.
    fn default() -> Self {
        Self {
            replicas: true,
            default_destination: DefaultDestination::default(),
            retry_attempts: RETRY_ATTEMPTS,
            classes: built_in(),
            priorities: BTreeMap::new(),
            regions: Vec::new(),
            zone_hints: ZoneHints::Disabled,
        }
    }
}

/// The classes that every policy has, in the order of their names, unless it declares others of these names.
#[must_use]
pub fn built_in() -> Vec<Class> {
    let class = |name: &str, destination, operations: &[&str]| Class {
        name: name.into(),
        declared: false,
        operations: operations.iter().map(|&operation| operation.to_owned()).collect(),
        destination,
        selector: Selector::default(),
        max_lag: None,
        read_fallback: None,
        probe_query: None,
    };
    vec![
        class("analytics", Destination::Replicas, &ANALYTICS),
        class(
            "primary-preferred",
            Destination::PrimaryPreferred,
            &PRIMARY_PREFERRED,
        ),
        class("write", Destination::Primary, &WRITE),
    ]
}

impl Routing {
    /// The probe queries of all classes, each once, in order.
    #[must_use]
    pub fn probe_queries(&self) -> Vec<Arc<str>> {
        let queries = self.classes.iter().filter_map(|class| class.probe_query.as_ref());
        let once: BTreeSet<_> = queries.cloned().collect();
        once.into_iter().collect()
    }

    #[must_use]
    pub fn class(&self, name: &ClassName) -> Option<&Class> {
        self.classes.iter().find(|class| class.name == *name)
    }
}

/// A kind of operations, and who serves it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Class {
    /// Unique in the policy, and not the name of another route: `rw`, `ro`, `ro-REGION`.
    pub name: ClassName,
    /// False: it is built in, and nothing is said of it.
    pub declared: bool,
    /// Names of operations, for clients; each belongs to one class.
    pub operations: Vec<String>,
    pub destination: Destination,
    pub selector: Selector,
    /// The bound of lag in place of the endpoint's.
    pub max_lag: Option<Duration>,
    /// In place of the policy's; of a class that replicas alone serve, without the primary.
    pub read_fallback: Option<Vec<ReadFallback>>,
    /// Asked with every whole check, read-only: whether it is answered has a circuit of its own.
    pub probe_query: Option<Arc<str>>,
}

/// Whether a route has this name whatever the classes are: that of the writes, of all reads, or of a region.
pub(crate) fn is_route_name(name: &str) -> bool {
    name == WRITES || name == DEFAULT || name.starts_with(REGION_PREFIX)
}

impl Class {
    /// Whether it may read from replicas, and so has a route of its own beside that of the writes.
    #[must_use]
    pub const fn has_route(&self) -> bool {
        !matches!(self.destination, Destination::Primary)
    }
}

/// Who serves an operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Destination {
    Primary,
    /// The primary while it is well, else replicas.
    PrimaryPreferred,
    /// Replicas, and the fallback.
    Replicas,
    /// Replicas, and never the primary.
    ReplicasOnly,
}

/// Who serves reads that no class names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum DefaultDestination {
    /// Replicas, and the fallback.
    #[default]
    Replicas,
    Primary,
}

impl From<DefaultDestination> for Destination {
    fn from(destination: DefaultDestination) -> Self {
        match destination {
            DefaultDestination::Replicas => Self::Replicas,
            DefaultDestination::Primary => Self::Primary,
        }
    }
}

/// Who serves reads of a priority.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum PriorityDestination {
    Primary,
    /// The primary while it is well, else the servers of the class.
    PrimaryPreferred,
    /// The servers of the class.
    Replicas,
}

/// Which replicas a class prefers. Where none of them is eligible, any replica serves.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selector {
    /// Any of these tags.
    pub tags: Vec<String>,
    /// Or one of these, which endpoints have.
    pub ids: Vec<EndpointId>,
}

impl Selector {
    /// An empty one selects all.
    #[must_use]
    pub fn selects_all(&self) -> bool {
        self.tags.is_empty() && self.ids.is_empty()
    }

    #[must_use]
    pub fn selects(&self, id: &EndpointId, tags: &[String]) -> bool {
        self.selects_all() || self.ids.contains(id) || tags.iter().any(|tag| self.tags.contains(tag))
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str, serialize_all = "lowercase")]
pub enum Priority {
    Critical,
    High,
    Medium,
    Low,
}

/// Who serves reads when too few replicas can.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum ReadFallback {
    /// Those that are dedicated to other classes.
    DedicatedReplicas,
    /// Those that are too far behind, the least so first.
    LaggingReplicas,
    Primary,
}

/// So many replicas must be eligible, or the fallback is added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Least {
    Count(u32),
    /// Of the replicas that are declared and active, rounded up.
    Percent(Percent),
}

impl Least {
    #[must_use]
    pub fn of(self, replicas: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
            Self::Percent(percent) => (replicas * usize::from(percent.get())).div_ceil(100),
        }
    }
}

/// A region, and who takes over when it has nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Region {
    pub name: String,
    pub failover: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum ZoneHints {
    #[default]
    Disabled,
    /// On every slice of a Service, only when every zone has two or more that serve.
    Auto,
}

words!(
    Destination,
    DefaultDestination,
    PriorityDestination,
    Priority,
    ReadFallback,
    ZoneHints
);

#[cfg(test)]
mod tests;
