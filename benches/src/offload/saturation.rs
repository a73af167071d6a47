//! PURE. Where an arm is saturated: the highest rate that it still answers well, by halving.

use serde::{Deserialize, Serialize};

/// A rate is too much where the p95 of reads is so many times the unloaded one,
pub const FACTOR: f64 = 10.0;
/// or a smaller share than this is answered in time.
pub const IN_TIME: f64 = 0.98;

/// What was seen at a rate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Requests of the mix that were sent, per second.
    pub rate: f64,
    /// Of reads, in milliseconds.
    pub p95: f64,
    /// The share of all requests that was answered in time.
    pub in_time: f64,
    /// Reads that were answered in time, per second.
    pub reads_per_second: f64,
    /// Processor time of each server in cores, the primary first: what was used up.
    pub servers: Vec<f64>,
    /// How much the generator's core was used, by all that runs on it.
    pub generator_core: f64,
    /// How much later than intended the generator sent, 99 % of all, in milliseconds.
    pub late_sending: f64,
}

impl Step {
    /// Whether this is too much; `unloaded` is the p95 of reads without load, in milliseconds.
    #[must_use]
    pub fn is_saturated(&self, unloaded: f64) -> bool {
        self.p95 > FACTOR * unloaded || self.in_time < IN_TIME
    }
}

/// The search between two rates. Each step halves the ratio of the two.
#[derive(Clone, Debug)]
pub struct Search {
    good: f64,
    bad: f64,
    left: usize,
    unloaded: f64,
    steps: Vec<Step>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Found {
    /// The highest rate that was good, per second; the lower end of the search where none was.
    pub rate: f64,
    /// Reads per second that were answered at that rate; 0 where none was good.
    pub reads_per_second: f64,
    /// No rate was good: saturation lies below `rate`.
    pub below: bool,
    /// Every rate was good: saturation lies above `rate`.
    pub above: bool,
    /// All that was tried.
    pub steps: Vec<Step>,
}

impl Search {
    /// So many steps between these rates; `unloaded` as in [`Step::is_saturated`].
    #[must_use]
    pub fn new(low: f64, high: f64, steps: usize, unloaded: f64) -> Self {
        Self {
            good: low,
            bad: high,
            left: steps,
            unloaded,
            steps: vec![],
        }
    }

    /// The rate to try next.
    #[must_use]
    pub fn next(&self) -> Option<f64> {
        (self.left > 0).then(|| (self.good * self.bad).sqrt())
    }

    /// Notes what was seen at it.
    pub fn note(&mut self, step: Step) {
        self.left = self.left.saturating_sub(1);
        if step.is_saturated(self.unloaded) {
            self.bad = step.rate;
        } else {
            self.good = step.rate;
        }
        self.steps.push(step);
    }

    /// What it found.
    #[must_use]
    pub fn found(self) -> Found {
        let unloaded = self.unloaded;
        let (bad, good): (Vec<&Step>, Vec<&Step>) =
            self.steps.iter().partition(|step| step.is_saturated(unloaded));
        let best = good.iter().max_by(|one, other| one.rate.total_cmp(&other.rate));
        Found {
            rate: self.good,
            reads_per_second: best.map_or(0.0, |step| step.reads_per_second),
            below: good.is_empty(),
            above: bad.is_empty(),
            steps: self.steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that is good up to this rate.
    fn run(limit: f64) -> Found {
        let mut search = Search::new(100.0, 1600.0, 6, 2.0);
        while let Some(rate) = search.next() {
            let p95 = if rate > limit { 21.0 } else { 19.0 };
            search.note(Step {
                rate,
                p95,
                in_time: 1.0,
                reads_per_second: rate * 0.95,
                ..Step::default()
            });
        }
        search.found()
    }

    #[test]
    fn it_finds_the_limit_to_a_step() {
        let found = run(700.0);
        assert!(found.rate <= 700.0 && found.rate > 700.0 / 1.05, "{found:?}");
        assert!((found.reads_per_second - found.rate * 0.95).abs() < 1e-9);
        assert_eq!((found.below, found.above, found.steps.len()), (false, false, 6));
    }

    #[test]
    fn a_limit_beyond_either_end_is_told() {
        let above = run(9999.0);
        assert!(above.above && !above.below && above.rate > 1500.0);
        let below = run(1.0);
        assert!(below.below && !below.above);
        assert_eq!((below.rate, below.reads_per_second), (100.0, 0.0));
    }

    #[test]
    fn too_slow_or_too_few_is_saturated() {
        let step = |p95, in_time| Step {
            p95,
            in_time,
            ..Step::default()
        };
        assert!(!step(20.0, 0.98).is_saturated(2.0));
        assert!(step(20.1, 1.0).is_saturated(2.0));
        assert!(step(1.0, 0.979).is_saturated(2.0));
    }
}
