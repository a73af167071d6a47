//! What clients of the HTTP API cost the routes: how soon a kill is in the EndpointSlices without them, and beside them; and
//! the memory that they take. `make bench-api`.
//!
//! MINUTES with clients (5), KILLS (20), STREAMS of events (200), REQUESTS per second (500), UNREAD streams that are not read
//! (20), HALVES of requests (20), POLICIES (10).

mod load;
mod scene;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use benches::figures::{Times, aim, milliseconds, save, show, table};
use benches::usage::{CpuTime, resident};
use harness::{node, wait};
use serde_json::json;

use load::{Answers, Load, Size};
use scene::Scene;

/// The aims: how much later a kill may be seen, and how much more memory there may be, in bytes.
const LATER: f64 = 1.2;
const MEMORY: u64 = 40_000_000;
/// The part of the requests that is to be answered; with less than half of them the times say nothing.
const ANSWERED: (f64, f64) = (0.95, 0.5);

fn main() -> ExitCode {
    node::enter(|| benches::run(bench()))
}

async fn bench() -> Result<()> {
    let minutes: f64 = benches::option("MINUTES", 5.0)?;
    let kills = benches::option("KILLS", 20_usize)?;
    let size = Size {
        streams: benches::option("STREAMS", 200)?,
        requests: benches::option("REQUESTS", 500)?,
        unread: benches::option("UNREAD", 20)?,
        halves: benches::option("HALVES", 20)?,
    };
    let scene = Scene::set(benches::option("POLICIES", 10)?, size.tokens()).await?;
    let pid = scene
        .operator
        .daemon()
        .pid()
        .context("the operator does not run")?;

    // Half of the kills without clients come before, half after: what the machine does meanwhile is in both.
    let mut without = Times::default();
    for number in 0..kills / 2 {
        without.push(scene.kill(number).await?);
    }
    let before = resident(pid)?;
    let load = Load::start(&scene, &size).await?;
    println!("{minutes} minutes with clients");
    let (since, cpu) = (Instant::now(), CpuTime::of(pid)?);
    let time = Duration::from_secs_f64(minutes * 60.0);
    let (mut with, mut highest) = (Times::default(), before);
    for number in 0..kills {
        let next = time.mul_f64(counted(number) / counted(kills));
        let rest = next.saturating_sub(since.elapsed());
        wait::pass(rest, "the kills are spread over the time").await;
        with.push(scene.kill(number).await?);
        highest = highest.max(resident(pid)?);
    }
    wait::pass(time.saturating_sub(since.elapsed()), "the time with clients").await;
    highest = highest.max(resident(pid)?);
    let cores = CpuTime::of(pid)?.cores_since(&cpu);
    let seconds = since.elapsed().as_secs_f64();
    let answers = load.end();
    for number in kills / 2..kills {
        without.push(scene.kill(number).await?);
    }
    let figures = Figures {
        without,
        with,
        before,
        highest,
        cores,
        seconds,
        answers,
    };
    figures.report(&size)
}

struct Figures {
    without: Times,
    with: Times,
    /// Resident memory, in bytes.
    before: u64,
    highest: u64,
    cores: f64,
    seconds: f64,
    answers: Answers,
}

impl Figures {
    fn report(&self, size: &Size) -> Result<()> {
        let Self {
            without,
            with,
            answers,
            ..
        } = self;
        let row = |name: &str, times: &Times| {
            let [median, worst] = [times.median(), times.worst()].map(show);
            vec![name.to_owned(), times.count().to_string(), median, worst]
        };
        let head = ["slices after a kill", "kills", "median", "worst"];
        table(&[
            head.map(ToOwned::to_owned).to_vec(),
            row("without clients", without),
            row("with clients", with),
        ]);
        let median = |times: &Times| times.median().map(milliseconds);
        let later = median(with)
            .zip(median(without))
            .map(|(with, without)| with / without);
        let more = self.highest.saturating_sub(self.before);
        let rate = counted(usize::try_from(answers.good)?) / self.seconds;
        println!(
            "{rate:.0} requests/s answered, {} refused, {} failed; slowest {}; {} snapshots and {} changes of events; the operator used {:.2} cores",
            answers.refused,
            answers.failed,
            show(Some(answers.slowest)),
            answers.snapshots,
            answers.changes,
            self.cores,
        );
        println!("memory {} bytes, {more} more with clients", self.highest);
        let is_soon = later.map(|later| later <= LATER);
        aim(
            "a kill is in the slices within 1.2 times of the time without clients",
            is_soon,
        );
        aim("at most 40 MB more", Some(more <= MEMORY));
        let part = rate / f64::from(size.requests.max(1));
        let (most, least) = ANSWERED;
        aim(
            &format!(
                "{:.0} % of the requests are answered ({:.0} %)",
                most * 100.0,
                part * 100.0
            ),
            (size.requests > 0).then_some(part >= most),
        );
        save(
            "api",
            json!({
                "seconds": self.seconds, "clients": size.json(), "without": without.json(), "with": with.json(), "later": later,
                "memoryBefore": self.before, "memoryHighest": self.highest, "memoryMore": more, "cores": self.cores,
                "requestsPerSecond": rate, "answers": answers.json(),
            }),
        )?;
        if size.requests > 0 && part < least {
            bail!("most requests were not answered: the times say nothing of their cost");
        }
        if is_soon == Some(false) || more > MEMORY {
            bail!("an aim was missed");
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "some hundred thousands at most")]
fn counted(number: usize) -> f64 {
    number as f64
}
