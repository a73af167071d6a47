//! What the page changes, as the caller: see [`crate::change`].

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, State as Local};
use crate::change::{self, Terms, Way, asked};
use crate::clock::timestamp;
use crate::http_api::names;
use crate::http_api::problem::Problem;
use crate::k8s::callers::AsCaller;

/// Bytes of a body, as of the HTTP API.
const MOST: usize = 8 * 1024;

const BY_PAGE: Way = Way {
    field_manager: "kubectl-distributary",
    force_by: "say that it is to be changed all the same",
};

#[derive(Debug, Deserialize)]
pub struct Asked {
    policy: String,
}

/// Carries out a change as the HTTP API does, with the rights of the kubeconfig.
pub async fn change(
    State(local): Local,
    Query(of): Query<Asked>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    if body.len() > MOST {
        let message = "the body must have at most 8 KiB";
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message));
    }
    let key = names::whole(&of.policy)?;
    let change = asked::read(&body)?;
    let edit = change.edit(&timestamp().to_string())?;
    let terms = Terms {
        way: &BY_PAGE,
        force: change.force,
        dry_run: false,
        secrets: None,
    };
    // It goes on where the browser has gone: a Secret that was made for nothing is deleted.
    let (caller, policy) = (caller(&local), key.to_string());
    let done = tokio::spawn(async move { change::carry_out(caller, &key, &edit, terms).await });
    let done = done.await.map_err(|_| Problem::unavailable())??;
    Ok(Json(json!({
        "action": change.action, "policy": policy, "resourceVersion": done.version(),
        "secret": done.secret, "notes": done.notes,
    })))
}

fn caller(local: &Arc<Shared>) -> AsCaller {
    AsCaller::over(local.cluster.client.clone())
}
