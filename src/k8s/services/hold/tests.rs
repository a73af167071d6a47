use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Secrets, ServicePort, Services};
use distributary_core::cluster::Cluster;
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
    validate::resolve(&object, &Secrets::new(), &Services::from([(port, known)]))
}

fn pods(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn told(endpoints: Endpoints) -> Option<Resolved> {
    Some(Resolved::new(endpoints, Cluster::default()))
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

/// The ports of the servers in the routes.
fn routes(address: IpAddr) -> Option<u16> {
    match address.to_string().as_str() {
        "198.18.0.1" => Some(5432),
        "198.18.0.11" | "198.18.0.12" => Some(6543),
        _ => None,
    }
}

const fn nothing(_: IpAddr) -> Option<u16> {
    None
}

fn empty() -> ReplicaSetPolicyStatus {
    ReplicaSetPolicyStatus::default()
}

#[test]
fn pods_that_are_known_are_taken_as_they_are() {
    let told = told(endpoints("pg", Ok(pods(&["198.18.0.11:5432"]))));
    let now = hold(endpoints("pg", Ok(Vec::new())), told.as_ref(), &empty(), nothing);
    assert!(now.problems.is_empty());
    assert_eq!(ready(&now.endpoints), Ok(Vec::new()));
}

#[test]
fn a_service_that_went_leaves_its_pods_and_is_told() {
    let told = told(endpoints("pg", Ok(pods(&["198.18.0.11:5432"]))));
    let missing = endpoints("pg", Err(ServiceProblem::NotFound));
    let now = hold(missing, told.as_ref(), &empty(), nothing);
    assert_eq!(now.problems, ["Service pg does not exist"]);
    assert_eq!(ready(&now.endpoints), Ok(pods(&["198.18.0.11:5432"])));
    // Held by what was held.
    let unread = endpoints("pg", Err(ServiceProblem::Unavailable));
    let told = self::told(now.endpoints.clone());
    let later = hold(unread, told.as_ref(), &empty(), nothing);
    assert_eq!(ready(&later.endpoints), ready(&now.endpoints));
}

#[test]
fn another_service_has_other_pods() {
    let missing = Err(ServiceProblem::NotFound);
    let told = told(endpoints("pg", Ok(pods(&["198.18.0.11:5432"]))));
    let now = hold(
        endpoints("elsewhere", missing.clone()),
        told.as_ref(),
        &empty(),
        nothing,
    );
    assert_eq!(ready(&now.endpoints), missing);
}

#[test]
fn after_a_restart_the_pods_in_the_routes_stay() {
    let unread = endpoints("pg", Err(ServiceProblem::Unavailable));
    let status = status(&unread, &["198.18.0.12", "198.18.0.11", "198.18.0.13"]);
    let now = hold(unread, None, &status, routes);
    assert_eq!(now.problems, ["Service pg could not be read"]);
    assert_eq!(
        ready(&now.endpoints),
        Ok(pods(&["198.18.0.11:6543", "198.18.0.12:6543"]))
    );

    let missing = endpoints("elsewhere", Err(ServiceProblem::NotFound));
    let elsewhere = hold(missing, None, &status, routes);
    assert_eq!(ready(&elsewhere.endpoints), Err(ServiceProblem::NotFound));
}

#[test]
fn a_host_without_a_dot_that_is_no_service_is_told_what_it_is_taken_for() {
    let problems = |endpoints| hold(endpoints, None, &empty(), nothing).problems;
    let declared = endpoints("db1", Err(ServiceProblem::NotFound));
    assert_eq!(problems(declared.clone()), ["Service db1 does not exist"]);
    let by_host = |(id, mut endpoint): (EndpointId, ResolvedEndpoint)| {
        if let Some(location) = &mut endpoint.location {
            location.host = Host::Name("db1".to_owned());
        }
        (id, endpoint)
    };
    assert_eq!(
        problems(declared.into_iter().map(by_host).collect()),
        [
            "Service db1 does not exist: a host without a dot is a Service of this namespace; write the whole name of a server elsewhere"
        ]
    );
}
