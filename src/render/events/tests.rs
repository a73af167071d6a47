use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::*;
use distributary_core::Moment;
use distributary_core::lag_reading::{LagBound, LagReading};
use distributary_core::observation::FailureKind;

/// The Event of a policy whose Services begin with `orders`.
fn notice(transition: &Transition) -> Option<Notice> {
    let outputs = Outputs {
        retain: false,
        services: Some("orders".to_owned()),
        per_class: true,
        per_region: true,
        config_map: "orders-routing".to_owned(),
        environment: "orders-env".to_owned(),
        formats: Vec::new(),
        metadata: distributary_core::outputs::ObjectMetadata::default(),
    };
    super::notice(transition, Some(&outputs))
}

fn endpoint(from: Option<Reason>, to: Reason, failure: Option<FailureKind>, eligible: bool) -> Transition {
    Transition::Endpoint {
        id: "replica-1".into(),
        from,
        to,
        despite: None,
        excess: None,
        failure,
        eligible,
    }
}

fn condition(type_: &str, status: &str, reason: &str) -> Condition {
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: "Why.".to_owned(),
        observed_generation: Some(1),
        last_transition_time: Time(Timestamp::UNIX_EPOCH),
    }
}

#[test]
fn an_endpoint_that_leaves_is_a_warning_with_its_cause() {
    let change = endpoint(
        Some(Reason::Serving),
        Reason::Suspect,
        Some(FailureKind::ConnectRefused),
        false,
    );
    let told = notice(&change).unwrap();
    assert!(told.warning);
    assert_eq!(told.reason, "Suspect");
    let note = "Endpoint replica-1 is Suspect (ConnectRefused), was Serving; it is not in the routes.";
    assert_eq!(told.note, note);
}

#[test]
fn an_endpoint_that_is_held_is_told_with_the_reason_beneath_and_its_figure() {
    let held = |from| Transition::Endpoint {
        id: "a".into(),
        from: Some(from),
        to: Reason::Held,
        despite: Some(Reason::ReplayStalled),
        excess: Some(LagReading {
            time: Duration::from_millis(9400),
            bytes: None,
            at_least: false,
            past: Some(LagBound::Time(Duration::from_secs(5))),
            measured: Moment::default(),
        }),
        failure: None,
        eligible: true,
    };
    let note = |from| notice(&held(from)).unwrap().note;
    assert_eq!(
        note(Reason::Serving),
        "Endpoint a is Held (ReplayStalled, 9.4 s > 5 s), was Serving; it is in the routes."
    );
    assert_eq!(
        note(Reason::Held),
        "Endpoint a is Held (ReplayStalled, 9.4 s > 5 s); it is in the routes."
    );
}

#[test]
fn an_endpoint_that_returns_is_for_the_record() {
    let told = notice(&endpoint(Some(Reason::Suspect), Reason::Serving, None, true)).unwrap();
    assert!(!told.warning);
    assert_eq!(
        told.note,
        "Endpoint replica-1 is Serving, was Suspect; it is in the routes."
    );
}

#[test]
fn the_first_look_at_a_disabled_endpoint_is_not_told() {
    assert_eq!(notice(&endpoint(None, Reason::Disabled, None, false)), None);
}

#[test]
fn what_a_person_asked_for_is_no_warning_and_lag_not_yet_known_is_no_news() {
    let draining = notice(&endpoint(Some(Reason::Serving), Reason::Draining, None, false)).unwrap();
    assert!(!draining.warning);
    assert_eq!(notice(&endpoint(None, Reason::LagUnknown, None, false)), None);
    let lost = notice(&endpoint(Some(Reason::Serving), Reason::LagUnknown, None, false)).unwrap();
    assert!(lost.warning);
}

#[test]
fn where_the_writes_go_is_told_with_names() {
    let told = |change| {
        let told = notice(&change).unwrap();
        (told.warning, told.reason, told.note)
    };
    let moved = told(Transition::PrimaryMoved {
        from: "primary".into(),
        to: "a".into(),
    });
    let note = "Writes moved from primary to a.".to_owned();
    assert_eq!(moved, (true, "PrimaryMoved".to_owned(), note));
    let split = told(Transition::SplitBrain {
        endpoints: vec!["primary".into(), "a".into()],
    });
    assert!(
        split.0
            && split.1 == "SplitBrainSuspected"
            && split.2 == "primary, a take writes at the same time; orders-rw stays where it is.",
        "{split:?}"
    );
    let ended = told(Transition::SplitBrain {
        endpoints: Vec::new(),
    });
    assert!(!ended.0 && ended.1 == "SplitBrainEnded", "{ended:?}");
    let identity = told(Transition::IdentityChanged { known: 7, shown: 8 });
    assert!(
        identity.0 && identity.2.contains("identifier 8, not 7"),
        "{identity:?}"
    );
}

#[test]
fn that_a_class_leaves_an_endpoint_and_returns_is_told() {
    let told = |from, to| {
        let told = notice(&Transition::Class {
            id: "a".into(),
            class: "reports".into(),
            from,
            to,
        })?;
        assert_eq!(told.endpoint.as_deref(), Some("a"));
        Some((told.warning, told.reason, told.note))
    };
    let notice = |warning, reason: &str, note: &str| Some((warning, reason.to_owned(), note.to_owned()));
    assert_eq!(
        told(Some(Reason::Serving), Reason::ProbeQueryFailed),
        notice(
            true,
            "ClassLeft",
            "Class reports no longer uses endpoint a: ProbeQueryFailed."
        )
    );
    assert_eq!(
        told(Some(Reason::ProbeQueryFailed), Reason::Returning),
        notice(
            false,
            "ClassReturning",
            "Class reports returns to endpoint a, with a growing share."
        )
    );
    assert_eq!(
        told(Some(Reason::Returning), Reason::Serving),
        notice(false, "ClassReturned", "Class reports may use endpoint a again.")
    );
    assert_eq!(told(None, Reason::LagUnknown), None, "the first look");
    assert!(told(Some(Reason::Serving), Reason::LagUnknown).is_some());
}

#[test]
fn every_state_of_a_route_is_told() {
    let states = [
        RouteState::Served,
        RouteState::Fallback,
        RouteState::Held,
        RouteState::Empty,
    ];
    for state in states {
        let well = matches!(state, RouteState::Served | RouteState::Fallback);
        for change in [Transition::Writes { state }, Transition::Reads { state }] {
            let notice = notice(&change).unwrap();
            assert_eq!(notice.warning, !well, "{change:?}");
            let names_the_service = notice.note.contains("orders-rw") || notice.note.contains("orders-ro");
            assert_eq!(names_the_service, !well, "{}", notice.note);
        }
    }
}

#[test]
fn without_services_a_note_names_the_route() {
    let state = RouteState::Empty;
    let notice = super::notice(&Transition::Reads { state }, None).unwrap();
    assert_eq!(
        notice.note,
        "No server may serve reads; the route ro leads nowhere."
    );
}

#[test]
fn a_condition_is_told_when_it_turns_and_not_again() {
    let (no, yes) = (
        condition("Ready", "False", "NoPrimary"),
        condition("Ready", "True", "Routable"),
    );
    let told = conditions(std::slice::from_ref(&no), std::slice::from_ref(&yes));
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].reason.as_str(), told[0].warning, told[0].note.as_str()),
        ("Ready", false, "Routable: Why.")
    );
    assert!(conditions(std::slice::from_ref(&yes), std::slice::from_ref(&yes)).is_empty());
    let told = conditions(&[yes], &[no]);
    assert_eq!((told[0].reason.as_str(), told[0].warning), ("NotReady", true));
}

#[test]
fn a_suspended_policy_is_not_called_ready() {
    let (ready, suspended) = (
        condition("Ready", "True", "Routable"),
        condition("Ready", "Unknown", "Suspended"),
    );
    assert_eq!(conditions(&[ready], &[suspended])[0].reason, "Suspended");
}

#[test]
fn waiting_is_not_told() {
    let waiting = condition("Programmed", "False", "Waiting");
    assert!(conditions(&[], &[waiting]).is_empty());
}

#[test]
fn a_fallback_names_who_serves_and_at_its_end_who_returned() {
    let turn = |active, from: &[&str], to: &[&str]| {
        let ids = |ids: &[&str]| ids.iter().map(|id| EndpointId::from(*id)).collect();
        let change = Transition::ReadFallback {
            active,
            from: ids(from),
            to: ids(to),
        };
        notice(&change).unwrap().note
    };
    assert_eq!(
        turn(true, &["a", "b"], &["primary"]),
        "Too few replicas are eligible: reads go to primary."
    );
    assert_eq!(
        turn(false, &["primary"], &["a", "b"]),
        "a, b are back. Reads go to a, b and need no fallback."
    );
    assert_eq!(
        turn(false, &["a", "primary"], &["a"]),
        "Reads go to a and need no fallback."
    );
}
