//! Changes of a policy by a request, with the token of the caller: see [`crate::change`].

mod body;

use axum::Json;
use axum::extract::{Request, State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::State as Api;
use super::answers::Origin;
use super::caller::Caller;
use super::chosen::{Choice, ChoiceQuery, query};
use super::paths;
use super::problem::Problem;
use crate::change::asked::{self, Action, Change};
use crate::change::{self, BY_API, Terms};
use crate::clock::timestamp;
pub use body::Bodies;

/// What was done.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChangeAnswer {
    /// What was asked for.
    pub action: Action,
    /// NAMESPACE/NAME of the policy.
    pub policy: String,
    /// The version of the policy after the change.
    pub resource_version: String,
    /// The Secret that was created, or else the one that was deleted; null: none was.
    pub secret: Option<String>,
    /// What the caller has to know or to do, a sentence each.
    pub notes: Vec<String>,
    #[serde(flatten)]
    pub origin: Origin,
}

/// Check every server now, or add, update or remove a replica.
///
/// The request is made with the rights of the caller: get and patch of the policy; for a URL with a password, and for a replica
/// that has one, also create, get and delete of Secrets.
#[utoipa::path(
    post,
    path = paths::REPLICAS,
    params(Choice),
    request_body = Change,
    responses(
        (status = 200, description = "The policy was changed", body = ChangeAnswer),
        (status = 409, description = "The policy or the Secret is in the way: AlreadyExists, Conflict or ManagedByGitOps", body = Problem),
        (status = 408, description = "The body has not come within 10 s", body = Problem),
        (status = 413, description = "The body has more than 8 KiB", body = Problem),
        (status = 422, description = "The API server refuses the change", body = Problem),
    )
)]
pub async fn change(
    State(api): Api,
    caller: Caller,
    choice: ChoiceQuery,
    request: Request,
) -> Result<Json<ChangeAnswer>, Problem> {
    // Nothing is read of a caller who may not read the policy. The API server judges each request of the change again.
    let key = api.chosen(&caller, &query(choice)?).await?;
    let change = asked::read(&api.bodies.read(request.into_body()).await?)?;
    let edit = change.edit(&timestamp().to_string())?;
    let caller = api.parts.callers.as_caller(&caller.token)?;
    let terms = Terms {
        way: &BY_API,
        force: change.force,
        dry_run: false,
        secrets: Some(api.parts.secrets),
    };
    let of = key.clone();
    // A change goes on where the caller has gone: a Secret that was made for nothing is deleted.
    let carried_out = tokio::spawn(async move { change::carry_out(caller, &of, &edit, terms).await });
    let done = carried_out.await.map_err(|_| Problem::unavailable())??;
    Ok(Json(ChangeAnswer {
        action: change.action,
        policy: key.to_string(),
        resource_version: done.version(),
        secret: done.secret,
        notes: done.notes,
        origin: api.origin(),
    }))
}
