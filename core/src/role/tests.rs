use super::*;
use crate::breaker::{Breaker, Circuit};
use crate::class_states::ClassStates;
use crate::fixture::Case;
use crate::fixture::{SYSTEM, address, at, policy};
use crate::observation::FailureKind;
use crate::policy::PrimaryRole;
use crate::suspicion::Suspicion;

/// A target of the policy in a state that `edit` made of a good one; replicas are standbys.
fn judged(
    id: &str,
    edit: impl FnOnce(&mut Case, &mut Health, &mut Replay, &mut Holding),
) -> (Standing, Reason) {
    judged_as(FollowingState::Presumed, id, edit)
}

fn judged_as(
    following: FollowingState,
    id: &str,
    edit: impl FnOnce(&mut Case, &mut Health, &mut Replay, &mut Holding),
) -> (Standing, Reason) {
    let mut policy = policy(&["a"]);
    let target = TargetId::host(id.into());
    let role = if id == "primary" {
        Role::Primary
    } else {
        Role::Standby
    };
    let mut health = Health {
        role: Some(role),
        address: Some(address(2)),
        system_identifier: Some(SYSTEM),
        checked: true,
        admitted: true,
        ..Health::default()
    };
    let mut replay = Replay::fresh_since(at(0));
    let mut holding = Holding {
        identity: Some(SYSTEM),
        holder: Some(TargetId::host("primary".into())),
        ..Holding::default()
    };
    edit(&mut policy, &mut health, &mut replay, &mut holding);
    let known = Evidence {
        id: &target,
        endpoint: policy.endpoint(&target.endpoint).unwrap(),
        by_service: false,
        pod_of_standby: false,
        port: Some(5432),
        health: &health,
        replay: &replay,
        following,
        class_states: &ClassStates::default(),
    };
    let judgement = known.judge(&policy.policy(), &holding);
    (judgement.standing, judgement.reason)
}

fn open(health: &mut Health) {
    health.breaker = Breaker::restored(Circuit::Open { until: at(9) }, 1, at(0));
}

#[test]
fn a_good_standby_and_the_holder_serve() {
    for id in ["primary", "a"] {
        assert_eq!(
            judged(id, |_, _, _, _| {}),
            (Standing::Good, Reason::Serving),
            "{id}"
        );
    }
}

#[test]
fn the_administrative_state_comes_first() {
    for (state, reason) in [
        (EndpointState::Disabled, Reason::Disabled),
        (EndpointState::Draining, Reason::Draining),
    ] {
        let verdict = judged("a", |policy, health, _, _| {
            policy.endpoints[1].state = state;
            health.system_identifier = Some(SYSTEM + 1);
        });
        assert_eq!(verdict, (Standing::Excluded, reason));
    }
}

#[test]
fn then_the_identity_silent_or_not() {
    let mismatch = (Standing::Excluded, Reason::IdentityMismatch);
    let other_database = |health: &mut Health| health.system_identifier = Some(SYSTEM + 1);
    assert_eq!(judged("a", |_, health, _, _| other_database(health)), mismatch);
    let silent = judged("a", |_, health, _, _| {
        other_database(health);
        open(health);
        health.failure = Some(FailureKind::TimedOut);
    });
    assert_eq!(silent, mismatch);
    assert_eq!(
        judged("a", |_, health, _, _| health.other_database = true),
        mismatch
    );
    let unchecked = judged("a", |policy, health, _, _| {
        policy.identity = IdentityRule::Unchecked;
        policy.failover.primary_role = PrimaryRole::Pinned;
        other_database(health);
    });
    assert_eq!(unchecked, (Standing::Good, Reason::Serving));
    let untold = judged("a", |_, health, _, _| health.system_identifier = None);
    assert_eq!(
        untold,
        (Standing::Good, Reason::Serving),
        "who does not tell is not proven wrong"
    );
}

#[test]
fn a_primary_that_is_configured_to_take_no_writes_is_told_and_stays() {
    let read_only = |id, edit: fn(&mut Health)| {
        judged(id, |_, health, _, _| {
            (health.role, health.read_only) = (Some(Role::Primary), true);
            edit(health);
        })
    };
    assert_eq!(read_only("primary", |_| {}), (Standing::Good, Reason::ReadOnly));
    let returning = read_only("primary", |health| {
        let circuit = Circuit::HalfOpen {
            step: 0,
            successes: 0,
        };
        health.breaker = Breaker::restored(circuit, 1, at(0));
    });
    assert!(matches!(
        returning,
        (Standing::Returning { .. }, Reason::ReadOnly)
    ));
    // A check that tells nothing of it takes nothing back.
    for kind in [
        FailureKind::Saturated,
        FailureKind::OtherError,
        FailureKind::AuthenticationFailed,
        FailureKind::OutOfResources,
    ] {
        let told = judged("primary", |_, health, _, _| {
            (health.read_only, health.failure) = (true, Some(kind));
        });
        assert_eq!(told, (Standing::Good, Reason::ReadOnly), "{kind}");
    }
    // What keeps it from its routes says more.
    assert_eq!(read_only("primary", open).1, Reason::CircuitOpen);
    assert_eq!(read_only("a", |_| {}).1, Reason::WritableReplica);
}

#[test]
fn then_the_role() {
    let writable = judged("a", |_, health, _, _| health.role = Some(Role::Primary));
    assert_eq!(writable, (Standing::Excluded, Reason::WritableReplica));
    let old = judged("primary", |_, _, _, holding| {
        holding.holder = Some(TargetId::host("a".into()));
    });
    assert_eq!(
        old,
        (Standing::Excluded, Reason::WritableReplica),
        "the declared one too"
    );
    let first = judged("primary", |_, _, _, holding| holding.holder = None);
    assert_eq!(
        first,
        (Standing::Good, Reason::Serving),
        "before there ever was a holder"
    );
}

#[test]
fn an_old_primary_that_is_down_says_so_and_stays_wrong() {
    let dead = judged("primary", |_, health, _, holding| {
        holding.holder = Some(TargetId::host("a".into()));
        open(health);
        health.failure = Some(FailureKind::ConnectRefused);
    });
    assert_eq!(dead, (Standing::Excluded, Reason::CircuitOpen));
    // Back, and writable: its circuit is not what keeps it out.
    let back = judged("primary", |_, health, _, holding| {
        holding.holder = Some(TargetId::host("a".into()));
        open(health);
        (health.role, health.failure) = (Some(Role::Primary), None);
    });
    assert_eq!(back, (Standing::Excluded, Reason::WritableReplica));
}

#[test]
fn a_standby_that_diverged_is_wrong() {
    let diverged = judged_as(FollowingState::Diverged, "a", |_, _, _, _| ());
    assert_eq!(diverged, (Standing::Excluded, Reason::Diverged));
}

#[test]
fn then_health_and_only_then_lag() {
    for (freshness, reason) in [
        (Freshness::Lagging, Reason::Lagging),
        (Freshness::Stalled, Reason::ReplayStalled),
        (Freshness::Unknown, Reason::LagUnknown),
    ] {
        let behind = judged("a", |_, _, replay, _| replay.freshness = freshness);
        assert_eq!(behind, (Standing::Behind, reason));
        let suspect = judged("a", |_, health, replay, _| {
            replay.freshness = freshness;
            health.suspicion = Suspicion::Out {
                since: at(0),
                answers: 1,
            };
        });
        assert_eq!(
            suspect,
            (Standing::Unhealthy { answers: false }, Reason::Suspect),
            "not early either"
        );
        let open = judged("a", |_, health, replay, _| {
            replay.freshness = freshness;
            open(health);
        });
        assert_eq!(
            open,
            (Standing::Unhealthy { answers: false }, Reason::CircuitOpen)
        );
        let returning = judged("a", |_, health, replay, _| {
            replay.freshness = freshness;
            health.breaker = Breaker::restored(
                Circuit::HalfOpen {
                    step: 0,
                    successes: 0,
                },
                1,
                at(0),
            );
        });
        assert_eq!(returning, (Standing::Behind, reason));
        let not_judged = judged("a", |policy, _, replay, _| {
            policy.endpoints[1].lag.source = LagSource::None;
            replay.freshness = freshness;
        });
        assert_eq!(
            not_judged,
            (Standing::Good, Reason::Serving),
            "where lag is not judged"
        );
    }
}

#[test]
fn a_primary_has_no_lag() {
    let verdict = judged("primary", |_, _, replay, _| replay.freshness = Freshness::Unknown);
    assert_eq!(verdict, (Standing::Good, Reason::Serving));
}

#[test]
fn a_declared_primary_in_recovery_serves_reads_and_says_so_while_nobody_else_holds_the_writes() {
    let standby = |health: &mut Health| health.role = Some(Role::Standby);
    let vacant = judged("primary", |_, health, _, _| standby(health));
    assert_eq!(vacant, (Standing::Good, Reason::PrimaryInRecovery));
    let saturated = judged("primary", |_, health, _, _| {
        standby(health);
        health.failure = Some(FailureKind::Saturated);
    });
    assert_eq!(saturated, (Standing::Good, Reason::PrimaryInRecovery));
    let rejoined = judged("primary", |_, health, _, holding| {
        standby(health);
        holding.holder = Some(TargetId::host("a".into()));
    });
    assert_eq!(
        rejoined,
        (Standing::Good, Reason::Serving),
        "a former primary that rejoined"
    );
}

#[test]
fn a_standby_of_weight_0_says_so() {
    let verdict = judged("a", |policy, _, _, _| policy.endpoints[1].weight = 0);
    assert_eq!(verdict, (Standing::Good, Reason::WeightZero));
}

#[test]
fn only_who_is_active_and_was_seen_counts_for_the_writes() {
    let claims = |state, address| {
        let mut policy = policy(&["a"]);
        policy.endpoints[1].state = state;
        let health = Health {
            address,
            ..Health::default()
        };
        let target = TargetId::host("a".into());
        let known = Evidence {
            id: &target,
            endpoint: &policy.endpoints[1],
            by_service: false,
            pod_of_standby: false,
            port: Some(6432),
            health: &health,
            replay: &Replay::default(),
            following: FollowingState::default(),
            class_states: &ClassStates::default(),
        };
        known
            .claim(|server| server.port() == 6432)
            .map(|claim| claim.was_standby)
    };
    let seen = Some(address(2));
    assert_eq!(claims(EndpointState::Active, seen), Some(true));
    assert_eq!(claims(EndpointState::Active, None), None);
    assert_eq!(claims(EndpointState::Draining, seen), None);
    assert_eq!(claims(EndpointState::Disabled, seen), None);
}
