//! Classes, regions, strategies and fallbacks.

use crate::breaker::Circuit;
use crate::class_states::ClassJudgement;
use crate::level::LagStep;
use crate::level::UseStep;
use crate::observation::FailureKind;
use std::time::Duration;

use super::*;
use crate::fixture;
use crate::lag::Freshness;
use crate::percent::Percent;
use crate::routing::{DefaultDestination, Destination, Least, Selector};

/// A class of this name, and nothing else said of it.
fn class(name: &str, destination: Destination) -> Class {
    Class {
        destination,
        ..fixture::class(name)
    }
}

fn with(replicas: &[&str], class: Class) -> Case {
    let mut policy = policy(replicas);
    policy.routing.classes = vec![class];
    policy
}

/// The first class's route, in words.
fn of_class(plan: &RoutingPlan) -> String {
    let (name, route) = plan.classes.first_key_value().unwrap();
    words(name.as_str(), route)
}

fn classed(policy: &Case, are: &[Is]) -> String {
    of_class(&planned(policy, are))
}

/// `a` alone is tagged.
fn tagged(replicas: &[&str]) -> Case {
    let selector = Selector {
        tags: vec!["analytics".to_owned()],
        ids: Vec::new(),
    };
    let class = Class {
        selector,
        ..class("c", Destination::Replicas)
    };
    let mut policy = with(replicas, class);
    policy.endpoints[1].tags = vec!["analytics".to_owned()];
    policy
}

const G: Is = Is::Good;

#[test]
fn each_target_of_a_class_has_its_servers() {
    for (target, expected) in [
        (Destination::Primary, "c Served primary=100"),
        (Destination::PrimaryPreferred, "c Served primary=100"),
        (Destination::Replicas, "c Served a=100 b=100"),
        (Destination::ReplicasOnly, "c Served a=100 b=100"),
    ] {
        let policy = with(&["a", "b"], class("c", target));
        assert_eq!(classed(&policy, &[G, G, G]), expected, "{target:?}");
    }
}

#[test]
fn each_target_of_a_class_has_its_servers_without_a_replica() {
    for (target, expected) in [
        (Destination::Primary, "c Served primary=100"),
        (Destination::PrimaryPreferred, "c Served primary=100"),
        (Destination::Replicas, "c Fallback primary=100"),
        (Destination::ReplicasOnly, "c Held a=100"),
    ] {
        let policy = with(&["a"], class("c", target));
        assert_eq!(classed(&policy, &[G, Is::Suspect]), expected, "{target:?}");
    }
    let policy = with(&[], class("c", Destination::ReplicasOnly));
    assert_eq!(classed(&policy, &[G]), "c Empty", "never the primary");
}

#[test]
fn each_target_of_a_class_has_its_servers_without_a_primary() {
    for (target, expected) in [
        (Destination::Primary, "c Held primary=100"),
        (Destination::PrimaryPreferred, "c Served a=100"),
        (Destination::Replicas, "c Served a=100"),
        (Destination::ReplicasOnly, "c Served a=100"),
    ] {
        let policy = with(&["a"], class("c", target));
        assert_eq!(classed(&policy, &[OPEN, G]), expected, "{target:?}");
    }
}

#[test]
fn where_nobody_is_well_the_preferred_primary_is_held_with_the_replicas() {
    let mut policy = with(&["a"], class("c", Destination::PrimaryPreferred));
    policy.failover.read_fallback.clear();
    assert_eq!(classed(&policy, &[OPEN, OPEN]), "c Held a=100 primary=100");
}

#[test]
fn a_selector_narrows_and_widens_when_nobody_selected_is_eligible() {
    let one = tagged(&["a"]);
    assert_eq!(classed(&one, &[G, G]), "c Served a=100");
    assert_eq!(classed(&one, &[G, OPEN]), "c Fallback primary=100");
    let two = tagged(&["a", "b"]);
    assert_eq!(classed(&two, &[G, G, G]), "c Served a=100");
    assert_eq!(classed(&two, &[G, OPEN, G]), "c Fallback b=100");
    assert_eq!(
        classed(&two, &[G, Is::HalfOpen(0), G]),
        "c Fallback a=10(not in slice) b=100"
    );
    assert_eq!(classed(&two, &[G, Is::HalfOpen(1), G]), "c Served a=50");
    assert_eq!(classed(&two, &[G, OPEN, OPEN]), "c Fallback primary=100");
    assert_eq!(
        reads(&two, &[G, G, G]),
        "ro Served a=100 b=100",
        "other reads know no tag"
    );
    let mut three = tagged(&["a", "b", "c"]);
    three.routing.classes[0].selector.ids = vec!["c".into()];
    assert_eq!(
        classed(&three, &[G, G, G, G]),
        "c Served a=100 c=100",
        "tags or ids"
    );
    assert_eq!(classed(&three, &[G, OPEN, G, G]), "c Served c=100");
}

#[test]
fn of_selected_replicas_no_more_are_asked_for_than_there_are() {
    let mut policy = tagged(&["a", "b", "c"]);
    policy.failover.min_healthy = Least::Count(2);
    assert_eq!(classed(&policy, &[G, G, G, G]), "c Served a=100");
    policy.endpoints[2].tags = vec!["analytics".to_owned()];
    assert_eq!(classed(&policy, &[G, G, G, G]), "c Served a=100 b=100");
    assert_eq!(
        classed(&policy, &[G, G, OPEN, G]),
        "c Fallback a=100 c=100",
        "too few of them: any replica"
    );
}

#[test]
fn a_class_has_a_bound_of_lag_of_its_own() {
    let mut policy = with(&["a", "b"], class("c", Destination::Replicas));
    policy.routing.classes[0].max_lag = Some(Duration::from_mins(5));
    let judged = |freshness| {
        move |at: usize, judgement: &mut Judgement| {
            let own = ClassJudgement {
                freshness: Some(if at == 1 { freshness } else { Freshness::Fresh }),
                circuit: Circuit::default(),
                trips: 0,
            };
            judgement.classes.insert("c".into(), own);
        }
    };
    let plan = reads_knowing(&policy, &[G, Is::Behind, G], judged(Freshness::Fresh));
    assert_eq!(
        of_class(&plan),
        "c Served a=100 b=100",
        "fresh enough for the class"
    );
    assert_eq!(words("ro", &plan.ro), "ro Served b=100");
    let plan = reads_knowing(&policy, &[G, G, G], judged(Freshness::Lagging));
    assert_eq!(of_class(&plan), "c Served b=100", "too far behind for the class");
    assert_eq!(words("ro", &plan.ro), "ro Served a=100 b=100");
    let plan = reads_knowing(&policy, &[G, ANSWERS, OPEN], judged(Freshness::Lagging));
    assert_eq!(
        of_class(&plan),
        "c Fallback primary=100",
        "who is behind is not admitted early"
    );
    assert_eq!(words("ro", &plan.ro), "ro Served a=100");
}

#[test]
fn a_class_has_a_circuit_of_its_own_on_each_endpoint() {
    let policy = with(&["a", "b"], class("c", Destination::Replicas));
    let judged = |which: usize, circuit| {
        move |at: usize, judgement: &mut Judgement| {
            let circuit = if at == which { circuit } else { Circuit::default() };
            let own = ClassJudgement {
                freshness: None,
                circuit,
                trips: 0,
            };
            judgement.classes.insert("c".into(), own);
        }
    };
    let open = Circuit::Open {
        until: Moment::default(),
    };
    let plan = reads_knowing(&policy, &[G, G, G], judged(1, open));
    assert_eq!(of_class(&plan), "c Served b=100");
    assert_eq!(
        words("ro", &plan.ro),
        "ro Served a=100 b=100",
        "other reads do not notice"
    );
    let step = |step| Circuit::HalfOpen { step, successes: 0 };
    let plan = reads_knowing(&policy, &[G, G, G], judged(1, step(0)));
    assert_eq!(of_class(&plan), "c Served a=10(not in slice) b=100");
    let plan = reads_knowing(&policy, &[G, G, G], judged(1, step(1)));
    assert_eq!(of_class(&plan), "c Served a=50 b=100");
    let plan = reads_knowing(&policy, &[G, G, OPEN], judged(1, open));
    assert_eq!(of_class(&plan), "c Fallback primary=100");
    // The primary that is preferred does not answer the class.
    let policy = with(&["a"], class("c", Destination::PrimaryPreferred));
    let plan = reads_knowing(&policy, &[G, G], judged(0, open));
    assert_eq!(of_class(&plan), "c Served a=100");
    assert_eq!(words("rw", &plan.rw), "rw Served primary=100");
}

#[test]
fn a_class_whose_reads_are_withdrawn_is_no_fallback() {
    let mut policy = tagged(&["a", "b"]);
    policy.failover.read_fallback.clear();
    policy.failover.on_read_loss = OnReadLoss::Withdraw;
    assert_eq!(classed(&policy, &[G, Is::Behind, Is::Behind]), "c Empty");
}

#[test]
fn a_class_has_a_fallback_of_its_own() {
    let mut policy = with(&["a"], class("c", Destination::Replicas));
    policy.routing.classes[0].read_fallback = Some(Vec::new());
    assert_eq!(classed(&policy, &[G, Is::Suspect]), "c Held a=100");
    assert_eq!(reads(&policy, &[G, Is::Suspect]), "ro Fallback primary=100");
}

/// These lags in seconds, by the place of the target.
fn lagging(policy: &Case, are: &[Is], seconds: [u64; 4]) -> String {
    let know = |at: usize, judgement: &mut Judgement| {
        judgement.behind = Some(LagStep::of(Duration::from_secs(seconds[at]), None));
    };
    words("ro", &reads_knowing(policy, are, know).ro)
}

#[test]
fn the_least_behind_stand_in_first() {
    let mut policy = policy(&["a", "b", "c"]);
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas, ReadFallback::Primary];
    let b = Is::Behind;
    assert_eq!(
        lagging(&policy, &[G, b, b, b], [0, 100, 40, 300]),
        "ro Fallback b=100"
    );
    assert_eq!(
        lagging(&policy, &[G, b, b, b], [0, 50, 40, 300]),
        "ro Fallback a=100 b=100",
        "those that are alike share"
    );
    assert_eq!(
        lagging(&policy, &[G, b, G, b], [0, 40, 0, 300]),
        "ro Served b=100",
        "not while anyone is fresh"
    );
    assert_eq!(
        lagging(&policy, &[G, OPEN, OPEN, b], [0, 0, 0, 300]),
        "ro Fallback c=100"
    );
    policy.failover.min_healthy = Least::Count(2);
    assert_eq!(
        lagging(&policy, &[G, b, b, b], [0, 100, 40, 300]),
        "ro Fallback a=100 b=100"
    );
    assert_eq!(
        lagging(&policy, &[G, b, OPEN, OPEN], [0, 100, 40, 300]),
        "ro Fallback a=100 primary=100",
        "then the next of the list"
    );
    policy.failover.read_fallback.reverse();
    assert_eq!(
        lagging(&policy, &[G, b, b, OPEN], [0, 100, 40, 300]),
        "ro Fallback b=100 primary=100"
    );
}

#[test]
fn a_delayed_standby_and_one_that_does_not_tell_never_stand_in() {
    let mut policy = policy(&["a"]);
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas];
    assert_eq!(
        reads(&policy, &[G, Is::Behind]),
        "ro Held a=100",
        "it does not tell"
    );
    assert_eq!(
        lagging(&policy, &[G, Is::Behind], [0, 40, 0, 0]),
        "ro Fallback a=100"
    );
    policy.endpoints[1].lag.own = true;
    assert_eq!(lagging(&policy, &[G, Is::Behind], [0, 40, 0, 0]), "ro Held a=100");
}

#[test]
fn too_few_healthy_replicas_are_joined_by_the_fallback() {
    let mut policy = policy(&["a", "b", "c"]);
    let mut cases = |least, are: [Is; 3], expected: &str| {
        policy.failover.min_healthy = least;
        assert_eq!(
            reads(&policy, &[G, are[0], are[1], are[2]]),
            expected,
            "{least:?} {are:?}"
        );
    };
    let two = Least::Count(2);
    cases(two, [G, G, OPEN], "ro Served a=100 b=100");
    cases(two, [G, OPEN, OPEN], "ro Served a=100 primary=100");
    cases(two, [G, ANSWERS, OPEN], "ro Served a=100 b=100");
    cases(two, [G, Is::HalfOpen(0), OPEN], "ro Served a=100 b=10");
    cases(two, [OPEN, OPEN, OPEN], "ro Fallback primary=100");
    let half = Least::Percent(Percent::new(50));
    cases(half, [G, G, OPEN], "ro Served a=100 b=100");
    cases(half, [G, OPEN, OPEN], "ro Served a=100 primary=100");
    cases(
        Least::Percent(Percent::FULL),
        [G, G, OPEN],
        "ro Served a=100 b=100 primary=100",
    );
    cases(
        Least::Percent(Percent::new(1)),
        [G, OPEN, OPEN],
        "ro Served a=100",
    );
}

#[test]
fn a_percentage_is_of_the_active_replicas_rounded_up() {
    for (percent, replicas, expected) in [
        (50, 1, 1),
        (50, 2, 1),
        (50, 3, 2),
        (1, 64, 1),
        (100, 3, 3),
        (34, 3, 2),
    ] {
        let least = Least::Percent(Percent::new(percent));
        assert_eq!(least.of(replicas), expected, "{percent} % of {replicas}");
    }
    let mut policy = policy(&["a", "b", "c"]);
    policy.failover.min_healthy = Least::Percent(Percent::FULL);
    policy.endpoints[3].state = EndpointState::Disabled;
    assert_eq!(reads(&policy, &[G, G, G, Is::Unknown]), "ro Served a=100 b=100");
}

#[test]
fn with_replicas_off_everything_goes_to_the_primary() {
    for target in [
        Destination::Primary,
        Destination::PrimaryPreferred,
        Destination::Replicas,
        Destination::ReplicasOnly,
    ] {
        let mut policy = with(&["a"], class("c", target));
        policy.routing.replicas = false;
        policy.routing.regions = vec![region("east", &[])];
        let plan = planned(&policy, &[G, G]);
        assert_eq!(of_class(&plan), "c Served primary=100", "{target:?}");
        assert_eq!(words("ro", &plan.ro), "ro Served primary=100");
        assert_eq!(words("east", &plan.regions["east"]), "east Served primary=100");
    }
}

#[test]
fn unnamed_reads_go_where_the_policy_says() {
    let mut policy = with(&["a"], class("c", Destination::Replicas));
    policy.routing.default_destination = DefaultDestination::Primary;
    let plan = planned(&policy, &[G, G]);
    assert_eq!(words("ro", &plan.ro), "ro Served primary=100");
    assert_eq!(
        of_class(&plan),
        "c Served a=100",
        "a class has a target of its own"
    );
}

#[test]
fn under_least_connections_the_less_used_get_more() {
    let mut policy = policy(&["a", "b", "c"]);
    policy.strategy = Strategy::LeastConnections;
    policy.endpoints[2].weight = 500;
    let know = |at: usize, judgement: &mut Judgement| {
        judgement.used = UseStep::of([0, 0, 20, 100][at], 100, None);
    };
    let plan = reads_knowing(&policy, &[G; 4], know);
    assert_eq!(
        words("ro", &plan.ro),
        "ro Served a=100 b=50 c=10",
        "weights above 0 count alike"
    );
    let plan = reads_knowing(&policy, &[G, G, G, Is::HalfOpen(0)], know);
    assert_eq!(words("ro", &plan.ro), "ro Served a=100 b=50 c=1(not in slice)");
    policy.endpoints[1].weight = 0;
    let plan = reads_knowing(&policy, &[G; 4], know);
    assert_eq!(words("ro", &plan.ro), "ro Served b=50 c=10");
}

#[test]
fn who_has_no_free_connection_gets_less_where_shares_differ() {
    let saturated = |at: usize, judgement: &mut Judgement| {
        judgement.failure = (at == 1).then_some(FailureKind::Saturated);
    };
    for (strategy, expected) in [
        (Strategy::RoundRobin, "ro Served a=100 b=100"),
        (Strategy::Geographic, "ro Served a=100 b=100"),
        (Strategy::Weighted, "ro Served a=10 b=100"),
        (Strategy::LeastConnections, "ro Served a=10 b=100"),
    ] {
        let mut policy = policy(&["a", "b"]);
        policy.strategy = strategy;
        let plan = reads_knowing(&policy, &[G; 3], saturated);
        assert_eq!(words("ro", &plan.ro), expected, "{strategy:?}");
    }
}

fn region(name: &str, failover: &[&str]) -> Region {
    Region {
        name: name.to_owned(),
        failover: failover.iter().map(|&name| name.to_owned()).collect(),
    }
}

/// `a` in the east, `b` in the west, `c` in the north, `d` nowhere; the east falls back to the north.
fn regional() -> Case {
    let mut policy = policy(&["a", "b", "c", "d"]);
    policy.strategy = Strategy::Geographic;
    for (at, name) in [(1, "east"), (2, "west"), (3, "north")] {
        policy.endpoints[at].region = Some(name.to_owned());
    }
    policy.routing.regions = vec![region("east", &["north"])];
    policy
}

fn east(policy: &Case, are: [Is; 5]) -> String {
    words("east", &planned(policy, &are).regions["east"])
}

#[test]
fn a_region_is_served_by_itself_then_its_fallbacks_then_the_others() {
    let policy = regional();
    assert_eq!(
        east(&policy, [G; 5]),
        "east Served a=100 c=100(not in slice) b=100(not in slice) d=100(not in slice)"
    );
    assert_eq!(
        east(&policy, [G, OPEN, G, G, G]),
        "east Served c=100 b=100(not in slice) d=100(not in slice)"
    );
    assert_eq!(
        east(&policy, [G, OPEN, G, OPEN, G]),
        "east Served b=100 d=100(not in slice)"
    );
    assert_eq!(east(&policy, [G, OPEN, OPEN, OPEN, G]), "east Served d=100");
    assert_eq!(
        east(&policy, [G, OPEN, OPEN, OPEN, OPEN]),
        "east Fallback primary=100"
    );
    assert_eq!(
        east(&policy, [OPEN; 5]),
        "east Held a=100 c=100 b=100 d=100 primary=100",
        "all of them, as nobody knows better"
    );
    let plan = planned(&policy, &[G; 5]);
    assert_eq!(
        words("ro", &plan.ro),
        "ro Served a=100 b=100 c=100 d=100",
        "no region, all alike"
    );
}

#[test]
fn reads_that_name_no_region_follow_that_of_the_cluster() {
    let mut policy = regional();
    policy.cluster.region = Some("east".to_owned());
    for are in [[G; 5], [G, OPEN, G, G, G], [G, OPEN, OPEN, OPEN, OPEN], [OPEN; 5]] {
        let plan = planned(&policy, &are);
        assert_eq!(plan.ro, plan.regions["east"], "{are:?}");
    }
    policy.cluster.region = Some("south".to_owned());
    assert_eq!(
        reads(&policy, &[G; 5]),
        "ro Served a=100 b=100 c=100 d=100",
        "a region that it does not know"
    );
    policy.cluster.region = Some("east".to_owned());
    policy.strategy = Strategy::RoundRobin;
    assert_eq!(
        reads(&policy, &[G; 5]),
        "ro Served a=100 b=100 c=100 d=100",
        "regions order nothing"
    );
}

#[test]
fn other_regions_come_by_their_lowest_priority() {
    let mut policy = regional();
    policy.routing.regions = vec![region("east", &[])];
    policy.endpoints[2].priority = 2;
    policy.endpoints[4].region = Some("west".to_owned());
    policy.endpoints[4].priority = 0;
    assert_eq!(
        east(&policy, [G, OPEN, G, G, G]),
        "east Served d=100 b=100 c=100(not in slice)"
    );
}

#[test]
fn a_fresh_remote_beats_a_stale_local() {
    let mut policy = regional();
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas, ReadFallback::Primary];
    policy.failover.min_healthy = Least::Count(2);
    let know = |at: usize, judgement: &mut Judgement| {
        judgement.behind = (at == 1).then(|| LagStep::of(Duration::from_secs(40), None));
    };
    let plan = reads_knowing(&policy, &[G, Is::Behind, G, OPEN, OPEN], know);
    assert_eq!(
        words("east", &plan.regions["east"]),
        "east Served b=100 a=100(not in slice)"
    );
}

#[test]
fn a_fresh_server_of_no_region_beats_a_stale_local() {
    let mut policy = regional();
    policy.failover.read_fallback = vec![ReadFallback::LaggingReplicas];
    policy.failover.min_healthy = Least::Count(2);
    let know = |at: usize, judgement: &mut Judgement| {
        judgement.behind = (at == 1).then(|| LagStep::of(Duration::from_secs(40), None));
    };
    let plan = reads_knowing(&policy, &[G, Is::Behind, OPEN, OPEN, G], know);
    assert_eq!(
        words("east", &plan.regions["east"]),
        "east Served d=100 a=100(not in slice)"
    );
}

#[test]
fn a_server_that_returns_to_its_region_is_served_step_by_step() {
    let policy = regional();
    assert_eq!(
        east(&policy, [G, Is::HalfOpen(0), G, G, G]),
        "east Served a=10(not in slice) c=100 b=100(not in slice) d=100(not in slice)"
    );
    assert_eq!(
        east(&policy, [G, Is::HalfOpen(1), G, G, G]),
        "east Served a=50 c=100(not in slice) b=100(not in slice) d=100(not in slice)"
    );
}

#[test]
fn what_is_built_in_are_three_classes() {
    let policy = policy(&["a"]);
    let plan = planned(&policy, &[G, G]);
    let routes: Vec<_> = plan
        .classes
        .iter()
        .map(|(name, route)| words(name.as_str(), route))
        .collect();
    assert_eq!(
        routes,
        [
            "analytics Served a=100",
            "primary-preferred Served primary=100",
            "write Served primary=100"
        ]
    );
}

#[test]
fn who_has_no_weight_is_not_counted_among_the_replicas() {
    let mut policy = policy(&["a", "b", "c"]);
    policy.endpoints[3].weight = 0;
    policy.failover.min_healthy = Least::Percent(Percent::new(100));
    assert_eq!(reads(&policy, &[G; 4]), "ro Served a=100 b=100");
}
