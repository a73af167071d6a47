//! The clock in the database: a number that goes up every tenth of a second, by which reads tell how old they are.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::offload::front::Hosts;
use crate::offload::right::Clock;

const TICK: Duration = Duration::from_millis(100);
/// A frozen primary is asked again after that.
const ANSWER: Duration = Duration::from_secs(1);
const EVER: Duration = Duration::from_secs(24 * 3600);

/// The clock at work.
pub struct Ticks {
    clock: Arc<Mutex<Clock>>,
    primary: watch::Sender<SocketAddr>,
    task: JoinHandle<()>,
}

impl Drop for Ticks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Ticks {
    /// Writes it to this server; times count from `start`.
    pub fn start(primary: SocketAddr, start: Instant) -> Self {
        let (sender, receiver) = watch::channel(primary);
        let clock = Arc::new(Mutex::new(Clock::default()));
        let task = tokio::spawn(tick(clock.clone(), receiver, start));
        Self {
            clock,
            primary: sender,
            task,
        }
    }

    /// Writes are for another server from now on, which has the numbers up to this one.
    pub fn move_to(&self, primary: SocketAddr, number: usize) {
        lock(&self.clock).lost_after(number);
        self.primary.send_replace(primary);
    }

    /// Ends it.
    pub fn end(self) -> Clock {
        lock(&self.clock).clone()
    }
}

async fn tick(clock: Arc<Mutex<Clock>>, mut primary: watch::Receiver<SocketAddr>, start: Instant) {
    loop {
        let server = *primary.borrow_and_update();
        let Ok(pool) = Hosts::one(server).pool(1, EVER) else {
            return;
        };
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !primary.has_changed().unwrap_or(true) {
            ticks.tick().await;
            let next = lock(&clock).now() + 1;
            let statement = format!("update clock set number = greatest(number, {next})");
            let written = timeout(ANSWER, pool.ask(&statement)).await;
            let mut clock = lock(&clock);
            // Meanwhile it may have moved, and numbers been lost.
            let same = clock.now() + 1 == next && !primary.has_changed().unwrap_or(true);
            if same && matches!(written, Ok(Ok(_))) {
                clock.committed(start.elapsed());
            }
        }
        if primary.has_changed().is_err() {
            return;
        }
    }
}

fn lock(clock: &Mutex<Clock>) -> MutexGuard<'_, Clock> {
    clock.lock().unwrap_or_else(PoisonError::into_inner)
}
