//! What thousands of endpoints cost: 10,000 of them in 1,000 policies, answered by a stub. `make bench-scale`.
//!
//! ENDPOINTS (10000, ten to a policy), MINUTES of the steady state (5), KILLS (20), TLS=1 for TLS and SCRAM.

mod cost;
mod crowd;
mod stub;

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::contest::versions;
use benches::figures::{Times, aim, milliseconds, save, show};
use benches::usage::{CpuTime, resident};
use crowd::{Crowd, PER_POLICY};
use harness::{Operator, node, wait};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use serde_json::{Value, json};

/// One whole check of every endpoint, and some more.
const SETTLE: Duration = Duration::from_secs(40);
const INTERVAL: Duration = Duration::from_secs(30);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Descriptors that are not those of held sessions: checks, the API server, files.
const OTHER_FILES: u64 = 2_000;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    // The stub is this program, started again inside the node by the benchmark.
    if arguments
        .get(1)
        .is_some_and(|argument| argument == stub::ARGUMENT)
    {
        return stub::main(&arguments[2..]);
    }
    node::enter(|| benches::run(bench()))
}

async fn bench() -> Result<()> {
    let endpoints: usize = benches::option("ENDPOINTS", 10_000)?;
    let minutes: f64 = benches::option("MINUTES", 5.0)?;
    let kills: usize = benches::option("KILLS", 20)?;
    let tls = benches::option("TLS", 0_u8)? > 0;
    ensure!(
        endpoints >= PER_POLICY && endpoints.is_multiple_of(PER_POLICY),
        "ENDPOINTS must be a multiple of {PER_POLICY}"
    );
    allow_files(u64::try_from(endpoints)? + OTHER_FILES)?;

    let mut crowd = Crowd::start(endpoints, tls).await?;
    let operator = Operator::builder(&crowd.kubeconfig)
        .namespace(&crowd.namespace)
        .args(["--log-level", "info"]);
    let operator = operator.start().await?;
    wait::pass(Duration::from_secs(5), "memory of a start settles").await;
    let idle = resident(pid(&operator)?)?;

    println!("one policy, {PER_POLICY} endpoints");
    crowd.create(0..1).await?;
    crowd.routed(1).await?;
    crowd.held(PER_POLICY, Duration::from_mins(1)).await?;
    let few = crowd.kills(1, kills).await?;

    let policies = endpoints / PER_POLICY;
    operator.kill();
    let started = Instant::now();
    crowd.create(1..policies).await?;
    println!(
        "{policies} policies, {endpoints} endpoints; made in {}",
        show(Some(started.elapsed()))
    );
    let cold = start(&mut crowd, &operator, policies, endpoints).await?;
    println!(
        "cold start: all routed after {}, all sessions held after {}",
        show(Some(cold.0)),
        show(Some(cold.1))
    );

    wait::pass(SETTLE, "what the start left to do is done by then").await;
    let steady = steady(&mut crowd, &operator, Duration::from_secs_f64(minutes * 60.0)).await?;
    let many = crowd.kills(policies, kills).await?;

    operator.kill();
    crowd.held(0, Duration::from_mins(1)).await?;
    let restarted = Instant::now();
    let warm = start(&mut crowd, &operator, policies, endpoints).await?;
    let warm = (crowd.left_since(restarted), warm.1);
    operator.kill();
    drop(operator);
    crowd.end_stub().await?;
    let probe = cost::of_one_probe(&crowd, tls).await?;

    let figures = Figures {
        endpoints,
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

/// Starts the operator again: the times to all routed and to all sessions held.
async fn start(
    crowd: &mut Crowd,
    operator: &Operator,
    policies: usize,
    endpoints: usize,
) -> Result<(Duration, Duration)> {
    let started = Instant::now();
    operator.start_again().await?;
    crowd.routed(policies).await?;
    let routed = started.elapsed();
    crowd.held(endpoints, Duration::from_mins(10)).await?;
    Ok((routed, started.elapsed()))
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
    let page = operator.http_get("/metrics").await?.body;
    Ok(SteadyState {
        cores: after.0.cores_since(&before.0),
        resident: resident(ours)?,
        stub_cores: after.1.cores_since(&before.1),
        stub: serde_json::from_str(&crowd.ask("stats").await?)?,
        lateness: latest(&metrics, &page),
        writes: writes(&page) - writes(&metrics),
    })
}

struct Figures {
    endpoints: usize,
    tls: bool,
    idle: u64,
    few: Times,
    many: Times,
    cold: (Duration, Duration),
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
        let [routed, held, again] = [self.cold.0, self.cold.1, self.warm.1].map(|time| show(Some(time)));
        println!("cold start: all routed after {routed}, all sessions held after {held}");
        println!(
            "restart: all sessions held after {again}; {} endpoints left a route",
            self.warm.0
        );
        for (what, times) in [(PER_POLICY, &self.few), (self.endpoints, &self.many)] {
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
        let latest = self.late("longestCheckGap", INTERVAL);
        aim(
            "no check later than 1 s",
            latest.map(|late| late <= Duration::from_secs(1)),
        );
        let medians = self.few.median().zip(self.many.median());
        aim(
            &format!("a kill is seen no later than 1.5 times that among {PER_POLICY} (medians)"),
            medians.map(|(few, many)| many <= few * 3 / 2),
        );
    }

    fn json(&self, policies: usize, minutes: f64) -> Value {
        let (cold, warm) = (self.cold, self.warm);
        json!({
            "endpoints": self.endpoints, "policies": policies, "tls": self.tls, "minutes": minutes,
            "versions": versions(),
            "residentBytes": self.steady.resident, "residentIdleBytes": self.idle, "bytesPerEndpoint": self.per_endpoint(),
            "cores": self.steady.cores, "stubCores": self.steady.stub_cores, "writes": self.steady.writes,
            "stub": self.steady.stub, "latenessBucketSeconds": self.steady.lateness,
            "coldStart": {"routedMs": milliseconds(cold.0), "sessionsHeldMs": milliseconds(cold.1)},
            "restart": {"left": warm.0, "sessionsHeldMs": milliseconds(warm.1)},
            "killAmongFew": self.few.json(), "killAmongMany": self.many.json(),
            "wholeCheckOfRealServer": self.probe.json(),
        })
    }
}

fn pid(operator: &Operator) -> Result<Pid> {
    operator.daemon().pid().context("the operator does not run")
}

/// Raises the limit of open files as far as it goes; children inherit it.
fn allow_files(needed: u64) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, most.max(needed), most.max(needed));
    if raised.is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    }
    let (now, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        now >= needed,
        "{needed} open files are needed, {now} are allowed (ulimit -n)"
    );
    Ok(())
}

/// The sum of the operator's write counters.
fn writes(page: &str) -> u64 {
    let lines = page
        .lines()
        .filter(|line| line.starts_with("distributary_writes_total"));
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum()
}

/// The bound below which all checks began that the operator counted between two readings of its metrics, in seconds
/// after they were due.
fn latest(before: &str, after: &str) -> Option<String> {
    let (before, after) = (buckets(before), buckets(after));
    let new = |bound: &str| Some(after.get(bound)? - before.get(bound).copied().unwrap_or(0));
    let all = new("+Inf").filter(|count| *count > 0)?;
    let full = after.keys().filter(|bound| new(bound) == Some(all));
    let bounds = full.filter_map(|bound| Some((bound.replace("+Inf", "inf").parse::<f64>().ok()?, bound)));
    bounds
        .min_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, bound)| bound.clone())
}

/// Counts by upper bound.
fn buckets(page: &str) -> HashMap<String, u64> {
    let buckets = page.lines().filter_map(|line| {
        let rest = line.strip_prefix("distributary_check_lateness_seconds_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        Some((bound.to_owned(), count.parse::<u64>().ok()?))
    });
    buckets.collect()
}
