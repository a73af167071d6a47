//! PURE. What a run measured, as its JSON has it. Times are in milliseconds, rates per second, quotas and loads in cores, where nothing
//! else is said.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arm::Arm;
use super::calamity::Calamity;
use super::ceilings::{Ceilings, Costs};
use super::right::Count;
use super::saturation::Found;
use super::statistics::{Interval, Latency, quantile};

/// The form of the file.
pub const VERSION: u32 = 2;
/// The load of the cells, in percent of the saturation of (a).
pub const LOADS: [u32; 4] = [20, 50, 80, 95];

/// A whole run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// [`VERSION`].
    pub version: u32,
    /// The settings.
    pub settings: Settings,
    /// Everything was measured.
    pub complete: bool,
    /// Other programs ran on the machine, so no figure counts.
    pub busy: bool,
    /// What is to be known before the figures are believed.
    pub warnings: Vec<String>,
    /// Processor, cores, memory, kernel.
    #[serde(default)]
    pub machine: Value,
    /// Of the programs.
    pub versions: Value,
    /// Settings of the servers that matter for the figures, as pg_settings has them.
    #[serde(default)]
    pub servers: Value,
    /// Duration of the run, in seconds.
    pub took: u64,
    /// One for each quota period.
    pub periods: Vec<Period>,
    /// Runs of the strategies.
    pub situations: Vec<Situation>,
    /// Under faults.
    pub availability: Option<Availability>,
    /// Means over the blocks, with intervals of 95 % confidence.
    pub summary: Vec<Summary>,
}

/// What the blocks of an arm say together, at a load or at its own saturation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Of the quota, in milliseconds.
    pub period: u64,
    /// The arm.
    pub arm: Arm,
    /// In percent of the saturation of (a); `None` at the arm's own saturation.
    pub load: Option<u32>,
    /// What it is: `readsMean`, `primary` and so on.
    pub figure: String,
    /// Its value.
    pub value: Interval,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The short mode: its figures are of no use.
    pub short: bool,
    /// Of all schedules.
    pub seed: u64,
    /// Blocks of each arm.
    pub blocks: usize,
    /// Of one cell, in seconds.
    pub seconds: f64,
    /// Of the schedule of faults, in seconds.
    pub fault_seconds: u64,
    /// Processor time of each server, in cores.
    pub quota: f64,
    /// An answer is in time up to this.
    pub deadline: u64,
    /// A read is right up to this age.
    pub bound: u64,
    /// Analytics queries per second of the load.
    pub analytics: f64,
    /// Requests of the mix per second and arm under faults.
    pub probes: f64,
    /// Connections of a pool live so long under faults, in seconds.
    pub lifetime: u64,
    /// Connections of each arm for reads, writes and analytics.
    pub connections: [usize; 3],
    /// The same under faults.
    pub connections_under_faults: [usize; 3],
    /// The build of the benchmark: release or debug.
    pub profile: String,
}

/// All of one quota period.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Period {
    /// Of the quota, in milliseconds.
    pub period: u64,
    /// Measured first.
    pub costs: Costs,
    /// Calculated from the costs.
    pub ceilings: Ceilings,
    /// Reads at a twentieth of the ceiling of (a), without analytics.
    pub unloaded: Latency,
    /// Analytics with one request at a time.
    pub unloaded_analytics: Latency,
    /// The rate at which (a) is saturated: the cells are parts of it. The median of `references` by its rate.
    pub reference: Found,
    /// All searches for it.
    pub references: Vec<Found>,
    /// One for each arm, block and load.
    pub cells: Vec<Cell>,
    /// One for each arm and block.
    pub saturations: Vec<Saturation>,
}

/// An arm at a load in one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cell {
    /// The arm.
    pub arm: Arm,
    /// The block, from 0.
    pub block: usize,
    /// In percent of the saturation of (a).
    pub load: u32,
    /// Requests of the mix that were to be sent, per second.
    pub rate: f64,
    /// What was seen.
    pub seen: Seen,
}

/// What a load did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Requests of all kinds.
    pub sent: usize,
    /// Answered in time.
    pub answered: usize,
    /// No answer in time; they count as answered at the deadline in the latencies.
    pub late: usize,
    /// Refused, or without a connection; in the latencies likewise.
    pub failed: usize,
    /// Of point reads and dashboard queries.
    pub reads: Latency,
    /// Of writes.
    pub writes: Latency,
    /// Of analytics.
    pub analytics: Latency,
    /// Each of analytics: they are few, so quantiles are those of all blocks together.
    pub analytics_times: Vec<f64>,
    /// Reads that were answered in time, per second.
    pub reads_per_second: f64,
    /// Processor time of each server in cores, the primary first; of (a5), the one server.
    pub servers: Vec<f64>,
    /// How much the generator's core was used, by all that runs on it.
    pub generator_core: f64,
    /// How much of it by the generator itself.
    pub generator: f64,
    /// How much later than intended the generator sent, 99 % of all.
    pub late_sending: f64,
    /// The largest share of a core that the host gave to other machines.
    pub stolen: f64,
}

/// An arm's own saturation in one block.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Saturation {
    /// The arm.
    pub arm: Arm,
    /// The block, from 0.
    pub block: usize,
    /// What was found.
    pub found: Found,
}

/// Strategies side by side in one situation, by (c).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Situation {
    /// uniform, varied or variable.
    pub name: String,
    /// What the servers are like.
    pub words: String,
    /// The quota of each replica, in cores.
    pub quotas: Vec<f64>,
    /// Requests of the mix per second.
    pub rate: f64,
    /// One for each strategy and block.
    pub runs: Vec<StrategyRun>,
}

/// One block of a strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StrategyRun {
    /// As the policy says it.
    pub strategy: String,
    /// The block, from 0.
    pub block: usize,
    /// What was seen.
    pub seen: Seen,
}

/// All arms under the same faults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// In order of time.
    pub faults: Vec<FaultRecord>,
    /// One for each arm.
    pub arms: Vec<ArmRecord>,
    /// How much later than intended the generators sent, 99 % of all, of the arm that was latest.
    pub late_sending: f64,
    /// The arms that are left out, and why.
    pub left_out: Vec<(Arm, String)>,
}

/// A fault, and what each arm lost from its slot's beginning to its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultRecord {
    /// What happened.
    pub kind: Calamity,
    /// To which server, from 0.
    pub server: usize,
    /// It was the primary.
    pub primary: bool,
    /// When it began, in seconds since the beginning.
    pub at: f64,
    /// When the server was well again.
    pub mended: f64,
    /// How much the core of the generators was used in its slot, by all that runs on it.
    pub generator_core: f64,
    /// By arm.
    pub counts: Vec<(Arm, Count)>,
}

/// An arm over the whole schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArmRecord {
    /// The arm.
    pub arm: Arm,
    /// All its requests: the sum of those of the faults' slots.
    pub count: Count,
    /// Servers that it took out without a fault; `None` where it takes none out.
    pub false_ejections: Option<usize>,
}

impl Period {
    /// The figures of an arm at a load, one for each block.
    #[must_use]
    pub fn figures(&self, arm: Arm, load: u32, figure: impl Fn(&Seen) -> f64) -> Vec<f64> {
        let cells = self
            .cells
            .iter()
            .filter(|cell| cell.arm == arm && cell.load == load);
        cells.map(|cell| figure(&cell.seen)).collect()
    }

    /// The quantile of analytics of an arm at a load, of all blocks together.
    #[must_use]
    pub fn of_analytics(&self, arm: Arm, load: u32, share: f64) -> f64 {
        let cells = self
            .cells
            .iter()
            .filter(|cell| cell.arm == arm && cell.load == load);
        let mut all: Vec<_> = cells
            .flat_map(|cell| cell.seen.analytics_times.iter().copied())
            .collect();
        all.sort_by(f64::total_cmp);
        quantile(&all, share)
    }

    /// Reads per second at saturation of an arm, one for each block.
    #[must_use]
    pub fn throughput(&self, arm: Arm) -> Vec<f64> {
        let all = self.saturations.iter().filter(|one| one.arm == arm);
        all.map(|one| one.found.reads_per_second).collect()
    }
}
