//! The paths of the API: its routes, its description and those who ask it have them from here.

use distributary_core::ids::PolicyKey;

/// The description of the API.
pub const DESCRIPTION: &str = "/openapi.json";
/// Whether reads and writes of a policy are routed.
pub const HEALTH: &str = "/api/db/health";
/// The servers of a policy; changes of them.
pub const REPLICAS: &str = "/api/db/replicas";
/// Figures of a policy.
pub const STATS: &str = "/api/db/stats";
/// All policies, in short.
pub const POLICIES: &str = "/api/v1/policies";
/// The same as they change.
pub const EVENTS: &str = "/api/v1/events";
/// All that is known of a policy.
pub const POLICY: &str = "/api/v1/policies/{namespace}/{name}";
/// The same as it changes.
pub const POLICY_EVENTS: &str = "/api/v1/policies/{namespace}/{name}/events";
/// What the caller may do with a policy.
pub const RIGHTS: &str = "/api/v1/policies/{namespace}/{name}/rights";
/// The page of metrics.
pub const METRICS: &str = "/metrics";

/// One of these, about a policy. Its names become part of the path as they are.
#[must_use]
pub fn about(path: &str, key: &PolicyKey) -> String {
    path.replace("{namespace}", &key.namespace)
        .replace("{name}", &key.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_about_a_policy_has_its_names() {
        let key = PolicyKey::new("shop", "orders.v2");
        assert_eq!(about(POLICY, &key), "/api/v1/policies/shop/orders.v2");
        assert_eq!(
            about(POLICY_EVENTS, &key),
            "/api/v1/policies/shop/orders.v2/events"
        );
    }
}
