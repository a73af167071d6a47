//! What it costs when the leader of two operators goes, and that nothing else is written. `make bench-handover`.
//!
//! POLICIES (10,1000), each number with a control plane of its own; WAYS (all, separated by commas: see [`Way`]); RUNS of each
//! in which a server dies when the leader goes (20), and QUIET ones in which none does (2); MINUTES without a fault, among
//! the first number of policies (10); LEASE seconds (15).

mod outcome;
mod reads;
mod scene;
mod way;

use std::process::ExitCode;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::contest::versions;
use benches::figures::{aim, save, show, table};
use benches::option;
use harness::node;
use serde_json::{Value, json};

use outcome::Outcome;
use scene::{Scene, Terms};
use way::Way;

/// What a handover takes beside its lease, with what is waited for until the next one, and a start of a thousand policies.
const HANDOVER: Duration = Duration::from_secs(10);
const POLICY: Duration = Duration::from_millis(150);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    // The stub is this program, started again inside the node by the benchmark.
    if let Some((_, rest)) = stub_arguments(&arguments) {
        return benches::crowd::stub::main(rest);
    }
    node::enter(|| benches::run(bench()))
}

fn stub_arguments(arguments: &[String]) -> Option<(&String, &[String])> {
    let (name, rest) = arguments.get(1..)?.split_first()?;
    (name == benches::crowd::stub::ARGUMENT).then_some((name, rest))
}

/// What is to be done.
struct Plan {
    sizes: Vec<usize>,
    ways: Vec<Way>,
    runs: usize,
    quiet: usize,
    idle: Duration,
    terms: Terms,
}

impl Plan {
    fn of_environment() -> Result<Self> {
        let ways = option("WAYS", "all".to_owned())?;
        Ok(Self {
            sizes: list("POLICIES", &option("POLICIES", "10,1000".to_owned())?)?,
            ways: if ways == "all" {
                Way::ALL.to_vec()
            } else {
                list("WAYS", &ways)?
            },
            runs: option("RUNS", 20)?,
            quiet: option("QUIET", 2)?,
            idle: Duration::from_secs_f64(option("MINUTES", 10.0_f64)? * 60.0),
            terms: Terms::of(option("LEASE", 15)?)?,
        })
    }

    /// About how long it takes.
    fn estimate(&self) -> Duration {
        let handovers = u32::try_from((self.runs + self.quiet) * self.sizes.len()).unwrap_or(u32::MAX);
        let one = |way: &Way| {
            HANDOVER
                + if way.leaves_its_lease() {
                    self.terms.duration
                } else {
                    Duration::ZERO
                }
        };
        let starts = POLICY * u32::try_from(self.sizes.iter().sum::<usize>()).unwrap_or(u32::MAX);
        self.ways.iter().map(one).sum::<Duration>() * handovers + starts + self.idle
    }
}

fn list<T: FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<Vec<T>> {
    let one = |word: &str| {
        word.parse()
            .map_err(|error| anyhow::anyhow!("{name}={text}: {error}"))
    };
    text.split(',').map(one).collect()
}

async fn bench() -> Result<()> {
    let plan = Plan::of_environment()?;
    ensure!(
        plan.sizes.iter().all(|size| *size > 0),
        "POLICIES: a number is at least 1"
    );
    println!(
        "this takes about {:.0} minutes",
        plan.estimate().as_secs_f64() / 60.0
    );
    let (mut sizes, mut idle) = (vec![], None);
    for (number, size) in plan.sizes.iter().enumerate() {
        let mut scene = Scene::set(*size, plan.terms).await?;
        sizes.push((*size, handovers(&mut scene, &plan).await?));
        if number == 0 && !plan.idle.is_zero() {
            println!("nothing happens for {}", show(Some(plan.idle)));
            idle = Some(scene.idle(plan.idle).await?);
        }
        scene.strike().await?;
    }
    report(&plan, &sizes, idle.as_deref());
    save("handover", json(&plan, &sizes, idle.as_deref()))?;
    let all = sizes
        .iter()
        .flat_map(|(_, outcomes)| outcomes)
        .flat_map(|(_, outcome)| &outcome.wrong);
    let wrong: Vec<_> = all.chain(idle.iter().flatten()).map(String::as_str).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// All handovers among so many policies: the ways in turn.
async fn handovers(scene: &mut Scene, plan: &Plan) -> Result<Vec<(Way, Outcome)>> {
    let mut outcomes: Vec<_> = plan.ways.iter().map(|way| (*way, Outcome::default())).collect();
    let deaths = plan.runs * plan.ways.len();
    for run in 0..plan.runs {
        for (number, (way, outcome)) in outcomes.iter_mut().enumerate() {
            let started = Instant::now();
            let turn = run * plan.ways.len() + number;
            let handover = scene.deadly(*way, turn, deaths).await;
            let handover = handover.with_context(|| format!("run {} of {}", run + 1, way.name()))?;
            let death = handover.death.as_ref();
            println!(
                "{:<8} leads after {}, out after {}, behind kube-proxy {}; ready for the next after {}{}",
                way.name(),
                show(Some(handover.led)),
                show(death.map(|death| death.out)),
                show(death.map(|death| death.proxied)),
                show(Some(started.elapsed())),
                handover
                    .wrong
                    .iter()
                    .map(|wrong| format!("\n  WRONG: {wrong}"))
                    .collect::<String>()
            );
            outcome.add(handover);
        }
    }
    for _ in 0..plan.quiet {
        for (way, outcome) in &mut outcomes {
            let handover = scene.quiet(*way).await?;
            println!(
                "{:<8} without a fault, leads after {}{}",
                way.name(),
                show(Some(handover.led)),
                handover
                    .wrong
                    .iter()
                    .map(|wrong| format!("\n  WRONG: {wrong}"))
                    .collect::<String>()
            );
            outcome.add_quiet(handover);
        }
    }
    Ok(outcomes)
}

type Sizes = [(usize, Vec<(Way, Outcome)>)];

fn report(plan: &Plan, sizes: &Sizes, idle: Option<&[String]>) {
    println!();
    let mut rows = vec![Outcome::head()];
    for (policies, outcomes) in sizes {
        rows.extend(outcomes.iter().map(|(way, outcome)| outcome.row(*policies, *way)));
    }
    table(&rows);
    println!();
    for (policies, outcomes) in sizes {
        for (way, outcome) in outcomes {
            outcome.aims(*policies, *way, plan.terms.duration);
        }
    }
    let writes = idle.map_or(0, <[String]>::len);
    aim(
        &format!(
            "no write but the Lease's in {} without a fault ({writes})",
            show(Some(plan.idle))
        ),
        idle.map(<[String]>::is_empty),
    );
}

fn json(plan: &Plan, sizes: &Sizes, idle: Option<&[String]>) -> Value {
    let ways = |outcomes: &[(Way, Outcome)]| -> Value {
        outcomes
            .iter()
            .map(|(way, outcome)| (way.name().to_owned(), outcome.json()))
            .collect()
    };
    let sizes = sizes
        .iter()
        .map(|(policies, outcomes)| json!({"policies": policies, "ways": ways(outcomes)}));
    json!({
        "leaseSeconds": plan.terms.duration.as_secs(), "sizes": sizes.collect::<Vec<_>>(),
        "idle": {"seconds": plan.idle.as_secs(), "writes": idle}, "versions": versions(),
    })
}
