//! What is told of policies and endpoints: a name, a unit, a type and how the value is read.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::engine::{BoardEntry, EndpointCounts, TargetFigures};
use distributary_core::breaker::Circuit;
use distributary_core::lag::Lag;
use distributary_core::plan::RouteState;
use distributary_core::policy::Mode;

enum Number {
    Whole(i64),
    Fraction(f64),
    Count(u64),
}

/// A metric with one series for each `T` that has a value.
pub struct SeriesKind<T> {
    pub name: &'static str,
    pub help: &'static str,
    pub unit: Option<Unit>,
    pub kind: MetricType,
    value: fn(&T) -> Option<Number>,
}

/// What is known of an endpoint: what was decided, and the figures of its targets.
pub struct EndpointSeries {
    pub eligible: Option<bool>,
    pub weight: Option<u32>,
    pub figures: Option<TargetFigures>,
    pub counts: Option<EndpointCounts>,
    /// As the policy declares.
    pub active: bool,
    pub max_connections: u32,
    pub lag_bound: f64,
    pub circuit: Option<Circuit>,
}

/// What was decided of a route.
pub struct RouteSeries {
    pub state: RouteState,
    /// Meant to serve it, and Active.
    pub active_endpoints: usize,
}

/// Of an endpoint.
pub const OF_ENDPOINTS: [SeriesKind<EndpointSeries>; 12] = [
    SeriesKind {
        name: "endpoint_check_duration",
        help: "Time of the newest good check",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Fraction(endpoint.figures?.check?.as_secs_f64())),
    },
    SeriesKind {
        name: "endpoint_eligible",
        help: "1 if the endpoint is in a route",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Whole(endpoint.eligible?.into())),
    },
    SeriesKind {
        name: "endpoint_weight",
        help: "Share of the reads in hundredths",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Whole(endpoint.weight?.into())),
    },
    SeriesKind {
        name: "endpoint_lag",
        help: "How far a standby is behind; of one whose lag is older than the history, at least",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        value: |endpoint| match endpoint.figures?.lag? {
            Lag::Behind { time, .. } | Lag::AtLeast { time, .. } => {
                Some(Number::Fraction(time.as_secs_f64()))
            }
            Lag::Unknown => None,
        },
    },
    SeriesKind {
        name: "endpoint_lag",
        help: "How far a standby is behind",
        unit: Some(Unit::Bytes),
        kind: MetricType::Gauge,
        value: |endpoint| match endpoint.figures?.lag? {
            Lag::Behind { bytes, .. } | Lag::AtLeast { bytes, .. } => Some(whole(bytes?)),
            Lag::Unknown => None,
        },
    },
    SeriesKind {
        name: "endpoint_sessions",
        help: "Client sessions of others on the server",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Whole(endpoint.figures?.load?.sessions.into())),
    },
    SeriesKind {
        name: "endpoint_transactions",
        help: "Transactions of others that ended on the server since the endpoint is checked",
        unit: None,
        kind: MetricType::Counter,
        value: |endpoint| Some(Number::Count(endpoint.counts?.transactions)),
    },
    SeriesKind {
        name: "endpoint_active",
        help: "1 if the state of the endpoint is Active",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Whole(endpoint.active.into())),
    },
    SeriesKind {
        name: "endpoint_circuit",
        help: "The circuit: 0 Closed, 1 HalfOpen, 2 Open",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| {
            Some(Number::Whole(match endpoint.circuit? {
                Circuit::Closed { .. } => 0,
                Circuit::HalfOpen { .. } => 1,
                Circuit::Open { .. } => 2,
            }))
        },
    },
    SeriesKind {
        name: "endpoint_lag_bound",
        help: "The lag from which on a standby leaves the routes",
        unit: Some(Unit::Seconds),
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Fraction(endpoint.lag_bound)),
    },
    SeriesKind {
        name: "endpoint_max_connections",
        help: "The sessions that the endpoint is declared for",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| Some(Number::Whole(endpoint.max_connections.into())),
    },
    SeriesKind {
        name: "endpoint_usable_connections",
        help: "max_connections of the server, less those that are reserved",
        unit: None,
        kind: MetricType::Gauge,
        value: |endpoint| {
            let load = endpoint.figures?.load?;
            Some(Number::Whole(load.usable_connections().into()))
        },
    },
];

/// Of the region of an endpoint.
pub const OF_REGIONS: SeriesKind<i64> = SeriesKind {
    name: "endpoint_region",
    help: "1; the region of the endpoint, empty where it has none",
    unit: None,
    kind: MetricType::Gauge,
    value: |one| Some(Number::Whole(*one)),
};

/// Of a class of failures of an endpoint.
pub const OF_FAILURES: SeriesKind<u64> = SeriesKind {
    name: "endpoint_probe_failures",
    help: "Checks that failed, by the class of their failure",
    unit: None,
    kind: MetricType::Counter,
    value: |count| Some(Number::Count(*count)),
};

/// Of a route.
pub const OF_ROUTES: [SeriesKind<RouteSeries>; 2] = [
    SeriesKind {
        name: "route_state",
        help: "The route: 0 Empty, 1 Held, 2 Fallback, 3 Served",
        unit: None,
        kind: MetricType::Gauge,
        value: |route| {
            Some(Number::Whole(match route.state {
                RouteState::Empty => 0,
                RouteState::Held => 1,
                RouteState::Fallback => 2,
                RouteState::Served => 3,
            }))
        },
    },
    SeriesKind {
        name: "route_active_endpoints",
        help: "Endpoints that are meant to serve the route, and whose state is Active",
        unit: None,
        kind: MetricType::Gauge,
        value: |route| {
            let count = i64::try_from(route.active_endpoints);
            Some(Number::Whole(count.unwrap_or(i64::MAX)))
        },
    },
];

/// Of a condition.
pub const OF_CONDITIONS: SeriesKind<i64> = SeriesKind {
    name: "condition",
    help: "The condition of a policy: 1 True, 0 False, -1 Unknown",
    unit: None,
    kind: MetricType::Gauge,
    value: |status| Some(Number::Whole(*status)),
};

/// Of a kind of failovers.
pub const OF_FAILOVERS: SeriesKind<u64> = SeriesKind {
    name: "failovers",
    help: "Changes of who serves a route, by kind",
    unit: None,
    kind: MetricType::Counter,
    value: |count| Some(Number::Count(*count)),
};

/// Of a policy.
pub const OF_POLICIES: [SeriesKind<BoardEntry>; 5] = [
    SeriesKind {
        name: "policy_healthy_endpoints",
        help: "Endpoints of a policy that are well",
        unit: None,
        kind: MetricType::Gauge,
        value: |entry| {
            entry.judged.as_ref()?;
            let healthy = entry.endpoints().filter(|view| view.healthy).count();
            Some(Number::Whole(i64::try_from(healthy).unwrap_or(i64::MAX)))
        },
    },
    SeriesKind {
        name: "policy_enforced",
        help: "1 if the mode of the policy is Enforce",
        unit: None,
        kind: MetricType::Gauge,
        value: |entry| {
            Some(Number::Whole(
                (entry.decision.policy.mode == Mode::Enforce).into(),
            ))
        },
    },
    SeriesKind {
        name: "policy_identity_changed",
        help: "1 if the write primary shows another system identifier, and nobody may follow it",
        unit: None,
        kind: MetricType::Gauge,
        value: |entry| {
            let decided = entry.judged.as_ref()?.state.decided()?;
            Some(Number::Whole(decided.changed.is_some().into()))
        },
    },
    SeriesKind {
        name: "policy_primary_unproven",
        help: "1 if the write primary cannot be checked, and another server was promoted",
        unit: None,
        kind: MetricType::Gauge,
        value: |entry| {
            let decided = entry.judged.as_ref()?.state.decided()?;
            Some(Number::Whole(decided.unproven.into()))
        },
    },
    SeriesKind {
        name: "primary_timeline",
        help: "The highest timeline that the write primary was seen on",
        unit: None,
        kind: MetricType::Gauge,
        value: |entry| {
            let decided = entry.judged.as_ref()?.state.decided()?;
            Some(Number::Whole(decided.holding.timeline?.into()))
        },
    },
];

impl<T> SeriesKind<T> {
    pub fn encode<'a, L: EncodeLabelSet + 'a>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        all: impl Iterator<Item = (&'a L, &'a T)>,
    ) -> fmt::Result
    where
        T: 'a,
    {
        let mut series = all
            .filter_map(|(labels, of)| Some((labels, (self.value)(of)?)))
            .peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), self.kind)?;
        series.try_for_each(|(labels, number)| number.encode(family.encode_family(labels)?))
    }
}

impl Number {
    fn encode(self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => encoder.encode_gauge(&number),
            Self::Fraction(number) => encoder.encode_gauge(&number),
            Self::Count(number) => encoder.encode_counter::<NoLabelSet, _, u64>(&number, None),
        }
    }
}

fn whole(number: u64) -> Number {
    Number::Whole(i64::try_from(number).unwrap_or(i64::MAX))
}
