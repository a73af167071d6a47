use super::*;
use crate::decision::TargetState;
use crate::fixture::{self, address};
use crate::ids::TargetId;
use crate::plan::{Admission, Member};
use crate::write_primary::{Holding, IdentityChange};

const WELL: [RouteState; 2] = [RouteState::Served, RouteState::Fallback];
const UNWELL: [RouteState; 2] = [RouteState::Held, RouteState::Empty];

fn view(id: &str, reason: Reason) -> EndpointView {
    EndpointView {
        state: TargetState {
            reason,
            ..fixture::serving()
        },
        ..fixture::view(id)
    }
}

fn route(state: RouteState, members: &[(&str, Admission)]) -> Route {
    let member = |(id, admission): &(&str, Admission)| Member {
        target: TargetId {
            endpoint: (*id).into(),
            pod: None,
        },
        address: address(1),
        port: 5432,
        weight: 100,
        in_slice: true,
        in_uris: true,
        carried: true,
        order: 0,
        admission: *admission,
    };
    Route {
        state,
        members: members.iter().map(member).collect(),
    }
}

/// a serves reads, the primary takes the writes.
fn decided(edit: impl FnOnce(&mut RouteDecision)) -> DecisionState {
    let mut decided = RouteDecision {
        plan: RoutingPlan {
            rw: route(RouteState::Served, &[("primary", Admission::Eligible)]),
            ro: route(RouteState::Served, &[("a", Admission::Eligible)]),
            ..RoutingPlan::default()
        },
        endpoints: vec![view("primary", Reason::Serving), view("a", Reason::Serving)],
        holding: Holding::default(),
        split: Vec::new(),
        changed: None,
        unproven: false,
        proven: true,
        warm: true,
        found: None,
    };
    edit(&mut decided);
    DecisionState::Decided(Box::new(decided))
}

fn plain() -> DecisionState {
    decided(|_| {})
}

fn reads(state: RouteState) -> DecisionState {
    decided(|decided| decided.plan.ro.state = state)
}

fn writes(state: RouteState) -> DecisionState {
    decided(|decided| decided.plan.rw.state = state)
}

fn identity(shown: Option<u64>) -> DecisionState {
    decided(|decided| {
        decided.changed = Some(IdentityChange {
            known: 7,
            disputed: false,
            shown,
        });
    })
}

#[test]
fn what_stays_as_it_is_is_no_transition() {
    assert_eq!(transitions(&plain(), &plain()), []);
    assert_eq!(transitions(&identity(Some(8)), &identity(Some(8))), []);
    assert_eq!(transitions(&plain(), &DecisionState::Suspended), []);
}

#[test]
fn an_endpoint_changes_its_reason() {
    let suspect = || {
        decided(|decided| {
            let state = &mut decided.endpoints[1].state;
            state.failure = Some(FailureKind::ConnectRefused);
            state.eligible = false;
            state.reason = Reason::Suspect;
        })
    };
    let change = |from| Transition::Endpoint {
        id: "a".into(),
        from,
        to: Reason::Suspect,
        despite: None,
        excess: None,
        failure: Some(FailureKind::ConnectRefused),
        eligible: false,
    };
    assert_eq!(transitions(&plain(), &suspect()), [change(Some(Reason::Serving))]);
    assert_eq!(transitions(&suspect(), &suspect()), []);
    let first = transitions(&DecisionState::Suspended, &suspect());
    assert!(first.contains(&change(None)), "{first:?}");
}

#[test]
fn another_identity_is_told_once_each() {
    let change = Transition::IdentityChanged { known: 7, shown: 8 };
    assert_eq!(
        transitions(&plain(), &identity(Some(8))),
        std::slice::from_ref(&change)
    );
    assert_eq!(
        transitions(&identity(None), &identity(Some(8))),
        std::slice::from_ref(&change)
    );
    assert_eq!(transitions(&identity(Some(9)), &identity(Some(8))), [change]);
    assert_eq!(
        transitions(&plain(), &identity(None)),
        [],
        "it was told before the restart"
    );
}

#[test]
fn a_route_turns_between_well_held_and_empty() {
    for before in WELL.into_iter().chain(UNWELL) {
        for after in WELL.into_iter().chain(UNWELL) {
            let changes = transitions(&writes(before), &writes(after));
            let expected = (before != after).then_some(Transition::Writes { state: after });
            assert_eq!(
                changes,
                Vec::from_iter(expected),
                "writes from {before:?} to {after:?}"
            );
            // That the fallback serves is told apart.
            let changes = transitions(&reads(before), &reads(after));
            let turned = before != after && (UNWELL.contains(&before) || UNWELL.contains(&after));
            let turn = Transition::Reads { state: after };
            assert_eq!(
                changes.contains(&turn),
                turned,
                "reads from {before:?} to {after:?}: {changes:?}"
            );
        }
    }
    let first = transitions(&DecisionState::Suspended, &writes(RouteState::Held));
    assert!(
        first.contains(&Transition::Writes {
            state: RouteState::Held
        }),
        "{first:?}"
    );
}

#[test]
fn the_fallback_serves_and_no_longer() {
    let fallback = |state| {
        decided(|decided| {
            decided.plan.ro = route(
                state,
                &[("a", Admission::Eligible), ("primary", Admission::Fallback)],
            );
        })
    };
    let change = |active, from: &[&str], to: &[&str]| {
        let ids = |ids: &[&str]| ids.iter().map(|id| EndpointId::from(*id)).collect();
        Transition::ReadFallback {
            active,
            from: ids(from),
            to: ids(to),
        }
    };
    for state in WELL {
        let begins = transitions(&plain(), &fallback(state));
        assert_eq!(begins, [change(true, &["a"], &["a", "primary"])], "{state:?}");
        let ends = transitions(&fallback(state), &plain());
        assert_eq!(ends, [change(false, &["a", "primary"], &["a"])], "{state:?}");
        assert_eq!(transitions(&fallback(state), &fallback(state)), []);
    }
    // Who stood in is lost as well: nobody came back.
    let lost = transitions(&fallback(RouteState::Fallback), &reads(RouteState::Held));
    assert_eq!(
        lost,
        [Transition::Reads {
            state: RouteState::Held
        }]
    );
    // In the state alone: everybody is a stand-in of another route.
    let begins = transitions(&plain(), &reads(RouteState::Fallback));
    assert_eq!(begins, [change(true, &["a"], &["a"])]);
    let first = transitions(&DecisionState::Suspended, &fallback(RouteState::Fallback));
    assert!(first.contains(&change(true, &[], &["a", "primary"])), "{first:?}");
}

#[test]
fn several_take_writes_and_no_longer() {
    let split = |ids: &[&str]| decided(|decided| decided.split = ids.iter().map(|id| (*id).into()).collect());
    let both = split(&["primary", "a"]);
    let change = |ids: &[&str]| Transition::SplitBrain {
        endpoints: ids.iter().map(|id| (*id).into()).collect(),
    };
    assert_eq!(transitions(&plain(), &both), [change(&["primary", "a"])]);
    assert_eq!(transitions(&both, &both), []);
    assert_eq!(transitions(&both, &plain()), [change(&[])]);
}
