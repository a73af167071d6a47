//! Series of policies and their endpoints, read from the board when they are asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use crate::engine::{Board, BoardEntry, TargetFigures};
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::lag::Lag;

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

enum Number {
    Whole(i64),
    Fraction(f64),
}

/// A gauge with one series for each `T` that has a value.
pub struct SeriesKind<T> {
    pub name: &'static str,
    pub help: &'static str,
    pub unit: Option<Unit>,
    value: fn(&T) -> Option<Number>,
}

/// What is known of an endpoint: what was decided, and the newest figures of its targets.
pub struct EndpointSeries {
    eligible: Option<bool>,
    weight: Option<u32>,
    figures: Option<TargetFigures>,
}

/// Of an endpoint.
pub const OF_ENDPOINTS: [SeriesKind<EndpointSeries>; 7] = [
    SeriesKind {
        name: "endpoint_check_duration",
        help: "Time of the newest good check",
        unit: Some(Unit::Seconds),
        value: |endpoint| Some(Number::Fraction(endpoint.figures?.check?.as_secs_f64())),
    },
    SeriesKind {
        name: "endpoint_eligible",
        help: "1 if the endpoint is in a route",
        unit: None,
        value: |endpoint| Some(Number::Whole(endpoint.eligible?.into())),
    },
    SeriesKind {
        name: "endpoint_weight",
        help: "Share of the reads in hundredths",
        unit: None,
        value: |endpoint| Some(Number::Whole(endpoint.weight?.into())),
    },
    SeriesKind {
        name: "endpoint_lag",
        help: "How far a standby is behind; of one whose lag is older than the history, at least",
        unit: Some(Unit::Seconds),
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
        value: |endpoint| match endpoint.figures?.lag? {
            Lag::Behind { bytes, .. } | Lag::AtLeast { bytes, .. } => Some(whole(bytes?)),
            Lag::Unknown => None,
        },
    },
    SeriesKind {
        name: "endpoint_sessions",
        help: "Client sessions of others on the server",
        unit: None,
        value: |endpoint| Some(Number::Whole(endpoint.figures?.load?.sessions.into())),
    },
    SeriesKind {
        name: "endpoint_transactions",
        help: "Transactions ended since the server's statistics began, all databases",
        unit: None,
        value: |endpoint| Some(whole(endpoint.figures?.load?.transactions)),
    },
];

/// Of a policy.
pub const OF_POLICIES: [SeriesKind<BoardEntry>; 1] = [SeriesKind {
    name: "policy_healthy_endpoints",
    help: "Endpoints of a policy that are well",
    unit: None,
    value: |entry| {
        entry.judged.as_ref()?;
        let healthy = entry.endpoints().filter(|view| view.healthy).count();
        Some(Number::Whole(i64::try_from(healthy).unwrap_or(i64::MAX)))
    },
}];

/// The series of all policies that a board knows, while the process leads: two that show them would count each twice.
#[derive(Debug)]
pub struct PolicySeries {
    pub board: Board,
    pub leader: Gauge,
}

impl Collector for PolicySeries {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.leader.get() == 0 {
            return Ok(());
        }
        let entries: Vec<_> = self.board.list().collect();
        let endpoints: Vec<_> = entries.iter().flat_map(endpoints).collect();
        let policies: Vec<_> = entries
            .iter()
            .map(|(key, entry)| (of_policy(key), entry))
            .collect();
        for kind in &OF_ENDPOINTS {
            kind.encode(
                &mut encoder,
                endpoints.iter().map(|(labels, series)| (labels, series)),
            )?;
        }
        for kind in &OF_POLICIES {
            kind.encode(
                &mut encoder,
                policies.iter().map(|(labels, entry)| (labels, *entry)),
            )?;
        }
        Ok(())
    }
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
        let mut family =
            encoder.encode_descriptor(self.name, self.help, self.unit.as_ref(), MetricType::Gauge)?;
        series.try_for_each(|(labels, number)| number.encode(family.encode_family(labels)?))
    }
}

impl Number {
    fn encode(self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => encoder.encode_gauge(&number),
            Self::Fraction(number) => encoder.encode_gauge(&number),
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
        };
        (of_endpoint(key, &endpoint.id), series)
    });
    series.collect()
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
