//! What the operator that follows costs beside the one that leads: memory, processor, connections to servers; with sessions of
//! its own and without.
//!
//! ENDPOINTS (5000, ten to a policy), MINUTES of the steady state (5).

use std::time::Duration;

use anyhow::{Result, ensure};
use benches::contest::versions;
use benches::crowd::{Crowd, Shape};
use benches::figures::{save, table};
use benches::option;
use benches::pair::Pair;
use benches::usage::{CpuTime, connections_to_port, resident};
use harness::control_plane::Program;
use harness::postgres::PORT;
use harness::wait;
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::settle;

const HELD: Duration = Duration::from_mins(10);
const SHAPE: Shape = Shape::TEN;

pub async fn measure() -> Result<()> {
    let (endpoints, minutes) = (option("ENDPOINTS", 5000_usize)?, option("MINUTES", 5.0_f64)?);
    ensure!(
        endpoints >= SHAPE.servers && endpoints.is_multiple_of(SHAPE.servers),
        "ENDPOINTS must be a multiple of {}",
        SHAPE.servers
    );
    let policies = endpoints / SHAPE.servers;
    let mut crowd = Crowd::start_for(2, SHAPE, policies).await?;
    // As in the other figures: it is not measured.
    crowd.plane.program(Program::Proxy).kill();
    let idle = without_policies(&crowd).await?;
    crowd.grow(policies).await?;
    let time = Duration::from_secs_f64(minutes * 60.0);
    let mut figures = vec![];
    for (sessions, each) in [("Held", 2), ("None", 1)] {
        let pair = Pair::start(&crowd, &[format!("--follower-sessions={sessions}")]).await?;
        crowd.routed().await?;
        crowd.held(each * crowd.servers(), HELD).await?;
        settle().await?;
        println!("--follower-sessions={sessions}: steady state for {time:?}");
        figures.push((sessions, steady(&pair, time).await?));
        drop(pair);
        crowd.held(0, HELD).await?;
    }
    report(endpoints, idle, &figures);
    crowd.end_stub().await?;
    let json = |(sessions, [leader, follower]): &(&str, [Usage; 2])| json!({"followerSessions": sessions, "leader": leader.json(), "follower": follower.json()});
    save(
        "scale-followers",
        json!({
            "endpoints": endpoints, "policies": policies, "minutes": minutes, "residentIdleBytes": idle,
            "figures": figures.iter().map(json).collect::<Vec<_>>(), "versions": versions(),
        }),
    )
}

/// The memory of an operator that leads, and has nothing to do.
async fn without_policies(crowd: &Crowd) -> Result<u64> {
    let pair = Pair::start(crowd, &[]).await?;
    wait::pass(Duration::from_secs(5), "memory of a start settles").await;
    resident(pair.pids()?[0])
}

/// What one of the two uses.
struct Usage {
    cores: f64,
    resident: u64,
    connections: usize,
}

async fn steady(pair: &Pair, time: Duration) -> Result<[Usage; 2]> {
    let [leader, follower] = pair.pids()?;
    let before = [CpuTime::of(leader)?, CpuTime::of(follower)?];
    wait::pass(time, "what is used in a steady state shows only with time").await;
    let usage = |pid: Pid, before: &CpuTime| {
        anyhow::Ok(Usage {
            cores: CpuTime::of(pid)?.cores_since(before),
            resident: resident(pid)?,
            connections: connections_to_port(pid, PORT)?,
        })
    };
    Ok([usage(leader, &before[0])?, usage(follower, &before[1])?])
}

impl Usage {
    fn json(&self) -> Value {
        json!({"cores": self.cores, "residentBytes": self.resident, "connectionsToServers": self.connections})
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    fn row(&self, sessions: &str, who: &str, endpoints: usize, idle: u64) -> Vec<String> {
        let each = self.resident.saturating_sub(idle) / endpoints as u64;
        vec![
            sessions.to_owned(),
            who.to_owned(),
            self.resident.to_string(),
            each.to_string(),
            format!("{:.3}", self.cores),
            format!("{:.2}", self.connections as f64 / endpoints as f64),
        ]
    }
}

fn report(endpoints: usize, idle: u64, figures: &[(&str, [Usage; 2])]) {
    println!();
    println!("{endpoints} endpoints; {idle} bytes without a policy");
    let head = [
        "follower's sessions",
        "who",
        "memory (bytes)",
        "for each endpoint",
        "cores",
        "connections to each server",
    ];
    let rows = figures.iter().flat_map(|(sessions, [leader, follower])| {
        [
            leader.row(sessions, "leader", endpoints, idle),
            follower.row(sessions, "follower", endpoints, idle),
        ]
    });
    let head = head.map(ToOwned::to_owned).to_vec();
    table(&std::iter::once(head).chain(rows).collect::<Vec<_>>());
}
