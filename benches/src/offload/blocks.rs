//! Blocks of load: each arm in turn, in an order by chance, at the same rates, then up to its own saturation.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use harness::wait;
use nix::unistd::Pid;

use super::arm::Arm;
use super::arrivals::{Kind, ROWS, arrivals};
use super::ceilings::{Ceilings, Costs, SERVERS};
use super::front::{Front, Sizes};
use super::generator;
use super::machine::Busy;
use super::random::Random;
use super::record::{Cell, LOADS, Period, Saturation, Seen, Settings};
use super::right::{Outcome, Probe};
use super::saturation::{Found, Search, Step};
use super::scene::Scene;
use super::statistics::{Latency, count, mean, ratio};
use crate::usage::CpuTime;

/// Connections of an arm: the same number for all.
pub const SIZES: Sizes = Sizes {
    reads: 32,
    writes: 8,
    analytics: 8,
    lifetime: Duration::from_secs(3600),
};
/// A part of the ceiling of (a) that is hardly any load.
const UNLOADED: f64 = 0.05;
/// The unloaded p95 decides every search: it is taken from so many cells' time.
const CALM_CELLS: u32 = 6;
/// All loads are parts of the saturation of (a), so that is the median of so many searches.
const REFERENCES: usize = 3;
/// A step of an arm's own search is this part of a cell.
const STEP: f64 = 0.6;
/// A search looks between these parts of a ceiling. Ceilings are calculated, so the truth may lie above.
const RANGE: [f64; 2] = [0.2, 1.8];
/// Requests under way at a time while costs are measured: a processor that rests between them makes each dearer.
const TOGETHER: usize = 4;
/// What opening the connections of an arm cost the servers is over by then.
pub const SETTLE: Duration = Duration::from_secs(1);
/// What is left of a load that was too much ends meanwhile.
const PAUSE: Duration = Duration::from_millis(300);

/// A load in progress: its schedules, and rows that nobody else writes.
pub struct Bench<'a> {
    scene: &'a Scene,
    settings: &'a Settings,
    random: Random,
    rows: i64,
}

impl<'a> Bench<'a> {
    /// Rows are written from `rows` on.
    #[must_use]
    pub fn new(scene: &'a Scene, settings: &'a Settings, rows: i64) -> Self {
        let random = Random::of(settings.seed, rows.unsigned_abs());
        Self {
            scene,
            settings,
            random,
            rows,
        }
    }

    fn cell(&self) -> Duration {
        Duration::from_secs_f64(self.settings.seconds)
    }

    /// All of one quota period.
    ///
    /// # Errors
    /// When a program fails.
    pub async fn period(&mut self, period: Duration, complete: &mut Vec<Period>) -> Result<()> {
        self.scene.servers.limit(self.settings.quota, period)?;
        let front = self.scene.front(Arm::Primary, &SIZES).await?;
        let costs = self.costs(&front).await.context("measure what requests cost")?;
        let ceilings = Ceilings::of(&costs, self.settings.quota, self.settings.analytics);
        println!("costs {costs:?}\nceilings {ceilings:?}");
        let rate = UNLOADED * ceilings.primary;
        let unloaded = self
            .load(&front, Arm::Primary, rate, 0.0, self.cell() * CALM_CELLS)
            .await?
            .reads;
        let unloaded_analytics = self.alone(&front, period).await?;
        let mut references = vec![];
        for _ in 0..REFERENCES {
            let found = self.saturation(&front, Arm::Primary, ceilings.primary, (6, 1.0), &unloaded);
            references.push(found.await?);
        }
        let reference = median(&references).context("there are references")?;
        println!(
            "quota period {period:?}: unloaded reads {unloaded:?}, (a) is saturated at {:.0} requests/s, the median of {:.0?}",
            reference.rate,
            references.iter().map(|found| found.rate).collect::<Vec<_>>()
        );
        drop(front);
        complete.push(Period {
            period: u64::try_from(period.as_millis())?,
            costs,
            ceilings,
            unloaded,
            unloaded_analytics,
            reference,
            references,
            cells: vec![],
            saturations: vec![],
        });
        let record = complete.last_mut().context("it was just added")?;
        for block in 0..self.settings.blocks {
            let mut arms = Arm::ALL;
            self.random.shuffle(&mut arms);
            for arm in arms {
                self.block(arm, block, record).await?;
            }
        }
        Ok(())
    }

    async fn block(&mut self, arm: Arm, block: usize, record: &mut Period) -> Result<()> {
        let front = self.scene.front(arm, &SIZES).await?;
        wait::pass(SETTLE, "the connections were opened just now").await;
        let mut line = format!(
            "period {:3} ms block {block} {arm:<2}  mean of reads, ms:",
            record.period
        );
        for load in LOADS {
            let rate = record.reference.rate * f64::from(load) / 100.0;
            let seen = self
                .load(&front, arm, rate, self.settings.analytics, self.cell())
                .await?;
            line += &format!(" {:.1}", seen.reads.mean);
            record.cells.push(Cell {
                arm,
                block,
                load,
                rate,
                seen,
            });
        }
        let ceiling = record.ceilings.of_arm(arm);
        let found = self.saturation(&front, arm, ceiling, (6, STEP), &record.unloaded);
        let found = found.await?;
        println!("{line}  saturated at {:.0} requests/s", found.rate);
        record.saturations.push(Saturation { arm, block, found });
        Ok(())
    }

    /// Looks for saturation near a ceiling, in so many steps, each of a part of a cell.
    async fn saturation(
        &mut self,
        front: &Arc<Front>,
        arm: Arm,
        ceiling: f64,
        (steps, part): (usize, f64),
        unloaded: &Latency,
    ) -> Result<Found> {
        let steps = if self.settings.short { 3 } else { steps };
        let [low, high] = RANGE.map(|part| part * ceiling);
        let mut search = Search::new(low, high, steps, unloaded.p95);
        while let Some(rate) = search.next() {
            let length = self.cell().mul_f64(part);
            let seen = self
                .load(front, arm, rate, self.settings.analytics, length)
                .await?;
            search.note(Step {
                rate,
                p95: seen.reads.p95,
                in_time: ratio(count(seen.answered), count(seen.sent)),
                reads_per_second: seen.reads_per_second,
                servers: seen.servers,
                generator_core: seen.generator_core,
                late_sending: seen.late_sending,
            });
        }
        Ok(search.found())
    }

    /// One load, and what it did.
    ///
    /// # Errors
    /// When the generator fails, or nothing of it can be read.
    pub async fn load(
        &mut self,
        front: &Arc<Front>,
        arm: Arm,
        rate: f64,
        analytics: f64,
        length: Duration,
    ) -> Result<Seen> {
        let requests = arrivals(&mut self.random, rate, analytics, length);
        let first = self.rows;
        self.rows += i64::try_from(requests.len())?;
        let (used, busy, own) = (
            self.scene.servers.used()?,
            Busy::now()?,
            CpuTime::of(Pid::this())?,
        );
        let deadline = Duration::from_millis(self.settings.deadline);
        let sent = generator::run(front, requests, Instant::now(), deadline, first).await?;
        let (after, used_after) = (Busy::now()?, self.scene.servers.used()?);
        let mut seen = summary(&sent.probes, deadline, length);
        seen.servers = used_after.since(&used, arm);
        seen.generator_core = after.of_core(self.scene.cores.others, &busy);
        seen.stolen = after.stolen(&busy);
        seen.generator = CpuTime::of(Pid::this())?.cores_since(&own);
        seen.late_sending = sent.late_sending;
        if seen.answered < seen.sent {
            // Who gave up closed the connection: to open it again is no part of the next load.
            front.open(&SIZES).await?;
            wait::pass(SETTLE, "the connections were opened just now").await;
        }
        wait::pass(PAUSE, "the next load begins with idle servers").await;
        Ok(seen)
    }

    /// Puts them into an order by chance.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        self.random.shuffle(all);
    }

    /// Processor time of each kind on the primary.
    async fn costs(&mut self, front: &Arc<Front>) -> Result<Costs> {
        let length = self.cell().mul_f64(0.5);
        let before = self.scene.servers.used()?;
        wait::pass(length, "what idle servers use is to be known").await;
        let idle = self.scene.servers.used()?.since(&before, Arm::Primary);
        let mut costs = Costs {
            idle: idle[0],
            ..Costs::default()
        };
        for kind in Kind::ALL {
            let (before, started) = (self.scene.servers.used()?, Instant::now());
            let mut sent = 0;
            while started.elapsed() < length || sent < 5 {
                let asked = (1_i64..).take(TOGETHER).map(|number| {
                    let key = self.random.below(ROWS) + 1;
                    front.ask(kind, key, self.rows + number, Duration::from_secs(10))
                });
                let asked: Vec<_> = asked.collect();
                self.rows += i64::try_from(TOGETHER)?;
                sent += u32::try_from(try_join_all(asked).await?.len())?;
            }
            let each = ratio(started.elapsed().as_secs_f64() * 1e3, f64::from(sent));
            let used = self.scene.servers.used()?.since(&before, Arm::Primary);
            let cost = |server: usize| ((used[server] - idle[server]) * each).max(0.0);
            match kind {
                Kind::Point => costs.point = cost(0),
                Kind::Dashboard => costs.dashboard = cost(0),
                Kind::Analytics => costs.analytics = cost(0),
                Kind::Write => {
                    costs.write = cost(0);
                    costs.replay = mean(&(1..SERVERS).map(cost).collect::<Vec<_>>());
                }
            }
        }
        Ok(costs)
    }

    /// Analytics with nothing beside them, and a full quota for each.
    async fn alone(&mut self, front: &Arc<Front>, period: Duration) -> Result<Latency> {
        let number = if self.settings.short { 5 } else { 20 };
        let mut times = vec![];
        for key in 1..=number {
            wait::pass(period * 2, "the quota is whole again").await;
            let started = Instant::now();
            front
                .ask(Kind::Analytics, key, 0, Duration::from_secs(10))
                .await?;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Latency::of(times))
    }
}

/// The one in the middle by its rate.
fn median(all: &[Found]) -> Option<Found> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    all.get(all.len() / 2).copied().cloned()
}

/// Requests as figures. Those without an answer count in the latencies as if it had come at the deadline.
#[must_use]
fn summary(probes: &[Probe], deadline: Duration, length: Duration) -> Seen {
    let time = |probe: &Probe| match probe.outcome {
        Outcome::Answered { took, .. } => took.min(deadline),
        Outcome::Failed | Outcome::Late => deadline,
    };
    let of = |wanted: &dyn Fn(Kind) -> bool| {
        let wanted = probes.iter().filter(|probe| wanted(probe.kind));
        Latency::of(wanted.map(|probe| time(probe).as_secs_f64() * 1e3).collect())
    };
    let is_answered = |probe: &&Probe| matches!(probe.outcome, Outcome::Answered { .. });
    let answered = probes.iter().filter(is_answered).count();
    let failed = probes.iter().filter(|probe| probe.outcome == Outcome::Failed);
    let failed = failed.count();
    let reads = probes
        .iter()
        .filter(|probe| probe.kind.is_read())
        .filter(is_answered);
    Seen {
        sent: probes.len(),
        answered,
        failed,
        late: probes.len() - answered - failed,
        reads: of(&Kind::is_read),
        writes: of(&|kind| kind == Kind::Write),
        analytics: of(&|kind| kind == Kind::Analytics),
        analytics_times: probes
            .iter()
            .filter(|probe| probe.kind == Kind::Analytics)
            .map(|probe| time(probe).as_secs_f64() * 1e3)
            .collect(),
        reads_per_second: ratio(count(reads.count()), length.as_secs_f64()),
        ..Seen::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_is_the_search_in_the_middle() {
        let found = |rate| Found {
            rate,
            ..Found::default()
        };
        assert_eq!(
            median(&[found(300.0), found(100.0), found(200.0)]),
            Some(found(200.0))
        );
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn requests_without_an_answer_count_as_the_deadline() {
        let probe = |kind, outcome| Probe {
            at: Duration::ZERO,
            kind,
            row: 0,
            outcome,
        };
        let answered = |ms| Outcome::Answered {
            took: Duration::from_millis(ms),
            clock: 1,
        };
        let probes = [
            probe(Kind::Point, answered(10)),
            probe(Kind::Dashboard, Outcome::Late),
            probe(Kind::Write, Outcome::Failed),
            probe(Kind::Analytics, answered(300)),
        ];
        let seen = summary(&probes, Duration::from_secs(1), Duration::from_secs(2));
        assert_eq!((seen.sent, seen.answered, seen.late, seen.failed), (4, 2, 1, 1));
        assert_eq!((seen.reads.mean, seen.reads.p99), (505.0, 1000.0));
        assert_eq!((seen.writes.mean, seen.analytics.mean), (1000.0, 300.0));
        assert_eq!(seen.analytics_times, [300.0]);
        assert!((seen.reads_per_second - 0.5).abs() < 1e-9);
    }
}
