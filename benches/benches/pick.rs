//! What it costs the Rust client to choose a target: one thread, 10 targets of unlike weights. `make bench-client`.
//!
//! The aim is 10 ns for each strategy. That a pick allocates nothing is a test of the client.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use distributary_client::routes::{Candidate, Picker, Turns};

const TARGETS: u32 = 10;
const AIM: Duration = Duration::from_nanos(10);
/// Measured so often for the figure that is held against the aim; the median counts.
const RUNS: usize = 31;
const PICKS: u32 = 1_000_000;

struct Target(u32);

impl Candidate for Target {
    fn share(&self, _: Option<&str>) -> u32 {
        100
    }
    fn used(&self) -> (u32, u32) {
        (self.0, TARGETS)
    }
    fn failed_at(&self, _: Option<&str>) -> u64 {
        0
    }
}

fn picker(turns: Turns) -> Picker<Target> {
    let targets = (0..TARGETS).map(|number| (Arc::new(Target(number)), 0, 100 * (number + 1)));
    Picker::new(targets, turns)
}

/// The median time of a pick.
fn median(picker: &Picker<Target>) -> Duration {
    let mut runs: Vec<_> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PICKS {
                black_box(picker.pick(black_box(&[]), None));
            }
            start.elapsed()
        })
        .collect();
    runs.sort_unstable();
    runs[RUNS / 2] / PICKS
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("pick");
    let strategies = [("in turn", Turns::InTurn), ("least used", Turns::LeastUsed)];
    for (name, turns) in strategies {
        let picker = picker(turns);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| picker.pick(black_box(&[]), None).map(Arc::as_ptr));
        });
    }
    group.finish();
    for (name, turns) in strategies {
        let took = median(&picker(turns));
        let verdict = if took <= AIM { "within" } else { "past" };
        println!("{name}: {took:?} for a pick among {TARGETS} targets, {verdict} the aim of {AIM:?}");
    }
    criterion.final_summary();
}
