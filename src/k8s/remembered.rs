//! What the status of a policy says from before the operator started, in the words of the domain.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::clock::Clock;
use distributary_api::{ClassStatus, EndpointStatus, ReplicaSetPolicyStatus, TargetStatus};
use distributary_core::breaker::CircuitState;
use distributary_core::health::Reason;
use distributary_core::ids::ClassName;
use distributary_core::ids::EndpointId;
use distributary_core::ids::TargetId;
use distributary_core::observation::Role;
use distributary_core::percent::Percent;
use distributary_core::primary::Tenure;
use distributary_core::world::{
    Remembered, RememberedCircuit, RememberedClass, RememberedEndpoint, RememberedTarget,
};

/// Reads a status back.
pub fn remembered(status: &ReplicaSetPolicyStatus) -> Remembered {
    let endpoint = |endpoint: &EndpointStatus| {
        let targets = if endpoint.targets.is_empty() {
            vec![of_endpoint(endpoint)]
        } else {
            endpoint.targets.iter().map(of_target).collect()
        };
        let remembered = RememberedEndpoint {
            host: endpoint.host.clone(),
            port: endpoint.port,
            reason: Reason::from_word(&endpoint.reason),
            classes: endpoint
                .classes
                .iter()
                .map(|class| (class.name.as_str().into(), Reason::from_word(&class.reason)))
                .collect(),
            targets,
        };
        (EndpointId::from(endpoint.id.as_str()), remembered)
    };
    Remembered {
        endpoints: status.endpoints.iter().map(endpoint).collect(),
        tenure: tenure(status),
        answered: status.checked_for.clone(),
    }
}

fn tenure(status: &ReplicaSetPolicyStatus) -> Tenure {
    let primary = status.primary.as_ref();
    let holder = primary.map(|primary| {
        let of_pods = status
            .endpoints
            .iter()
            .any(|endpoint| endpoint.id == primary.id && !endpoint.targets.is_empty());
        let address = primary.address.as_ref().and_then(|address| address.parse().ok());
        TargetId {
            endpoint: EndpointId::from(primary.id.as_str()),
            pod: address.filter(|_| of_pods),
        }
    });
    Tenure {
        identity: status
            .system_identifier
            .as_ref()
            .and_then(|text| text.parse().ok()),
        holder,
        timeline: primary.and_then(|primary| primary.timeline),
        accepted: primary.and_then(|primary| primary.accepted.as_deref().map(EndpointId::from)),
    }
}

fn of_endpoint(status: &EndpointStatus) -> RememberedTarget {
    RememberedTarget {
        address: status.address.as_ref().and_then(|address| address.parse().ok()),
        role: Role::from_word(&status.role),
        seen_as_standby: status.seen_as_standby,
        eligible: status.eligible,
        reason: Reason::from_word(&status.reason),
        circuit: circuit_of(&status.circuit, status.retry_at.as_ref()),
        trips: status.trips,
        weight: status.effective_weight,
        classes: of_classes(&status.classes),
    }
}

fn of_target(status: &TargetStatus) -> RememberedTarget {
    RememberedTarget {
        address: status.address.parse().ok(),
        role: Role::from_word(&status.role),
        seen_as_standby: status.seen_as_standby,
        eligible: status.eligible,
        reason: Reason::from_word(&status.reason),
        circuit: circuit_of(&status.circuit, status.retry_at.as_ref()),
        trips: status.trips,
        weight: status.effective_weight,
        classes: of_classes(&status.classes),
    }
}

fn of_classes(status: &[ClassStatus]) -> BTreeMap<ClassName, RememberedClass> {
    let class = |status: &ClassStatus| {
        let known = RememberedClass {
            reason: Reason::from_word(&status.reason),
            circuit: circuit_of(&status.circuit, status.retry_at.as_ref()),
            trips: status.trips,
            share: Percent::new(status.share.min(100)),
        };
        (status.name.as_str().into(), known)
    };
    status.iter().map(class).collect()
}

/// A word of another version is a circuit that is closed: the next checks tell.
fn circuit_of(word: &str, retry_at: Option<&Time>) -> RememberedCircuit {
    match CircuitState::from_word(word) {
        None | Some(CircuitState::Closed) => RememberedCircuit::Closed,
        Some(CircuitState::HalfOpen) => RememberedCircuit::HalfOpen,
        Some(CircuitState::Open) => {
            let left = retry_at.map(|at| at.0.duration_since(Clock::timestamp()));
            let left = left.and_then(|left| Duration::try_from(left).ok());
            RememberedCircuit::Open {
                left: left.unwrap_or_default(),
            }
        }
    }
}

#[cfg(test)]
mod tests;
