//! Which objects are written for a policy, and their names.

use std::collections::BTreeMap;

use super::words::words;

/// Names of the objects to write, and how long they stay.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outputs {
    /// Whether the objects stay when the policy is deleted.
    pub retain: bool,
    /// The prefix of the Services' names; `None`: no Services.
    pub services: Option<String>,
    /// Whether each declared class that reads from replicas has a Service.
    pub per_class: bool,
    /// Whether each region has a Service.
    pub per_region: bool,
    pub config_map: String,
    /// What the ConfigMap holds beside `routing.json`.
    pub formats: Vec<Format>,
    /// On every object, beside the operator's own.
    pub metadata: ObjectMetadata,
}

/// Labels and annotations of people: never with a key of the operator.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ObjectMetadata {
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// A form of what clients need to connect.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Format {
    Libpq,
    Jdbc,
    /// Environment variables.
    Env,
}

words!(Format);
