//! What routing reads to replicas brings, beside more hardware and other ways to route: `make bench-offload`.
//!
//! `offload` measures; `offload check FILE` says whether a result is whole; `offload tell FIRST [SECOND]` writes what two results say
//! into the documentation.

use std::env;
use std::fs;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use benches::contest::versions;
use benches::figures::{file, machine, save};
use benches::offload::blocks::{Bench, SIZES};
use benches::offload::cgroups::{Cgroups, Leftovers};
use benches::offload::front::Sizes;
use benches::offload::machine::{Busy, CALM, Cores, pin};
use benches::offload::record::{Record, Settings, VERSION};
use benches::offload::scene::Scene;
use benches::offload::{availability, check, claims, doubts, plot, strategies, summary, tables};
use harness::{node, wait};
use nix::unistd::Pid;

/// How long the machine is watched before the start.
const WATCHED: Duration = Duration::from_secs(3);
/// Quota periods of the load.
const PERIODS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(20)];
/// The generator's core must not be busier.
const MOST: f64 = 0.7;
/// What PARTS may have; a result without one of them is not whole.
const PARTS: [&str; 3] = ["load", "strategies", "faults"];
/// Rows of different parts are so far from each other.
const APART: i64 = 100_000_000;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => return run(),
        ["check", file] => read(file).and_then(|record| checked(&record)),
        ["tell", first] => read(first).and_then(|first| tell(&first, None)),
        ["tell", first, second] => {
            read(first).and_then(|first| read(second).and_then(|second| tell(&first, Some(&second))))
        }
        _ => Err(anyhow::anyhow!(
            "usage: offload [check FILE | tell FIRST [SECOND]]"
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> ExitCode {
    let leftovers = Leftovers::find();
    let code = node::enter(|| {
        // Before any thread is made: all of them, and all programs but the servers, stay on one core.
        match Cores::find().and_then(|cores| pin(Pid::from_raw(0), cores.others).map(|()| cores)) {
            Ok(cores) => benches::run(bench(cores)),
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    });
    // However the node ended: all its processes are gone when its init is.
    if std::process::id() != 1 {
        leftovers.sweep();
    }
    code
}

fn settings() -> Result<Settings> {
    let short = benches::option("SHORT", 0_u8)? != 0;
    let (blocks, seconds, minutes) = if short { (1, 1.0, 2.1) } else { (5, 4.0, 30.0) };
    let minutes: f64 = benches::option("FAULT_MINUTES", minutes)?;
    let settings = Settings {
        short,
        seed: benches::option("SEED", 20)?,
        blocks: benches::option("BLOCKS", blocks)?,
        seconds: benches::option("SECONDS", seconds)?,
        fault_seconds: Duration::try_from_secs_f64(minutes * 60.0)
            .context("FAULT_MINUTES")?
            .as_secs(),
        quota: 0.15,
        deadline: 1000,
        bound: 5000,
        analytics: 1.0,
        probes: 10.0,
        lifetime: 30,
        connections: numbers(&SIZES),
        connections_under_faults: numbers(&availability::SIZES),
        profile: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
        .to_owned(),
    };
    ensure!((1..=100).contains(&settings.blocks), "BLOCKS must be 1 to 100");
    ensure!(
        (0.5..=120.0).contains(&settings.seconds),
        "SECONDS must be 0.5 to 120"
    );
    let slot = availability::slot(&settings).as_secs();
    ensure!(
        (slot..=24 * 3600).contains(&settings.fault_seconds),
        "FAULT_MINUTES must be at least {slot} seconds, and at most a day"
    );
    Ok(settings)
}

fn numbers(sizes: &Sizes) -> [usize; 3] {
    [sizes.reads, sizes.writes, sizes.analytics]
}

/// What is to be measured.
fn parts() -> Result<String> {
    let parts = benches::option("PARTS", PARTS.join(","))?;
    let unknown = parts.split(',').find(|part| !PARTS.contains(part));
    if let Some(unknown) = unknown {
        bail!("PARTS has {unknown:?}; the parts are {}", PARTS.join(", "));
    }
    let has = |part: &str| parts.split(',').any(|one| one == part);
    ensure!(
        has("load") || !has("strategies"),
        "the part strategies needs the part load: its rates follow from what requests cost"
    );
    Ok(parts)
}

/// Whether others use the machine: a figure of it would be theirs.
async fn busy(short: bool) -> Result<bool> {
    let before = Busy::now()?;
    wait::pass(WATCHED, "how busy others are shows with time").await;
    let used = Busy::now()?.of_all(&before);
    if used <= CALM {
        return Ok(false);
    }
    ensure!(
        short,
        "the machine is busy: other programs use {used:.2} cores, and {CALM} are allowed; end them, or wait. SHORT=1 runs on a \
         busy machine, and its figures are of no use"
    );
    println!("the machine is busy ({used:.2} cores): these figures are of no use");
    Ok(true)
}

async fn bench(cores: Cores) -> Result<()> {
    let (settings, parts, started) = (settings()?, parts()?, Instant::now());
    let cgroups = Cgroups::find()?;
    let busy = busy(settings.short).await?;
    let mut record = Record {
        version: VERSION,
        settings,
        complete: false,
        busy,
        warnings: vec![],
        machine: machine(),
        versions: versions(),
        servers: serde_json::Value::Null,
        took: 0,
        periods: vec![],
        situations: vec![],
        availability: None,
        summary: vec![],
    };
    record.versions["distributary"] = env!("CARGO_PKG_VERSION").into();
    println!("This runs beside nothing else: other programs change every figure.");
    let ended = measure(&mut record, &parts, cgroups, cores).await;
    record.complete = ended.is_ok() && check::has_all(&record);
    record.took = started.elapsed().as_secs();
    record.warnings = doubts::all(&record, MOST);
    record.summary = summary::of(&record);
    // What was measured before something failed is worth keeping.
    save("offload", serde_json::to_value(&record)?)?;
    ended?;
    fs::write(file("offload.svg")?, plot::svg(&record))?;
    println!("{}", tables::all(&record));
    if record.complete {
        println!("{}", claims::text(&record));
    }
    println!("the plot is in {}", file("offload.svg")?.display());
    Ok(())
}

async fn measure(record: &mut Record, parts: &str, cgroups: Cgroups, cores: Cores) -> Result<()> {
    let settings = record.settings.clone();
    let bound = Duration::from_millis(settings.bound);
    let scene = Scene::start(cgroups, cores, bound).await?;
    record.versions["cgroups"] = scene.servers.cgroup_version().into();
    record.servers = scene.servers.settings().await?;
    let has = |part: &str| parts.split(',').any(|one| one == part);
    if has("load") {
        for (number, period) in (0..).zip(PERIODS) {
            let mut bench = Bench::new(&scene, &settings, number * APART);
            bench.period(period, &mut record.periods).await?;
        }
    }
    if has("strategies") {
        let first = record.periods.first();
        let first = first.context("the part load comes before")?;
        strategies::run(&scene, &settings, first, 2 * APART, &mut record.situations).await?;
    }
    if !has("faults") {
        return Ok(());
    }
    record.availability = Some(availability::run(&scene, &settings, 3 * APART).await?);
    Ok(())
}

fn read(path: &str) -> Result<Record> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
    serde_json::from_str(&text).with_context(|| format!("{path} is no result of this version"))
}

fn checked(record: &Record) -> Result<()> {
    let faults = check::faults(record);
    ensure!(
        faults.is_empty(),
        "the result is not whole: {}",
        faults.join("; ")
    );
    println!("the result is whole, and its sums fit together");
    Ok(())
}

fn tell(first: &Record, second: Option<&Record>) -> Result<()> {
    for record in std::iter::once(first).chain(second) {
        checked(record)?;
        if record.settings.short || record.busy || record.settings.profile != "release" {
            bail!(
                "this result is of a short run, of a busy machine or of a debug build: nothing is told of it"
            );
        }
    }
    let root = benches::root();
    fs::write(root.join("docs/offload.svg"), plot::svg(first))?;
    let replace = |path: &str, text: &str| {
        let path = root.join(path);
        let page = fs::read_to_string(&path)?;
        let page = tables::between(&page, text).with_context(|| format!("no place in {}", path.display()))?;
        anyhow::Ok(fs::write(&path, page)?)
    };
    replace("docs/benchmarks.md", &tables::section(first, second))?;
    replace("README.md", &claims::readme(first))
}
