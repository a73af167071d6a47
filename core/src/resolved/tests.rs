use super::*;
use crate::cluster::Cluster;
use crate::fixture::{location, resolved};
use crate::login::SecretProblem;

fn pods(ready: Result<&[&str], ServiceProblem>) -> ResolvedEndpoint {
    let ready = ready.map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect());
    ResolvedEndpoint {
        pods: Some(Pods {
            service: "pg".to_owned(),
            ready,
        }),
        ..resolved(location(9))
    }
}

fn secret(name: &str) -> UnresolvedSecret {
    UnresolvedSecret {
        secret: name.to_owned(),
        problem: SecretProblem::NotFound,
    }
}

#[test]
fn a_host_is_one_target_and_a_service_one_for_each_ready_pod() {
    let targets = |endpoint: &ResolvedEndpoint| -> Vec<String> {
        let targets = endpoint.targets(&"a".into());
        targets.iter().map(ToString::to_string).collect()
    };
    assert_eq!(targets(&resolved(location(2))), ["a"]);
    let two = pods(Ok(&["198.18.0.20:6432", "198.18.0.21:7432"]));
    assert_eq!(targets(&two), ["a@198.18.0.20", "a@198.18.0.21"]);
    assert_eq!(
        targets(&pods(Err(ServiceProblem::NotFound))),
        Vec::<String>::new()
    );
}

#[test]
fn a_pod_listens_where_it_says_and_a_host_where_it_is_declared() {
    let two = pods(Ok(&["198.18.0.20:6432", "198.18.0.21:7432"]));
    let targets = two.targets(&"a".into());
    assert_eq!(two.port(&targets[1]), Some(7432));
    let host = TargetId::host("a".into());
    assert_eq!(resolved(location(2)).port(&host), Some(5432));
    let nowhere = ResolvedEndpoint {
        location: None,
        ..resolved(location(2))
    };
    assert_eq!(nowhere.port(&host), None);
}

#[test]
fn a_login_to_nowhere_is_of_no_use() {
    let here = resolved(location(2));
    assert!(here.usable_login().is_some());
    let nowhere = ResolvedEndpoint {
        location: None,
        ..here.clone()
    };
    assert!(nowhere.usable_login().is_none());
    let refused = ResolvedEndpoint {
        login: Err(secret("probe")),
        ..here
    };
    assert!(refused.usable_login().is_none());
}

#[test]
fn each_problem_of_a_secret_is_told_once() {
    let refused = |name: &str| ResolvedEndpoint {
        login: Err(secret(name)),
        ..resolved(location(2))
    };
    let all = Resolved::new(
        [
            ("a".into(), refused("probe")),
            ("b".into(), refused("probe")),
            ("c".into(), resolved(location(3))),
        ]
        .into(),
        Cluster::default(),
    );
    let problems: Vec<_> = all.problems().into_iter().map(ToString::to_string).collect();
    assert_eq!(problems, ["Secret probe does not exist"]);
    assert!(!all.names_services());
    assert!(Resolved::new([("a".into(), pods(Ok(&[])))].into(), Cluster::default()).names_services());
    assert_eq!(all.location(&"c".into()), Some(&location(3)));
    assert_eq!(all.targets(&"d".into()), []);
}

#[test]
fn whose_login_ends_with_a_line_break_is_told() {
    let with = |user: &str| ResolvedEndpoint {
        login: Ok(crate::fixture::login(user)),
        ..resolved(location(2))
    };
    let endpoints = BTreeMap::from([
        ("b".into(), with("probe\n")),
        ("a".into(), with("probe\r\n")),
        ("c".into(), with("probe ")),
        (
            "d".into(),
            ResolvedEndpoint {
                login: Err(secret("probe")),
                ..resolved(location(2))
            },
        ),
    ]);
    let resolved = Resolved::new(endpoints, Cluster::default());
    let ids: Vec<_> = resolved
        .with_line_ends()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(ids, ["a", "b"]);
}
