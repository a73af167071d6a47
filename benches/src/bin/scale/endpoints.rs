//! What thousands of endpoints cost: memory, processor, starts, lateness, kills.
//!
//! ENDPOINTS (10000, ten to a policy), MINUTES of the steady state (5), KILLS (20).

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use benches::contest::versions;
use benches::crowd::{Crowd, Shape, Start};
use benches::figures::{Times, aim, milliseconds, save, show};
use benches::usage::{CpuTime, resident};
use benches::{option, page};
use distributary_core::statistics::Statistics;
use harness::{Operator, wait};
use serde_json::{Value, json};

use crate::cost;
use crate::{WRITES, pid, settle};

const INTERVAL: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(2);
const LATENESS: &str = "distributary_check_lateness_seconds";
/// Bytes of the statistics of a target, which keep nothing elsewhere; and the aim.
const STATISTICS: (usize, usize) = (size_of::<Statistics>(), 2048);

pub async fn measure(tls: bool) -> Result<()> {
    let endpoints: usize = option("ENDPOINTS", 10_000)?;
    let (minutes, kills) = (option("MINUTES", 5.0_f64)?, option("KILLS", 20_usize)?);
    let shape = Shape { tls, ..Shape::TEN };
    ensure!(
        endpoints >= shape.servers && endpoints.is_multiple_of(shape.servers),
        "ENDPOINTS must be a multiple of {}",
        shape.servers
    );
    let policies = endpoints / shape.servers;
    let mut crowd = Crowd::start(shape, policies).await?;
    let operator = crowd.operator().start().await?;
    wait::pass(Duration::from_secs(5), "memory of a start settles").await;
    let idle = resident(pid(&operator)?)?;

    crowd.grow(1).await?;
    crowd.routed().await?;
    crowd.held(crowd.servers(), Duration::from_mins(1)).await?;
    let few = crowd.kills(kills).await?;

    operator.kill();
    crowd.grow(policies).await?;
    let started = Instant::now();
    operator.start_again().await?;
    let cold = crowd.started(started).await?;
    settle().await?;
    let steady = steady(&mut crowd, &operator, Duration::from_secs_f64(minutes * 60.0)).await?;
    let many = crowd.kills(kills).await?;

    operator.kill();
    crowd.held(0, Duration::from_mins(1)).await?;
    let started = Instant::now();
    operator.start_again().await?;
    let warm = crowd.started(started).await?;
    let warm = (crowd.left_since(started), warm.held);
    operator.kill();
    drop(operator);
    crowd.end_stub().await?;
    let probe = cost::of_one_probe(&crowd, tls).await?;

    let figures = Figures {
        endpoints,
        each: shape.servers,
        tls,
        idle,
        few,
        many,
        cold,
        warm,
        steady,
        probe,
    };
    figures.report();
    save(
        if tls { "scale-tls" } else { "scale" },
        figures.json(policies, minutes),
    )
}

/// What the operator uses while nothing happens.
struct SteadyState {
    cores: f64,
    resident: u64,
    stub_cores: f64,
    stub: Value,
    lateness: Option<String>,
    writes: u64,
}

async fn steady(crowd: &mut Crowd, operator: &Operator, time: Duration) -> Result<SteadyState> {
    println!("steady state for {time:?}");
    let (ours, theirs) = (pid(operator)?, crowd.stub_pid()?);
    crowd.ask("reset").await?;
    let metrics = operator.http_get("/metrics").await?.body;
    let before = (CpuTime::of(ours)?, CpuTime::of(theirs)?);
    wait::pass(time, "what is used in a steady state shows only with time").await;
    let after = (CpuTime::of(ours)?, CpuTime::of(theirs)?);
    let later = operator.http_get("/metrics").await?.body;
    Ok(SteadyState {
        cores: after.0.cores_since(&before.0),
        resident: resident(ours)?,
        stub_cores: after.1.cores_since(&before.1),
        stub: serde_json::from_str(&crowd.ask("stats").await?)?,
        lateness: page::highest(LATENESS, &metrics, &later),
        writes: page::sum(&later, WRITES) - page::sum(&metrics, WRITES),
    })
}

struct Figures {
    endpoints: usize,
    /// Of one policy.
    each: usize,
    tls: bool,
    idle: u64,
    few: Times,
    many: Times,
    cold: Start,
    /// Endpoints that left a route meanwhile, and the time until all sessions are held again.
    warm: (usize, Duration),
    steady: SteadyState,
    probe: cost::Cost,
}

impl Figures {
    fn per_endpoint(&self) -> u64 {
        self.steady.resident.saturating_sub(self.idle) / self.endpoints as u64
    }

    /// How much later than its interval the latest check came to the stub; a check may be due earlier than that.
    fn late(&self, what: &str, period: Duration) -> Option<Duration> {
        let gap = self.steady.stub[what].as_f64()?;
        Some(Duration::from_secs_f64((gap - period.as_secs_f64()).max(0.0)))
    }

    fn report(&self) {
        let Self { steady, idle, .. } = self;
        let (resident, each) = (steady.resident, self.per_endpoint());
        println!();
        println!(
            "{} endpoints, {}",
            self.endpoints,
            if self.tls {
                "TLS and SCRAM"
            } else {
                "neither TLS nor SCRAM"
            }
        );
        println!("memory: {resident} bytes, {idle} without a policy, {each} for each endpoint");
        println!("of these, statistics: {} bytes for each target", STATISTICS.0);
        println!(
            "processor: {:.3} cores; the stub {:.3}",
            steady.cores, steady.stub_cores
        );
        println!("writes in the steady state: {}", steady.writes);
        println!("the stub saw: {}", steady.stub);
        let late = (
            self.late("longestCheckGap", INTERVAL),
            self.late("longestHeartbeatGap", HEARTBEAT),
        );
        println!(
            "longest gap over the interval: {}, over the heartbeat: {}",
            show(late.0),
            show(late.1)
        );
        println!(
            "latest check by the operator's own histogram: at most {} s",
            steady.lateness.as_deref().unwrap_or("(no such metric)")
        );
        let [routed, held, again] =
            [self.cold.routed, self.cold.held, self.warm.1].map(|time| show(Some(time)));
        println!("cold start: all routed after {routed}, all sessions held after {held}");
        println!(
            "restart: all sessions held after {again}; {} endpoints left a route",
            self.warm.0
        );
        for (what, times) in [(self.each, &self.few), (self.endpoints, &self.many)] {
            println!(
                "a kill among {what}: median {}, worst {}",
                show(times.median()),
                show(times.worst())
            );
        }
        println!("one whole check of a real server: {}", self.probe.json());
        println!();
        let (memory, cores) = if self.tls { (48_000, 1.0) } else { (16_000, 0.5) };
        aim(
            &format!("at most {memory} bytes for each endpoint ({each})"),
            Some(each <= memory),
        );
        aim(
            &format!("at most {cores} cores ({:.3})", steady.cores),
            Some(steady.cores <= cores),
        );
        if !self.tls {
            aim(
                &format!("at most 200 MB ({} MB)", resident / 1_000_000),
                Some(resident <= 200_000_000),
            );
        }
        let (statistics, most) = STATISTICS;
        aim(
            &format!("at most {most} bytes of statistics for each target ({statistics})"),
            Some(statistics <= most),
        );
        let latest = self.late("longestCheckGap", INTERVAL);
        aim(
            "no check later than 1 s",
            latest.map(|late| late <= Duration::from_secs(1)),
        );
        let medians = self.few.median().zip(self.many.median());
        aim(
            &format!(
                "a kill is seen no later than 1.5 times that among {} (medians)",
                self.each
            ),
            medians.map(|(few, many)| many <= few * 3 / 2),
        );
    }

    fn json(&self, policies: usize, minutes: f64) -> Value {
        let (cold, warm) = (self.cold, self.warm);
        json!({
            "endpoints": self.endpoints, "policies": policies, "tls": self.tls, "minutes": minutes,
            "versions": versions(),
            "residentBytes": self.steady.resident, "residentIdleBytes": self.idle, "bytesPerEndpoint": self.per_endpoint(),
            "statisticsBytesPerTarget": STATISTICS.0,
            "cores": self.steady.cores, "stubCores": self.steady.stub_cores, "writes": self.steady.writes,
            "stub": self.steady.stub, "latenessBucketSeconds": self.steady.lateness,
            "coldStart": {"routedMs": milliseconds(cold.routed), "sessionsHeldMs": milliseconds(cold.held)},
            "restart": {"left": warm.0, "sessionsHeldMs": milliseconds(warm.1)},
            "killAmongFew": self.few.json(), "killAmongMany": self.many.json(),
            "wholeCheckOfRealServer": self.probe.json(),
        })
    }
}
