use super::*;
use crate::fixture;

#[test]
fn a_policy_is_named_with_its_namespace() {
    assert_eq!(PolicyKey::new("shop", "orders").to_string(), "shop/orders");
}

#[test]
fn how_far_behind_replicas_are_is_compared_where_they_may_stand_in() {
    let lagging = || vec![ReadFallback::LaggingReplicas];
    let mut policy = fixture::policy(&["a"]);
    policy.routing.classes = vec![fixture::class("c")];
    assert!(!policy.compares_lagging());
    policy.failover.read_fallback = lagging();
    assert!(policy.compares_lagging());
    policy.failover.read_fallback.clear();
    policy.routing.classes[0].read_fallback = Some(lagging());
    assert!(policy.compares_lagging(), "for a class");
}
