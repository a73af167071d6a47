//! The cluster of a command, as kubectl's flags name it, and its policies.

use std::path::PathBuf;

use kube::core::Object;
use kube::{Api, Client, Config};
use serde_json::Value;

use super::error::Error;
use crate::cli::cluster::{Connection, path_part};
use crate::k8s;
use distributary_api::ReplicaSetPolicyStatus;

/// A policy whose spec is as it is: another version of the operator may have fields and words that this one does not know.
pub type Policy = Object<Value, ReplicaSetPolicyStatus>;

/// The ids of the endpoints that a policy declares, the primary first.
pub fn declared(policy: &Policy) -> Vec<&str> {
    let primary = policy.spec["primary"]["id"].as_str().unwrap_or("primary");
    let replicas = policy.spec["replicas"].as_array().into_iter().flatten();
    let ids = replicas.filter_map(|replica| replica["id"].as_str());
    std::iter::once(primary).chain(ids).collect()
}

/// Flags of kubectl: they stand before or after the command.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Where {
    /// Namespace of the policy. Default: the namespace of the kubeconfig's context.
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
    /// Context of the kubeconfig. Default: its current context.
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// File that is read in place of KUBECONFIG and ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// A cluster, as the caller.
pub struct Cluster {
    /// With the credentials of the caller.
    pub config: Config,
    pub client: Client,
    /// That of `-n`, or of the context.
    pub namespace: String,
}

impl Where {
    pub fn connection(&self) -> Connection {
        Connection {
            kubeconfig: self.kubeconfig.clone(),
            context: self.context.clone(),
        }
    }

    /// # Errors
    /// There is no kubeconfig or context of this name, or it cannot be used; the namespace cannot be one.
    pub async fn cluster(&self) -> Result<Cluster, Error> {
        let config = self.connection().config().await?;
        let client = Connection::client_of(&config)?;
        // An empty one is none, as of kubectl.
        let given = self.namespace.clone().filter(|namespace| !namespace.is_empty());
        let namespace = given.unwrap_or_else(|| config.default_namespace.clone());
        path_part("namespace", &namespace)?;
        Ok(Cluster {
            config,
            client,
            namespace,
        })
    }
}

impl Cluster {
    /// The policies of the namespace.
    pub fn policies(&self) -> Api<Policy> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &k8s::policy_resource())
    }

    /// The policy of this name in the namespace, read anew.
    ///
    /// # Errors
    /// What the API server says against it; that there is none, in its words.
    pub async fn policy(&self, name: &str) -> Result<Policy, Error> {
        resource_name(name)?;
        Ok(k8s::call(self.policies().get(name)).await?)
    }
}

/// Whether this may be the name of a policy.
///
/// # Errors
/// It may not, in the words of kubectl.
pub fn resource_name(name: &str) -> Result<(), Error> {
    Ok(path_part("resource name", name)?)
}
