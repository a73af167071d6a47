use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;
use crate::domain::health::Reason;
use crate::domain::observation::FailureKind;
use crate::domain::plan::{Admission, Member, Route, RouteState};
use crate::domain::policy::{Host, Location};
use crate::validate::{self, Secrets};

fn policy() -> Arc<Policy> {
    let object = serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [{"id": "a", "host": "198.18.0.2"}],
        },
    });
    let object = serde_json::from_value(object).unwrap();
    Arc::new(validate::policy(&object, &Secrets::new()).unwrap())
}

fn view(id: &str, declared: Declared, role: Role) -> EndpointView {
    let address = if id == "a" {
        [198, 18, 0, 2]
    } else {
        [198, 18, 0, 1]
    };
    EndpointView {
        id: id.into(),
        declared,
        location: Some(Location {
            host: Host::Address(address.into()),
            port: 5432,
        }),
        address: Some(address.into()),
        role: Some(role),
        circuit: Circuit::default(),
        eligible: true,
        reason: Reason::Serving,
        failure: None,
        weight: 100,
        healthy: true,
    }
}

fn route(id: &str, last: u8) -> Route {
    let member = Member {
        endpoint: id.into(),
        address: [198, 18, 0, last].into(),
        port: 5432,
        weight: 100,
        in_slice: true,
        admission: Admission::Eligible,
    };
    Route {
        state: RouteState::Served,
        members: vec![member],
    }
}

/// Primary and `a` are well, and `edit` changes that.
fn decision(edit: impl FnOnce(&mut RoutingPlan, &mut Vec<EndpointView>)) -> Decision {
    let mut plan = RoutingPlan {
        rw: route("primary", 1),
        ro: route("a", 2),
    };
    let mut endpoints = vec![
        view("primary", Declared::Primary, Role::Primary),
        view("a", Declared::Replica, Role::Standby),
    ];
    edit(&mut plan, &mut endpoints);
    Decision {
        policy: policy(),
        state: DecisionState::Decided { plan, endpoints },
    }
}

fn well() -> Decision {
    decision(|_, _| {})
}

fn suspect() -> Decision {
    decision(|plan, endpoints| {
        plan.ro.state = RouteState::Fallback;
        endpoints[1].reason = Reason::Suspect;
        endpoints[1].failure = Some(FailureKind::ConnectRefused);
        endpoints[1].eligible = false;
        endpoints[1].healthy = false;
    })
}

fn report(decision: &Decision) -> Report<'_> {
    Report {
        generation: 3,
        problems: &[],
        unresolved: &[],
        decision: Some(decision),
        written: Written::Programmed,
        revision: Some("abc"),
    }
}

fn at(minute: u32) -> Time {
    Time(format!("2026-01-01T00:{minute:02}:00Z").parse().unwrap())
}

fn first() -> ReplicaSetPolicyStatus {
    status(&report(&well()), &ReplicaSetPolicyStatus::default(), &at(1))
}

fn condition<'a>(status: &'a ReplicaSetPolicyStatus, type_: &str) -> &'a Condition {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .unwrap()
}

#[test]
fn an_equal_world_gives_an_equal_status() {
    assert_eq!(status(&report(&well()), &first(), &at(2)), first());
}

#[test]
fn since_is_kept_while_nothing_changed_and_renewed_with_a_change() {
    let before = first();
    let after = status(&report(&suspect()), &before, &at(2));
    assert_eq!(after.endpoints[0].since, at(1), "the primary is as it was");
    assert_eq!(after.endpoints[1].since, at(2));
    assert_eq!(status(&report(&suspect()), &after, &at(3)), after);
}

#[test]
fn each_part_of_an_endpoint_dates_it() {
    let edits: [fn(&mut EndpointView); 6] = [
        |view| view.role = None,
        |view| {
            view.circuit = Circuit::HalfOpen {
                step: 0,
                successes: 0,
            }
        },
        |view| view.eligible = false,
        |view| view.reason = Reason::Returning,
        |view| view.failure = Some(FailureKind::Saturated),
        |view| view.weight = 10,
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let changed = decision(|_, endpoints| edit(&mut endpoints[1]));
        let after = status(&report(&changed), &first(), &at(2));
        assert_eq!(after.endpoints[1].since, at(2), "edit {number}");
    }
}

#[test]
fn a_step_forward_within_one_circuit_state_is_no_change() {
    let at_step =
        |successes| decision(|_, endpoints| endpoints[1].circuit = Circuit::HalfOpen { step: 0, successes });
    let before = status(&report(&at_step(0)), &first(), &at(2));
    assert_eq!(status(&report(&at_step(1)), &before, &at(3)), before);
}

#[test]
fn the_transition_time_of_a_condition_is_that_of_its_status() {
    let before = first();
    let after = status(&report(&suspect()), &before, &at(2));
    let time = |type_: &str| condition(&after, type_).last_transition_time.clone();
    assert_eq!(time("ReadFallbackActive"), at(2), "it turned");
    assert_eq!(time("Degraded"), at(2), "it turned");
    assert_eq!(time("Ready"), at(1), "another reason, the same status");
    assert_eq!(condition(&after, "Ready").reason, "RoutableByFallback");
    assert_eq!(time("Accepted"), at(1));
}

#[test]
fn every_condition_names_the_generation_that_it_describes() {
    let status = first();
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(status.conditions.len(), 9);
    for condition in &status.conditions {
        assert_eq!(condition.observed_generation, Some(3), "{}", condition.type_);
    }
}

#[test]
fn a_new_generation_alone_moves_no_time() {
    let decision = well();
    let mut report = report(&decision);
    report.generation = 4;
    let after = status(&report, &first(), &at(2));
    assert_eq!(after.observed_generation, Some(4));
    assert!(after.conditions.iter().all(|condition| {
        condition.last_transition_time == at(1) && condition.observed_generation == Some(4)
    }));
}

#[test]
fn programmed_at_is_that_of_the_revision() {
    let decision = well();
    let mut next = report(&decision);
    next.revision = Some("def");
    let routing = |status: ReplicaSetPolicyStatus| status.routing.unwrap();
    assert_eq!(routing(first()).programmed_at, Some(at(1)));
    let changed = routing(status(&next, &first(), &at(2)));
    assert_eq!(
        (changed.revision.as_str(), changed.programmed_at),
        ("def", Some(at(2)))
    );
}

#[test]
fn what_was_not_written_is_not_reported_as_written() {
    let decision = suspect();
    for written in [
        Written::Observing,
        Written::Failed("timeout".to_owned()),
        Written::NameConflict(vec!["Service orders-rw".to_owned()]),
    ] {
        let report = Report {
            written,
            revision: Some("def"),
            ..report(&decision)
        };
        let after = status(&report, &first(), &at(2));
        assert_eq!(after.routing, first().routing, "{:?}", report.written);
        assert_eq!(condition(&after, "Ready").status, "False", "{:?}", report.written);
    }
}

#[test]
fn while_it_waits_what_was_known_stays() {
    let waiting = Decision {
        policy: policy(),
        state: DecisionState::Waiting { unchecked: 2 },
    };
    let report = Report {
        written: Written::Waiting,
        revision: None,
        ..report(&waiting)
    };
    let after = status(&report, &first(), &at(2));
    assert_eq!(after.endpoints, first().endpoints);
    assert_eq!(condition(&after, "Ready").status, "True");
    assert_eq!(condition(&after, "Ready").last_transition_time, at(1));
    let new = status(&report, &ReplicaSetPolicyStatus::default(), &at(2));
    assert_eq!(condition(&new, "Ready").status, "False");
    assert_eq!(condition(&new, "Degraded").status, "Unknown");
}

#[test]
fn an_invalid_edit_keeps_the_endpoints_and_stalls() {
    let decision = well();
    let problems = ["spec.replicas[0].id: must be unique".to_owned()];
    let report = Report {
        problems: &problems,
        ..report(&decision)
    };
    let after = status(&report, &first(), &at(2));
    assert_eq!(after.endpoints, first().endpoints);
    assert_eq!(condition(&after, "Accepted").message, problems[0]);
    assert_eq!(condition(&after, "Stalled").status, "True");
}

#[test]
fn a_long_message_is_cut() {
    let decision = well();
    let problems = vec!["ü".repeat(5000)];
    let report = Report {
        problems: &problems,
        ..report(&decision)
    };
    let after = status(&report, &first(), &at(2));
    let message = &condition(&after, "Accepted").message;
    assert_eq!(message.chars().count(), 1025);
    assert!(message.ends_with('…'));
}

#[test]
fn the_summary_counts_replicas_that_serve_on_their_own_merit() {
    let display = |decision: &Decision| {
        let status = status(&report(decision), &ReplicaSetPolicyStatus::default(), &at(1));
        status.summary.unwrap().display
    };
    assert_eq!(display(&well()), "1/1");
    assert_eq!(display(&suspect()), "0/1");
}

#[test]
fn the_primary_is_who_rw_leads_to() {
    let primary = first().primary.unwrap();
    assert_eq!(
        (primary.id.as_str(), primary.address.as_str()),
        ("primary", "198.18.0.1")
    );
    let withdrawn = decision(|plan, _| {
        plan.rw.state = RouteState::Empty;
        plan.rw.members.clear();
    });
    assert_eq!(status(&report(&withdrawn), &first(), &at(2)).primary, None);
}
