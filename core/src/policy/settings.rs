//! What a policy says of checks, circuits, lag and failover.

use std::sync::Arc;
use std::time::Duration;

use crate::ids::EndpointId;
use crate::percent::Percent;
use crate::routing::{Least, ReadFallback};
use crate::words::words;

/// The shortest attempt that a policy can ask for.
pub const SHORTEST_ATTEMPT: Duration = Duration::from_millis(20);

/// The largest weight of an endpoint.
pub const MOST_WEIGHT: u16 = 1000;

/// What the operator does with a policy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Mode {
    /// Probe, decide, write.
    #[default]
    Enforce,
    /// Probe and decide; write no routes.
    Observe,
    /// Neither probe nor write.
    Suspend,
}

/// What the weights of targets come from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Strategy {
    /// All alike.
    #[default]
    RoundRobin,
    /// By the declared weight.
    Weighted,
    /// The less the more sessions a server has for its `maxConnections`.
    LeastConnections,
    /// The client's region first, as [`crate::routing::Region`] says.
    Geographic,
}

/// How servers prove that they belong to this database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdentityRule {
    /// The system identifier that the declared primary shows first.
    Learned,
    /// This system identifier.
    Declared(u64),
    /// Servers that do not tell.
    Unchecked,
}

/// What happens when servers are lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failover {
    /// Who serves reads when no replica can, in order.
    pub read_fallback: Vec<ReadFallback>,
    /// With fewer eligible replicas the fallback is added.
    pub min_healthy: Least,
    /// Whether the writes move to another endpoint that takes them.
    pub primary_role: PrimaryRole,
    /// Where the routes of writes lead while nobody takes them.
    pub on_primary_loss: OnPrimaryLoss,
    /// Where routes for reads lead while nobody may serve them.
    pub on_read_loss: OnReadLoss,
    /// A person's word which of two writable servers is the primary.
    pub accept_primary: Option<EndpointId>,
}

/// Who may take the writes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum PrimaryRole {
    /// Writes go to whichever endpoint is really the primary.
    #[default]
    Follow,
    /// Writes go to the declared primary, or nowhere.
    Pinned,
}

/// Where the routes of writes lead while nobody takes them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum OnPrimaryLoss {
    /// The route stays; clients fail on their own.
    #[default]
    Hold,
    /// The route is emptied: fast refusals.
    Withdraw,
}

/// Where routes for reads lead while nobody may serve them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum OnReadLoss {
    /// To those that are only unhealthy or behind.
    #[default]
    Hold,
    /// Nowhere: a bound of lag is hard.
    Withdraw,
}

/// When a replica is too far behind to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LagSettings {
    /// The bounds are the endpoint's own, as those of a delayed standby, which is never a fallback.
    pub own: bool,
    /// Where the lag comes from.
    pub source: LagSource,
    /// It leaves the routes past this.
    pub max: Duration,
    /// It leaves the routes past so many bytes, too; `None`: bytes are not judged.
    pub max_bytes: Option<u64>,
    /// It returns at this or below, which is no more than `max`; of the bytes, at the same share of their bound.
    pub recover: Duration,
}

/// Where the lag of a replica comes from.
#[derive(Clone, Debug, Default, Eq, PartialEq, strum::EnumDiscriminants)]
#[strum_discriminants(
    name(LagSourceKind),
    doc = "Where the lag of a replica comes from, without the query.",
    derive(strum::IntoStaticStr, strum::VariantArray),
    strum(const_into_str)
)]
pub enum LagSource {
    /// The primary's history of log positions.
    #[default]
    Wal,
    /// A query on the replica: one value, seconds. It is not empty.
    Query(Arc<str>),
    /// Lag is not judged.
    None,
}

/// Cadence of whole checks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probing {
    /// From one check to the next.
    pub interval: Duration,
    /// From one heartbeat on the held session to the next; `None`: no session is held.
    pub heartbeat: Option<Duration>,
    /// One check, at most.
    pub timeout: Duration,
    /// From the start of the first failed check to the open circuit, at most.
    pub failover_timeout: Duration,
    /// From one check to the next at least, where there is nothing to confirm.
    pub least: Duration,
    /// What the policy declares, where the operator takes more time than that.
    pub declared: Option<Pace>,
}

/// How often a policy wants its servers asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pace {
    /// From one check to the next.
    pub interval: Duration,
    /// From one heartbeat to the next; `None`: no session is held.
    pub heartbeat: Option<Duration>,
}

impl Probing {
    /// The same with at least so much time from one check, and one heartbeat, to the next.
    #[must_use]
    pub fn at_least(self, least: Duration) -> Self {
        let (interval, heartbeat) = (self.interval, self.heartbeat);
        let slower = Self {
            interval: interval.max(least),
            heartbeat: heartbeat.map(|heartbeat| heartbeat.max(least)),
            ..self
        };
        let declared = (slower != self).then_some(Pace { interval, heartbeat });
        Self {
            least,
            declared,
            ..slower
        }
    }

    /// From one check to the next while a server is not well, and there is nothing to confirm.
    #[must_use]
    pub fn watched(&self) -> Duration {
        self.interval.min(self.failover_timeout).max(self.least)
    }

    /// How many connections to a server a process of the operator needs at once: a check, and the held session.
    #[must_use]
    pub const fn connections(&self) -> u32 {
        if self.heartbeat.is_some() { 2 } else { 1 }
    }
}

/// When circuits open, and how they close again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BreakerSettings {
    /// False: an endpoint leaves after the same failures, and returns with its first good check.
    pub enabled: bool,
    /// Consecutive failures that open the circuit, at least 1.
    pub failure_threshold: u32,
    /// How long a circuit stays open at first.
    pub reset_timeout: Duration,
    /// What the reset timeout, which is no longer, doubles up to, trip by trip; trips longer ago than this no longer count.
    pub max_reset_timeout: Duration,
    /// Good checks from one traffic step to the next, at least 1.
    pub success_threshold: u32,
    /// Rising percentages above 0, at least one.
    pub traffic_steps: Vec<Percent>,
}

words!(
    Mode,
    Strategy,
    PrimaryRole,
    OnPrimaryLoss,
    OnReadLoss,
    LagSourceKind
);
