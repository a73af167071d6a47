//! Services: what names one, and the pods that it leads to.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::*;
use distributary_core::resolved::{Pods, ServiceProblem};

fn named(service: &str, port: u16) -> ServicePort {
    ServicePort {
        service: service.to_owned(),
        port,
    }
}

/// The Services that a policy with this one replica refers to.
fn referred(replica: Value, secrets: &Secrets) -> Vec<ServicePort> {
    let object = object(spec(&json!([replica]), &json!({})));
    service_references(&object, secrets).into_iter().collect()
}

/// What is looked up for the replica a, where these Services were read.
fn looked_up(object: &crate::ReplicaSetPolicy, services: &Services) -> ResolvedEndpoint {
    policy(object).unwrap();
    let mut all = resolve(object, &Secrets::new(), services);
    all.remove(&EndpointId::from("a")).unwrap()
}

fn by_host(host: &str) -> Value {
    json!({"id": "a", "host": host})
}

#[test]
fn a_service_is_named_by_its_reference() {
    let reference = json!({"id": "a", "serviceRef": {"name": "pg-west", "port": 6432}});
    let object = object(spec(&json!([reference]), &json!({})));
    let ready: Vec<SocketAddr> = vec!["10.0.0.7:5432".parse().unwrap(), "10.0.0.8:5432".parse().unwrap()];
    let services = Services::from([(named("pg-west", 6432), Ok(ready.clone()))]);
    let endpoint = looked_up(&object, &services);
    assert_eq!(
        endpoint.pods,
        Some(Pods {
            service: "pg-west".to_owned(),
            ready: Ok(ready)
        })
    );
    let location = endpoint.location.as_ref().unwrap();
    assert_eq!(
        (location.host.to_string().as_str(), location.port),
        ("pg-west.shop.svc", 6432)
    );
    assert_eq!(endpoint.targets(&"a".into()).len(), 2);
    let references = service_references(&object, &Secrets::new());
    assert_eq!(references, BTreeSet::from([named("pg-west", 6432)]));
}

#[test]
fn the_port_of_a_service_is_that_of_postgresql_where_none_is_named() {
    let reference = json!({"id": "a", "serviceRef": {"name": "pg"}});
    assert_eq!(referred(reference, &Secrets::new()), [named("pg", 5432)]);
}

#[test]
fn a_service_that_was_not_read_or_has_a_problem_is_no_fault_of_the_policy() {
    let object = object(spec(&json!([by_host("pg-west")]), &json!({})));
    for (services, problem) in [
        (Services::new(), ServiceProblem::Unavailable),
        (
            Services::from([(named("pg-west", 5432), Err(ServiceProblem::NotFound))]),
            ServiceProblem::NotFound,
        ),
        // Another port of it.
        (
            Services::from([(named("pg-west", 6432), Ok(Vec::new()))]),
            ServiceProblem::Unavailable,
        ),
    ] {
        let pods = looked_up(&object, &services).pods.unwrap();
        assert_eq!((pods.service.as_str(), &pods.ready), ("pg-west", &Err(problem)));
    }
}

#[test]
fn a_name_inside_the_cluster_is_a_service() {
    for host in [
        "pg",
        "PG.",
        "pg.svc",
        "pg.shop",
        "pg.shop.svc",
        "Pg.Shop.SVC.",
        "pg.shop.svc.cluster.local",
        "pg.shop.svc.cluster.local.",
    ] {
        assert_eq!(
            referred(by_host(host), &Secrets::new()),
            [named("pg", 5432)],
            "{host}"
        );
        let endpoint = resolved(spec(&json!([by_host(host)]), &json!({})), &Secrets::new(), "a");
        let location = endpoint.location.unwrap();
        assert_eq!(location.host.to_string(), host, "as declared");
    }
}

#[test]
fn any_other_name_is_one_for_dns() {
    for host in [
        "198.18.0.2",
        "2001:db8::1",
        "pg.example.com",
        "pg.other",
        "db_1",
        // A pod's own name, which is one address.
        "pg-0.pg.shop.svc",
        "pg-0.pg.shop.svc.cluster.local",
        "198-18-0-1.shop.pod.cluster.local",
        "pg.shop.svc.example.com",
        "svc.cluster.local",
    ] {
        assert_eq!(referred(by_host(host), &Secrets::new()), [], "{host}");
        let endpoint = resolved(spec(&json!([by_host(host)]), &json!({})), &Secrets::new(), "a");
        assert_eq!(endpoint.pods, None, "{host}");
    }
}

#[test]
fn a_service_of_another_namespace_is_refused() {
    for host in [
        "pg.other.svc",
        "PG.OTHER.svc.cluster.local.",
        "pg-0.pg.other.svc",
        "pg-0.pg.other.svc.cluster.local",
        "198-18-0-1.other.pod",
        "198-18-0-1.other.pod.cluster.local",
    ] {
        assert_eq!(
            problems(spec(&json!([by_host(host)]), &json!({})))[0].rule,
            rules::OTHER_NAMESPACE
        );
        assert_eq!(referred(by_host(host), &Secrets::new()), [], "{host}");
    }
}

#[test]
fn the_domain_of_the_cluster_and_other_namespaces_can_be_named() {
    let names = ClusterNames::new("K8s.Example.com.", ["other".to_owned()]);
    let judged = |host: &str| {
        let object = object(spec(&json!([by_host(host)]), &json!({})));
        let source = PolicySource::from(&object).with_names(&names);
        let services = service_references(source, &Secrets::new());
        (policy(source).is_ok(), services.len())
    };
    for (host, valid, services) in [
        ("pg.shop.svc.k8s.example.com", true, 1),
        ("pg.shop.svc", true, 1),
        ("pg.other.svc.k8s.example.com", true, 0),
        ("pg-0.pg.other.svc", true, 0),
        ("pg.third.svc.k8s.example.com", false, 0),
        // Of a cluster that answers for two domains, or shares Services with others.
        ("pg.shop.svc.cluster.local", true, 1),
        ("pg.third.svc.cluster.local", false, 0),
        ("pg.shop.svc.clusterset.local", true, 0),
        ("pg.third.svc.clusterset.local", false, 0),
        // It is outside.
        ("pg.third.svc.example.com", true, 0),
    ] {
        assert_eq!(judged(host), (valid, services), "{host}");
    }
}

#[test]
fn a_service_and_port_is_one_server_however_it_is_named() {
    let two = |a: Value, b: Value| spec(&json!([a, b]), &json!({}));
    let reference = json!({"id": "a", "serviceRef": {"name": "pg"}});
    for other in [
        json!({"id": "b", "host": "pg"}),
        json!({"id": "b", "host": "PG.shop.svc", "port": 5432}),
        json!({"id": "b", "serviceRef": {"name": "pg", "port": 5432}, "state": "Draining"}),
    ] {
        let problems = problems(two(reference.clone(), other.clone()));
        assert_eq!(problems[0].rule, rules::SAME_SERVER, "{other}");
    }
    for other in [
        json!({"id": "b", "host": "pg", "port": 6432}),
        json!({"id": "b", "serviceRef": {"name": "pg", "port": 6432}}),
        json!({"id": "b", "host": "pg", "state": "Disabled"}),
        json!({"id": "b", "host": "pg.example.com"}),
    ] {
        valid(two(reference.clone(), other));
    }
}

#[test]
fn the_urls_of_cloudnative_pg_name_a_service_and_a_login() {
    let replica = json!({"id": "a", "urlSecretRef": {"name": "s", "key": "k"}});
    for url in [
        "postgresql://app:p%40s%2Bs@pg-rw.shop:5432/orders",
        "postgresql://app:p%40s%2Bs@pg-rw.shop.svc.cluster.local:5432/orders",
        "jdbc:postgresql://pg-rw.shop:5432/orders?password=p%40s%2Bs&user=app",
        "jdbc:postgresql://pg-rw.shop.svc.cluster.local:5432/orders?password=p%40s%2Bs&user=app",
    ] {
        let secrets = secret("s", &[("k", url)]);
        assert_eq!(
            referred(replica.clone(), &secrets),
            [named("pg-rw", 5432)],
            "{url}"
        );
        let login = login(spec(&json!([replica]), &json!({})), &secrets, "a").unwrap();
        let password = login
            .password
            .as_ref()
            .map(|password| password.reveal().to_owned());
        assert_eq!(
            (login.user.as_str(), password.as_deref(), login.database.as_str()),
            ("app", Some("p@s+s"), "orders"),
            "{url}"
        );
    }
}

#[test]
fn a_url_that_names_a_service_of_another_namespace_is_a_fault_of_the_secret() {
    let replica = json!({"id": "a", "urlSecretRef": {"name": "s", "key": "k"}});
    let secrets = secret("s", &[("k", "postgresql://app:canary-5c1f@pg-rw.other.svc/")]);
    assert_eq!(referred(replica.clone(), &secrets), []);
    let unresolved = login(spec(&json!([replica]), &json!({})), &secrets, "a").unwrap_err();
    assert_eq!(
        unresolved.to_string(),
        "Secret s has a value under k that must not name a Service or a pod of another namespace"
    );
}

#[test]
fn a_service_that_the_policy_writes_is_no_server_of_it() {
    let told = |host: &str, more: Value| {
        let problems = policy(&object(spec(&json!([by_host(host)]), &more)));
        let problems = problems.err().unwrap_or_default();
        let told = problems.into_iter().map(|problem| (problem.field, problem.rule));
        told.collect::<Vec<_>>()
    };
    let own = vec![("spec.replicas[0].host".to_owned(), rules::OWN_SERVICE)];
    let prefix = || json!({"outputs": {"services": {"namePrefix": "db"}}});
    let primary = |field: &str, value: Value| json!({"primary": {"host": "198.18.0.1", field: value}});
    for (host, more) in [
        ("orders-ro", json!({})),
        ("orders-rw.shop.svc.cluster.local", json!({})),
        (
            "orders-reports",
            json!({"routing": {"classes": [{"name": "reports", "operations": ["reports"]}]}}),
        ),
        (
            "orders-ro-eu.svc",
            json!({"loadBalancing": {"regions": [{"name": "eu"}]}}),
        ),
        ("db-rw", prefix()),
        // Of classes that are built in, and of the regions of endpoints.
        ("orders-analytics", primary("dedicatedTo", json!(["analytics"]))),
        ("orders-ro-eu", {
            let mut more = primary("region", json!("eu"));
            more["loadBalancing"] = json!({"strategy": "Geographic"});
            more
        }),
    ] {
        assert_eq!(told(host, more), own, "{host}");
    }
    for (host, more) in [
        ("orders-reports", json!({})),
        ("orders-rw.example.com", json!({})),
        ("orders-rw", prefix()),
        (
            "orders-rw",
            json!({"outputs": {"services": {"state": "Disabled"}}}),
        ),
        ("orders-analytics", json!({})),
        (
            "orders-jobs",
            json!({"routing": {"classes": [{"name": "jobs", "target": "Primary"}]}}),
        ),
        (
            "orders-reports",
            json!({
                "routing": {"classes": [{"name": "reports"}]},
                "outputs": {"services": {"perClass": "Disabled"}},
            }),
        ),
        (
            "orders-ro-eu",
            json!({
                "loadBalancing": {"regions": [{"name": "eu"}]},
                "outputs": {"services": {"perRegion": "Disabled"}},
            }),
        ),
        ("orders-ro-eu", primary("region", json!("eu"))),
    ] {
        assert!(told(host, more).is_empty(), "{host}");
    }
    let replica = json!({"id": "a", "urlSecretRef": {"name": "s", "key": "k"}});
    let secrets = secret("s", &[("k", "postgresql://app:canary-5c1f@orders-rw.shop.svc/")]);
    let unresolved = login(spec(&json!([replica]), &json!({})), &secrets, "a").unwrap_err();
    assert_eq!(
        unresolved.to_string(),
        "Secret s has a value under k that must not name a Service that the policy itself writes"
    );
}
