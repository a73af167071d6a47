//! When a replica is too far behind: the policy's bounds, and an endpoint's own.

use std::time::Duration;

use super::{Problems, duration};
use crate::{self as api, DurationText, rules};
use distributary_core::policy::{LagSettings, LagSource, LagSourceKind};

const MAX: Duration = Duration::from_secs(30);
pub const LONGEST: Duration = Duration::from_hours(168);
const MOST_BYTES: u64 = 1 << 50;
const QUERY_CHARACTERS: usize = 1024;

/// What must hold of the policy's own.
pub fn of_policy(declared: Option<&api::ReplicationLag>, problems: &mut Problems) {
    let Some(declared) = declared else { return };
    bounds(declared, "spec", problems);
    query_relations(declared, declared, "spec", problems);
    // Endpoints may all have bounds of their own: then nobody else judges these.
    let LagSettings { max, recover, .. } = settings(declared);
    problems.require(recover <= max, "spec.replicationLag.recover", rules::RECOVER);
}

/// The settings of an endpoint: its own go before the policy's, field by field; and what must hold of its own.
pub fn of_endpoint(
    policy: Option<&api::ReplicationLag>,
    own: Option<&api::ReplicationLag>,
    field: &str,
    problems: &mut Problems,
) -> LagSettings {
    let merged = merged(policy, own);
    if let Some(own) = own {
        bounds(own, field, problems);
        query_relations(own, &merged, field, problems);
    }
    let own = own.is_some_and(|own| own.max.is_some() || own.max_bytes.is_some());
    LagSettings {
        own,
        ..settings(&merged)
    }
}

fn merged(policy: Option<&api::ReplicationLag>, own: Option<&api::ReplicationLag>) -> api::ReplicationLag {
    let (policy, own) = (
        policy.cloned().unwrap_or_default(),
        own.cloned().unwrap_or_default(),
    );
    api::ReplicationLag {
        max: own.max.or(policy.max),
        max_bytes: own.max_bytes.or(policy.max_bytes),
        recover: own.recover.or(policy.recover),
        source: own.source.or(policy.source),
        lag_query: own.lag_query.or(policy.lag_query),
    }
}

fn bounds(own: &api::ReplicationLag, field: &str, problems: &mut Problems) {
    let at = |name: &str| format!("{field}.replicationLag.{name}");
    let bounds = (Duration::ZERO, LONGEST);
    if let Some(text) = &own.max {
        duration(text, &at("max"), bounds, rules::LAG_MAX, problems);
    }
    if let Some(text) = &own.recover {
        duration(text, &at("recover"), bounds, rules::LAG_RECOVER, problems);
    }
    let counted = own.max_bytes.as_deref().is_none_or(|text| bytes(text).is_some());
    problems.require(counted, at("maxBytes"), rules::LAG_MAX_BYTES);
    let query = own.lag_query.as_deref().is_none_or(is_statement);
    problems.require(query, at("lagQuery"), rules::LAG_QUERY);
}

/// What must hold between a query and its source, told where one of them is declared.
fn query_relations(
    own: &api::ReplicationLag,
    merged: &api::ReplicationLag,
    field: &str,
    problems: &mut Problems,
) {
    let at = |name: &str| format!("{field}.replicationLag.{name}");
    let queries = merged.source == Some(LagSourceKind::Query);
    problems.require(
        own.lag_query.is_none() || queries,
        at("lagQuery"),
        rules::LAG_QUERY_NEEDS_SOURCE,
    );
    problems.require(
        !(queries && own.source.is_some()) || merged.lag_query.is_some(),
        at("lagQuery"),
        rules::LAG_QUERY_MISSING,
    );
}

/// What breaks no rule stands for what cannot be read.
fn settings(merged: &api::ReplicationLag) -> LagSettings {
    let length = |text: &DurationText, otherwise| text.parse().unwrap_or(otherwise);
    let max = merged.max.as_ref().map_or(MAX, |text| length(text, LONGEST));
    let half = max / 2;
    LagSettings {
        own: false,
        source: source(merged).unwrap_or_default(),
        max,
        max_bytes: merged.max_bytes.as_deref().and_then(bytes),
        recover: merged.recover.as_ref().map_or(half, |text| length(text, half)),
    }
}

/// `None`: its query is missing, or no statement.
fn source(merged: &api::ReplicationLag) -> Option<LagSource> {
    match merged.source.unwrap_or_default() {
        LagSourceKind::Wal => Some(LagSource::Wal),
        LagSourceKind::Query => {
            let query = merged.lag_query.as_deref().filter(|query| is_statement(query));
            query.map(|query| LagSource::Query(query.into()))
        }
        LagSourceKind::None => Some(LagSource::None),
    }
}

/// One statement: what a server would take for two is refused, also where it is quoted.
pub fn is_statement(text: &str) -> bool {
    let length = text.chars().count() <= QUERY_CHARACTERS;
    length && !text.trim().is_empty() && !text.contains([';', '\0'])
}

/// Whole bytes, as a quantity of Kubernetes.
fn bytes(text: &str) -> Option<u64> {
    const SUFFIXES: [(&str, u64); 11] = [
        ("", 1),
        ("k", 1_000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
    ];
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 16)?;
    let (_, unit) = SUFFIXES.iter().find(|(name, _)| *name == suffix)?;
    number.checked_mul(*unit).filter(|bytes| *bytes <= MOST_BYTES)
}
