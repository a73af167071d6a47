//! When a target is checked next, and how long that check may take.

use std::time::Duration;

use super::breaker::{Circuit, spacing};
use super::health::Health;
use super::moment::Moment;
use super::observation::{FailureClass, FailureKind, Observation};
use super::policy::{BreakerSettings, Probing, SHORTEST_ATTEMPT};
use super::suspicion::Suspicion;
use super::target::Hold;

/// Whether a process holds sessions beside its checks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HoldRule {
    #[default]
    Always,
    /// Until a server has no place for it: what is left is another process's.
    WhileThereIsRoom,
    Never,
}

impl HoldRule {
    /// Whether one is held on a server; `full`: it had no place once.
    #[must_use]
    pub const fn allows(self, full: bool) -> bool {
        match self {
            Self::Always => true,
            Self::WhileThereIsRoom => !full,
            Self::Never => false,
        }
    }
}

/// Declares the times, and the list of all.
macro_rules! times {
    ($($(#[$doc:meta])* const $name:ident: Duration = $time:expr;)*) => {
        $($(#[$doc])* const $name: Duration = $time;)*
        /// Every time of checks that no policy sets.
        pub const TIMES: &[Duration] = &[SHORTEST_ATTEMPT, $($name),*];
    };
}

times! {
/// A refused connection is confirmed by another one after this time.
const CONFIRM_AFTER: Duration = Duration::from_millis(5);
/// After the first answer of a suspect that proves it alive, the second check follows.
const SECOND_LOOK: Duration = Duration::from_millis(50);
/// Gaps between looks at a suspect grow up to this within the failover timeout.
const LONGEST_GAP: Duration = Duration::from_millis(500);
/// Heartbeats of servers that may take over from a primary that is not well.
const URGENT: Duration = Duration::from_millis(500);
/// The shortest deadline of a heartbeat: it costs a session, which takes longer to open than a query.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);
}

/// The deadline of a check that begins while nothing is wrong: so many fit into the failover timeout as the breaker
/// counts.
#[must_use]
pub fn first_attempt(probing: &Probing, breaker: &BreakerSettings) -> Duration {
    probing
        .timeout
        .min(probing.failover_timeout / breaker.failure_threshold.max(1))
        .max(SHORTEST_ATTEMPT)
}

/// The next check after `observation`, which `health` has taken in; `None`: not before the spec changes.
///
/// `spread` (0 to 100) shortens the interval by up to a tenth, so that checks of many targets do not gather.
#[must_use]
pub fn next(
    health: &Health,
    observation: &Observation,
    probing: &Probing,
    breaker: &BreakerSettings,
    spread: u8,
) -> Option<(Moment, Duration)> {
    if health.failure.map(FailureKind::class) == Some(FailureClass::RefusedAddress) {
        return None;
    }
    let attempt = first_attempt(probing, breaker);
    let watched = probing.watched();
    let (started, ended) = (observation.started, observation.ended);
    let class = observation.result.as_ref().err().map(|kind| kind.class());
    let at = match (health.breaker.circuit, health.suspicion) {
        // Nobody was asked: there is nothing to confirm, and no count that leads on.
        _ if matches!(class, Some(FailureClass::Name | FailureClass::Own)) => started + watched,
        (Circuit::Closed { run: Some(run) }, suspicion) => {
            let hard = class == Some(FailureClass::Dead { hard: true });
            let at = within_run(
                suspicion,
                hard,
                ended,
                run.started,
                spacing(run.counted, breaker.failure_threshold, probing.failover_timeout),
            );
            let left = (run.started + probing.failover_timeout).since(at);
            let attempts = breaker.failure_threshold.saturating_sub(run.counted).max(1);
            return Some((at, probing.timeout.min(left / attempts).max(SHORTEST_ATTEMPT)));
        }
        (_, Suspicion::Out { answers: 1.., .. }) => ended + SECOND_LOOK,
        (_, Suspicion::Confirming { since } | Suspicion::Out { since, .. })
            if ended.since(since) < probing.failover_timeout =>
        {
            ended + ended.since(since).clamp(CONFIRM_AFTER, LONGEST_GAP)
        }
        (Circuit::Open { until }, _) if until > ended => (started + watched).min(until),
        (Circuit::Open { .. } | Circuit::HalfOpen { .. }, _)
        | (_, Suspicion::Confirming { .. } | Suspicion::Out { .. }) => started + watched,
        (Circuit::Closed { run: None }, Suspicion::None) if observation.result.is_err() => started + watched,
        (Circuit::Closed { run: None }, Suspicion::None) => started + shortened(probing.interval, spread),
    };
    Some((at.max(ended), attempt))
}

/// Within a run of failures: soon where the sign is hard, and at the latest when the next failure counts.
fn within_run(suspicion: Suspicion, hard: bool, ended: Moment, run_started: Moment, due: Duration) -> Moment {
    let due = (run_started + due).max(ended);
    match suspicion {
        // Soon, then with growing gaps: a sign that neither confirms nor ends it may go on.
        Suspicion::Confirming { since } if hard => {
            due.min(ended + ended.since(since).clamp(CONFIRM_AFTER, LONGEST_GAP))
        }
        Suspicion::None | Suspicion::Confirming { .. } => due,
        Suspicion::Out { .. } => due.min(ended + ended.since(run_started).clamp(CONFIRM_AFTER, LONGEST_GAP)),
    }
}

/// The session to hold beside the checks: from the first good check on, until the target is known to be down. While
/// the primary is not well (`urgent`) servers that may take over are asked more often.
#[must_use]
pub fn hold(health: &Health, probing: &Probing, breaker: &BreakerSettings, urgent: bool) -> Option<Hold> {
    let (every, address) = (probing.heartbeat?, health.address?);
    let every = if urgent { every.min(URGENT) } else { every };
    (health.admitted && health.is_routable() && has_room(health, probing)).then(|| Hold {
        address,
        every,
        timeout: first_attempt(probing, breaker).max(SHORTEST_HEARTBEAT),
    })
}

/// Whether the role of the login may have a session beside a check: one that takes the place of the checks is not held. Where
/// no check can be, a session from before is all there is.
#[must_use]
pub fn has_room(health: &Health, probing: &Probing) -> bool {
    let fits = |limit| limit == 0 || limit >= probing.connections();
    health.role_limit.is_none_or(fits)
}

fn shortened(interval: Duration, spread: u8) -> Duration {
    interval / 1000 * (1000 - u32::from(spread.min(100)))
}

#[cfg(test)]
mod tests;
