//! Many policies at once: one request, of what a line needs.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::cluster::{Cluster, resource_name};
use super::error::Error;
use crate::http_api::answers::{PolicyItem, StateAnswer};
use crate::k8s;
use axum::http::Request;
use distributary_api::RouteStatus;
use distributary_core::policy::{Mode, Strategy};

/// Flags of a command that shows one policy, some, or all.
#[derive(Clone, Debug, clap::Args)]
pub struct Chosen {
    /// Name of the policy. Default: all policies of the namespace.
    #[arg(value_name = "POLICY", conflicts_with = "all_namespaces")]
    pub name: Option<String>,
    #[command(flatten)]
    pub scope: Scope,
}

/// Whether all namespaces are meant.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Scope {
    /// Policies of all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
}

impl Scope {
    /// `None`: all namespaces.
    pub fn namespace(self, cluster: &Cluster) -> Option<&str> {
        (!self.all_namespaces).then_some(cluster.namespace.as_str())
    }
}

/// A policy, as far as lists show it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Listed {
    pub metadata: Named,
    pub spec: Spec,
    pub status: Told,
}

/// Of the spec, with the defaults of a policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Spec {
    pub mode: String,
    pub load_balancing: LoadBalancing,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            mode: Mode::default().word().to_owned(),
            load_balancing: LoadBalancing::default(),
        }
    }
}

/// How the servers of a route share the reads.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct LoadBalancing {
    pub strategy: String,
}

impl Default for LoadBalancing {
    fn default() -> Self {
        Self {
            strategy: Strategy::default().word().to_owned(),
        }
    }
}

/// The names of a policy.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Named {
    pub namespace: String,
    pub name: String,
}

/// Of the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Told {
    conditions: Vec<Condition>,
    pub primary: Option<Primary>,
    pub summary: Option<Summary>,
    pub routes: Vec<RouteStatus>,
    pub routing: Routing,
    pub failovers: Vec<IgnoredAny>,
}

/// The routes that are written.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Routing {
    pub revision: String,
    pub programmed_at: Option<String>,
}

/// The endpoint that takes the writes.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Primary {
    pub id: String,
}

/// How many replicas are well.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Summary {
    pub healthy_replicas: u32,
    pub total_replicas: u32,
    pub lag: Option<String>,
}

/// A condition of the status.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Condition {
    r#type: String,
    pub status: String,
    pub reason: String,
    pub message: String,
}

impl Listed {
    /// As the operator's list has it.
    pub fn of(item: &PolicyItem) -> Self {
        let condition = |type_: &str, state: &StateAnswer| Condition {
            r#type: type_.to_owned(),
            status: state.status.clone(),
            reason: state.reason.clone(),
            message: state.message.clone(),
        };
        let ready = item.ready.as_ref().map(|state| condition("Ready", state));
        let degraded = item.degraded.as_ref().map(|state| condition("Degraded", state));
        Self {
            metadata: Named {
                namespace: item.namespace.clone(),
                name: item.name.clone(),
            },
            status: Told {
                conditions: ready.into_iter().chain(degraded).collect(),
                primary: item.write_primary.clone().map(|id| Primary { id }),
                ..Told::default()
            },
            ..Self::default()
        }
    }
}

impl Told {
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|condition| condition.r#type == type_)
    }

    /// True, False or Unknown; empty: there is no status yet.
    pub fn ready(&self) -> &str {
        self.condition("Ready").map_or("", |ready| &ready.status)
    }

    /// The condition that says most: Ready where it is not True, else Degraded where it is, else Ready.
    pub fn telling(&self) -> Option<&Condition> {
        let ready = self.condition("Ready")?;
        let degraded = || self.condition("Degraded").filter(|it| it.status == "True");
        if ready.status == "True" {
            degraded().or(Some(ready))
        } else {
            Some(ready)
        }
    }
}

const RESOURCE: &str = "/apis/distributary.dev/v1alpha1";

/// The policies of a namespace, or of all where there is none, as the API server has them in its memory.
///
/// # Errors
/// What the API server says against it.
pub async fn policies(cluster: &Cluster, namespace: Option<&str>) -> Result<Vec<Listed>, Error> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Listed>,
    }
    let within = namespace.map(|namespace| format!("/namespaces/{namespace}"));
    let within = within.unwrap_or_default();
    let path = format!("{RESOURCE}{within}/replicasetpolicies?resourceVersion=0");
    let list: List = k8s::call(cluster.client.request(request(&path)?)).await?;
    Ok(list.items)
}

/// The policy of this name, or all of the namespace, or of all namespaces.
///
/// # Errors
/// What the API server says against it; that there is none of this name.
pub async fn chosen(cluster: &Cluster, chosen: &Chosen) -> Result<Vec<Listed>, Error> {
    let Some(name) = &chosen.name else {
        return policies(cluster, chosen.scope.namespace(cluster)).await;
    };
    resource_name(name)?;
    let path = format!(
        "{RESOURCE}/namespaces/{}/replicasetpolicies/{name}",
        cluster.namespace
    );
    Ok(vec![k8s::call(cluster.client.request(request(&path)?)).await?])
}

/// The names in the path were judged.
fn request(path: &str) -> Result<Request<Vec<u8>>, Error> {
    let request = Request::get(path).body(Vec::new());
    request.map_err(|error| Error::said(error.to_string()))
}

/// What a namespace without policies shows, as kubectl says it.
pub fn none(namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("No resources found in {namespace} namespace."),
        None => "No resources found".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::Response;
    use kube::client::Body;
    use kube::{Client, Config};

    use super::*;

    /// The API server knows nothing of the path, and answers without a Status.
    #[tokio::test]
    async fn where_nothing_is_installed_the_server_has_no_such_resource() {
        let service = tower::service_fn(|_: Request<Body>| async {
            let answer = Response::builder().status(404);
            let body = Body::from(b"404 page not found\n".to_vec());
            Ok::<_, Infallible>(answer.body(body).unwrap())
        });
        let cluster = Cluster {
            config: Config::new("https://localhost:1".parse().unwrap()),
            client: Client::new(service, "default"),
            namespace: "shop".to_owned(),
        };
        let said = [
            policies(&cluster, None).await.unwrap_err().text(),
            cluster.policy("orders").await.unwrap_err().text(),
        ];
        for said in said {
            let words = "error: the server doesn't have a resource type \"replicasetpolicies\": ";
            assert!(said.starts_with(words), "{said}");
        }
    }
}
