use std::collections::BTreeSet;

use serde_json::json;

use super::*;

/// An hour after the process began.
fn now() -> Now {
    Now {
        wall: "2026-01-01T00:00:10Z".parse().unwrap(),
        moment: Moment::new(Duration::from_hours(1)),
    }
}

fn memory(status: &ReplicaSetPolicyStatus) -> Memory {
    super::memory(status, now())
}

fn status() -> ReplicaSetPolicyStatus {
    let status = json!({
        "systemIdentifier": "7301000000000000007",
        "checkedFor": "now",
        "primary": {"id": "primary", "declared": "primary", "address": "198.18.0.20", "timeline": 3, "accepted": "a"},
        "endpoints": [
            {
                "id": "primary", "host": "pg-rw.shop.svc", "port": 5432, "role": "Primary", "circuit": "Closed",
                "eligible": true, "reason": "Serving", "effectiveWeight": 0, "trips": 0,
                "since": "2026-01-01T00:00:00Z",
                "targets": [{
                    "address": "198.18.0.20", "role": "Primary", "circuit": "Closed", "eligible": true,
                    "reason": "Serving", "effectiveWeight": 0, "trips": 0, "seenAsStandby": true,
                }],
            },
            {
                "id": "a", "host": "pg.example.com", "port": 5433, "address": "198.18.0.11", "role": "Standby",
                "circuit": "Open", "eligible": false, "reason": "CircuitOpen", "effectiveWeight": 50, "trips": 2,
                "retryAt": "2026-01-01T00:00:00Z", "since": "2026-01-01T00:00:00Z",
                "classes": [
                    {"name": "exports", "reason": "Lagging", "circuit": "Closed", "share": 100},
                    {"name": "reports", "reason": "Returning", "circuit": "HalfOpen", "share": 50, "trips": 3},
                ],
            },
        ],
    });
    serde_json::from_value(status).unwrap()
}

#[test]
fn what_the_status_says_is_remembered_by_id() {
    let memory = memory(&status());
    let a = &memory.endpoints[&EndpointId::from("a")];
    let location = Location {
        host: Host::Name("pg.example.com".to_owned()),
        port: 5433,
    };
    assert_eq!(
        (a.location.as_ref(), a.reason),
        (Some(&location), Some(Reason::CircuitOpen))
    );
    let [target] = a.targets.as_slice() else {
        panic!("{:?}", a.targets);
    };
    assert_eq!(target.address, "198.18.0.11".parse().ok());
    assert_eq!(
        (target.role, target.eligible, target.trips, target.weight),
        (Some(Role::Standby), false, 2, 50)
    );
    assert_eq!(target.reason, Some(Reason::CircuitOpen));
    assert_eq!(memory.answered.as_deref(), Some("now"));
}

#[test]
fn who_was_seen_as_a_standby_is_remembered() {
    let memory = memory(&status());
    let seen = |id: &str| memory.endpoints[&EndpointId::from(id)].targets[0].seen_as_standby;
    assert!(seen("primary"), "of a pod");
    assert!(!seen("a"));
    let mut status = status();
    status.endpoints[1].server.seen_as_standby = true;
    let memory = super::memory(&status, now());
    assert!(memory.endpoints[&EndpointId::from("a")].targets[0].seen_as_standby);
}

#[test]
fn who_held_the_writes_is_remembered_with_its_pod() {
    let holding = memory(&status()).holding;
    assert_eq!(holding.identity, Some(7_301_000_000_000_000_007));
    assert_eq!(holding.holder.unwrap().to_string(), "primary@198.18.0.20");
    assert_eq!((holding.timeline, holding.accepted), (Some(3), Some("a".into())));
}

#[test]
fn who_is_contested_is_remembered_by_the_server_or_the_endpoint() {
    let mut status = status();
    let contested = ["198.18.0.2:5432", "[2001:db8::2]:5432", "a"].map(ToOwned::to_owned);
    status.memory = Some(MemoryStatus {
        contested: contested.to_vec(),
        ..MemoryStatus::default()
    });
    let holding = memory(&status).holding;
    let servers = contested[..2].iter().map(|server| server.parse().unwrap());
    assert_eq!(holding.contested, servers.collect());
    assert_eq!(holding.contested_endpoints, BTreeSet::from(["a".into()]));
}

#[test]
fn what_classes_knew_is_remembered() {
    let a = &memory(&status()).endpoints[&EndpointId::from("a")];
    let reasons: Vec<_> = a
        .classes
        .iter()
        .map(|(name, reason)| (name.as_str(), *reason))
        .collect();
    assert_eq!(
        reasons,
        [("exports", Reason::Lagging), ("reports", Reason::Returning)]
    );
    let reports = ClassMemory {
        reason: Some(Reason::Returning),
        circuit: Some(CircuitMemory::HalfOpen),
        trips: 3,
        share: Percent::new(50),
    };
    let [target] = a.targets.as_slice() else {
        panic!("{:?}", a.targets);
    };
    assert_eq!(target.classes[&"reports".into()], reports);
    assert_eq!(
        target.classes[&"exports".into()].circuit,
        Some(CircuitMemory::Closed)
    );
}

#[test]
fn an_open_circuit_whose_time_is_past_has_nothing_left() {
    let a = &memory(&status()).endpoints[&EndpointId::from("a")].targets[0];
    let until = now().moment;
    assert_eq!(a.circuit, Some(CircuitMemory::Open { until }));
}

#[test]
fn every_word_for_a_circuit_is_read_back() {
    assert_eq!(circuit("Closed", None, now()), Some(CircuitMemory::Closed));
    assert_eq!(circuit("HalfOpen", None, now()), Some(CircuitMemory::HalfOpen));
    let ahead = Time(now().wall + Duration::from_secs(40));
    let until = now().moment + Duration::from_secs(40);
    assert_eq!(
        circuit("Open", Some(&ahead), now()),
        Some(CircuitMemory::Open { until })
    );
}

#[test]
fn an_empty_status_remembers_nothing() {
    assert_eq!(memory(&ReplicaSetPolicyStatus::default()), Memory::default());
}

/// Statuses that version 0.1.0 wrote.
const WRITTEN_BY_0_1_0: [&str; 4] = [
    include_str!("tests/circuit-open.0.1.0.yaml"),
    include_str!("tests/half-open.0.1.0.yaml"),
    include_str!("tests/pods.0.1.0.yaml"),
    include_str!("tests/class-probe-failed.0.1.0.yaml"),
];

fn word(circuit: Option<CircuitMemory>) -> &'static str {
    match circuit {
        Some(CircuitMemory::Closed) => "Closed",
        Some(CircuitMemory::Open { .. }) => "Open",
        Some(CircuitMemory::HalfOpen) => "HalfOpen",
        None => "unknown",
    }
}

#[test]
fn a_status_of_an_earlier_version_is_read_whole() {
    let (mut reasons, mut circuits) = (BTreeSet::new(), BTreeSet::new());
    for text in WRITTEN_BY_0_1_0 {
        let status: ReplicaSetPolicyStatus = serde_yaml::from_str(text).unwrap();
        let memory = memory(&status);
        assert_eq!(memory.holding.identity, Some(7));
        assert_eq!(memory.holding.timeline, Some(1));
        assert_eq!(memory.endpoints.len(), status.endpoints.len());
        for told in &status.endpoints {
            let known = &memory.endpoints[&EndpointId::from(told.id.as_str())];
            assert_eq!(known.reason.map(Reason::word), Some(told.server.reason.as_str()));
            for target in &known.targets {
                reasons.extend(target.reason.map(Reason::word));
                let of_classes = target.classes.values().map(|class| class.circuit);
                circuits.extend(of_classes.chain([target.circuit]).map(word));
            }
        }
        let value = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap();
        let written = serde_yaml::to_string(&status).unwrap();
        assert_eq!(value(&written), value(text), "nothing of it is lost");
    }
    let expected = ["CircuitOpen", "NoReadyPod", "Returning", "Serving", "Suspect"];
    assert_eq!(reasons.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(
        circuits.into_iter().collect::<Vec<_>>(),
        ["Closed", "HalfOpen", "Open"]
    );
}

#[test]
fn a_word_of_another_version_is_not_known() {
    let mut status = status();
    let server = &mut status.endpoints[1].server;
    for word in [&mut server.reason, &mut server.role, &mut server.circuit] {
        "Unheard".clone_into(word);
    }
    let a = &memory(&status).endpoints[&EndpointId::from("a")];
    let target = &a.targets[0];
    assert_eq!((a.reason, target.reason), (None, None));
    assert_eq!((target.role, target.circuit), (None, None));
}
