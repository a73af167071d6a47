//! One server under two names, as a virtual address beside the servers behind it.

use super::*;

/// `a` and `b` are names of one standby: an endpoint, when its server started, and its role.
const TWO_NAMES_OF_A_STANDBY: [(&str, i64, Role); 3] = [
    ("primary", 5, Role::Primary),
    ("a", 6, Role::Standby),
    ("b", 6, Role::Standby),
];

/// `b` is another name of the write primary, and `a` a standby.
fn virtual_address() -> Scene {
    let mut scene = Scene::new();
    scene.answer(&[
        ("primary", 5, Role::Primary),
        ("a", 6, Role::Standby),
        ("b", 5, Role::Primary),
    ]);
    scene
}

#[test]
fn two_names_of_the_write_primary_are_no_split_brain() {
    let mut scene = virtual_address();
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro a");
    assert!(decided.split.is_empty() && decided.holding.contested.is_empty());
    let b = &decided.endpoints[2].state;
    assert_eq!(
        (b.reason, b.same_as.clone()),
        (Reason::SameServer, Some("primary".into()))
    );
    // Nor is it contested later.
    scene.hear("primary", 2000, Ok(started(5, sample(Role::Primary))));
    assert!(scene.decide().is_none());
}

#[test]
fn two_names_of_a_standby_are_served_once_by_priority() {
    let mut scene = Scene::default();
    let case = edited(|policy| policy.endpoints[1].priority = 9);
    scene.apply(case, &Memory::default(), 0);
    scene.answer(&TWO_NAMES_OF_A_STANDBY);
    assert_eq!(scene.routes(), "rw primary; ro b");
    // The name that is used is gone: the other one serves.
    scene.check("b", 1000, REFUSED);
    scene.check("b", 1010, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro a");
}

#[test]
fn a_name_that_leads_to_another_server_is_another_server() {
    let mut scene = virtual_address();
    scene.decide();
    scene.check("b", 3000, Ok(started(7, sample(Role::Standby))));
    let b = scene.decided().endpoints[2].state.clone();
    assert_eq!((b.reason, b.same_as), (Reason::NotFollowing, None));
}

#[test]
fn two_names_of_one_promoted_server_are_one_that_may_follow() {
    let mut scene = Scene::new();
    scene.answer(&TWO_NAMES_OF_A_STANDBY);
    assert_eq!(scene.routes(), "rw primary; ro a");
    scene.check("primary", 1000, REFUSED);
    scene.check("primary", 1010, REFUSED);
    let promoted = || Sample {
        timeline: Some(2),
        ..started(6, sample(Role::Primary))
    };
    for id in ["a", "b"] {
        scene.check(id, 2000, Ok(promoted()));
    }
    scene.check("primary", 8000, REFUSED);
    assert_eq!(scene.routes(), "rw a; ro a");
}

/// Two names whose addresses are the same.
#[test]
fn one_address_is_one_server() {
    let mut scene = Scene::default();
    let case = edited(|policy| policy.of("b").location = policy.of("a").location.clone());
    scene.apply(case, &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    assert_eq!(scene.routes(), "rw primary; ro a");
    assert_eq!(scene.reason_of("b"), Reason::SameServer);
}

/// Of three replicas one is another name of the primary: half of the others are enough.
#[test]
fn a_server_with_two_names_counts_once_among_those_that_must_be_healthy() {
    let mut scene = Scene::default();
    let mut case = crate::fixture::policy(&["a", "b", "c"]);
    case.failover.min_healthy = crate::routing::Least::Percent(Percent::new(50));
    scene.apply(case, &Memory::default(), 0);
    scene.answer(&[
        ("primary", 5, Role::Primary),
        ("a", 5, Role::Primary),
        ("b", 6, Role::Standby),
        ("c", 7, Role::Standby),
    ]);
    assert_eq!(scene.routes(), "rw primary; ro b c");
    scene.check("c", 1000, REFUSED);
    scene.check("c", 1010, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro b", "one of two");
}

#[test]
fn a_name_of_the_write_primary_that_gets_another_id_is_no_split_brain() {
    let mut scene = virtual_address();
    scene.decide();
    let renamed = edited(|policy| policy.endpoints[2].id = "vip".into());
    scene.apply(renamed, &Memory::default(), 1000);
    let decided = scene.decided();
    assert_eq!(words(&decided.plan), "rw primary; ro a");
    assert!(decided.split.is_empty() && decided.holding.contested.is_empty());
    let vip = &decided.endpoints[2].state;
    assert_eq!(vip.same_as, Some("primary".into()));
}

impl Scene {
    /// The first check of each endpoint, whose server started then and has this role.
    fn answer(&mut self, servers: &[(&str, i64, Role)]) {
        for (id, start, role) in servers {
            self.check(id, 1, Ok(started(*start, sample(*role))));
        }
    }

    /// As the newest decision that was looked at says.
    fn reason_of(&self, id: &str) -> Reason {
        let decision = self.seen.values().next().unwrap();
        let decided = decision.state.decided().unwrap();
        let view = decided.endpoints.iter().find(|view| view.id.as_str() == id);
        view.unwrap().state.reason
    }
}
