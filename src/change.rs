//! Changes of a policy, as whoever asks for them: by the HTTP API with their token, by the plugin with their kubeconfig.
//!
//! # Guarantees
//! - Every request is the caller's, and one that they could make themselves.
//! - A change is of the policy as it was read: where it changed meanwhile, it is read again, [`TRIES`] times in all.
//! - A URL with a password goes into a Secret, and nowhere else. Where the policy is not changed in the end, the Secret is deleted; where
//!   that is not known, it stays, and is taken over or deleted by a later change of this replica.
//! - No Secret is deleted but one that a change made for this policy, that the policy does not name, and that no other change may yet
//!   make it name: see [`secrets`].

pub mod asked;
mod edit;
mod gitops;
mod refusal;
mod requests;
mod secrets;

use serde_json::Value;

use crate::k8s::callers::{AsCaller, CallerError};
use crate::k8s::secrets::SecretAccess;
use distributary_core::ids::PolicyKey;
pub use edit::{Edit, Update, Whose};
pub use refusal::Refusal;
use requests::Requests;
use secrets::Earlier;

/// How often a policy is read for one change.
const TRIES: u32 = 3;

/// How a change is asked for.
pub struct Way {
    /// Who changes fields, as the API server keeps it.
    pub field_manager: &'static str,
    /// How a caller insists.
    pub force_by: &'static str,
}

/// With a body.
pub const BY_API: Way = Way {
    field_manager: "distributary-api",
    force_by: "set \"force\": true",
};

/// With a command.
pub const BY_PLUGIN: Way = Way {
    field_manager: "kubectl-distributary",
    force_by: "use --force",
};

/// What holds for a change.
pub struct Terms {
    pub way: &'static Way,
    /// Whether the spec is changed, though GitOps manages it.
    pub force: bool,
    /// Whether the API server only says what would become of it.
    pub dry_run: bool,
    /// Which Secrets the operator reads; `None`: not known.
    pub secrets: Option<SecretAccess>,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// The policy that was changed.
    pub before: Value,
    /// The policy after the change.
    pub policy: Value,
    /// The Secret that was created, or else the one that was deleted.
    pub secret: Option<String>,
    /// What the caller has to know or to do, a sentence each.
    pub notes: Vec<String>,
}

impl Done {
    /// The version of the policy after the change.
    #[must_use]
    pub fn version(&self) -> String {
        version(&self.policy)
    }
}

/// Carries out a change of a policy.
///
/// # Errors
/// What stands in its way. A code of 504: the change may still come about.
pub async fn carry_out(
    caller: AsCaller,
    key: &PolicyKey,
    edit: &Edit,
    terms: Terms,
) -> Result<Done, Refusal> {
    if !asked::is_key(key) {
        return Err(Refusal::bad(
            "a namespace must be a DNS-1123 label, and the name of a policy a DNS-1123 subdomain",
        ));
    }
    let acting = Acting {
        requests: Requests {
            caller,
            key,
            field_manager: terms.way.field_manager,
            dry_run: terms.dry_run,
        },
        key,
        terms,
    };
    match edit.url() {
        Some((id, url)) => acting.with_secret(edit, id, url).await,
        None => acting.without_secret(edit).await,
    }
}

/// One change, by one caller.
struct Acting<'a> {
    requests: Requests<'a>,
    key: &'a PolicyKey,
    terms: Terms,
}

impl Acting<'_> {
    async fn without_secret(&self, edit: &Edit) -> Result<Done, Refusal> {
        let earlier = match edit.leaves() {
            Some(id) => self.earlier(id, &self.requests.policy().await?).await,
            None => Earlier::default(),
        };
        let (before, policy) = match (self.patch(edit, None, self.terms.dry_run).await, edit) {
            (Err(refusal), Edit::Remove(id)) if refusal.code == 404 => {
                return self.remove_leftovers(id, refusal).await;
            }
            (patched, _) => patched?,
        };
        let mut done = Done {
            before,
            policy,
            ..Done::default()
        };
        self.clear(earlier, &mut done).await;
        Ok(done)
    }

    /// Says first what would become of it, and makes the Secret only then.
    async fn with_secret(&self, edit: &Edit, id: &str, url: &str) -> Result<Done, Refusal> {
        let now = self.requests.policy().await?;
        let name = secrets::free(self.key, id, &now)?;
        let (before, policy) = self.patch(edit, Some(&name), true).await?;
        let earlier = match edit.leaves() {
            Some(id) => self.earlier(id, &before).await,
            None => Earlier::default(),
        };
        let made = self.make_secret(&name, url, &before).await?;
        let mut done = Done {
            before,
            policy,
            secret: Some(name.clone()),
            notes: self.grant(&name),
        };
        if !self.terms.dry_run {
            (done.before, done.policy) = match self.patch(edit, Some(&name), false).await {
                Ok(patched) => patched,
                Err(refusal) => (done.before, self.withdraw(&made, edit, refusal).await?),
            };
        }
        self.clear(earlier, &mut done).await;
        Ok(done)
    }

    /// The policy as it was, and as it is. `secret`: where the URL of the replica is.
    async fn patch(
        &self,
        edit: &Edit,
        secret: Option<&str>,
        dry_run: bool,
    ) -> Result<(Value, Value), Refusal> {
        let mut before = self.requests.policy().await?;
        for left in (0..TRIES).rev() {
            if edit.is_of_spec() && !self.terms.force {
                gitops::refuses(&before, self.terms.way.force_by)?;
            }
            let operations = edit.operations(&before, secret)?;
            let refused = match self.requests.patch(&operations, dry_run).await {
                Ok(after) => return Ok((before, after)),
                Err(CallerError::Refused(status)) if matches!(status.code, 409 | 422) => status,
                Err(error) => return Err(error.into()),
            };
            // A test that fails is refused as an invalid change is: it is told apart by the version.
            let now = self.requests.policy().await?;
            if version(&now) == version(&before) {
                return Err(Refusal::of(&refused));
            }
            if left > 0 {
                before = now;
            }
        }
        let message = "the policy changes faster than it can be read: try again";
        Err(Refusal::new(409, "Conflict", message))
    }

    /// What the operator must be granted to read a Secret.
    fn grant(&self, name: &str) -> Vec<String> {
        let rest = format!(
            "grant it get, list and watch on Secret {name} in namespace {}",
            self.key.namespace
        );
        match self.terms.secrets {
            Some(SecretAccess::Named) => vec![format!(
                "the operator reads only the Secrets that it is granted by name: {rest}"
            )],
            Some(SecretAccess::ClusterWide) => vec![],
            None => vec![format!("where the operator runs with --secrets=named, {rest}")],
        }
    }
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
