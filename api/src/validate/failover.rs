//! Which servers belong to the database, and what happens when some are lost.

use super::{Problems, routing};
use crate::{self as api, ReplicaSetPolicySpec, rules};
use distributary_core::ids::EndpointId;
use distributary_core::policy::{Failover, IdentityRule};
use distributary_core::routing::ReadFallback;

pub fn identity(spec: &ReplicaSetPolicySpec, problems: &mut Problems) -> IdentityRule {
    let Some(declared) = &spec.identity else {
        return IdentityRule::Learned;
    };
    let unchecked = declared.check == api::IdentityCheck::None;
    let field = "spec.identity.systemIdentifier";
    let text = declared.system_identifier.as_deref();
    problems.require(!unchecked || text.is_none(), field, rules::IDENTIFIER_NEEDS_CHECK);
    let identifier = text.map(system_identifier);
    problems.require(identifier != Some(None), field, rules::SYSTEM_IDENTIFIER);
    match identifier.flatten() {
        _ if unchecked => IdentityRule::Unchecked,
        Some(identifier) => IdentityRule::Declared(identifier),
        None => IdentityRule::Learned,
    }
}

/// Digits alone, of which the first is not 0.
fn system_identifier(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| digits)
}

pub fn failover(spec: &ReplicaSetPolicySpec, problems: &mut Problems) -> Failover {
    let declared = spec.failover.clone().unwrap_or_default();
    Failover {
        read_fallback: read_fallback(declared.read_fallback.as_deref(), problems),
        min_healthy: routing::least(
            declared.min_healthy_replicas.as_ref(),
            "spec.failover.minHealthyReplicas",
            problems,
        ),
        primary_role: declared.primary_role,
        on_primary_loss: declared.on_primary_loss,
        on_read_loss: declared.on_read_loss,
        accept_primary: declared.accept_primary.as_deref().map(EndpointId::from),
    }
}

/// Absent means the primary; an empty list means nobody.
fn read_fallback(declared: Option<&[ReadFallback]>, problems: &mut Problems) -> Vec<ReadFallback> {
    declared.map_or_else(
        || vec![ReadFallback::Primary],
        |declared| routing::read_fallback(declared, "spec.failover.readFallback", problems),
    )
}
