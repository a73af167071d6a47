//! An open loop: requests are sent when they are due, whatever became of those before, and their time counts from when they were due.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::arrivals::{Kind, Request};
use super::front::Front;
use super::right::{Outcome, Probe};
use super::statistics::quantile;

/// So many requests may be due and not yet sent.
const DUE: usize = 1024;

/// What a schedule became.
#[derive(Clone, Debug, Default)]
pub struct Sent {
    /// In the order in which they ended.
    pub probes: Vec<Probe>,
    /// How much later than due they were sent, 99 % of all, in milliseconds.
    pub late_sending: f64,
}

/// Sends all of it, and waits until each request was answered, refused or given up at its deadline. Times count from `start`; `row` is
/// the row of the first write.
///
/// # Errors
/// When no thread can be made.
pub async fn run(
    front: &Arc<Front>,
    requests: Vec<Request>,
    start: Instant,
    deadline: Duration,
    row: i64,
) -> Result<Sent> {
    let (sender, mut due) = mpsc::channel(DUE);
    // A thread of its own: the timer of tokio is exact to a millisecond only, which is more than a point read takes.
    let pace = thread::Builder::new().name("pace".to_owned());
    pace.spawn(move || {
        for (number, request) in (0..).zip(requests) {
            let left = (start + request.at).saturating_duration_since(Instant::now());
            if !left.is_zero() {
                thread::sleep(left);
            }
            // The other end is gone when the run was given up.
            if sender.blocking_send((number, request)).is_err() {
                return;
            }
        }
    })
    .context("start the pace of the generator")?;
    let (mut under_way, mut sent) = (JoinSet::new(), Sent::default());
    let mut lateness = vec![];
    loop {
        tokio::select! {
            biased;
            next = due.recv() => {
                let Some((number, request)) = next else { break };
                lateness.push((start.elapsed().saturating_sub(request.at)).as_secs_f64() * 1e3);
                under_way.spawn(ask(front.clone(), request, start, deadline, row + number));
            }
            Some(ended) = under_way.join_next() => sent.probes.push(ended?),
        }
    }
    while let Some(ended) = under_way.join_next().await {
        sent.probes.push(ended?);
    }
    lateness.sort_by(f64::total_cmp);
    sent.late_sending = quantile(&lateness, 0.99);
    Ok(sent)
}

async fn ask(front: Arc<Front>, request: Request, start: Instant, deadline: Duration, row: i64) -> Probe {
    let due = start + request.at;
    let left = (due + deadline).saturating_duration_since(Instant::now());
    let asked = front.ask(request.kind, request.key, row, left);
    let outcome = match tokio::time::timeout(left, asked).await {
        Ok(Ok(clock)) => Outcome::Answered {
            took: due.elapsed(),
            clock,
        },
        Ok(Err(_)) => Outcome::Failed,
        Err(_) => Outcome::Late,
    };
    Probe {
        at: request.at,
        kind: request.kind,
        row: if request.kind == Kind::Write { row } else { 0 },
        outcome,
    }
}
