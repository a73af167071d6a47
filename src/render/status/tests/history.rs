//! Who serves each route, and when others took over.

use super::*;

/// A status that follows `before`, of a decision that `edit` made.
fn after(
    before: &ReplicaSetPolicyStatus,
    minute: u32,
    edit: impl FnOnce(&mut RouteDecision),
) -> ReplicaSetPolicyStatus {
    let mut decision = well();
    let DecisionState::Decided(decided) = &mut decision.state else {
        panic!("it is decided");
    };
    edit(decided);
    status(&report(&decision), before, &at(minute))
}

fn lost(decided: &mut RouteDecision) {
    decided.plan.ro = Route {
        state: RouteState::Fallback,
        ..route("primary", 1)
    };
    decided.endpoints[1].state.reason = Reason::CircuitOpen;
    decided.endpoints[1].state.failure = Some(FailureKind::ConnectRefused);
}

/// `kind route from>to reason`, each on a line.
fn told(status: &ReplicaSetPolicyStatus) -> Vec<String> {
    let one = |failover: &distributary_api::FailoverStatus| {
        let (from, to) = (failover.from.join(","), failover.to.join(","));
        format!(
            "{} {} {from}>{to} {}",
            failover.kind, failover.route, failover.reason
        )
    };
    status.failovers.iter().map(one).collect()
}

#[test]
fn each_route_names_who_serves_it() {
    let routes: Vec<_> = first()
        .routes
        .into_iter()
        .map(|route| format!("{} {} {}", route.name, route.state, route.endpoints.join(",")))
        .collect();
    assert_eq!(routes, ["rw Served primary", "ro Served a"]);
    assert!(first().failovers.is_empty());
}

#[test]
fn a_fallback_and_its_end_are_remembered_once_each_with_the_reason() {
    let fallback = after(&first(), 2, lost);
    assert_eq!(
        told(&fallback),
        ["ReadFallback ro a>primary a: CircuitOpen (ConnectRefused)"]
    );
    assert_eq!(fallback.failovers[0].at, at(2));
    let same = after(&fallback, 3, lost);
    assert_eq!(same.failovers, fallback.failovers, "it goes on");
    let back = after(&same, 4, |_| {});
    assert_eq!(told(&back)[1], "ReadFallbackEnded ro primary>a primary: Serving");
}

#[test]
fn a_primary_that_moved_is_remembered() {
    let moved = after(&first(), 2, |decided| {
        decided.plan.rw = route("a", 2);
        decided.holding.holder = Some(TargetId::host("a".into()));
        decided.endpoints[0].state.reason = Reason::Suspect;
    });
    assert_eq!(told(&moved), ["PrimaryMoved rw primary>a primary: Suspect"]);
    let withdrawn = after(&moved, 3, |decided| {
        decided.plan.rw = Route::default();
        decided.holding.holder = Some(TargetId::host("a".into()));
    });
    assert_eq!(told(&withdrawn)[1], "WritesWithdrawn rw a> a: Serving");
}

/// Two endpoints exchange their hosts, and the writes stay on their server.
#[test]
fn another_id_of_the_server_that_takes_the_writes_is_no_failover() {
    let renamed = after(&first(), 2, |decided| {
        decided.plan.rw = route("a", 1);
        decided.holding.holder = Some(TargetId::host("a".into()));
    });
    assert_eq!(renamed.primary.as_ref().map(|primary| &*primary.id), Some("a"));
    assert_eq!(told(&renamed), Vec::<String>::new());
}

#[test]
fn the_last_ten_are_kept() {
    let mut status = first();
    for minute in 2..20 {
        status = if minute % 2 == 0 {
            after(&status, minute, lost)
        } else {
            after(&status, minute, |_| {})
        };
    }
    assert_eq!(status.failovers.len(), 10);
    assert_eq!(status.failovers[9].at, at(19));
    assert_eq!(status.failovers[0].at, at(10));
}

#[test]
fn what_is_only_observed_is_shown_and_no_failover() {
    let mut decision = well();
    let DecisionState::Decided(decided) = &mut decision.state else {
        panic!("it is decided");
    };
    lost(decided);
    let observed = Report {
        written: WriteOutcome::Observing,
        ..report(&decision)
    };
    let status = status(&observed, &first(), &at(2));
    assert_eq!(status.routes[1].endpoints, ["primary"]);
    assert!(status.failovers.is_empty());
    let notice = crate::render::events::observed(&first().routes, &status.routes).unwrap();
    assert_eq!(
        (notice.reason.as_str(), notice.note.as_str()),
        (
            "WouldRoute",
            "mode is Observe; the operator would route ro to primary (Fallback)."
        )
    );
    assert_eq!(
        crate::render::events::observed(&status.routes, &status.routes),
        None
    );
}

#[test]
fn a_region_that_is_left_and_regained_is_remembered() {
    let object = serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1"},
        "spec": {
            "primary": {"host": "198.18.0.1"},
            "replicas": [
                {"id": "a", "host": "198.18.0.2", "region": "east"},
                {"id": "b", "host": "198.18.0.3", "region": "west"},
            ],
            "loadBalancing": {"regions": [{"name": "east"}]},
        },
    });
    let Declaration { policy, resolved, .. } = declared(object);
    let after = |before: &ReplicaSetPolicyStatus, minute, id: &str, last| {
        let mut decision = well();
        decision.policy = Arc::clone(&policy);
        decision.resolved = Arc::clone(&resolved);
        let DecisionState::Decided(decided) = &mut decision.state else {
            panic!("it is decided");
        };
        decided.plan.regions.insert("east".to_owned(), route(id, last));
        status(&report(&decision), before, &at(minute))
    };
    let near = after(&ReplicaSetPolicyStatus::default(), 1, "a", 2);
    let far = after(&near, 2, "b", 3);
    assert_eq!(told(&far), ["RegionLeft ro-east a>b a: Serving"]);
    let back = after(&far, 3, "a", 2);
    assert_eq!(told(&back)[1], "RegionRegained ro-east b>a ");
}
