mod held;
mod history;
mod secrets;

use std::sync::{Arc, LazyLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::*;
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Declaration, Secrets, Services};
use distributary_core::cluster::Cluster;
use distributary_core::decision::DecisionState;
use distributary_core::fixture;
use distributary_core::health::Reason;
use distributary_core::ids::TargetId;
use distributary_core::login::SecretProblem;
use distributary_core::observation::FailureKind;
use distributary_core::plan::RoutingPlan;
use distributary_core::plan::{Admission, Member, Route, RouteState};
use distributary_core::server::{Host, Location};
use distributary_core::sqlstate::Sqlstate;
use distributary_core::write_primary::{Holding, IdentityChange};

/// A primary and the replica `a`.
static DECLARED: LazyLock<Declaration> = LazyLock::new(|| {
    declared(serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [{"id": "a", "host": "198.18.0.2"}],
        },
    }))
});

fn declared(object: serde_json::Value) -> Declaration {
    let object: ReplicaSetPolicy = serde_json::from_value(object).unwrap();
    let endpoints = validate::resolve(&object, &Secrets::new(), &Services::new());
    validate::policy(&object)
        .unwrap()
        .with(endpoints, Cluster::default())
}

fn view(id: &str, declared: DeclaredRole, role: Role) -> EndpointView {
    let address = if id == "a" {
        [198, 18, 0, 2]
    } else {
        [198, 18, 0, 1]
    };
    EndpointView {
        declared,
        location: Some(Location {
            host: Host::Address(address.into()),
            port: 5432,
        }),
        address: Some(address.into()),
        state: TargetState {
            role: Some(role),
            ..fixture::serving()
        },
        ..fixture::view(id)
    }
}

fn route(id: &str, last: u8) -> Route {
    let member = Member {
        target: TargetId::host(id.into()),
        address: [198, 18, 0, last].into(),
        port: 5432,
        weight: 100,
        in_slice: true,
        in_uris: true,
        carried: true,
        order: 0,
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
        ..RoutingPlan::default()
    };
    let mut endpoints = vec![
        view("primary", DeclaredRole::Primary, Role::Primary),
        view("a", DeclaredRole::Replica, Role::Standby),
    ];
    edit(&mut plan, &mut endpoints);
    of(DecisionState::Decided(Box::new(RouteDecision {
        plan,
        endpoints,
        holding: holding(),
        split: Vec::new(),
        changed: None,
        unproven: false,
        proven: true,
        warm: true,
        found: None,
    })))
}

fn of(state: DecisionState) -> Decision {
    Decision {
        policy: Arc::clone(&DECLARED.policy),
        resolved: Arc::clone(&DECLARED.resolved),
        state,
        answered: None,
        recalled: 0,
    }
}

/// The declared primary holds the writes.
fn holding() -> Holding {
    Holding {
        identity: Some(7_301_000_000_000_000_007),
        holder: Some(TargetId::host("primary".into())),
        timeline: Some(3),
        ..Holding::default()
    }
}

/// A decision after `edit` of all that was decided.
fn decided(edit: impl FnOnce(&mut RouteDecision)) -> Decision {
    let mut decision = well();
    if let DecisionState::Decided(decided) = &mut decision.state {
        edit(decided);
    }
    decision
}

fn well() -> Decision {
    decision(|_, _| {})
}

fn suspect() -> Decision {
    decision(|plan, endpoints| {
        plan.ro.state = RouteState::Fallback;
        endpoints[1].state.reason = Reason::Suspect;
        endpoints[1].state.failure = Some(FailureKind::ConnectRefused);
        endpoints[1].state.eligible = false;
        endpoints[1].healthy = false;
    })
}

fn report(decision: &Decision) -> Report<'_> {
    Report {
        generation: 3,
        problems: &[],
        unresolved: &[],
        decision: Some(decision),
        outputs: Some(&DECLARED.outputs),
        written: WriteOutcome::Programmed,
        remembered: true,
        signed: true,
        revision: Some("abc"),
        moment: Moment::default(),
    }
}

fn missing(secret: &str) -> UnresolvedSecret {
    UnresolvedSecret {
        secret: secret.to_owned(),
        problem: SecretProblem::NotFound,
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
        |view| view.state.role = None,
        |view| {
            view.state.circuit = Circuit::HalfOpen {
                step: 0,
                successes: 0,
            }
        },
        |view| view.state.eligible = false,
        |view| view.state.reason = Reason::Returning,
        |view| view.state.failure = Some(FailureKind::Saturated),
        |view| view.state.weight = 10,
    ];
    for (number, edit) in edits.into_iter().enumerate() {
        let changed = decision(|_, endpoints| edit(&mut endpoints[1]));
        let after = status(&report(&changed), &first(), &at(2));
        assert_eq!(after.endpoints[1].since, at(2), "edit {number}");
    }
}

#[test]
fn a_step_forward_within_one_circuit_state_is_no_change() {
    let at_step = |successes| {
        decision(|_, endpoints| endpoints[1].state.circuit = Circuit::HalfOpen { step: 0, successes })
    };
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
    assert_eq!(status.conditions.len(), 11);
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

fn refused(category: &'static str) -> WriteOutcome {
    let write = |object: &str| RefusedWrite {
        object: object.to_owned(),
        verb: "create",
        refusal: Refusal::new(category, "quota \u{1b}[31mexceeded"),
    };
    let objects = ["Service a", "Service b", "Service c", "Service d", "Service e"];
    WriteOutcome::Refused(objects.map(write).into())
}

#[test]
fn refused_writes_are_told_in_the_words_of_the_api_server() {
    let decision = decision(|_, _| {});
    for (category, stalled) in [
        ("Forbidden", "True"),
        ("Invalid", "True"),
        ("TooManyRequests", "False"),
    ] {
        let report = Report {
            written: refused(category),
            ..report(&decision)
        };
        let after = status(&report, &first(), &at(2));
        let told = condition(&after, "Programmed");
        let first_one = format!("create Service a: {category} (quota \\u{{1b}}[31mexceeded)");
        assert!(told.message.contains(&first_one), "{}", told.message);
        assert!(
            told.message.contains("Service d") && told.message.contains("; and 1 more."),
            "{}",
            told.message
        );
        assert_eq!(condition(&after, "Stalled").status, stalled, "{category}");
    }
    let long = Refusal::new("Forbidden", &"x".repeat(300)).message;
    assert_eq!(long.chars().count(), 256);
    let escaped = Refusal::new("Forbidden", &"\u{1b}".repeat(300)).message;
    assert_eq!(escaped.chars().count(), 256, "escapes count");
    assert!(long.ends_with('…'));
}

/// The next process goes by it.
#[test]
fn the_memory_names_who_holds_the_writes() {
    let memory = first().memory.unwrap();
    let holder = memory.holder.unwrap();
    assert_eq!(
        (holder.endpoint.as_str(), holder.address.as_deref(), holder.port),
        ("primary", Some("198.18.0.1"), Some(5432))
    );
    assert_eq!(memory.timeline, Some(3));
    assert_eq!(memory.system_identifier.as_deref(), Some("7301000000000000007"));
}

#[test]
fn references_are_unresolved_by_a_service_only_where_no_secret_is_missing() {
    let service = UnresolvedReference::Service("Service pg has no such port".to_owned());
    let secret = UnresolvedReference::Secret(missing("probe"));
    let decision = well();
    for (unresolved, reason, message) in [
        (
            vec![service.clone()],
            "ServiceUnresolved",
            "Service pg has no such port",
        ),
        (
            vec![secret, service],
            "SecretUnresolved",
            "Secret probe does not exist; Service pg has no such port",
        ),
    ] {
        let report = Report {
            unresolved: &unresolved,
            ..report(&decision)
        };
        let after = status(&report, &first(), &at(2));
        let condition = condition(&after, "ResolvedRefs");
        assert_eq!(
            (
                condition.status.as_str(),
                condition.reason.as_str(),
                condition.message.as_str()
            ),
            ("False", reason, message)
        );
    }
}

#[test]
fn what_was_not_written_is_not_reported_as_written() {
    let decision = suspect();
    for written in [
        WriteOutcome::Observing,
        refused("ServerError"),
        WriteOutcome::NameConflict(vec!["Service orders-rw".to_owned()]),
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

/// The next process goes on from what was decided, not from what could be written.
#[test]
fn who_takes_the_writes_is_told_also_where_a_write_failed() {
    let mut moved = decision(|plan, endpoints| {
        plan.rw = route("a", 2);
        endpoints[1].state.role = Some(Role::Primary);
        endpoints[1].state.seen_as_standby = true;
    });
    if let DecisionState::Decided(decided) = &mut moved.state {
        decided.holding.holder = Some(TargetId::host("a".into()));
        decided.holding.timeline = Some(2);
    }
    for written in [
        refused("ServerError"),
        WriteOutcome::NameConflict(vec!["Service orders-rw".to_owned()]),
        WriteOutcome::ForeignEndpoints(vec!["orders-rw-x".to_owned()]),
    ] {
        let report = Report {
            written,
            ..report(&moved)
        };
        let after = status(&report, &first(), &at(2));
        let primary = after.primary.unwrap();
        assert_eq!((primary.id.as_str(), primary.timeline), ("a", Some(2)));
        let seen: Vec<_> = after
            .endpoints
            .iter()
            .map(|it| it.server.seen_as_standby)
            .collect();
        assert_eq!(seen, [false, true]);
    }
}

#[test]
fn while_it_waits_what_was_known_stays() {
    let waiting = of(DecisionState::Waiting { unchecked: 2 });
    let report = Report {
        written: WriteOutcome::Waiting,
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
fn a_refused_edit_is_not_what_ready_describes() {
    let problems = ["spec.replicas[0].id: must be unique".to_owned()];
    let decision = well();
    let refused = |known| Report {
        problems: &problems,
        generation: 4,
        decision: known,
        ..report(&decision)
    };
    // Whether this process knows the last valid spec, or another one told of it.
    for known in [Some(&decision), None] {
        let after = status(&refused(known), &first(), &at(2));
        assert_eq!(after.observed_generation, Some(4));
        let last = known.map_or(3, |known: &Decision| known.policy.generation);
        let of_types = [
            ("Accepted", 4),
            ("Stalled", 4),
            ("Ready", last),
            ("Degraded", last),
        ];
        for (type_, generation) in of_types {
            let told = condition(&after, type_);
            assert_eq!(told.observed_generation, Some(generation), "{type_}");
        }
    }
}

#[test]
fn a_class_that_nobody_serves_well_is_degraded() {
    let decision = decision(|plan, _| {
        let held = Route {
            state: RouteState::Held,
            ..Route::default()
        };
        plan.classes.insert("reports".into(), held);
    });
    let after = status(&report(&decision), &first(), &at(2));
    let told = condition(&after, "Degraded");
    assert_eq!(
        (told.status.as_str(), told.message.as_str()),
        ("True", "No server is well for these classes: reports.")
    );
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
    let without_weight = decision(|_, endpoints| endpoints[1].state.reason = Reason::WeightZero);
    assert_eq!(display(&without_weight), "0/1", "it serves no reads");
}

/// Where all is well after a failover, nothing is missing.
#[test]
fn the_summary_counts_the_servers_beside_the_one_that_takes_the_writes() {
    let display = |old_primary: fn(&mut EndpointView)| {
        let moved = decided(|decided| {
            decided.holding.holder = Some(TargetId::host("a".into()));
            decided.endpoints[1].state.role = Some(Role::Primary);
            old_primary(&mut decided.endpoints[0]);
        });
        let status = status(&report(&moved), &ReplicaSetPolicyStatus::default(), &at(1));
        status.summary.unwrap().display
    };
    let rejoined = |view: &mut EndpointView| view.state.role = Some(Role::Standby);
    assert_eq!(display(rejoined), "1/1");
    assert_eq!(display(|view| view.healthy = false), "0/1", "it is down");
    assert_eq!(display(|_| {}), "0/1", "it takes writes, too");
    // The policy no longer declares who took the writes.
    let gone = decided(|decided| decided.holding.holder = Some(TargetId::host("gone".into())));
    let gone = status(&report(&gone), &ReplicaSetPolicyStatus::default(), &at(1));
    assert_eq!(gone.summary.unwrap().display, "1/1");
}

#[test]
fn the_primary_is_who_holds_the_writes() {
    let primary = first().primary.unwrap();
    assert_eq!(
        (
            primary.id.as_str(),
            primary.declared.as_str(),
            primary.address.as_deref()
        ),
        ("primary", "primary", Some("198.18.0.1"))
    );
    assert_eq!((primary.timeline, primary.accepted), (Some(3), None));
    let moved = decided(|decided| {
        decided.holding.holder = Some(TargetId::host("a".into()));
        decided.holding.accepted = Some("a".into());
        decided.plan.rw = route("a", 2);
    });
    let primary = status(&report(&moved), &first(), &at(2)).primary.unwrap();
    assert_eq!(
        (
            primary.id.as_str(),
            primary.declared.as_str(),
            primary.accepted.as_deref()
        ),
        ("a", "primary", Some("a"))
    );
}

/// A restart must not forget who held the writes, though nobody takes them now.
#[test]
fn withdrawn_writes_keep_their_holder() {
    let withdrawn = decision(|plan, _| {
        plan.rw.state = RouteState::Empty;
        plan.rw.members.clear();
    });
    let primary = status(&report(&withdrawn), &first(), &at(2)).primary.unwrap();
    assert_eq!((primary.id.as_str(), primary.address), ("primary", None));
    let of_pods = decision(|_, _| {});
    let DecisionState::Decided(mut decided) = of_pods.state else {
        panic!("decided")
    };
    decided.plan.rw = Route::default();
    decided.holding.holder = Some(TargetId {
        endpoint: "primary".into(),
        pod: Some([198, 18, 0, 7].into()),
    });
    let of_pods = Decision {
        state: DecisionState::Decided(decided),
        ..of_pods
    };
    let primary = status(&report(&of_pods), &first(), &at(2)).primary.unwrap();
    assert_eq!(primary.address.as_deref(), Some("198.18.0.7"), "its pod");
}

#[test]
fn the_identity_is_told_as_text() {
    assert_eq!(first().system_identifier.as_deref(), Some("7301000000000000007"));
}

/// The first decision, then what `edit` makes of endpoint `a` at 10 s of the process.
fn open_until(seconds: u64) -> Decision {
    decision(|_, endpoints| {
        let until = Moment::new(std::time::Duration::from_secs(seconds));
        (endpoints[1].state.circuit, endpoints[1].state.trips) = (Circuit::Open { until }, 2);
    })
}

#[test]
fn a_name_that_rotates_is_told_at_its_endpoint() {
    let rotating = decision(|_, endpoints| endpoints[1].state.name_rotates = true);
    let status = status(&report(&rotating), &first(), &at(2));
    let told: Vec<_> = status
        .endpoints
        .iter()
        .map(|endpoint| serde_json::to_value(endpoint).unwrap()["nameRotates"].clone())
        .collect();
    assert_eq!(told, [serde_json::Value::Null, true.into()]);
}

#[test]
fn an_open_circuit_tells_when_it_may_close_and_how_often_it_tripped() {
    let decision = open_until(70);
    let ten = Report {
        moment: Moment::new(std::time::Duration::from_secs(10)),
        ..report(&decision)
    };
    let after = status(&ten, &first(), &at(2));
    assert_eq!(after.endpoints[1].server.retry_at, Some(at(3)));
    assert_eq!(after.endpoints[1].server.trips, 2);
    assert_eq!(after.endpoints[0].server.retry_at, None);
}

/// Two clocks never agree to the second: a difference of rounding is no change.
#[test]
fn the_same_moment_told_again_is_no_change() {
    let decision = open_until(70);
    let told = |seconds, now: &Time, before: &ReplicaSetPolicyStatus| {
        let report = Report {
            moment: Moment::new(std::time::Duration::from_millis(seconds)),
            ..report(&decision)
        };
        status(&report, before, now)
    };
    let before = told(10_000, &at(2), &first());
    assert_eq!(
        told(39_200, &Time("2026-01-01T00:02:30Z".parse().unwrap()), &before),
        before
    );
    assert_eq!(
        told(90_000, &Time("2026-01-01T00:03:20Z".parse().unwrap()), &before),
        before,
        "past"
    );
    assert_ne!(told(10_000, &at(5), &before), before, "another moment");
}

#[test]
fn a_draining_endpoint_tells_the_sessions_that_are_left() {
    let draining = decision(|_, endpoints| endpoints[1].sessions = Some(4));
    let after = status(&report(&draining), &first(), &at(2));
    assert_eq!(after.endpoints[1].sessions, Some(4));
    assert_eq!(after.endpoints[0].sessions, None);
}

fn answered(request: &str, now: &Time) -> ReplicaSetPolicyStatus {
    let mut decision = well();
    decision.answered = Some(request.to_owned());
    status(&report(&decision), &first(), now)
}

#[test]
fn an_answered_request_is_dated_once_and_never_before_the_request() {
    let after = answered("2026-01-01T00:01:30Z", &at(2));
    assert_eq!(after.checked_for.as_deref(), Some("2026-01-01T00:01:30Z"));
    assert!(after.checked_at.clone().unwrap() > at(2));
    let mut decision = well();
    decision.answered = Some("2026-01-01T00:01:30Z".to_owned());
    assert_eq!(status(&report(&decision), &after, &at(9)), after, "once");
    let ahead = answered("2026-01-01T00:04:00Z", &at(2));
    assert_eq!(ahead.checked_at, Some(at(4)), "a clock that is ahead of ours");
    let far = answered("2027-01-01T00:00:00Z", &at(2));
    assert!(far.checked_at.unwrap() < at(3), "no time that is far ahead");
    assert!(answered("now, please", &at(2)).checked_at.is_some());
}

#[test]
fn a_split_brain_names_who_takes_writes_and_where_they_go() {
    let split = decided(|decided| decided.split = vec!["primary".into(), "a".into()]);
    let after = status(&report(&split), &first(), &at(2));
    let condition = condition(&after, "SplitBrainSuspected");
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "SeveralWritable")
    );
    let begins = "primary, a take writes at the same time; orders-rw leads to primary. ";
    assert!(condition.message.starts_with(begins), "{}", condition.message);
    let act = "If primary has the right data, stop a and rebuild what was stopped as a standby; otherwise name the right one in \
               failover.acceptPrimary, and stop primary.";
    assert!(condition.message.ends_with(act), "{}", condition.message);
}

#[test]
fn objects_of_others_are_told_with_the_field_that_chooses_other_names() {
    let message = |objects: &[&str]| {
        let decision = well();
        let report = Report {
            written: WriteOutcome::NameConflict(objects.iter().map(ToString::to_string).collect()),
            ..report(&decision)
        };
        let after = status(&report, &first(), &at(2));
        condition(&after, "Programmed").message.clone()
    };
    let (services, map) = ("outputs.services.namePrefix.", "outputs.configMap.name.");
    assert!(message(&["Service orders-rw"]).ends_with(&format!("choose other names with {services}")));
    assert!(message(&["ConfigMap orders-routing"]).ends_with(&format!("choose other names with {map}")));
    let both = message(&["Service orders-rw", "ConfigMap orders-routing"]);
    assert!(
        both.ends_with("with outputs.services.namePrefix and outputs.configMap.name.")
            && both.contains(": Service orders-rw, ConfigMap orders-routing."),
        "{both}"
    );
}

#[test]
fn a_changed_identity_holds_the_writes_stalls_and_says_what_to_do() {
    let mut changed = decision(|plan, endpoints| {
        plan.rw.state = RouteState::Held;
        endpoints[0].state.reason = Reason::IdentityMismatch;
    });
    if let DecisionState::Decided(decided) = &mut changed.state {
        decided.changed = Some(IdentityChange {
            disputed: false,
            known: 7,
            shown: Some(8),
        });
    }
    let after = status(&report(&changed), &first(), &at(2));
    let shown = |type_| {
        let condition = condition(&after, type_);
        (condition.status.as_str(), condition.reason.as_str())
    };
    assert_eq!(shown("Ready"), ("False", "IdentityChanged"));
    assert_eq!(shown("Stalled"), ("True", "IdentityChanged"));
    assert_eq!(shown("PrimaryReachable"), ("False", "IdentityChanged"));
    assert_eq!(shown("Programmed"), ("True", "Programmed"));
    for type_ in ["Ready", "Stalled"] {
        let message = &condition(&after, type_).message;
        assert!(
            message.contains("primary shows the system identifier 8, not 7"),
            "{message}"
        );
        assert!(message.contains("identity.systemIdentifier"), "{message}");
    }
    assert_eq!(after.system_identifier, first().system_identifier);
    assert_eq!(status(&report(&changed), &after, &at(3)), after, "said once");
}

#[test]
fn a_disputed_identity_asks_a_person_which_database_it_is() {
    let mut disputed = decision(|plan, _| plan.rw = Route::default());
    if let DecisionState::Decided(decided) = &mut disputed.state {
        decided.changed = Some(IdentityChange {
            disputed: true,
            known: 7,
            shown: Some(8),
        });
    }
    let after = status(&report(&disputed), &first(), &at(2));
    for type_ in ["Ready", "Stalled"] {
        let condition = condition(&after, type_);
        assert_eq!(condition.reason, "IdentityChanged");
        let begins = "primary shows the system identifier 8, not 7 as others do: ";
        assert!(condition.message.starts_with(begins), "{}", condition.message);
        for act in ["identity.systemIdentifier", "failover.acceptPrimary"] {
            assert!(condition.message.contains(act), "{}", condition.message);
        }
    }
}

#[test]
fn without_a_write_primary_those_that_take_writes_are_named() {
    let message = |roles: &[(usize, Reason)]| {
        let none = decision(|plan, endpoints| {
            plan.rw = Route::default();
            for (number, reason) in roles {
                endpoints[*number].state.role = Some(Role::Primary);
                endpoints[*number].state.reason = *reason;
            }
        });
        let after = status(&report(&none), &first(), &at(2));
        condition(&after, "Ready").message.clone()
    };
    let none = "No server is proven to be the write primary: orders-rw leads nowhere.";
    assert_eq!(message(&[]), none);
    let named = "a takes writes: name the right one in failover.acceptPrimary.";
    assert_eq!(
        message(&[(1, Reason::WritableReplica)]),
        format!("{none} {named}")
    );
    assert_eq!(
        message(&[(1, Reason::IdentityMismatch)]),
        format!("{none} a: IdentityMismatch.")
    );
}

#[test]
fn an_unknown_lag_says_what_to_do_about_it() {
    let unknown = decision(|_, endpoints| endpoints[1].state.reason = Reason::LagUnknown);
    let after = status(&report(&unknown), &first(), &at(2));
    let message = &condition(&after, "Degraded").message;
    assert!(
        message.contains("a: LagUnknown") && message.contains("replicationLag.source"),
        "{message}"
    );
}

#[test]
fn an_error_without_a_kind_of_its_own_is_told_by_its_sqlstate() {
    let refused = decision(|_, endpoints| {
        endpoints[1].state.reason = Reason::AnswersWithError;
        endpoints[1].state.failure = Some(FailureKind::OtherError);
        endpoints[1].state.sqlstate = Sqlstate::new("42501");
    });
    let after = status(&report(&refused), &first(), &at(2));
    let server = &after.endpoints[1].server;
    assert_eq!(
        (server.failure.as_deref(), server.sqlstate.as_deref()),
        (Some("OtherError"), Some("42501"))
    );
    let message = &condition(&after, "Degraded").message;
    assert_eq!(message, "a: AnswersWithError (SQLSTATE 42501)");
}

#[test]
fn a_pool_that_is_larger_than_its_server_is_a_warning() {
    let large = decision(|_, endpoints| endpoints[1].state.usable_connections = Some(47));
    let after = status(&report(&large), &first(), &at(2));
    assert_eq!(after.endpoints[1].server.usable_connections, Some(47));
    let degraded = condition(&after, "Degraded");
    assert_eq!((&*degraded.status, &*degraded.reason), ("False", "AllServing"));
    let warning = "maxConnections is more than the server has for ordinary roles: a 47.";
    assert_eq!(
        degraded.message,
        format!("Every active endpoint is well. {warning}")
    );
    let both = decision(|_, endpoints| {
        endpoints[1].state.usable_connections = Some(47);
        endpoints[1].state.reason = Reason::Suspect;
    });
    let after = status(&report(&both), &first(), &at(2));
    let message = &condition(&after, "Degraded").message;
    assert!(message.ends_with(&format!(". {warning}")), "{message}");
}

#[test]
fn a_limit_of_the_role_that_is_too_low_is_told_while_all_is_well_and_beside_what_is_not() {
    let limited = decision(|_, endpoints| endpoints[1].state.role_limit = Some(1));
    let after = status(&report(&limited), &first(), &at(2));
    assert_eq!(after.endpoints[1].server.connection_limit, Some(1));
    let degraded = condition(&after, "Degraded");
    assert_eq!(
        (&*degraded.status, &*degraded.reason),
        ("True", "ConnectionLimit")
    );
    assert!(
        degraded
            .message
            .starts_with("The CONNECTION LIMIT of the role is low: a 1. "),
        "{}",
        degraded.message
    );
    assert!(
        degraded.message.contains("two Pods need 4"),
        "{}",
        degraded.message
    );
    assert_eq!(condition(&after, "Ready").status, "True");
    let both = decision(|_, endpoints| {
        endpoints[1].state.role_limit = Some(1);
        endpoints[1].state.reason = Reason::Saturated;
        endpoints[1].state.failure = Some(FailureKind::Saturated);
    });
    let after = status(&report(&both), &first(), &at(2));
    let degraded = condition(&after, "Degraded");
    assert_eq!(degraded.reason, "EndpointsNotServing");
    let begins = "a: Saturated (Saturated). The CONNECTION LIMIT of the role is low: a 1. ";
    assert!(degraded.message.starts_with(begins), "{}", degraded.message);
}

fn pod(last: u8, eligible: bool) -> TargetView {
    TargetView {
        state: TargetState {
            role: Some(Role::Standby),
            eligible,
            reason: if eligible {
                Reason::Serving
            } else {
                Reason::Suspect
            },
            ..fixture::serving()
        },
        healthy: eligible,
        ..fixture::pod(last)
    }
}

#[test]
fn whether_the_primary_is_reachable_is_asked_of_the_pod_that_holds_the_writes() {
    let mut pods = decision(|_, endpoints| {
        endpoints[0].state.role = Some(Role::Standby);
        endpoints[0].state.reason = Reason::Suspect;
        let mut writes = pod(20, true);
        writes.state.role = Some(Role::Primary);
        endpoints[0].targets = vec![writes, pod(21, false)];
    });
    let reachable = |pods: &mut Decision, last: u8| {
        if let DecisionState::Decided(decided) = &mut pods.state {
            decided.holding.holder = Some(TargetId {
                endpoint: "primary".into(),
                pod: Some([198, 18, 0, last].into()),
            });
        }
        let after = status(&report(pods), &first(), &at(2));
        condition(&after, "PrimaryReachable").reason.clone()
    };
    assert_eq!(reachable(&mut pods, 20), "Writable");
    assert_eq!(reachable(&mut pods, 21), "InRecovery");
}

#[test]
fn the_pods_of_an_endpoint_are_told_each() {
    let pods = decision(|_, endpoints| endpoints[1].targets = vec![pod(20, true), pod(21, false)]);
    let after = status(&report(&pods), &first(), &at(2));
    let told: Vec<_> = after.endpoints[1]
        .targets
        .iter()
        .map(|target| (target.address.as_str(), target.server.reason.as_str()))
        .collect();
    assert_eq!(told, [("198.18.0.20", "Serving"), ("198.18.0.21", "Suspect")]);
    assert_eq!(status(&report(&pods), &after, &at(3)), after);
}

#[test]
fn who_is_contested_is_told_by_the_server_or_the_endpoint() {
    let decision = decided(|decided| {
        decided
            .holding
            .contested
            .insert("198.18.0.2:5432".parse().unwrap());
        decided.holding.contested_endpoints.insert("a".into());
    });
    assert_eq!(memory(&decision).unwrap().contested, ["198.18.0.2:5432", "a"]);
}

/// Who never calls `plan` is told all the same.
#[test]
fn what_a_policy_says_in_vain_is_told_by_accepted() {
    let declared = declared(serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [{"id": "a", "host": "198.18.0.2", "region": "us-east-1"}],
            "loadBalancing": {"regions": [{"name": "us-east-1", "failover": ["us-west-2"]}]},
            "routing": {"classes": [
                {"name": "reports", "operations": ["reports"], "replicaSelector": {"tags": ["reporting"]}},
            ]},
        },
    }));
    let decision = Decision {
        policy: Arc::clone(&declared.policy),
        ..well()
    };
    let after = status(&report(&decision), &first(), &at(2));
    let accepted = condition(&after, "Accepted");
    assert_eq!(
        (
            accepted.status.as_str(),
            accepted.reason.as_str(),
            accepted.message.as_str()
        ),
        (
            "True",
            "Valid",
            "The policy is valid. Warning: routing.classes[reports].replicaSelector.tags: no server has the tag reporting; \
             loadBalancing.regions[us-east-1].failover: no server is in the region us-west-2."
        )
    );
    assert_eq!(condition(&first(), "Accepted").message, "The policy is valid.");
}
