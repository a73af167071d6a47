//! The policy of the demo, and what its status says.

use std::fmt;

use harness::postgres::DATABASE;
use harness::{PgCluster, Postgres};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Api;
use kube::api::{ApiResource, GroupVersionKind, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cast::REPLICAS;
use crate::screen::list;

pub const NAME: &str = "orders";
/// The Secret with the role of the health checks.
pub const SECRET: &str = "orders-probe";

/// A policy of these servers, with times short enough to watch.
pub fn manifest(postgres: &PgCluster) -> String {
    let replica = |(id, server): (&str, &Postgres)| format!("\n  - {{id: {id}, host: {}}}", server.address());
    let replicas: String = REPLICAS
        .into_iter()
        .zip(postgres.replicas())
        .map(replica)
        .collect();
    format!(
        "apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata:
  name: {NAME}
spec:
  connection:
    database: {DATABASE}
    credentialsSecretRef: {{name: {SECRET}}}
    tls: {{mode: Disable}}
  primary: {{host: {}}}
  replicas:{replicas}
  healthCheck: {{interval: 1s, timeout: 1s, failoverTimeout: 5s}}
  circuitBreaker:
    resetTimeout: 3s
    halfOpen: {{successThreshold: 1, trafficSteps: [10, 50]}}
",
        postgres.primary().address(),
    )
}

/// The policy as the demo reads it.
pub type Policy = Object<Value, Status>;

/// The policies of a namespace.
pub fn api(client: kube::Client, namespace: &str) -> Api<Policy> {
    let kind = GroupVersionKind::gvk("distributary.dev", "v1alpha1", "ReplicaSetPolicy");
    let resource = ApiResource::from_gvk_with_plural(&kind, "replicasetpolicies");
    Api::namespaced_with(client, namespace, &resource)
}

/// What the demo looks at in the status.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

/// One endpoint of it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Endpoint {
    pub id: String,
    pub circuit: String,
    pub reason: String,
}

impl Status {
    pub fn endpoint(&self, id: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.id == id)
    }

    pub fn circuit_is(&self, id: &str, circuit: &str) -> bool {
        self.endpoint(id)
            .is_some_and(|endpoint| endpoint.circuit == circuit)
    }

    pub fn serves(&self, id: &str) -> bool {
        self.endpoint(id)
            .is_some_and(|endpoint| endpoint.reason == "Serving" && endpoint.circuit == "Closed")
    }

    pub fn condition_is(&self, type_: &str, status: &str) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == status)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} {} (circuit {})",
            self.id, self.reason, self.circuit
        )
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let conditions = self
            .conditions
            .iter()
            .map(|condition| format!("{} {} ({})", condition.type_, condition.status, condition.reason));
        write!(
            formatter,
            "endpoints: {}; conditions: {}",
            list(&self.endpoints),
            list(conditions)
        )
    }
}
