//! Changes of a policy, as the caller.
//!
//! # Guarantees
//! - Every request has the caller's token, and is one that they could make themselves.
//! - A change is of the policy as it was read: where it changed meanwhile, it is read again, [`TRIES`] times in all.
//! - A URL with a password goes into a Secret, and nowhere else. Where the policy is not changed in the end, the Secret is deleted; where
//!   that is not known, it stays, and is taken over or deleted by the next change of this replica.

mod asked;
mod body;
mod gitops;
mod patch;
mod requests;

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::State as Api;
use super::answers::Origin;
use super::caller::Caller;
use super::chosen::{Choice, ChoiceQuery, query};
use super::problem::Problem;
use crate::clock::timestamp;
use crate::k8s::callers::CallerError;
use crate::k8s::secrets::SecretAccess;
pub use asked::{Action, Change};
pub use body::Bodies;
use distributary_core::ids::PolicyKey;
use patch::{Addition, Edit};
use requests::Requests;

/// How often a policy is read for one change.
const TRIES: u32 = 3;

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
    /// The Secret that was created or deleted; null: none was.
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
    path = "/api/db/replicas",
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
    caller.is_proven();
    let change = asked::read(&api.bodies.read(request.into_body()).await?)?;
    let edit = change.edit(&key, &timestamp().to_string())?;
    let (origin, force) = (Arc::clone(&api), change.force);
    let of = key.clone();
    // A change goes on where the caller has gone: a Secret that was made for nothing is deleted.
    let carried_out = tokio::spawn(async move {
        let acting = Acting {
            requests: Requests::new(&api.parts.callers, &caller, &of)?,
            secrets: api.parts.secrets,
            key: &of,
            force,
        };
        acting.carry_out(&edit).await
    });
    let done = carried_out.await.map_err(|_| Problem::unavailable())??;
    Ok(Json(ChangeAnswer {
        action: change.action,
        policy: key.to_string(),
        resource_version: version(&done.policy),
        secret: done.secret,
        notes: done.notes,
        origin: origin.origin(),
    }))
}

/// One change, by one caller.
struct Acting<'a> {
    requests: Requests<'a>,
    secrets: SecretAccess,
    key: &'a PolicyKey,
    force: bool,
}

#[derive(Default)]
struct Done {
    policy: Value,
    secret: Option<String>,
    notes: Vec<String>,
}

impl Acting<'_> {
    async fn carry_out(&self, edit: &Edit) -> Result<Done, Problem> {
        match edit {
            Edit::Add(addition) if addition.secret.is_some() => self.add_with_secret(edit, addition).await,
            Edit::Remove(id) => self.remove(edit, id).await,
            _ => {
                let (_, policy) = self.patch(edit, false).await?;
                Ok(Done {
                    policy,
                    ..Done::default()
                })
            }
        }
    }

    /// The policy as it was, and as it is.
    async fn patch(&self, edit: &Edit, dry_run: bool) -> Result<(Value, Value), Problem> {
        let mut before = self.requests.policy().await?;
        for left in (0..TRIES).rev() {
            if edit.is_of_spec() && !self.force {
                gitops::refuses(&before)?;
            }
            let operations = edit.operations(&before)?;
            let refused = match self.requests.patch(&operations, dry_run).await {
                Ok(after) => return Ok((before, after)),
                Err(CallerError::Refused(status)) if matches!(status.code, 409 | 422) => status,
                Err(error) => return Err(error.into()),
            };
            // A test that fails is refused as an invalid change is: it is told apart by the version.
            let now = self.requests.policy().await?;
            if version(&now) == version(&before) {
                return Err(Problem::refused(&refused));
            }
            if left > 0 {
                before = now;
            }
        }
        let message = "the policy changes faster than it can be read: try again";
        Err(Problem::new(StatusCode::CONFLICT, "Conflict", message))
    }

    async fn add_with_secret(&self, edit: &Edit, addition: &Addition) -> Result<Done, Problem> {
        let Some((name, url)) = &addition.secret else {
            return Err(Problem::bad("the URL has no password"));
        };
        let (before, _) = self.patch(edit, true).await?;
        let made = self.make_secret(name, url, &before).await?;
        let changed = match self.patch(edit, false).await {
            Ok((_, policy)) => Ok(policy),
            Err(problem) => self.withdraw(name, &made, &addition.id, problem).await,
        };
        let mut notes = vec![];
        if self.secrets == SecretAccess::Named {
            notes.push(format!(
                "the operator reads only the Secrets that it is granted by name: grant it get, list and watch on Secret {name} in namespace {}",
                self.key.namespace
            ));
        }
        Ok(Done {
            policy: changed?,
            secret: Some(name.clone()),
            notes,
        })
    }

    /// Makes the Secret, in place of one that an earlier change left behind.
    async fn make_secret(&self, name: &str, url: &str, policy: &Value) -> Result<Value, Problem> {
        let refused = match self.requests.create_secret(name, url, policy).await {
            Ok(made) => return Ok(made),
            Err(CallerError::NoAnswer) => return Err(self.unmake_secret(name).await),
            Err(error) => error,
        };
        let is_taken = matches!(&refused, CallerError::Refused(status) if status.code == 409);
        if !is_taken || !matches!(self.delete_leftover(name).await, Ok(Found::Deleted)) {
            return Err(refused.into());
        }
        match self.requests.create_secret(name, url, policy).await {
            Err(CallerError::NoAnswer) => Err(self.unmake_secret(name).await),
            made => Ok(made?),
        }
    }

    /// It is not known whether the Secret was made.
    async fn unmake_secret(&self, name: &str) -> Problem {
        let problem = Problem::unavailable();
        match self.delete_leftover(name).await {
            Ok(_) => problem,
            Err(_) => Problem {
                message: format!(
                    "{}; Secret {name} may have been created, and could not be deleted: add the replica again, or remove it",
                    problem.message
                ),
                ..problem
            },
        }
    }

    /// Deletes a Secret of this API that the policy does not refer to.
    async fn delete_leftover(&self, name: &str) -> Result<Found, CallerError> {
        let policy = self.requests.policy().await?;
        if patch::refers_to(&policy, name) {
            return Ok(Found::InUse);
        }
        self.delete_if_ours(name, &policy).await
    }

    /// The policy was not changed, or it is not known: the Secret stays where the policy names it, or may still come to.
    async fn withdraw(&self, name: &str, made: &Value, id: &str, problem: Problem) -> Result<Value, Problem> {
        let left = |why: &str| Problem {
            message: format!("{}; Secret {name} was created, and {why}", problem.message),
            ..problem.clone()
        };
        match self.requests.policy().await {
            Ok(policy) if patch::names_secret(&policy, id, name) => return Ok(policy),
            Ok(_) if problem.code == 504 => {
                return Err(left(
                    "stays, as the policy may still come to name it: add the replica again, or remove it",
                ));
            }
            Ok(_) => {}
            Err(_) => return Err(left("it is not known whether the policy names it")),
        }
        match self.requests.delete_secret(name, made).await {
            Ok(_) => Err(problem),
            Err(_) => Err(left("could not be deleted")),
        }
    }

    async fn remove(&self, edit: &Edit, id: &str) -> Result<Done, Problem> {
        let name = patch::secret_name(self.key, id);
        let (before, policy) = match self.patch(edit, false).await {
            Err(problem) if problem.code == 404 => {
                return self.remove_leftover(&name, problem).await;
            }
            patched => patched?,
        };
        let mut done = Done {
            policy,
            ..Done::default()
        };
        let named = patch::names_secret(&before, id, &name);
        let found = if patch::refers_to(&done.policy, &name) {
            Ok(Found::InUse)
        } else {
            self.delete_if_ours(&name, &done.policy).await
        };
        match found {
            Ok(Found::Deleted) => done.secret = Some(name),
            Ok(Found::Nothing) => {}
            // Whoever removes a replica without a Secret needs no right to Secrets.
            _ if !named => {}
            Ok(Found::InUse) => done
                .notes
                .push(format!("Secret {name} stays, as the policy still refers to it")),
            Ok(Found::OfOthers) => done
                .notes
                .push(format!("Secret {name} was not made by this API, and stays")),
            Err(error) => {
                let problem = Problem::from(error);
                done.notes
                    .push(format!("Secret {name} was not deleted: {}", problem.message));
            }
        }
        Ok(done)
    }

    /// The policy has no such replica; its Secret may have stayed behind.
    async fn remove_leftover(&self, name: &str, problem: Problem) -> Result<Done, Problem> {
        let (Ok(Found::Deleted), Ok(policy)) =
            (self.delete_leftover(name).await, self.requests.policy().await)
        else {
            return Err(problem);
        };
        Ok(Done {
            policy,
            secret: Some(name.to_owned()),
            notes: vec![
                "the policy has no such replica; the Secret that was left of it is deleted".to_owned(),
            ],
        })
    }

    async fn delete_if_ours(&self, name: &str, policy: &Value) -> Result<Found, CallerError> {
        let secret = match self.requests.secret(name).await {
            Ok(secret) => secret,
            Err(CallerError::Refused(status)) if status.code == 404 => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        if !requests::is_ours(&secret, policy) {
            return Ok(Found::OfOthers);
        }
        self.requests.delete_secret(name, &secret).await?;
        Ok(Found::Deleted)
    }
}

/// What became of the Secret of a replica.
enum Found {
    Deleted,
    Nothing,
    OfOthers,
    InUse,
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
