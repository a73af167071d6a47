//! Series of policies and their endpoints, read from the board when they are asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use super::statuses::{StatusFigures, Statuses};
use crate::engine::{Board, BoardEntry, EndpointCounts, TargetFigures};
use distributary_core::breaker::Circuit;
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::lag::Lag;
use distributary_core::observation::FailureClass;
use distributary_core::plan::RouteState;
use distributary_core::policy::{EndpointState, Mode};
use distributary_core::table::named;

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EndpointLabels {
    namespace: String,
    policy: String,
    endpoint: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct PolicyLabels {
    namespace: String,
    policy: String,
}

/// A series of a policy that one more word tells from others of its metric.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RouteLabels {
    namespace: String,
    policy: String,
    route: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ConditionLabels {
    namespace: String,
    policy: String,
    r#type: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailoverLabels {
    namespace: String,
    policy: String,
    kind: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct FailureLabels {
    namespace: String,
    policy: String,
    endpoint: String,
    class: &'static str,
}

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

/// What is known of an endpoint: what was decided, and the newest figures of its targets.
pub struct EndpointSeries {
    eligible: Option<bool>,
    weight: Option<u32>,
    figures: Option<TargetFigures>,
    counts: Option<EndpointCounts>,
    /// As the policy declares.
    active: bool,
    max_connections: u32,
    lag_bound: f64,
    circuit: Option<Circuit>,
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

/// Of a class of failures of an endpoint.
pub const OF_FAILURES: SeriesKind<u64> = SeriesKind {
    name: "endpoint_probe_failures",
    help: "Checks that failed, by the class of their failure",
    unit: None,
    kind: MetricType::Counter,
    value: |count| Some(Number::Count(*count)),
};

/// Of a route.
pub const OF_ROUTES: SeriesKind<RouteState> = SeriesKind {
    name: "route_state",
    help: "The route: 0 Empty, 1 Held, 2 Fallback, 3 Served",
    unit: None,
    kind: MetricType::Gauge,
    value: |state| {
        Some(Number::Whole(match state {
            RouteState::Empty => 0,
            RouteState::Held => 1,
            RouteState::Fallback => 2,
            RouteState::Served => 3,
        }))
    },
};

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

/// Every name that is shown, with its unit and its type.
pub fn described(
    per_endpoint: bool,
) -> impl Iterator<Item = (&'static str, Option<&'static Unit>, MetricType)> {
    fn one<T>(kind: &'static SeriesKind<T>) -> (&'static str, Option<&'static Unit>, MetricType) {
        (kind.name, kind.unit.as_ref(), kind.kind)
    }
    let of_endpoints = OF_ENDPOINTS.iter().map(one).chain([one(&OF_FAILURES)]);
    let of_policies = OF_POLICIES.iter().map(one);
    let others = [one(&OF_ROUTES), one(&OF_CONDITIONS), one(&OF_FAILOVERS)];
    let of_endpoints = of_endpoints.filter(move |_| per_endpoint);
    of_endpoints.chain(of_policies).chain(others)
}

/// The series of all policies that a board knows, while the process leads: two that show them would count each twice.
#[derive(Debug)]
pub struct PolicySeries {
    pub board: Board,
    pub statuses: Statuses,
    pub leader: Gauge,
    /// Whether endpoints have series of their own.
    pub per_endpoint: bool,
}

impl Collector for PolicySeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.leader.get() == 0 {
            return Ok(());
        }
        let entries: Vec<_> = self.board.list().collect();
        if self.per_endpoint {
            encode_endpoints(&entries, &mut encoder)?;
        }
        let policies: Vec<_> = entries
            .iter()
            .map(|(key, entry)| (of_policy(key), entry))
            .collect();
        for kind in &OF_POLICIES {
            kind.encode(
                &mut encoder,
                policies.iter().map(|(labels, entry)| (labels, *entry)),
            )?;
        }
        let routes: Vec<_> = entries.iter().flat_map(routes).collect();
        OF_ROUTES.encode(&mut encoder, routes.iter().map(|(labels, state)| (labels, state)))?;
        encode_statuses(&self.statuses.all(), &mut encoder)
    }
}

fn encode_endpoints(entries: &[(PolicyKey, BoardEntry)], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let endpoints: Vec<_> = entries.iter().flat_map(endpoints).collect();
    for kind in &OF_ENDPOINTS {
        kind.encode(encoder, endpoints.iter().map(|(labels, series)| (labels, series)))?;
    }
    let failures = endpoints.iter().filter_map(|(labels, series)| {
        let counts = series.counts?.failures.into_iter().enumerate();
        Some(counts.map(|(class, count)| {
            let EndpointLabels {
                namespace,
                policy,
                endpoint,
            } = labels.clone();
            let class = FailureClass::WORDS[class];
            let labels = FailureLabels {
                namespace,
                policy,
                endpoint,
                class,
            };
            (labels, count)
        }))
    });
    let failures: Vec<_> = failures.flatten().collect();
    OF_FAILURES.encode(encoder, failures.iter().map(|(labels, count)| (labels, count)))
}

fn encode_statuses(
    statuses: &[(PolicyKey, StatusFigures)],
    encoder: &mut DescriptorEncoder<'_>,
) -> fmt::Result {
    let conditions = statuses.iter().flat_map(|(key, figures)| {
        let one = |(r#type, status): &(String, i64)| {
            let PolicyLabels { namespace, policy } = of_policy(key);
            let labels = ConditionLabels {
                namespace,
                policy,
                r#type: r#type.clone(),
            };
            (labels, *status)
        };
        figures.conditions.iter().map(one)
    });
    let conditions: Vec<_> = conditions.collect();
    OF_CONDITIONS.encode(
        encoder,
        conditions.iter().map(|(labels, status)| (labels, status)),
    )?;
    let failovers = statuses.iter().flat_map(|(key, figures)| {
        figures.failovers().map(|(kind, count)| {
            let PolicyLabels { namespace, policy } = of_policy(key);
            let labels = FailoverLabels {
                namespace,
                policy,
                kind,
            };
            (labels, count)
        })
    });
    let failovers: Vec<_> = failovers.collect();
    OF_FAILOVERS.encode(encoder, failovers.iter().map(|(labels, count)| (labels, count)))
}

impl<T> SeriesKind<T> {
    fn encode<'a, L: EncodeLabelSet + 'a>(
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

/// Every endpoint of a policy that has a series.
fn endpoints((key, entry): &(PolicyKey, BoardEntry)) -> Vec<(EndpointLabels, EndpointSeries)> {
    let declared = entry.decision.policy.endpoints.iter();
    let series = declared.map(|endpoint| {
        let view = entry.endpoints().find(|view| view.id == endpoint.id);
        let series = EndpointSeries {
            eligible: view.map(|view| view.state.eligible),
            weight: view.map(|view| view.state.weight),
            figures: newest(entry, &endpoint.id),
            counts: entry.counts.get(&endpoint.id).copied(),
            active: endpoint.state == EndpointState::Active,
            max_connections: endpoint.max_connections,
            lag_bound: endpoint.lag.max.as_secs_f64(),
            circuit: view.map(|view| view.state.circuit),
        };
        (of_endpoint(key, &endpoint.id), series)
    });
    series.collect()
}

/// The routes of a policy, as they were decided last.
fn routes((key, entry): &(PolicyKey, BoardEntry)) -> Vec<(RouteLabels, RouteState)> {
    let decided = entry.judged.as_ref().and_then(|judged| judged.state.decided());
    let Some(decided) = decided else {
        return Vec::new();
    };
    let routes = named::declared(&entry.decision.policy, &decided.plan).into_iter();
    let labelled = routes.map(|(route, plan)| {
        let PolicyLabels { namespace, policy } = of_policy(key);
        let labels = RouteLabels {
            namespace,
            policy,
            route,
        };
        (labels, plan.state)
    });
    labelled.collect()
}

/// Of the pods behind a Service, the newest figures.
fn newest(entry: &BoardEntry, endpoint: &EndpointId) -> Option<TargetFigures> {
    let told = entry
        .figures
        .iter()
        .filter(|(target, _)| target.endpoint == *endpoint);
    told.map(|(_, figures)| *figures).max_by_key(|figures| figures.at)
}

fn whole(number: u64) -> Number {
    Number::Whole(i64::try_from(number).unwrap_or(i64::MAX))
}

fn of_endpoint(key: &PolicyKey, id: &EndpointId) -> EndpointLabels {
    EndpointLabels {
        namespace: key.namespace.clone(),
        policy: key.name.clone(),
        endpoint: id.to_string(),
    }
}

fn of_policy(key: &PolicyKey) -> PolicyLabels {
    PolicyLabels {
        namespace: key.namespace.clone(),
        policy: key.name.clone(),
    }
}
