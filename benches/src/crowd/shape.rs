//! The policies of a crowd, and where their servers are.

use std::net::Ipv4Addr;

use harness::postgres::{DATABASE, PORT};
use serde_json::{Value, json};

/// Addresses that a crowd may have.
pub const MOST: usize = 16_000;
/// The port of the Service of a policy's pods.
const SERVICE_PORT: u16 = 6432;

/// What every policy of a crowd is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Its servers, each at an address of its own: the primary, then the replicas.
    pub servers: usize,
    /// The replicas are the pods behind one Service.
    pub by_service: bool,
    /// TLS and SCRAM.
    pub tls: bool,
    /// How often a server is checked.
    pub interval: &'static str,
    /// How often its session is asked.
    pub heartbeat: &'static str,
    /// A server returns soon after a trip, not after the minute of the defaults.
    pub quick_return: bool,
}

impl Shape {
    /// A primary and nine replicas, checked as often as by default.
    pub const TEN: Self = Self {
        servers: 10,
        by_service: false,
        tls: false,
        // The defaults, spelled out: they are what is measured.
        interval: "30s",
        heartbeat: "2s",
        quick_return: false,
    };
    /// A primary, and a Service of three pods.
    pub const PODS: Self = Self {
        servers: 4,
        by_service: true,
        ..Self::TEN
    };
    /// A primary and two replicas that return soon after a trip. That has no part in how a fault is found.
    pub const TRIO: Self = Self {
        servers: 3,
        quick_return: true,
        ..Self::TEN
    };
    /// A primary and a replica.
    pub const PAIR: Self = Self {
        servers: 2,
        ..Self::TEN
    };

    /// The same, checked so seldom that what else the operator does shows in its processor time.
    #[must_use]
    pub const fn seldom(self) -> Self {
        Self {
            interval: "10m",
            heartbeat: "30s",
            ..self
        }
    }

    /// The address of a server of a policy; 0 is the primary.
    pub fn address(&self, policy: usize, server: usize) -> Ipv4Addr {
        address(policy * self.servers + server)
    }

    /// The address of a replica of a policy: the one whose turn it is.
    pub fn replica(&self, policy: usize, turn: usize) -> Ipv4Addr {
        self.address(policy, 1 + turn % (self.servers - 1))
    }

    /// A policy, and before it what it names.
    pub fn objects(&self, policy: usize) -> Vec<Value> {
        let mut objects = vec![];
        if self.by_service {
            objects.extend([service(policy), self.pods(policy)]);
        }
        objects.push(self.policy(policy));
        objects
    }

    fn policy(&self, policy: usize) -> Value {
        let replica = |at: usize| json!({"id": format!("replica-{at}"), "host": self.address(policy, at)});
        let replicas = if self.by_service {
            json!([{"id": "pods", "serviceRef": {"name": service_name(policy), "port": SERVICE_PORT}}])
        } else {
            (1..self.servers).map(replica).collect()
        };
        let tls = if self.tls {
            json!({"mode": "VerifyCA", "caSecretRef": {"name": "ca"}})
        } else {
            json!({"mode": "Disable"})
        };
        let circuit_breaker = if self.quick_return {
            quick_return()
        } else {
            json!({})
        };
        json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": policy_name(policy)},
            "spec": {
                "connection": {
                    "database": DATABASE,
                    "credentialsSecretRef": {"name": "probe"},
                    "tls": tls,
                },
                "primary": {"host": self.address(policy, 0)},
                "replicas": replicas,
                "healthCheck": {"interval": self.interval, "heartbeat": self.heartbeat},
                "circuitBreaker": circuit_breaker,
            },
        })
    }

    fn pods(&self, policy: usize) -> Value {
        let addresses = (1..self.servers).map(|server| self.address(policy, server));
        slice(&service_name(policy), addresses)
    }
}

/// The slice of a Service, as the controller of Kubernetes writes one: pods with their names, all ready.
pub fn slice(service: &str, pods: impl Iterator<Item = Ipv4Addr>) -> Value {
    let pod = |(number, address): (usize, Ipv4Addr)| {
        json!({
            "addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": "n1", "targetRef": {"kind": "Pod", "name": format!("{service}-{number}")},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "labels": {
            "kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "bench-scale",
        }},
        "addressType": "IPv4",
        "ports": [{"name": "postgres", "port": PORT, "protocol": "TCP"}],
        "endpoints": pods.enumerate().map(pod).collect::<Vec<_>>(),
    })
}

/// `spec.circuitBreaker` of a policy whose servers return soon after a trip.
#[must_use]
pub fn quick_return() -> Value {
    json!({
        "resetTimeout": "1s",
        "maxResetTimeout": "1s",
        "halfOpen": {"successThreshold": 1, "trafficSteps": [50]},
    })
}

/// The name of a policy.
#[must_use]
pub fn policy_name(policy: usize) -> String {
    format!("policy-{policy}")
}

/// A Service without a selector: its slice is ours.
fn service(policy: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": service_name(policy)},
        "spec": {"ports": [{"name": "postgres", "port": SERVICE_PORT, "targetPort": PORT}]},
    })
}

fn service_name(policy: usize) -> String {
    format!("pods-{policy}")
}

/// An address, counted from 0: within 198.18.64.0/18, which is nobody else's in the node.
fn address(number: usize) -> Ipv4Addr {
    let third = u8::try_from(64 + number / 250).unwrap_or(u8::MAX);
    let fourth = u8::try_from(number % 250 + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(198, 18, third, fourth)
}

/// Which address that is.
pub fn number(address: Ipv4Addr) -> usize {
    let [_, _, third, fourth] = address.octets().map(usize::from);
    third.saturating_sub(64) * 250 + fourth.saturating_sub(1)
}
