//! Whether a target takes requests: its circuit by what the program itself sees, and its suspicion.
//!
//! | what is seen | circuit | suspicion |
//! |---|---|---|
//! | an answer, also one that refuses the statement | success | ends |
//! | refused, reset or closed | failure | begins |
//! | nothing for a while, and no answer to a ping | failure | begins |
//! | any other failure to connect | by its class | |
//! | a login is refused: configuration, no room | | halves the share until a login succeeds |
//! | a wait for the pool, the caller's cancellation | | |

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use distributary_core::Moment;
use distributary_core::breaker::{Breaker, Circuit, CircuitState, Outcome};
use distributary_core::percent::Percent;
use distributary_core::policy::BreakerSettings;
use distributary_core::table::RoutingTable;

/// After so many refused logins in a row nothing passes.
const ALL_REFUSED: u8 = 7;
/// A server that has no room for another connection serves on those that it has: the share does not fall below an eighth.
const NO_ROOM: u8 = 3;

/// What a table says of circuits.
#[derive(Clone, Debug, PartialEq)]
pub struct CircuitRules {
    pub settings: BreakerSettings,
    /// The failover timeout.
    pub window: Duration,
}

impl CircuitRules {
    pub fn of(table: &RoutingTable) -> Self {
        let told = &table.circuit_breaker;
        let check = table.health_check;
        let window = check.map_or(5_000, |check| check.failover_timeout_milliseconds);
        Self {
            settings: BreakerSettings {
                enabled: told.enabled,
                failure_threshold: told.failure_threshold,
                reset_timeout: Duration::from_millis(told.reset_timeout_milliseconds),
                max_reset_timeout: Duration::from_millis(told.max_reset_timeout_milliseconds),
                success_threshold: told.success_threshold,
                traffic_steps: told
                    .traffic_steps
                    .iter()
                    .map(|step| Percent::new(*step))
                    .collect(),
            },
            window: Duration::from_millis(window),
        }
    }
}

/// The gate of one target.
pub struct Gate {
    breaker: Mutex<(Breaker, CircuitRules)>,
    /// The share of requests that pass, in percent.
    share: AtomicU8,
    /// Nothing is to be told to the breaker by a success.
    calm: AtomicBool,
    suspected: AtomicBool,
    /// Logins that were refused since the last one that was not, [`ALL_REFUSED`] at most.
    refused: AtomicU8,
    /// Nanoseconds since the clock's start; 0: never.
    failed_at: AtomicU64,
    failures: AtomicU64,
}

impl Gate {
    pub fn new(rules: CircuitRules) -> Self {
        Self {
            breaker: Mutex::new((Breaker::default(), rules)),
            share: AtomicU8::new(100),
            calm: AtomicBool::new(true),
            suspected: AtomicBool::new(false),
            refused: AtomicU8::new(0),
            failed_at: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    /// Later outcomes count by these rules.
    pub fn obey(&self, rules: &CircuitRules) {
        let mut breaker = self.breaker.lock();
        if breaker.1 != *rules {
            breaker.1 = rules.clone();
        }
    }

    /// The share of the requests that pass now, in percent.
    pub fn share(&self) -> u32 {
        if self.suspected.load(Ordering::Relaxed) {
            return 0;
        }
        let share: u32 = self.share.load(Ordering::Relaxed).into();
        share >> self.refused.load(Ordering::Relaxed)
    }

    /// A login was refused although the server is well; `no_room`: for want of connections.
    pub fn refused(&self, no_room: bool, now: Moment) {
        self.failed_at.store(nanoseconds(now), Ordering::Relaxed);
        let most = if no_room { NO_ROOM } else { ALL_REFUSED };
        let more = |refused: u8| (refused < most).then(|| refused + 1);
        let _ = self
            .refused
            .try_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// A login succeeded.
    pub fn let_in(&self) {
        self.refused.store(0, Ordering::Relaxed);
    }

    /// Whether the target takes fewer requests than the table says, until a login there succeeds.
    pub fn is_out(&self) -> bool {
        self.is_suspected() || self.opens_until().is_some() || self.refused.load(Ordering::Relaxed) > 0
    }

    pub fn is_suspected(&self) -> bool {
        self.suspected.load(Ordering::Relaxed)
    }

    /// Suspects the target; whether it was not before.
    pub fn suspect(&self) -> bool {
        !self.suspected.swap(true, Ordering::AcqRel)
    }

    pub fn succeeded(&self, now: Moment) {
        if self.suspected.load(Ordering::Relaxed) {
            self.suspected.store(false, Ordering::Release);
        }
        if !self.calm.load(Ordering::Acquire) {
            self.observe(Outcome::Success, now);
        }
    }

    /// A request that began at `started` failed.
    pub fn failed(&self, started: Moment, now: Moment) {
        self.failed_at.store(nanoseconds(now), Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.observe(Outcome::Failure { started }, now);
    }

    fn observe(&self, outcome: Outcome, now: Moment) {
        let mut locked = self.breaker.lock();
        let (breaker, rules) = &mut *locked;
        breaker.observe(outcome, now, &rules.settings, rules.window);
        self.share
            .store(breaker.circuit.share(&rules.settings).get(), Ordering::Relaxed);
        let calm = breaker.circuit == Circuit::default();
        self.calm.store(calm, Ordering::Release);
    }

    /// When the circuit, which is open, may let requests through again; `None`: it is not open.
    pub fn opens_until(&self) -> Option<Moment> {
        match self.breaker.lock().0.circuit {
            Circuit::Open { until } => Some(until),
            _ => None,
        }
    }

    /// The share of the first requests after the circuit was open, in percent.
    pub fn first_step(&self) -> u32 {
        let locked = self.breaker.lock();
        let first = locked.1.settings.traffic_steps.first();
        first.map_or(100, |step| step.get().into())
    }

    /// Nothing failed since the last success.
    pub fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Acquire)
    }

    pub fn circuit(&self) -> CircuitState {
        self.breaker.lock().0.circuit.state()
    }

    pub fn failed_at(&self) -> u64 {
        self.failed_at.load(Ordering::Relaxed)
    }

    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.since_start().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> CircuitRules {
        CircuitRules {
            settings: BreakerSettings {
                enabled: true,
                failure_threshold: 3,
                reset_timeout: Duration::from_secs(10),
                max_reset_timeout: Duration::from_secs(60),
                success_threshold: 1,
                traffic_steps: [25, 50].map(Percent::new).to_vec(),
            },
            window: Duration::from_secs(1),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    #[test]
    fn failures_spread_over_the_window_close_the_gate_and_successes_open_it_step_by_step() {
        let gate = Gate::new(rules());
        for millis in [0, 1, 2] {
            gate.failed(at(millis), at(millis));
        }
        assert!(gate.share() == 100, "three failures at once are one event");
        for millis in [400, 800, 1200] {
            gate.failed(at(millis), at(millis));
        }
        assert!(gate.share() == 0);
        let until = gate.opens_until().expect("it is open");
        gate.succeeded(at(5_000));
        assert!(gate.share() == 0, "the reset timeout has not passed");
        gate.succeeded(until);
        assert!(gate.share() == 25, "the first step");
        gate.succeeded(until);
        assert!(gate.share() == 50, "the second step");
        gate.succeeded(until);
        assert!(gate.share() == 100);
        assert_eq!(gate.failures(), 6);
    }

    #[test]
    fn refused_logins_halve_the_share_until_one_succeeds() {
        let gate = Gate::new(rules());
        gate.refused(false, at(1));
        gate.succeeded(at(2));
        assert_eq!(gate.share(), 50, "an answer on an older connection is no login");
        (0..20).for_each(|_| gate.refused(false, at(3)));
        assert!(gate.share() == 0 && gate.is_out());
        assert_eq!(gate.failures(), 0, "it is well");
        gate.let_in();
        assert!(gate.share() == 100 && !gate.is_out());
        (0..20).for_each(|_| gate.refused(true, at(4)));
        assert_eq!(gate.share(), 12, "it serves on the connections that it has");
    }

    #[test]
    fn a_suspicion_keeps_everybody_out_until_an_answer() {
        let gate = Gate::new(rules());
        assert!(gate.suspect() && !gate.suspect());
        assert!(gate.share() == 0);
        gate.succeeded(at(1));
        assert!(gate.share() == 100);
    }
}
