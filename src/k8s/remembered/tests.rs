use std::collections::BTreeSet;

use serde_json::json;

use super::*;

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
    let remembered = remembered(&status());
    let a = &remembered.endpoints[&EndpointId::from("a")];
    assert_eq!(
        (a.host.as_deref(), a.port, a.reason),
        (Some("pg.example.com"), Some(5433), Some(Reason::CircuitOpen))
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
    assert_eq!(remembered.answered.as_deref(), Some("now"));
}

#[test]
fn who_was_seen_as_a_standby_is_remembered() {
    let remembered = remembered(&status());
    let seen = |id: &str| remembered.endpoints[&EndpointId::from(id)].targets[0].seen_as_standby;
    assert!(seen("primary"), "of a pod");
    assert!(!seen("a"));
    let mut status = status();
    status.endpoints[1].seen_as_standby = true;
    let remembered = super::remembered(&status);
    assert!(remembered.endpoints[&EndpointId::from("a")].targets[0].seen_as_standby);
}

#[test]
fn who_held_the_writes_is_remembered_with_its_pod() {
    let tenure = remembered(&status()).tenure;
    assert_eq!(tenure.identity, Some(7_301_000_000_000_000_007));
    assert_eq!(tenure.holder.unwrap().to_string(), "primary@198.18.0.20");
    assert_eq!((tenure.timeline, tenure.accepted), (Some(3), Some("a".into())));
}

#[test]
fn what_classes_knew_is_remembered() {
    let a = &remembered(&status()).endpoints[&EndpointId::from("a")];
    let reasons: Vec<_> = a
        .classes
        .iter()
        .map(|(name, reason)| (name.as_str(), *reason))
        .collect();
    assert_eq!(
        reasons,
        [
            ("exports", Some(Reason::Lagging)),
            ("reports", Some(Reason::Returning))
        ]
    );
    let reports = RememberedClass {
        reason: Some(Reason::Returning),
        circuit: RememberedCircuit::HalfOpen,
        trips: 3,
        share: Percent::new(50),
    };
    let [target] = a.targets.as_slice() else {
        panic!("{:?}", a.targets);
    };
    assert_eq!(target.classes[&"reports".into()], reports);
    assert_eq!(
        target.classes[&"exports".into()].circuit,
        RememberedCircuit::Closed
    );
}

#[test]
fn an_open_circuit_whose_time_is_past_has_nothing_left() {
    let a = &remembered(&status()).endpoints[&EndpointId::from("a")].targets[0];
    assert_eq!(a.circuit, RememberedCircuit::Open { left: Duration::ZERO });
}

#[test]
fn every_word_for_a_circuit_is_read_back() {
    assert_eq!(circuit_of("Closed", None), RememberedCircuit::Closed);
    assert_eq!(circuit_of("HalfOpen", None), RememberedCircuit::HalfOpen);
    let ahead = Time(Clock::timestamp() + Duration::from_hours(1));
    let RememberedCircuit::Open { left } = circuit_of("Open", Some(&ahead)) else {
        panic!("open");
    };
    assert!(
        left > Duration::from_mins(59) && left <= Duration::from_hours(1),
        "{left:?}"
    );
}

#[test]
fn an_empty_status_remembers_nothing() {
    assert_eq!(
        remembered(&ReplicaSetPolicyStatus::default()),
        Remembered::default()
    );
}

/// Statuses that version 0.1.0 wrote.
const WRITTEN_BY_0_1_0: [&str; 4] = [
    include_str!("tests/circuit-open.0.1.0.yaml"),
    include_str!("tests/half-open.0.1.0.yaml"),
    include_str!("tests/pods.0.1.0.yaml"),
    include_str!("tests/class-probe-failed.0.1.0.yaml"),
];

#[test]
fn a_status_of_an_earlier_version_is_read_whole() {
    let (mut reasons, mut circuits) = (BTreeSet::new(), BTreeSet::new());
    for text in WRITTEN_BY_0_1_0 {
        let status: ReplicaSetPolicyStatus = serde_yaml::from_str(text).unwrap();
        let remembered = remembered(&status);
        assert_eq!(remembered.tenure.identity, Some(7));
        assert_eq!(remembered.tenure.timeline, Some(1));
        assert_eq!(remembered.endpoints.len(), status.endpoints.len());
        for (id, known) in &remembered.endpoints {
            assert!(known.reason.is_some(), "{id}");
            for target in &known.targets {
                reasons.insert(target.reason.map(Reason::word));
                let of_classes = target.classes.values().map(|class| class.circuit);
                for circuit in of_classes.chain([target.circuit]) {
                    circuits.insert(format!("{circuit:?}"));
                }
            }
        }
        let written = serde_yaml::to_string(&status).unwrap();
        assert_eq!(
            serde_yaml::from_str::<serde_yaml::Value>(&written).unwrap(),
            serde_yaml::from_str::<serde_yaml::Value>(text).unwrap()
        );
    }
    assert!(!reasons.contains(&None), "{reasons:?}");
    let known: Vec<_> = reasons.iter().flatten().copied().collect();
    assert_eq!(
        known,
        ["CircuitOpen", "NoReadyPod", "Returning", "Serving", "Suspect"]
    );
    assert_eq!(circuits.len(), 3, "{circuits:?}");
}

#[test]
fn a_word_of_another_version_is_not_known() {
    let mut status = status();
    status.endpoints[1].reason = "Unheard".to_owned();
    status.endpoints[1].role = "Unheard".to_owned();
    status.endpoints[1].circuit = "Unheard".to_owned();
    let a = &remembered(&status).endpoints[&EndpointId::from("a")];
    let target = &a.targets[0];
    assert_eq!((a.reason, target.reason, target.role), (None, None, None));
    assert_eq!(target.circuit, RememberedCircuit::Closed);
}
