//! A write-ahead log that grows as a script says, and standbys that follow it.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_core::Moment;
use distributary_core::observation::Lsn;

/// Where every log begins.
const BEGIN: u64 = 1 << 30;

/// How a standby follows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Follows {
    /// So many milliseconds behind.
    Behind(u64),
    /// It stands where it was at the moment from which this holds.
    Stalled,
}

#[derive(Debug, Default)]
pub struct Log {
    /// Bytes a second, from a moment on; none before the first.
    rates: Vec<(Moment, u64)>,
    standbys: BTreeMap<String, Vec<(Moment, Follows)>>,
}

impl Log {
    /// From `seconds` on the primary writes so many bytes a second.
    pub fn writes(&mut self, seconds: f64, rate: u64) -> &mut Self {
        self.rates
            .push((Moment::new(Duration::from_secs_f64(seconds)), rate));
        self.rates.sort_unstable();
        self
    }

    /// From `seconds` on the standby follows so.
    pub fn follows(&mut self, seconds: f64, id: &str, how: Follows) -> &mut Self {
        let script = self.standbys.entry(id.to_owned()).or_default();
        script.push((Moment::new(Duration::from_secs_f64(seconds)), how));
        script.sort_by_key(|(moment, _)| *moment);
        self
    }

    /// Where the primary is at `now`.
    pub fn head(&self, now: Moment) -> Lsn {
        let ends = self.rates.iter().skip(1).map(|(moment, _)| *moment).chain([now]);
        let written: u128 = self
            .rates
            .iter()
            .zip(ends)
            .map(|((from, rate), to)| {
                let time = to.min(now).since(*from).as_micros();
                time * u128::from(*rate) / 1_000_000
            })
            .sum();
        Lsn(BEGIN + u64::try_from(written).expect("a log position"))
    }

    /// How far the standby has replayed.
    pub fn replayed(&self, id: &str, now: Moment) -> Lsn {
        let script = self.standbys.get(id).map(Vec::as_slice).unwrap_or_default();
        match script.iter().rposition(|(from, _)| *from <= now) {
            None => self.head(now),
            Some(at) => match script[at] {
                (_, Follows::Behind(millis)) => self.head(now - Duration::from_millis(millis)),
                (from, Follows::Stalled) => {
                    let before = script[..at].last();
                    match before {
                        Some((_, Follows::Behind(millis))) => {
                            self.head(from - Duration::from_millis(*millis))
                        }
                        _ => self.head(from),
                    }
                }
            },
        }
    }
}
