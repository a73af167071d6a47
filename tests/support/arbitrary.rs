//! Random policies, healths and stories.

use distributary_core::fixture::{self, Case};
use distributary_core::policy::DeclaredServer;
use std::net::IpAddr;
use std::time::Duration;

use distributary_core::Moment;
use distributary_core::breaker::{Breaker, Circuit};
use distributary_core::following::FollowingState;
use distributary_core::health::Health;
use distributary_core::ids::TargetId;
use distributary_core::lag::{Freshness, Replay};
use distributary_core::observation::{FailureKind, Role};
use distributary_core::percent::Percent;
use distributary_core::policy::{
    BreakerSettings, DeclaredRole, EndpointState, LagSource, OnPrimaryLoss, OnReadLoss, PrimaryRole, Probing,
    Strategy as Balancing,
};
use distributary_core::routing::ReadFallback;
use distributary_core::suspicion::Suspicion;
use distributary_core::write_primary::Holding;
use proptest::collection::vec;
use proptest::prelude::*;

use super::log::Follows;
use super::simulation::Answer;

prop_compose! {
    fn breakers()(
        enabled in any::<bool>(),
        failure_threshold in prop_oneof![1..=6_u32, Just(100)],
        success_threshold in 1..=3_u32,
        steps in vec(1..=100_u8, 1..4),
    ) -> BreakerSettings {
        let mut steps = steps;
        steps.sort_unstable();
        steps.dedup();
        BreakerSettings {
            enabled,
            failure_threshold,
            reset_timeout: Duration::from_secs(10),
            max_reset_timeout: Duration::from_secs(60),
            success_threshold,
            traffic_steps: steps.into_iter().map(Percent::new).collect(),
        }
    }
}

prop_compose! {
    fn probings(threshold: u32)(
        interval in 100..=30_000_u64,
        heartbeat in prop::option::of(100..=5000_u64),
        timeout in 20..=3_000_u64,
        window in prop_oneof![20..=200_u64, 200..=10_000_u64],
    ) -> Probing {
        Probing {
            interval: Duration::from_millis(interval),
            heartbeat: heartbeat.map(Duration::from_millis),
            timeout: Duration::from_millis(timeout),
            failover_timeout: Duration::from_millis(window.max(20 * u64::from(threshold))),
            least: Duration::ZERO,
            declared: None,
        }
    }
}

/// A primary and up to four replicas, some disabled, some of weight 0, some dedicated to `analytics`.
pub fn policies() -> impl Strategy<Value = Case> {
    let settings = breakers().prop_flat_map(|breaker| {
        let threshold = breaker.failure_threshold;
        (Just(breaker), probings(threshold))
    });
    let endpoint = (
        prop_oneof![4 => 1..=5_u16, 1 => Just(0)],
        0..3_u16,
        prop_oneof![
            8 => Just(EndpointState::Active),
            1 => Just(EndpointState::Draining),
            1 => Just(EndpointState::Disabled),
        ],
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.15),
    );
    let endpoints = vec(endpoint, 1..=5);
    let failover = (
        prop::bool::weighted(0.2),
        any::<bool>(),
        prop::bool::weighted(0.2),
    );
    let fallbacks = prop::sample::select(vec![
        vec![],
        vec![ReadFallback::Primary],
        vec![ReadFallback::DedicatedReplicas],
        vec![ReadFallback::DedicatedReplicas, ReadFallback::Primary],
    ]);
    (settings, endpoints, fallbacks, any::<bool>(), failover).prop_map(
        |((breaker, probing), endpoints, fallback, weighted, (pinned, withdraw, empties))| {
            let mut policy = super::policy("primary: {host: 198.18.0.1}");
            let template = policy.endpoints[0].clone();
            policy.breaker = breaker;
            policy.probing = probing;
            policy.strategy = if weighted {
                Balancing::Weighted
            } else {
                Balancing::RoundRobin
            };
            if pinned {
                policy.failover.primary_role = PrimaryRole::Pinned;
            }
            if withdraw {
                policy.failover.on_primary_loss = OnPrimaryLoss::Withdraw;
            }
            if empties {
                policy.failover.on_read_loss = OnReadLoss::Withdraw;
            }
            policy.failover.read_fallback = fallback;
            policy.looked_up.clear();
            policy.endpoints = (1_u8..)
                .zip(endpoints)
                .map(|(last, (weight, priority, state, promotable, dedicated))| {
                    let mut endpoint = template.clone();
                    if last > 1 {
                        endpoint.id = format!("r{last}").as_str().into();
                        endpoint.declared = DeclaredRole::Replica;
                    }
                    endpoint.server = DeclaredServer::Host(fixture::location(last));
                    (endpoint.weight, endpoint.priority, endpoint.state) = (weight, priority, state);
                    endpoint.promotable = promotable;
                    if dedicated {
                        endpoint.dedicated_to = vec!["analytics".into()];
                    }
                    if last % 4 == 0 {
                        endpoint.lag.source = LagSource::None;
                    }
                    endpoint
                })
                .collect();
            policy
        },
    )
}

pub fn failures() -> impl Strategy<Value = FailureKind> {
    prop::sample::select(FailureKind::ALL)
}

fn circuits() -> impl Strategy<Value = Circuit> {
    prop_oneof![
        3 => Just(Circuit::default()),
        2 => (0..10_000_u64).prop_map(|until| Circuit::Open { until: moment(until) }),
        2 => (0..3_usize, 0..3_u32).prop_map(|(step, successes)| Circuit::HalfOpen { step, successes }),
    ]
}

fn moment(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

prop_compose! {
    /// Any state that checks can lead to, and some that they cannot.
    pub fn healths()(
        circuit in circuits(),
        suspicion in prop_oneof![
            3 => Just(Suspicion::None),
            1 => Just(Suspicion::Confirming { since: moment(0) }),
            1 => (0..2_u8).prop_map(|answers| Suspicion::Out { since: moment(0), answers }),
        ],
        last in 1..=250_u8,
        role in prop::option::weighted(0.9, prop_oneof![4 => Just(Role::Standby), 1 => Just(Role::Primary)]),
        system in prop::option::weighted(0.9, prop_oneof![5 => Just(7), 1 => Just(8)]),
        failure in prop::option::weighted(0.3, failures()),
        admitted in prop::bool::weighted(0.9),
        timeline in prop::option::weighted(0.8, 1..4_u32),
        failing in prop::option::of(0..20_000_u64),
    ) -> Health {
        let mut health = Health::default();
        health.breaker = Breaker::restored(circuit, 1, moment(0));
        health.suspicion = if matches!(circuit, Circuit::Open { .. }) { Suspicion::None } else { suspicion };
        health.address = role.map(|_| IpAddr::from([198, 18, 0, last]));
        health.role = role;
        health.system_identifier = system;
        health.timeline = timeline;
        health.failure = failure;
        health.checked = true;
        health.admitted = admitted && role.is_some();
        let down = !health.is_well() || failure.is_some();
        health.failing_since = failing.map(moment).filter(|_| down);
        health
    }
}

/// What is known of the lag of a target: fresh more often than not.
pub fn replays() -> impl Strategy<Value = Replay> {
    let freshness = prop_oneof![
        5 => Just(Freshness::Fresh),
        1 => Just(Freshness::Lagging),
        1 => Just(Freshness::Stalled),
        1 => Just(Freshness::Unknown),
    ];
    freshness.prop_map(|freshness| {
        let mut replay = Replay::default();
        replay.freshness = freshness;
        replay
    })
}

/// A policy, and what is known of each endpoint and of the primary.
#[derive(Clone, Debug)]
pub struct Situation {
    pub policy: Case,
    pub known: Vec<(Health, Replay)>,
    pub holding: Holding,
    /// Which of the endpoints was seen as a standby before.
    pub standbys: Vec<bool>,
    /// Which of them is proven to follow the write primary, or not to.
    pub following: Vec<FollowingState>,
}

/// The primary is writable, and the holder, more often than not.
pub fn situations() -> impl Strategy<Value = Situation> {
    let known = vec((healths(), replays()), 5);
    let holding = (
        prop_oneof![4 => Just(Some(0)), 2 => (0..5_usize).prop_map(Some), 1 => Just(None)],
        prop::option::of(1..4_u32),
    );
    let standbys = vec(prop::bool::weighted(0.8), 5);
    let following = prop_oneof![
        10 => Just(FollowingState::Presumed),
        9 => Just(FollowingState::Follows),
        1 => Just(FollowingState::Diverged),
        1 => Just(FollowingState::Required),
    ];
    let seen = (standbys, vec(following, 5));
    (policies(), known, prop::bool::weighted(0.7), holding, seen).prop_map(
        |(policy, mut known, writable, (holder, timeline), (standbys, mut following))| {
            if writable && known[0].0.role.is_some() {
                known[0].0.role = Some(Role::Primary);
            }
            known.truncate(policy.endpoints.len());
            following.truncate(policy.endpoints.len());
            let holder = holder.and_then(|at: usize| policy.endpoints.get(at));
            let holding = Holding {
                identity: Some(7),
                holder: holder.map(|endpoint| TargetId::host(endpoint.id.clone())),
                timeline,
                ..Holding::default()
            };
            Situation {
                policy,
                known,
                holding,
                standbys,
                following,
            }
        },
    )
}

/// What others did to our objects.
#[derive(Clone, Debug)]
pub struct Meddling {
    pub label: bool,
    pub annotation: bool,
    pub data: bool,
    pub selector: bool,
    pub external: bool,
    pub allocated: bool,
    pub dropped_label: bool,
    pub lost: bool,
}

pub fn meddlings() -> impl Strategy<Value = Meddling> {
    let one = any::<bool>;
    (
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
        one(),
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(label, annotation, data, selector, external, allocated, dropped_label, lost)| Meddling {
                label,
                annotation,
                data,
                selector,
                external,
                allocated,
                dropped_label,
                lost,
            },
        )
}

/// Results of checks of one target, each after so many milliseconds.
pub fn stories() -> impl Strategy<Value = Vec<(u64, Option<FailureKind>)>> {
    let result = prop::option::weighted(0.7, failures());
    vec((prop_oneof![0..50_u64, 0..3000_u64], result), 1..40)
}

pub fn settings() -> impl Strategy<Value = (BreakerSettings, Probing)> {
    breakers().prop_flat_map(|breaker| {
        let threshold = breaker.failure_threshold;
        (Just(breaker), probings(threshold))
    })
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        3 => Just(Answer::Standby),
        1 => Just(Answer::Primary),
        1 => (1..4_u32).prop_map(Answer::Promoted),
        1 => (0..3000_u64).prop_map(Answer::SlowStandby),
        3 => failures().prop_map(Answer::Fails),
        1 => Just(Answer::Silent),
    ]
}

/// Who answers how, from which second on.
pub fn scripts() -> impl Strategy<Value = Vec<(f64, usize, Answer)>> {
    vec((0.0..60.0_f64, 0..5_usize, answers()), 0..15)
}

/// How the log grows and how the standbys follow it: from which second on, who, how; and the rate.
pub fn works() -> impl Strategy<Value = Vec<(f64, usize, Follows, u64)>> {
    let follows = prop_oneof![3 => (0..90_000_u64).prop_map(Follows::Behind), 1 => Just(Follows::Stalled)];
    vec((0.0..300.0_f64, 1..3_usize, follows, 0..10_000_000_u64), 1..12)
}

/// Samples of a primary: each so many milliseconds after the one before it, with so much written.
pub fn logs() -> impl Strategy<Value = Vec<(u64, u64)>> {
    vec(
        (1..4000_u64, prop_oneof![1 => Just(0), 3 => 1..1_000_000_u64]),
        2..400,
    )
}
