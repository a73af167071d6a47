use std::net::SocketAddr;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, from_value, json};

use super::pods::Ready;
use super::*;
use crate::render::labels;

fn service(ports: Value) -> Service {
    from_value(json!({"metadata": {"name": "pg"}, "spec": {"ports": ports}})).unwrap()
}

fn slice(name: &str, ports: Value, endpoints: Value) -> EndpointSlice {
    from_value(json!({
        "metadata": {"name": name}, "addressType": "IPv4", "ports": ports, "endpoints": endpoints,
    }))
    .unwrap()
}

fn ready_pods(
    service: &Service,
    slices: &[EndpointSlice],
    port: u16,
) -> Result<Vec<SocketAddr>, ServiceProblem> {
    let slices: Vec<_> = slices.iter().map(Ready::of).collect();
    pods::ready(&Ports::of(service), slices.iter(), port)
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn plain() -> (Service, EndpointSlice) {
    (
        service(json!([{"name": "postgres", "port": 5432, "targetPort": 5433}])),
        slice(
            "pg-1",
            json!([{"name": "postgres", "port": 5433, "protocol": "TCP"}]),
            json!([{"addresses": ["198.18.0.2"]}, {"addresses": ["198.18.0.1"], "conditions": {"ready": true}}]),
        ),
    )
}

#[test]
fn ready_pods_are_where_the_slice_says_in_order() {
    let (service, slice) = plain();
    let pods = ready_pods(&service, &[slice], 5432);
    assert_eq!(pods, Ok(addresses(&["198.18.0.1:5433", "198.18.0.2:5433"])));
}

#[test]
fn who_is_not_ready_or_terminates_is_left_out() {
    let (service, _) = plain();
    let endpoints = json!([
        {"addresses": ["198.18.0.1"], "conditions": {"ready": false}},
        {"addresses": ["198.18.0.2"], "conditions": {"ready": true, "terminating": true}},
        {"addresses": ["198.18.0.3"], "conditions": {"serving": true}},
        {"addresses": ["198.18.0.4"], "conditions": {}},
    ]);
    let slice = slice("pg-1", json!([{"name": "postgres", "port": 5432}]), endpoints);
    let pods = ready_pods(&service, &[slice], 5432);
    assert_eq!(pods, Ok(addresses(&["198.18.0.3:5432", "198.18.0.4:5432"])));
}

#[test]
fn the_port_is_the_one_of_the_same_name_and_tcp() {
    let service = service(json!([
        {"name": "metrics", "port": 9187},
        {"name": "postgres", "port": 5432},
        {"name": "udp", "port": 5555, "protocol": "UDP"},
    ]));
    let ports = json!([
        {"name": "metrics", "port": 9188},
        {"name": "postgres", "port": 6543},
        {"name": "udp", "port": 5555, "protocol": "UDP"},
    ]);
    let slices = [slice("pg-1", ports, json!([{"addresses": ["198.18.0.1"]}]))];
    let of = |port| ready_pods(&service, &slices, port);
    assert_eq!(of(5432), Ok(addresses(&["198.18.0.1:6543"])));
    assert_eq!(of(9187), Ok(addresses(&["198.18.0.1:9188"])));
    assert_eq!(of(5555), Err(ServiceProblem::PortMissing));
    assert_eq!(of(6543), Err(ServiceProblem::PortMissing));
}

#[test]
fn a_port_without_a_name_matches_one_without_a_name() {
    let service = service(json!([{"port": 5432}]));
    let named = slice(
        "pg-1",
        json!([{"name": "other", "port": 1}]),
        json!([{"addresses": ["198.18.0.1"]}]),
    );
    let unnamed = slice(
        "pg-2",
        json!([{"name": "", "port": 5432}]),
        json!([{"addresses": ["198.18.0.2"]}]),
    );
    let pods = ready_pods(&service, &[named, unnamed], 5432);
    assert_eq!(pods, Ok(addresses(&["198.18.0.2:5432"])));
}

#[test]
fn each_address_is_a_pod_once_and_of_an_endpoint_the_first_one() {
    let (service, v4) = plain();
    let ports = json!([{"name": "postgres", "port": 5433}]);
    let endpoints = json!([
        {"addresses": ["198.18.0.3", "198.18.0.4"]},
        {"addresses": ["198.18.0.1"]},
        {"addresses": ["pg.example.com"]},
        {"addresses": []},
    ]);
    let pods = ready_pods(&service, &[slice("pg-2", ports, endpoints), v4], 5432);
    let expected = ["198.18.0.1:5433", "198.18.0.2:5433", "198.18.0.3:5433"];
    assert_eq!(pods, Ok(addresses(&expected)));
}

#[test]
fn a_pod_of_two_families_is_one_server_of_the_services_first_family() {
    let (mut service, v4) = plain();
    let mut v6 = slice(
        "pg-2",
        json!([{"name": "postgres", "port": 5433}]),
        json!([{"addresses": ["fd00::1"]}, {"addresses": ["fd00::2"]}]),
    );
    v6.address_type = "IPv6".to_owned();
    let (of_v4, of_v6) = (
        addresses(&["198.18.0.1:5433", "198.18.0.2:5433"]),
        addresses(&["[fd00::1]:5433", "[fd00::2]:5433"]),
    );
    let both = [v6, v4];
    let mut with = |families: &[&str], slices: &[EndpointSlice]| {
        let families: Vec<_> = families.iter().map(ToString::to_string).collect();
        service.spec.as_mut().unwrap().ip_families = Some(families);
        ready_pods(&service, slices, 5432).unwrap()
    };
    assert_eq!(with(&["IPv4", "IPv6"], &both), of_v4);
    assert_eq!(with(&["IPv6", "IPv4"], &both), of_v6);
    // Not said: IPv4 where there is any.
    assert_eq!(with(&[], &both), of_v4);
    assert_eq!(with(&[], &both[..1]), of_v6);
    // A family without pods is no reason for another one: the same pods would be other servers.
    assert_eq!(with(&["IPv4", "IPv6"], &both[..1]), []);
}

#[test]
fn so_many_pods_and_no_more() {
    let (service, _) = plain();
    let endpoints: Vec<_> = (0..300)
        .map(|number| json!({"addresses": [format!("10.0.{}.{}", number / 200, number % 200 + 1)]}))
        .collect();
    let slice = slice(
        "pg-1",
        json!([{"name": "postgres", "port": 5432}]),
        json!(endpoints),
    );
    let pods = ready_pods(&service, &[slice], 5432).unwrap();
    assert_eq!(pods.len(), 256);
    assert_eq!(pods[0], "10.0.0.1:5432".parse().unwrap());
}

#[test]
fn another_name_of_a_host_has_no_pods() {
    let service: Service = from_value(json!({
        "metadata": {"name": "pg"},
        "spec": {"type": "ExternalName", "externalName": "pg.example.com", "ports": [{"port": 5432}]},
    }))
    .unwrap();
    assert_eq!(ready_pods(&service, &[], 5432), Err(ServiceProblem::External));
}

const START: Moment = Moment::new(Duration::ZERO);

fn policy(name: &str) -> PolicyKey {
    PolicyKey::new("shop", name)
}

fn port(service: &str) -> BTreeSet<ServicePort> {
    BTreeSet::from([ServicePort {
        service: service.to_owned(),
        port: 5432,
    }])
}

/// What the two watches of a scope show.
#[derive(Default)]
struct Cache {
    services: ServiceCache,
    slices: ForeignSlices,
}

impl Cache {
    fn name(&self, policy: &PolicyKey, names: &[&str]) {
        self.services.used_by(policy, &names.iter().copied().collect());
    }

    fn see(&self, event: Event<Service>) -> Vec<PolicyKey> {
        let event = event.modify(|service| service.metadata.namespace = Some("shop".to_owned()));
        self.services.event(&event, &None).into_iter().collect()
    }

    fn see_slice(&self, event: Event<EndpointSlice>) -> Vec<PolicyKey> {
        let event = event.modify(|slice| {
            slice.metadata.namespace = Some("shop".to_owned());
            let label = (labels::SERVICE_NAME.to_owned(), "pg".to_owned());
            slice.metadata.labels = Some([label].into());
        });
        let services = self.slices.event(&event, &None);
        self.services.users(&services).into_iter().collect()
    }

    fn list(&self, services: &[Service]) -> Vec<PolicyKey> {
        self.see(Event::Init);
        for service in services {
            assert!(self.see(Event::InitApply(service.clone())).is_empty());
        }
        self.see(Event::InitDone)
    }

    fn list_slices(&self, slices: &[EndpointSlice]) -> Vec<PolicyKey> {
        self.see_slice(Event::Init);
        for slice in slices {
            assert!(self.see_slice(Event::InitApply(slice.clone())).is_empty());
        }
        self.see_slice(Event::InitDone)
    }

    fn ready_when(&self, listed: bool, now: Moment) -> Option<Result<Vec<SocketAddr>, ServiceProblem>> {
        let (policy, port) = (policy("orders"), port("pg"));
        let services = self
            .services
            .dereference(&self.slices, &policy, &port, listed, now)?;
        services.into_values().next()
    }

    fn ready(&self) -> Result<Vec<SocketAddr>, ServiceProblem> {
        self.ready_when(true, START).unwrap()
    }
}

#[test]
fn the_first_lists_are_awaited_for_so_long() {
    let it = Cache::default();
    it.name(&policy("orders"), &["pg"]);
    it.name(&policy("carts"), &["other"]);
    assert_eq!(it.ready_when(false, START), None);
    assert_eq!(
        it.ready_when(false, START + FIRST_LISTS),
        Some(Err(ServiceProblem::Unavailable))
    );
    // Whoever names one waits, whether it is there or not.
    assert_eq!(it.services.users_in(&None).len(), 2);
    assert!(it.services.users_in(&Some("crm".to_owned())).is_empty());
    assert_eq!(it.list(&[plain().0]), [policy("orders")]);
    assert_eq!(it.list_slices(&[plain().1]), [policy("orders")]);
    assert_eq!(it.ready(), Ok(addresses(&["198.18.0.1:5433", "198.18.0.2:5433"])));
}

#[test]
fn a_service_that_is_named_later_is_known_already() {
    let it = Cache::default();
    assert!(it.list(&[plain().0]).is_empty());
    assert!(it.list_slices(&[plain().1]).is_empty());
    it.name(&policy("orders"), &["pg"]);
    assert_eq!(it.ready(), Ok(addresses(&["198.18.0.1:5433", "198.18.0.2:5433"])));
}

#[test]
fn during_a_list_what_was_known_stands() {
    let it = Cache::default();
    it.name(&policy("orders"), &["pg"]);
    it.list(&[plain().0]);
    it.list_slices(&[plain().1]);
    let pods = it.ready();
    it.see(Event::Init);
    it.see_slice(Event::Init);
    assert_eq!(it.ready(), pods);
    // Another scope's list says nothing of it.
    let crm = Some("crm".to_owned());
    it.services.event(&Event::Init, &crm);
    assert!(it.services.event(&Event::InitDone, &crm).is_empty());
    assert_eq!(it.ready(), pods);
}

#[test]
fn only_what_matters_asks_for_a_pass() {
    let it = Cache::default();
    it.name(&policy("orders"), &["pg"]);
    it.name(&policy("carts"), &["pg", "other"]);
    it.list(&[plain().0]);
    it.list_slices(&[plain().1]);
    let mut slice = plain().1;
    slice.metadata.resource_version = Some("7".to_owned());
    assert!(it.see_slice(Event::Apply(slice.clone())).is_empty());
    assert!(it.list_slices(&[slice.clone()]).is_empty());
    slice.endpoints.pop();
    let both = [policy("carts"), policy("orders")];
    assert_eq!(it.see_slice(Event::Apply(slice.clone())), both);
    assert_eq!(it.ready(), Ok(addresses(&["198.18.0.2:5433"])));
    assert_eq!(it.see_slice(Event::Delete(slice)), both);
    assert_eq!(it.ready(), Ok(Vec::new()));
    assert_eq!(it.see(Event::Delete(plain().0)), both);
    assert_eq!(it.ready(), Err(ServiceProblem::NotFound));
    assert!(it.list(&[]).is_empty());
    assert_eq!(it.see(Event::Apply(plain().0)), both);
}

#[test]
fn what_nobody_names_concerns_nobody() {
    let it = Cache::default();
    it.name(&policy("orders"), &["pg"]);
    it.name(&policy("carts"), &["pg"]);
    it.list(&[plain().0]);
    it.name(&policy("carts"), &["other"]);
    assert_eq!(it.list_slices(&[plain().1]), [policy("orders")]);
    it.name(&policy("orders"), &[]);
    assert!(it.list_slices(&[]).is_empty());
    assert!(it.see(Event::Delete(plain().0)).is_empty());
    let state = it.services.state();
    assert_eq!(state.named.policies.len(), 1, "{:?}", state.named);
    assert_eq!(state.named.services.len(), 1, "{:?}", state.named);
}

#[test]
fn a_written_service_asks_for_a_pass_when_it_carries_something_else() {
    let it = Cache::default();
    let carrying = |families: Value| -> Service {
        from_value(json!({"metadata": {"name": "orders-rw"}, "spec": {"ipFamilies": families}})).unwrap()
    };
    let known = |it: &Cache| it.services.families(&("shop".to_owned(), "orders-rw".to_owned()));
    it.services
        .written_for(&policy("orders"), &BTreeSet::from(["orders-rw"]));
    assert_eq!(
        it.services.users_in(&None).len(),
        1,
        "it waits for the first lists"
    );
    assert_eq!(known(&it), Families::V4, "it is not there");
    assert!(it.list(&[carrying(json!(["IPv4"]))]).is_empty());
    let orders = [policy("orders")];
    for (families, expected) in [
        (json!(["IPv4", "IPv6"]), Families::Both),
        (json!(["IPv6"]), Families::V6),
        (json!(null), Families::V4),
        (json!(["IPv6", "IPv4"]), Families::Both),
    ] {
        assert_eq!(
            it.see(Event::Apply(carrying(families.clone()))),
            orders,
            "{families}"
        );
        assert_eq!(known(&it), expected, "{families}");
    }
    let mut headed = carrying(json!(["IPv4", "IPv6"]));
    headed.spec.as_mut().unwrap().ports = service(json!([{"port": 5432}])).spec.unwrap().ports;
    assert!(
        it.see(Event::Apply(headed.clone())).is_empty(),
        "its ports are ours"
    );
    assert_eq!(it.see(Event::Delete(headed)), orders);
    assert_eq!(known(&it), Families::V4);
    assert_eq!(it.list(&[carrying(json!(["IPv6"]))]), orders);
    assert_eq!(it.list(&[]), orders, "it went while the watch failed");
    it.services.written_for(&policy("orders"), &BTreeSet::new());
    assert!(it.list(&[carrying(json!(["IPv6"]))]).is_empty());
    assert!(it.services.users_in(&None).is_empty());
}
