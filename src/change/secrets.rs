//! The Secret with the URL of a replica, from its making to its end.
//!
//! Others may change the same replica at the same time, and the API server deletes what it is told to. So a Secret that a change made is
//! deleted in three cases: by that change itself; by one that took it out of the policy; and by any other one only once it is
//! [`ABANDONED`] old by the clock of the API server, when the change that made it has ended. Each deletion names the uid.

use std::hash::{BuildHasher, RandomState};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use super::edit::{self, Edit};
use super::requests;
use super::{Acting, Done, Refusal};
use crate::k8s::callers::CallerError;
use distributary_core::ids::PolicyKey;

/// A Secret of this age, in seconds, was not made by a change that is under way: with its Secret made, a change sends at most 7
/// requests, each of which is answered within 10 s or is the last one, and the API server carries that out within a minute.
const ABANDONED: i64 = 180;

/// The names of the Secrets of a replica: a new URL goes into the one that the policy does not name. No other replica has the second
/// one, as ids have no dot.
fn names(key: &PolicyKey, id: &str) -> [String; 2] {
    let name = format!("{}-{id}", key.name);
    [name.clone(), format!("{name}.2")]
}

/// The name for a new Secret of a replica.
pub fn free(key: &PolicyKey, id: &str, policy: &Value) -> Result<String, Refusal> {
    let [first, second] = names(key, id);
    let is_named = |name: &str| edit::refers_to(policy, name);
    let name = match (is_named(&first), edit::secret_of(policy, id)) {
        // The policy names it elsewhere: it is refused where it is made.
        (true, Some(own)) if own == first => second,
        _ => first,
    };
    if name.len() > 253 {
        return Err(Refusal::bad(
            "the names of the policy and of the replica are too long for a Secret",
        ));
    }
    Ok(name)
}

/// What a change leaves behind where it takes the URL of a replica away.
#[derive(Default)]
pub struct Earlier(Vec<Found>);

struct Found {
    name: String,
    /// Whether the replica had its URL in it.
    was_named: bool,
    secret: Result<Value, CallerError>,
}

/// Whether a Secret may be deleted.
enum Fate {
    Deleted,
    Missing,
    OfOthers,
    InUse,
    /// By another change, so many seconds ago.
    JustMade(i64),
}

impl Acting<'_> {
    /// Makes the Secret, in place of one that an earlier change left behind.
    pub(super) async fn make_secret(&self, name: &str, url: &str, policy: &Value) -> Result<Value, Refusal> {
        let mark = format!("{:016x}", RandomState::new().hash_one(name));
        let refused = match self.requests.create_secret(name, url, &mark, policy).await {
            Ok(made) => return Ok(made),
            Err(CallerError::NoAnswer) => return Err(self.unmake_secret(name, &mark).await),
            Err(error) => error,
        };
        if !matches!(&refused, CallerError::Refused(status) if status.code == 409) {
            return Err(refused.into());
        }
        match self.delete_abandoned(name).await {
            Ok(Fate::Deleted | Fate::Missing) => {}
            Ok(Fate::InUse | Fate::OfOthers) | Err(_) => return Err(refused.into()),
            Ok(Fate::JustMade(seconds)) => return Err(Refusal::from(refused).and(&just_made(seconds))),
        }
        if self.terms.dry_run {
            // The one that is in its place is still there.
            return Ok(Value::Null);
        }
        match self.requests.create_secret(name, url, &mark, policy).await {
            Err(CallerError::NoAnswer) => Err(self.unmake_secret(name, &mark).await),
            made => Ok(made?),
        }
    }

    /// It is not known whether the Secret was made.
    async fn unmake_secret(&self, name: &str, mark: &str) -> Refusal {
        let refusal = Refusal::unavailable();
        let deleted = match self.requests.secret(name).await {
            Ok(secret) if requests::has_mark(&secret, mark) => {
                self.requests.delete_secret(name, &secret).await.is_ok()
            }
            Ok(_) => true,
            Err(error) => is_missing(&error),
        };
        if deleted {
            return refusal;
        }
        refusal.and(&format!(
            "Secret {name} may have been created, and could not be deleted: add the replica again, or remove it, after 3 minutes"
        ))
    }

    /// The policy was not changed, or it is not known: the Secret stays where the policy names it, or may still come to.
    pub(super) async fn withdraw(
        &self,
        made: &Value,
        edit: &Edit,
        refusal: Refusal,
    ) -> Result<Value, Refusal> {
        let name = made["metadata"]["name"].as_str().unwrap_or_default();
        let left = |why: &str| {
            refusal
                .clone()
                .and(&format!("Secret {name} was created, and {why}"))
        };
        let is_unknown = refusal.code == 504;
        match self.requests.policy().await {
            Ok(policy) if is_unknown && edit.is_done(&policy, name) => return Ok(policy),
            Ok(policy) if edit::refers_to(&policy, name) => {
                return Err(left("stays, as the policy refers to it"));
            }
            Ok(_) if is_unknown => {
                return Err(left(
                    "stays, as the policy may still come to name it: add the replica again, or remove it, after 3 minutes",
                ));
            }
            Ok(_) => {}
            Err(_) => return Err(left("it is not known whether the policy names it")),
        }
        match self.requests.delete_secret(name, made).await {
            Err(error) if !is_missing(&error) => Err(left("could not be deleted")),
            _ => Err(refusal),
        }
    }

    /// The Secrets of a replica as they are before a change: those that come later are not meant.
    pub(super) async fn earlier(&self, id: &str, policy: &Value) -> Earlier {
        let own = edit::secret_of(policy, id);
        let mut found = vec![];
        for name in names(self.key, id) {
            let was_named = own.as_ref() == Some(&name);
            let secret = self.requests.secret(&name).await;
            found.push(Found {
                name,
                was_named,
                secret,
            });
        }
        Earlier(found)
    }

    /// Deletes what the policy does not name any more.
    pub(super) async fn clear(&self, earlier: Earlier, done: &mut Done) {
        for Found {
            name,
            was_named,
            secret,
        } in earlier.0
        {
            let fate = match secret {
                Ok(secret) => self.end(&name, &secret, &done.policy, was_named).await,
                Err(error) if is_missing(&error) => Ok(Fate::Missing),
                Err(error) => Err(error),
            };
            let note = match fate {
                Ok(Fate::Deleted) => {
                    done.secret.get_or_insert(name);
                    continue;
                }
                Ok(Fate::Missing) => continue,
                // Whoever removes a replica without a Secret needs no right to Secrets.
                _ if !was_named => continue,
                Ok(Fate::InUse) => "stays, as the policy still refers to it".to_owned(),
                Ok(Fate::OfOthers) => "was not made for this replica, and stays".to_owned(),
                Ok(Fate::JustMade(seconds)) => format!("stays: {}", just_made(seconds)),
                Err(error) => format!("was not deleted: {}", Refusal::from(error).message),
            };
            done.notes.push(format!("Secret {name} {note}"));
        }
    }

    /// The policy has no such replica; its Secrets may have stayed behind.
    pub(super) async fn remove_leftovers(&self, id: &str, refusal: Refusal) -> Result<Done, Refusal> {
        let mut deleted = None;
        for name in names(self.key, id) {
            match self.delete_abandoned(&name).await {
                Ok(Fate::Deleted) => deleted = Some(name),
                Ok(Fate::JustMade(seconds)) => {
                    let why = just_made(seconds);
                    return Err(refusal.and(&format!("Secret {name} stays: {why}")));
                }
                Ok(Fate::Missing | Fate::OfOthers | Fate::InUse) | Err(_) => {}
            }
        }
        let (Some(name), Ok(policy)) = (deleted, self.requests.policy().await) else {
            return Err(refusal);
        };
        Ok(Done {
            before: policy.clone(),
            policy,
            secret: Some(name),
            notes: vec![
                "the policy has no such replica; the Secret that was left of it is deleted".to_owned(),
            ],
        })
    }

    /// Deletes a Secret of an earlier change that the policy does not refer to.
    async fn delete_abandoned(&self, name: &str) -> Result<Fate, CallerError> {
        let secret = match self.requests.secret(name).await {
            Err(error) if is_missing(&error) => return Ok(Fate::Missing),
            secret => secret?,
        };
        let policy = self.requests.policy().await?;
        self.end(name, &secret, &policy, false).await
    }

    /// `is_free`: this change took it out of the policy.
    async fn end(
        &self,
        name: &str,
        secret: &Value,
        policy: &Value,
        is_free: bool,
    ) -> Result<Fate, CallerError> {
        if edit::refers_to(policy, name) {
            return Ok(Fate::InUse);
        }
        if !requests::is_ours(secret, policy) {
            return Ok(Fate::OfOthers);
        }
        if !is_free {
            let age = age(secret, &self.requests.server_time(name).await?);
            if age < ABANDONED {
                return Ok(Fate::JustMade(age));
            }
        }
        match self.requests.delete_secret(name, secret).await {
            Err(error) if is_missing(&error) => Ok(Fate::Missing),
            deleted => deleted.map(|_| Fate::Deleted),
        }
    }
}

fn just_made(seconds: i64) -> String {
    let rest = (ABANDONED - seconds.max(0)).max(1);
    format!("another change made it {seconds} s ago, and may be under way: try again in {rest} s")
}

/// Nothing of this name, or of this uid.
fn is_missing(error: &CallerError) -> bool {
    matches!(error, CallerError::Refused(status) if matches!(status.code, 404 | 409))
}

/// Seconds; 0 where it is not known, so that the Secret stays.
fn age(secret: &Value, now: &Value) -> i64 {
    let made = |object: &Value| {
        object["metadata"]["creationTimestamp"]
            .as_str()?
            .parse::<Timestamp>()
            .ok()
    };
    match (made(secret), made(now)) {
        (Some(secret), Some(now)) => now.as_second().saturating_sub(secret.as_second()),
        _ => 0,
    }
}
