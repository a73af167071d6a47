//! Requests that read.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::State as Api;
use super::answers::{Health, PolicyAnswer, PolicyList, Replicas, RightsAnswer, Stats};
use super::caller::Caller;
use super::chosen::{Choice, ChoiceQuery, query};
use super::facts::Component;
use super::names::{self, PolicyNames, PolicyPath};
use super::paths;
use super::problem::Problem;
use super::rights::Subject;
use crate::http::OPEN_METRICS;

/// Policies of a page, at most.
const PAGE: usize = 500;
/// The same where nothing is asked for.
const USUAL_PAGE: usize = 100;

/// Whether reads and writes are routed.
#[utoipa::path(
    get,
    path = paths::HEALTH,
    params(Choice),
    responses(
        (status = 200, description = "The condition Ready is True", body = Health),
        (status = 503, description = "The condition Ready is not True, or policies were not listed yet", body = Health),
    )
)]
pub async fn health(State(api): Api, caller: Caller, choice: ChoiceQuery) -> Result<Response, Problem> {
    let health = api.chosen_facts(&caller, choice).await?.health(api.origin());
    let code = if health.healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok((code, Json(health)).into_response())
}

/// The servers of a policy, and their figures.
#[utoipa::path(
    get,
    path = paths::REPLICAS,
    params(Choice),
    responses((status = 200, description = "The servers", body = Replicas))
)]
pub async fn replicas(
    State(api): Api,
    caller: Caller,
    choice: ChoiceQuery,
) -> Result<Json<Replicas>, Problem> {
    let facts = api.chosen_facts(&caller, choice).await?;
    Ok(Json(facts.replicas(api.origin())))
}

/// Which figures are asked for.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum AskedComponent {
    /// Of the routes.
    Routing,
    /// Of the replicas.
    Replicas,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AskedStats {
    /// Default: both.
    #[param(inline)]
    pub component: Option<AskedComponent>,
}

/// Figures of the routes and of the replicas.
#[utoipa::path(
    get,
    path = paths::STATS,
    params(Choice, AskedStats),
    responses((status = 200, description = "The figures", body = Stats))
)]
pub async fn stats(
    State(api): Api,
    caller: Caller,
    choice: ChoiceQuery,
    asked: Result<Query<AskedStats>, QueryRejection>,
) -> Result<Json<Stats>, Problem> {
    let component = match query(asked)?.component {
        Some(AskedComponent::Routing) => Some(Component::Routing),
        Some(AskedComponent::Replicas) => Some(Component::Replicas),
        None => None,
    };
    let facts = api.chosen_facts(&caller, choice).await?;
    Ok(Json(facts.stats(component, api.origin())))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct AskedPage {
    /// The namespace whose policies are listed. Default: all; where the caller may not list these, the namespace of the operator,
    /// if it serves one alone.
    pub namespace: Option<String>,
    /// Policies of a page. Default: 100.
    #[param(minimum = 1, maximum = 500)]
    pub limit: Option<usize>,
    /// What the page before gave as continue. Default: the first page.
    #[param(example = "shop/orders")]
    pub r#continue: Option<String>,
}

/// The policies that the caller may list.
#[utoipa::path(
    get,
    path = paths::POLICIES,
    params(AskedPage),
    responses((status = 200, description = "A page of policies", body = PolicyList))
)]
pub async fn policies(
    State(api): Api,
    caller: Caller,
    asked: Result<Query<AskedPage>, QueryRejection>,
) -> Result<Json<PolicyList>, Problem> {
    let asked = query(asked)?;
    let limit = asked.limit.unwrap_or(USUAL_PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::bad("limit must be 1 to 500"));
    }
    let after = asked.r#continue.as_deref().map(names::after).transpose()?;
    let namespace = asked.namespace.as_deref().map(names::namespace).transpose()?;
    let listed = api.listed(&caller, namespace).await?;
    // One more tells whether there is a next page.
    let context = &api.parts.context;
    let mut page = context.shown_names(listed.as_deref(), after.as_ref(), limit + 1);
    let is_last = page.len() <= limit;
    page.truncate(limit);
    let last = page.last().filter(|_| !is_last).map(ToString::to_string);
    // One that went meanwhile is left out.
    let items = api.items(page).await.into_iter().filter_map(|(_, item)| item);
    Ok(Json(PolicyList {
        items: items.collect(),
        r#continue: last,
        origin: api.origin(),
    }))
}

/// All that is known of a policy.
#[utoipa::path(
    get,
    path = paths::POLICY,
    params(PolicyNames),
    responses((status = 200, description = "The policy", body = PolicyAnswer))
)]
pub async fn policy(
    State(api): Api,
    caller: Caller,
    PolicyPath(key): PolicyPath,
) -> Result<Json<PolicyAnswer>, Problem> {
    api.rights.prove(&caller, &Subject::Policy(key.clone())).await?;
    Ok(Json(api.facts(&key)?.policy(api.origin())))
}

/// What the caller may do with a policy, which they may read.
#[utoipa::path(
    get,
    path = paths::RIGHTS,
    params(PolicyNames),
    responses((status = 200, description = "The rights", body = RightsAnswer))
)]
pub async fn rights(
    State(api): Api,
    caller: Caller,
    PolicyPath(key): PolicyPath,
) -> Result<Json<RightsAnswer>, Problem> {
    api.rights.prove(&caller, &Subject::Policy(key.clone())).await?;
    let message = match api.rights.prove(&caller, &Subject::Change(key)).await {
        Ok(_) => None,
        Err(problem) if problem.code == 403 => Some(problem.message),
        Err(problem) => return Err(problem),
    };
    Ok(Json(RightsAnswer {
        change: message.is_none(),
        message,
        origin: api.origin(),
    }))
}

/// The metrics of this process, where --metrics=Authorized is set.
#[utoipa::path(
    get,
    path = paths::METRICS,
    responses(
        (status = 200, description = "OpenMetrics", body = String, content_type = "application/openmetrics-text"),
        (status = 500, description = "The page cannot be written, which is a fault of the operator", body = Problem),
    )
)]
pub async fn metrics(State(api): Api, caller: Caller) -> Result<Response, Problem> {
    let Some(exposition) = &api.parts.exposition else {
        let message = "the metrics are on the port of --http-address, as --metrics=Authorized is not set";
        return Err(Problem::new(StatusCode::NOT_FOUND, "NotFound", message));
    };
    api.rights.prove(&caller, &Subject::Metrics).await?;
    match exposition.page().await {
        Ok(page) => Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], page).into_response()),
        Err(error) => {
            tracing::error!(%error, "the page of metrics cannot be written");
            let message = "the page of metrics cannot be written";
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                message,
            ))
        }
    }
}
