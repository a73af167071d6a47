//! The example of a web service: each part takes its route, and says which server answered.

#[path = "../../examples/axum/service.rs"]
mod service;

use anyhow::{Context, Result, ensure};
use axum::body::{Body, to_bytes};
use axum::http::Request;
use distributary_client::Followers;
use harness::PgCluster;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fixture::{builder, spec};

/// The status of an answer, the server that it names, and what it says.
async fn answer(
    service: &axum::Router,
    (method, path): (&str, &str),
    tenant: &str,
    body: Value,
) -> Result<(u16, String, Value)> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-tenant", tenant)
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))?;
    let response = service.clone().oneshot(request).await?;
    let timing = response.headers().get("server-timing");
    let timing = timing
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()?;
    let server = timing
        .as_deref()
        .and_then(|timing| timing.split('"').nth(1))
        .unwrap_or_default();
    let (status, server) = (response.status().as_u16(), server.to_owned());
    let text = to_bytes(response.into_body(), 1 << 20).await?;
    let value = serde_json::from_slice(&text).unwrap_or_default();
    Ok((status, server, value))
}

pub async fn each_part_of_the_service_takes_its_route() -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let primary = cluster.primary();
    for table in ["contact", "campaign"] {
        let statement = format!(
            "create table {table} (id bigserial primary key, tenant text, name text); \
             grant all on {table}, {table}_id_seq to app"
        );
        primary.sql(&statement).await?;
    }
    primary.sql("grant pg_read_all_stats to app").await?;
    cluster.caught_up().await?;
    let mut spec = spec(&cluster);
    spec["replicas"][1]["dedicatedTo"] = json!(["analytics"]);
    let router = builder(&spec)?.connect().await?;
    let router = warm_classes(router).await?;
    let service = service::service(Followers::new(router, 100));
    let (status, _, _) = answer(&service, ("GET", "/analytics/dashboard"), "", Value::Null).await?;
    ensure!(status == 400, "{status}: no tenant");

    // Writes.
    let names: Vec<_> = (0..100).map(|number| format!("contact {number}")).collect();
    let imported = answer(&service, ("POST", "/contacts/import"), "acme", json!(names)).await?;
    ensure!(
        imported == (200, "primary".to_owned(), json!(100)),
        "{imported:?}"
    );
    let campaign = json!({"name": "spring"});
    let created = answer(&service, ("POST", "/campaigns"), "acme", campaign).await?;
    ensure!((created.0, created.1.as_str()) == (200, "primary"), "{created:?}");

    // The tenant sees what it wrote, on the replica too; another one does not.
    let seen = answer(&service, ("GET", "/campaigns"), "acme", Value::Null).await?;
    ensure!(seen.2 == json!(["spring"]) && seen.1 != "replica-1", "{seen:?}");
    let other = answer(&service, ("GET", "/campaigns"), "other", Value::Null).await?;
    ensure!(other == (200, "replica-0".to_owned(), json!([])), "{other:?}");
    cluster.caught_up().await?;
    let seen = answer(&service, ("GET", "/campaigns"), "acme", Value::Null).await?;
    ensure!(
        seen == (200, "replica-0".to_owned(), json!(["spring"])),
        "{seen:?}"
    );
    let batched = answer(&service, ("POST", "/contacts/batch"), "acme", json!([1, 2, 1000])).await?;
    let expected = json!(["contact 0", "contact 1", null]);
    ensure!(batched == (200, "replica-0".to_owned(), expected), "{batched:?}");

    // Analytics has a replica of its own.
    for (path, expected) in [
        ("/analytics/dashboard", json!(100)),
        ("/analytics/reports", json!(1)),
        ("/contacts/search?q=act%2099", json!(["contact 99"])),
    ] {
        let answered = answer(&service, ("GET", path), "acme", Value::Null).await?;
        ensure!(
            answered == (200, "replica-1".to_owned(), expected),
            "{path}: {answered:?}"
        );
    }
    primary.stop(harness::postgres::Shutdown::Immediate).await?;
    let refused = answer(&service, ("POST", "/campaigns"), "acme", json!({"name": "late"})).await?;
    ensure!(refused.0 == 503, "{refused:?}");
    Ok(())
}

/// The router, once each route has its replica.
async fn warm_classes(router: distributary_client::Router) -> Result<distributary_client::Router> {
    let led = |router: &distributary_client::Router, route: &str, to: &str| {
        let table = router.table();
        let route = table.routes.get(route).context("a route")?;
        let ids: Vec<_> = route
            .targets
            .iter()
            .map(|target| target.endpoint.as_str())
            .collect();
        ensure!(ids == [to], "{ids:?}");
        anyhow::Ok(())
    };
    harness::wait::eventually(
        "the replicas to serve",
        std::time::Duration::from_secs(20),
        || async {
            led(&router, "ro", "replica-0")?;
            led(&router, "analytics", "replica-1")
        },
    )
    .await?;
    Ok(router)
}
