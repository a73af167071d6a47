//! PURE. Whether a record is whole, and its figures fit together.

use super::arm::Arm;
use super::record::{Availability, LOADS, Period, Record, Seen, VERSION};
use super::right::Count;
use super::statistics::Latency;
use super::summary;

/// Whether every part was measured.
#[must_use]
pub fn has_all(record: &Record) -> bool {
    record.periods.len() == 2 && record.situations.len() == 3 && record.availability.is_some()
}

/// What does not hold, in words; empty where all is well.
#[must_use]
pub fn faults(record: &Record) -> Vec<String> {
    let mut all = vec![];
    let mut must = |holds: bool, what: String| {
        if !holds {
            all.push(what);
        }
    };
    must(record.version == VERSION, format!("version {}", record.version));
    must(record.complete, "the run is not complete".to_owned());
    must(
        record.periods.len() == 2,
        format!("{} quota periods", record.periods.len()),
    );
    must(
        record.situations.len() == 3,
        format!("{} situations", record.situations.len()),
    );
    for name in ["postgresql", "kubernetes", "haproxy"] {
        must(record.versions[name].is_string(), format!("no version of {name}"));
    }
    must(
        record.machine["cores"].is_u64(),
        "nothing of the machine".to_owned(),
    );
    must(
        record.servers.is_object(),
        "nothing of the servers' settings".to_owned(),
    );
    must(
        record.summary == summary::of(record),
        "the summary is not that of the blocks".to_owned(),
    );
    for period in &record.periods {
        all.extend(of_period(period, record.settings.blocks));
    }
    for situation in &record.situations {
        for run in &situation.runs {
            let name = format!("{} {}", situation.name, run.strategy);
            all.extend(of_seen(&name, &run.seen, 5));
        }
        if situation.runs.len() < 3 * record.settings.blocks {
            all.push(format!("{}: {} runs", situation.name, situation.runs.len()));
        }
    }
    match &record.availability {
        Some(availability) => all.extend(of_availability(availability)),
        None => all.push("no availability".to_owned()),
    }
    all
}

fn of_period(period: &Period, blocks: usize) -> Vec<String> {
    let mut all = vec![];
    let name = format!("period {} ms", period.period);
    for arm in Arm::ALL {
        for load in LOADS {
            let found = period.figures(arm, load, |seen| seen.reads.mean).len();
            if found != blocks {
                all.push(format!("{name}: {found} cells of {arm} at {load} %"));
            }
        }
        let found = period.throughput(arm).len();
        if found != blocks {
            all.push(format!("{name}: {found} saturations of {arm}"));
        }
    }
    for cell in &period.cells {
        let servers = if cell.arm == Arm::Big { 1 } else { 5 };
        let of = format!("{name}, {} at {} %, block {}", cell.arm, cell.load, cell.block);
        all.extend(of_seen(&of, &cell.seen, servers));
        let expected = period.reference.rate * f64::from(cell.load) / 100.0;
        if (cell.rate - expected).abs() > 1e-6 * expected {
            all.push(format!("{of}: {} per second, not {expected}", cell.rate));
        }
    }
    let (costs, ceilings) = (&period.costs, &period.ceilings);
    let positive = [
        costs.point,
        costs.dashboard,
        costs.write,
        costs.analytics,
        period.unloaded.mean,
        period.unloaded_analytics.mean,
        period.reference.rate,
        ceilings.primary,
        ceilings.five,
        ceilings.routed,
    ];
    if !positive.iter().all(|figure| figure.is_finite() && *figure > 0.0) {
        all.push(format!("{name}: costs and ceilings are {positive:?}"));
    }
    if ceilings.five < ceilings.routed || ceilings.five < ceilings.primary || ceilings.big < ceilings.five {
        all.push(format!("{name}: five servers allow less than some of them"));
    }
    if !period.references.contains(&period.reference) {
        all.push(format!("{name}: the reference is none of the searches for it"));
    }
    all
}

fn of_seen(name: &str, seen: &Seen, servers: usize) -> Vec<String> {
    let mut all = vec![];
    let sum = seen.answered + seen.late + seen.failed;
    if sum != seen.sent {
        all.push(format!("{name}: {sum} of {} requests ended", seen.sent));
    }
    let kinds = seen.reads.count + seen.writes.count + seen.analytics.count;
    if kinds != seen.sent {
        all.push(format!(
            "{name}: {kinds} of {} requests have a latency",
            seen.sent
        ));
    }
    for (kind, latency) in [
        ("reads", &seen.reads),
        ("writes", &seen.writes),
        ("analytics", &seen.analytics),
    ] {
        if !is_ordered(latency) {
            all.push(format!("{name}: {kind} are {latency:?}"));
        }
    }
    if seen.analytics_times.len() != seen.analytics.count {
        all.push(format!("{name}: not each of analytics has its time"));
    }
    if seen.reads.count == 0 {
        all.push(format!("{name}: no reads"));
    }
    if seen.servers.len() != servers || !seen.servers.iter().all(|one| one.is_finite() && *one >= 0.0) {
        all.push(format!("{name}: servers used {:?}", seen.servers));
    }
    all
}

fn is_ordered(latency: &Latency) -> bool {
    let quantiles = [0.0, latency.p50, latency.p95, latency.p99];
    quantiles.is_sorted() && (latency.count == 0) == (latency.mean == 0.0)
}

fn of_availability(availability: &Availability) -> Vec<String> {
    let mut all = vec![];
    if availability.faults.is_empty() {
        all.push("no fault".to_owned());
    }
    for arm in Arm::SHARING {
        let Some(whole) = availability.arms.iter().find(|one| one.arm == arm) else {
            all.push(format!("availability has no {arm}"));
            continue;
        };
        let of = |fault: &super::record::FaultRecord| {
            let own = fault.counts.iter().find(|(other, _)| *other == arm);
            own.map(|(_, count)| *count).unwrap_or_default()
        };
        let sum = availability
            .faults
            .iter()
            .map(of)
            .fold(Count::default(), Count::plus);
        if sum != whole.count {
            all.push(format!(
                "{arm}: the faults have {sum:?}, the whole {:?}",
                whole.count
            ));
        }
        let lost = whole.count.lost();
        let by_kind: usize = whole.count.lost_of.iter().sum();
        if whole.count.sent == 0 || whole.count.right + lost != whole.count.sent || by_kind != lost {
            all.push(format!("{arm}: {:?} does not add up", whole.count));
        }
    }
    let sent: Vec<_> = availability.arms.iter().map(|one| one.count.sent).collect();
    if sent.iter().any(|number| Some(number) != sent.first()) {
        all.push(format!("the arms sent {sent:?} requests, not as many each"));
    }
    for fault in &availability.faults {
        if fault.mended < fault.at {
            all.push(format!(
                "a fault ended at {} and began at {}",
                fault.mended, fault.at
            ));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::example::record;

    #[test]
    fn a_whole_record_is_well() {
        assert_eq!(faults(&record()), Vec::<String>::new());
        let text = serde_json::to_string(&record()).unwrap();
        let read: Record = serde_json::from_str(&text).unwrap();
        assert_eq!(read, record());
    }

    #[test]
    fn each_fault_is_told() {
        let told = |change: fn(&mut Record), word: &str| {
            let mut record = record();
            change(&mut record);
            let all = faults(&record);
            assert!(all.iter().any(|one| one.contains(word)), "{word}: {all:?}");
        };
        told(|record| record.version = 0, "version");
        told(|record| record.complete = false, "not complete");
        told(|record| record.periods.truncate(1), "1 quota periods");
        told(
            |record| record.periods[0].cells.truncate(1),
            "0 cells of c at 95 %",
        );
        told(
            |record| record.periods[1].saturations.clear(),
            "0 saturations of a5",
        );
        told(
            |record| record.periods[0].cells[0].seen.late += 1,
            "requests ended",
        );
        told(
            |record| record.periods[0].cells[0].seen.writes.count += 1,
            "have a latency",
        );
        told(
            |record| record.periods[0].cells[0].seen.reads.p50 = 1e9,
            "reads are",
        );
        told(
            |record| record.periods[0].cells[0].seen.servers.clear(),
            "servers used",
        );
        told(|record| record.periods[0].cells[0].rate += 1.0, "per second, not");
        told(|record| record.periods[0].costs.write = 0.0, "costs and ceilings");
        told(|record| record.periods[0].ceilings.five = 1.0, "allow less");
        told(
            |record| record.periods[0].references.clear(),
            "none of the searches",
        );
        told(|record| record.summary[3].value.low -= 1.0, "summary");
        told(
            |record| record.periods[0].cells[0].seen.analytics_times.clear(),
            "has its time",
        );
        told(
            |record| record.servers = serde_json::Value::Null,
            "servers' settings",
        );
        told(|record| record.situations[0].runs.clear(), "0 runs");
        told(|record| record.availability = None, "no availability");
        let availability =
            |record: &mut Record| record.availability.as_mut().unwrap().arms[0].count.right += 1;
        told(availability, "does not add up");
        let sent = |record: &mut Record| {
            let count = &mut record.availability.as_mut().unwrap().arms[0].count;
            count.sent += 1;
            count.right += 1;
        };
        told(sent, "not as many each");
        told(
            |record| record.availability.as_mut().unwrap().faults.clear(),
            "no fault",
        );
        told(
            |record| record.versions = serde_json::Value::Null,
            "no version of haproxy",
        );
        told(
            |record| record.machine = serde_json::Value::Null,
            "nothing of the machine",
        );
    }
}
