//! PURE. What is promised of read replicas, and what a run shows of it: ours, the ceiling, the part of the hardware, the part of the
//! routing. A figure is the worse one of the two quota periods: what differs between them is not claimed.

use super::arm::Arm;
use super::record::{ArmRecord, Period, Record, Seen};
use super::statistics::{Interval, bootstrap, count, ratio, student};

/// The load at which latencies are compared, in percent of the saturation of (a).
pub const LOAD: u32 = 80;
/// Of the bootstrap.
const SEED: u64 = 1;

/// A promise, and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// What is promised.
    pub what: &'static str,
    /// How much.
    pub promised: f64,
    /// How it is written behind a number.
    unit: &'static str,
    /// How many digits behind the point.
    digits: usize,
    /// By (b) and (c).
    pub ours: [Interval; 2],
    /// What five equal servers allow.
    pub ceiling: f64,
    /// By (a5); `None` where one server cannot bring it.
    pub hardware: Option<Interval>,
    /// The better one of ours less the better one of (r) and (h), block by block.
    pub routing: Interval,
}

/// How much of it one arm brings, block by block.
type Brings<'a> = &'a dyn Fn(&Period, Arm) -> Vec<f64>;

impl Claim {
    /// Whether the better one of ours is as promised, surely.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        self.ours.iter().any(|ours| ours.low >= self.promised)
    }

    fn number(&self, value: f64) -> String {
        format!("{value:.*}{}", self.digits, self.unit)
    }

    fn range(&self, interval: &Interval) -> String {
        let Interval { low, mean, high } = interval;
        format!(
            "{} ({low:.*} to {high:.*})",
            self.number(*mean),
            self.digits,
            self.digits
        )
    }

    /// Its row: claim, (b), (c), ceiling, hardware, routing.
    #[must_use]
    pub fn row(&self) -> Vec<String> {
        let routing = if self.routing.low <= 0.0 && self.routing.high >= 0.0 {
            "none that is certain".to_owned()
        } else {
            self.range(&self.routing)
        };
        vec![
            format!("{}: {}", self.what, self.number(self.promised)),
            self.range(&self.ours[0]),
            self.range(&self.ours[1]),
            self.number(self.ceiling),
            self.hardware
                .map_or("none: it is one server".to_owned(), |part| self.range(&part)),
            routing,
        ]
    }
}

/// The five claims, those that are not reached first.
#[must_use]
pub fn claims(record: &Record) -> Vec<Claim> {
    let faster = |figure: fn(&Seen) -> f64| {
        move |period: &Period, arm: Arm| {
            let (before, after) = (
                period.figures(Arm::Primary, LOAD, figure),
                period.figures(arm, LOAD, figure),
            );
            let each = before.iter().zip(&after);
            each.map(|(before, after)| 100.0 * (1.0 - ratio(*after, *before)))
                .collect()
        }
    };
    // No answer is sooner than its processor time.
    let best = |cost: f64, period: &Period, figure: fn(&Seen) -> f64| {
        let before = period.figures(Arm::Primary, LOAD, figure);
        100.0 * (1.0 - ratio(cost, super::statistics::mean(&before)))
    };
    let reads: fn(&Seen) -> f64 = |seen| seen.reads.mean;
    let analytics: fn(&Seen) -> f64 = |seen| seen.analytics.mean;
    let primary: fn(&Seen) -> f64 = |seen| seen.servers.first().copied().unwrap_or(0.0);
    let more = |period: &Period, arm: Arm| {
        let (before, after) = (period.throughput(Arm::Primary), period.throughput(arm));
        let each = before.iter().zip(&after);
        each.map(|(before, after)| ratio(*after, *before)).collect()
    };
    let worst =
        |ceiling: &dyn Fn(&Period) -> f64| record.periods.iter().map(ceiling).fold(f64::INFINITY, f64::min);
    let claim = |what, promised, (unit, digits), brings: Brings, ceiling: f64, hardware| {
        of(record, what, promised, (unit, digits), brings, ceiling, hardware)
    };
    let mut all = vec![
        claim(
            "reads faster by",
            70.0,
            (" %", 0),
            &faster(reads),
            worst(&|period| best(period.costs.read(), period, reads)),
            true,
        ),
        claim(
            "load off the primary",
            80.0,
            (" %", 0),
            &faster(primary),
            worst(&|period| period.ceilings.offload),
            false,
        ),
        claim(
            "reads per second, times",
            5.0,
            ("", 1),
            &more,
            worst(&|period| period.ceilings.factor),
            true,
        ),
        claim(
            "analytics faster by",
            85.0,
            (" %", 0),
            &faster(analytics),
            worst(&|period| best(period.costs.analytics, period, analytics)),
            true,
        ),
    ];
    all.extend(availability(record));
    all.sort_by_key(Claim::is_reached);
    all
}

fn of(
    record: &Record,
    what: &'static str,
    promised: f64,
    (unit, digits): (&'static str, usize),
    brings: Brings,
    ceiling: f64,
    hardware: bool,
) -> Claim {
    let worst = |of: &dyn Fn(&Period) -> Vec<f64>| {
        let all = record.periods.iter().map(|period| student(&of(period)));
        all.min_by(|one, other| one.mean.total_cmp(&other.mean))
            .unwrap_or_default()
    };
    let arm = |arm| worst(&|period| brings(period, arm));
    let better = |period: &Period, arms: [Arm; 2]| {
        let both = arms.map(|arm| brings(period, arm));
        let mean = |all: &Vec<f64>| super::statistics::mean(all);
        let [one, other] = both;
        if mean(&one) >= mean(&other) { one } else { other }
    };
    let routing = |period: &Period| {
        let (ours, theirs) = (
            better(period, [Arm::Services, Arm::Client]),
            better(period, [Arm::Random, Arm::Haproxy]),
        );
        ours.iter()
            .zip(&theirs)
            .map(|(ours, theirs)| ours - theirs)
            .collect()
    };
    Claim {
        what,
        promised,
        unit,
        digits,
        ours: [arm(Arm::Services), arm(Arm::Client)],
        ceiling,
        hardware: hardware.then(|| arm(Arm::Big)),
        routing: worst(&routing),
    }
}

/// Shares of the requests that were answered in time and right, over the slots of the faults.
fn availability(record: &Record) -> Option<Claim> {
    let availability = record.availability.as_ref()?;
    let shares = |arm: Arm| -> Vec<f64> {
        let counts = availability.faults.iter().filter_map(|fault| {
            let (_, count) = fault.counts.iter().find(|(other, _)| *other == arm)?;
            Some(
                100.0
                    * ratio(
                        super::statistics::count(count.right),
                        super::statistics::count(count.sent),
                    ),
            )
        });
        counts.collect()
    };
    let mean = |arm: Arm| super::statistics::mean(&shares(arm));
    let better = |arms: [Arm; 2]| {
        if mean(arms[0]) >= mean(arms[1]) {
            arms[0]
        } else {
            arms[1]
        }
    };
    let (ours, theirs) = (
        shares(better([Arm::Services, Arm::Client])),
        shares(better([Arm::Random, Arm::Haproxy])),
    );
    let routing: Vec<_> = ours
        .iter()
        .zip(&theirs)
        .map(|(ours, theirs)| ours - theirs)
        .collect();
    Some(Claim {
        what: "answered in time and right, under faults",
        promised: 99.95,
        unit: " %",
        digits: 2,
        ours: [Arm::Services, Arm::Client].map(|arm| bootstrap(&shares(arm), SEED)),
        ceiling: 100.0,
        hardware: None,
        routing: bootstrap(&routing, SEED),
    })
}

/// The claims as a table, with the sentence of what is not reached.
#[must_use]
pub fn text(record: &Record) -> String {
    let claims = claims(record);
    let missed: Vec<_> = claims
        .iter()
        .filter(|claim| !claim.is_reached())
        .map(|claim| format!("{} {}", claim.what, claim.number(claim.promised)))
        .collect();
    let head = if missed.is_empty() {
        "Every claim is reached.".to_owned()
    } else {
        format!("Not reached: {}.", missed.join("; "))
    };
    let titles = [
        "claim",
        "ours, Services (b)",
        "ours, client (c)",
        "ceiling",
        "hardware's part (a5)",
        "routing's part",
    ];
    let rows: Vec<_> = claims.iter().map(Claim::row).collect();
    format!("{head}\n\n{}", super::tables::markdown(&titles, &rows))
}

/// The five lines of the README, with their heading.
#[must_use]
pub fn readme(record: &Record) -> String {
    format!(
        "## What it brings\n\n`make bench-offload` measures what is claimed of read replicas, with one primary and four replicas of \
         equal processor time; the other tables and how it is measured are in [Benchmarks](docs/benchmarks.md#offload). The hardware's \
         part is what one server with the processor time of all five brings. The routing's part is what ours bring beyond libpq's \
         `load_balance_hosts=random` and HAProxy, whichever is better. Intervals are of 95 % confidence.\n\n{}",
        text(record)
    )
}

/// The arm over the whole schedule of faults.
#[must_use]
pub fn share(arm: &ArmRecord) -> f64 {
    100.0 * ratio(count(arm.count.right), count(arm.count.sent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::example::record;

    fn claim(record: &Record, what: &str) -> Claim {
        let found = claims(record)
            .into_iter()
            .find(|claim| claim.what.starts_with(what));
        found.expect(what)
    }

    #[test]
    fn a_claim_has_ours_the_ceiling_the_hardware_and_the_routing() {
        let reads = claim(&record(), "reads faster");
        // 100 ms on the primary, 20 by Services, 10 by the client, 50 on the big server, 30 by HAProxy; 0.4 ms of processor time.
        assert_eq!(reads.ours.map(|ours| ours.mean.round()), [80.0, 90.0]);
        assert!((reads.ceiling - 99.6).abs() < 1e-9, "{}", reads.ceiling);
        assert_eq!(reads.hardware.map(|part| part.mean.round()), Some(50.0));
        assert_eq!(reads.routing.mean.round(), 20.0);
        assert!(reads.is_reached());
        let more = claim(&record(), "reads per second");
        assert_eq!(more.ours.map(|ours| ours.mean.round()), [5.0, 10.0]);
        assert!(claim(&record(), "load off").hardware.is_none());
    }

    #[test]
    fn a_figure_is_the_worse_one_of_the_two_periods() {
        let mut record = record();
        for cell in &mut record.periods[1].cells {
            if cell.arm == Arm::Client {
                cell.seen.reads.mean = 60.0;
            }
        }
        let reads = claim(&record, "reads faster");
        assert_eq!(reads.ours[1].mean.round(), 40.0);
        assert_eq!(reads.ours[0].mean.round(), 80.0);
    }

    #[test]
    fn what_is_not_reached_comes_first() {
        let all = claims(&record());
        assert!(all.is_sorted_by_key(Claim::is_reached));
        assert!(
            !all[0].is_reached(),
            "nothing goes off the primary in the example"
        );
        let text = text(&record());
        let first = text.lines().next().unwrap();
        assert!(first.starts_with("Not reached: ") && first.contains("load off the primary 80 %"));
        assert_eq!(text.lines().count(), 2 + 2 + 5, "five lines under their titles");
        assert!(text.contains("| none that is certain |"), "{text}");
    }

    #[test]
    fn the_shares_under_faults_are_those_of_the_slots() {
        let all = claim(&record(), "answered in time");
        assert_eq!(all.ours[0].mean, 99.0);
        assert_eq!(all.routing.mean, 0.0);
        let record = record();
        let arm = &record.availability.as_ref().unwrap().arms[0];
        assert_eq!(share(arm), 99.0);
    }
}
