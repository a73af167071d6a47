//! What classes ask of servers beside the policy, and how much of a server is used.

use super::*;
use crate::breaker::Circuit;
use crate::decision::ClassView;
use crate::fixture::breaker;
use crate::fixture::{self, Case};
use crate::ids::ClassName;
use crate::observation::Load;
use crate::plan::Route;
use crate::policy::Strategy;
use crate::routing::Class;
use crate::transition::Transition;

fn class(edit: impl Fn(&mut Class)) -> Case {
    let mut class = fixture::class("c");
    edit(&mut class);
    edited(|policy| {
        policy.breaker = breaker();
        policy.routing.classes = vec![class];
    })
}

fn probed() -> Case {
    class(|class| class.probe_query = Some("SELECT 1 FROM totals".into()))
}

/// A good check of a standby, in which the probe query is answered or not.
fn answering(answered: bool) -> Result<Sample, FailureKind> {
    let mut told = sample(Role::Standby);
    told.probes.insert("SELECT 1 FROM totals".into(), answered);
    Ok(told)
}

fn of_class(transition: &Transition) -> Option<String> {
    match transition {
        Transition::Class { id, class, to, .. } => Some(format!("{class} stays away from {id}: {to}")),
        _ => None,
    }
}

impl Scene {
    fn of_class(policy: Case) -> Self {
        let mut scene = Self::default();
        scene.apply(policy, &Memory::default(), 0);
        for id in ["primary", "a", "b"] {
            scene.check(id, 1, good(id));
        }
        assert_eq!(scene.class(), "c: a b; ro a b");
        scene
    }

    /// The transitions of classes; `None`: there was no decision.
    fn told(&mut self) -> Option<Vec<String>> {
        let (_, transitions) = self.decision()?;
        Some(transitions.iter().filter_map(of_class).collect())
    }

    /// What people see of the class at an endpoint.
    fn class_of(&self, id: &str) -> Option<ClassView> {
        let state = self.world.policies.values().next().unwrap();
        let decision = state.decision.as_ref().unwrap();
        let views = decision.state.endpoints().unwrap();
        let view = views.iter().find(|view| view.id.as_str() == id).unwrap();
        view.state.classes.get(&ClassName::from("c")).copied()
    }

    /// Who serves the class, and who other reads: `c: a b; ro a b`.
    fn class(&mut self) -> String {
        let Some(DecisionState::Decided(decided)) = self.decide() else {
            return "no change".to_owned();
        };
        let ids = |route: &Route| {
            let members = route.members.iter().filter(|member| member.in_slice);
            let ids: Vec<_> = members.map(|member| member.target.to_string()).collect();
            ids.join(" ")
        };
        let plan = &decided.plan;
        format!(
            "c: {}; ro {}",
            ids(&plan.classes[&ClassName::from("c")]),
            ids(&plan.ro)
        )
    }
}

#[test]
fn the_probe_queries_of_classes_are_asked_of_every_server() {
    let scene = Scene::of_class(probed());
    for id in ["primary", "a", "b"] {
        let queries = &scene.wanted[&target(id)].probe_queries;
        assert_eq!(
            queries.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
            ["SELECT 1 FROM totals"]
        );
    }
}

#[test]
fn a_probe_query_that_fails_opens_the_circuit_of_its_class_alone_within_the_failover_timeout() {
    let mut scene = Scene::of_class(probed());
    let start = 30_000;
    scene.check("a", start, answering(false));
    assert_eq!(scene.class(), "no change", "once is not enough");
    let mut checks = 1;
    let opened = loop {
        let due = scene.due("a");
        let millis = u64::try_from(due.since(at(0)).as_micros().div_ceil(1000)).unwrap();
        assert!(millis <= start + 5000, "the next look is at {millis}");
        assert!(due > scene.now, "not at once");
        scene.check("a", millis, answering(false));
        checks += 1;
        if scene.class() == "c: b; ro a b" {
            break millis;
        }
    };
    assert_eq!(checks, 5, "the threshold");
    assert!((start + 2000..=start + 5000).contains(&opened), "at {opened}");
}

#[test]
fn one_answer_ends_a_run_of_failures() {
    let mut scene = Scene::of_class(probed());
    for round in 0..20 {
        scene.check("a", 10_000 + round * 2000, answering(round % 3 == 2));
        assert_eq!(scene.class(), "no change", "{round}");
    }
}

#[test]
fn a_class_returns_to_a_server_step_by_step() {
    let mut scene = Scene::of_class(probed());
    let mut millis = 10_000;
    for _ in 0..5 {
        scene.check("a", millis, answering(false));
        millis += 2000;
    }
    assert_eq!(scene.class(), "c: b; ro a b");
    let mut shown = Vec::new();
    for _ in 0..40 {
        scene.check("a", millis, answering(true));
        let class = scene.class();
        if class != "no change" {
            shown.push(class);
        }
        let next = scene.due("a").since(at(0));
        assert!(scene.due("a") > scene.now, "not at once");
        assert!(next.as_millis() <= u128::from(millis) + 30_000 * 11 / 10);
        millis += 5000;
    }
    assert_eq!(
        shown,
        ["c: b; ro a b", "c: a b; ro a b", "c: a b; ro a b"],
        "10 % outside of the slice, 50 %, all"
    );
}

#[test]
fn a_check_that_fails_says_nothing_of_the_class() {
    let mut scene = Scene::of_class(probed());
    for round in 0..4 {
        scene.check("a", 10_000 + round * 1000, answering(false));
    }
    scene.check("a", 14_500, Err(FailureKind::TimedOut));
    scene.check("a", 14_900, good("a"));
    assert_eq!(scene.class(), "no change", "neither a failure nor an answer");
    scene.check("a", 15_000, answering(false));
    assert_eq!(scene.class(), "c: b; ro a b");
}

#[test]
fn a_class_judges_lag_by_its_own_bound() {
    let mut scene = Scene::of_class(class(|class| class.max_lag = Some(Duration::from_mins(2))));
    let mut shown = Vec::new();
    for second in (2..=200).step_by(2) {
        // The log moves on, a stands still.
        let head = 1000 + second * 100;
        scene.beat(second * 1000, [head, 1000, head]);
        let class = scene.class();
        if class != "no change" {
            shown.push((second, class));
        }
    }
    let words: Vec<_> = shown.iter().map(|(_, class)| class.as_str()).collect();
    assert!(words.contains(&"c: a b; ro b"), "{shown:?}");
    assert_eq!(words.last(), Some(&"c: b; ro b"), "{shown:?}");
    let left = |text: &str| shown.iter().find(|(_, class)| class == text).unwrap().0;
    assert!((30..40).contains(&left("c: a b; ro b")), "{shown:?}");
    assert!((120..130).contains(&left("c: b; ro b")), "{shown:?}");
}

#[test]
fn a_class_that_is_added_begins_with_what_is_known() {
    let mut scene = Scene::well();
    scene.routes();
    scene.apply(
        class(|class| class.max_lag = Some(Duration::from_mins(2))),
        &Memory::default(),
        100,
    );
    assert_eq!(scene.class(), "c: a b; ro a b", "at once");
    scene.apply(
        class(|class| class.max_lag = Some(Duration::from_mins(3))),
        &Memory::default(),
        200,
    );
    assert_eq!(scene.class(), "c: a b; ro a b");
}

#[test]
fn the_use_of_a_server_is_followed_in_steps_and_not_too_often() {
    let busy = |sessions| {
        let mut told = sample(Role::Standby);
        told.load = Some(Load {
            sessions,
            max_connections: 100,
            transactions: 0,
            started: 0,
            ..Load::default()
        });
        Ok(told)
    };
    let mut scene = Scene::default();
    let policy = edited(|policy| {
        policy.strategy = Strategy::LeastConnections;
        for endpoint in &mut policy.endpoints {
            endpoint.max_connections = 100;
        }
    });
    scene.apply(policy, &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    scene.routes();
    let mut weights = |sessions, millis| {
        scene.hear("a", millis, busy(sessions));
        let Some(DecisionState::Decided(decided)) = scene.decide() else {
            return None;
        };
        let weights = decided.plan.ro.members.iter().map(|member| member.weight);
        Some(weights.collect::<Vec<_>>())
    };
    assert_eq!(weights(5, 2000), None);
    assert_eq!(weights(45, 4000), None, "not yet");
    assert_eq!(weights(45, 13_000), Some(vec![20, 100]), "half of it is used");
    assert_eq!(weights(47, 25_000), None, "no step");
    assert_eq!(weights(90, 27_000), Some(vec![10, 100]));
    assert_eq!(weights(0, 38_000), Some(vec![100, 100]));
}

/// What the status says of these endpoints, which served, as `edit` has it.
#[test]
fn a_server_with_fewer_connections_than_its_endpoint_is_declared_for_is_told() {
    for (reserved, expected) in [(85, None), (86, Some(14))] {
        let mut told = sample(Role::Standby);
        told.load = Some(Load {
            max_connections: 100,
            reserved_connections: reserved,
            ..Load::default()
        });
        let mut scene = Scene::default();
        scene.apply(policy(), &Memory::default(), 0);
        for (id, sample) in [
            ("primary", sample(Role::Primary)),
            ("b", sample(Role::Standby)),
            ("a", told),
        ] {
            scene.check(id, 1, Ok(sample));
        }
        let decided = scene.decided();
        let view = decided.endpoints.iter().find(|view| view.id.as_str() == "a");
        let view = view.unwrap();
        assert_eq!(view.state.usable_connections, expected, "{reserved} reserved");
    }
}

fn remembered(policy: &Case, edit: impl Fn(&str, &mut EndpointMemory)) -> Memory {
    let known = |id: &str| {
        let location = policy.resolved().location(&id.into()).unwrap().clone();
        let role = if id == "primary" {
            Role::Primary
        } else {
            Role::Standby
        };
        let state = TargetState {
            role: Some(role),
            ..serving()
        };
        let target = fixture::remembered(location.host.to_string().parse().ok(), &state, at(0));
        let mut endpoint = EndpointMemory {
            seen_as_standby: false,
            location: Some(location),
            reason: Some(Reason::Serving),
            classes: BTreeMap::new(),
            targets: vec![target],
        };
        edit(id, &mut endpoint);
        (EndpointId::from(id), endpoint)
    };
    Memory {
        endpoints: ["primary", "a", "b"].map(known).into(),
        ..Memory::default()
    }
}

/// What the status says where the class stays away from a.
fn away(policy: &Case, known: &ClassMemory) -> Memory {
    remembered(policy, |id, endpoint| {
        if id == "a" {
            let reason = known.reason.map(|reason| ("c".into(), reason));
            endpoint.classes.extend(reason);
            endpoint.targets[0].classes.insert("c".into(), *known);
        }
    })
}

fn known(reason: Reason, circuit: CircuitMemory, share: u8) -> ClassMemory {
    ClassMemory {
        reason: Some(reason),
        circuit: Some(circuit),
        trips: 1,
        share: Percent::new(share),
    }
}

#[test]
fn who_served_a_class_alone_serves_it_alone_after_a_restart() {
    let policy = class(|class| class.max_lag = Some(Duration::from_mins(2)));
    let remembered = remembered(&policy, |id, endpoint| {
        if id == "a" {
            endpoint.reason = Some(Reason::Lagging);
            endpoint.targets[0].reason = Some(Reason::Lagging);
        }
    });
    let mut scene = Scene::default();
    scene.apply(policy, &remembered, 0);
    // The log has moved on, and the history does not reach back to where a is.
    scene.check("primary", 1, Ok(sample_at(Role::Primary, 100_000)));
    scene.check("b", 2, Ok(sample_at(Role::Standby, 100_000)));
    scene.check("a", 3, Ok(sample_at(Role::Standby, 1000)));
    assert_eq!(scene.class(), "c: a b; ro b");
}

#[test]
fn who_was_too_far_behind_for_a_class_is_so_after_a_restart() {
    let policy = class(|class| class.max_lag = Some(Duration::from_secs(3)));
    for reason in [Reason::Lagging, Reason::ReplayStalled] {
        let mut scene = Scene::default();
        let known = known(reason, CircuitMemory::Closed, 100);
        scene.apply(policy.clone(), &away(&policy, &known), 0);
        scene.check("primary", 1, Ok(sample_at(Role::Primary, 100_000)));
        scene.check("b", 2, Ok(sample_at(Role::Standby, 100_000)));
        scene.check("a", 3, Ok(sample_at(Role::Standby, 99_000)));
        assert_eq!(scene.class(), "c: b; ro a b", "{reason:?}");
    }
}

#[test]
fn the_circuit_of_a_class_outlives_a_restart_with_what_is_left_of_its_time() {
    let policy = probed();
    let known = known(
        Reason::ProbeQueryFailed,
        CircuitMemory::Open {
            until: Moment::default() + Duration::from_secs(40),
        },
        0,
    );
    let mut scene = Scene::default();
    scene.apply(policy.clone(), &away(&policy, &known), 0);
    scene.check("primary", 1, good("primary"));
    for id in ["a", "b"] {
        scene.check(id, 1, answering(true));
    }
    let decided = scene.told().expect("everybody was checked");
    assert_eq!(
        decided, ["c stays away from a: ProbeQueryFailed"; 0],
        "it is nothing new"
    );
    assert_eq!(scene.class_of("a").unwrap().reason, Reason::ProbeQueryFailed);
    scene.check("a", 39_000, answering(true));
    assert_eq!(scene.class(), "no change");
    scene.check("a", 41_000, answering(true));
    assert_eq!(scene.class(), "c: b; ro a b", "10 %, outside of the slice");
    assert_eq!(scene.class_of("a").unwrap().share, Percent::new(10));
    // Within the time of the earlier trip: it stays away for twice as long.
    scene.check("a", 45_000, answering(false));
    scene.decide();
    let view = scene.class_of("a").unwrap();
    assert_eq!(view.trips, 2);
    assert_eq!(
        view.circuit,
        Circuit::Open {
            until: at(45_000) + policy.breaker.reset_timeout * 2
        }
    );
}

#[test]
fn a_class_that_returns_goes_on_at_its_step_after_a_restart() {
    let policy = probed();
    let mut scene = Scene::default();
    let known = known(Reason::Returning, CircuitMemory::HalfOpen, 50);
    scene.apply(policy.clone(), &away(&policy, &known), 0);
    scene.check("primary", 1, good("primary"));
    for id in ["a", "b"] {
        scene.check(id, 1, answering(true));
    }
    assert_eq!(scene.class(), "c: a b; ro a b");
    assert_eq!(scene.class_of("a").unwrap().share, Percent::new(50));
}

#[test]
fn that_a_class_leaves_a_server_and_returns_is_told() {
    let mut scene = Scene::of_class(probed());
    assert_eq!(scene.class_of("a"), None, "there is nothing to say");
    let mut told = Vec::new();
    for round in 0..60 {
        scene.check("a", 10_000 + round * 2000, answering(round >= 5));
        told.extend(scene.told().unwrap_or_default());
    }
    assert_eq!(
        told,
        [
            "c stays away from a: ProbeQueryFailed",
            "c stays away from a: Returning",
            "c stays away from a: Serving"
        ]
    );
    let view = scene.class_of("a").unwrap();
    assert_eq!((view.reason, view.trips), (Reason::Serving, 1), "it did lately");
    // A class that is gone says nothing.
    scene.check("a", 200_000, answering(false));
    let mut without = probed();
    without.generation = 3;
    without.routing.classes.clear();
    scene.apply(without, &Memory::default(), 200_001);
    assert_eq!(
        scene.told().unwrap_or_default(),
        ["c stays away from a: Serving"; 0]
    );
    assert_eq!(scene.class_of("a"), None);
}

#[test]
fn a_class_that_left_because_of_its_query_was_not_too_far_behind() {
    let policy = class(|class| {
        class.probe_query = Some("SELECT 1 FROM totals".into());
        class.max_lag = Some(Duration::from_mins(2));
    });
    let left = Duration::from_secs(40);
    for (reason, expected) in [
        (Reason::ProbeQueryFailed, Reason::ProbeQueryFailed),
        (Reason::Lagging, Reason::Lagging),
    ] {
        let known = known(
            reason,
            CircuitMemory::Open {
                until: Moment::default() + left,
            },
            0,
        );
        let mut scene = Scene::default();
        scene.apply(policy.clone(), &away(&policy, &known), 0);
        // b leaves before all were checked: how far behind a is, nobody knows yet.
        scene.check("b", 1, Ok(sample(Role::Primary)));
        scene.decide();
        assert_eq!(scene.class_of("a").unwrap().reason, expected);
    }
}
