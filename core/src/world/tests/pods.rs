//! Endpoints that name a Service: a target for each ready pod.

use crate::fixture::{Case, remembered};
use std::net::SocketAddr;

use super::*;
use crate::policy::PrimaryRole;
use crate::resolved::{Pods, ServiceProblem};
use crate::server::{Host, Location};

/// `a` names a Service whose ready pods are at these last bytes, port 6432.
fn with_pods(ready: Result<&[u8], ServiceProblem>) -> Case {
    edited(|policy| {
        policy.of("a").pods = Some(Pods {
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
    scene.apply(with_pods(Ok(pods)), &Memory::default(), 0);
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
    scene.apply(with_pods(Ok(&[21, 22])), &Memory::default(), 10);
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
    assert_eq!(view.state.reason, Reason::Suspect);
    assert!(view.state.eligible, "the other one serves");
    let pods: Vec<_> = view
        .targets
        .iter()
        .map(|pod| (pod.address, pod.state.eligible))
        .collect();
    assert_eq!(pods, [(address(20), true), (address(21), false)]);
}

#[test]
fn without_a_ready_pod_an_endpoint_says_so_and_nobody_waits_for_it() {
    for ready in [Ok(&[][..]), Err(ServiceProblem::NotFound)] {
        let mut scene = Scene::default();
        scene.apply(with_pods(ready), &Memory::default(), 0);
        scene.check("primary", 1, good("primary"));
        scene.check("b", 2, good("b"));
        let decided = scene.decided();
        assert_eq!(words(&decided.plan), "rw primary; ro b");
        assert_eq!(decided.endpoints[1].state.reason, Reason::NoReadyPod);
    }
}

/// A Service that leads to the primary, as `NAME-rw` of a `PostgreSQL` operator: its pod is the primary.
#[test]
fn a_primary_behind_a_service_moves_with_its_pod() {
    let primary = |last: u8| {
        edited(|policy| {
            policy.of("primary").pods = Some(Pods {
                service: "pg-rw".to_owned(),
                ready: Ok(vec![SocketAddr::new(address(last), 5432)]),
            });
        })
    };
    let mut scene = Scene::default();
    scene.apply(primary(20), &Memory::default(), 0);
    for id in ["a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.check("primary@198.18.0.20", 2, good("primary"));
    assert_eq!(scene.routes(), "rw primary@198.18.0.20; ro a b");
    scene.apply(primary(21), &Memory::default(), 10);
    assert_eq!(
        scene.routes(),
        "rw; ro a b",
        "the pod is gone, the new one not checked"
    );
    scene.check("primary@198.18.0.21", 11, good("primary"));
    assert_eq!(scene.routes(), "rw primary@198.18.0.21; ro a b");
}

/// `primary` and `a` each name a Service of one pod.
fn two_services(primary: (&str, u8), a: (&str, u8)) -> Case {
    edited(|policy| {
        for (id, (service, last)) in [("primary", primary), ("a", a)] {
            let endpoint = policy.of(id);
            endpoint.location = Some(Location {
                host: Host::Name(format!("{service}.shop.svc")),
                port: 5432,
            });
            endpoint.pods = Some(Pods {
                service: service.to_owned(),
                ready: Ok(vec![SocketAddr::new(address(last), 5432)]),
            });
        }
    })
}

#[test]
fn two_endpoints_that_exchange_their_services_leave_the_writes_on_their_pod() {
    let (one, other) = (("pg-0", 20), ("pg-1", 21));
    let mut scene = Scene::default();
    scene.apply(two_services(one, other), &Memory::default(), 0);
    scene.check("primary@198.18.0.20", 1, good("primary"));
    scene.check("a@198.18.0.21", 1, good("a"));
    scene.check("b", 1, good("b"));
    assert_eq!(scene.routes(), "rw primary@198.18.0.20; ro a@198.18.0.21 b");
    scene.apply(two_services(other, one), &Memory::default(), 10);
    assert_eq!(scene.routes(), "rw a@198.18.0.20; ro b primary@198.18.0.21");
    let known = &scene.world.policies.values().next().unwrap().standby_services;
    assert_eq!(
        known.keys().map(EndpointId::as_str).collect::<Vec<_>>(),
        ["primary"],
        "the Service of the standby has it now"
    );
}

/// Pinned or not, the writes stay with the pod that proves that it takes them.
#[test]
fn a_second_pod_of_the_primary_that_takes_writes_takes_nothing_over() {
    for role in [PrimaryRole::Pinned, PrimaryRole::Follow] {
        let mut scene = Scene::default();
        let spec = edited(|policy| {
            policy.failover.primary_role = role;
            policy.of("primary").pods = Some(Pods {
                service: "pg".to_owned(),
                ready: Ok([20, 21].map(|last| SocketAddr::new(address(last), 5432)).to_vec()),
            });
        });
        scene.apply(spec, &Memory::default(), 0);
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
    fn hear_pod(&mut self, id: &str, millis: u64) -> Effects {
        let heard = SessionAnswer {
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
fn ends(effects: &Effects) -> bool {
    effects.figures.iter().any(|measured| measured.silent)
}

#[test]
fn an_endpoint_tells_figures_while_any_of_its_pods_does() {
    let (one, two) = ("a@198.18.0.20", "a@198.18.0.21");
    // Without held sessions, that a check fails says all.
    let mut scene = Scene::default();
    let mut policy = with_pods(Ok(&[20, 21]));
    policy.probing.heartbeat = None;
    scene.apply(policy, &Memory::default(), 0);
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
    let pod = |last: u8, circuit| {
        let state = TargetState {
            role: Some(Role::Standby),
            eligible: circuit == Circuit::default(),
            circuit,
            trips: 1,
            weight: 0,
            ..serving()
        };
        remembered(Some(address(last)), &state, at(0))
    };
    let a = EndpointMemory {
        seen_as_standby: false,
        location: Some(location(2)),
        reason: Some(Reason::Serving),
        classes: BTreeMap::new(),
        targets: vec![
            pod(20, Circuit::default()),
            pod(21, Circuit::Open { until: at(60_000) }),
        ],
    };
    let memory = Memory {
        endpoints: [("a".into(), a)].into(),
        ..Memory::default()
    };
    let mut scene = Scene::default();
    scene.apply(policy, &memory, 0);
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
    let pods = policy.of("a").pods.as_mut().unwrap();
    pods.ready.as_mut().unwrap()[1].set_port(6433);
    let mut scene = Scene::default();
    scene.apply(policy, &Memory::default(), 0);
    let port = |id: &str| scene.wanted[&target(id)].location.port;
    assert_eq!((port("a@198.18.0.20"), port("a@198.18.0.21")), (6432, 6433));
}

#[test]
fn a_pod_that_was_gone_for_a_while_was_a_standby_all_the_same() {
    let mut scene = scene(&[20, 21]);
    scene.decide();
    scene.apply(with_pods(Ok(&[21])), &Memory::default(), 10);
    scene.check("a@198.18.0.21", 11, good("a"));
    scene.check("b", 12, good("b"));
    scene.apply(with_pods(Ok(&[20, 21])), &Memory::default(), 20);
    scene.check("primary", 21, Ok(sample(Role::Standby)));
    let mut promoted = sample(Role::Primary);
    promoted.timeline = Some(2);
    scene.check("a@198.18.0.20", 22, Ok(promoted));
    assert_eq!(scene.routes(), "rw a@198.18.0.20; ro a@198.18.0.21 b");
}

/// What is said of the server that was there before says nothing of the one that came in its place.
#[test]
fn a_late_answer_about_a_pod_that_went_is_not_taken_for_the_one_that_came() {
    let mut scene = scene(&[20, 21]);
    let one = "a@198.18.0.20";
    let before = scene.wanted[&target(one)].incarnation;
    let ready = |pods: &[u8]| {
        let mut policy = with_pods(Ok(pods));
        policy.generation = 1;
        policy
    };
    scene.apply(ready(&[21]), &Memory::default(), 10);
    scene.apply(ready(&[20, 21]), &Memory::default(), 20);
    let now = scene.wanted[&target(one)].incarnation;
    assert_ne!(now, before);
    scene.check_incarnation(one, before, 30, good("a"));
    let routes = scene.routes();
    assert!(!routes.contains(one), "{routes}");
    scene.check_incarnation(one, now, 31, good("a"));
    let routes = scene.routes();
    assert!(routes.contains(one), "{routes}");
}

/// In place of `host`, `id` names a Service with these pods.
fn served_by(id: &str, pods: &[u8]) -> Case {
    edited(|policy| {
        policy.of(id).pods = Some(Pods {
            service: format!("pg-{id}"),
            ready: Ok(pods
                .iter()
                .map(|last| SocketAddr::new(address(*last), 5432))
                .collect()),
        });
    })
}

fn promoted() -> Result<Sample, FailureKind> {
    Ok(Sample {
        timeline: Some(2),
        ..sample(Role::Primary)
    })
}

/// The primary dies, and the pod of `a` was promoted and followed.
fn pod_followed() -> Scene {
    let mut scene = Scene::default();
    scene.apply(served_by("a", &[20]), &Memory::default(), 0);
    for id in ["primary", "b", "a@198.18.0.20"] {
        scene.check(id, 1, good(if id == "primary" { id } else { "a" }));
    }
    scene.decide();
    scene.check("primary", 1000, REFUSED);
    scene.check("primary", 1010, REFUSED);
    scene.check("a@198.18.0.20", 1020, promoted());
    scene.check("primary", 7000, REFUSED);
    assert!(
        scene.routes().starts_with("rw a@198.18.0.20;"),
        "{}",
        scene.routes()
    );
    scene
}

/// patroni behind a Service: the pod restarts elsewhere.
#[test]
fn a_followed_pod_that_gets_another_address_takes_the_writes_again() {
    let mut scene = pod_followed();
    scene.apply(served_by("a", &[21]), &Memory::default(), 8000);
    scene.check("a@198.18.0.21", 8010, promoted());
    assert!(
        scene.routes().starts_with("rw a@198.18.0.21;"),
        "{}",
        scene.routes()
    );
}

#[test]
fn another_pod_takes_nothing_over_while_that_of_the_holder_is_there() {
    let mut scene = pod_followed();
    scene.apply(served_by("a", &[20, 21]), &Memory::default(), 8000);
    scene.check("a@198.18.0.21", 8010, promoted());
    scene.check("a@198.18.0.20", 9000, REFUSED);
    scene.check("a@198.18.0.20", 9010, REFUSED);
    scene.check("a@198.18.0.21", 20_000, promoted());
    scene.check("a@198.18.0.20", 20_000, REFUSED);
    assert_eq!(scene.decided().holding.holder, Some(target("a@198.18.0.20")));
}

#[test]
fn a_pod_below_the_mark_does_not_succeed_the_one_that_left() {
    let mut scene = pod_followed();
    scene.apply(served_by("a", &[21]), &Memory::default(), 8000);
    scene.check("a@198.18.0.21", 8010, Ok(sample(Role::Primary)));
    assert!(scene.routes().starts_with("rw;"), "{}", scene.routes());
}

/// It was not ready when the operator started, and nobody saw it as a standby.
#[test]
fn a_promoted_pod_of_a_service_of_standbys_is_followed_above_the_mark_only() {
    for (timeline, expected) in [(1, "rw primary"), (2, "rw a@198.18.0.21")] {
        let mut scene = scene_with(served_by("a", &[20]));
        scene.apply(served_by("a", &[20, 21]), &Memory::default(), 900);
        let promoted = || {
            Ok(Sample {
                timeline: Some(timeline),
                ..sample(Role::Primary)
            })
        };
        scene.check("primary", 1000, REFUSED);
        scene.check("primary", 1010, REFUSED);
        scene.check("a@198.18.0.21", 1020, promoted());
        scene.check("primary", 7000, REFUSED);
        scene.check("a@198.18.0.21", 7010, promoted());
        let routes = scene.routes();
        assert_eq!(routes.split(';').next(), Some(expected), "timeline {timeline}");
    }
}

/// The pod of `a` was promoted while the primary takes writes, as its answer proves.
fn contested_pod() -> Scene {
    let mut scene = scene_with(served_by("a", &[20]));
    scene.check("a@198.18.0.20", 1000, promoted());
    scene.check("primary", 1100, good("primary"));
    assert_eq!(scene.holding().contested.len(), 1);
    scene
}

/// The primary restarts for longer than the failover timeout. Who holds the writes then.
fn primary_restarts(scene: &mut Scene, from: u64) -> String {
    for millis in [0, 10, 6000] {
        scene.check("primary", from + millis, REFUSED);
    }
    scene.holding().holder.unwrap().to_string()
}

#[test]
fn a_contested_pod_that_returns_does_not_win_by_a_restart_of_the_primary() {
    for last in [20, 21] {
        let mut scene = contested_pod();
        scene.apply(served_by("a", &[]), &Memory::default(), 2000);
        scene.apply(served_by("a", &[last]), &Memory::default(), 3000);
        let pod = format!("a@198.18.0.{last}");
        for millis in [0, 10] {
            scene.check("primary", 3100 + millis, REFUSED);
        }
        scene.check(&pod, 3200, promoted());
        assert_eq!(primary_restarts(&mut scene, 4000), "primary", "{pod}");
        let word = edited(|policy| {
            policy.of("a").pods = served_by("a", &[last]).of("a").pods.clone();
            policy.failover.accept_primary = Some("a".into());
        });
        scene.apply(word, &Memory::default(), 11_000);
        let holding = scene.holding();
        assert_eq!(holding.holder, Some(target(&pod)));
        assert!(holding.contested.is_empty() && holding.contested_endpoints.is_empty());
    }
}

#[test]
fn a_contested_pod_that_returns_after_a_restart_of_the_operator_does_not_win_either() {
    let mut known = crate::world::tests::restart::remembered(&["primary", "b"]);
    known.holding = contested_pod().holding();
    let of_a = |seen: &[u8]| EndpointMemory {
        location: served_by("a", &[]).resolved().location(&"a".into()).cloned(),
        reason: None,
        classes: BTreeMap::new(),
        seen_as_standby: true,
        targets: seen
            .iter()
            .map(|last| TargetMemory {
                address: Some(address(*last)),
                role: Some(Role::Primary),
                seen_as_standby: true,
                ..TargetMemory::default()
            })
            .collect(),
    };
    // The pod left while the operator was down; or before that, so that the status names the endpoint.
    let mut marked = known.clone();
    marked.holding.contested.clear();
    marked.holding.contested_endpoints.insert("a".into());
    marked.endpoints.insert("a".into(), of_a(&[]));
    known.endpoints.insert("a".into(), of_a(&[20]));
    for known in [known, marked] {
        let mut scene = Scene::default();
        scene.apply(served_by("a", &[21]), &known, 0);
        scene.check("b", 1, good("b"));
        scene.check("primary", 2, REFUSED);
        scene.check("a@198.18.0.21", 3, promoted());
        assert_eq!(primary_restarts(&mut scene, 100), "primary");
    }
}

/// It was rebuilt, and is promoted in order later.
#[test]
fn the_contest_of_a_pod_ends_when_one_in_its_place_is_a_standby() {
    let mut scene = contested_pod();
    scene.apply(served_by("a", &[21]), &Memory::default(), 2000);
    assert!(scene.holding().contested_endpoints.contains(&"a".into()));
    scene.check("a@198.18.0.21", 2100, good("a"));
    scene.check("primary", 2200, good("primary"));
    assert!(scene.holding().contested_endpoints.is_empty());
    scene.check("primary", 3000, REFUSED);
    scene.check("primary", 3010, REFUSED);
    scene.check("a@198.18.0.21", 3020, promoted());
    scene.check("primary", 9000, REFUSED);
    assert_eq!(scene.decided().holding.holder, Some(target("a@198.18.0.21")));
}

/// Both pods of one Service take writes: the contested one leaves for good, then that of the holder restarts elsewhere.
#[test]
fn the_successor_of_the_pod_of_the_holder_is_not_the_contested_one() {
    for (role, timeline, expected) in [
        (PrimaryRole::Follow, 1, "rw primary@198.18.0.32;"),
        (PrimaryRole::Follow, 2, "rw;"),
        (PrimaryRole::Pinned, 1, "rw primary@198.18.0.32;"),
        (PrimaryRole::Pinned, 2, "rw;"),
    ] {
        let case = |pods: &[u8]| {
            let mut case = served_by("primary", pods);
            case.failover.primary_role = role;
            case
        };
        let mut scene = Scene::default();
        scene.apply(case(&[30]), &Memory::default(), 0);
        for id in ["a", "b"] {
            scene.check(id, 1, good(id));
        }
        scene.check("primary@198.18.0.30", 2, good("primary"));
        scene.decide();
        scene.apply(case(&[30, 31]), &Memory::default(), 900);
        scene.check("primary@198.18.0.31", 1000, promoted());
        scene.check("primary@198.18.0.30", 1100, good("primary"));
        assert_eq!(scene.holding().contested.len(), 1);
        scene.apply(case(&[30]), &Memory::default(), 2000);
        scene.apply(case(&[]), &Memory::default(), 3000);
        scene.apply(case(&[32]), &Memory::default(), 4000);
        let found = Sample {
            timeline: Some(timeline),
            ..sample(Role::Primary)
        };
        scene.check("primary@198.18.0.32", 4100, Ok(found));
        let routes = scene.routes();
        assert!(routes.starts_with(expected), "{role:?} {timeline}: {routes}");
    }
}

#[test]
fn a_pod_of_another_service_is_no_pod_of_a_service_of_standbys() {
    let mut scene = scene_with(served_by("a", &[20]));
    let mut other = served_by("a", &[21]);
    other.of("a").pods.as_mut().unwrap().service = "other".to_owned();
    scene.apply(other, &Memory::default(), 900);
    scene.check("primary", 1000, REFUSED);
    scene.check("primary", 1010, REFUSED);
    scene.check("a@198.18.0.21", 1020, promoted());
    scene.check("primary", 7000, REFUSED);
    assert_eq!(scene.decided().holding.holder, Some(target("primary")));
}

/// What it remembers of a Service outlives the operator, also while no pod of it is ready.
#[test]
fn a_service_of_standbys_is_remembered_without_a_ready_pod() {
    let mut scene = scene_with(served_by("a", &[20]));
    scene.apply(served_by("a", &[]), &Memory::default(), 900);
    let view = scene.decided().endpoints[1].clone();
    assert_eq!(
        (view.state.reason, view.state.seen_as_standby),
        (Reason::NoReadyPod, true)
    );
    let mut known = crate::world::tests::restart::remembered(&["primary", "b"]);
    let of_a = EndpointMemory {
        location: None,
        reason: Some(Reason::NoReadyPod),
        classes: BTreeMap::new(),
        seen_as_standby: true,
        targets: Vec::new(),
    };
    known.endpoints.insert(EndpointId::from("a"), of_a);
    let mut scene = Scene::default();
    scene.apply(served_by("a", &[21]), &known, 0);
    scene.check("a@198.18.0.21", 10, promoted());
    scene.check("b", 11, good("b"));
    for millis in [12, 20, 7000, 12_000] {
        scene.check("primary", millis, REFUSED);
    }
    assert_eq!(scene.decided().holding.holder, Some(target("a@198.18.0.21")));
}

/// The status that was written then shows no pods of the Service, and the memory the address of the holder.
#[test]
fn a_holder_whose_pod_was_not_ready_is_known_when_it_is_back() {
    let mut known = crate::world::tests::restart::remembered(&["primary", "b"]);
    let of_a = EndpointMemory {
        location: served_by("a", &[]).resolved().location(&"a".into()).cloned(),
        reason: Some(Reason::NoReadyPod),
        classes: BTreeMap::new(),
        seen_as_standby: true,
        targets: Vec::new(),
    };
    known.endpoints.insert(EndpointId::from("a"), of_a);
    known.holding = Holding {
        identity: Some(crate::fixture::SYSTEM),
        holder: Some(target("a")),
        server: Some(SocketAddr::new(address(20), 5432)),
        timeline: Some(2),
        ..Holding::default()
    };
    let rival = Sample {
        timeline: Some(3),
        ..sample(Role::Primary)
    };
    // As the process starts, and as it takes in what another one wrote.
    let mut started = Scene::default();
    started.apply(served_by("a", &[20]), &known, 0);
    let mut recalled = Scene::default();
    recalled.apply(served_by("a", &[20]), &Memory::default(), 0);
    recalled.step(
        Event::Recalled {
            key: key("a").policy,
            uid: served_by("a", &[20]).uid.clone(),
            memory: known,
            number: 1,
        },
        1,
    );
    for mut scene in [started, recalled] {
        scene.check("primary", 10, good("a"));
        scene.check("a@198.18.0.20", 11, promoted());
        scene.check("b", 12, Ok(rival.clone()));
        let routes = scene.routes();
        assert!(routes.starts_with("rw a@198.18.0.20;"), "{routes}");
    }
}

fn scene_with(case: Case) -> Scene {
    let mut scene = Scene::default();
    scene.apply(case, &Memory::default(), 0);
    for id in ["primary", "b", "a@198.18.0.20"] {
        scene.check(id, 1, good(if id == "primary" { id } else { "a" }));
    }
    scene.decide();
    scene
}
