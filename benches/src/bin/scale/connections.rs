//! Connections to the API server while nothing happens: a thousand policies whose replicas are three pods behind a Service.
//!
//! POLICIES (1000), IDLE seconds before they are counted (120): longer than a client keeps a connection that it does not use.

use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use anyhow::Result;
use benches::contest::versions;
use benches::crowd::{Crowd, Shape};
use benches::figures::{aim, milliseconds, save, show, table};
use benches::option;
use benches::usage::{connections, resident};
use harness::node::API_PORT;
use harness::node::API_SERVER;
use harness::wait;
use serde_json::json;

use crate::{pid, settle};

/// The aim.
const LIMIT: usize = 20;

pub async fn measure() -> Result<()> {
    let policies: usize = option("POLICIES", 1000)?;
    let mut crowd = Crowd::start(Shape::PODS, policies).await?;
    crowd.grow(policies).await?;
    let started = Instant::now();
    let operator = crowd.operator().start().await?;
    let start = crowd.started(started).await?;
    settle().await?;
    let idle = Duration::from_secs_f64(option("IDLE", 120.0)?);
    wait::pass(idle, "connections that are not used are closed after a time").await;
    let (ours, api) = (pid(&operator)?, SocketAddrV4::new(API_SERVER, API_PORT));
    let (established, files) = (connections(ours, api)?, operator.open_files()?);
    let resident = resident(ours)?;
    table(&[
        [
            "policies",
            "Services",
            "connections",
            "open files",
            "memory",
            "all routed",
        ]
        .map(ToOwned::to_owned)
        .to_vec(),
        vec![
            policies.to_string(),
            policies.to_string(),
            established.to_string(),
            files.to_string(),
            format!("{resident} bytes"),
            show(Some(start.routed)),
        ],
    ]);
    aim(
        &format!("at most {LIMIT} connections to the API server ({established})"),
        Some(established <= LIMIT),
    );
    crowd.end_stub().await?;
    save(
        "scale-connections",
        json!({
            "policies": policies, "services": policies, "endpoints": crowd.servers(), "connections": established,
            "limit": LIMIT, "openFiles": files, "residentBytes": resident, "routedMs": milliseconds(start.routed),
            "versions": versions(),
        }),
    )
}
