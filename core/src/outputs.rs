//! Which objects are written for a policy, and their names.

use std::collections::BTreeMap;

use super::words::words;

/// Bytes: the values of a ConfigMap together have at most so many. The API server refuses more (`ValidateConfigMap` and
/// `MaxSecretSize` of Kubernetes; keys do not count).
pub const MOST_BYTES: usize = 1024 * 1024;

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
    /// The ConfigMap with `routing.json` and the URIs.
    pub config_map: String,
    /// The ConfigMap of the format Env, where that is among the formats.
    pub environment: String,
    /// What is told beside `routing.json`.
    pub formats: Vec<Format>,
    /// On every object, beside the operator's own.
    pub metadata: ObjectMetadata,
}

impl Outputs {
    /// The ConfigMap of environment variables, where they are asked for.
    #[must_use]
    pub fn environment(&self) -> Option<&str> {
        let asked = self.formats.contains(&Format::Env);
        asked.then_some(&*self.environment)
    }
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
    /// Environment variables, in a ConfigMap of their own: `envFrom` takes all that is in one.
    Env,
}

words!(Format);
