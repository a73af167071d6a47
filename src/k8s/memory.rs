//! What the status of a policy says from before the operator started, in the words of the core.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use distributary_api::{
    ClassStatus, EndpointStatus, HolderStatus, MemoryStatus, ReplicaSetPolicyStatus, ServerStatus,
    TargetStatus,
};
use distributary_core::breaker::CircuitState;
use distributary_core::health::Reason;
use distributary_core::ids::{ClassName, EndpointId, TargetId};
use distributary_core::moment::Moment;
use distributary_core::observation::Role;
use distributary_core::percent::Percent;
use distributary_core::server::{Host, Location};
use distributary_core::world::{CircuitMemory, ClassMemory, EndpointMemory, Memory, TargetMemory};
use distributary_core::write_primary::Holding;

/// The present moment, by the clock of the status and by that of the decisions.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub wall: Timestamp,
    pub moment: Moment,
}

/// Reads a status back.
pub fn memory(status: &ReplicaSetPolicyStatus, now: Now) -> Memory {
    let endpoint = |endpoint: &EndpointStatus| {
        let targets = if endpoint.targets.is_empty() {
            let address = endpoint.address.as_ref();
            let address = address.and_then(|address| address.parse().ok());
            vec![target(address, &endpoint.server, now)]
        } else {
            let pod = |pod: &TargetStatus| target(pod.address.parse().ok(), &pod.server, now);
            endpoint.targets.iter().map(pod).collect()
        };
        let classes = endpoint.server.classes.iter();
        let seen = |server: &ServerStatus| server.seen_as_standby || server.role == Role::Standby.word();
        let pods = endpoint.targets.iter().map(|pod| &pod.server);
        let memory = EndpointMemory {
            seen_as_standby: std::iter::once(&endpoint.server).chain(pods).any(seen),
            location: location(endpoint),
            reason: Reason::from_word(&endpoint.server.reason),
            classes: classes
                .filter_map(|class| Some((class.name.as_str().into(), Reason::from_word(&class.reason)?)))
                .collect(),
            targets,
        };
        (EndpointId::from(endpoint.id.as_str()), memory)
    };
    Memory {
        endpoints: status.endpoints.iter().map(endpoint).collect(),
        holding: holding(status),
        answered: status.checked_for.clone(),
    }
}

fn location(status: &EndpointStatus) -> Option<Location> {
    let host = status.host.as_ref()?;
    let host = host
        .parse()
        .map_or_else(|_| Host::Name(host.clone()), Host::Address);
    Some(Location {
        host,
        port: status.port?,
    })
}

/// Who takes the writes, and what is known of the database, by a status: by its memory or, of a version without one, by what
/// it tells people.
pub fn holding(status: &ReplicaSetPolicyStatus) -> Holding {
    match &status.memory {
        Some(memory) => remembered(memory, status),
        None => told(status),
    }
}

fn remembered(memory: &MemoryStatus, status: &ReplicaSetPolicyStatus) -> Holding {
    let holder = memory.holder.as_ref().map(|holder| TargetId {
        endpoint: EndpointId::from(holder.endpoint.as_str()),
        pod: pod(&holder.endpoint, holder.address.as_deref(), status),
    });
    Holding {
        identity: memory
            .system_identifier
            .as_ref()
            .and_then(|text| text.parse().ok()),
        server: memory.holder.as_ref().and_then(server),
        holder,
        timeline: memory.timeline,
        accepted: memory.accepted.as_deref().map(EndpointId::from),
        contested: memory
            .contested
            .iter()
            .filter_map(|server| server.parse().ok())
            .collect(),
        // No id of an endpoint contains a colon.
        contested_endpoints: memory
            .contested
            .iter()
            .filter(|entry| !entry.contains(':'))
            .map(|entry| EndpointId::from(entry.as_str()))
            .collect(),
    }
}

/// Where the holder was.
fn server(holder: &HolderStatus) -> Option<SocketAddr> {
    let address = holder.address.as_ref()?.parse().ok()?;
    Some(SocketAddr::new(address, holder.port?))
}

/// The address of a pod, where the endpoint has pods.
fn pod(endpoint: &str, address: Option<&str>, status: &ReplicaSetPolicyStatus) -> Option<IpAddr> {
    let of_pods = |other: &&EndpointStatus| other.id == endpoint && !other.targets.is_empty();
    status.endpoints.iter().find(of_pods)?;
    address?.parse().ok()
}

fn told(status: &ReplicaSetPolicyStatus) -> Holding {
    let primary = status.primary.as_ref();
    let holder = primary.map(|primary| TargetId {
        endpoint: EndpointId::from(primary.id.as_str()),
        pod: pod(&primary.id, primary.address.as_deref(), status),
    });
    Holding {
        identity: status
            .system_identifier
            .as_ref()
            .and_then(|text| text.parse().ok()),
        holder,
        timeline: primary.and_then(|primary| primary.timeline),
        accepted: primary.and_then(|primary| primary.accepted.as_deref().map(EndpointId::from)),
        ..Holding::default()
    }
}

fn target(address: Option<IpAddr>, status: &ServerStatus, now: Now) -> TargetMemory {
    TargetMemory {
        address,
        role: Role::from_word(&status.role),
        seen_as_standby: status.seen_as_standby,
        circuit: circuit(&status.circuit, status.retry_at.as_ref(), now),
        trips: status.trips,
        eligible: status.eligible,
        reason: Reason::from_word(&status.reason),
        weight: status.effective_weight,
        classes: classes(&status.classes, now),
    }
}

fn classes(status: &[ClassStatus], now: Now) -> BTreeMap<ClassName, ClassMemory> {
    let class = |status: &ClassStatus| {
        let known = ClassMemory {
            reason: Reason::from_word(&status.reason),
            circuit: circuit(&status.circuit, status.retry_at.as_ref(), now),
            trips: status.trips,
            share: Percent::new(status.share.min(100)),
        };
        (status.name.as_str().into(), known)
    };
    status.iter().map(class).collect()
}

/// `None`: in a word of another version.
fn circuit(word: &str, retry_at: Option<&Time>, now: Now) -> Option<CircuitMemory> {
    Some(match CircuitState::from_word(word)? {
        CircuitState::Closed => CircuitMemory::Closed,
        CircuitState::HalfOpen => CircuitMemory::HalfOpen,
        CircuitState::Open => {
            let left = retry_at.map(|at| at.0.duration_since(now.wall));
            let left = left.and_then(|left| Duration::try_from(left).ok());
            CircuitMemory::Open {
                until: now.moment + left.unwrap_or_default(),
            }
        }
    })
}

#[cfg(test)]
mod tests;
