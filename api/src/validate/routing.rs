//! Classes, priorities and regions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{PRIMARY_ID, Problems, duration, is_label, is_word, lag};
use crate::{self as api, ReplicaSetPolicySpec, rules};
use distributary_core::ids::EndpointId;
use distributary_core::percent::Percent;
use distributary_core::policy::Endpoint;
use distributary_core::routing::{
    Class, Destination, Least, Priority, ReadFallback, Region, Routing, Selector, built_in,
};

const CLASSES_AT_MOST: usize = 16;
const OPERATIONS_AT_MOST: usize = 64;
const REGIONS_AT_MOST: usize = 16;
const RETRIES_AT_MOST: u8 = 10;

/// `endpoints`: the validated ones, whose regions have a Service under the strategy Geographic.
pub fn routing(spec: &ReplicaSetPolicySpec, endpoints: &[Endpoint], problems: &mut Problems) -> Routing {
    let usual = Routing::default();
    let declared = spec.routing.clone().unwrap_or_else(|| api::Routing {
        retry_attempts: usual.retry_attempts,
        ..api::Routing::default()
    });
    problems.require(
        declared.retry_attempts <= RETRIES_AT_MOST,
        "spec.routing.retryAttempts",
        rules::RETRY_ATTEMPTS,
    );
    Routing {
        replicas: declared.replicas == api::Switch::Enabled,
        default_target: match declared.default_target {
            api::DefaultTarget::Replicas => Destination::Replicas,
            api::DefaultTarget::Primary => Destination::Primary,
        },
        retry_attempts: declared.retry_attempts,
        classes: classes(&declared.classes, spec, problems),
        priorities: priorities(declared.priorities.unwrap_or_default()),
        regions: regions(spec, endpoints, problems),
        zone_hints: spec.load_balancing.zone_hints,
    }
}

/// The declared ones, and the built-in ones of other names less what the declared ones name; by name.
fn classes(declared: &[api::Class], spec: &ReplicaSetPolicySpec, problems: &mut Problems) -> Vec<Class> {
    problems.require(
        declared.len() <= CLASSES_AT_MOST,
        "spec.routing.classes",
        rules::CLASSES,
    );
    let (mut names, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for (at, class) in declared.iter().enumerate() {
        let field = format!("spec.routing.classes[{at}]");
        problems.require(
            names.insert(class.name.as_str()),
            format!("{field}.name"),
            rules::CLASS_ONCE,
        );
        let own = class
            .operations
            .iter()
            .filter(|operation| !taken.insert(operation.as_str()));
        problems.require(
            own.count() == 0,
            format!("{field}.operations"),
            rules::OPERATION_ONCE,
        );
    }
    let mut usual: BTreeMap<String, Class> = built_in()
        .into_iter()
        .map(|mut class| {
            class
                .operations
                .retain(|operation| !taken.contains(operation.as_str()));
            (class.name.to_string(), class)
        })
        .collect();
    let mut classes: Vec<Class> = declared
        .iter()
        .enumerate()
        .map(|(at, class)| {
            let usual = usual.remove(&class.name);
            one(
                class,
                usual,
                &format!("spec.routing.classes[{at}]"),
                spec,
                problems,
            )
        })
        .collect();
    classes.extend(usual.into_values());
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    classes
}

/// `usual`: the built-in class of the same name.
fn one(
    declared: &api::Class,
    usual: Option<Class>,
    field: &str,
    spec: &ReplicaSetPolicySpec,
    problems: &mut Problems,
) -> Class {
    let at = |name: &str| format!("{field}.{name}");
    let reserved =
        ["rw", "ro", "routing"].contains(&declared.name.as_str()) || declared.name.starts_with("ro-");
    problems.require(
        !reserved && is_label(&declared.name, 22, false),
        at("name"),
        rules::CLASS_NAME,
    );
    let words = declared.operations.iter().all(|operation| is_word(operation));
    let few = declared.operations.len() <= OPERATIONS_AT_MOST;
    problems.require(words && few, at("operations"), rules::OPERATIONS);
    let (operations, usual) = usual.map_or((Vec::new(), Destination::Replicas), |usual| {
        (usual.operations, usual.target)
    });
    let target = declared.target.unwrap_or(usual);
    let chooses = declared.replica_selector.is_some()
        || declared.max_lag.is_some()
        || declared.probe_query.is_some()
        || declared.read_fallback.is_some();
    problems.require(
        target != Destination::Primary || !chooses,
        at("target"),
        rules::CLASS_OF_PRIMARY,
    );
    let query = declared.probe_query.as_deref();
    problems.require(
        query.is_none_or(lag::is_statement),
        at("probeQuery"),
        rules::PROBE_QUERY,
    );
    let read_fallback = declared
        .read_fallback
        .as_deref()
        .map(|members| read_fallback(members, &at("readFallback"), problems));
    let to_primary = read_fallback
        .as_ref()
        .is_some_and(|members| members.contains(&ReadFallback::Primary));
    problems.require(
        target != Destination::ReplicasOnly || !to_primary,
        at("readFallback"),
        rules::REPLICAS_ONLY,
    );
    Class {
        name: declared.name.as_str().into(),
        declared: true,
        operations: if declared.operations.is_empty() {
            operations
        } else {
            declared.operations.clone()
        },
        target,
        selector: declared
            .replica_selector
            .as_ref()
            .map(|selector| self::selector(selector, &at("replicaSelector"), spec, problems))
            .unwrap_or_default(),
        max_lag: declared.max_lag.as_ref().map(|text| {
            let bounds = (Duration::ZERO, lag::LONGEST);
            duration(text, &at("maxLag"), bounds, rules::CLASS_MAX_LAG, problems)
        }),
        read_fallback,
        probe_query: declared.probe_query.as_deref().map(Into::into),
    }
}

fn selector(
    declared: &api::ReplicaSelector,
    field: &str,
    spec: &ReplicaSetPolicySpec,
    problems: &mut Problems,
) -> Selector {
    let any = !declared.tags.is_empty() || !declared.ids.is_empty();
    problems.require(any, format!("{field}.tags"), rules::SELECTOR);
    let words = declared.tags.iter().all(|tag| is_word(tag));
    problems.require(words, format!("{field}.tags"), rules::SELECTOR_TAGS);
    let known = declared.ids.iter().all(|id| is_declared(id, spec));
    problems.require(known, format!("{field}.ids"), rules::SELECTOR_IDS);
    Selector {
        tags: declared.tags.clone(),
        ids: declared
            .ids
            .iter()
            .map(|id| EndpointId::from(id.as_str()))
            .collect(),
    }
}

/// Whether an endpoint has this id.
pub fn is_declared(id: &str, spec: &ReplicaSetPolicySpec) -> bool {
    let primary = spec.primary.id.as_deref().unwrap_or(PRIMARY_ID);
    let mut replicas = spec.replicas.iter().filter_map(|replica| replica.id.as_deref());
    primary == id || replicas.any(|replica| replica == id)
}

fn priorities(declared: api::Priorities) -> BTreeMap<Priority, Destination> {
    let target = |declared| match declared {
        api::PriorityTarget::Primary => Destination::Primary,
        api::PriorityTarget::PrimaryPreferred => Destination::PrimaryPreferred,
        api::PriorityTarget::Replicas => Destination::Replicas,
    };
    [
        (Priority::Critical, declared.critical),
        (Priority::High, declared.high),
        (Priority::Medium, declared.medium),
        (Priority::Low, declared.low),
    ]
    .into_iter()
    .filter_map(|(priority, declared)| Some((priority, target(declared?))))
    .collect()
}

/// As declared; under the strategy Geographic also those that endpoints name.
fn regions(spec: &ReplicaSetPolicySpec, endpoints: &[Endpoint], problems: &mut Problems) -> Vec<Region> {
    let declared = &spec.load_balancing.regions;
    let mut names = BTreeSet::new();
    for (at, region) in declared.iter().enumerate() {
        let field = format!("spec.loadBalancing.regions[{at}]");
        problems.require(
            is_label(&region.name, 19, false),
            format!("{field}.name"),
            rules::REGION_NAME,
        );
        let mut others = BTreeSet::from([&region.name]);
        let once = region.failover.iter().all(|other| others.insert(other));
        let few = region.failover.len() <= REGIONS_AT_MOST;
        problems.require(once && few, format!("{field}.failover"), rules::REGION_FAILOVER);
        names.insert(region.name.as_str());
    }
    problems.require(
        names.len() == declared.len() && declared.len() <= REGIONS_AT_MOST,
        "spec.loadBalancing.regions",
        rules::REGIONS,
    );
    let mut regions: Vec<_> = declared
        .iter()
        .map(|region| Region {
            name: region.name.clone(),
            failover: region.failover.clone(),
        })
        .collect();
    if spec.load_balancing.strategy == api::Strategy::Geographic {
        let others: BTreeSet<_> = endpoints
            .iter()
            .filter_map(|endpoint| endpoint.region.as_deref())
            .filter(|name| !names.contains(name))
            .collect();
        problems.require(
            declared.len() + others.len() <= REGIONS_AT_MOST,
            "spec.loadBalancing.regions",
            rules::REGIONS,
        );
        problems.require(
            others.iter().all(|name| is_label(name, 19, false)),
            "spec.loadBalancing.strategy",
            rules::GEOGRAPHIC,
        );
        regions.extend(others.into_iter().map(|name| Region {
            name: name.to_owned(),
            failover: Vec::new(),
        }));
    }
    regions
}

/// The members in order, each once.
pub fn read_fallback(declared: &[ReadFallback], field: &str, problems: &mut Problems) -> Vec<ReadFallback> {
    let members = declared.to_vec();
    let once = members
        .iter()
        .enumerate()
        .all(|(at, member)| !members[..at].contains(member));
    problems.require(once, field, rules::READ_FALLBACK_ONCE);
    members
}

/// A number, or a percentage.
pub fn least(declared: Option<&api::Least>, field: &str, problems: &mut Problems) -> Least {
    let parsed = match declared {
        None => Some(Least::Count(1)),
        Some(api::Least::Count(count)) => u32::try_from(*count)
            .ok()
            .filter(|count| (1..=64).contains(count))
            .map(Least::Count),
        Some(api::Least::Percent(text)) => text
            .strip_suffix('%')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse::<u8>().ok())
            .filter(|percent| (1..=100).contains(percent))
            .map(|percent| Least::Percent(Percent::new(percent))),
    };
    problems.require(parsed.is_some(), field, rules::MIN_HEALTHY);
    parsed.unwrap_or(Least::Count(1))
}
