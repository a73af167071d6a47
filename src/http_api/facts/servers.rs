//! Each server with its figures.

use std::time::Duration;

use distributary_core::ids::{EndpointId, TargetId};
use distributary_core::lag::Lag;
use distributary_core::observation::Role;
use distributary_core::policy::{DeclaredServer, Endpoint};
use distributary_core::statistics::{Rates, Summary};

use super::{Facts, rounded, time};
use crate::http_api::answers::{RatesAnswer, ResponseTimeAnswer, ServerAnswer, ServerStatistics};
use crate::render::advice;

impl Facts {
    pub(super) fn server(&self, endpoint: &Endpoint) -> ServerAnswer {
        let view = self.view(&endpoint.id);
        let figures = self
            .entry
            .as_ref()
            .and_then(|entry| entry.figures_of(&endpoint.id));
        let reason = view.map(|view| view.state.reason);
        let despite = view.and_then(|view| view.state.despite);
        let location = view
            .and_then(|view| view.location.as_ref())
            .or(match &endpoint.server {
                DeclaredServer::Host(location) | DeclaredServer::Service { location, .. } => Some(location),
                DeclaredServer::Url => None,
            });
        let lag = figures.and_then(|figures| figures.lag).unwrap_or(Lag::Unknown);
        let (lag_milliseconds, lag_bytes, lag_at_least) = told(lag);
        let load = figures.and_then(|figures| figures.load);
        let obstacle = view.and_then(|view| view.state.obstacle);
        ServerAnswer {
            id: endpoint.id.to_string(),
            name: endpoint.display_name.clone(),
            state: endpoint.state.word().to_owned(),
            healthy: view.map(|view| view.healthy),
            eligible: view.map(|view| view.state.eligible),
            role: Role::word_of(view.and_then(|view| view.state.role)).to_owned(),
            reason: reason.map(|reason| reason.word().to_owned()),
            means: reason.map(|reason| advice::of(reason).means.to_owned()),
            held_despite: despite.map(|despite| despite.word().to_owned()),
            held_despite_means: despite.map(|despite| advice::of(despite).means.to_owned()),
            next: view
                .and_then(|view| advice::next_of(&view.state))
                .map(ToOwned::to_owned),
            since: self.since(&endpoint.id),
            cannot_take_over: obstacle.map(|obstacle| obstacle.to_string()),
            cannot_take_over_means: obstacle.map(|obstacle| advice::of_obstacle(obstacle).to_owned()),
            failure: view
                .and_then(|view| view.state.failure)
                .map(|failure| failure.word().to_owned()),
            circuit: view.map(|view| view.state.circuit.state().word().to_owned()),
            host: location.map(|location| location.host.to_string()),
            port: location.map(|location| location.port),
            address: view
                .and_then(|view| view.address)
                .map(|address| address.to_string()),
            region: endpoint.region.clone(),
            weight: endpoint.weight,
            priority: endpoint.priority,
            max_connections: endpoint.max_connections,
            lag_milliseconds,
            lag_bytes,
            lag_at_least,
            response_time_milliseconds: figures.and_then(|figures| figures.check).map(milliseconds),
            connections: load.map(|load| load.sessions),
            server_max_connections: load.map(|load| load.max_connections),
            usable_connections: load.map(|load| load.usable_connections()),
            transactions: load.map(|load| load.transactions),
            statistics: self.measured(&endpoint.id).map(statistics),
        }
    }

    /// The statistics of an endpoint; of pods behind a Service, of the pod that told last.
    fn measured(&self, id: &EndpointId) -> Option<Summary> {
        let entry = self.entry.as_ref()?;
        let told = |target: &&TargetId| entry.figures.get(*target).map(|figures| figures.at);
        let targets = entry.statistics.keys().filter(|target| target.endpoint == *id);
        entry.summary(targets.max_by_key(told)?, self.now)
    }

    fn since(&self, id: &EndpointId) -> Option<String> {
        let mut all = self.status.endpoints.iter();
        let endpoint = all.find(|endpoint| endpoint.id == id.as_str())?;
        Some(time(&endpoint.since))
    }
}

/// Milliseconds, bytes, and whether it is longer than that.
pub(super) fn told(lag: Lag) -> (Option<u64>, Option<u64>, Option<bool>) {
    match lag {
        Lag::Unknown => (None, None, None),
        Lag::Behind { time, bytes } | Lag::AtLeast { time, bytes } => {
            let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            (Some(time), bytes, Some(matches!(lag, Lag::AtLeast { .. })))
        }
    }
}

fn statistics(summary: Summary) -> ServerStatistics {
    let response = summary.response.map(|times| ResponseTimeAnswer {
        checks: times.checks,
        mean_milliseconds: milliseconds(times.mean),
        p50_milliseconds: milliseconds(times.p50),
        p95_milliseconds: milliseconds(times.p95),
    });
    let errors = summary
        .errors
        .into_iter()
        .map(|(class, count)| (class.to_owned(), count));
    let worst = summary
        .worst_lag
        .map(|lag| u64::try_from(lag.as_millis()).unwrap_or(u64::MAX));
    ServerStatistics {
        ten_seconds: rates(summary.ten_seconds),
        minute: rates(summary.minute),
        five_minutes: rates(summary.five_minutes),
        response_time: response,
        errors: errors.collect(),
        worst_lag_milliseconds: worst,
    }
}

fn rates(rates: Rates) -> RatesAnswer {
    RatesAnswer {
        transactions: rates.transactions.map(rounded),
        sessions: rates.sessions.map(rounded),
        rows_returned: rates.rows_returned.map(rounded),
        rows_changed: rates.rows_changed.map(rounded),
    }
}

fn milliseconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3)
}
