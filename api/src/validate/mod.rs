//! From the wire types to a [`Policy`] that cannot be wrong; every message of a bad policy is made here.
//!
//! Pure. Admission checks most of it before; an object may also come from a file, or from an older schema. What is
//! wrong with a Secret or a Service is no fault of the policy: it becomes part of the endpoint.

mod endpoint;
mod failover;
mod host;
mod lag;
mod login;
mod metadata;
mod outputs;
mod problems;
mod resolve;
mod routing;
mod secrets;
mod services;
mod settings;
pub mod structure;
mod url;
mod words;

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::{self as api, DurationText, ReplicaSetPolicySpec, rules};
use distributary_core::cluster::Cluster;
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::outputs::Outputs;
use distributary_core::policy::{DeclaredRole, Endpoint, Policy, PolicyParts};
use distributary_core::resolved::{Resolved, ResolvedEndpoint};
use distributary_core::server::{ClientSettings, Host};
use host::InCluster;
use problems::Problems;
use words::DeclaredFields;

pub use host::ClusterNames;
pub use login::login_references;
pub use problems::Problem;
pub use resolve::{resolve, resolve_with};
pub use secrets::{LoginSources, PasswordSource, SecretKeys, Secrets, references};
pub use services::{ServicePort, Services, service_references};
pub use url::{ServerUrl, server_url};

/// The id of a primary that names none.
const PRIMARY_ID: &str = "primary";
const REPLICAS_AT_MOST: usize = 64;
/// What counts of the annotation that asks for a check.
const CHECK_REQUEST_CHARACTERS: usize = 64;

/// A policy as somebody declared it, whatever holds it.
#[derive(Clone, Copy, Debug)]
pub struct PolicySource<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub generation: i64,
    /// The annotation [`api::CHECK_REQUESTED_AT`].
    pub check_requested: Option<&'a str>,
    pub spec: &'a ReplicaSetPolicySpec,
    /// Of the cluster that it is for; `None`: of one as most are.
    pub names: Option<&'a ClusterNames>,
}

impl<'a> PolicySource<'a> {
    /// The same, for a cluster with these names.
    #[must_use]
    pub const fn with_names(mut self, names: &'a ClusterNames) -> Self {
        self.names = Some(names);
        self
    }

    fn in_cluster(self, host: &Host) -> InCluster {
        match self.names {
            Some(names) => host::in_cluster(host, self.namespace, names),
            None => host::in_cluster(host, self.namespace, &ClusterNames::default()),
        }
    }
}

#[cfg(feature = "kube")]
impl<'a> From<&'a api::ReplicaSetPolicy> for PolicySource<'a> {
    fn from(object: &'a api::ReplicaSetPolicy) -> Self {
        let metadata = &object.metadata;
        let annotations = metadata.annotations.as_ref();
        Self {
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
            name: metadata.name.as_deref().unwrap_or_default(),
            uid: metadata.uid.as_deref().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            check_requested: annotations
                .and_then(|all| all.get(api::CHECK_REQUESTED_AT))
                .map(String::as_str),
            spec: &object.spec,
            names: None,
        }
    }
}

/// A policy that cannot be wrong, and the objects that are written for it.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidPolicy {
    pub policy: Policy,
    pub outputs: Outputs,
}

/// A valid policy with what was looked up for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declaration {
    pub policy: Arc<Policy>,
    pub resolved: Arc<Resolved>,
    pub outputs: Arc<Outputs>,
}

/// The policy by its generation.
impl Hash for Declaration {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.policy.uid, self.policy.generation).hash(state);
    }
}

impl ValidPolicy {
    /// With what was looked up for its endpoints and of the cluster.
    #[must_use]
    pub fn with(self, endpoints: BTreeMap<EndpointId, ResolvedEndpoint>, cluster: Cluster) -> Declaration {
        Declaration {
            policy: Arc::new(self.policy.checked_at_least(cluster.min_interval)),
            resolved: Arc::new(Resolved::new(endpoints, cluster)),
            outputs: Arc::new(self.outputs),
        }
    }
}

/// The validated policy.
///
/// # Errors
/// Every rule that does not hold, each with its field.
pub fn policy<'a>(declared: impl Into<PolicySource<'a>>) -> Result<ValidPolicy, Vec<Problem>> {
    let declared = declared.into();
    let PolicySource { spec, name, .. } = declared;
    let mut problems = Problems::default();
    problems.require(is_label(name, 40, true), "metadata.name", rules::NAME);
    let endpoints = endpoints(declared, &mut problems);
    let (routing, classes) = routing::routing(spec, &endpoints, &mut problems);
    let parts = PolicyParts {
        uid: declared.uid.to_owned(),
        generation: declared.generation,
        mode: spec.mode,
        identity: failover::identity(spec, &mut problems),
        strategy: spec.load_balancing.strategy,
        routing,
        probing: settings::probing(&spec.health_check, &mut problems),
        breaker: settings::breaker(&spec.circuit_breaker, &mut problems),
        failover: failover::failover(spec, &mut problems),
        clients: clients(spec, &mut problems),
        check_request: declared.check_requested.and_then(check_request),
        key: PolicyKey::new(declared.namespace, name),
        endpoints,
    };
    let outputs = outputs::validate(spec, name, &mut problems);
    match Policy::new(parts) {
        Ok(policy) if problems.is_empty() => {
            outputs::require_room(declared, &policy, &outputs, &mut problems);
            if problems.is_empty() {
                Ok(ValidPolicy { policy, outputs })
            } else {
                Err(problems.sorted())
            }
        }
        Ok(_) => Err(problems.sorted()),
        Err(broken) => {
            let fields = DeclaredFields { spec, classes };
            for broken in &broken {
                problems.add(fields.problem(broken));
            }
            Err(problems.sorted())
        }
    }
}

/// The annotation may be of any length: its beginning counts.
fn check_request(asked: &str) -> Option<String> {
    let counted: String = asked.chars().take(CHECK_REQUEST_CHARACTERS).collect();
    Some(counted).filter(|counted| !counted.is_empty())
}

fn endpoints(declared: PolicySource<'_>, problems: &mut Problems) -> Vec<Endpoint> {
    let spec = declared.spec;
    problems.require(
        spec.replicas.len() <= REPLICAS_AT_MOST,
        "spec.replicas",
        rules::REPLICAS,
    );
    login::connection_rules(spec.connection.as_ref(), "spec", problems);
    lag::of_policy(spec.replication_lag.as_ref(), problems);
    let mut endpoints = Vec::with_capacity(spec.replicas.len() + 1);
    let primary_id = spec.primary.id.as_deref().unwrap_or(PRIMARY_ID);
    endpoints.push(endpoint::validate(
        &spec.primary,
        (primary_id, DeclaredRole::Primary),
        "spec.primary",
        declared,
        problems,
    ));
    for (at, replica) in spec.replicas.iter().enumerate() {
        let field = format!("spec.replicas[{at}]");
        let id = replica.id.as_deref().unwrap_or_default();
        let kind = (id, DeclaredRole::Replica);
        endpoints.push(endpoint::validate(replica, kind, &field, declared, problems));
    }
    endpoints
}

fn clients(spec: &ReplicaSetPolicySpec, problems: &mut Problems) -> ClientSettings {
    let connection = spec.connection.clone().unwrap_or_default();
    ClientSettings {
        database: connection.database.unwrap_or_else(|| login::DATABASE.to_owned()),
        tls: connection.tls.and_then(|tls| tls.mode).unwrap_or_default(),
        connect_timeout: connection.connect_timeout.map_or(login::CONNECT_TIMEOUT, |text| {
            login::connect_timeout(&text, "spec.connection", problems)
        }),
    }
}

/// The length of `text`; where it is no duration or out of bounds, a problem. `None`: it cannot be read.
fn duration(
    text: &DurationText,
    field: &str,
    (least, most): (Duration, Duration),
    rule: &'static str,
    problems: &mut Problems,
) -> Option<Duration> {
    let length = text.parse();
    problems.require(
        length.is_some_and(|length| (least..=most).contains(&length)),
        field,
        rule,
    );
    length
}

/// DNS-1035 where it must begin with a letter, else DNS-1123.
fn is_label(text: &str, most: usize, letter_first: bool) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let first = text
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || (!letter_first && c.is_ascii_digit()));
    first && text.len() <= most && text.chars().all(inner) && !text.ends_with('-')
}

/// Of a region that ends the name of a Service, in characters at most.
const REGION_LENGTH: usize = 19;

/// The region of a cluster, as a policy of the strategy Geographic may name it.
///
/// # Errors
/// What must hold of it.
pub fn cluster_region(text: &str) -> Result<String, String> {
    if is_label(text, REGION_LENGTH, false) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "must be a DNS-1123 label of at most {REGION_LENGTH} characters: lower-case letters, digits and '-'"
        ))
    }
}

/// The name of a namespace.
///
/// # Errors
/// What must hold of it.
pub fn namespace(text: &str) -> Result<String, String> {
    if is_label(text, 63, false) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a namespace: a DNS-1123 label of at most 63 characters".to_owned())
    }
}

/// The DNS domain of a cluster, in lower case and without a dot at its end.
///
/// # Errors
/// What must hold of it.
pub fn cluster_domain(text: &str) -> Result<String, String> {
    let domain = text.trim_end_matches('.').to_ascii_lowercase();
    if is_subdomain(&domain) {
        Ok(domain)
    } else {
        Err("must be a DNS domain such as cluster.local".to_owned())
    }
}

/// Letters, digits, `-`, `_` and `.`, at most 63, as in a label's value.
fn is_word(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 63 && text.chars().all(inner) && ends(text.chars().next()) && ends(text.chars().last())
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(|label| is_label(label, 253, false))
}

/// The id of an endpoint, for messages and keys. That of a replica has no default.
fn endpoint_id(id: &str, kind: DeclaredRole, field: &str, problems: &mut Problems) -> EndpointId {
    let rule = if id.is_empty() && kind == DeclaredRole::Replica {
        rules::ID_ONCE
    } else {
        rules::ID_FORM
    };
    problems.require(is_label(id, 40, false), format!("{field}.id"), rule);
    EndpointId::from(id)
}

// The objects of the tests are custom resources.
#[cfg(all(test, feature = "kube"))]
mod tests;
