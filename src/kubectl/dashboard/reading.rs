//! What the page reads. The API server is asked first; figures are those of the operator, or else what the status has.

use axum::Json;
use axum::extract::{Query, State};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, State as Local, by_status, problem};
use crate::http_api::answers::{PolicyItem, PolicyList, RightsAnswer};
use crate::http_api::names::{self, PolicyPath};
use crate::http_api::paths;
use crate::http_api::problem::Problem;
use crate::k8s;
use crate::kubectl::cluster::Policy;
use crate::kubectl::error::Error;
use distributary_api::ReplicaSetPolicy;
use distributary_core::ids::PolicyKey;

/// Policies of a page that is read of the API server.
const PAGE: u32 = 500;
const GROUP: &str = "distributary.dev";
const RESOURCE: &str = "replicasetpolicies";

/// Which policies, of which page.
#[derive(Debug, Deserialize)]
pub struct Asked {
    pub namespace: Option<String>,
    r#continue: Option<String>,
}

/// The policies that the caller may list.
pub async fn policies(State(local): Local, Query(asked): Query<Asked>) -> Result<Json<Value>, Problem> {
    let namespace = asked.namespace.as_deref().map(names::namespace).transpose()?;
    let all = local.all(namespace);
    // Whoever may list some may list all.
    may_list(&all).await?;
    let mut path = format!("{}?limit={PAGE}", paths::POLICIES);
    if let Some(namespace) = namespace {
        path.push_str(&format!("&namespace={namespace}"));
    }
    if let Some(after) = &asked.r#continue {
        names::after(after)?;
        path.push_str(&format!("&continue={after}"));
    }
    let told = async { local.live().await?.get(&path).await };
    match told.await {
        Ok(list) => Ok(Json(list)),
        Err(why) if local.live.is_named() => Err(problem(&why)),
        Err(why) => {
            // From the first one on: the operator counts its pages in another way than the API server.
            let list = PolicyList {
                items: listed(&local.policies(namespace)).await?,
                r#continue: None,
                origin: by_status::origin(),
            };
            Ok(Json(without_figures(&list, &why)))
        }
    }
}

/// All policies as the API server has them.
async fn listed(all: &Api<Policy>) -> Result<Vec<PolicyItem>, Problem> {
    let mut items = Vec::new();
    let mut asked = ListParams::default().limit(PAGE);
    loop {
        let page = k8s::call(all.list(&asked)).await;
        let page = page.map_err(|error| problem(&error.into()))?;
        items.extend(page.items.iter().map(by_status::item));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => asked = asked.continue_token(&token),
            None => return Ok(items),
        }
    }
}

/// Whether the caller may list these policies.
pub async fn may_list(all: &Api<ReplicaSetPolicy>) -> Result<(), Problem> {
    let one = ListParams::default().limit(1);
    let listed = k8s::call(all.list_metadata(&one)).await;
    listed.map(drop).map_err(|error| problem(&error.into()))
}

/// All that is known of a policy.
pub async fn policy(State(local): Local, PolicyPath(key): PolicyPath) -> Result<Json<Value>, Problem> {
    let object = local.object(&key).await?;
    match local.figures(&key).await {
        Ok(answer) => Ok(Json(answer)),
        Err(why) if local.live.is_named() => Err(problem(&why)),
        Err(why) => Ok(Json(told(&object, &why))),
    }
}

/// What the caller may do with a policy.
pub async fn rights(State(local): Local, PolicyPath(key): PolicyPath) -> Result<Json<RightsAnswer>, Problem> {
    let asked = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(ResourceAttributes {
            group: Some(GROUP.to_owned()),
            resource: Some(RESOURCE.to_owned()),
            verb: Some("patch".to_owned()),
            namespace: Some(key.namespace),
            name: Some(key.name),
            ..ResourceAttributes::default()
        }),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview {
        spec: asked,
        ..SelfSubjectAccessReview::default()
    };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(local.cluster.client.clone());
    let answer = k8s::call(reviews.create(&PostParams::default(), &review)).await;
    let answer = answer.map_err(|error| problem(&error.into()))?;
    let change = answer.status.is_some_and(|status| status.allowed);
    Ok(Json(RightsAnswer {
        change,
        message: (!change).then(|| "you may not patch this ReplicaSetPolicy".to_owned()),
        origin: by_status::origin(),
    }))
}

/// What the status has of a policy, and why there is no more.
pub fn told(object: &ReplicaSetPolicy, why: &Error) -> Value {
    without_figures(&by_status::policy(object), why)
}

fn without_figures(answer: &impl serde::Serialize, why: &Error) -> Value {
    let mut answer = serde_json::to_value(answer).unwrap_or_default();
    answer["withoutFigures"] = json!(why.text().trim_start_matches("error: "));
    answer
}

impl Shared {
    /// The policies of a namespace, or all, as the caller.
    pub(super) fn all(&self, namespace: Option<&str>) -> Api<ReplicaSetPolicy> {
        let client = self.cluster.client.clone();
        match namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    /// The same, of whatever version.
    fn policies(&self, namespace: Option<&str>) -> Api<Policy> {
        let (client, resource) = (self.cluster.client.clone(), k8s::policy_resource());
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    /// A policy as the API server has it, read as the caller.
    pub(super) async fn object(&self, key: &PolicyKey) -> Result<ReplicaSetPolicy, Problem> {
        let object = k8s::call(self.all(Some(&key.namespace)).get(&key.name)).await;
        object.map_err(|error| problem(&error.into()))
    }

    async fn figures(&self, key: &PolicyKey) -> Result<Value, Error> {
        self.live().await?.get(&paths::about(paths::POLICY, key)).await
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::{Request, Response};
    use kube::Client;
    use kube::client::Body;

    use super::*;

    #[tokio::test]
    async fn policies_without_figures_are_listed_to_the_last_page() {
        let service = tower::service_fn(|request: Request<Body>| async move {
            let query = request.uri().query().unwrap_or_default().to_owned();
            let is_second = query.contains("continue=eyJ2IjoibWV0YS5rOHMuaW8");
            let (name, token) = if is_second {
                ("b", "")
            } else {
                ("a", "eyJ2IjoibWV0YS5rOHMuaW8")
            };
            let policy = json!({
                "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
                "metadata": {"namespace": "shop", "name": name}, "spec": {"primary": {"host": "h"}},
            });
            let list = json!({
                "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicyList",
                "metadata": {"continue": token, "resourceVersion": "7"}, "items": [policy],
            });
            Ok::<_, Infallible>(Response::new(Body::from(list.to_string().into_bytes())))
        });
        let all = Api::all_with(Client::new(service, "default"), &k8s::policy_resource());
        let names: Vec<_> = listed(&all)
            .await
            .unwrap()
            .into_iter()
            .map(|it| it.name)
            .collect();
        assert_eq!(names, ["a", "b"]);
    }
}
