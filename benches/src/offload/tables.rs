//! PURE. The tables of a run, as Markdown, for the terminal and for docs/benchmarks.md.

use std::collections::BTreeMap;

use super::arm::Arm;
use super::arrivals::MIX;
use super::calamity::Calamity;
use super::claims;
use super::record::{Availability, LOADS, Period, Record, Seen, Situation};
use super::right::Count;
use super::statistics::{Interval, bootstrap, count, mean, ratio, student};

/// Before what is generated in a page.
pub const BEGIN: &str = "<!-- make bench-offload -->";
/// Behind it.
pub const END: &str = "<!-- end of make bench-offload -->";
const SEED: u64 = 1;

/// A table.
#[must_use]
pub fn markdown(titles: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let titles: Vec<_> = titles.iter().map(ToString::to_string).collect();
    let rule = format!("|{}\n", "---|".repeat(titles.len()));
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{rule}{rows}", line(&titles))
}

/// The page with `text` between the two marks; `None` where it has no marks.
#[must_use]
pub fn between(page: &str, text: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", text.trim_end()))
}

/// Three digits that count.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.digits$}")
}

fn range(interval: &Interval) -> String {
    let [low, middle, high] = [interval.low, interval.mean, interval.high].map(figure);
    format!("{middle} ({low} to {high})")
}

fn in_time(seen: &Seen) -> f64 {
    100.0 * ratio(count(seen.answered), count(seen.sent))
}

/// All tables of a run.
#[must_use]
pub fn all(record: &Record) -> String {
    let mut text = format!("{}\n", set_up(record));
    for warning in &record.warnings {
        text += &format!("- {warning}\n");
    }
    for period in &record.periods {
        text += &format!(
            "\nQuota period {} ms: latency of reads and analytics, and the processor time of the primary. Quantiles of analytics are those of \
             all blocks together, {} queries for each arm and load: with so few, p99 is the slowest of them.\n\n{}\n{}\n{}",
            period.period,
            analytics(period),
            costs(period),
            loads(period, record.settings.quota),
            saturations(period)
        );
    }
    for situation in &record.situations {
        text += &format!("\n{}", strategies(situation));
    }
    if let Some(availability) = &record.availability {
        text += &format!("\n{}\n{}", shares(availability), losses(availability));
    }
    text
}

/// The section of docs/benchmarks.md: both runs, what is not reached first.
#[must_use]
pub fn section(first: &Record, second: Option<&Record>) -> String {
    let mut text = format!(
        "{}\n![p95 of reads by load, reads per second at saturation](offload.svg)\n\n### First run\n\n{}",
        claims::text(first),
        all(first)
    );
    if let Some(second) = second {
        text += &format!("\n### Second run\n\n{}\n{}", claims::text(second), all(second));
        let differ: Vec<_> = conclusions(first)
            .into_iter()
            .filter(|(what, reached)| conclusions(second).get(what) != Some(reached))
            .map(|(what, _)| what)
            .collect();
        text += &if differ.is_empty() {
            "\nBoth runs reach the same claims and miss the same ones.\n".to_owned()
        } else {
            format!(
                "\nThe runs differ, so this is not claimed: {}.\n",
                differ.join("; ")
            )
        };
    }
    text
}

fn conclusions(record: &Record) -> BTreeMap<&'static str, bool> {
    let claims = claims::claims(record);
    claims
        .iter()
        .map(|claim| (claim.what, claim.is_reached()))
        .collect()
}

fn set_up(record: &Record) -> String {
    let (settings, text) = (&record.settings, |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    format!(
        "{} cores of {}, Linux {}, {}, Kubernetes {}, {}, cgroup {}; {} blocks, seed {}, {} s for each load; it took {} minutes.\n",
        record.machine["cores"],
        text(&record.machine["processor"]),
        text(&record.machine["kernel"]),
        text(&record.versions["postgresql"]),
        text(&record.versions["kubernetes"]).trim_start_matches("Kubernetes "),
        text(&record.versions["haproxy"]),
        text(&record.versions["cgroups"]),
        settings.blocks,
        settings.seed,
        settings.seconds,
        record.took / 60
    )
}

fn costs(period: &Period) -> String {
    let (costs, ceilings) = (&period.costs, &period.ceilings);
    format!(
        "Processor time: a point read {} ms, a dashboard query {} ms, a write {} ms and {} ms on each replica, analytics {} ms. Without load \
         reads take {} ms (p95 {}), analytics {} ms. (a) is saturated at {} requests per second ({}). Calculated ceilings: {} requests per second \
         on the primary, {} on one server with all quotas, {} on all five, {} with the routes of (b) and (c); {} % of the primary's load can be elsewhere.\n",
        figure(costs.point),
        figure(costs.dashboard),
        figure(costs.write),
        figure(costs.replay),
        figure(costs.analytics),
        figure(period.unloaded.mean),
        figure(period.unloaded.p95),
        figure(period.unloaded_analytics.mean),
        figure(period.reference.rate),
        searches(period),
        figure(ceilings.primary),
        figure(ceilings.big),
        figure(ceilings.five),
        figure(ceilings.routed),
        figure(ceilings.offload)
    )
}

/// Queries of one arm at one load.
fn analytics(period: &Period) -> usize {
    let cells = period
        .cells
        .iter()
        .filter(|cell| (cell.arm, cell.load) == (Arm::Primary, LOADS[0]));
    cells.map(|cell| cell.seen.analytics_times.len()).sum()
}

fn searches(period: &Period) -> String {
    let all = period.references.iter().map(|found| figure(found.rate));
    format!("the median of {}", all.collect::<Vec<_>>().join(", "))
}

fn loads(period: &Period, quota: f64) -> String {
    let titles = [
        "load",
        "arm",
        "reads: mean, ms",
        "p50",
        "p95",
        "p99",
        "analytics: mean, ms",
        "p50",
        "p95",
        "p99",
        "primary, % of its quota",
        "in time, %",
    ];
    let mut rows = vec![];
    for load in LOADS {
        for arm in Arm::ALL {
            let of = |figure: &dyn Fn(&Seen) -> f64| range(&student(&period.figures(arm, load, figure)));
            let short = |of: &dyn Fn(&Seen) -> f64| figure(mean(&period.figures(arm, load, of)));
            let primary = |seen: &Seen| {
                let quotas = if arm == Arm::Big { 5.0 } else { 1.0 };
                100.0 * ratio(seen.servers.first().copied().unwrap_or(0.0), quota * quotas)
            };
            rows.push(vec![
                format!("{load} %"),
                format!("({arm}) {}", arm.words()),
                of(&|seen| seen.reads.mean),
                short(&|seen| seen.reads.p50),
                of(&|seen| seen.reads.p95),
                of(&|seen| seen.reads.p99),
                of(&|seen| seen.analytics.mean),
                figure(period.of_analytics(arm, load, 0.5)),
                figure(period.of_analytics(arm, load, 0.95)),
                figure(period.of_analytics(arm, load, 0.99)),
                of(&primary),
                short(&in_time),
            ]);
        }
    }
    markdown(&titles, &rows)
}

fn saturations(period: &Period) -> String {
    let titles = [
        "arm",
        "reads per second at saturation",
        "% of its calculated ceiling",
    ];
    let row = |arm: Arm| {
        let all = period.throughput(arm);
        let reads = count(MIX[0] + MIX[1]) / 100.0;
        let share = 100.0 * ratio(mean(&all), period.ceilings.of_arm(arm) * reads);
        vec![
            format!("({arm}) {}", arm.words()),
            range(&student(&all)),
            figure(share),
        ]
    };
    markdown(&titles, &Arm::ALL.map(row))
}

fn strategies(situation: &Situation) -> String {
    let names = ["RoundRobin", "Weighted", "LeastConnections"];
    let row = |name: &str| {
        let of = |figure: &dyn Fn(&Seen) -> f64| {
            let runs = situation.runs.iter().filter(|run| run.strategy == name);
            let all: Vec<_> = runs.map(|run| figure(&run.seen)).collect();
            range(&student(&all))
        };
        vec![
            name.to_owned(),
            of(&|seen| seen.reads.mean),
            of(&|seen| seen.reads.p95),
            of(&|seen| seen.reads.p99),
            of(&in_time),
        ]
    };
    let titles = ["strategy", "reads: mean, ms", "p95", "p99", "in time, %"];
    format!(
        "{}: {}; by (c), {:.0} requests per second. {}\n\n{}",
        situation.name,
        situation.words,
        situation.rate,
        suits(situation, &names),
        markdown(&titles, &names.map(row))
    )
}

/// The strategy whose p95 of reads is certainly lower than that of the others.
fn suits(situation: &Situation, names: &[&str]) -> String {
    let p95 = |name: &&str| {
        let runs = situation.runs.iter().filter(|run| run.strategy == *name);
        student(&runs.map(|run| run.seen.reads.p95).collect::<Vec<_>>())
    };
    let is_best = |name: &&&str| {
        let others = names.iter().filter(|other| other != name);
        others.map(p95).all(|other| p95(name).high < other.low)
    };
    match names.iter().find(is_best) {
        Some(name) => format!("{name} has the lowest p95."),
        None => "No strategy has a p95 that is certainly lower than that of the others.".to_owned(),
    }
}

fn shares(availability: &Availability) -> String {
    let titles = [
        "arm",
        "in time and right, %",
        "requests",
        "failed",
        "late",
        "older than the bound",
        "lost writes",
        "false ejections",
    ];
    let row = |arm: &super::record::ArmRecord| {
        let each = availability.faults.iter().filter_map(|fault| {
            let (_, count) = fault.counts.iter().find(|(other, _)| *other == arm.arm)?;
            Some(
                100.0
                    * ratio(
                        super::statistics::count(count.right),
                        super::statistics::count(count.sent),
                    ),
            )
        });
        let interval = bootstrap(&each.collect::<Vec<_>>(), SEED);
        let count = arm.count;
        let numbers = [count.sent, count.failed, count.late, count.stale, count.vanished];
        let mut row = vec![
            format!("({}) {}", arm.arm, arm.arm.words()),
            format!(
                "{:.2} ({:.2} to {:.2})",
                claims::share(arm),
                interval.low,
                interval.high
            ),
        ];
        row.extend(numbers.map(|number| number.to_string()));
        row.push(
            arm.false_ejections
                .map_or("–".to_owned(), |number| number.to_string()),
        );
        row
    };
    let rows: Vec<_> = availability.arms.iter().map(row).collect();
    format!(
        "Under {} faults\n\n{}",
        availability.faults.len(),
        markdown(&titles, &rows)
    )
}

/// Requests that each fault cost, by its kind.
fn losses(availability: &Availability) -> String {
    let mut titles = vec!["lost for each".to_owned()];
    let of = |kind: Calamity| availability.faults.iter().filter(move |fault| fault.kind == kind);
    let kinds: Vec<_> = Calamity::ALL
        .into_iter()
        .filter(|kind| of(*kind).next().is_some())
        .collect();
    titles.extend(
        kinds
            .iter()
            .map(|kind| format!("{} ({})", kind.name(), of(*kind).count())),
    );
    let row = |arm: Arm| {
        let each = kinds.iter().map(|kind| {
            let lost = of(*kind).map(|fault| {
                let own = fault.counts.iter().find(|(other, _)| *other == arm);
                count(own.map_or(0, |(_, count): &(Arm, Count)| count.lost()))
            });
            figure(mean(&lost.collect::<Vec<_>>()))
        });
        std::iter::once(format!("({arm}) {}", arm.words()))
            .chain(each)
            .collect()
    };
    let titles: Vec<_> = titles.iter().map(String::as_str).collect();
    markdown(&titles, &Arm::SHARING.map(row))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::example::record;

    #[test]
    fn every_table_has_all_rows_and_each_row_all_columns() {
        let text = all(&record());
        let tables: Vec<Vec<&str>> = text
            .split("\n\n")
            .map(|part| part.lines().filter(|line| line.starts_with('|')).collect())
            .filter(|lines: &Vec<_>| !lines.is_empty())
            .collect();
        assert!(tables.len() >= 7, "{text}");
        for table in tables.iter().flatten() {
            assert!(!table.contains("NaN") && !table.contains("inf"), "{table}");
        }
        assert_eq!(text.matches("| 80 % | (").count(), 2 * Arm::ALL.len());
        assert!(
            text.contains("| 80 % | (h) HAProxy | 30.0 (30.0 to 30.0) |"),
            "{text}"
        );
        assert!(text.contains("promotion (1)"), "{text}");
        assert!(text.contains("RoundRobin has the lowest p95."), "{text}");
        let mut alike = record();
        for run in alike.situations.iter_mut().flat_map(|one| &mut one.runs) {
            run.seen.reads.p95 = 10.0;
        }
        assert!(!all(&alike).contains("has the lowest p95"));
        assert!(
            text.contains("99.00 (99.00 to 99.00) | 5000 | 25 | 10 | 0 | 15 | 1 |"),
            "{text}"
        );
    }

    #[test]
    fn a_page_is_changed_between_its_marks_alone() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nbehind\n");
        let changed = between(&page, "new\n").unwrap();
        assert_eq!(changed, format!("before\n{BEGIN}\n\nnew\n\n{END}\nbehind\n"));
        assert_eq!(
            between(&changed, "new").unwrap(),
            changed,
            "again, nothing changes"
        );
        assert_eq!(between("no marks", "new"), None);
    }

    #[test]
    fn two_runs_are_compared_by_what_they_reach() {
        let (first, mut second) = (record(), record());
        assert!(section(&first, Some(&second)).contains("the same claims"));
        for cell in second.periods.iter_mut().flat_map(|period| &mut period.cells) {
            cell.seen.reads.mean = 1000.0;
        }
        let text = section(&first, Some(&second));
        assert!(text.contains("this is not claimed: reads faster by."), "{text}");
        assert!(!section(&first, None).contains("Second run"));
    }

    #[test]
    fn figures_have_three_digits() {
        assert_eq!([0.1234, 12.345, 1234.5].map(figure), ["0.12", "12.3", "1234"]);
    }
}
