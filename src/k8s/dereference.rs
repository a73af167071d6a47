//! From an object to a policy: what it names is read, and it is validated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use serde_json::Value;

use super::context::Context;
use super::error::Error;
use super::quota::Excess;
use super::secrets::{SecretAccess, SecretKey};
use super::services::HeldEndpoints;
use super::stored::StoredPolicy;
use super::{requests, services, watch};
use crate::clock;
use crate::render::reading::Version;
use crate::render::status::UnresolvedReference;
use distributary_api::validate::{
    self, ClusterNames, Declaration, LoginSources, PolicySource, Secrets, ServicePort, Services, ValidPolicy,
};
use distributary_api::{ReplicaSetPolicy, ReplicaSetPolicyStatus};
use distributary_core::cluster::{Cluster, Families};
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::login::SecretProblem;
use distributary_core::policy::{Mode, Policy};
use distributary_core::resolved::ResolvedEndpoint;
use distributary_core::table::named;

/// A policy as one pass found it.
pub(super) struct PolicyReading {
    pub(super) key: PolicyKey,
    pub(super) uid: String,
    pub(super) generation: i64,
    /// It is being deleted, and kept by a finalizer.
    pub(super) deleting: bool,
    pub(super) version: Version,
    pub(super) previous: ReplicaSetPolicyStatus,
    pub(super) valid: Option<Declaration>,
    pub(super) problems: Vec<String>,
    pub(super) unresolved: Vec<UnresolvedReference>,
    /// After this time a certificate of its Secrets expires.
    pub(super) expires_in: Option<Duration>,
    /// Services are not listed yet, and it names one: the end of the lists asks for another pass.
    pub(super) awaiting: bool,
}

impl PolicyReading {
    /// Before anything of it is judged.
    fn of(object: &StoredPolicy) -> Self {
        Self {
            key: object.key(),
            uid: object.meta().uid.clone().unwrap_or_default(),
            generation: object.meta().generation.unwrap_or_default(),
            deleting: object.meta().deletion_timestamp.is_some(),
            version: Version::new(object.meta().resource_version.clone().unwrap_or_default()),
            previous: requests::status(object.status()),
            valid: None,
            problems: Vec::new(),
            unresolved: Vec::new(),
            expires_in: None,
            awaiting: false,
        }
    }
}

impl Context {
    /// A policy for which its namespace has no room: nothing that it names is read or watched.
    pub(super) fn beyond_quota(&self, object: &StoredPolicy, excess: &Excess) -> PolicyReading {
        let mut seen = PolicyReading::of(object);
        self.uses_secrets(&seen.key, &BTreeSet::new());
        self.uses_services(&seen.key, &BTreeSet::new());
        self.services.written_for(&seen.key, &BTreeSet::new());
        seen.problems = match parse(object.declared()) {
            Err(problem) => vec![problem],
            Ok(policy) => {
                let judged =
                    validate::policy(PolicySource::from(&policy).with_names(&self.cluster.names)).map(drop);
                let problems = judged.err().unwrap_or_default();
                problems.iter().map(ToString::to_string).collect()
            }
        };
        seen.problems.push(excess.to_string());
        seen
    }

    /// An invalid spec leaves the last valid one in force, whose Secrets and Services are followed on.
    pub(super) async fn dereference_and_validate(
        self: &Arc<Self>,
        object: &Arc<StoredPolicy>,
    ) -> Result<PolicyReading, Error> {
        let mut seen = PolicyReading::of(object);
        let before = self.policies.valid_before(&seen.key, object);
        let before = before.and_then(|before| parse(before.declared()).ok());
        let policy = parse(object.declared());
        let either: Vec<_> = policy.iter().chain(&before).collect();
        let Some((secrets, services)) = self.dereference(&seen.key, &either).await? else {
            seen.awaiting = true;
            return Ok(seen);
        };
        let certificates = clock::certificates();
        let sources = LoginSources {
            certificates: Some(&certificates),
            ..LoginSources::default()
        };
        let judge = |policy: &ReplicaSetPolicy| {
            let declared = PolicySource::from(policy).with_names(&self.cluster.names);
            let judged = validate::policy(declared);
            let resolve = |valid| {
                let resolved = validate::resolve_with(declared, &secrets, &services, sources);
                (valid, resolved)
            };
            let judged = judged.map(resolve);
            judged.map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let in_force = match policy.map_err(|problem| vec![problem]) {
            Ok(policy) => judge(&policy).map(|valid| (policy, valid)),
            Err(problems) => Err(problems),
        };
        let valid = match in_force {
            Ok((policy, valid)) => {
                self.policies.is_valid(&seen.key, object);
                if before.is_some() {
                    self.follow(&seen.key, &[&policy], &secrets);
                }
                Some(valid)
            }
            Err(problems) => {
                seen.problems = problems;
                before.and_then(|before| judge(&before).ok())
            }
        };
        if let Some((valid, read)) = valid {
            let HeldEndpoints { endpoints, problems } = self.hold(&valid.policy, read, &seen.previous);
            let cluster = Cluster {
                region: self.cluster.region.clone(),
                families: self.families(&valid),
                min_interval: self.cluster.min_interval,
            };
            let declared = valid.with(endpoints, cluster);
            let secrets = declared.resolved.problems().into_iter().cloned();
            seen.unresolved = secrets.map(UnresolvedReference::Secret).collect();
            seen.expires_in = certificates.expires_in();
            seen.unresolved
                .extend(problems.into_iter().map(UnresolvedReference::Service));
            seen.valid = Some(declared);
        }
        Ok(seen)
    }

    /// What these specs name; `None` while the first lists of Services are awaited.
    async fn dereference(
        self: &Arc<Self>,
        key: &PolicyKey,
        policies: &[&ReplicaSetPolicy],
    ) -> Result<Option<(Secrets, Services)>, Error> {
        let names = secret_names(policies);
        self.uses_secrets(key, &names);
        self.secrets.logs_in_with(key, login_secrets(policies));
        let secrets = self.secrets.dereference(&self.client, key, &names).await?;
        if self.access == SecretAccess::Named {
            // What may not be read may not be watched either; the next pass asks for it again.
            let read = secrets
                .iter()
                .filter(|(_, read)| !matches!(read, Err(SecretProblem::Forbidden)));
            for (name, _) in read {
                self.watch_secret((key.namespace.clone(), name.clone()));
            }
        }
        let ports = service_ports(policies, &secrets, &self.cluster.names);
        self.uses_services(key, &ports);
        let listed = self.synced.knows_services(&key.namespace);
        let services = self
            .services
            .dereference(&self.foreign, key, &ports, listed, self.clock.now());
        Ok(services.map(|services| (secrets, services)))
    }

    /// Watches a Secret by its name, while a policy names it.
    fn watch_secret(self: &Arc<Self>, secret: SecretKey) {
        let named = secret.clone();
        let is_named = || self.secrets.is_named(&named);
        let watch = |secret| tokio::spawn(watch::named_secret(Arc::clone(self), secret)).abort_handle();
        self.named.start(secret, is_named, watch);
    }

    /// What the Services that are written for a policy carry, where it has any written, by the names of their routes. Which they are is said first, so that
    /// a change of them after they were looked at asks for another pass.
    fn families(&self, ValidPolicy { policy, outputs }: &ValidPolicy) -> BTreeMap<String, Families> {
        let (key, routes) = (&policy.key, named::routes_with_services(policy, outputs));
        let names = routes.iter().map(|(_, service)| service.as_str()).collect();
        self.services.written_for(key, &names);
        if policy.mode != Mode::Enforce || !self.synced.knows_services(&key.namespace) {
            return BTreeMap::new();
        }
        let families = |(route, service)| {
            let families = self.services.families(&(key.namespace.clone(), service));
            (route, families)
        };
        routes.into_iter().map(families).collect()
    }

    /// Nothing but what these specs name is watched for the policy any more.
    fn follow(&self, key: &PolicyKey, policies: &[&ReplicaSetPolicy], secrets: &Secrets) {
        self.uses_secrets(key, &secret_names(policies));
        self.secrets.logs_in_with(key, login_secrets(policies));
        self.uses_services(key, &service_ports(policies, secrets, &self.cluster.names));
    }

    /// What cannot be read of a Service changes no route.
    fn hold(
        &self,
        policy: &Policy,
        read: BTreeMap<EndpointId, ResolvedEndpoint>,
        status: &ReplicaSetPolicyStatus,
    ) -> HeldEndpoints {
        let told = self.policies.handed(&policy.key);
        let told = told.filter(|told| told.policy.uid == policy.uid);
        let port = |address| self.routed.port(&policy.key.namespace, &policy.uid, address);
        services::hold(read, told.map(|told| told.resolved).as_deref(), status, port)
    }
}

/// An object that this version cannot read is invalid, and no other policy's concern.
pub(super) fn parse(object: Value) -> Result<ReplicaSetPolicy, String> {
    serde_json::from_value(object).map_err(|error| format!("spec cannot be read by this version: {error}"))
}

fn secret_names(policies: &[&ReplicaSetPolicy]) -> BTreeSet<String> {
    let names = policies.iter().map(|policy| validate::references(&policy.spec));
    names.flatten().collect()
}

/// Of each endpoint, those that its login is made of, by any of these specs.
fn login_secrets(policies: &[&ReplicaSetPolicy]) -> BTreeMap<EndpointId, BTreeSet<String>> {
    let mut logins: BTreeMap<EndpointId, BTreeSet<String>> = BTreeMap::new();
    for policy in policies {
        for (endpoint, names) in validate::login_references(&policy.spec) {
            logins.entry(endpoint).or_default().extend(names);
        }
    }
    logins
}

fn service_ports(
    policies: &[&ReplicaSetPolicy],
    secrets: &Secrets,
    names: &ClusterNames,
) -> BTreeSet<ServicePort> {
    let ports = policies.iter().map(|policy| {
        let declared = PolicySource::from(*policy).with_names(names);
        validate::service_references(declared, secrets)
    });
    ports.flatten().collect()
}
