//! The invariants of classes, regions, strategies and fallbacks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use distributary::writing::diff::{Observed, diff};
use distributary_core::breaker::Circuit;
use distributary_core::class_states::ClassJudgement;
use distributary_core::cluster::Families;
use distributary_core::fixture::{self, outputs};
use distributary_core::health::Standing;
use distributary_core::ids::TargetId;
use distributary_core::judgement::Judgement;
use distributary_core::lag::Freshness;
use distributary_core::level::{LagStep, UseStep};
use distributary_core::observation::Role;
use distributary_core::percent::Percent;
use distributary_core::plan::{Admission, Member, Route, RouteState, RoutingPlan, plan};
use distributary_core::policy::{
    DeclaredServer, Endpoint, EndpointState, PolicyParts, Strategy as Balancing,
};
use distributary_core::routing::{
    Class, DefaultDestination, Destination, Least, ReadFallback, Region, Routing, Selector, ZoneHints,
};
use distributary_core::table::named;
use distributary_core::write_primary::WriteChoice;
use proptest::collection::vec;
use proptest::prelude::*;

use super::support::arbitrary::{Situation, situations};
use super::support::rendered;
use super::{Verdict, cases, judge};

const REGIONS: [&str; 3] = ["east", "west", "north"];

fn fallbacks() -> impl Strategy<Value = Vec<ReadFallback>> {
    prop::sample::select(vec![
        vec![],
        vec![ReadFallback::Primary],
        vec![ReadFallback::LaggingReplicas],
        vec![ReadFallback::LaggingReplicas, ReadFallback::Primary],
        vec![ReadFallback::Primary, ReadFallback::LaggingReplicas],
        vec![ReadFallback::DedicatedReplicas],
        vec![ReadFallback::DedicatedReplicas, ReadFallback::Primary],
        vec![ReadFallback::LaggingReplicas, ReadFallback::DedicatedReplicas],
    ])
}

prop_compose! {
    fn classes()(
        destination in prop::sample::select(vec![
            Destination::Primary, Destination::PrimaryPreferred, Destination::Replicas, Destination::ReplicasOnly,
        ]),
        tag in prop::option::of(prop::sample::select(vec!["x", "y"])),
        max_lag in prop::option::weighted(0.4, 1..600_u64),
        probed in prop::bool::weighted(0.4),
        read_fallback in prop::option::weighted(0.4, fallbacks()),
    ) -> Class {
        let chooses = destination != Destination::Primary;
        let without_primary = destination == Destination::ReplicasOnly;
        let allowed = |fallback: &ReadFallback| !without_primary || *fallback != ReadFallback::Primary;
        Class {
            name: "c".into(),
            declared: true,
            operations: Vec::new(),
            destination,
            selector: Selector {
                tags: tag.filter(|_| chooses).into_iter().map(ToOwned::to_owned).collect(),
                ids: Vec::new(),
            },
            max_lag: max_lag.filter(|_| chooses).map(Duration::from_secs),
            read_fallback: read_fallback.filter(|_| chooses).map(|all| all.into_iter().filter(allowed).collect()),
            probe_query: (probed && chooses).then(|| "SELECT 1".into()),
        }
    }
}

prop_compose! {
    fn routings()(
        replicas in prop::bool::weighted(0.9),
        to_primary in prop::bool::weighted(0.2),
        mut classes in vec(classes(), 0..3),
        failover in prop::sample::subsequence(vec!["west", "north"], 0..=2),
        hints in any::<bool>(),
    ) -> Routing {
        for (at, class) in classes.iter_mut().enumerate() {
            class.name = format!("c{at}").as_str().into();
            class.operations = vec![format!("op{at}")];
        }
        Routing {
            replicas,
            default_destination: if to_primary { DefaultDestination::Primary } else { DefaultDestination::Replicas },
            classes,
            regions: vec![
                Region {
                    name: "east".to_owned(),
                    failover: failover.into_iter().map(ToOwned::to_owned).collect(),
                },
                Region { name: "west".to_owned(), failover: Vec::new() },
            ],
            zone_hints: if hints { ZoneHints::Auto } else { ZoneHints::Disabled },
            ..Routing::default()
        }
    }
}

/// What is known of a target beside its health.
type More = (
    u64,
    u32,
    Freshness,
    Circuit,
    Option<usize>,
    Option<&'static str>,
    bool,
);

fn more() -> impl Strategy<Value = More> {
    let freshness = prop::sample::select(vec![
        Freshness::Fresh,
        Freshness::Fresh,
        Freshness::Lagging,
        Freshness::Unknown,
    ]);
    let step = |step| Circuit::HalfOpen { step, successes: 0 };
    let circuit = prop::sample::select(vec![
        Circuit::default(),
        Circuit::default(),
        step(0),
        step(1),
        Circuit::Open {
            until: distributary_core::Moment::default(),
        },
    ]);
    (
        0..600_u64,
        0..100_u32,
        freshness,
        circuit,
        prop::option::of(0..3_usize),
        prop::option::of(prop::sample::select(vec!["x", "y"])),
        prop::bool::weighted(0.2),
    )
}

/// A situation in which everything of routing is used.
#[derive(Clone, Debug)]
struct Case {
    situation: Situation,
    more: Vec<More>,
}

prop_compose! {
    fn routed()(
        mut situation in situations(),
        routing in routings(),
        strategy in prop::sample::select(vec![
            Balancing::RoundRobin, Balancing::Weighted, Balancing::LeastConnections, Balancing::Geographic,
        ]),
        fallback in fallbacks(),
        least in prop_oneof![
            2 => Just(Least::Count(1)),
            1 => (1..=4_u32).prop_map(Least::Count),
            1 => (1..=100_u8).prop_map(|percent| Least::Percent(Percent::new(percent))),
        ],
        more in vec(more(), 6),
        dedicated in vec(prop::option::weighted(0.3, any::<prop::sample::Index>()), 6),
    ) -> Case {
        let policy = &mut situation.policy;
        let of_replicas: Vec<_> = routing.classes.iter().filter(|class| class.has_route()).collect();
        for (endpoint, to) in policy.endpoints.iter_mut().zip(dedicated) {
            let class = to.filter(|_| !of_replicas.is_empty()).map(|to| to.get(&of_replicas).name.clone());
            endpoint.dedicated_to = class.into_iter().collect();
        }
        policy.routing = routing;
        policy.strategy = strategy;
        policy.failover.read_fallback = fallback;
        policy.failover.min_healthy = least;
        for (endpoint, more) in policy.endpoints.iter_mut().zip(&more) {
            endpoint.region = more.4.map(|at| REGIONS[at].to_owned());
            endpoint.zone = more.4.map(|at| format!("z{at}"));
            endpoint.tags = more.5.into_iter().map(ToOwned::to_owned).collect();
            endpoint.lag.own = more.6;
        }
        Case { situation, more }
    }
}

/// The judgements with what else is known, and the plan.
fn planned(case: &Case) -> (Vec<Judgement>, WriteChoice, RoutingPlan) {
    let policy = &case.situation.policy;
    let Verdict {
        mut judgements,
        choice,
        ..
    } = judge(&case.situation);
    for (judgement, more) in judgements.iter_mut().zip(&case.more) {
        judgement.behind = Some(LagStep::of(Duration::from_secs(more.0), None));
        judgement.used = UseStep::of(more.1, 20, None);
        let own = policy.routing.classes.iter().filter_map(|class| {
            let asks = class.max_lag.is_some() || class.probe_query.is_some();
            asks.then(|| {
                let own = ClassJudgement {
                    freshness: class.max_lag.map(|_| more.2),
                    circuit: class
                        .probe_query
                        .as_ref()
                        .map_or_else(Circuit::default, |_| more.3),
                    trips: 0,
                };
                (class.name.clone(), own)
            })
        });
        judgement.classes = own.collect::<BTreeMap<_, _>>();
    }
    let plan = plan(&policy.policy(), &policy.cluster, &judgements, &choice);
    (judgements, choice, plan)
}

fn serving(route: &Route) -> Vec<&Member> {
    route.members.iter().filter(|member| member.in_slice).collect()
}

/// Every route for reads that was chosen among replicas, with the class that it is of.
fn readings<'a>(policy: &'a PolicyParts, plan: &'a RoutingPlan) -> Vec<(Option<&'a Class>, &'a Route)> {
    let mut all = Vec::new();
    if !policy.routing.replicas {
        return all;
    }
    if policy.routing.default_destination == DefaultDestination::Replicas {
        all.push((None, &plan.ro));
        all.extend(plan.regions.values().map(|route| (None, route)));
    }
    for class in policy.routing.classes.iter().filter(|class| class.has_route()) {
        let route = &plan.classes[&class.name];
        if *route != plan.rw {
            all.push((Some(class), route));
        }
    }
    all
}

fn declared<'a>(policy: &'a PolicyParts, target: &TargetId) -> &'a Endpoint {
    policy.endpoint(&target.endpoint).unwrap()
}

/// Whether an endpoint may serve a class, or reads that no class names, without being a fallback.
fn serves(endpoint: &Endpoint, class: Option<&Class>) -> bool {
    endpoint.serves(class.map(|class| &class.name))
}

/// Whether a class, or none, finds a target well.
fn is_well(judgement: &Judgement, class: Option<&Class>) -> bool {
    let well = |standing| matches!(standing, Standing::Good | Standing::Returning { .. });
    let Some(own) = class.and_then(|class| judgement.classes.get(&class.name)) else {
        return well(judgement.standing);
    };
    let standing = match own.freshness.filter(|_| judgement.role == Some(Role::Standby)) {
        None => judgement.standing,
        Some(Freshness::Fresh) => judgement.health,
        Some(_) => return false,
    };
    well(standing) && !matches!(own.circuit, Circuit::Open { .. })
}

proptest! {
    #![proptest_config(cases(1500))]

    /// S2: of every route that is that of the writes too.
    #[test]
    fn what_goes_to_the_primary_goes_where_writes_go(case in routed()) {
        let policy = &case.situation.policy;
        let (_, _, plan) = planned(&case);
        prop_assert!(plan.rw.members.len() <= 1);
        for class in policy.routing.classes.iter().filter(|class| !class.has_route()) {
            prop_assert_eq!(&plan.classes[&class.name], &plan.rw);
        }
        if !policy.routing.replicas {
            let routes = plan.classes.values().chain(plan.regions.values()).chain([&plan.ro]);
            prop_assert!(routes.into_iter().all(|route| *route == plan.rw), "the master switch");
        }
    }

    /// S3: a route leads somewhere while anyone whom the policy allows is well.
    #[test]
    fn no_route_is_without_a_target_while_anyone_allowed_is_well(case in routed()) {
        let policy = &case.situation.policy;
        let (judgements, choice, plan) = planned(&case);
        for (class, route) in readings(policy, &plan) {
            let fallback = class.and_then(|class| class.read_fallback.as_ref()).unwrap_or(&policy.failover.read_fallback);
            let primary_allowed = match class.map(|class| class.destination) {
                Some(Destination::ReplicasOnly) => false,
                Some(Destination::PrimaryPreferred) => true,
                _ => fallback.contains(&ReadFallback::Primary),
            };
            let somebody = judgements.iter().any(|judgement| {
                let holds = choice.holding.holder.as_ref() == Some(&judgement.target);
                let endpoint = declared(policy, &judgement.target);
                let allowed = match judgement.role {
                    Some(Role::Standby) => serves(endpoint, class) || fallback.contains(&ReadFallback::DedicatedReplicas),
                    Some(Role::Primary) => holds && primary_allowed,
                    None => false,
                };
                let active = declared(policy, &judgement.target).state == EndpointState::Active;
                allowed && active && declared(policy, &judgement.target).weight > 0 && is_well(judgement, class)
            });
            if somebody {
                prop_assert!(!serving(route).is_empty(), "{class:?} {route:?}");
                prop_assert!(matches!(route.state, RouteState::Served | RouteState::Fallback), "{route:?}");
            }
        }
    }

    /// S4: who is proven wrong, not active or of weight 0 is in no route for reads, and who is not well for one is there
    /// early, as a fallback or held.
    #[test]
    fn nobody_serves_who_may_not(case in routed()) {
        let policy = &case.situation.policy;
        let (judgements, choice, plan) = planned(&case);
        for (class, route) in readings(policy, &plan) {
            let fallback = class.and_then(|class| class.read_fallback.as_ref()).unwrap_or(&policy.failover.read_fallback);
            let few = serving(route).iter().filter(|member| member.admission == Admission::Eligible).count();
            for member in &route.members {
                let judgement = judgements.iter().find(|judgement| judgement.target == member.target).unwrap();
                let endpoint = declared(policy, &member.target);
                prop_assert!(endpoint.state == EndpointState::Active && endpoint.weight > 0);
                prop_assert!(!matches!(judgement.standing, Standing::Excluded | Standing::Unproven));
                let standby = judgement.role == Some(Role::Standby);
                if standby && !serves(endpoint, class) {
                    prop_assert_eq!(member.admission, Admission::Fallback, "dedicated to others: {:?}", member);
                    prop_assert!(fallback.contains(&ReadFallback::DedicatedReplicas) && is_well(judgement, class));
                    continue;
                }
                prop_assert!((1..=100_000).contains(&member.weight), "{member:?}");
                match member.admission {
                    Admission::Eligible => prop_assert!(is_well(judgement, class), "{class:?} {judgement:?}"),
                    Admission::Early => prop_assert!(member.in_slice || member.order > 0),
                    Admission::Held => prop_assert!(route.state == RouteState::Held && member.in_slice && few == 0),
                    Admission::Fallback if judgement.role == Some(Role::Primary) => {
                        prop_assert_eq!(choice.holding.holder.as_ref(), Some(&member.target));
                        prop_assert!(class.is_none_or(|class| class.destination != Destination::ReplicasOnly));
                    }
                    Admission::Fallback => prop_assert!(!endpoint.lag.own, "a delayed standby"),
                }
            }
        }
    }

    #[test]
    fn a_stale_server_never_comes_before_a_fresh_one_farther_away(case in routed()) {
        let policy = &case.situation.policy;
        let (_, _, plan) = planned(&case);
        if policy.routing.default_destination != DefaultDestination::Replicas || !policy.routing.replicas {
            return Ok(());
        }
        for route in plan.regions.values() {
            let fresh = |member: &&Member| matches!(member.admission, Admission::Eligible | Admission::Early);
            let stand_in = |member: &&Member| member.admission == Admission::Fallback;
            let farthest = route.members.iter().filter(fresh).map(|member| member.order).max();
            let nearest = route.members.iter().filter(stand_in).map(|member| member.order).min();
            prop_assert!(nearest.is_none() || farthest < nearest, "{route:?}");
            if route.state != RouteState::Held {
                let orders: BTreeSet<_> = serving(route).iter().map(|member| member.order).collect();
                prop_assert!(orders.len() <= 1, "one place in the slice: {route:?}");
            }
            let orders: Vec<_> = route.members.iter().map(|member| member.order).collect();
            prop_assert!(orders.is_sorted());
        }
    }

    #[test]
    fn another_healthy_replica_lowers_no_number_and_empties_no_route(case in routed()) {
        let before = planned(&case);
        let mut wider = case.clone();
        let mut added = case.situation.policy.endpoints[0].clone();
        (added.id, added.declared, added.weight) = ("added".into(), distributary_core::policy::DeclaredRole::Replica, 1);
        added.state = EndpointState::Active;
        added.server = DeclaredServer::Host(fixture::location(200));
        added.tags.clear();
        added.dedicated_to.clear();
        wider.situation.policy.endpoints.push(added);
        let mut health = distributary_core::health::Health::default();
        health.address = Some([198, 18, 1, 1].into());
        health.role = Some(Role::Standby);
        (health.checked, health.admitted) = (true, true);
        let fresh = distributary_core::lag::Replay::fresh_since(super::NOW);
        wider.situation.known.push((health, fresh));
        wider.situation.standbys.resize(wider.situation.known.len(), true);
        wider.more.resize(wider.situation.known.len(), case.more[0]);
        if let Some(more) = wider.more.last_mut() {
            (more.2, more.3) = (Freshness::Fresh, Circuit::default());
        }
        let after = planned(&wider);
        let policy = &case.situation.policy;
        let well = |judgements: &[Judgement], route: &Route, class: Option<&Class>| {
            let member = |member: &&Member| {
                let general = policy.endpoint(&member.target.endpoint).is_none_or(|endpoint| serves(endpoint, class));
                general && judgements.iter().any(|it| it.target == member.target && it.role == Some(Role::Standby) && is_well(it, class))
            };
            route.members.iter().filter(member).count()
        };
        let routes = |plan: &RoutingPlan| -> Vec<(String, Route)> {
            named::routes(&policy.policy(), &outputs(), plan).into_iter().map(|named| (named.name, named.route.clone())).collect()
        };
        for ((name, was), (_, is)) in routes(&before.2).into_iter().zip(routes(&after.2)) {
            let class = policy.routing.class(&name.as_str().into());
            prop_assert!(serving(&was).is_empty() || !serving(&is).is_empty(), "{name}");
            // The selected ones narrow a route again when they are enough.
            let selects_all = |class: &Class| class.selector.selects_all() && !policy.has_dedicated(&class.name);
            if name != "rw" && class.is_none_or(selects_all) {
                let (was, is) = (well(&before.0, &was, class), well(&after.0, &is, class));
                prop_assert!(is >= was, "{name}: {was}, then {is}");
            }
        }
    }

    /// Of a route whose Service has one family the slice is as if the servers of the other family were not there.
    #[test]
    fn who_is_not_carried_changes_no_slice(case in routed(), six in vec(any::<bool>(), 6), of in prop::sample::select(vec![Families::V4, Families::V6])) {
        let policy = &case.situation.policy;
        let (mut judgements, choice, _) = planned(&case);
        for (judgement, _) in judgements.iter_mut().zip(&six).filter(|(_, six)| **six) {
            judgement.address = judgement.address.map(|_| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]));
        }
        let mut cluster = policy.cluster.clone();
        for route in ["rw", "ro", "ro-east", "c0"] {
            cluster.families.insert(route.to_owned(), of);
        }
        let valid = policy.policy();
        let carried: Vec<_> = judgements.iter().filter(|it| it.address.is_some_and(|address| of.carry(address))).cloned().collect();
        let [all, alone] = [(&cluster, &judgements), (&policy.cluster, &carried)]
            .map(|(cluster, judgements)| plan(&valid, cluster, judgements, &choice));
        let outputs = outputs();
        let pairs = named::routes(&valid, &outputs, &all).into_iter().zip(named::routes(&valid, &outputs, &alone));
        for (all, alone) in pairs.filter(|(all, _)| cluster.families.contains_key(&all.name)) {
            let slice = |route: &Route| serving(route).iter().map(|member| (member.target.clone(), member.weight)).collect::<Vec<_>>();
            prop_assert_eq!(slice(all.route), slice(alone.route), "{}: {:#?}", &all.name, all.route);
            prop_assert!(all.route.members.iter().all(|member| member.carried == of.carry(member.address)));
        }
    }

    /// S7, and the same bytes whatever the order of what is known.
    #[test]
    fn the_same_is_rendered_in_any_order_and_needs_no_write(case in routed(), by in 0..5_usize) {
        let policy = &case.situation.policy;
        let (mut judgements, choice, straight) = planned(&case);
        let manifests = rendered(policy, &outputs(), &straight);
        let by = by % judgements.len();
        judgements.rotate_left(by);
        judgements.reverse();
        prop_assert_eq!(&rendered(policy, &outputs(), &plan(&policy.policy(), &policy.cluster, &judgements, &choice)), &manifests);
        let observed: Observed = manifests.objects.iter().map(|object| (object.id.clone(), object.body.clone())).collect();
        let diff = diff(&manifests.objects, &observed, &policy.uid);
        prop_assert!(diff.writes.is_empty() && diff.conflicts.is_empty(), "{diff:#?}");
        prop_assert_eq!(observed.len(), manifests.objects.len(), "each name once");
        let services: Vec<_> = named::services(&policy.policy(), &outputs());
        prop_assert!(services.iter().all(|name| name.len() <= 63));
    }

    /// Of servers alike in all else the more used one gets no more.
    #[test]
    fn the_more_is_used_the_less_is_given(sessions in vec(0..200_u32, 2)) {
        let share = |sessions| UseStep::of(sessions, 20, None).share();
        let (less, more) = (sessions[0].min(sessions[1]), sessions[0].max(sessions[1]));
        prop_assert!(share(less) >= share(more));
    }
}
