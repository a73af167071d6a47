//! What the program's own requests show.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_core::breaker::CircuitState;
use distributary_core::policy::DeclaredRole;

use crate::shared::Shared;

/// How many replicas there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Those that are in a route, and that the program itself keeps out of none.
    pub healthy_replicas: usize,
    /// Those that the policy declares and does not disable.
    pub total_replicas: usize,
    /// Whether a server takes the writes.
    pub primary: bool,
}

/// Since the router was made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// The share of the reads that declared replicas answered, in percent; 0 where there were no reads.
    pub replica_usage_percentage: f64,
    /// Of the requests that were answered; zero where there were none.
    pub average_response_time: Duration,
    /// Requests that read, whatever became of them.
    pub reads: u64,
    /// Requests that write.
    pub writes: u64,
    /// Second attempts of reads.
    pub retries: u64,
    /// Tables that could not be used.
    pub refused_tables: u64,
    /// Tokens that were ahead of the log of the primary: nobody was given them. They were ignored.
    pub forged_tokens: u64,
    /// The targets of the routes of now.
    pub targets: Vec<TargetStats>,
}

/// Of one target, since it came into the routes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TargetStats {
    /// The id of its endpoint.
    pub endpoint: String,
    /// Its address and port.
    pub address: std::net::SocketAddr,
    /// Requests that it answered.
    pub answers: u64,
    /// Of all its answers.
    pub mean: Duration,
    /// Of its newest answers, to a quarter.
    pub p95: Duration,
    /// Requests under way.
    pub in_flight: u32,
    /// Failures to connect, and connections that were lost.
    pub failures: u64,
    /// By what the program itself sees.
    pub circuit: CircuitState,
    /// The classes and operations that get none of their reads there, or some, and their circuits.
    pub kinds: Vec<(String, CircuitState)>,
    /// It failed, and has not answered since.
    pub suspected: bool,
    /// Requests that found no free connection.
    pub pool_waits: u64,
    /// Open connections, and how many there may be.
    pub connections: (usize, u32),
}

impl Health {
    pub(crate) fn of(shared: &Shared) -> Self {
        let snapshot = shared.snapshot();
        let mut replicas = snapshot
            .table
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.declared == DeclaredRole::Replica && endpoint.active);
        let serves = |id: &str| {
            let mut servers = snapshot.servers();
            servers.any(|server| server.id == id && server.gate.share() > 0)
        };
        let total_replicas = replicas.clone().count();
        let healthy_replicas = replicas.by_ref().filter(|replica| serves(&replica.id)).count();
        let writes = snapshot.picker(distributary_core::table::named::WRITES);
        Self {
            healthy_replicas,
            total_replicas,
            primary: writes.is_some_and(|picker| picker.targets().any(|server| server.gate.share() > 0)),
        }
    }
}

impl Stats {
    pub(crate) fn of(shared: &Shared) -> Self {
        let snapshot = shared.snapshot();
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let targets: Vec<_> = snapshot
            .servers()
            .map(|server| {
                let (answers, mean) = server.latency.mean();
                TargetStats {
                    endpoint: server.id.clone(),
                    address: server.socket,
                    answers,
                    mean,
                    p95: server.latency.quantile(95),
                    in_flight: server.in_flight(),
                    failures: server.gate.failures(),
                    circuit: server.gate.circuit(),
                    kinds: server.kinds.open(),
                    suspected: server.gate.is_suspected(),
                    pool_waits: count(&server.waits),
                    connections: (server.connections(), server.size()),
                }
            })
            .collect();
        let answers: u64 = targets.iter().map(|target| target.answers).sum();
        let total: f64 = targets
            .iter()
            .map(|target| target.mean.as_secs_f64() * precise(target.answers))
            .sum();
        let (reads, by_replicas) = (count(&shared.counts.reads), count(&shared.counts.by_replicas));
        Self {
            replica_usage_percentage: 100.0 * precise(by_replicas) / precise(reads.max(1)),
            average_response_time: Duration::from_secs_f64(total / precise(answers.max(1))),
            reads,
            writes: count(&shared.counts.writes),
            retries: count(&shared.counts.retries),
            refused_tables: count(&shared.counts.refused_tables),
            forged_tokens: count(&shared.counts.forged_tokens),
            targets,
        }
    }
}

/// Counts below 2⁵³ are exact.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn precise(count: u64) -> f64 {
    count as f64
}
