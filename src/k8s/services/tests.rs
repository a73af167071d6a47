use std::net::SocketAddr;

use serde_json::{Value, from_value, json};

use super::*;

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

fn of_service(event: Event<Service>) -> Seen {
    Seen::Service(Box::new(event))
}

fn of_slices(event: Event<EndpointSlice>) -> Seen {
    Seen::Slice(Box::new(event))
}

struct Cache {
    cache: ServiceCache,
    started: Mutex<Vec<(ServiceKey, u64)>>,
}

impl Cache {
    fn new() -> Self {
        Self {
            cache: ServiceCache::default(),
            started: Mutex::default(),
        }
    }

    fn name(&self, policy: &PolicyKey, names: &[&str]) {
        let start = |service, watch| {
            self.started.lock().unwrap().push((service, watch));
            tokio::spawn(std::future::pending::<()>()).abort_handle()
        };
        let names = names.iter().copied().collect();
        self.cache.used_by(policy, &names, START, start);
    }

    fn see(&self, name: &str, seen: Seen) -> Vec<PolicyKey> {
        let service = ("shop".to_owned(), name.to_owned());
        let watch = self.watch(name);
        self.cache.seen(&service, watch, seen)
    }

    fn watch(&self, name: &str) -> u64 {
        let started = self.started.lock().unwrap();
        let of_it = started.iter().rev().find(|(service, _)| service.1 == name);
        of_it.unwrap().1
    }

    fn list(&self, slices: &[EndpointSlice]) -> Vec<PolicyKey> {
        self.see("pg", of_slices(Event::Init));
        for slice in slices {
            assert!(
                self.see("pg", of_slices(Event::InitApply(slice.clone())))
                    .is_empty()
            );
        }
        self.see("pg", of_slices(Event::InitDone))
    }

    fn list_service(&self, service: Option<Service>) -> Vec<PolicyKey> {
        self.see("pg", of_service(Event::Init));
        if let Some(service) = service {
            self.see("pg", of_service(Event::InitApply(service)));
        }
        self.see("pg", of_service(Event::InitDone))
    }

    fn ready(&self, now: Moment) -> Option<Result<Vec<SocketAddr>, ServiceProblem>> {
        let services = self.cache.dereference(&policy("orders"), &port("pg"), now)?;
        services.into_values().next()
    }
}

#[tokio::test]
async fn the_first_lists_are_awaited_for_so_long() {
    let it = Cache::new();
    it.name(&policy("orders"), &["pg"]);
    assert_eq!(it.ready(START), None);
    assert_eq!(it.list_service(Some(plain().0)), [policy("orders")]);
    assert_eq!(it.ready(START), None);
    assert_eq!(
        it.ready(START + FIRST_LISTS),
        Some(Err(ServiceProblem::Unavailable))
    );
    assert_eq!(it.list(&[plain().1]), [policy("orders")]);
    let pods = Some(Ok(addresses(&["198.18.0.1:5433", "198.18.0.2:5433"])));
    assert_eq!(it.ready(START), pods);
}

#[tokio::test]
async fn a_watch_that_fails_at_first_is_not_awaited_and_later_holds_what_is_known() {
    let it = Cache::new();
    it.name(&policy("orders"), &["pg"]);
    assert_eq!(it.see("pg", Seen::Failed), [policy("orders")]);
    assert!(it.see("pg", Seen::Failed).is_empty());
    assert_eq!(it.ready(START), Some(Err(ServiceProblem::Unavailable)));
    it.list_service(Some(plain().0));
    it.list(&[plain().1]);
    let pods = it.ready(START);
    assert!(matches!(&pods, Some(Ok(pods)) if pods.len() == 2), "{pods:?}");
    assert!(it.see("pg", Seen::Failed).is_empty());
    it.see("pg", of_slices(Event::Init));
    assert_eq!(it.ready(START), pods);
}

#[tokio::test]
async fn only_what_matters_asks_for_a_pass() {
    let it = Cache::new();
    it.name(&policy("orders"), &["pg"]);
    it.name(&policy("carts"), &["pg", "other"]);
    it.list_service(Some(plain().0));
    it.list(&[plain().1]);
    let mut slice = plain().1;
    slice.metadata.resource_version = Some("7".to_owned());
    assert!(it.see("pg", of_slices(Event::Apply(slice.clone()))).is_empty());
    assert!(it.list(&[slice.clone()]).is_empty());
    slice.endpoints.pop();
    let both = [policy("carts"), policy("orders")];
    assert_eq!(it.see("pg", of_slices(Event::Apply(slice.clone()))), both);
    assert_eq!(it.ready(START), Some(Ok(addresses(&["198.18.0.2:5433"]))));
    assert_eq!(it.see("pg", of_slices(Event::Delete(slice))), both);
    assert_eq!(it.ready(START), Some(Ok(Vec::new())));
    assert_eq!(it.see("pg", of_service(Event::Delete(plain().0))), both);
    assert_eq!(it.ready(START), Some(Err(ServiceProblem::NotFound)));
    assert_eq!(it.list_service(None), Vec::new());
}

#[tokio::test]
async fn a_service_that_nobody_names_is_no_longer_followed() {
    let it = Cache::new();
    it.name(&policy("orders"), &["pg"]);
    it.name(&policy("carts"), &["pg"]);
    let first = it.watch("pg");
    it.list_service(Some(plain().0));
    it.name(&policy("carts"), &["other"]);
    assert_eq!(it.list(&[plain().1]), [policy("orders")]);
    it.name(&policy("orders"), &[]);
    assert!(it.list(&[]).is_empty());
    // Named again, it is read anew; what its former watch still says is nothing.
    it.name(&policy("orders"), &["pg"]);
    assert_ne!(it.watch("pg"), first);
    let late = of_service(Event::InitDone);
    assert!(
        it.cache
            .seen(&("shop".to_owned(), "pg".to_owned()), first, late)
            .is_empty()
    );
    assert_eq!(it.ready(START), None);
    assert_eq!(it.started.lock().unwrap().len(), 3);
}
