//! A target of the routes: its pool, its gate, what is measured of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{BuildError, Object, Pool, PoolError, TimeoutType, Timeouts};

use distributary_core::Moment;
use distributary_core::observation::{FailureClass, FailureKind};
use distributary_probe::{Clock, answers};

use crate::connection::Opener;
use crate::error::FailureReason;
use crate::gate::{CircuitRules, Gate};
use crate::latency::Latency;
use crate::routes::Candidate;
use crate::wire::Heard;

/// An endpoint that sends nothing for so long while requests wait is asked for a sign of life.
const QUIET: Duration = Duration::from_millis(100);
/// How long it has for that.
const PING: Duration = Duration::from_millis(200);
/// From one attempt to find out whether a target is back to the next one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A target.
pub struct Server {
    /// The id of its endpoint.
    pub id: String,
    pub socket: SocketAddr,
    pub gate: Gate,
    pub latency: Latency,
    pub heard: Heard,
    clock: Clock,
    pool: Pool<Opener>,
    size: u32,
    in_flight: AtomicU32,
    /// Waits for a free connection since the start.
    pub waits: AtomicU64,
    recovers: Recovery,
    /// When the newest ping ended, and whether it was answered.
    pinged: tokio::sync::Mutex<Option<(Moment, bool)>>,
}

impl Server {
    /// # Errors
    /// Outside of a runtime that has a clock.
    pub fn new(
        id: String,
        opener: Opener,
        size: u32,
        rules: CircuitRules,
        clock: Clock,
    ) -> Result<Arc<Self>, BuildError> {
        let (socket, heard, timeout) = (opener.address, opener.heard.clone(), opener.timeout);
        let pool = Pool::builder(opener)
            .max_size(usize::try_from(size).unwrap_or(usize::MAX))
            .create_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()?;
        Ok(Arc::new(Self {
            id,
            socket,
            gate: Gate::new(rules),
            latency: Latency::default(),
            heard,
            clock,
            pool,
            size,
            in_flight: AtomicU32::new(0),
            waits: AtomicU64::new(0),
            recovers: Recovery::default(),
            pinged: tokio::sync::Mutex::default(),
        }))
    }

    /// A connection of the pool, or a new one; where all are in use, one that is returned within `wait`.
    pub async fn checkout(&self, wait: Duration) -> Result<Object<Opener>, FailureReason> {
        let timeouts = Timeouts {
            wait: Some(wait),
            ..self.pool.timeouts()
        };
        let status = self.pool.status();
        let got = if status.available == 0 && status.size < status.max_size {
            // A new one is opened to its end, whether or not the request is still there then: requests with deadlines shorter than
            // a login would never get one otherwise.
            let pool = self.pool.clone();
            let opened = tokio::spawn(async move { pool.timeout_get(&timeouts).await }).await;
            opened.unwrap_or(Err(PoolError::Closed))
        } else {
            self.pool.timeout_get(&timeouts).await
        };
        match got {
            Ok(object) => {
                if Object::metrics(&object).recycle_count == 0 {
                    self.gate.let_in();
                }
                Ok(object)
            }
            Err(PoolError::Backend(kind)) => Err(FailureReason::Failed(kind)),
            Err(PoolError::Timeout(TimeoutType::Wait)) => {
                self.waits.fetch_add(1, Ordering::Relaxed);
                Err(FailureReason::PoolFull)
            }
            Err(PoolError::Timeout(_)) => Err(FailureReason::Failed(FailureKind::TimedOut)),
            Err(_) => Err(FailureReason::Failed(FailureKind::ConnectionClosed)),
        }
    }

    pub fn opener(&self) -> &Opener {
        self.pool.manager()
    }

    /// Closes the connections that nobody uses.
    pub fn close_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// Closes the connections that were idle for too long.
    pub fn close_expired(&self) {
        let (idle, age) = (self.opener().idle, self.opener().age);
        self.pool
            .retain(|_, metrics| metrics.last_used() <= idle && metrics.age() <= age);
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.pool.status().size
    }

    /// How many connections the pool has at most.
    pub const fn size(&self) -> u32 {
        self.size
    }

    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request until it is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// A request that began at `started` found that a connection cannot be had, or was lost.
    pub fn failed(self: &Arc<Self>, kind: FailureKind, started: Moment) {
        match kind.class() {
            FailureClass::Dead { hard } => {
                self.gate.failed(started, self.clock.now());
                if hard {
                    self.gate.suspect();
                }
            }
            FailureClass::Transient => {
                self.gate.suspect();
            }
            FailureClass::Saturated => self.gate.refused(true, self.clock.now()),
            FailureClass::Configuration
            | FailureClass::Own
            | FailureClass::Name
            | FailureClass::RefusedAddress => self.gate.refused(false, self.clock.now()),
            FailureClass::Alive => {}
        }
        self.recover();
    }

    /// Returns once the target is suspected because it is silent; never, where it is not.
    pub async fn falls_silent(self: Arc<Self>) {
        let since = self.clock.now();
        loop {
            let quiet = self.heard.ago().min(self.clock.now().since(since));
            if quiet < QUIET {
                Clock::sleep(QUIET - quiet).await;
                continue;
            }
            let started = self.clock.now();
            if self.is_silent().await {
                if self.gate.suspect() {
                    self.gate.failed(started, self.clock.now());
                    self.close_idle();
                }
                self.recover();
                return;
            }
            Clock::sleep(QUIET).await;
        }
    }

    /// Whether it does not answer; one ping serves all who ask at about the same time.
    async fn is_silent(&self) -> bool {
        let mut pinged = self.pinged.lock().await;
        let known = pinged.filter(|(ended, _)| self.clock.now().since(*ended) < QUIET);
        if let Some((_, answered)) = known {
            return !answered;
        }
        let heard_before = self.heard.ago();
        let answered = answers(self.socket, PING).await || self.heard.ago() < heard_before.min(PING);
        *pinged = Some((self.clock.now(), answered));
        !answered
    }

    /// While the target is out by what was seen here, logs in there from time to time, until that succeeds.
    fn recover(self: &Arc<Self>) {
        if !self.recovers.begins(|| self.gate.is_out()) {
            return;
        }
        let (target, clock) = (Arc::downgrade(self), self.clock);
        tokio::spawn(async move {
            let mut pause = Duration::ZERO;
            loop {
                Clock::sleep(pause).await;
                pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
                let Some(target) = target.upgrade() else { return };
                let started = clock.now();
                match target.opener().open().await {
                    Ok(_) => {
                        target.gate.let_in();
                        target.gate.succeeded(clock.now());
                    }
                    Err(kind) if kind.proves_life() => target.gate.succeeded(clock.now()),
                    Err(kind) if matches!(kind.class(), FailureClass::Dead { .. }) => {
                        target.gate.failed(started, clock.now());
                    }
                    Err(_) => {}
                }
                if target.recovers.ends(|| target.gate.is_out()) {
                    return;
                }
            }
        });
    }
}

/// Whether a task looks after a target that is out: at most one, and at least one while it is.
#[derive(Default)]
struct Recovery(AtomicBool);

impl Recovery {
    /// Whether a task is to begin.
    fn begins(&self, is_out: impl Fn() -> bool) -> bool {
        is_out() && !self.0.swap(true, Ordering::AcqRel)
    }

    /// Whether the task is to end.
    fn ends(&self, is_out: impl Fn() -> bool) -> bool {
        if is_out() {
            return false;
        }
        self.0.swap(false, Ordering::AcqRel);
        // Who put it out before this found a task, and began none.
        !self.begins(is_out)
    }
}

impl Candidate for Server {
    fn share(&self) -> u32 {
        self.gate.share()
    }

    fn used(&self) -> (u32, u32) {
        (self.in_flight(), self.size)
    }

    fn failed_at(&self) -> u64 {
        self.gate.failed_at()
    }
}

/// A request that is under way.
pub struct InFlight(Arc<Server>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_target_that_is_put_out_while_its_task_ends_keeps_it() {
        let recovery = Recovery::default();
        assert!(recovery.begins(|| true) && !recovery.begins(|| true), "one task");
        let looks = Cell::new(0);
        let put_out_after_the_first_look = || looks.replace(looks.get() + 1) > 0;
        assert!(!recovery.ends(put_out_after_the_first_look));
        assert!(!recovery.begins(|| true), "it goes on");
        assert!(recovery.ends(|| false) && recovery.begins(|| true));
    }
}
