//! PURE. What is to be known before the figures of a run are believed.

use super::record::{Period, Record, Seen};
use super::saturation::Found;

/// The host may give so much of a core to other machines.
const STOLEN: f64 = 0.02;

/// How much the core of the generator was used in the loads of one part of the run.
struct Part {
    what: String,
    cores: Vec<f64>,
}

/// All doubts, in words; the generator's core may be used up to `most`.
#[must_use]
pub fn all(record: &Record, most: f64) -> Vec<String> {
    let mut all = vec![];
    if record.busy {
        all.push("other programs ran on the machine: these figures are of no use".to_owned());
    }
    if record.settings.profile != "release" {
        all.push("the benchmark was built without optimization".to_owned());
    }
    all.extend(parts(record).iter().filter_map(|part| part.doubt(most)));
    all.extend(stolen(record));
    all.extend(record.periods.iter().flat_map(beyond));
    all
}

impl Part {
    fn doubt(&self, most: f64) -> Option<String> {
        let over = self.cores.iter().filter(|core| **core > most);
        let number = over.clone().count();
        let worst = over.copied().fold(0.0, f64::max);
        (number > 0).then(|| {
            format!(
                "the core of the generator and the operator was used to more than {:.0} % in {number} of {} {}, to {:.0} % at most: \
                 their latencies may be its own",
                100.0 * most,
                self.cores.len(),
                self.what,
                100.0 * worst
            )
        })
    }
}

/// Every load of the run.
fn parts(record: &Record) -> Vec<Part> {
    let mut all = vec![];
    for period in &record.periods {
        all.push(Part {
            what: format!("cells of the period of {} ms", period.period),
            cores: period.cells.iter().map(|cell| cell.seen.generator_core).collect(),
        });
        let own = period.saturations.iter().map(|one| &one.found);
        let steps = period.references.iter().chain(own).flat_map(|found| &found.steps);
        all.push(Part {
            what: format!("steps of searches in the period of {} ms", period.period),
            cores: steps.map(|step| step.generator_core).collect(),
        });
    }
    let runs = record.situations.iter().flat_map(|situation| &situation.runs);
    all.push(Part {
        what: "runs of the strategies".to_owned(),
        cores: runs.map(|run| run.seen.generator_core).collect(),
    });
    let faults = record.availability.iter().flat_map(|under| &under.faults);
    all.push(Part {
        what: "minutes with a fault".to_owned(),
        cores: faults.map(|fault| fault.generator_core).collect(),
    });
    all
}

fn stolen(record: &Record) -> Option<String> {
    let cells = record.periods.iter().flat_map(|period| &period.cells);
    let runs = record.situations.iter().flat_map(|situation| &situation.runs);
    let seen: Vec<&Seen> = cells
        .map(|cell| &cell.seen)
        .chain(runs.map(|run| &run.seen))
        .collect();
    let over = seen.iter().filter(|seen| seen.stolen > STOLEN).count();
    let worst = seen.iter().map(|seen| seen.stolen).fold(0.0, f64::max);
    (over > 0).then(|| {
        format!(
            "the host gave more than {:.0} % of a core to other machines in {over} of {} loads, {:.0} % at most",
            100.0 * STOLEN,
            seen.len(),
            100.0 * worst
        )
    })
}

fn beyond(period: &Period) -> Vec<String> {
    let doubt = |name: String, found: &Found| {
        let side = match (found.above, found.below) {
            (false, false) => return None,
            (true, _) => "above",
            (false, true) => "below",
        };
        Some(format!(
            "{name} is saturated {side} {:.0} requests per second in the period of {} ms: the search ended there",
            found.rate, period.period
        ))
    };
    let references = period.references.iter();
    let references = references.filter_map(|found| doubt("the reference (a)".to_owned(), found));
    let own = period.saturations.iter();
    let own = own.filter_map(|one| doubt(format!("({}) in block {}", one.arm, one.block), &one.found));
    references.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::example::record;

    #[test]
    fn a_used_core_a_busy_machine_or_host_and_a_search_at_its_end_are_told() {
        assert_eq!(all(&record(), 0.7), Vec::<String>::new());
        let mut record = record();
        record.busy = true;
        record.settings.profile = "debug".to_owned();
        record.periods[0].cells[3].seen.generator_core = 0.85;
        record.periods[0].references[1].steps[0].generator_core = 0.86;
        record.periods[1].saturations[0].found.steps[0].generator_core = 0.87;
        record.situations[1].runs[0].seen.generator_core = 0.88;
        record.availability.as_mut().unwrap().faults[0].generator_core = 0.89;
        record.situations[0].runs[1].seen.stolen = 0.3;
        record.periods[0].references[2].below = true;
        record.periods[1].saturations[0].found.above = true;
        let all = all(&record, 0.7);
        let words = [
            "other programs",
            "without optimization",
            "85 %",
            "86 %",
            "87 %",
            "88 %",
            "89 %",
            "30 % at most",
            "(a) is saturated below",
            "block 0 is saturated above",
        ];
        assert_eq!(all.len(), words.len(), "{all:?}");
        assert!(
            all.iter().zip(words).all(|(line, word)| line.contains(word)),
            "{all:?}"
        );
    }
}
