//! Series of policies and their endpoints, read from the board when they are asked for.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Unit;

use super::series::{
    EndpointSeries, OF_CONDITIONS, OF_ENDPOINTS, OF_FAILOVERS, OF_FAILURES, OF_POLICIES, OF_REGIONS,
    OF_ROUTES, RouteSeries, SeriesKind,
};
use super::statuses::{StatusFigures, Statuses};
use crate::engine::{Board, BoardEntry};
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::observation::FailureClass;
use distributary_core::policy::EndpointState;
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

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RegionLabels {
    namespace: String,
    policy: String,
    endpoint: String,
    region: String,
}

/// Every name that is shown, with its unit and its type.
pub fn described(
    per_endpoint: bool,
) -> impl Iterator<Item = (&'static str, Option<&'static Unit>, MetricType)> {
    fn one<T>(kind: &'static SeriesKind<T>) -> (&'static str, Option<&'static Unit>, MetricType) {
        (kind.name, kind.unit.as_ref(), kind.kind)
    }
    let of_endpoints = OF_ENDPOINTS.iter().map(one);
    let of_endpoints = of_endpoints.chain([one(&OF_FAILURES), one(&OF_REGIONS)]);
    let of_endpoints = of_endpoints.filter(move |_| per_endpoint);
    let of_policies = OF_POLICIES.iter().map(one);
    let of_routes = OF_ROUTES.iter().map(one);
    let others = [one(&OF_CONDITIONS), one(&OF_FAILOVERS)];
    of_endpoints.chain(of_policies).chain(of_routes).chain(others)
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
        for kind in &OF_ROUTES {
            kind.encode(
                &mut encoder,
                routes.iter().map(|(labels, series)| (labels, series)),
            )?;
        }
        encode_statuses(&self.statuses.all(), &mut encoder)
    }
}

fn encode_endpoints(entries: &[(PolicyKey, BoardEntry)], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let endpoints: Vec<_> = entries.iter().flat_map(endpoints).collect();
    for kind in &OF_ENDPOINTS {
        kind.encode(encoder, endpoints.iter().map(|(labels, series)| (labels, series)))?;
    }
    let regions: Vec<_> = entries.iter().flat_map(regions).collect();
    OF_REGIONS.encode(encoder, regions.iter().map(|labels| (labels, &1)))?;
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

/// Every endpoint of a policy that has a series.
fn endpoints((key, entry): &(PolicyKey, BoardEntry)) -> Vec<(EndpointLabels, EndpointSeries)> {
    let declared = entry.decision.policy.endpoints.iter();
    let series = declared.map(|endpoint| {
        let view = entry.endpoints().find(|view| view.id == endpoint.id);
        let series = EndpointSeries {
            eligible: view.map(|view| view.state.eligible),
            weight: view.map(|view| view.state.weight),
            figures: entry.figures_of(&endpoint.id),
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

/// Where the endpoints of a policy are.
fn regions((key, entry): &(PolicyKey, BoardEntry)) -> Vec<RegionLabels> {
    let declared = entry.decision.policy.endpoints.iter();
    let labelled = declared.map(|endpoint| {
        let PolicyLabels { namespace, policy } = of_policy(key);
        RegionLabels {
            namespace,
            policy,
            endpoint: endpoint.id.to_string(),
            region: endpoint.region.clone().unwrap_or_default(),
        }
    });
    labelled.collect()
}

/// The routes of a policy, as they were decided last.
fn routes((key, entry): &(PolicyKey, BoardEntry)) -> Vec<(RouteLabels, RouteSeries)> {
    let decided = entry.judged.as_ref().and_then(|judged| judged.state.decided());
    let Some(decided) = decided else {
        return Vec::new();
    };
    let holder = decided.holding.holder.as_ref().map(|holder| &holder.endpoint);
    let routes = named::meant(&entry.decision.policy, &decided.plan, holder).into_iter();
    let labelled = routes.map(|(route, plan, meant)| {
        let PolicyLabels { namespace, policy } = of_policy(key);
        let labels = RouteLabels {
            namespace,
            policy,
            route,
        };
        let series = RouteSeries {
            state: plan.state,
            active_endpoints: meant,
        };
        (labels, series)
    });
    labelled.collect()
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
