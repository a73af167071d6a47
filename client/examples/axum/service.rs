//! A service in three parts: analytics, campaigns and contacts, for several tenants. Each request says what it is; the policy decides
//! where it goes, and `Server-Timing` in the answer names the server.

use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{FromRequestParts, Query as Parameters, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use distributary_client::{Error, Followers, Priority, Query, Session, WriteOutcome};
use serde::{Deserialize, Serialize};

/// Which tenant a request is for.
const TENANT: &str = "x-tenant";

/// The service, for a router: `tenants` gives each of them its own reads after writes.
pub fn service(tenants: Followers) -> axum::Router {
    axum::Router::new()
        .route("/analytics/dashboard", get(dashboard))
        .route("/analytics/reports", get(report))
        .route("/campaigns", get(campaigns).post(create_campaign))
        .route("/contacts/search", get(search))
        .route("/contacts/import", post(import))
        .route("/contacts/batch", post(batch))
        .with_state(tenants)
}

/// The tenant of a request.
struct Tenant(String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let tenant = parts.headers.get(TENANT).and_then(|value| value.to_str().ok());
        tenant
            .filter(|tenant| !tenant.is_empty())
            .map(|tenant| Self(tenant.to_owned()))
            .ok_or((
                StatusCode::BAD_REQUEST,
                "the header x-tenant must name the tenant",
            ))
    }
}

/// An answer, and who gave it.
struct Answer<T> {
    value: T,
    endpoint: String,
    took: Duration,
}

impl<T: Serialize> IntoResponse for Answer<T> {
    fn into_response(self) -> Response {
        let timing = format!(
            "db;desc=\"{}\";dur={:.1}",
            self.endpoint,
            self.took.as_secs_f64() * 1000.0
        );
        let mut headers = HeaderMap::new();
        headers.extend(
            HeaderValue::try_from(timing)
                .map(|value| (axum::http::HeaderName::from_static("server-timing"), value)),
        );
        (headers, Json(self.value)).into_response()
    }
}

/// A request that failed. What PostgreSQL said is not for callers.
struct Failure(Error);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, says) = match (&self.0, self.0.write_outcome()) {
            (_, Some(WriteOutcome::NotDone)) => (StatusCode::SERVICE_UNAVAILABLE, "not done: send it again"),
            (_, Some(WriteOutcome::Unknown)) => (
                StatusCode::BAD_GATEWAY,
                "it may have been done: look before you repeat it",
            ),
            (Error::Deadline { .. }, None) => (StatusCode::GATEWAY_TIMEOUT, "it took too long"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
        };
        (status, says).into_response()
    }
}

type Answered<T> = Result<Answer<T>, Failure>;

/// The answer with its time.
#[expect(clippy::disallowed_methods, reason = "an example has no clock of ours")]
async fn timed<T>(request: impl Future<Output = Result<(T, String), Error>>) -> Answered<T> {
    let started = Instant::now();
    // A request of a router is a large value.
    let (value, endpoint) = Box::pin(request).await.map_err(Failure)?;
    Ok(Answer {
        value,
        endpoint,
        took: started.elapsed(),
    })
}

/// How many rows a table has of a tenant.
async fn count(session: Session, statement: &str, tenant: &str) -> Result<(i64, String), Error> {
    let row = session.query_one(statement, &[&tenant]).await?;
    Ok((row.get(0), session.endpoint().to_owned()))
}

/// People wait for it, and it may be a little old.
async fn dashboard(State(tenants): State<Followers>, Tenant(tenant): Tenant) -> Answered<i64> {
    let query = Query::operation("dashboard")
        .with_priority(Priority::Medium)
        .max_lag(Duration::from_secs(60))
        .within(Duration::from_secs(2));
    let statement = "SELECT count(*) FROM contact WHERE tenant = $1";
    timed(async {
        let run = |session: Session| count(session, statement, &tenant);
        // No tenant: what it wrote a moment ago need not be in it.
        tenants.read(query, run).await
    })
    .await
}

/// Nobody waits for it.
async fn report(State(tenants): State<Followers>, Tenant(tenant): Tenant) -> Answered<i64> {
    let query = Query::operation("reports").within(Duration::from_secs(60));
    let statement = "SELECT count(*) FROM campaign WHERE tenant = $1";
    timed(async {
        let run = |session: Session| count(session, statement, &tenant);
        tenants.read(query, run).await
    })
    .await
}

/// A campaign, as it is made.
#[derive(Deserialize)]
struct Campaign {
    name: String,
}

async fn create_campaign(
    State(tenants): State<Followers>,
    Tenant(tenant): Tenant,
    Json(campaign): Json<Campaign>,
) -> Answered<i64> {
    let query = Query::operation("create").of_tenant(tenant.clone());
    timed(tenants.transaction(query, |session: Session| {
        let (tenant, name) = (tenant.as_str(), campaign.name.as_str());
        async move {
            let statement = "INSERT INTO campaign (tenant, name) VALUES ($1, $2) RETURNING id";
            let row = session.query_one(statement, &[&tenant, &name]).await?;
            Ok((row.get(0), session.endpoint().to_owned()))
        }
    }))
    .await
}

/// It shows the campaign that the tenant made a moment ago.
async fn campaigns(State(tenants): State<Followers>, Tenant(tenant): Tenant) -> Answered<Vec<String>> {
    let query = Query::operation("findMany").of_tenant(tenant.clone());
    timed(tenants.read(query, |session: Session| {
        let tenant = tenant.as_str();
        async move {
            let statement = "SELECT name FROM campaign WHERE tenant = $1 ORDER BY id";
            let rows = session.query(statement, &[&tenant]).await?;
            let names = rows.iter().map(|row| row.get(0)).collect();
            Ok((names, session.endpoint().to_owned()))
        }
    }))
    .await
}

#[derive(Deserialize)]
struct Search {
    q: String,
}

async fn search(
    State(tenants): State<Followers>,
    Tenant(tenant): Tenant,
    Parameters(search): Parameters<Search>,
) -> Answered<Vec<String>> {
    let query = Query::operation("search").within(Duration::from_secs(5));
    timed(tenants.read(query, |session: Session| {
        let (tenant, part) = (tenant.as_str(), search.q.as_str());
        async move {
            let statement =
                "SELECT name FROM contact WHERE tenant = $1 AND strpos(name, $2) > 0 ORDER BY id LIMIT 100";
            let rows = session.query(statement, &[&tenant, &part]).await?;
            let names = rows.iter().map(|row| row.get(0)).collect();
            Ok((names, session.endpoint().to_owned()))
        }
    }))
    .await
}

/// A bulk import: one statement, however many there are.
async fn import(
    State(tenants): State<Followers>,
    Tenant(tenant): Tenant,
    Json(names): Json<Vec<String>>,
) -> Answered<u64> {
    let query = Query::operation("createMany").of_tenant(tenant.clone());
    timed(tenants.write(query, |session: Session| {
        let (tenant, names) = (tenant.as_str(), &names);
        async move {
            let statement = "INSERT INTO contact (tenant, name) SELECT $1, unnest($2::text[])";
            let rows = session.execute(statement, &[&tenant, names]).await?;
            Ok((rows, session.endpoint().to_owned()))
        }
    }))
    .await
}

/// Batched reads: the statements are sent together, over one connection.
async fn batch(
    State(tenants): State<Followers>,
    Tenant(tenant): Tenant,
    Json(ids): Json<Vec<i64>>,
) -> Answered<Vec<Option<String>>> {
    let query = Query::operation("findMany").read_only().of_tenant(tenant.clone());
    timed(tenants.read(query, |session: Session| {
        let (tenant, ids) = (tenant.as_str(), &ids);
        async move {
            let statement = session
                .prepare("SELECT name FROM contact WHERE tenant = $1 AND id = $2")
                .await?;
            let one = async |id: &i64| {
                let row = session.query_opt(&statement, &[&tenant, id]).await?;
                Ok::<_, Error>(row.map(|row| row.get(0)))
            };
            let names = futures::future::try_join_all(ids.iter().map(one)).await?;
            Ok((names, session.endpoint().to_owned()))
        }
    }))
    .await
}
