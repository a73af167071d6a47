//! Reads through a Service, each on a new connection: as long as kube-proxy leads to a dead server, some of them fail.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::{reader, wait};
use tokio::task::{JoinHandle, JoinSet};

/// From one read to the next.
const PERIOD: Duration = Duration::from_millis(10);
/// A read that takes longer has failed.
const LONGEST: Duration = Duration::from_secs(1);
/// Half of the reads go to each of two servers: after so long without a failed one none goes to the dead one.
const CALM: Duration = Duration::from_secs(2);
const DEADLINE: Duration = Duration::from_mins(1);

/// A client that reads until it is dropped.
pub struct Reads {
    failed: Arc<Mutex<Vec<Instant>>>,
    task: JoinHandle<()>,
}

impl Drop for Reads {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Reads {
    /// Starts to read, once a read is answered.
    pub async fn start(front: SocketAddr) -> Result<Self> {
        let answered = || async { reader::ask(front).await };
        wait::eventually("a read through the Service", DEADLINE, answered).await?;
        let failed = Arc::new(Mutex::default());
        let task = tokio::spawn(read(front, Arc::clone(&failed)));
        Ok(Self { failed, task })
    }

    /// Waits until no read has failed for some time; returns when the last one that failed since then began.
    pub async fn calm(&self, since: Instant) -> Result<Option<Instant>> {
        let calm = || async {
            let last = self.last(since);
            let quiet = last.unwrap_or(since).elapsed();
            ensure!(quiet >= CALM, "a read failed {quiet:?} ago");
            Ok(last)
        };
        wait::eventually("reads that do not fail", DEADLINE, calm).await
    }

    fn last(&self, since: Instant) -> Option<Instant> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.iter().copied().filter(|at| *at >= since).max()
    }
}

async fn read(front: SocketAddr, failed: Arc<Mutex<Vec<Instant>>>) {
    let mut reads = JoinSet::new();
    loop {
        let failed = Arc::clone(&failed);
        reads.spawn(async move {
            let began = Instant::now();
            let answer = tokio::time::timeout(LONGEST, reader::ask(front)).await;
            if !matches!(answer, Ok(Ok(_))) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(began);
            }
        });
        while reads.try_join_next().is_some() {}
        wait::pass(PERIOD, "reads come steadily").await;
    }
}
