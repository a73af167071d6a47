//! How servers are checked, and when a circuit opens.

use std::time::Duration;

use super::{Problems, duration};
use crate::{self as api, DurationText, rules};
use distributary_core::percent::Percent;
use distributary_core::policy::{BreakerSettings, Probing};

/// Where a policy names none.
const MAX_RESET_TIMEOUT: Duration = Duration::from_mins(10);

pub fn probing(declared: &api::HealthCheck, problems: &mut Problems) -> Probing {
    let (millis, secs) = (Duration::from_millis, Duration::from_secs);
    let heartbeat = heartbeat(&declared.heartbeat, problems);
    // The longest stands for what cannot be read: as many attempts fit into it as may be asked for.
    let mut field = |text, name: &str, (least, most), rule| {
        let field = format!("spec.healthCheck.{name}");
        duration(text, &field, (least, most), rule, problems).unwrap_or(most)
    };
    Probing {
        interval: field(
            &declared.interval,
            "interval",
            (millis(100), secs(3600)),
            rules::INTERVAL,
        ),
        heartbeat,
        timeout: field(
            &declared.timeout,
            "timeout",
            (millis(20), secs(60)),
            rules::TIMEOUT,
        ),
        failover_timeout: field(
            &declared.failover_timeout,
            "failoverTimeout",
            (millis(20), secs(600)),
            rules::FAILOVER_TIMEOUT,
        ),
        least: Duration::ZERO,
        declared: None,
    }
}

/// 0s is off, which is no short time.
fn heartbeat(declared: &DurationText, problems: &mut Problems) -> Option<Duration> {
    if declared.parse() == Some(Duration::ZERO) {
        return None;
    }
    let bounds = (Duration::from_millis(100), Duration::from_hours(1));
    let field = "spec.healthCheck.heartbeat";
    duration(declared, field, bounds, rules::HEARTBEAT, problems)
}

pub fn breaker(declared: &api::CircuitBreaker, problems: &mut Problems) -> BreakerSettings {
    let field = |name: &str| format!("spec.circuitBreaker.{name}");
    let half_open = &declared.half_open;
    let steps = &half_open.traffic_steps;
    let few = |count: u32| count <= 100;
    let threshold = few(declared.failure_threshold);
    problems.require(threshold, field("failureThreshold"), rules::FAILURE_THRESHOLD);
    let successes = few(half_open.success_threshold);
    problems.require(
        successes,
        field("halfOpen.successThreshold"),
        rules::SUCCESS_THRESHOLD,
    );
    let steps_hold = steps.iter().all(|step| *step <= 100) && steps.len() <= 8;
    problems.require(steps_hold, field("halfOpen.trafficSteps"), rules::TRAFFIC_STEPS);
    let (reset_timeout, max_reset_timeout) = reset_timeouts(declared, problems);
    BreakerSettings {
        enabled: declared.state == api::Switch::Enabled,
        failure_threshold: declared.failure_threshold,
        reset_timeout,
        max_reset_timeout,
        success_threshold: half_open.success_threshold,
        traffic_steps: steps.iter().map(|step| Percent::new(*step)).collect(),
    }
}

/// Where only the first is set, above the default of the second, the second is the first: it does not grow then.
fn reset_timeouts(declared: &api::CircuitBreaker, problems: &mut Problems) -> (Duration, Duration) {
    let (first, most) = (
        "spec.circuitBreaker.resetTimeout",
        "spec.circuitBreaker.maxResetTimeout",
    );
    let least = Duration::from_millis(100);
    let bounds = (least, Duration::from_hours(1));
    let text = &declared.reset_timeout;
    let reset = duration(text, first, bounds, rules::RESET_TIMEOUT, problems).unwrap_or(least);
    let Some(declared) = &declared.max_reset_timeout else {
        return (reset, reset.max(MAX_RESET_TIMEOUT));
    };
    let bounds = (least, Duration::from_hours(24));
    let longest = duration(declared, most, bounds, rules::MAX_RESET_TIMEOUT, problems);
    (reset, longest.unwrap_or(reset))
}
