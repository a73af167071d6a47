//! What all requests of a router share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use distributary_core::Moment;
use distributary_core::observation::FailureKind;
use distributary_core::routing::Destination;
use distributary_core::table::{NoRoute, RoutingTable};
use distributary_probe::{Clock, meaning};

use crate::alarms::Alarms;
use crate::budget::Budget;
use crate::checkout::Checkout;
use crate::error::{Error, FailureReason, SettingsError, TargetFailure};
use crate::lag::Heads;
use crate::query::Query;
use crate::snapshot::{PoolSettings, Snapshot, Told};

/// Where nobody serves, a newer table is awaited for so long at most.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// From one time that a request makes the source look for a newer table to the next.
const ASKING: Duration = Duration::from_secs(10);

/// What a router's requests share. It is read without a lock.
pub struct Shared {
    pub clock: Clock,
    pub settings: PoolSettings,
    /// Of a request that says nothing else.
    pub deadline: Duration,
    pub budget: Budget,
    pub alarms: Alarms,
    pub counts: Counts,
    pub heads: Arc<Heads>,
    snapshot: ArcSwap<Snapshot>,
    changes: watch::Sender<u64>,
    /// Wakes the source of the tables.
    pub wanted: Arc<Notify>,
    /// That it was woken because of a request.
    asked: Seldom,
}

/// Since the start. Every request writes to them: in a cache line of their own.
#[derive(Default)]
#[repr(align(64))]
pub struct Counts {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    /// Reads that a replica answered.
    pub by_replicas: AtomicU64,
    /// Second attempts, those beside the first one included.
    pub retries: AtomicU64,
    /// Tables that were not used.
    pub refused_tables: AtomicU64,
    /// Tokens that were ahead of the log.
    pub forged_tokens: AtomicU64,
    /// 25006: servers that took no write although the table said so.
    pub read_only: AtomicU64,
}

impl Counts {
    pub fn count(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub fn new(snapshot: Snapshot, settings: PoolSettings, deadline: Duration, clock: Clock) -> Self {
        Self {
            clock,
            settings,
            deadline,
            budget: Budget::new(clock.now()),
            alarms: Alarms::default(),
            counts: Counts::default(),
            heads: Arc::default(),
            snapshot: ArcSwap::from_pointee(snapshot),
            changes: watch::Sender::new(0),
            wanted: Arc::default(),
            asked: Seldom::default(),
        }
    }

    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Uses a newer table. One that says the same changes nothing.
    ///
    /// # Errors
    /// It cannot be used; the one before stays.
    pub fn switch(&self, told: Told) -> Result<(), SettingsError> {
        let before = self.snapshot();
        let next = Snapshot::new(told, Some(&before), &self.settings, self.clock)?;
        let (from, to) = (before.table.revision.clone(), next.table.revision.clone());
        before.close_what_left(&next);
        self.snapshot.store(Arc::new(next));
        self.changes.send_modify(|count| *count += 1);
        if from != to {
            tracing::info!(from, to, "routes changed");
        }
        Ok(())
    }

    /// Asks the source for what is true now.
    pub fn ask_for_table(&self) {
        self.wanted.notify_one();
    }

    /// Asks the source because of what a request said: at most once in [`ASKING`], so that nobody from outside makes it work.
    pub fn ask_for_table_sometimes(&self) {
        if self.asked.passes(self.clock.now()) {
            self.ask_for_table();
        }
    }

    /// Told whenever another table is used.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Returns when another table than this one is used.
    pub async fn newer_than(&self, snapshot: &Arc<Snapshot>) {
        // Watched first, so that none is missed.
        let mut changes = self.changes();
        if Arc::ptr_eq(snapshot, &self.snapshot()) {
            // Its other end is kept here.
            let _ = changes.changed().await;
        }
    }

    /// The result of a request within its deadline.
    pub async fn within<T>(
        &self,
        query: &Query,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let after = query.deadline.unwrap_or(self.deadline);
        let result = timeout(after, request).await;
        result.unwrap_or(Err(Error::Deadline { after }))
    }

    /// Why nobody served a route of this table.
    pub fn nobody(snapshot: &Snapshot, route: &str, reasons: Vec<TargetFailure>) -> Error {
        Error::NobodyLeft {
            route: route.to_owned(),
            revision: snapshot.table.revision.clone(),
            reasons,
        }
    }
}

/// Lets one through in [`ASKING`]. Nanoseconds since the clock's start; 0: never.
#[derive(Default)]
struct Seldom(AtomicU64);

impl Seldom {
    fn passes(&self, now: Moment) -> bool {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (now, least) = (nanoseconds(now.since_start()), nanoseconds(ASKING));
        let passes = |last: u64| (last == 0 || now.saturating_sub(last) >= least).then_some(now.max(1));
        self.0
            .try_update(Ordering::Relaxed, Ordering::Relaxed, passes)
            .is_ok()
    }
}

/// Whether a request reads only. A class that the primary serves alone writes; one that prefers it writes unless the request says
/// otherwise; one of replicas reads.
pub fn is_read(table: &RoutingTable, query: &Query) -> Result<bool, NoRoute> {
    // Tells an unknown class.
    table.route(&query.request())?;
    let mut classes = table.classes.iter().filter(|class| {
        let has = |name: &str| class.operations.iter().any(|it| it == name);
        query.class.as_deref() == Some(&class.name) || query.operation.as_deref().is_some_and(has)
    });
    let destinations: Vec<_> = classes.by_ref().map(|class| class.destination).collect();
    let writes = destinations.contains(&Destination::Primary);
    let reads =
        |destination: &Destination| matches!(destination, Destination::Replicas | Destination::ReplicasOnly);
    Ok(!writes && (query.read_only || destinations.iter().any(reads)))
}

/// Tells the span of a request how it failed: not what a server said, which may be data.
pub fn note_error(span: &tracing::Span, error: Option<&Error>) {
    if let Some(error) = error {
        span.record("error", tracing::field::display(error));
    }
}

/// What an error of a statement says of the server, and of another attempt.
pub enum Verdict {
    /// The server is well: the statement failed by itself.
    Final,
    /// Another server may carry it out.
    Elsewhere(FailureReason),
}

/// Judges the error of a request on a connection that began at `started`, and tells the gate.
pub fn judge(checkout: &Checkout, error: &Error, started: Moment, clock: Clock) -> Verdict {
    let server = checkout.server();
    let Error::Database { source, .. } = error.cause() else {
        return Verdict::Final;
    };
    let kind = match source.code() {
        Some(state) => match state.code() {
            "57P01" | "57P02" | "57P03" => FailureKind::Stopping,
            "53300" => FailureKind::Saturated,
            "40001" | "40P01" => {
                server.gate.succeeded(clock.now());
                return Verdict::Elsewhere(FailureReason::Refused);
            }
            code if code.starts_with("08") => FailureKind::UpstreamLost,
            code if ["53", "58", "XX"].iter().any(|class| code.starts_with(class)) => {
                FailureKind::ServerFailing
            }
            _ => {
                server.gate.succeeded(clock.now());
                return Verdict::Final;
            }
        },
        None if is_lost(checkout, source) => match meaning(source, true).kind {
            kind @ (FailureKind::ConnectionReset | FailureKind::TimedOut | FailureKind::Unreachable) => kind,
            _ => FailureKind::ConnectionClosed,
        },
        // The program's own: a wrong number of parameters or rows, a type.
        None => return Verdict::Final,
    };
    server.failed(kind, started);
    Verdict::Elsewhere(FailureReason::Failed(kind))
}

/// Whether the connection is gone.
pub fn is_lost(checkout: &Checkout, error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    let closed = checkout
        .connection()
        .is_none_or(|connection| connection.client.is_closed());
    closed
        || error.is_closed()
        || error
            .source()
            .is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_make_the_source_look_once_in_ten_seconds() {
        let at = |seconds| Moment::new(Duration::from_secs(seconds));
        let seldom = Seldom::default();
        let passed: Vec<_> = (1..30).filter(|second| seldom.passes(at(*second))).collect();
        assert_eq!(passed, [1, 11, 21]);
    }
}
