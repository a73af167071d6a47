//! The answers of the operator as far as the object of a policy has them. What only the operator knows is null. Pure, but for the time.

use std::collections::{BTreeMap, BTreeSet};

use distributary_api::{Endpoint, EndpointStatus, ReplicaSetPolicy, ReplicaSetPolicyStatus};
use distributary_core::health::Reason;
use distributary_core::policy::{EndpointState, Strategy};
use distributary_core::write_primary::Obstacle;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::clock::timestamp;
use crate::http_api::answers::{
    ConditionAnswer, FailoverAnswer, Origin, PolicyAnswer, PolicyItem, ReplicaStatistics, RouteTargets,
    RoutingHealth, ServerAnswer, StateAnswer, TargetAnswer,
};
use crate::kubectl::cluster::{self, Policy};
use crate::render::advice;

/// The TCP port of a server where nothing else is said.
const PORT: u16 = 5432;

/// Who answers where no operator does.
const STATUS: &str = "the status of the policy";

pub fn origin() -> Origin {
    Origin {
        answered_by: STATUS.to_owned(),
        leader: None,
        observed_at: format!("{:.3}", timestamp()),
    }
}

/// A policy in a list, of whatever version.
pub fn item(object: &Policy) -> PolicyItem {
    let status = object.status.clone().unwrap_or_default();
    let ready = condition(&status, "Ready");
    let state = |condition: &Condition| StateAnswer {
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
    };
    let replicas = object.spec["replicas"].as_array().into_iter().flatten();
    let regions: BTreeSet<_> = std::iter::once(&object.spec["primary"])
        .chain(replicas)
        .filter_map(|own| own["region"].as_str().map(ToOwned::to_owned))
        .collect();
    PolicyItem {
        namespace: name(object.metadata.namespace.as_ref()),
        name: name(object.metadata.name.as_ref()),
        healthy: ready.is_some_and(|ready| ready.status == "True"),
        ready: ready.map(state),
        degraded: condition(&status, "Degraded").map(state),
        write_primary: status.primary.as_ref().map(|primary| primary.id.clone()),
        regions: Some(regions.into_iter().collect()),
        healthy_replicas: status.summary.as_ref().map(|summary| summary.healthy_replicas),
        total_replicas: status.summary.as_ref().map(|summary| summary.total_replicas),
        worst_lag_milliseconds: worst_lag(&cluster::declared(object), &status),
        ..PolicyItem::default()
    }
}

/// All that the object tells of a policy.
pub fn policy(object: &ReplicaSetPolicy) -> PolicyAnswer {
    let status = object.status.clone().unwrap_or_default();
    let ids: Vec<_> = declared(object).map(|(id, _)| id).collect();
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    let servers = declared(object).enumerate().map(|(place, (id, own))| {
        let known = status.endpoints.iter().find(|known| known.id == id);
        server(id, own, known, place == 0)
    });
    PolicyAnswer {
        namespace: name(object.metadata.namespace.as_ref()),
        name: name(object.metadata.name.as_ref()),
        generation: status.observed_generation,
        decision: None,
        write_primary: status.primary.as_ref().map(|primary| primary.id.clone()),
        conditions: status.conditions.iter().map(condition_answer).collect(),
        reasons: vec![],
        routing: routing(object, &status),
        endpoints: servers.collect(),
        statistics: ReplicaStatistics {
            worst_lag_milliseconds: worst_lag(&ids, &status),
            ..ReplicaStatistics::default()
        },
        history: status.failovers.iter().map(moved).collect(),
        origin: origin(),
    }
}

fn name(name: Option<&String>) -> String {
    name.cloned().unwrap_or_default()
}

/// The primary first.
fn declared(object: &ReplicaSetPolicy) -> impl Iterator<Item = (String, &Endpoint)> {
    let primary = std::iter::once(&object.spec.primary);
    let all = primary.chain(&object.spec.replicas);
    all.map(|own| (own.id.clone().unwrap_or_else(|| "primary".to_owned()), own))
}

/// The largest of the servers beside the one that takes the writes, in milliseconds: after a failover the declared primary is one of them.
/// `ids`: of those that are declared, the primary first.
fn worst_lag(ids: &[&str], status: &ReplicaSetPolicyStatus) -> Option<u64> {
    let writer = status.primary.as_ref().map(|primary| primary.id.as_str());
    let writer = writer.filter(|id| ids.contains(id)).or(ids.first().copied());
    let known = status.endpoints.iter().filter(|known| {
        let id = known.id.as_str();
        Some(id) != writer && ids.contains(&id)
    });
    let lags = known.filter_map(|known| known.server.lag.as_ref());
    lags.map(|lag| lag.milliseconds).max()
}

fn condition<'a>(status: &'a ReplicaSetPolicyStatus, type_: &str) -> Option<&'a Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
}

fn condition_answer(condition: &Condition) -> ConditionAnswer {
    ConditionAnswer {
        r#type: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_transition_time: condition.last_transition_time.0.to_string(),
    }
}

fn moved(failover: &distributary_api::FailoverStatus) -> FailoverAnswer {
    FailoverAnswer {
        at: failover.at.0.to_string(),
        route: failover.route.clone(),
        kind: failover.kind.clone(),
        from: failover.from.clone(),
        to: failover.to.clone(),
        reason: failover.reason.clone(),
    }
}

fn routing(object: &ReplicaSetPolicy, status: &ReplicaSetPolicyStatus) -> RoutingHealth {
    let routes = status.routes.iter().map(|route| {
        let led = RouteTargets {
            state: Some(route.state.clone()),
            targets: Some(
                route
                    .endpoints
                    .iter()
                    .flat_map(|id| targets(object, status, id))
                    .collect(),
            ),
        };
        (route.name.clone(), led)
    });
    let strategy: Option<Strategy> = Some(object.spec.load_balancing.strategy);
    RoutingHealth {
        revision: status.routing.as_ref().map(|routing| routing.revision.clone()),
        strategy: strategy.map(|strategy| strategy.word().to_owned()),
        routes: routes.collect::<BTreeMap<_, _>>(),
    }
}

/// The pods of an endpoint that are in a route, or else the endpoint itself, by its address as far as that is known.
fn targets(object: &ReplicaSetPolicy, status: &ReplicaSetPolicyStatus, id: &str) -> Vec<TargetAnswer> {
    let known = status.endpoints.iter().find(|known| known.id == id);
    let own = declared(object).find_map(|(declared, own)| (declared == id).then_some(own));
    let port = known
        .and_then(|known| known.port)
        .or(own.and_then(|own| own.port));
    let at = |address: String| TargetAnswer {
        endpoint: Some(id.to_owned()),
        address,
        port: port.unwrap_or(PORT),
    };
    let pods = known.iter().flat_map(|known| &known.targets);
    let pods: Vec<_> = pods
        .filter(|pod| pod.server.eligible)
        .map(|pod| at(pod.address.clone()))
        .collect();
    if !pods.is_empty() {
        return pods;
    }
    let told = known.and_then(|known| known.address.clone().or_else(|| known.host.clone()));
    let name = || {
        let service = own?.service_ref.as_ref().map(|service| service.name.clone());
        own?.host.clone().or(service)
    };
    vec![at(told.or_else(name).unwrap_or_default())]
}

fn server(id: String, own: &Endpoint, known: Option<&EndpointStatus>, is_primary: bool) -> ServerAnswer {
    let told = known.map(|known| &known.server);
    let reason = told.and_then(|told| Reason::from_word(&told.reason));
    let despite = told.and_then(|told| Reason::from_word(told.held_despite.as_deref()?));
    let obstacle = told.and_then(|told| Obstacle::from_word(told.cannot_take_over.as_deref()?));
    let lag = told.and_then(|told| told.lag.as_ref());
    let is_well = matches!(
        reason,
        Some(Reason::Serving | Reason::WeightZero | Reason::SameServer)
    );
    ServerAnswer {
        id,
        name: own.display_name.clone(),
        state: own.state.unwrap_or(EndpointState::Active).word().to_owned(),
        healthy: told.map(|_| is_well),
        eligible: told.map(|told| told.eligible),
        role: told.map_or_else(|| "Unknown".to_owned(), |told| told.role.clone()),
        reason: told.map(|told| told.reason.clone()),
        means: reason.map(|reason| advice::of(reason).means.to_owned()),
        held_despite: told.and_then(|told| told.held_despite.clone()),
        held_despite_means: despite.map(|despite| advice::of(despite).means.to_owned()),
        next: told.and_then(advice::next_in_words).map(ToOwned::to_owned),
        since: known.map(|known| known.since.0.to_string()),
        cannot_take_over: told.and_then(|told| told.cannot_take_over.clone()),
        cannot_take_over_means: obstacle.map(|obstacle| advice::of_obstacle(obstacle).to_owned()),
        failure: told.and_then(|told| told.failure.clone()),
        circuit: told.map(|told| told.circuit.clone()),
        host: known
            .and_then(|known| known.host.clone())
            .or_else(|| own.host.clone()),
        port: known.and_then(|known| known.port).or(own.port),
        address: known.and_then(|known| known.address.clone()),
        region: own.region.clone(),
        weight: own.weight.unwrap_or(1),
        priority: own.priority.unwrap_or(1),
        max_connections: own.max_connections.unwrap_or(if is_primary { 20 } else { 15 }),
        lag_milliseconds: lag.map(|lag| lag.milliseconds),
        lag_bytes: lag.and_then(|lag| lag.bytes),
        lag_at_least: lag.map(|lag| lag.at_least),
        response_time_milliseconds: None,
        connections: known.and_then(|known| known.sessions),
        server_max_connections: None,
        usable_connections: told.and_then(|told| told.usable_connections),
        transactions: None,
        statistics: None,
    }
}

#[cfg(test)]
mod tests;
