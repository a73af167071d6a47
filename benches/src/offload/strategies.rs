//! Which strategy suits which servers: the same load by (c) with each strategy, where all replicas are alike, where they differ as the
//! weights say, and where one is slow and nobody knows.

use std::time::Duration;

use anyhow::Result;
use harness::wait;
use serde_json::json;

use super::arm::Arm;
use super::blocks::{Bench, SETTLE, SIZES};
use super::ceilings::SERVERS;
use super::record::{Period, Settings, Situation, StrategyRun};
use super::scene::Scene;

/// The quotas of the replicas in units of one quota; the sum of the first two is the same.
const ALIKE: [f64; 4] = [1.0, 1.0, 1.0, 1.0];
const VARIED: [f64; 4] = [0.5, 0.75, 1.25, 1.5];
const SLOW: f64 = 0.25;
/// Weights in proportion to `VARIED`.
const WEIGHTS: [u32; 4] = [2, 3, 5, 6];
const STRATEGIES: [&str; 3] = ["RoundRobin", "Weighted", "LeastConnections"];
/// The part of the replicas' processor time that the load takes.
const LOAD: f64 = 0.55;
/// A quarter of a quota in 20 ms would be below the least of the kernel.
const PERIOD: Duration = Duration::from_millis(100);

/// A situation, before it is run.
struct Plan {
    name: &'static str,
    words: &'static str,
    quotas: [f64; 4],
    weights: [u32; 4],
}

/// All situations; the cost of a read is that of `period`.
///
/// # Errors
/// When a program fails.
pub async fn run(
    scene: &Scene,
    settings: &Settings,
    period: &Period,
    rows: i64,
    all: &mut Vec<Situation>,
) -> Result<()> {
    let mut bench = Bench::new(scene, settings, rows);
    for plan in plans() {
        let quotas = plan.quotas.map(|part| part * settings.quota);
        let each = std::iter::once(settings.quota).chain(quotas);
        scene.servers.limit_each(&each.collect::<Vec<_>>(), PERIOD)?;
        let rate = LOAD * quotas.iter().sum::<f64>() * 1000.0 / period.costs.reads();
        let mut situation = Situation {
            name: plan.name.to_owned(),
            words: plan.words.to_owned(),
            quotas: quotas.to_vec(),
            rate,
            runs: vec![],
        };
        for block in 0..settings.blocks {
            let mut strategies = STRATEGIES;
            bench.shuffle(&mut strategies);
            for strategy in strategies {
                let seen = one(scene, settings, &mut bench, &plan, strategy, rate).await?;
                println!(
                    "{:<9} {strategy:<16} block {block}  reads: mean {:.1} ms, p95 {:.1} ms",
                    plan.name, seen.reads.mean, seen.reads.p95
                );
                situation.runs.push(StrategyRun {
                    strategy: strategy.to_owned(),
                    block,
                    seen,
                });
            }
        }
        all.push(situation);
    }
    scene.servers.limit_each(&[settings.quota; SERVERS], PERIOD)
}

async fn one(
    scene: &Scene,
    settings: &Settings,
    bench: &mut Bench<'_>,
    plan: &Plan,
    strategy: &str,
    rate: f64,
) -> Result<super::record::Seen> {
    let router = scene.router(&SIZES, |spec| {
        spec["loadBalancing"] = json!({"strategy": strategy});
        for (number, weight) in plan.weights.iter().enumerate() {
            let replica = &mut spec["replicas"][number];
            replica["weight"] = json!(weight);
            // All four serve the same reads here, and share the connections.
            replica["maxConnections"] = json!(SIZES.reads / plan.weights.len());
            if let Some(replica) = replica.as_object_mut() {
                replica.remove("dedicatedTo");
            }
        }
    });
    let front = scene.client(router.await?, &SIZES).await?;
    wait::pass(SETTLE, "the connections were opened just now").await;
    let length = Duration::from_secs_f64(settings.seconds);
    bench.load(&front, Arm::Client, rate, 0.0, length).await
}

fn plans() -> [Plan; 3] {
    let mut slow = ALIKE;
    slow[1] = SLOW;
    [
        Plan {
            name: "uniform",
            words: "four equal replicas",
            quotas: ALIKE,
            weights: [1; 4],
        },
        Plan {
            name: "varied",
            words: "replicas with 0.5, 0.75, 1.25 and 1.5 quotas, and weights in proportion",
            quotas: VARIED,
            weights: WEIGHTS,
        },
        Plan {
            name: "variable",
            words: "equal weights, and one replica has a quarter of its quota",
            quotas: slow,
            weights: [1; 4],
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_in_proportion_to_the_quotas_and_sums_are_the_same() {
        for (weight, quota) in WEIGHTS.iter().zip(VARIED) {
            assert!((f64::from(*weight) / 16.0 - quota / 4.0).abs() < 1e-9);
        }
        assert!((VARIED.iter().sum::<f64>() - ALIKE.iter().sum::<f64>()).abs() < 1e-9);
        let least = plans().iter().flat_map(|plan| plan.quotas).fold(1.0, f64::min);
        assert!(
            least * 0.15 * PERIOD.as_secs_f64() >= 0.001,
            "the kernel takes no quota below 1 ms"
        );
    }
}
