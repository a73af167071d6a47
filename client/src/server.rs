//! A target of the routes: its pool, its gate, what is measured of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use deadpool::Runtime;
use deadpool::managed::{BuildError, Object, Pool, PoolError, QueueMode, TimeoutType, Timeouts};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_postgres::CancelToken;

use distributary_core::Moment;
use distributary_core::observation::{FailureClass, FailureKind};
use distributary_probe::{Clock, answers};

use crate::connection::Opener;
use crate::error::FailureReason;
use crate::gate::{CircuitRules, Gate};
use crate::kinds::Kinds;
use crate::latency::Latency;
use crate::routes::Candidate;
use crate::wire::{Encrypted, Heard};

/// An endpoint that sends nothing for so long while requests wait is asked for a sign of life.
pub const QUIET: Duration = Duration::from_millis(100);
/// How long it has for that.
const PING: Duration = Duration::from_millis(200);
/// Where a server that sends nothing answers the question, it is asked again after twice as long, and so on up to 8 times as long.
const LONGEST_QUIET: u32 = 3;
/// From one attempt to find out whether a target is back to the next one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A cancellation has so long, its connection included.
const CANCEL: Duration = Duration::from_secs(1);
/// Cancellations of a server under way at once; others wait. As each keeps the place of its connection in the pool, they are no more
/// than those.
const CANCELS: usize = 64;

/// What every request writes, in a cache line of its own: what it only reads stays in the caches of all threads.
#[derive(Default)]
#[repr(align(64))]
struct Written(AtomicU32);

/// A target.
pub struct Server {
    /// The id of its endpoint.
    pub id: String,
    pub socket: SocketAddr,
    pub gate: Arc<Gate>,
    pub kinds: Arc<Kinds>,
    pub latency: Arc<Latency>,
    pub heard: Heard,
    clock: Clock,
    pool: Pool<Opener>,
    size: u32,
    in_flight: Written,
    /// Waits for a free connection since the start.
    pub waits: AtomicU64,
    recovers: Recovery,
    /// Why the newest login was refused, where none succeeded since: who looks after the target logs in, and nobody else.
    refusal: ArcSwapOption<FailureKind>,
    /// The newest ping.
    pinged: tokio::sync::Mutex<Option<Ping>>,
    cancels: Semaphore,
}

impl Server {
    /// `before`: the same server, reached in another way; what is known of it stays.
    ///
    /// # Errors
    /// Outside of a runtime that has a clock.
    pub fn new(
        id: String,
        opener: Opener,
        size: u32,
        rules: CircuitRules,
        clock: Clock,
        before: Option<&Self>,
    ) -> Result<Arc<Self>, BuildError> {
        let (socket, heard, timeout) = (opener.address, opener.heard.clone(), opener.timeout);
        let pool = Pool::builder(opener)
            .max_size(usize::try_from(size).unwrap_or(usize::MAX))
            // The one that was used last: what it needs is in the caches, here and at the server, and those that are too many get idle.
            .queue_mode(QueueMode::Lifo)
            .create_timeout(Some(timeout))
            .runtime(Runtime::Tokio1)
            .build()?;
        let gate = before.map(|before| Arc::clone(&before.gate));
        if let Some(gate) = &gate {
            // The login may be another one.
            gate.let_in();
        }
        let server = Arc::new(Self {
            id,
            socket,
            gate: gate.unwrap_or_else(|| Arc::new(Gate::new(rules))),
            kinds: before.map(|before| Arc::clone(&before.kinds)).unwrap_or_default(),
            latency: before
                .map(|before| Arc::clone(&before.latency))
                .unwrap_or_default(),
            heard,
            clock,
            pool,
            size,
            in_flight: Written::default(),
            waits: AtomicU64::new(0),
            recovers: Recovery::default(),
            refusal: ArcSwapOption::empty(),
            pinged: tokio::sync::Mutex::default(),
            cancels: Semaphore::new(CANCELS),
        });
        if before.is_some() {
            server.recover();
        }
        Ok(server)
    }

    /// A connection of the pool, or a new one; where all are in use, one that is returned within `wait`.
    pub async fn checkout(&self, wait: Duration) -> Result<Object<Opener>, FailureReason> {
        let timeouts = Timeouts {
            wait: Some(wait),
            ..self.pool.timeouts()
        };
        let status = self.pool.status();
        let got = if status.available == 0 && status.size < status.max_size {
            if let Some(refusal) = &*self.refusal.load() {
                return Err(FailureReason::Failed(**refusal));
            }
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
                    self.let_in();
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

    /// Ends what is under way on a connection, and drops what keeps it.
    pub fn cancel(self: &Arc<Self>, token: CancelToken, keeps: impl Send + 'static) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let server = Arc::clone(self);
        runtime.spawn(async move {
            let _place = server.cancels.acquire().await;
            let cancelled = async {
                let opener = server.opener();
                let stream = opener.dialer.open(&opener.host, opener.address, CANCEL).await;
                if let Ok(stream) = stream {
                    let _ = token.cancel_query_raw(stream, Encrypted).await;
                }
            };
            // The connection is closed in any case.
            let _ = timeout(CANCEL, cancelled).await;
            drop(keeps);
        });
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
        self.in_flight.0.load(Ordering::Relaxed)
    }

    /// Counts a request until it is dropped.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.0.fetch_add(1, Ordering::Relaxed);
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
            | FailureClass::RefusedAddress => {
                self.refusal.store(Some(Arc::new(kind)));
                self.gate.refused(false, self.clock.now());
            }
            FailureClass::Alive => {}
        }
        self.recover();
    }

    /// A login succeeded.
    fn let_in(&self) {
        self.refusal.store(None);
        self.gate.let_in();
    }

    /// Returns once the target is suspected because it is silent, while a request waits that began at `since`; never, where it is not.
    pub async fn falls_silent(self: &Arc<Self>, since: Moment) {
        loop {
            let quiet = self.heard.ago().min(self.clock.now().since(since));
            if quiet < QUIET {
                Clock::sleep(QUIET - quiet).await;
                continue;
            }
            let started = self.clock.now();
            let (silent, again) = self.is_silent().await;
            if silent {
                if self.gate.suspect() {
                    self.gate.failed(started, self.clock.now());
                    self.close_idle();
                }
                self.recover();
                return;
            }
            Clock::sleep(again).await;
        }
    }

    /// Whether it does not answer, and when it may be asked again; one ping serves all who ask until then.
    async fn is_silent(&self) -> (bool, Duration) {
        let mut pinged = self.pinged.lock().await;
        let now = self.clock.now();
        // It sent something since, so it is asked as at first.
        let before = pinged.filter(|ping| self.heard.ago() >= now.since(ping.ended));
        let left = before.map(|ping| ping.pause().saturating_sub(now.since(ping.ended)));
        if let (Some(ping), Some(left)) = (before, left.filter(|left| !left.is_zero())) {
            return (!ping.answered, left);
        }
        let heard_before = self.heard.ago();
        let answered = answers(self.socket, PING).await || self.heard.ago() < heard_before.min(PING);
        let ping = Ping {
            ended: self.clock.now(),
            answered,
            unheard: before.map_or(0, |ping| ping.unheard + 1),
        };
        *pinged = Some(ping);
        (!answered, ping.pause())
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
                        target.let_in();
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

/// A question for a sign of life.
#[derive(Clone, Copy, Debug)]
struct Ping {
    ended: Moment,
    answered: bool,
    /// Pings before it since the server sent anything on its connections.
    unheard: u32,
}

impl Ping {
    /// From its end to the next one.
    fn pause(self) -> Duration {
        if self.answered {
            QUIET * (1 << self.unheard.min(LONGEST_QUIET))
        } else {
            QUIET
        }
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
    fn share(&self, kind: Option<&str>) -> u32 {
        let share = self.gate.share();
        if kind.is_none() {
            return share;
        }
        share.min(self.kinds.share(kind, || self.clock.now()))
    }

    fn used(&self) -> (u32, u32) {
        (self.in_flight(), self.size)
    }

    fn failed_at(&self, kind: Option<&str>) -> u64 {
        self.gate.failed_at().max(self.kinds.failed_at(kind))
    }
}

/// A request that is under way.
pub struct InFlight(Arc<Server>);

impl InFlight {
    pub const fn server(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A server that answers the question for a sign of life, and nothing else.
    fn answering() -> (SocketAddr, Arc<AtomicU32>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<AtomicU32>::default();
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                use std::io::{Read, Write};
                let Ok(mut stream) = stream else { return };
                let mut request = [0; 8];
                if stream.read_exact(&mut request).is_ok() && stream.write_all(b"N").is_ok() {
                    count.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        (address, asked)
    }

    fn server(address: SocketAddr, before: Option<&Server>) -> Arc<Server> {
        let clock = Clock::new();
        let tls = distributary_core::login::TlsSettings {
            mode: distributary_core::login::TlsMode::Disable,
            ca: None,
            client: None,
        };
        let opener = Opener {
            host: distributary_core::server::Host::Address(address.ip()),
            address,
            database: "orders".to_owned(),
            credentials: crate::credentials::Credentials::new("app", "secret"),
            dialer: distributary_probe::Dialer::new(&tls),
            application_name: "test".to_owned(),
            timeout: Duration::from_secs(1),
            age: Duration::MAX,
            idle: Duration::MAX,
            heard: Heard::new(clock),
            pooled: AtomicBool::new(false),
        };
        let rules = CircuitRules {
            settings: distributary_core::policy::BreakerSettings {
                enabled: true,
                failure_threshold: 3,
                reset_timeout: Duration::from_secs(10),
                max_reset_timeout: Duration::from_secs(60),
                success_threshold: 1,
                traffic_steps: Vec::new(),
            },
            window: Duration::from_secs(5),
        };
        Server::new("a".to_owned(), opener, 5, rules, clock, before).expect("a server")
    }

    #[tokio::test]
    async fn a_slow_server_is_asked_for_a_sign_of_life_ever_less_often() {
        let (address, asked) = answering();
        let server = server(address, None);
        let silent =
            tokio::time::timeout(Duration::from_secs(2), server.falls_silent(server.clock.now())).await;
        assert!(silent.is_err() && !server.gate.is_suspected(), "it answers");
        // After 0.1, 0.3, 0.7 and 1.5 s.
        let asked = asked.load(Ordering::SeqCst);
        assert!((3..=5).contains(&asked), "{asked}");
    }

    #[tokio::test]
    async fn what_is_known_of_a_server_stays_when_it_is_reached_in_another_way() {
        let address = SocketAddr::from(([192, 0, 2, 1], 5432));
        let before = server(address, None);
        before.gate.suspect();
        before.gate.refused(false, before.clock.now());
        let after = server(address, Some(&before));
        assert!(after.gate.is_suspected(), "it is down, whatever its pool is");
        after.gate.succeeded(after.clock.now());
        assert_eq!(after.gate.share(), 100, "the login may be another one");
    }

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
