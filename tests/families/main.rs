//! A cluster whose Services have addresses of IPv6 alone. In all other tests they are of IPv4.

#[allow(dead_code, reason = "made for more tests than these")]
#[path = "../cluster/fixture.rs"]
mod fixture;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fixture::{Fixture, POLICY, SOON};
use harness::control_plane::ServiceFamily;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, wait, watch};
use serde_json::json;
use tokio::net::TcpStream;

fn main() -> ExitCode {
    harness::node::enter(|| {
        let definition = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/crds/replicasetpolicies.distributary.dev.yaml"
        );
        Suite::new(move || async move {
            ControlPlane::start_of(ServiceFamily::V6, &[Path::new(definition)]).await
        })
        .test("a_server_of_ipv4_is_not_served_through_services_of_ipv6", ipv4)
        .run()
    })
}

async fn ipv4(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(2).ipv6(), &[]).await?;
    let (primary, six) = (it.postgres.primary(), it.postgres.replica(1));
    let mut policy = it.quick();
    policy["spec"]["primary"]["host"] = json!(address6(primary)?);
    policy["spec"]["replicas"][1]["host"] = json!(address6(six)?);
    it.apply(&policy).await?;
    let is = it.endpoint("replica-1", "FamilyNotServed", SOON).await?;
    ensure!(is.server.role == "Standby" && !is.server.eligible, "{is:?}");
    leads(&it, "rw", primary).await?;
    leads(&it, "ro", six).await?;
    it.condition("Ready", "True", "Routable").await?;
    it.condition("StrategyEnforced", "False", "FamilyNotServed")
        .await?;
    let service = it.cluster_ip("ro").await?;
    ensure!(service.is_ipv6(), "{service}");
    wait::eventually("an answer of the Service", SOON, || async {
        let attempt = TcpStream::connect(service);
        anyhow::Ok(tokio::time::timeout(Duration::from_secs(1), attempt).await??)
    })
    .await?;

    // It counts as none that serves.
    six.kill().await?;
    leads(&it, "ro", primary).await?;
    it.condition("ReadFallbackActive", "True", "NoReplicaEligible")
        .await?;

    policy["spec"]["primary"]["host"] = json!(primary.address());
    it.apply(&policy).await?;
    it.condition("Ready", "False", "FamilyNotServed").await?;
    it.leads("rw", &[], SOON).await
}

fn address6(server: &Postgres) -> Result<String> {
    Ok(server.ipv6().context("an address of IPv6")?.to_string())
}

async fn leads(it: &Fixture, route: &str, server: &Postgres) -> Result<()> {
    let address = BTreeSet::from([address6(server)?]);
    watch::routes(&it.slices(), &format!("{POLICY}-{route}"), &address, SOON).await
}
