use super::*;
use distributary_core::fixture::policy;
use distributary_core::health::Reason;
use distributary_core::plan::RouteState;

fn observed(checks: &[(&str, &[&str])]) -> Observations {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect();
    Observations {
        checks: checks
            .iter()
            .map(|(id, said)| ((*id).to_owned(), words(said)))
            .collect(),
        ..Observations::default()
    }
}

/// The policy with these replicas, and what is looked up for it.
fn looked_up(replicas: &[&str]) -> (Arc<Policy>, Arc<Resolved>) {
    let case = policy(replicas);
    (case.policy(), case.resolved())
}

fn states(seen: &Observations, lost: &[&str]) -> (RouteState, RouteState) {
    let (policy, resolved) = looked_up(&["a", "b"]);
    let lost = lost.iter().map(|id| EndpointId::from(*id)).collect();
    let rehearsed = rehearse(
        (&policy, &resolved),
        &seen.clone().or_well(&policy, &resolved),
        Memory::default(),
        &lost,
    )
    .unwrap();
    let plan = &rehearsed.decision.state.decided().unwrap().plan;
    (plan.rw.state, plan.ro.state)
}

#[test]
fn who_nothing_is_said_of_is_well() {
    let none = Observations::default();
    assert_eq!(states(&none, &[]), (RouteState::Served, RouteState::Served));
    let failing = observed(&[
        ("a", &["standby", "ConnectRefused x 8"]),
        ("b", &["TimedOut x 8"]),
    ]);
    assert_eq!(states(&failing, &[]), (RouteState::Served, RouteState::Fallback));
}

#[test]
fn who_is_lost_leaves_the_routes() {
    let none = Observations::default();
    assert_eq!(states(&none, &["a"]), (RouteState::Served, RouteState::Served));
    assert_eq!(
        states(&none, &["a", "b"]),
        (RouteState::Served, RouteState::Fallback)
    );
    assert_eq!(
        states(&none, &["primary"]),
        (RouteState::Held, RouteState::Served)
    );
}

#[test]
fn what_is_not_understood_is_named() {
    let (policy, resolved) = looked_up(&["a"]);
    let refused = |id: &str, word: &str| {
        let seen = observed(&[(id, &[word])]);
        rehearse((&policy, &resolved), &seen, Memory::default(), &BTreeSet::new()).unwrap_err()
    };
    assert_eq!(refused("c", "standby").0, [Unclear::NotChecked("c".to_owned())]);
    let both = observed(&[("a", &["stand-by", "standby", "standbye"]), ("c", &["standby"])]);
    let both = rehearse((&policy, &resolved), &both, Memory::default(), &BTreeSet::new()).unwrap_err();
    assert_eq!(both.0.len(), 3, "{both}");
    for word in [
        "stand-by",
        "standby at x",
        "standby on system 3",
        "standby of timeline 3",
        "standby with 3",
        "standby behind",
        "standby behind 25h",
        "wait soon",
        "standby x many",
        "standby x 10001",
        "session ConnectRefused",
        "",
    ] {
        let unclear = Unclear::Word {
            endpoint: "a".to_owned(),
            word: word.to_owned(),
        };
        assert_eq!(refused("a", word).0, [unclear]);
    }
}

#[test]
fn a_time_without_a_unit_is_named() {
    let told = |word: &str| {
        let unclear = Unclear::Word {
            endpoint: "a".to_owned(),
            word: word.to_owned(),
        };
        unclear.to_string()
    };
    let behind = "checks.a: 'standby behind 40': behind needs a time of at most 24h, such as 40s";
    assert_eq!(told("standby behind 40"), behind);
    assert_eq!(
        told("session standby at 7 behind"),
        "checks.a: 'session standby at 7 behind': behind needs a time of at most 24h, such as 40s"
    );
    assert_eq!(
        told("wait 40"),
        "checks.a: 'wait 40': wait needs a time, such as 40s"
    );
    assert!(told("standby behind 40s at x").contains("must be primary, standby"));
    assert!(told("well").contains("must be primary, standby"));
}

#[test]
fn who_is_behind_serves_up_to_the_bound() {
    let reason = |time: &str| {
        let (policy, resolved) = looked_up(&["a", "b"]);
        let seen = observed(&[("a", &[&format!("standby behind {time}")])]).or_well(&policy, &resolved);
        let rehearsed = rehearse((&policy, &resolved), &seen, Memory::default(), &BTreeSet::new()).unwrap();
        let decided = rehearsed.decision.state.decided().unwrap().clone();
        let reasons: Vec<_> = decided.endpoints.iter().map(|view| view.state.reason).collect();
        assert_eq!(
            (reasons[0], reasons[2]),
            (Reason::Serving, Reason::Serving),
            "{time}"
        );
        reasons[1]
    };
    for time in ["0s", "29s", "30s"] {
        assert_eq!(reason(time), Reason::Serving, "{time}");
    }
    for time in ["31s", "2m", "1h"] {
        assert_eq!(reason(time), Reason::Lagging, "{time}");
    }
}
