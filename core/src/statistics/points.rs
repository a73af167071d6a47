//! Counters of a server over the last minutes, close together for the last seconds and further apart before.

use std::time::Duration;

use super::ring::Ring;
use crate::moment::Moment;
use crate::observation::Load;

/// Least distance of two points of the last seconds, and how many there are: more than 10 s.
const CLOSE: (u64, usize) = (1_000_000, 12);
/// Least distance of two points of the last minutes, and how many there are: more than 5 minutes.
const FAR: (u64, usize) = (20_000_000, 17);

/// Over one window. `None`: it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Transactions ended per second, all databases and clients, without those of operators, as far as these are known.
    pub transactions: Option<f64>,
    /// The mean number of client sessions, without those of operators.
    pub sessions: Option<f64>,
    /// Rows that scans and indexes returned per second (`tup_returned`), catalogs included.
    pub rows_returned: Option<f64>,
    /// Rows inserted, updated and deleted per second; of a standby 0.
    pub rows_changed: Option<f64>,
}

/// What a server told, and the transactions that operators made for it.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    pub at: Moment,
    pub load: Load,
    pub asked: u64,
}

/// Counters at one moment, all since anything or other.
#[derive(Clone, Copy, Debug, Default)]
struct Point {
    /// In microseconds since the start of the process.
    at: u64,
    transactions: u64,
    /// Those of operators among them.
    asked: u64,
    /// Sessions times microseconds.
    sessions: u64,
    returned: u64,
    changed: u64,
}

/// All since the last gap.
#[derive(Clone, Debug, Default)]
pub struct Points {
    newest: Option<(Point, Load)>,
    /// Of the first point: transactions of others than operators.
    first: u64,
    /// Since the first point, as were counted.
    counted: u64,
    close: Ring<Point, { CLOSE.1 }>,
    far: Ring<Point, { FAR.1 }>,
}

impl Points {
    /// Takes in what came after the others. Returns how many transactions more are known to have ended: of operators, which tell
    /// when they ask, none.
    pub fn add(&mut self, reading: Reading) -> u64 {
        let Reading { at, load, asked } = reading;
        let at = micros(at.since_start());
        let mut point = Point {
            at,
            transactions: load.transactions,
            asked,
            sessions: 0,
            returned: load.rows_returned,
            changed: load.rows_changed,
        };
        match &self.newest {
            Some((last, before)) if goes_on(before, &load) => {
                if at <= last.at {
                    return 0;
                }
                let both = u64::from(before.sessions) + u64::from(load.sessions);
                point.sessions = last
                    .sessions
                    .saturating_add(both.saturating_mul(at - last.at) / 2);
                point.asked = last.asked.saturating_add(asked);
            }
            // A gap. What was asked until now is in the counters that begin here.
            _ => {
                *self = Self {
                    first: point.transactions.saturating_sub(point.asked),
                    ..Self::default()
                };
            }
        }
        self.newest = Some((point, load));
        keep(&mut self.close, CLOSE.0, point);
        keep(&mut self.far, FAR.0, point);
        let all = point
            .transactions
            .saturating_sub(point.asked)
            .saturating_sub(self.first);
        let more = all.saturating_sub(self.counted);
        self.counted += more;
        more
    }

    /// From the newest point of all that is at least the window older than the newest, and not half a window more.
    pub fn rates(&self, window: Duration, now: Moment) -> Rates {
        let (window, now) = (micros(window), micros(now.since_start()));
        let Some((newest, _)) = &self.newest else {
            return Rates::default();
        };
        let age = |point: &Point| newest.at - point.at;
        let reaches = |point: &&Point| age(point) >= window;
        let bases = [
            self.close.newest_first().find(reaches),
            self.far.newest_first().find(reaches),
        ];
        let base = bases.into_iter().flatten().min_by_key(|point| age(point));
        match base {
            Some(base) if age(base) <= window + window / 2 && now.saturating_sub(newest.at) <= window => {
                between(base, newest)
            }
            _ => Rates::default(),
        }
    }
}

/// Whether the counters of a server go on from those before.
fn goes_on(before: &Load, load: &Load) -> bool {
    (before.started, before.resets, before.databases) == (load.started, load.resets, load.databases)
        && before.transactions <= load.transactions
        && before.rows_returned <= load.rows_returned
        && before.rows_changed <= load.rows_changed
}

fn keep<const N: usize>(ring: &mut Ring<Point, N>, apart: u64, point: Point) {
    let last = ring.newest_first().next();
    if last.is_none_or(|last| point.at >= last.at + apart) {
        ring.push(point);
    }
}

fn between(base: &Point, newest: &Point) -> Rates {
    let seconds = number(newest.at - base.at) / 1e6;
    let all = newest.transactions - base.transactions;
    let others = all.saturating_sub(newest.asked - base.asked);
    let per_second = |count: u64| Some(number(count) / seconds);
    Rates {
        transactions: per_second(others),
        sessions: per_second(newest.sessions - base.sessions).map(|sessions| sessions / 1e6),
        rows_returned: per_second(newest.returned - base.returned),
        rows_changed: per_second(newest.changed - base.changed),
    }
}

/// To 53 bits, which is more than anybody reads.
#[expect(clippy::cast_precision_loss)]
const fn number(count: u64) -> f64 {
    count as f64
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
