//! PURE. What the blocks of a run say together: means with intervals, for the JSON. The tables have the same ones.

use super::arm::Arm;
use super::record::{LOADS, Period, Record, Seen, Summary};
use super::statistics::student;

/// A figure of a load.
type Figure = (&'static str, fn(&Seen) -> f64);

const FIGURES: [Figure; 7] = [
    ("readsMean", |seen| seen.reads.mean),
    ("readsP50", |seen| seen.reads.p50),
    ("readsP95", |seen| seen.reads.p95),
    ("readsP99", |seen| seen.reads.p99),
    ("analyticsMean", |seen| seen.analytics.mean),
    ("primaryCores", |seen| {
        seen.servers.first().copied().unwrap_or(0.0)
    }),
    ("readsPerSecond", |seen| seen.reads_per_second),
];

/// Of a whole run: the figures of each arm at each load, and reads per second at its own saturation.
#[must_use]
pub fn of(record: &Record) -> Vec<Summary> {
    let periods = record.periods.iter();
    periods
        .flat_map(|period| Arm::ALL.into_iter().flat_map(move |arm| of_arm(period, arm)))
        .collect()
}

fn of_arm(period: &Period, arm: Arm) -> Vec<Summary> {
    let row = |load: Option<u32>, figure: &str, blocks: &[f64]| Summary {
        period: period.period,
        arm,
        load,
        figure: figure.to_owned(),
        value: student(blocks),
    };
    let loads = LOADS.into_iter().flat_map(|load| {
        FIGURES.map(|(name, figure)| row(Some(load), name, &period.figures(arm, load, figure)))
    });
    loads
        .chain([row(None, "readsPerSecond", &period.throughput(arm))])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::example::record;

    #[test]
    fn each_arm_has_each_figure_at_each_load_and_its_saturation() {
        let all = of(&record());
        assert_eq!(all.len(), 2 * Arm::ALL.len() * (LOADS.len() * FIGURES.len() + 1));
        let found = all
            .iter()
            .find(|one| (one.arm, one.load, one.figure.as_str()) == (Arm::Services, Some(80), "readsMean"));
        assert_eq!(found.map(|one| one.value.mean), Some(20.0));
    }
}
