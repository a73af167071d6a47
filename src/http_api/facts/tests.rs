use std::sync::Arc;
use std::time::Duration;

use distributary_api::{RouteStatus, RoutingStatus};
use distributary_core::decision::Decision;
use distributary_core::fixture::{at, policy, view};
use distributary_core::health::Reason;
use distributary_core::ids::TargetId;
use distributary_core::lag::Lag;
use distributary_core::observation::{Load, Role};
use distributary_core::plan::RoutingPlan;
use distributary_core::statistics::Measured;
use distributary_core::target::ProbeKey;
use distributary_core::world::{Announcement, Event, Figures, Measurement, Memory, World};
use distributary_core::write_primary::Holding;
use serde_json::{Value, json};

use super::servers::told;
use super::*;
use crate::engine::{Board, TargetFigures};

fn origin() -> Origin {
    Origin {
        answered_by: "a".to_owned(),
        leader: None,
        observed_at: "2026-01-01T00:00:00.000Z".to_owned(),
    }
}

/// A policy that this process has not decided yet, with a status and slices that another one wrote.
fn facts(ready: &str, degraded: &str) -> Facts {
    let condition = |type_: &str, status: &str| Condition {
        last_transition_time: Time("2026-01-01T00:00:00Z".parse().unwrap()),
        message: "as told".to_owned(),
        observed_generation: None,
        reason: "Told".to_owned(),
        status: status.to_owned(),
        type_: type_.to_owned(),
    };
    let server: SocketAddr = "10.0.0.2:5432".parse().unwrap();
    Facts {
        key: PolicyKey::new("shop", "orders"),
        status: ReplicaSetPolicyStatus {
            conditions: vec![condition("Ready", ready), condition("Degraded", degraded)],
            routing: Some(RoutingStatus {
                revision: "abc".to_owned(),
                ..RoutingStatus::default()
            }),
            routes: vec![RouteStatus {
                name: "rw".to_owned(),
                state: "Served".to_owned(),
                endpoints: vec!["primary".to_owned()],
            }],
            ..ReplicaSetPolicyStatus::default()
        },
        entry: None,
        slices: Some(BTreeMap::from([("ro".to_owned(), BTreeSet::from([server]))])),
        now: Moment::default(),
    }
}

fn json_of(answer: &impl serde::Serialize) -> Value {
    serde_json::to_value(answer).unwrap()
}

#[test]
fn healthy_is_ready_and_enhanced_is_not_degraded_either() {
    for (ready, degraded, expected) in [
        ("True", "False", (true, true)),
        ("True", "True", (true, false)),
        ("False", "False", (false, false)),
        ("Unknown", "False", (false, false)),
    ] {
        let health = facts(ready, degraded).health(origin());
        assert_eq!(
            (health.healthy, health.database.enhanced.healthy),
            expected,
            "{ready} {degraded}"
        );
    }
}

#[test]
fn what_is_not_known_is_null_and_never_0() {
    let facts = facts("True", "False");
    let health = json_of(&facts.health(origin()));
    assert_eq!(
        health["database"]["replicas"],
        json!({"healthy": null, "total": null, "replicaUsagePercentage": null, "averageResponseTime": null})
    );
    let replicas = json_of(&facts.replicas(origin()));
    assert_eq!(
        replicas["status"],
        json!({"primary": null, "replicas": [], "summary": {"total": null, "healthy": null, "eligible": null}})
    );
    assert_eq!(
        replicas["statistics"],
        json!({"replicaUsagePercentage": null, "averageResponseTime": null, "connections": null, "worstLagMilliseconds": null})
    );
    assert_eq!(replicas["leader"], Value::Null);
}

#[test]
fn among_others_it_has_its_conditions_in_short_and_null_for_what_is_not_known() {
    let mut facts = facts("True", "False");
    facts.status.primary = Some(distributary_api::PrimaryStatus {
        id: "primary".to_owned(),
        ..distributary_api::PrimaryStatus::default()
    });
    let item = json_of(&facts.item());
    assert_eq!(
        item,
        json!({
            "namespace": "shop", "name": "orders", "healthy": true,
            "ready": {"status": "True", "reason": "Told", "message": "as told"},
            "degraded": {"status": "False", "reason": "Told", "message": "as told"},
            "writePrimary": "primary", "regions": null, "healthyReplicas": null, "totalReplicas": null,
            "replicaUsagePercentage": null, "averageResponseTime": null, "worstLagMilliseconds": null, "connections": null,
        })
    );
    facts.status.conditions.clear();
    let item = facts.item();
    assert_eq!((item.healthy, item.ready, item.degraded), (false, None, None));
}

#[test]
fn the_regions_of_a_policy_are_told_once_each_in_order() {
    let mut facts = facts("True", "False");
    let mut case = policy(&["a", "b", "c"]);
    for (endpoint, region) in case.endpoints.iter_mut().zip(["west", "east", "west"]) {
        endpoint.region = Some(region.to_owned());
    }
    facts.entry = Some(BoardEntry {
        decision: decided(case.changed(Memory::default())),
        judged: None,
        figures: BTreeMap::new(),
        statistics: BTreeMap::new(),
        counts: BTreeMap::new(),
    });
    assert_eq!(facts.item().regions.unwrap(), ["east", "west"]);
}

fn decided(event: Event) -> Arc<Decision> {
    let effects = World::default().advance(at(1), [event]);
    let decided = effects.writer.into_iter().find_map(|report| match report {
        Announcement::Decided { decision, .. } => Some(decision),
        Announcement::Gone { .. } => None,
    });
    decided.unwrap()
}

/// A policy whose writes `holder` took.
fn held_by(holder: &str) -> Facts {
    shown(|decided| decided.holding.holder = Some(TargetId::host(holder.into())))
}

/// A policy whose servers serve, but for what `edit` does. Each of them lags, and its check took as long.
fn shown(edit: impl FnOnce(&mut RouteDecision)) -> Facts {
    let (case, board) = (policy(&["a", "b"]), Board::default());
    let primary = EndpointView {
        declared: DeclaredRole::Primary,
        ..view("primary")
    };
    let mut decided = RouteDecision {
        plan: RoutingPlan::default(),
        endpoints: vec![primary, view("a"), view("b")],
        holding: Holding::default(),
        split: Vec::new(),
        changed: None,
        unproven: false,
        proven: true,
        warm: true,
        found: None,
    };
    edit(&mut decided);
    let decision = case.decision(DecisionState::Decided(Box::new(decided)));
    board.decided(&case.key, &Arc::new(decision));
    for (id, millis) in [("primary", 100), ("a", 20), ("b", 40)] {
        let time = Duration::from_millis(millis);
        let measured = Measured {
            at: at(1),
            role: Role::Standby,
            asked: 1,
            operators: None,
        };
        let figures = Figures {
            lag: Some(Lag::Behind { time, bytes: None }),
            load: None,
            took: Some(time),
            measured: Some(measured),
        };
        let key = ProbeKey {
            policy: case.key.clone(),
            target: TargetId::host(id.into()),
        };
        let measurement = Measurement {
            key,
            figures: Some(figures),
            failure: None,
            silent: false,
        };
        board.measured(measurement, at(1));
    }
    Facts {
        entry: board.get(&case.key),
        ..facts("True", "False")
    }
}

#[test]
fn after_a_failover_the_declared_primary_is_one_of_the_replicas() {
    for (holder, primary, replicas, mean, worst) in [
        ("primary", "primary", ["a", "b"], 30.0, 40),
        ("a", "a", ["primary", "b"], 70.0, 100),
        ("none of these", "primary", ["a", "b"], 30.0, 40),
    ] {
        let facts = held_by(holder);
        let answer = json_of(&facts.replicas(origin()));
        let ids = |servers: &Value| {
            let servers = servers.as_array().unwrap().iter();
            servers.map(|server| server["id"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(answer["status"]["primary"]["id"], primary, "{holder}");
        assert_eq!(ids(&answer["status"]["replicas"]), replicas, "{holder}");
        assert_eq!(answer["statistics"]["averageResponseTime"], mean, "{holder}");
        assert_eq!(answer["statistics"]["worstLagMilliseconds"], worst, "{holder}");
        let stats = json_of(&facts.stats(Some(Component::Replicas), origin()));
        assert_eq!(ids(&stats["replicas"]["endpoints"]), replicas, "{holder}");
        let policy = json_of(&facts.policy(origin()));
        assert_eq!(ids(&policy["endpoints"]), ["primary", "a", "b"], "{holder}");
    }
}

#[test]
fn what_must_happen_next_is_what_explain_says() {
    let facts = shown(|decided| {
        let state = &mut decided.endpoints[0].state;
        (state.reason, state.despite) = (Reason::Held, Some(Reason::CircuitOpen));
        state.role = Some(Role::Primary);
    });
    let answer = json_of(&facts.policy(origin()));
    let (server, other) = (&answer["endpoints"][0], &answer["endpoints"][1]);
    let next = server["next"].as_str().unwrap();
    assert!(
        next.starts_with("Bring the server back. If it is lost, "),
        "{next}"
    );
    assert_eq!(answer["reasons"][0]["next"], next);
    assert_eq!(server["heldDespite"], "CircuitOpen");
    let means = server["heldDespiteMeans"].as_str().unwrap();
    assert!(means.starts_with("Checks of the server failed "), "{means}");
    for name in ["next", "heldDespite", "heldDespiteMeans"] {
        assert_eq!(other[name], Value::Null, "{name}");
    }
}

#[test]
fn routes_are_those_of_the_status_and_of_the_slices() {
    let routing = json_of(&facts("True", "False").health(origin()))["database"]["routing"].clone();
    assert_eq!(routing["revision"], "abc");
    assert_eq!(
        routing["routes"],
        json!({
            "ro": {"state": null, "targets": [{"endpoint": null, "address": "10.0.0.2", "port": 5432}]},
            "rw": {"state": "Served", "targets": []},
        })
    );
}

#[test]
fn a_component_is_alone_where_it_is_asked_for() {
    let facts = facts("True", "False");
    let keys = |only| {
        let stats = json_of(&facts.stats(only, origin()));
        ["routing", "replicas"].map(|part| stats.get(part).is_some())
    };
    assert_eq!(keys(None), [true, true]);
    assert_eq!(keys(Some(Component::Routing)), [true, false]);
    assert_eq!(keys(Some(Component::Replicas)), [false, true]);
}

#[test]
fn figures_and_who_told_them_are_no_change() {
    let facts = facts("True", "False");
    let (first, mut second) = (facts.policy(origin()), facts.policy(origin()));
    second.origin.answered_by = "b".to_owned();
    second.statistics.connections = Some(7);
    assert_eq!(first.essence(), second.essence());
    second.routing.revision = Some("abd".to_owned());
    assert_ne!(first.essence(), second.essence());
}

#[test]
fn targets_are_null_until_the_slices_were_listed() {
    let mut facts = facts("True", "False");
    facts.slices = None;
    let stats = json_of(&facts.stats(None, origin()));
    assert_eq!(
        stats["routing"]["routes"],
        json!({"rw": {"state": "Served", "targets": null}})
    );
    let health = json_of(&facts.health(origin()));
    let routing = &health["database"]["routing"];
    assert_eq!(
        routing["routes"],
        json!({"rw": {"state": "Served", "targets": null}})
    );
}

#[test]
fn a_lag_that_is_longer_than_it_is_told_says_so() {
    let (time, bytes) = (Duration::from_millis(1_500), Some(7));
    assert_eq!(told(Lag::Unknown), (None, None, None));
    assert_eq!(
        told(Lag::Behind { time, bytes }),
        (Some(1_500), bytes, Some(false))
    );
    assert_eq!(
        told(Lag::AtLeast { time, bytes }),
        (Some(1_500), bytes, Some(true))
    );
}

#[test]
fn sessions_are_those_of_every_pod_that_tells_them() {
    let decided = decided(policy(&["a"]).changed(Memory::default()));
    let told = |pod: u8, sessions: Option<u32>, millis: u64| {
        let target = TargetId {
            endpoint: EndpointId::from("a"),
            pod: Some([10, 0, 0, pod].into()),
        };
        let load = |sessions| Load {
            sessions,
            ..Load::default()
        };
        let figures = TargetFigures {
            lag: None,
            load: sessions.map(load),
            check: None,
            at: at(millis),
        };
        (target, figures)
    };
    let mut facts = facts("True", "False");
    let with = |figures: Vec<_>| BoardEntry {
        decision: decided.clone(),
        judged: None,
        figures: figures.into_iter().collect(),
        statistics: BTreeMap::new(),
        counts: BTreeMap::new(),
    };
    facts.entry = Some(with(vec![
        told(1, Some(3), 5),
        told(2, Some(4), 7),
        told(3, None, 9),
    ]));
    let all = json_of(&facts.replicas(origin()));
    assert_eq!(all["statistics"]["connections"], 7);
    facts.entry = Some(with(vec![told(3, None, 9)]));
    let none = json_of(&facts.replicas(origin()));
    assert_eq!(none["statistics"]["connections"], Value::Null);
}

#[test]
fn sessions_are_told_against_the_pool_and_against_what_the_server_has_for_ordinary_roles() {
    let decided = decided(policy(&["a"]).changed(Memory::default()));
    let told = |load| {
        let figures = TargetFigures {
            lag: None,
            load,
            check: None,
            at: at(5),
        };
        let entry = BoardEntry {
            decision: decided.clone(),
            judged: None,
            figures: BTreeMap::from([(TargetId::host("a".into()), figures)]),
            statistics: BTreeMap::new(),
            counts: BTreeMap::new(),
        };
        let facts = Facts {
            entry: Some(entry),
            ..facts("True", "False")
        };
        let replica = json_of(&facts.replicas(origin()))["status"]["replicas"][0].take();
        let names = [
            "connections",
            "maxConnections",
            "serverMaxConnections",
            "usableConnections",
        ];
        names.map(|name| replica[name].as_u64())
    };
    let pool = u64::from(decided.policy.endpoints[1].max_connections);
    let load = Load {
        sessions: 3,
        max_connections: 100,
        reserved_connections: 13,
        ..Load::default()
    };
    assert_eq!(told(Some(load)), [Some(3), Some(pool), Some(100), Some(87)]);
    assert_eq!(told(None), [None, Some(pool), None, None]);
}
