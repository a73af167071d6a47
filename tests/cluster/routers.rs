//! The Rust client beside the operator: it goes by the ConfigMap that is watched at the API server.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use distributary_client::{Credentials, Error, Query, Router, Session};
use harness::postgres::{APP, Shutdown};
use harness::suite::Suite;
use harness::{ControlPlane, wait};

use crate::fixture::{Fixture, SOON};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test("a_router_follows_the_config_map", a_router_follows_the_config_map)
}

async fn written(router: &Router) -> Result<String, Error> {
    let write = |session: Session| async move {
        session
            .execute("insert into note (body) values ('w')", &[])
            .await?;
        Ok(session.endpoint().to_owned())
    };
    let query = Query::operation("create").within(Duration::from_secs(1));
    router.write(query, write).await
}

async fn read(router: &Router) -> Result<String, Error> {
    let who = |session: Session| async move {
        session.query_one("select 1", &[]).await?;
        Ok(session.endpoint().to_owned())
    };
    router
        .read(Query::new().within(Duration::from_secs(1)), who)
        .await
}

async fn a_router_follows_the_config_map(plane: Arc<ControlPlane>) -> Result<()> {
    let fixture = Fixture::at_quick(plane, 2).await?;
    let router = Router::builder()
        .routing_config_map(fixture.plane.client(), &*fixture.namespace, "orders-routing")
        .credentials(Credentials::new(APP.user, APP.password))
        .connect()
        .await?;
    ensure!(written(&router).await? == "primary");
    // Changes arrive by the watch: nobody asks.
    let before = router.table().revision;
    fixture.postgres.replica(0).stop(Shutdown::Immediate).await?;
    wait::eventually("the routes to change", SOON, || async {
        ensure!(router.table().revision != before);
        ensure!(
            !router.table().routes["ro"]
                .targets
                .iter()
                .any(|target| target.endpoint == "replica-1")
        );
        Ok(())
    })
    .await?;
    ensure!(read(&router).await? != "replica-1");
    fixture.postgres.primary().stop(Shutdown::Immediate).await?;
    fixture.postgres.replica(1).promote().await?;
    wait::eventually("the writes to follow the promotion", SOON, || async {
        let taken = written(&router).await?;
        ensure!(taken == "replica-2", "{taken}");
        Ok(())
    })
    .await
}
