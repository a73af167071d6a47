//! Endpoints that name a Service: a target for each ready pod.

use std::net::SocketAddr;

use super::*;
use crate::policy::{Pods, PrimaryRole, ServiceProblem};

/// `a` names a Service whose ready pods are at these last bytes, port 6432.
fn with_pods(ready: Result<&[u8], ServiceProblem>) -> Policy {
    edited(|policy| {
        policy.endpoints[1].pods = Some(Pods {
            service: "pg-west".to_owned(),
            ready: ready.map(|pods| {
                pods.iter()
                    .map(|last| SocketAddr::new(address(*last), 6432))
                    .collect()
            }),
        });
    })
}

fn scene(pods: &[u8]) -> Scene {
    let mut scene = Scene::default();
    scene.apply(with_pods(Ok(pods)), &Remembered::default(), 0);
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    for last in pods {
        scene.check(&format!("a@198.18.0.{last}"), 3, good("a"));
    }
    scene
}

#[test]
fn each_ready_pod_is_a_target_at_its_own_port() {
    let mut scene = scene(&[20, 21]);
    let pod = &scene.wanted[&target("a@198.18.0.20")];
    assert_eq!(pod.location.port, 6432);
    assert_eq!(pod.check.prefer, Some(address(20)));
    assert_eq!(scene.routes(), "rw primary; ro a@198.18.0.20 a@198.18.0.21 b");
}

#[test]
fn a_pod_that_is_no_longer_ready_leaves_and_a_new_one_waits_for_its_check() {
    let mut scene = scene(&[20, 21]);
    scene.decide();
    scene.apply(with_pods(Ok(&[21, 22])), &Remembered::default(), 10);
    assert_eq!(scene.routes(), "rw primary; ro a@198.18.0.21 b");
    scene.check("a@198.18.0.22", 11, good("a"));
    assert_eq!(scene.routes(), "rw primary; ro a@198.18.0.21 a@198.18.0.22 b");
}

#[test]
fn an_endpoint_shows_its_worst_pod_and_all_of_them() {
    let mut scene = scene(&[20, 21]);
    scene.decide();
    scene.hear_pod("a@198.18.0.21", 1000);
    scene.check("a@198.18.0.21", 1001, REFUSED);
    let view = scene.decided().endpoints[1].clone();
    assert_eq!(view.reason, Reason::Suspect);
    assert!(view.eligible, "the other one serves");
    let pods: Vec<_> = view
        .targets
        .iter()
        .map(|pod| (pod.address, pod.eligible))
        .collect();
    assert_eq!(pods, [(address(20), true), (address(21), false)]);
}

#[test]
fn without_a_ready_pod_an_endpoint_says_so_and_nobody_waits_for_it() {
    for ready in [Ok(&[][..]), Err(ServiceProblem::NotFound)] {
        let mut scene = Scene::default();
        scene.apply(with_pods(ready), &Remembered::default(), 0);
        scene.check("primary", 1, good("primary"));
        scene.check("b", 2, good("b"));
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), "rw primary; ro b");
        assert_eq!(decided.endpoints[1].reason, Reason::NoReadyPod);
    }
}

/// A Service that leads to the primary, as `NAME-rw` of a `PostgreSQL` operator: its pod is the primary.
#[test]
fn a_primary_behind_a_service_moves_with_its_pod() {
    let primary = |last: u8| {
        edited(|policy| {
            policy.endpoints[0].pods = Some(Pods {
                service: "pg-rw".to_owned(),
                ready: Ok(vec![SocketAddr::new(address(last), 5432)]),
            });
        })
    };
    let mut scene = Scene::default();
    scene.apply(primary(20), &Remembered::default(), 0);
    for id in ["a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.check("primary@198.18.0.20", 2, good("primary"));
    assert_eq!(scene.routes(), "rw primary@198.18.0.20; ro a b");
    scene.apply(primary(21), &Remembered::default(), 10);
    assert_eq!(
        scene.routes(),
        "rw; ro a b",
        "the pod is gone, the new one not checked"
    );
    scene.check("primary@198.18.0.21", 11, good("primary"));
    assert_eq!(scene.routes(), "rw primary@198.18.0.21; ro a b");
}

/// Pinned or not, the writes stay with the pod that proves that it takes them.
#[test]
fn a_second_pod_of_the_primary_that_takes_writes_takes_nothing_over() {
    for role in [PrimaryRole::Pinned, PrimaryRole::Follow] {
        let mut scene = Scene::default();
        let spec = edited(|policy| {
            policy.failover.primary_role = role;
            policy.endpoints[0].pods = Some(Pods {
                service: "pg".to_owned(),
                ready: Ok([20, 21].map(|last| SocketAddr::new(address(last), 5432)).to_vec()),
            });
        });
        scene.apply(spec, &Remembered::default(), 0);
        for id in ["a", "b", "primary@198.18.0.20"] {
            scene.check(id, 1, good("a"));
        }
        scene.check("primary@198.18.0.21", 1, good("primary"));
        assert_eq!(
            scene.routes(),
            "rw primary@198.18.0.21; ro a b primary@198.18.0.20"
        );
        let mut promoted = sample(Role::Primary);
        promoted.timeline = Some(2);
        scene.check("primary@198.18.0.20", 30_000, Ok(promoted));
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), "rw primary@198.18.0.21; ro a b", "{role:?}");
    }
}

impl Scene {
    /// The session to a pod closes.
    fn hear_pod(&mut self, id: &str, millis: u64) -> Vec<Effect> {
        let heard = Heard {
            key: key(id),
            incarnation: self.wanted[&target(id)].incarnation,
            address: target(id).pod.unwrap(),
            started: at(millis),
            ended: at(millis),
            result: Err(Silence::Closed),
        };
        self.step(Event::Heard(heard), millis)
    }
}

/// Whether the metrics of the endpoint end by it.
fn ends(effects: &[Effect]) -> bool {
    effects
        .iter()
        .any(|effect| matches!(effect, Effect::Measured { figures: None, .. }))
}

#[test]
fn an_endpoint_tells_figures_while_any_of_its_pods_does() {
    let (one, two) = ("a@198.18.0.20", "a@198.18.0.21");
    // Without held sessions, that a check fails says all.
    let mut scene = Scene::default();
    let mut policy = with_pods(Ok(&[20, 21]));
    policy.probing.heartbeat = None;
    scene.apply(policy, &Remembered::default(), 0);
    for id in ["primary", "b", one, two] {
        scene.check(id, 1, good(if id == "primary" { id } else { "a" }));
    }
    assert!(!ends(&scene.check(one, 1000, REFUSED)), "the other one answers");
    assert!(ends(&scene.check(two, 1001, REFUSED)), "it was the last one");
    assert!(ends(&scene.check("b", 1002, REFUSED)), "a host is alone");
    // Held, a session may tell more after a check that failed.
    let mut scene = self::scene(&[20]);
    assert!(!ends(&scene.check(one, 1000, Err(FailureKind::TimedOut))));
    assert!(ends(&scene.hear_pod(one, 1001)));
}

#[test]
fn each_pod_is_remembered_by_its_address() {
    let policy = with_pods(Ok(&[20, 21]));
    let pod = |last: u8, circuit| RememberedTarget {
        address: Some(address(last)),
        role: Some(Role::Standby),
        eligible: circuit == RememberedCircuit::Closed,
        reason: Some(Reason::Serving),
        circuit,
        trips: 1,
        ..RememberedTarget::default()
    };
    let left = Duration::from_secs(60);
    let a = RememberedEndpoint {
        host: Some("198.18.0.2".to_owned()),
        port: Some(5432),
        reason: Some(Reason::Serving),
        classes: BTreeMap::new(),
        targets: vec![
            pod(20, RememberedCircuit::Closed),
            pod(21, RememberedCircuit::Open { left }),
        ],
    };
    let remembered = Remembered {
        endpoints: [("a".into(), a)].into(),
        ..Remembered::default()
    };
    let mut scene = Scene::default();
    scene.apply(policy, &remembered, 0);
    scene.check("primary", 1, good("primary"));
    scene.check("b", 2, good("b"));
    for pod in ["a@198.18.0.20", "a@198.18.0.21"] {
        scene.check(pod, 3, good("a"));
    }
    assert_eq!(
        scene.routes(),
        "rw primary; ro a@198.18.0.20 b",
        "the circuit of the other is open"
    );
}

#[test]
fn each_pod_listens_where_it_says() {
    let mut policy = with_pods(Ok(&[20, 21]));
    let pods = policy.endpoints[1].pods.as_mut().unwrap();
    pods.ready.as_mut().unwrap()[1].set_port(6433);
    let mut scene = Scene::default();
    scene.apply(policy, &Remembered::default(), 0);
    let port = |id: &str| scene.wanted[&target(id)].location.port;
    assert_eq!((port("a@198.18.0.20"), port("a@198.18.0.21")), (6432, 6433));
}

#[test]
fn a_pod_that_was_gone_for_a_while_was_a_standby_all_the_same() {
    let mut scene = scene(&[20, 21]);
    scene.decide();
    scene.apply(with_pods(Ok(&[21])), &Remembered::default(), 10);
    scene.check("a@198.18.0.21", 11, good("a"));
    scene.check("b", 12, good("b"));
    scene.apply(with_pods(Ok(&[20, 21])), &Remembered::default(), 20);
    scene.check("primary", 21, Ok(sample(Role::Standby)));
    let mut promoted = sample(Role::Primary);
    promoted.timeline = Some(2);
    scene.check("a@198.18.0.20", 22, Ok(promoted));
    assert_eq!(scene.routes(), "rw a@198.18.0.20; ro a@198.18.0.21 b primary");
}
