//! Which objects are written, their names, and whether they have room for what they tell.

use std::collections::BTreeSet;

use super::{PolicySource, Problem, Problems, Secrets, Services, is_label, is_subdomain, metadata, resolve};
use crate::{self as api, ReplicaSetPolicySpec, rules};
use distributary_core::cluster::Cluster;
use distributary_core::config_maps;
use distributary_core::outputs::{Format, Outputs};
use distributary_core::policy::Policy;
use distributary_core::resolved::Resolved;
use distributary_core::routing::{Destination, built_in};
use distributary_core::table::named::{DEFAULT, WRITES, of_region};

/// Of the name of a ConfigMap, in characters.
const NAME_LENGTH: usize = 253;
/// What the name of the ConfigMap of variables ends with.
const ENVIRONMENT: &str = "-env";

pub(super) fn validate(spec: &ReplicaSetPolicySpec, name: &str, problems: &mut Problems) -> Outputs {
    let declared = spec.outputs.clone().unwrap_or_default();
    let services = declared.services.unwrap_or_default();
    let (prefix, config_map) = (services.name_prefix, declared.config_map.unwrap_or_default());
    let formats = formats(config_map.formats.as_deref(), problems);
    // The defaults are as good as the name of the policy, which has a rule of its own.
    problems.require(
        prefix.as_ref().is_none_or(|prefix| is_label(prefix, 40, true)),
        "spec.outputs.services.namePrefix",
        rules::NAME_PREFIX,
    );
    problems.require(
        config_map.name.as_ref().is_none_or(|name| is_subdomain(name)),
        "spec.outputs.configMap.name",
        rules::CONFIG_MAP_NAME,
    );
    let prefix = prefix.unwrap_or_else(|| name.to_owned());
    let default = format!("{name}-routing");
    let own = config_map.name.as_deref().filter(|own| *own != default);
    let environment = own.unwrap_or(name);
    let environment = format!("{environment}{ENVIRONMENT}");
    problems.require(
        environment.len() <= NAME_LENGTH || !formats.contains(&Format::Env),
        "spec.outputs.configMap.name",
        rules::ENVIRONMENT_NAME,
    );
    let config_map = config_map.name.unwrap_or(default);
    Outputs {
        retain: spec.deletion_policy == api::DeletionPolicy::Retain,
        services: (services.state == api::Switch::Enabled).then_some(prefix),
        per_class: services.per_class == api::Switch::Enabled,
        per_region: services.per_region == api::PerRegion::Auto,
        config_map,
        environment,
        formats,
        metadata: metadata::validate(declared.metadata.unwrap_or_default(), problems),
    }
}

/// Absent means libpq alone.
fn formats(declared: Option<&[Format]>, problems: &mut Problems) -> Vec<Format> {
    let Some(declared) = declared else {
        return vec![Format::Libpq];
    };
    let once: BTreeSet<_> = declared.iter().copied().collect();
    problems.require(
        once.len() == declared.len(),
        "spec.outputs.configMap.formats",
        rules::FORMATS,
    );
    once.into_iter().collect()
}

/// Whether a Service of the namespace of the policy has the name of one that leads to its routes: a server behind it would be
/// behind itself.
pub(super) fn is_own_service(declared: PolicySource<'_>, service: &str) -> bool {
    let spec = declared.spec;
    let services = spec
        .outputs
        .as_ref()
        .and_then(|outputs| outputs.services.as_ref());
    let services = services.cloned().unwrap_or_default();
    let prefix = services.name_prefix.as_deref().unwrap_or(declared.name);
    let route = service
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('-'));
    services.state == api::Switch::Enabled
        && route.is_some_and(|route| {
            route == WRITES
                || route == DEFAULT
                || (services.per_class == api::Switch::Enabled && has_class(spec, route))
                || (services.per_region == api::PerRegion::Auto && has_region(spec, route))
        })
}

fn endpoints(spec: &ReplicaSetPolicySpec) -> impl Iterator<Item = &api::Endpoint> {
    std::iter::once(&spec.primary).chain(&spec.replicas)
}

/// Whether a class of this name has a route of its own: its target is not Primary, and it is declared, or built in with a server that
/// is dedicated to it.
fn has_class(spec: &ReplicaSetPolicySpec, name: &str) -> bool {
    let mut classes = spec.routing.iter().flat_map(|routing| &routing.classes);
    let usual = built_in().into_iter().find(|class| class.name.as_str() == name);
    let usual = usual.map(|class| class.destination);
    let is_named = |classes: &[String]| classes.iter().any(|class| class == name);
    let destination = match classes.find(|class| class.name == name) {
        Some(class) => class.target.or(usual).or(Some(Destination::Replicas)),
        None => usual.filter(|_| endpoints(spec).any(|endpoint| is_named(&endpoint.dedicated_to))),
    };
    destination.is_some_and(|destination| destination != Destination::Primary)
}

/// Whether a region of the policy has a route of this name.
fn has_region(spec: &ReplicaSetPolicySpec, route: &str) -> bool {
    let balancing = &spec.load_balancing;
    let declared = balancing.regions.iter().map(|region| &region.name);
    let of_endpoints = endpoints(spec).filter_map(|endpoint| endpoint.region.as_ref());
    let of_endpoints = of_endpoints.filter(|_| balancing.strategy == api::Strategy::Geographic);
    declared
        .chain(of_endpoints)
        .any(|region| of_region(region) == route)
}

/// Whether the ConfigMap of the routes has room for every endpoint in every route. What Secrets and Services name is not known here.
pub(super) fn require_room(
    declared: PolicySource<'_>,
    policy: &Policy,
    outputs: &Outputs,
    problems: &mut Problems,
) {
    let endpoints = resolve(declared, &Secrets::new(), &Services::new());
    let resolved = Resolved::new(endpoints, Cluster::default());
    if let Some(too_large) = config_maps::largest(policy, &resolved, outputs).too_large() {
        problems.add(Problem {
            field: "spec.outputs.configMap".to_owned(),
            rule: rules::CONFIG_MAP_SIZE,
            figures: Some(too_large.to_string()),
        });
    }
}
