//! How long it takes to plan: policies of 10 endpoints with classes and regions, on one core. `make bench-plan`.
//!
//! The aim is 50 ms for 1,000 of them, and a cost that is linear in their number.

use std::hint::black_box;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use distributary_api::{ReplicaSetPolicy, validate};
use distributary_core::Moment;
use distributary_core::class_states::ClassStates;
use distributary_core::cluster::Cluster;
use distributary_core::following::FollowingState;
use distributary_core::health::Health;
use distributary_core::ids::TargetId;
use distributary_core::judgement::Judgement;
use distributary_core::lag::Replay;
use distributary_core::observation::Role;
use distributary_core::plan::{RoutingPlan, plan};
use distributary_core::policy::{DeclaredRole, Policy};
use distributary_core::role::Evidence;
use distributary_core::write_primary::{Claim, Holding, Rules, WriteChoice, choose_write_primary};
use serde_json::json;

const POLICIES: [usize; 3] = [100, 1000, 4000];
const ENDPOINTS: u8 = 10;
/// The aim for the second of them.
const AIM: Duration = Duration::from_millis(50);
/// Measured so often for the figure that is saved; the median counts.
const RUNS: usize = 31;

/// One policy with what is known of its endpoints.
struct Case {
    policy: Policy,
    judgements: Vec<Judgement>,
    choice: WriteChoice,
}

fn policy(number: usize) -> Policy {
    let region = |last: u8| ["us-east-1", "us-west-2", "eu-west-1"][usize::from(last % 3)];
    let replica = |last: u8| {
        json!({
            "id": format!("replica-{last}"),
            "host": IpAddr::from([198, 18, 0, last]),
            "region": region(last),
            "zone": format!("{}a", region(last)),
            "tags": if last.is_multiple_of(4) { json!(["analytics"]) } else { json!([]) },
        })
    };
    let object = json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": format!("orders-{number}"), "namespace": "shop", "uid": "uid", "generation": 1},
        "spec": {
            "primary": {"host": "198.18.0.1", "region": "us-east-1"},
            "replicas": (2..=ENDPOINTS).map(replica).collect::<Vec<_>>(),
            "loadBalancing": {"strategy": "Geographic", "regions": [{"name": "us-east-1", "failover": ["us-west-2"]}]},
            "routing": {"classes": [{"name": "analytics", "replicaSelector": {"tags": ["analytics"]}, "maxLag": "5m"}]},
            "failover": {"readFallback": ["LaggingReplicas", "Primary"], "minHealthyReplicas": "50%"},
        },
    });
    let object: ReplicaSetPolicy = serde_json::from_value(object).expect("a policy");
    validate::policy(&object).expect("a valid policy").policy
}

fn case(number: usize) -> Case {
    let policy = policy(number);
    let now = Moment::default();
    let known: Vec<_> = (1_u8..)
        .zip(&policy.endpoints)
        .map(|(last, endpoint)| {
            let mut health = Health::default();
            health.address = Some(IpAddr::from([198, 18, 0, last]));
            let primary = endpoint.declared == DeclaredRole::Primary;
            health.role = Some(if primary { Role::Primary } else { Role::Standby });
            // One of four was never seen.
            let seen = usize::from(last) % 4 != number % 4 || primary;
            (health.checked, health.admitted) = (true, seen);
            let replay = Replay::fresh_since(now);
            let mut class_states = ClassStates::default();
            class_states.take_classes(&policy, endpoint, &replay);
            (
                TargetId::host(endpoint.id.clone()),
                endpoint,
                health,
                replay,
                class_states,
            )
        })
        .collect();
    let known = || {
        known
            .iter()
            .map(|(id, endpoint, health, replay, class_states)| Evidence {
                id,
                endpoint,
                by_service: false,
                pod_of_standby: false,
                port: Some(5432),
                health,
                replay,
                following: FollowingState::default(),
                class_states,
            })
    };
    let claims: Vec<Claim> = known().filter_map(|known| known.claim(|_| true)).collect();
    let choice = choose_write_primary(&Holding::default(), &claims, Rules::of(&policy), now);
    let judgements = known()
        .map(|known| known.judge(&policy, &choice.holding))
        .collect();
    Case {
        policy,
        judgements,
        choice,
    }
}

fn plan_all(cases: &[Case]) -> usize {
    let cluster = Cluster::default();
    let plans = cases
        .iter()
        .map(|case| plan(&case.policy, &cluster, black_box(&case.judgements), &case.choice));
    plans
        .map(|plan: RoutingPlan| black_box(plan).ro.members.len())
        .sum()
}

/// The median of some runs.
fn median(cases: &[Case]) -> Duration {
    let mut times: Vec<_> = (0..RUNS)
        .map(|_| {
            let start = Instant::now();
            black_box(plan_all(cases));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[RUNS / 2]
}

fn main() -> std::io::Result<()> {
    let mut criterion = Criterion::default().configure_from_args().sample_size(20);
    let mut group = criterion.benchmark_group("plan");
    let mut figures = Vec::new();
    for count in POLICIES {
        let cases: Vec<_> = (0..count).map(case).collect();
        group.throughput(Throughput::Elements(u64::try_from(count).unwrap_or(u64::MAX)));
        group.bench_with_input(BenchmarkId::from_parameter(count), &cases, |bencher, cases| {
            bencher.iter(|| plan_all(cases));
        });
        figures.push((count, median(&cases)));
    }
    group.finish();
    criterion.final_summary();
    save(&figures)
}

/// Writes `target/bench/plan.json`, and says whether the aim is met.
fn save(figures: &[(usize, Duration)]) -> std::io::Result<()> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        Into::into,
    );
    let directory = target.join("bench");
    std::fs::create_dir_all(&directory)?;
    let rows = figures
        .iter()
        .map(|(count, time)| json!({"policies": count, "endpoints": ENDPOINTS, "microseconds": u64::try_from(time.as_micros()).unwrap_or(u64::MAX)}));
    let document = json!({"aimMilliseconds": 50, "median": rows.collect::<Vec<_>>()});
    let file = directory.join("plan.json");
    std::fs::write(&file, format!("{document:#}\n"))?;
    for (count, time) in figures {
        println!("{count} policies of {ENDPOINTS} endpoints: {time:?}");
    }
    println!("{}", file.display());
    let missed = figures
        .iter()
        .any(|(count, time)| *count == POLICIES[1] && *time > AIM);
    if missed {
        return Err(std::io::Error::other("planning takes longer than the aim"));
    }
    Ok(())
}
