//! The address families of our Services, as they become known and change.

use super::*;
use crate::cluster::Families;

/// What the Services of these routes carry, as it was looked up at `millis`.
fn carry(scene: &mut Scene, families: &[(&str, Families)], millis: u64) {
    let mut policy = policy();
    let known = families
        .iter()
        .map(|(route, families)| ((*route).to_owned(), *families));
    policy.cluster.families = known.collect();
    let effects = scene.apply(policy, &Memory::default(), millis);
    let no_check = |instruction: &Instruction| !matches!(instruction, Instruction::Next { .. });
    assert!(effects.prober.iter().all(no_check), "nobody is checked for it");
}

fn state<'a>(decided: &'a RouteDecision, id: &str) -> &'a TargetState {
    let view = decided.endpoints.iter().find(|view| view.id.as_str() == id);
    &view.unwrap().state
}

#[test]
fn an_edit_of_a_service_takes_effect_at_once() {
    let mut scene = Scene::well();
    assert_eq!(scene.reason("a"), Reason::Serving);
    carry(&mut scene, &[("ro", Families::V6)], 2);
    let decided = scene.decided();
    let a = state(&decided, "a");
    assert_eq!((a.reason, a.eligible), (Reason::FamilyNotServed, false));
    assert_eq!(
        decided.plan.ro.serving(),
        [],
        "nobody, as the primary is not carried either"
    );
    assert_eq!(
        state(&decided, "primary").reason,
        Reason::Serving,
        "rw carries it"
    );
    carry(&mut scene, &[("ro", Families::Both)], 3);
    let decided = scene.decided();
    assert_eq!(state(&decided, "a").reason, Reason::Serving);
    assert_eq!(decided.plan.ro.serving(), ["a".into(), "b".into()]);
}

#[test]
fn a_write_primary_that_is_not_carried_says_so_and_holds_the_writes() {
    let mut scene = Scene::well();
    let holder = scene.decided().holding.holder;
    carry(&mut scene, &[("rw", Families::V6)], 2);
    let decided = scene.decided();
    assert_eq!(state(&decided, "primary").reason, Reason::FamilyNotServed);
    assert!(decided.plan.rw.is_uncarried());
    assert_eq!(decided.plan.rw.serving(), []);
    assert_eq!(decided.holding.holder, holder);
    assert_eq!(state(&decided, "a").reason, Reason::Serving);
    assert_eq!(
        decided.plan.uncarried(),
        [("rw".to_owned(), vec!["primary".into()])]
    );
}

#[test]
fn what_is_worse_than_the_family_is_told_instead() {
    let mut scene = Scene::well();
    carry(&mut scene, &[("ro", Families::V6)], 2);
    for millis in [3, 10] {
        scene.check("a", millis, Err(FailureKind::ConnectRefused));
    }
    assert_eq!(scene.reason("a"), Reason::Suspect);
}

#[test]
fn a_check_that_tells_nothing_hides_no_family() {
    let mut scene = Scene::well();
    carry(&mut scene, &[("ro", Families::V6)], 2);
    scene.check("a", 3, Err(FailureKind::Saturated));
    let decided = scene.decided();
    let a = state(&decided, "a");
    assert_eq!(
        (a.reason, a.failure),
        (Reason::FamilyNotServed, Some(FailureKind::Saturated))
    );
}

#[test]
fn a_server_that_another_service_carries_serves() {
    let mut scene = Scene::well();
    let mut policy = policy();
    policy.routing.classes.push(crate::fixture::class("c"));
    policy.cluster.families = [("ro".to_owned(), Families::V6)].into();
    scene.apply(policy, &Memory::default(), 2);
    assert_eq!(scene.reason("a"), Reason::Serving, "by the Service of the class");
}
