//! Classes, priorities and regions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Problems, REGION_LENGTH, duration, is_label, is_word, lag};
use crate::{self as api, ReplicaSetPolicySpec, rules};
use distributary_core::ids::EndpointId;
use distributary_core::percent::Percent;
use distributary_core::policy::Endpoint;
use distributary_core::routing::{
    Class, Destination, Least, Priority, PriorityDestination, ReadFallback, Region, Routing, Selector,
    built_in,
};

const CLASSES_AT_MOST: usize = 16;
const OPERATIONS_AT_MOST: usize = 64;
const REGIONS_AT_MOST: usize = 16;
const RETRIES_AT_MOST: u8 = 10;

/// The routing, and the index of each of its classes among the declared ones; `None`: it is built in. `endpoints`: the
/// validated ones, whose regions have a Service under the strategy Geographic.
pub fn routing(
    spec: &ReplicaSetPolicySpec,
    endpoints: &[Endpoint],
    problems: &mut Problems,
) -> (Routing, Vec<Option<usize>>) {
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
    let (classes, indexes) = classes(&declared.classes, problems).into_iter().unzip();
    let routing = Routing {
        replicas: declared.replicas == api::Switch::Enabled,
        default_destination: declared.default_target,
        retry_attempts: declared.retry_attempts,
        classes,
        priorities: priorities(declared.priorities.as_ref()),
        regions: regions(spec, endpoints, problems),
        zone_hints: spec.load_balancing.zone_hints,
    };
    (routing, indexes)
}

/// The declared ones with their index, and the built-in ones of other names less what the declared ones name; by name.
fn classes(declared: &[api::Class], problems: &mut Problems) -> Vec<(Class, Option<usize>)> {
    problems.require(
        declared.len() <= CLASSES_AT_MOST,
        "spec.routing.classes",
        rules::CLASSES,
    );
    let taken: BTreeSet<_> = declared.iter().flat_map(|class| &class.operations).collect();
    let mut usual: BTreeMap<String, Class> = built_in()
        .into_iter()
        .map(|mut class| {
            class.operations.retain(|operation| !taken.contains(operation));
            (class.name.to_string(), class)
        })
        .collect();
    let mut classes = Vec::with_capacity(declared.len() + usual.len());
    for (at, class) in declared.iter().enumerate() {
        let (usual, field) = (usual.remove(&class.name), format!("spec.routing.classes[{at}]"));
        classes.push((one(class, usual, &field, problems), Some(at)));
    }
    classes.extend(usual.into_values().map(|class| (class, None)));
    classes.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    classes
}

/// `usual`: the built-in class of the same name.
fn one(declared: &api::Class, usual: Option<Class>, field: &str, problems: &mut Problems) -> Class {
    let at = |name: &str| format!("{field}.{name}");
    // NAME-routing is the ConfigMap.
    problems.require(
        declared.name != "routing" && is_label(&declared.name, 22, false),
        at("name"),
        rules::CLASS_NAME,
    );
    let words = declared.operations.iter().all(|operation| is_word(operation));
    let few = declared.operations.len() <= OPERATIONS_AT_MOST;
    problems.require(words && few, at("operations"), rules::OPERATIONS);
    let (operations, usual) = usual.map_or((Vec::new(), Destination::Replicas), |usual| {
        (usual.operations, usual.destination)
    });
    let destination = declared.target.unwrap_or(usual);
    let chooses = declared.replica_selector.is_some()
        || declared.max_lag.is_some()
        || declared.probe_query.is_some()
        || declared.read_fallback.is_some();
    problems.require(
        destination != Destination::Primary || !chooses,
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
    Class {
        name: declared.name.as_str().into(),
        declared: true,
        operations: if declared.operations.is_empty() {
            operations
        } else {
            declared.operations.clone()
        },
        destination,
        selector: declared
            .replica_selector
            .as_ref()
            .map(|selector| self::selector(selector, &at("replicaSelector"), problems))
            .unwrap_or_default(),
        max_lag: declared.max_lag.as_ref().and_then(|text| {
            let bounds = (Duration::ZERO, lag::LONGEST);
            duration(text, &at("maxLag"), bounds, rules::CLASS_MAX_LAG, problems)
        }),
        read_fallback,
        probe_query: declared.probe_query.as_deref().map(Into::into),
    }
}

fn selector(declared: &api::ReplicaSelector, field: &str, problems: &mut Problems) -> Selector {
    let any = !declared.tags.is_empty() || !declared.ids.is_empty();
    problems.require(any, format!("{field}.tags"), rules::SELECTOR);
    let words = declared.tags.iter().all(|tag| is_word(tag));
    problems.require(words, format!("{field}.tags"), rules::SELECTOR_TAGS);
    Selector {
        tags: declared.tags.clone(),
        ids: declared
            .ids
            .iter()
            .map(|id| EndpointId::from(id.as_str()))
            .collect(),
    }
}

fn priorities(declared: Option<&api::Priorities>) -> BTreeMap<Priority, PriorityDestination> {
    let of = |priority: &Priority| Some((*priority, declared?.of(*priority)?));
    Priority::ALL.iter().filter_map(of).collect()
}

/// As declared; under the strategy Geographic also those that endpoints name.
fn regions(spec: &ReplicaSetPolicySpec, endpoints: &[Endpoint], problems: &mut Problems) -> Vec<Region> {
    let declared = &spec.load_balancing.regions;
    for (at, region) in declared.iter().enumerate() {
        let field = format!("spec.loadBalancing.regions[{at}]");
        problems.require(
            is_label(&region.name, REGION_LENGTH, false),
            format!("{field}.name"),
            rules::REGION_NAME,
        );
        let mut others = BTreeSet::from([&region.name]);
        let once = region.failover.iter().all(|other| others.insert(other));
        let few = region.failover.len() <= REGIONS_AT_MOST;
        problems.require(once && few, format!("{field}.failover"), rules::REGION_FAILOVER);
    }
    problems.require(
        declared.len() <= REGIONS_AT_MOST,
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
            .filter(|name| declared.iter().all(|region| region.name != *name))
            .collect();
        problems.require(
            declared.len() + others.len() <= REGIONS_AT_MOST,
            "spec.loadBalancing.regions",
            rules::REGIONS,
        );
        problems.require(
            others.iter().all(|name| is_label(name, REGION_LENGTH, false)),
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
