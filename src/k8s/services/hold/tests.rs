use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::render::ObjectId;
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Secrets, ServicePort, Services};
use distributary_core::ids::EndpointId;
use distributary_core::resolved::ServiceProblem;

type Endpoints = BTreeMap<EndpointId, ResolvedEndpoint>;
type Known = Result<Vec<SocketAddr>, ServiceProblem>;

fn endpoints(service: &str, known: Known) -> Endpoints {
    let object: ReplicaSetPolicy = serde_json::from_value(json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [{"id": "west", "serviceRef": {"name": service, "port": 5432}}],
        },
    }))
    .unwrap();
    let port = ServicePort {
        service: service.to_owned(),
        port: 5432,
    };
    validate::resolve(&object, &Secrets::new(), &Services::from([(port, known)])).unwrap()
}

fn pods(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn told(endpoints: Endpoints) -> Option<Resolved> {
    Some(Resolved::new(endpoints))
}

fn ready(endpoints: &Endpoints) -> Known {
    endpoints[&EndpointId::from("west")].pods.clone().unwrap().ready
}

fn status(endpoints: &Endpoints, addresses: &[&str]) -> ReplicaSetPolicyStatus {
    let location = endpoints[&EndpointId::from("west")].location.clone().unwrap();
    let target = |address: &&str| {
        json!({
            "address": address, "role": "Standby", "circuit": "Closed", "eligible": true, "reason": "Serving",
            "effectiveWeight": 100,
        })
    };
    serde_json::from_value(json!({"endpoints": [{
        "id": "west", "host": location.host.to_string(), "port": location.port, "role": "Standby", "circuit": "Closed",
        "eligible": true, "reason": "Serving", "effectiveWeight": 100, "since": "2026-01-01T00:00:00Z",
        "targets": addresses.iter().map(target).collect::<Vec<_>>(),
    }]}))
    .unwrap()
}

fn routes() -> Observed {
    let slice = |name: &str, addresses: &[&str], port: u16| {
        let id = ObjectId {
            kind: Kind::EndpointSlice,
            name: name.to_owned(),
        };
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| json!({"addresses": [address]}))
            .collect();
        (id, json!({"endpoints": endpoints, "ports": [{"port": port}]}))
    };
    BTreeMap::from([
        slice("orders-rw-ipv4-5432", &["198.18.0.1"], 5432),
        slice("orders-ro-ipv4-6543", &["198.18.0.11", "198.18.0.12"], 6543),
    ])
}

fn nothing() -> (ReplicaSetPolicyStatus, Observed) {
    (ReplicaSetPolicyStatus::default(), Observed::new())
}

#[test]
fn pods_that_are_known_are_taken_as_they_are() {
    let (status, routes) = nothing();
    let told = told(endpoints("pg", Ok(pods(&["198.18.0.11:5432"]))));
    let mut now = endpoints("pg", Ok(Vec::new()));
    assert!(hold(&mut now, told.as_ref(), &status, &routes).is_empty());
    assert_eq!(ready(&now), Ok(Vec::new()));
}

#[test]
fn a_service_that_went_leaves_its_pods_and_is_told() {
    let (status, routes) = nothing();
    let told = told(endpoints("pg", Ok(pods(&["198.18.0.11:5432"]))));
    let mut now = endpoints("pg", Err(ServiceProblem::NotFound));
    let problems = hold(&mut now, told.as_ref(), &status, &routes);
    assert_eq!(problems, ["Service pg does not exist"]);
    assert_eq!(ready(&now), Ok(pods(&["198.18.0.11:5432"])));
    // Held by what was held.
    let mut later = endpoints("pg", Err(ServiceProblem::Unavailable));
    hold(&mut later, self::told(now.clone()).as_ref(), &status, &routes);
    assert_eq!(ready(&later), ready(&now));
}

#[test]
fn another_service_has_other_pods() {
    let (status, routes) = nothing();
    let missing = Err(ServiceProblem::NotFound);
    let told = told(endpoints("pg", Ok(pods(&["198.18.0.11:5432"]))));
    let mut now = endpoints("elsewhere", missing.clone());
    hold(&mut now, told.as_ref(), &status, &routes);
    assert_eq!(ready(&now), missing);
}

#[test]
fn after_a_restart_the_pods_in_the_routes_stay() {
    let mut now = endpoints("pg", Err(ServiceProblem::Unavailable));
    let status = status(&now, &["198.18.0.12", "198.18.0.11", "198.18.0.13"]);
    let problems = hold(&mut now, None, &status, &routes());
    assert_eq!(problems, ["Service pg could not be read"]);
    assert_eq!(ready(&now), Ok(pods(&["198.18.0.11:6543", "198.18.0.12:6543"])));

    let mut elsewhere = endpoints("elsewhere", Err(ServiceProblem::NotFound));
    hold(&mut elsewhere, None, &status, &routes());
    assert_eq!(ready(&elsewhere), Err(ServiceProblem::NotFound));
}
