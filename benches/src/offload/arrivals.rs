//! PURE. What is asked when: 80 % point reads, 15 % dashboard queries, 5 % writes, and analytics beside them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::random::Random;

/// The shares of the kinds in the mix, in percent: point reads, dashboard queries, writes.
pub const MIX: [usize; 3] = [80, 15, 5];
/// The rows of the table that is read.
pub const ROWS: usize = 20_000;

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// One row by its key.
    Point,
    /// A sum over some thousand rows.
    Dashboard,
    /// One new row.
    Write,
    /// The different values of half of the table. One of them takes at most the quotas of two periods: a larger one would hold up all
    /// reads beside it, and the primary were saturated by how its quota is dealt out, not by its load.
    Analytics,
}

/// A request, and when it is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Since the beginning of the schedule.
    pub at: Duration,
    /// What is asked.
    pub kind: Kind,
    /// Of which row; of a write, whatever.
    pub key: usize,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Point, Self::Dashboard, Self::Write, Self::Analytics];

    /// Whether it counts among the reads: analytics are reported apart.
    #[must_use]
    pub fn is_read(self) -> bool {
        matches!(self, Self::Point | Self::Dashboard)
    }

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Point => "point read",
            Self::Dashboard => "dashboard",
            Self::Write => "write",
            Self::Analytics => "analytics",
        }
    }
}

/// Requests that arrive by chance, independently of the answers: so many of the mix per second, and so many of analytics. Of analytics, which
/// are few, one comes in each part of the time, at any moment of it: else some schedules had none.
#[must_use]
pub fn arrivals(random: &mut Random, rate: f64, analytics: f64, length: Duration) -> Vec<Request> {
    let mut all = of(random, rate, length, |random| {
        let drawn = random.below(100);
        if drawn < MIX[0] {
            Kind::Point
        } else if drawn < MIX[0] + MIX[1] {
            Kind::Dashboard
        } else {
            Kind::Write
        }
    });
    all.extend(one_in_each(random, analytics, length));
    all.sort_by_key(|request| request.at);
    all
}

fn one_in_each(random: &mut Random, rate: f64, length: Duration) -> Vec<Request> {
    let (mut all, mut number) = (vec![], 0.0);
    // A rest of a part of the time that is merely an error of rounding is none.
    while rate > 0.0 && number + 1e-6 < rate * length.as_secs_f64() {
        let part = (rate * length.as_secs_f64() - number).min(1.0);
        let at = Duration::from_secs_f64((number + part * random.unit()) / rate);
        let key = random.below(ROWS) + 1;
        all.push(Request {
            at,
            kind: Kind::Analytics,
            key,
        });
        number += 1.0;
    }
    all
}

fn of(
    random: &mut Random,
    rate: f64,
    length: Duration,
    mut kind: impl FnMut(&mut Random) -> Kind,
) -> Vec<Request> {
    let (mut all, mut at) = (vec![], 0.0);
    if rate <= 0.0 {
        return all;
    }
    loop {
        at += random.exponential(1.0 / rate);
        if at >= length.as_secs_f64() {
            return all;
        }
        let kind = kind(random);
        let key = random.below(ROWS) + 1;
        let at = Duration::from_secs_f64(at);
        all.push(Request { at, kind, key });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::statistics::count;

    #[test]
    fn the_mix_has_its_shares_and_its_rate() {
        let all = arrivals(&mut Random::new(5), 1000.0, 10.0, Duration::from_secs(100));
        let of = |kind| count(all.iter().filter(|one| one.kind == kind).count());
        assert!((of(Kind::Point) / 80_000.0 - 1.0).abs() < 0.02);
        assert!((of(Kind::Dashboard) / 15_000.0 - 1.0).abs() < 0.03);
        assert!((of(Kind::Write) / 5000.0 - 1.0).abs() < 0.05);
        assert!((of(Kind::Analytics) - 1000.0).abs() < 1e-9);
        assert!(all.iter().all(|one| one.at < Duration::from_secs(100)));
        assert!(all.is_sorted_by_key(|one| one.at));
        assert!(all.iter().all(|one| (1..=ROWS).contains(&one.key)));
    }

    #[test]
    fn the_same_seed_gives_the_same_requests_and_no_rate_gives_none() {
        let of = |seed| arrivals(&mut Random::new(seed), 50.0, 1.0, Duration::from_secs(5));
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert!(arrivals(&mut Random::new(1), 0.0, 0.0, Duration::from_secs(5)).is_empty());
    }
}
