//! Puts one fault after the other into the protocol, and sees that the simulation finds it: a proof that cannot fail proves
//! nothing. `make proof-mutants` runs it.
//!
//! Each fault meets the scripts that failed once, then plans with one and with two operators by their seeds, until one fails.
//! `FAULTS` names those to try, all where it is not set. The table is that of `docs/proofs.md`: `UPDATE_DOCS=1` writes it.

#[path = "simulation/mod.rs"]
mod simulation;

use std::thread;

use distributary_core::seeded::{SeededFault, seed};
use simulation::{case, kept, plan, run};

/// So many plans with one operator, and as many with two, must find a fault.
const PLANS: u64 = 300;

fn bound() -> u64 {
    std::env::var("PLANS").map_or(PLANS, |text| text.parse().expect("a number"))
}

/// In the page, before the table.
const MARK: &str = "<!-- make proof-mutants: UPDATE_DOCS=1 -->\n";

/// What found a fault.
struct Finding {
    /// The invariant that was broken, or what else went wrong.
    law: String,
    by: String,
}

impl Finding {
    fn new(by: String, reason: &str) -> Self {
        let law = reason.split(':').next().unwrap_or_default();
        Self {
            law: law.to_owned(),
            by,
        }
    }
}

/// What a thread found; one that panics found something, too.
fn join(outcome: thread::Result<Result<(), String>>) -> Result<(), String> {
    outcome.unwrap_or_else(|_| Err("a panic:".to_owned()))
}

fn by_scripts() -> Option<Finding> {
    kept().into_iter().find_map(|(path, script)| {
        let outcome = thread::spawn(move || run(&script, &case()).map(drop)).join();
        let reason = join(outcome).err()?;
        let name = path.file_stem()?.to_string_lossy().into_owned();
        Some(Finding::new(format!("script `{name}`"), &reason))
    })
}

fn by_plans() -> Option<Finding> {
    (0..bound()).find_map(|number| {
        let spawn = |operators| {
            thread::spawn(move || {
                plan(number, operators, 0)
                    .map(drop)
                    .map_err(|broken| broken.reason)
            })
        };
        let [one, two] = [1, 2].map(spawn).map(|thread| join(thread.join()));
        let found = |operators: &str, reason: &str| {
            let plans = number + 1;
            Finding::new(format!("plan {plans} with {operators}"), reason)
        };
        let one = one.err().map(|reason| found("one operator", &reason));
        one.or_else(|| two.err().map(|reason| found("two operators", &reason)))
    })
}

/// What finds the fault that is on: the cheapest first. Another proof is asked here, after these.
fn find() -> Option<Finding> {
    by_scripts().or_else(by_plans)
}

fn faults() -> Vec<SeededFault> {
    let named = std::env::var("FAULTS").ok();
    let is_named = |fault: &&SeededFault| {
        named
            .as_ref()
            .is_none_or(|named| named.split(',').any(|word| word == fault.word()))
    };
    SeededFault::ALL.iter().filter(is_named).copied().collect()
}

/// Writes the table into the page, in place of the one that is there.
fn tell(rows: &[String]) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/proofs.md");
    let page = std::fs::read_to_string(path).expect("the page is there");
    let (text, _) = page.split_once(MARK).expect("the page has the mark");
    let head = "| fault | the rule that it breaks | what it violates | found by |\n|---|---|---|---|";
    let table = format!("{text}{MARK}\n{head}\n{}\n", rows.join("\n"));
    std::fs::write(path, table).expect("the page can be written");
}

#[test]
fn every_fault_of_the_protocol_is_found() {
    seed(None);
    if let Some(Finding { law, by }) = find() {
        panic!("without a fault: {law}, by {by}");
    }
    let (mut rows, mut missed) = (Vec::new(), Vec::new());
    for fault in faults() {
        seed(Some(fault));
        let word = fault.word();
        if let Some(Finding { law, by }) = find() {
            let row = format!("| {word} | {} | {law} | {by} |", fault.rule());
            println!("{row}");
            rows.push(row);
        } else {
            println!("nothing finds {word}");
            missed.push(word);
        }
    }
    seed(None);
    assert_eq!(missed, Vec::<&str>::new(), "nothing finds these faults");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        tell(&rows);
    }
}
