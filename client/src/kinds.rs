//! Circuits of the kinds of requests at one target: a server may be well, and one class or operation not get its answers there.
//!
//! Pure but for its counters. A kind is the class of a request or, where it has none, its operation. It has a circuit from its first
//! failure on until that is closed again and its place is needed.
//!
//! | what is seen of a read of the kind | circuit |
//! |---|---|
//! | its deadline passed while the server owed an answer | failure |
//! | SQLSTATE of the classes 53 (but 53300), 58 and XX, and 57014 | failure |
//! | any other answer | success |
//! | the connection was lost, a wait for the pool, the caller's cancellation | |

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use distributary_core::Moment;
use distributary_core::breaker::CircuitState;

use crate::gate::{CircuitRules, Gate};

/// Kinds of one target that have circuits; others have none.
const MOST: usize = 64;

/// Circuits by the names of the kinds.
type Known = Vec<(Arc<str>, Arc<Gate>)>;

/// The circuits of one target.
#[derive(Default)]
pub struct Kinds {
    known: ArcSwap<Known>,
    /// Whether there is any: read for each pick.
    any: AtomicBool,
}

impl Kinds {
    /// The share of the requests of this kind that pass, in percent.
    pub fn share(&self, kind: Option<&str>, now: impl FnOnce() -> Moment) -> u32 {
        let Some(gate) = self.gate(kind) else { return 100 };
        // Nobody else asks the server on behalf of the kind: once the time is over, some of its requests do.
        match gate.opens_until() {
            Some(until) if now() >= until => gate.first_step(),
            _ => gate.share(),
        }
    }

    /// When a request of this kind failed last; 0: never.
    pub fn failed_at(&self, kind: Option<&str>) -> u64 {
        self.gate(kind).map_or(0, |gate| gate.failed_at())
    }

    /// A request that began at `started` was not answered as it should have been.
    pub fn failed(&self, kind: &str, rules: &CircuitRules, started: Moment, now: Moment) {
        if !rules.settings.enabled {
            return;
        }
        let gate = self.gate(Some(kind)).or_else(|| self.begin(kind, rules));
        if let Some(gate) = gate {
            gate.failed(started, now);
        }
    }

    /// A request was answered.
    pub fn succeeded(&self, kind: Option<&str>, now: Moment) {
        if let Some(gate) = self.gate(kind) {
            gate.succeeded(now);
        }
    }

    /// Later outcomes count by these rules.
    pub fn obey(&self, rules: &CircuitRules) {
        for (_, gate) in self.known.load().iter() {
            gate.obey(rules);
        }
    }

    /// The circuits that are not closed.
    pub fn open(&self) -> Vec<(String, CircuitState)> {
        let known = self.known.load();
        let states = known
            .iter()
            .map(|(kind, gate)| (kind.to_string(), gate.circuit()));
        states
            .filter(|(_, state)| *state != CircuitState::Closed)
            .collect()
    }

    fn gate(&self, kind: Option<&str>) -> Option<Arc<Gate>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let (kind, known) = (kind?, self.known.load());
        let mut known = known.iter();
        known
            .find(|(name, _)| **name == *kind)
            .map(|(_, gate)| Arc::clone(gate))
    }

    /// A circuit for a kind that has none; `None`: there is no place.
    fn begin(&self, kind: &str, rules: &CircuitRules) -> Option<Arc<Gate>> {
        let (name, begun) = (Arc::<str>::from(kind), Arc::new(Gate::new(rules.clone())));
        self.known.rcu(|known| {
            let mut known = Known::clone(known);
            if known.len() >= MOST {
                known.retain(|(_, gate)| !gate.is_calm());
            }
            let is_there = known.iter().any(|(other, _)| *other == name);
            if known.len() < MOST && !is_there {
                known.push((Arc::clone(&name), Arc::clone(&begun)));
            }
            known
        });
        self.any.store(true, Ordering::Release);
        self.gate(Some(kind))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use distributary_core::percent::Percent;
    use distributary_core::policy::BreakerSettings;

    use super::*;

    fn rules() -> CircuitRules {
        CircuitRules {
            settings: BreakerSettings {
                enabled: true,
                failure_threshold: 2,
                reset_timeout: Duration::from_secs(10),
                max_reset_timeout: Duration::from_secs(60),
                success_threshold: 1,
                traffic_steps: [25].map(Percent::new).to_vec(),
            },
            window: Duration::from_secs(1),
        }
    }

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn share(kinds: &Kinds, kind: &str, millis: u64) -> u32 {
        kinds.share(Some(kind), || at(millis))
    }

    #[test]
    fn the_circuit_of_one_kind_keeps_no_other_one_out_and_returns_step_by_step() {
        let kinds = Kinds::default();
        for millis in [0, 600, 1200] {
            kinds.failed("report", &rules(), at(millis), at(millis));
        }
        assert_eq!(
            (share(&kinds, "report", 2000), share(&kinds, "search", 2000)),
            (0, 100)
        );
        assert_eq!(kinds.share(None, || at(2000)), 100);
        assert_eq!(kinds.open(), [("report".to_owned(), CircuitState::Open)]);
        assert_eq!(share(&kinds, "report", 20_000), 25, "some try whether it is well");
        kinds.succeeded(Some("report"), at(20_000));
        assert_eq!(share(&kinds, "report", 20_000), 25);
        kinds.succeeded(Some("report"), at(20_001));
        assert_eq!(share(&kinds, "report", 20_001), 100);
        assert_eq!(kinds.open(), []);
    }

    #[test]
    fn kinds_are_bounded_and_one_that_is_well_makes_room() {
        let kinds = Kinds::default();
        let fail = |kind: usize| kinds.failed(&kind.to_string(), &rules(), at(1), at(1));
        (0..MOST + 10).for_each(fail);
        assert_eq!(kinds.known.load().len(), MOST);
        assert_eq!(kinds.failed_at(Some("70")), 0, "there is no place for it");
        kinds.succeeded(Some("3"), at(2));
        fail(70);
        assert!(kinds.failed_at(Some("70")) > 0);
        assert_eq!(kinds.failed_at(Some("3")), 0);
    }

    #[test]
    fn a_policy_without_circuits_has_none() {
        let kinds = Kinds::default();
        let mut off = rules();
        off.settings.enabled = false;
        for millis in [0, 600, 1200, 2000] {
            kinds.failed("report", &off, at(millis), at(millis));
        }
        assert_eq!(share(&kinds, "report", 2000), 100);
    }
}
