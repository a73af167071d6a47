//! PURE. Whether an answer is right: a read that is older than the bound is wrong, and so is a write that is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arrivals::Kind;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered; of a read, the number of the clock that it saw.
    Answered {
        /// From the intended time of sending.
        took: Duration,
        /// What the clock in the database said; 0 of a write.
        clock: usize,
    },
    /// Refused, or the connection was lost.
    Failed,
    /// No answer by the deadline.
    Late,
}

/// A request of the measurement of availability and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// When it was to be sent, since the beginning.
    pub at: Duration,
    /// What was asked.
    pub kind: Kind,
    /// Of a write: its row.
    pub row: i64,
    /// What became of it.
    pub outcome: Outcome,
}

/// A counter in the database that goes up all the time, and when each number of it was certainly committed.
#[derive(Clone, Debug, Default)]
pub struct Clock(Vec<Duration>);

/// How many requests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Count {
    /// All of them.
    pub sent: usize,
    /// Answered in time and right.
    pub right: usize,
    /// Refused, or the connection was lost.
    pub failed: usize,
    /// No answer in time.
    pub late: usize,
    /// Reads that were answered with what is older than the bound.
    pub stale: usize,
    /// Writes that were confirmed and are not there at the end.
    pub vanished: usize,
    /// All but the right ones, by kind in the order of [`Kind::ALL`].
    pub lost_of: [usize; 4],
}

impl Clock {
    /// The next number was committed by then, since the beginning.
    pub fn committed(&mut self, at: Duration) {
        self.0.push(at);
    }

    /// The newest number.
    #[must_use]
    pub fn now(&self) -> usize {
        self.0.len()
    }

    /// A promotion lost all numbers after this one: nobody can read them any more.
    pub fn lost_after(&mut self, number: usize) {
        self.0.truncate(number);
    }

    /// Whether a read that was sent at `sent` and saw this number is older than `bound`: the next one had been there for longer.
    #[must_use]
    pub fn is_stale(&self, number: usize, sent: Duration, bound: Duration) -> bool {
        self.0.get(number).is_some_and(|next| *next + bound < sent)
    }
}

impl Count {
    /// Counts one; `kept` are the written rows that are there at the end.
    pub fn add(&mut self, probe: &Probe, clock: &Clock, bound: Duration, kept: &BTreeSet<i64>) {
        self.sent += 1;
        let right = self.right;
        match probe.outcome {
            Outcome::Failed => self.failed += 1,
            Outcome::Late => self.late += 1,
            Outcome::Answered { .. } if probe.kind == Kind::Write => {
                if kept.contains(&probe.row) {
                    self.right += 1;
                } else {
                    self.vanished += 1;
                }
            }
            Outcome::Answered { clock: number, .. } => {
                if clock.is_stale(number, probe.at, bound) {
                    self.stale += 1;
                } else {
                    self.right += 1;
                }
            }
        }
        if self.right == right {
            let kinds = Kind::ALL.iter().zip(&mut self.lost_of);
            kinds
                .filter(|(kind, _)| **kind == probe.kind)
                .for_each(|(_, lost)| *lost += 1);
        }
    }

    /// Those of two together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let mut lost_of = self.lost_of;
        for (lost, more) in lost_of.iter_mut().zip(other.lost_of) {
            *lost += more;
        }
        Self {
            lost_of,
            sent: self.sent + other.sent,
            right: self.right + other.right,
            failed: self.failed + other.failed,
            late: self.late + other.late,
            stale: self.stale + other.stale,
            vanished: self.vanished + other.vanished,
        }
    }

    /// Those that were not answered in time and right.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.failed + self.late + self.stale + self.vanished
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn probe(kind: Kind, outcome: Outcome) -> Probe {
        Probe {
            at: SECOND * 10,
            kind,
            row: 7,
            outcome,
        }
    }

    fn clock() -> Clock {
        let mut clock = Clock::default();
        (1..=12).for_each(|second| clock.committed(SECOND * second));
        clock
    }

    #[test]
    fn a_read_is_stale_when_the_next_number_had_been_there_for_longer_than_the_bound() {
        let clock = clock();
        let stale = |number| clock.is_stale(number, SECOND * 10, SECOND * 5);
        assert!(stale(3), "number 4 was there for 6 s");
        assert!(!stale(4), "number 5 was there for 5 s, which is not longer");
        assert!(!stale(12), "nothing newer is known");
        assert!(
            !clock.is_stale(30, SECOND * 10, SECOND),
            "committed, but not confirmed"
        );
    }

    #[test]
    fn what_a_promotion_lost_makes_nothing_stale() {
        let mut clock = clock();
        clock.lost_after(3);
        assert_eq!(clock.now(), 3);
        assert!(!clock.is_stale(3, SECOND * 10, SECOND));
        assert!(clock.is_stale(2, SECOND * 10, SECOND));
    }

    #[test]
    fn every_probe_counts_once() {
        let answered = |clock| Outcome::Answered { took: SECOND, clock };
        let (kept, none) = (BTreeSet::from([7]), BTreeSet::new());
        let mut count = Count::default();
        let mut add = |kind, outcome, kept| count.add(&probe(kind, outcome), &clock(), SECOND * 5, kept);
        add(Kind::Point, answered(9), &none);
        add(Kind::Analytics, answered(1), &none);
        add(Kind::Write, answered(0), &kept);
        add(Kind::Write, answered(0), &none);
        add(Kind::Dashboard, Outcome::Failed, &none);
        add(Kind::Write, Outcome::Late, &none);
        let expected = Count {
            sent: 6,
            right: 2,
            failed: 1,
            late: 1,
            stale: 1,
            vanished: 1,
            lost_of: [0, 1, 2, 1],
        };
        assert_eq!(count, expected);
        assert_eq!(count.lost() + count.right, count.sent);
        assert_eq!(count.plus(count).sent, 12);
        assert_eq!(count.plus(count).lost_of, [0, 2, 4, 2]);
    }
}
