//! PURE. Which server fails when, and how: the same for all arms, which ask the same servers at the same time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::random::Random;

/// What befalls a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Calamity {
    /// SIGKILL to all its processes; it starts again when the fault is over.
    Crash,
    /// A fast stop and a start at once.
    Restart,
    /// It replays nothing until the fault is over.
    Lag,
    /// SIGSTOP to all its processes.
    Freeze,
    /// It is stopped for good, another server is promoted, and it comes back as a replica.
    Promotion,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// When it begins, since the beginning of the schedule.
    pub at: Duration,
    /// How long it lasts.
    pub lasts: Duration,
    /// The server, counted from 0 in the order of the cluster.
    pub server: usize,
}

/// What comes next for a primary and for a replica: which of them a server is then, only the run knows.
#[derive(Clone, Debug)]
pub struct Kinds {
    random: Random,
    primary: Vec<Calamity>,
    replica: Vec<Calamity>,
}

impl Calamity {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Crash,
        Self::Restart,
        Self::Lag,
        Self::Freeze,
        Self::Promotion,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Restart => "restart",
            Self::Lag => "lag",
            Self::Freeze => "freeze",
            Self::Promotion => "promotion",
        }
    }
}

/// One fault in each slot of this length. It lasts a third of it, so that the servers are well before the next one. Servers come in
/// rounds in which each has its turn.
#[must_use]
pub fn slots(random: &mut Random, servers: usize, length: Duration, slot: Duration) -> Vec<Slot> {
    let number = (length.as_millis() / slot.as_millis().max(1)).min(10_000);
    let (mut all, mut round, mut start) = (vec![], vec![], Duration::ZERO);
    for _ in 0..number {
        if round.is_empty() {
            round = (0..servers).collect();
            random.shuffle(&mut round);
        }
        // Any moment between two periodic checks.
        let at = start + slot.mul_f64(0.1 + 0.1 * random.unit());
        all.extend(round.pop().map(|server| Slot {
            at,
            lasts: slot / 3,
            server,
        }));
        start += slot;
    }
    all
}

impl Kinds {
    /// By this seed.
    #[must_use]
    pub fn new(random: Random) -> Self {
        Self {
            random,
            // The first one of a primary, so that every run has one.
            primary: vec![Calamity::Promotion],
            replica: vec![],
        }
    }

    /// The next one. Each kind that can befall such a server has its turn before one comes again.
    pub fn next(&mut self, primary: bool) -> Calamity {
        let impossible = if primary {
            Calamity::Lag
        } else {
            Calamity::Promotion
        };
        let left = if primary {
            &mut self.primary
        } else {
            &mut self.replica
        };
        if left.is_empty() {
            *left = Calamity::ALL
                .into_iter()
                .filter(|kind| *kind != impossible)
                .collect();
            self.random.shuffle(left);
        }
        left.pop().unwrap_or(Calamity::Crash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Calamity::{Crash, Freeze, Lag, Promotion, Restart};

    #[test]
    fn every_server_is_hit_equally_often_and_faults_end_before_the_next() {
        let slot = Duration::from_secs(60);
        let all = slots(&mut Random::new(9), 5, slot * 30, slot);
        assert_eq!(all.len(), 30);
        for server in 0..5 {
            assert_eq!(all.iter().filter(|one| one.server == server).count(), 6);
        }
        for (number, one) in all.iter().enumerate() {
            let start = slot * u32::try_from(number).unwrap();
            assert!(one.at >= start + slot / 10 && one.at + one.lasts < start + slot.mul_f64(0.54));
        }
        assert_eq!(
            all,
            slots(&mut Random::new(9), 5, slot * 30, slot),
            "the same seed"
        );
        assert_ne!(all, slots(&mut Random::new(8), 5, slot * 30, slot));
        assert!(slots(&mut Random::new(9), 5, slot / 2, slot).is_empty());
    }

    #[test]
    fn each_kind_has_its_turn_and_none_comes_that_cannot_be() {
        let mut kinds = Kinds::new(Random::new(2));
        assert_eq!(kinds.next(true), Calamity::Promotion, "every run has one");
        let mut of = |primary| {
            let mut four: Vec<_> = (0..4).map(|_| kinds.next(primary)).collect();
            four.sort();
            four
        };
        for _ in 0..3 {
            assert_eq!(of(true), [Crash, Restart, Freeze, Promotion]);
            assert_eq!(of(false), [Crash, Restart, Lag, Freeze]);
        }
    }
}
