//! A made-up record, for the tests of what reads one.

use serde_json::json;

use super::arm::Arm;
use super::calamity::Calamity;
use super::ceilings::{Ceilings, Costs};
use super::record::{
    ArmRecord, Availability, Cell, FaultRecord, LOADS, Period, Record, Saturation, Seen, Settings, Situation,
    StrategyRun, VERSION,
};
use super::right::Count;
use super::saturation::{Found, Step};
use super::statistics::Latency;
use super::summary;

/// Two blocks; arms differ by a factor of their own, so that each figure is known.
pub fn record() -> Record {
    let record = Record {
        version: VERSION,
        settings: settings(),
        complete: true,
        busy: false,
        warnings: vec!["the generator's core was used to 80 % once".to_owned()],
        machine: json!({"cores": 2, "processor": "example", "kernel": "6.1", "memory": "8 GB"}),
        versions: json!({"postgresql": "postgres 15", "kubernetes": "1.33", "haproxy": "2.6"}),
        servers: json!({"fsync": "off"}),
        took: 3600,
        periods: vec![period(100), period(20)],
        situations: ["uniform", "varied", "variable"].map(situation).to_vec(),
        availability: Some(availability()),
        summary: vec![],
    };
    Record {
        summary: summary::of(&record),
        ..record
    }
}

fn settings() -> Settings {
    Settings {
        short: false,
        seed: 1,
        blocks: 2,
        seconds: 5.0,
        fault_seconds: 120,
        quota: 0.15,
        deadline: 1000,
        bound: 5000,
        analytics: 2.0,
        probes: 20.0,
        lifetime: 30,
        connections: [32, 8, 8],
        connections_under_faults: [6, 2, 2],
        profile: "release".to_owned(),
    }
}

fn latency(count: usize, mean: f64) -> Latency {
    Latency {
        count,
        mean,
        p50: mean / 2.0,
        p95: mean * 2.0,
        p99: mean * 3.0,
    }
}

fn seen(mean: f64, servers: usize) -> Seen {
    Seen {
        sent: 1000,
        answered: 997,
        late: 2,
        failed: 1,
        reads: latency(940, mean),
        writes: latency(50, mean),
        analytics: latency(10, mean * 10.0),
        analytics_times: vec![mean * 10.0; 10],
        reads_per_second: 188.0,
        servers: vec![0.1; servers],
        generator_core: 0.4,
        generator: 0.2,
        late_sending: 0.2,
        stolen: 0.0,
    }
}

/// The mean of reads at 80 %, by arm: (a) 100 ms, (a5) 50, (r) 40, (h) 30, (b) 20, (c) 10.
fn mean_of(arm: Arm) -> f64 {
    match arm {
        Arm::Primary => 100.0,
        Arm::Big => 50.0,
        Arm::Random => 40.0,
        Arm::Haproxy => 30.0,
        Arm::Services => 20.0,
        Arm::Client => 10.0,
    }
}

fn period(period: u64) -> Period {
    let costs = Costs {
        point: 0.1,
        dashboard: 2.0,
        write: 0.4,
        replay: 0.2,
        analytics: 10.0,
        idle: 0.0,
    };
    let found = |rate: f64| Found {
        rate,
        reads_per_second: rate * 0.95,
        steps: vec![Step {
            rate,
            generator_core: 0.4,
            ..Step::default()
        }],
        ..Found::default()
    };
    let each = |block| Arm::ALL.map(|arm| (arm, block));
    let blocks: Vec<_> = [0, 1].map(each).concat();
    let cell = |arm: Arm, block: usize, load: u32| {
        let mean = mean_of(arm) * f64::from(load) / 80.0;
        let (rate, servers) = (2.0 * f64::from(load), if arm == Arm::Big { 1 } else { 5 });
        let seen = seen(mean, servers);
        Cell {
            arm,
            block,
            load,
            rate,
            seen,
        }
    };
    let cells = blocks
        .iter()
        .flat_map(|(arm, block)| LOADS.map(|load| cell(*arm, *block, load)));
    let saturation = |(arm, block): &(Arm, usize)| Saturation {
        arm: *arm,
        block: *block,
        found: found(20_000.0 / mean_of(*arm)),
    };
    Period {
        period,
        costs,
        ceilings: Ceilings::of(&costs, 0.15, 2.0),
        unloaded: latency(100, 5.0),
        unloaded_analytics: latency(20, 50.0),
        reference: found(200.0),
        references: vec![found(180.0), found(200.0), found(220.0)],
        cells: cells.collect(),
        saturations: blocks.iter().map(saturation).collect(),
    }
}

fn situation(name: &str) -> Situation {
    let of = |(number, strategy): (usize, &str)| {
        [0, 1].map(|block| StrategyRun {
            strategy: strategy.to_owned(),
            block,
            seen: seen(10.0 * (1.0 + super::statistics::count(number)), 5),
        })
    };
    let strategies = ["RoundRobin", "LeastConnections", "Weighted"];
    Situation {
        name: name.to_owned(),
        words: format!("servers that are {name}"),
        quotas: vec![0.15; 4],
        rate: 300.0,
        runs: strategies.into_iter().enumerate().flat_map(of).collect(),
    }
}

fn availability() -> Availability {
    let count = |arm: Arm| Count {
        sent: 1000,
        right: 990,
        failed: 5,
        late: 2,
        stale: if arm == Arm::Random { 3 } else { 0 },
        vanished: if arm == Arm::Random { 0 } else { 3 },
        lost_of: [4, 2, 3, 1],
    };
    let fault = |(number, kind): (u32, Calamity)| FaultRecord {
        kind,
        server: 1,
        primary: kind == Calamity::Promotion,
        at: 60.0 * f64::from(number) + 6.0,
        mended: 60.0 * f64::from(number) + 30.0,
        generator_core: 0.3,
        counts: Arm::SHARING.map(|arm| (arm, count(arm))).to_vec(),
    };
    let arm = |arm| ArmRecord {
        arm,
        count: (1..5).fold(count(arm), |sum, _| sum.plus(count(arm))),
        false_ejections: matches!(arm, Arm::Haproxy | Arm::Services | Arm::Client).then_some(1),
    };
    Availability {
        faults: (0_u32..).zip(Calamity::ALL).map(fault).collect(),
        arms: Arm::SHARING.map(arm).to_vec(),
        late_sending: 0.3,
        left_out: vec![(Arm::Big, "one server".to_owned())],
    }
}
