use super::*;
use crate::fixture;
use crate::ids::TargetId;
use crate::plan::{Admission, Member, Route, RouteState, RoutingPlan};
use crate::server::Host;
use crate::table::Subject;

fn member(endpoint: &str, address: &str) -> Member {
    Member {
        target: TargetId::host(endpoint.into()),
        address: address.parse().unwrap(),
        port: 5432,
        weight: 100,
        in_slice: true,
        in_uris: true,
        carried: true,
        order: 0,
        admission: Admission::Eligible,
    }
}

fn table(policy: &fixture::Case, members: Vec<Member>) -> RoutingTable {
    let state = RouteState::Served;
    let rw = Route {
        state,
        members: vec![member("primary", "198.18.0.1")],
    };
    let ro = Route { state, members };
    let classes = policy.routing.classes.iter();
    let plan = RoutingPlan {
        rw,
        classes: classes.map(|class| (class.name.clone(), ro.clone())).collect(),
        ro,
        ..RoutingPlan::default()
    };
    RoutingTable::new(&Subject {
        policy: &policy.policy(),
        resolved: &policy.resolved(),
        outputs: &fixture::outputs(),
        plan: &plan,
    })
}

fn text(documents: &[Document], name: &str) -> String {
    let found = documents.iter().find(|document| document.name == name);
    found.map_or_else(String::new, |document| document.text.clone())
}

#[test]
fn a_database_of_any_name_stays_one_part_of_the_uri() {
    assert_eq!(uri::escaped("orders"), "orders");
    assert_eq!(uri::escaped("a/b?c=ü"), "a%2Fb%3Fc%3D%C3%BC");
}

#[test]
fn a_name_goes_before_the_address_without_its_last_dot() {
    let mut policy = fixture::policy(&["a"]);
    if let Some(location) = &mut policy.of("a").location {
        location.host = Host::Name("a.example.com.".to_owned());
    }
    let table = table(&policy, vec![member("a", "2001:db8::3")]);
    for format in [Format::Libpq, Format::Jdbc] {
        let documents = documents(format)(&table);
        let uri = documents.iter().find(|it| it.name.ends_with("-ro")).unwrap();
        assert!(uri.text.contains("://a.example.com:5432/"), "{uri:?}");
    }
}

#[test]
fn each_client_reads_an_ipv6_address_in_its_own_way() {
    let policy = fixture::policy(&["a"]);
    let table = table(&policy, vec![member("a", "2001:db8::3")]);
    let libpq = text(&documents(Format::Libpq)(&table), "libpq-ro");
    assert!(libpq.contains("//[2001:db8::3]:5432/"), "{libpq}");
    let jdbc = text(&documents(Format::Jdbc)(&table), "jdbc-ro");
    assert!(jdbc.contains("//[2001:db8:0:0:0:0:0:3]:5432/"), "{jdbc}");
}

#[test]
fn a_uri_names_the_host_of_several_pods_once() {
    let mut policy = fixture::policy(&["a"]);
    if let Some(location) = &mut policy.of("a").location {
        location.host = Host::Name("pg-ro.shop.svc".to_owned());
    }
    let pods = ["198.18.0.2", "198.18.0.3", "198.18.0.4"].map(|address| member("a", address));
    let table = table(&policy, pods.into());
    for (format, key) in [(Format::Libpq, "libpq-ro"), (Format::Jdbc, "jdbc-ro")] {
        let uri = text(&documents(format)(&table), key);
        assert!(uri.contains("://pg-ro.shop.svc:5432/"), "{uri}");
    }
}

#[test]
fn a_route_without_anybody_in_its_slice_and_one_of_a_built_in_class_have_no_uri() {
    let policy = fixture::policy(&["a"]);
    let mut returning = member("a", "198.18.0.2");
    (returning.in_slice, returning.in_uris) = (false, false);
    let table = table(&policy, vec![returning]);
    let names: Vec<_> = documents(Format::Libpq)(&table)
        .into_iter()
        .map(|document| document.name)
        .collect();
    assert_eq!(names, ["libpq-rw", "libpq16-rw"]);
}

/// The hosts of `libpq-ro`, by the last part of their addresses, of a policy of this name.
fn order(name: &str, edit: impl FnOnce(&mut fixture::Case, &mut Vec<Member>)) -> Vec<u8> {
    let mut policy = fixture::policy(&["a", "b", "c"]);
    policy.key.name = name.to_owned();
    let mut members: Vec<_> = [("a", 2), ("b", 3), ("c", 4)]
        .into_iter()
        .map(|(id, last)| member(id, &format!("198.18.0.{last}")))
        .collect();
    edit(&mut policy, &mut members);
    let libpq = text(&documents(Format::Libpq)(&table(&policy, members)), "libpq-ro");
    let hosts = libpq.split('/').nth(2).unwrap_or_default().split(',');
    let last = |host: &str| {
        host.strip_prefix("198.18.0.")?
            .strip_suffix(":5432")?
            .parse()
            .ok()
    };
    hosts.filter_map(last).collect()
}

#[test]
fn hosts_come_by_distance_and_priority_and_of_equals_each_policy_begins_with_another() {
    let firsts: std::collections::BTreeSet<_> = (0..20)
        .map(|number| order(&format!("orders-{number}"), |_, _| {}))
        .collect();
    // Round and round: no policy has another order than by turns.
    assert_eq!(
        firsts.into_iter().collect::<Vec<_>>(),
        [[2, 3, 4], [3, 4, 2], [4, 2, 3]]
    );
    assert_eq!(order("orders", |_, _| {}), order("orders", |_, _| {}));
    for name in ["orders", "carts", "users"] {
        let by_priority = order(name, |policy, _| {
            for endpoint in &mut policy.endpoints {
                endpoint.priority = u16::from(endpoint.id.as_str() != "c");
            }
        });
        assert_eq!(by_priority[0], 4, "{name}");
        let by_distance = order(name, |policy, members| {
            policy.endpoints[3].priority = 0;
            members[2].order = 1;
        });
        assert_eq!(by_distance[2], 4, "{name}");
        let stand_in = order(name, |_, members| members[0].admission = Admission::Fallback);
        assert_eq!(stand_in[2], 2, "{name}");
    }
}

#[test]
fn a_server_that_no_service_can_carry_is_in_the_uris() {
    let policy = fixture::policy(&["a", "b"]);
    let mut uncarried = member("a", "2001:db8::2");
    (uncarried.in_slice, uncarried.carried) = (false, false);
    let table = table(&policy, vec![uncarried, member("b", "198.18.0.3")]);
    let libpq = text(&documents(Format::Libpq)(&table), "libpq-ro");
    for host in ["[2001:db8::2]:5432", "198.18.0.3:5432"] {
        assert!(libpq.contains(host), "{libpq}");
    }
    let told: Vec<_> = table.routes["ro"]
        .targets
        .iter()
        .map(|target| (target.in_slice, target.in_uris))
        .collect();
    assert_eq!(told, [(false, Some(true)), (true, None)]);
}

#[test]
fn a_replica_that_takes_the_writes_is_the_database_and_no_replica() {
    let policy = fixture::policy(&["a", "b"]);
    let mut table = table(&policy, vec![member("b", "198.18.0.3")]);
    table.routes.get_mut("rw").unwrap().targets[0].endpoint = "a".to_owned();
    let documents = documents(Format::Env)(&table);
    assert_eq!(
        text(&documents, "DATABASE_URL"),
        "postgresql://198.18.0.2:5432/postgres?sslmode=verify-full"
    );
    assert_eq!(text(&documents, "DB_REPLICA_1_ENABLED"), "false");
    assert_eq!(text(&documents, "DB_REPLICA_2_ENABLED"), "true");
}

#[test]
fn a_class_that_is_built_in_has_uris_while_a_replica_is_dedicated_to_it() {
    let mut policy = fixture::policy(&["a"]);
    let names = |policy: &fixture::Case| -> Vec<_> {
        let table = table(policy, vec![member("a", "198.18.0.2")]);
        let all = documents(Format::Jdbc)(&table).into_iter();
        all.map(|document| document.name).collect()
    };
    assert_eq!(names(&policy), ["jdbc-ro", "jdbc-rw"]);
    policy.endpoints[1].dedicated_to = vec!["analytics".into()];
    assert_eq!(names(&policy), ["jdbc-analytics", "jdbc-ro", "jdbc-rw"]);
}

#[test]
fn a_replica_that_is_dedicated_to_classes_is_not_enabled_for_any_read() {
    let mut policy = fixture::policy(&["a", "b"]);
    policy.endpoints[1].dedicated_to = vec!["analytics".into(), "primary-preferred".into()];
    let documents = documents(Format::Env)(&table(&policy, vec![member("b", "198.18.0.3")]));
    assert_eq!(text(&documents, "DB_REPLICA_1_ENABLED"), "false");
    assert_eq!(
        text(&documents, "DB_REPLICA_1_DEDICATED_TO"),
        "analytics,primary-preferred"
    );
    assert_eq!(text(&documents, "DB_REPLICA_2_ENABLED"), "true");
    assert!(
        documents.iter().all(|it| it.name != "DB_REPLICA_2_DEDICATED_TO"),
        "it is dedicated to none"
    );
}

#[test]
fn a_time_that_is_no_whole_second_is_exact_in_the_environment() {
    let mut policy = fixture::policy(&[]);
    policy.of("primary").clients.connect_timeout = std::time::Duration::from_millis(1500);
    let documents = documents(Format::Env)(&table(&policy, Vec::new()));
    assert_eq!(text(&documents, "DB_PRIMARY_TIMEOUT"), "1500");
}

#[test]
fn every_name_of_every_format_is_there_once() {
    let policy = fixture::policy(&["a", "b"]);
    let table = table(&policy, vec![member("a", "198.18.0.2")]);
    let all = Format::ALL.iter().flat_map(|format| documents(*format)(&table));
    let mut names: Vec<_> = all.map(|document| document.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
