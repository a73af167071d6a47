//! How servers are checked, when one leaves the routes, and how it returns.

#[cfg(feature = "kube")]
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::duration::DurationText;
use super::policy::Switch;
use super::rules;

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Time from one check of a server to the next, 100ms to 1h. A check is a new connection, TLS, login and one
    /// query. Default: 30s.
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("100ms", "1h")).message(rules::INTERVAL)))]
    #[serde(default = "defaults::interval")]
    pub interval: DurationText,
    /// Time from one heartbeat of a server to the next, 0s, or 100ms to 1h. A heartbeat is one query on a session that
    /// stays open. It reads role, lag and load, and the operator notices a crash at once, when the session closes. The
    /// session uses one connection of the server. 0s: no session is held. Default: 2s.
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::zero_or_between("100ms", "1h")).message(rules::HEARTBEAT)))]
    #[serde(default = "defaults::heartbeat")]
    pub heartbeat: DurationText,
    /// Longest time of one check, 20ms to 1m. The operator shortens it so that failureThreshold checks fit into
    /// failoverTimeout. Default: 2s.
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("20ms", "1m")).message(rules::TIMEOUT)))]
    #[serde(default = "defaults::timeout")]
    pub timeout: DurationText,
    /// Longest time from the start of the first failed check to the opening of the circuit, 20ms to 10m, and at least
    /// 20ms for each of circuitBreaker.failureThreshold attempts. Default: 5s.
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("20ms", "10m")).message(rules::FAILOVER_TIMEOUT)))]
    #[serde(default = "defaults::failover_timeout")]
    pub failover_timeout: DurationText,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            interval: defaults::interval(),
            heartbeat: defaults::heartbeat(),
            timeout: defaults::timeout(),
            failover_timeout: defaults::failover_timeout(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::at_least("self.resetTimeout", "self.maxResetTimeout")).message(rules::RESET_TIMEOUTS).field_path(".maxResetTimeout")))]
pub struct CircuitBreaker {
    /// Enabled: a server that failed stays out for resetTimeout and returns step by step. Disabled: the server leaves
    /// after the same failures and returns with its first good check. Default: Enabled.
    #[serde(default)]
    pub state: Switch,
    /// Consecutive failed checks that open the circuit, 1 to 100. Default: 5.
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 100)))]
    #[serde(default = "defaults::failure_threshold")]
    pub failure_threshold: u32,
    /// Time that an open circuit stays open before a good check makes it half-open, 100ms to 1h. Default: 60s.
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("100ms", "1h")).message(rules::RESET_TIMEOUT)))]
    #[serde(default = "defaults::reset_timeout")]
    pub reset_timeout: DurationText,
    /// Upper limit of the time that an open circuit stays open, 100ms to 24h, and at least resetTimeout. The time
    /// doubles from resetTimeout for a server that fails again soon after it returned; a circuit that opened longer ago
    /// than this limit no longer counts. Default: 10m, or resetTimeout where that is longer.
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new(rules::duration_between("100ms", "24h")).message(rules::MAX_RESET_TIMEOUT)))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_reset_timeout: Option<DurationText>,
    /// How traffic returns to a server whose circuit is half-open.
    #[serde(default)]
    pub half_open: HalfOpen,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        Self {
            state: Switch::Enabled,
            failure_threshold: defaults::failure_threshold(),
            reset_timeout: defaults::reset_timeout(),
            max_reset_timeout: None,
            half_open: HalfOpen::default(),
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "kube", derive(KubeSchema))]
#[serde(rename_all = "camelCase")]
pub struct HalfOpen {
    /// Number of good checks in a row before the next traffic step, 1 to 100. Default: 3.
    #[cfg_attr(feature = "kube", schemars(range(min = 1, max = 100)))]
    #[serde(default = "defaults::success_threshold")]
    pub success_threshold: u32,
    /// Traffic steps: the percentages of its weight that a returning server gets, one after the other; 1 to 8 rising
    /// percentages from 1 to 100. An EndpointSlice has no shares, so it contains the server from the last step on.
    /// Default: [10, 50].
    #[cfg_attr(
        feature = "kube",
        schemars(length(min = 1, max = 8), inner(range(min = 1, max = 100)))
    )]
    #[cfg_attr(feature = "kube", x_kube(merge_strategy = ListMerge::Atomic))]
    #[cfg_attr(feature = "kube", x_kube(validation = Rule::new("self.isSorted() && self.all(a, self.exists_one(b, b == a))").message(rules::TRAFFIC_STEPS)))]
    #[serde(default = "defaults::traffic_steps")]
    pub traffic_steps: Vec<u8>,
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self {
            success_threshold: defaults::success_threshold(),
            traffic_steps: defaults::traffic_steps(),
        }
    }
}

/// The defaults of fields outside lists, in the schema and for objects that never met it.
mod defaults {
    use super::DurationText;

    pub fn interval() -> DurationText {
        "30s".into()
    }
    pub fn heartbeat() -> DurationText {
        "2s".into()
    }
    pub fn timeout() -> DurationText {
        "2s".into()
    }
    pub fn failover_timeout() -> DurationText {
        "5s".into()
    }
    pub fn failure_threshold() -> u32 {
        5
    }
    pub fn reset_timeout() -> DurationText {
        "60s".into()
    }
    pub fn success_threshold() -> u32 {
        3
    }
    pub fn traffic_steps() -> Vec<u8> {
        vec![10, 50]
    }
}
