//! Which policy a request is about.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use serde::Deserialize;
use utoipa::IntoParams;

use distributary_core::ids::PolicyKey;

use super::answers::PolicyItem;
use super::caller::Caller;
use super::facts::Facts;
use super::problem::Problem;
use super::rights::Subject;
use super::{Shared, names};
use crate::k8s::readiness::Readiness;
use axum::http::StatusCode;
use kube::Resource;

/// Policies that are looked at before others have their turn.
const AT_ONCE: usize = 16;

/// Names a policy. Without `policy` the caller must be able to list policies, and there must be exactly one.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Choice {
    /// NAMESPACE/NAME of the policy. May be left out where the caller can list policies, and the list has one.
    #[param(example = "shop/orders")]
    pub policy: Option<String>,
    /// The namespace whose policies are listed, where policy is left out. Default: all; where the caller may not list these, the
    /// namespace of the operator, if it serves one alone.
    #[param(example = "shop")]
    pub namespace: Option<String>,
}

/// The query of a request.
///
/// # Errors
/// What is wrong with it.
pub fn query<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => {
            let text = rejection.body_text();
            // After the first colon it names the parameter.
            let why = text.split_once(": ").map_or(text.as_str(), |(_, why)| why);
            Err(Problem::bad(format!("the query is wrong: {why}")))
        }
    }
}

impl Shared {
    /// The policy that a caller means and may read.
    ///
    /// # Errors
    /// They may not, or mean none or several.
    pub(super) async fn chosen(&self, caller: &Caller, choice: &Choice) -> Result<PolicyKey, Problem> {
        if let Some(policy) = &choice.policy {
            if choice.namespace.is_some() {
                return Err(Problem::bad("give policy or namespace, not both"));
            }
            let key = names::whole(policy)?;
            self.rights.prove(caller, &Subject::Policy(key.clone())).await?;
            return Ok(key);
        }
        let namespace = choice.namespace.as_deref().map(names::namespace).transpose()?;
        let listed = self.listed(caller, namespace).await?;
        let names = self.parts.context.shown_names(listed.as_deref(), None, 2);
        match <[_; 1]>::try_from(names) {
            Ok([key]) => Ok(key),
            Err(_) => Err(Problem::bad(
                "name the policy, as ?policy=NAMESPACE/NAME: there is not exactly one",
            )),
        }
    }

    /// What is known of the policy that a caller means and may read.
    ///
    /// # Errors
    /// They may not, mean none or several, or nothing is known of it.
    pub(super) async fn chosen_facts(&self, caller: &Caller, choice: ChoiceQuery) -> Result<Facts, Problem> {
        let key = self.chosen(caller, &query(choice)?).await?;
        self.facts(&key)
    }

    /// The namespace whose policies a caller may list, where none was named: all, or the only one that the operator serves.
    ///
    /// # Errors
    /// They may list none of these.
    pub(super) async fn listed(
        &self,
        caller: &Caller,
        namespace: Option<&str>,
    ) -> Result<Option<String>, Problem> {
        let own = namespace.map(ToOwned::to_owned);
        let proof = self.rights.prove(caller, &Subject::Policies(own.clone())).await;
        let listed = match (proof, &*self.parts.namespaces) {
            (Ok(_), _) => own,
            (Err(problem), [only]) if own.is_none() && problem.code == 403 => {
                let only = Some(only.clone());
                self.rights
                    .prove(caller, &Subject::Policies(only.clone()))
                    .await?;
                only
            }
            (Err(problem), _) => return Err(problem),
        };
        let readiness = self.parts.context.synced.subscribe();
        known(&readiness.borrow(), listed.as_deref())?;
        Ok(listed)
    }

    /// Policies in short, as they are; `None`: one is gone.
    pub(super) async fn items(
        &self,
        keys: impl IntoIterator<Item = PolicyKey>,
    ) -> Vec<(PolicyKey, Option<PolicyItem>)> {
        let mut found = vec![];
        for (place, key) in keys.into_iter().enumerate() {
            if place % AT_ONCE == AT_ONCE - 1 {
                tokio::task::yield_now().await;
            }
            let item = self.facts(&key).ok().map(|facts| facts.item());
            found.push((key, item));
        }
        found
    }

    /// What is known of a policy that a caller may read.
    ///
    /// # Errors
    /// The operator does not know it, or has not listed the policies of its namespace yet.
    pub(super) fn facts(&self, key: &PolicyKey) -> Result<Facts, Problem> {
        let context = &self.parts.context;
        let readiness = context.synced.subscribe();
        let shown = context
            .shown(key)
            .ok_or_else(|| unknown(&readiness.borrow(), key))?;
        let uid = shown.meta().uid.clone().unwrap_or_default();
        let entry = self.parts.board.get(key);
        Ok(Facts {
            key: key.clone(),
            status: serde_json::from_value(shown.status()).unwrap_or_default(),
            entry: entry.filter(|entry| entry.decision.policy.uid == uid),
            slices: context.shown_routes(key, &uid),
            now: self.parts.clock.now(),
        })
    }
}

/// # Errors
/// The policies of a namespace, or of all, were not listed yet.
fn known(readiness: &Readiness, namespace: Option<&str>) -> Result<(), Problem> {
    if readiness.knows_policies(namespace) {
        return Ok(());
    }
    let message = "the operator has not listed the policies yet: try again";
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "NotReady", message))
}

/// Why nothing is known of a policy.
fn unknown(readiness: &Readiness, key: &PolicyKey) -> Problem {
    known(readiness, Some(&key.namespace)).err().unwrap_or_else(|| {
        let message = format!("the operator does not serve ReplicaSetPolicy {key}, or has not seen it yet");
        Problem::new(StatusCode::NOT_FOUND, "NotFound", message)
    })
}

/// The parts of a request that choose a policy.
pub type ChoiceQuery = Result<Query<Choice>, QueryRejection>;

#[cfg(test)]
mod tests {
    use crate::k8s::readiness::FirstLists;
    use crate::k8s::secrets::SecretAccess;

    use super::*;
    use crate::http_api::reading::{AskedPage, AskedStats};

    #[test]
    fn what_is_wrong_with_a_query_names_the_parameter() {
        fn told<T: serde::de::DeserializeOwned + std::fmt::Debug>(asked: &str) -> String {
            let uri = format!("/?{asked}").parse().unwrap();
            query(Query::<T>::try_from_uri(&uri)).unwrap_err().message
        }
        for (message, name) in [
            (told::<AskedPage>("limit=many"), "limit"),
            (told::<AskedPage>("limit=1&limit=2"), "limit"),
            (told::<AskedStats>("component=routes"), "component"),
            (told::<Choice>("policy=shop/orders&policy=shop/orders"), "policy"),
        ] {
            let why = message.strip_prefix("the query is wrong: ").unwrap();
            assert!(why.contains(name), "{message}");
        }
    }

    #[test]
    fn before_the_first_list_a_policy_is_not_known_to_be_missing() {
        let lists = FirstLists::new(&[Some("shop".to_owned())], SecretAccess::Named);
        let code = |namespace: &str| {
            let key = PolicyKey::new(namespace, "orders");
            unknown(&lists.subscribe().borrow(), &key).code
        };
        assert_eq!((code("shop"), code("elsewhere")), (503, 404));
        lists.policies_listed(&Some("shop".to_owned()));
        assert_eq!(code("shop"), 404);
    }
}
