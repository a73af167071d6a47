//! What the cluster has: the policy with its status, and its objects.

use std::collections::BTreeSet;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, KubeconfigError};
use kube::core::DynamicObject;
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use super::documents::{Documents, secret_keys};
use super::{Error, kubeconfig, policy_file, proxy};
use crate::k8s;
use crate::k8s::clients::Clients;
use crate::k8s::error::CallError;
use crate::rehearse::Observations;
use crate::render::{Kind, Manifest, ObjectId, labels};
use crate::writing::diff::Observed;
use distributary_api::validate;
use distributary_api::{ReplicaSetPolicy, ReplicaSetPolicyStatus};
use distributary_core::ids::PolicyKey;
use distributary_core::observation::Role;

fn failed(what: impl Into<String>) -> impl FnOnce(CallError) -> Error {
    let what = what.into();
    |source| Error::Failed {
        what,
        source: source.into(),
    }
}

/// Which cluster, as whom: the kubeconfig's current context where nothing else is said.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// `None`: KUBECONFIG, or ~/.kube/config, or the pod's ServiceAccount.
    pub kubeconfig: Option<PathBuf>,
    /// `None`: the current one.
    pub context: Option<String>,
}

impl Connection {
    /// # Errors
    /// There is no kubeconfig, or it has no such context.
    pub async fn config(&self) -> Result<Config, Error> {
        let Self {
            kubeconfig: file,
            context,
        } = self;
        let read = match file {
            Some(file) => kubeconfig::of_file(file).map(Some),
            None => kubeconfig::of_environment(),
        };
        let read = read.map_err(unusable)?;
        let named = read.filter(|read| file.is_some() || context.is_some() || read.current_context.is_some());
        let Some(read) = named else {
            return match context {
                Some(context) => Err(no_context(context)),
                None => Config::incluster().map_err(|error| Error::Failed {
                    what: "cannot find the API server: no kubeconfig with a current context and no in-cluster credentials"
                        .to_owned(),
                    source: error.into(),
                }),
            };
        };
        let options = KubeConfigOptions {
            context: context.clone(),
            ..KubeConfigOptions::default()
        };
        let names_proxy = proxy::is_named(&read, context.as_deref());
        let config = Config::from_custom_kubeconfig(read, &options).await;
        let mut config = config.map_err(|error| match (error, context) {
            (KubeconfigError::LoadContext(_), Some(context)) => no_context(context),
            (error, _) => unusable(error),
        })?;
        let host = config.cluster_url.host().unwrap_or_default();
        if !names_proxy && proxy::is_passed_by(host, &no_proxy()) {
            config.proxy_url = None;
        }
        Ok(config)
    }

    /// A client for it, and the namespace of the context.
    pub async fn client(&self) -> Result<(Client, String), Error> {
        let config = self.config().await?;
        let namespace = config.default_namespace.clone();
        Ok((Self::client_of(&config)?, namespace))
    }

    /// # Errors
    /// Its certificates or its proxy cannot be used, or its credential plugin gives no login.
    pub fn client_of(config: &Config) -> Result<Client, Error> {
        if config.proxy_url.is_some() {
            return Err(Error::Unusable(proxy::UNUSED.to_owned()));
        }
        Clients::of_command(config).map_err(|error| match kubeconfig::no_login(config, &error) {
            Some(why) => Error::Unusable(why),
            None => Error::Failed {
                what: error.to_string(),
                source: error.into(),
            },
        })
    }
}

/// As the environment has it.
fn no_proxy() -> String {
    let mut named = ["NO_PROXY", "no_proxy"].into_iter();
    let named = named.find_map(|name| std::env::var(name).ok().filter(|named| !named.is_empty()));
    named.unwrap_or_default()
}

fn no_context(name: &str) -> Error {
    Error::Unusable(format!("context \"{name}\" does not exist"))
}

fn unusable(error: KubeconfigError) -> Error {
    Error::Failed {
        what: "cannot use the kubeconfig".to_owned(),
        source: error.into(),
    }
}

/// Whether a name of the command line may become part of a path at the API server. `what`: what it is the name of.
///
/// # Errors
/// It may not, in the words of kubectl.
pub fn path_part(what: &str, name: &str) -> Result<(), Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    let mut wrong: Vec<_> = ["/", "%"]
        .into_iter()
        .filter(|part| name.contains(part))
        .map(|part| format!("may not contain '{part}'"))
        .collect();
    if matches!(name, "." | "..") {
        wrong.push(format!("may not be '{name}'"));
    } else if wrong.is_empty() && !name.bytes().all(is_plain) {
        wrong.push("may only contain letters, digits, '-' and '.'".to_owned());
    }
    if name.is_empty() {
        Err(Error::Unusable(format!("{what} may not be empty")))
    } else if wrong.is_empty() {
        Ok(())
    } else {
        let wrong = wrong.join(" ");
        Err(Error::Unusable(format!("invalid {what} \"{name}\": [{wrong}]")))
    }
}

/// The policy as it is in the cluster; `None`: there is none of this name.
pub async fn policy(client: &Client, namespace: &str, name: &str) -> Result<Option<ReplicaSetPolicy>, Error> {
    let policies: Api<ReplicaSetPolicy> = Api::namespaced(client.clone(), namespace);
    match k8s::call(policies.get(name)).await {
        Ok(policy) => Ok(Some(policy)),
        // Where there is no such resource, the answer has no reason of the API server.
        Err(CallError::Refused(status)) if status.reason == "NotFound" => Ok(None),
        Err(error) => {
            let what = format!("cannot read the ReplicaSetPolicy {namespace}/{name}");
            Err(failed(what)(error))
        }
    }
}

/// A ConfigMap; `None`: there is none of this name.
pub async fn config_map(client: &Client, namespace: &str, name: &str) -> Result<Option<Value>, Error> {
    let found = k8s::call(k8s::api(client, Kind::ConfigMap, namespace).get_opt(name)).await;
    let found = found.map_err(failed(format!("cannot read the ConfigMap {namespace}/{name}")))?;
    Ok(found.map(|object| value(object, Kind::ConfigMap)))
}

/// The objects of a policy, and those that have one of the names of `desired`.
pub async fn objects(client: &Client, policy: &PolicyKey, desired: &[Manifest]) -> Result<Observed, Error> {
    let mut observed = Observed::new();
    for kind in Kind::ALL.iter().copied() {
        observed.extend(objects_of_kind(client, policy, kind, desired).await?);
    }
    Ok(observed)
}

/// Those of one kind.
pub async fn objects_of_kind(
    client: &Client,
    policy: &PolicyKey,
    kind: Kind,
    desired: &[Manifest],
) -> Result<Observed, Error> {
    let PolicyKey { namespace, name } = policy;
    let api = k8s::api(client, kind, namespace);
    let what = || format!("cannot read objects of kind {} in {namespace}", kind.name());
    let ours = ListParams::default().labels(&format!("{}={name}", labels::POLICY));
    let listed = k8s::call(api.list(&ours)).await.map_err(failed(what()))?;
    let mut found: Vec<_> = listed.items;
    let names: BTreeSet<_> = found
        .iter()
        .filter_map(|object| object.metadata.name.clone())
        .collect();
    let is_wanted = |wanted: &&Manifest| wanted.id.kind == kind && !names.contains(&wanted.id.name);
    for wanted in desired.iter().filter(is_wanted) {
        let there = k8s::call(api.get_opt(&wanted.id.name)).await;
        found.extend(there.map_err(failed(what()))?);
    }
    let named = found.into_iter().map(|object| {
        let id = ObjectId {
            kind,
            name: object.metadata.name.clone().unwrap_or_default(),
        };
        (id, value(object, kind))
    });
    Ok(named.collect())
}

/// Objects in lists do not say what they are.
fn value(object: DynamicObject, kind: Kind) -> Value {
    let mut value = json!(object);
    value["apiVersion"] = kind.api_version().into();
    value["kind"] = kind.name().into();
    value
}

/// What the servers of a policy show where each is well, in the role and at the address of its status.
pub fn as_in_status(status: &ReplicaSetPolicyStatus) -> Observations {
    let mut seen = Observations {
        system: status
            .system_identifier
            .as_ref()
            .and_then(|text| text.parse().ok()),
        ..Observations::default()
    };
    // A move is in the memory before the rest of the status tells it.
    let told = status.primary.as_ref().and_then(|primary| primary.timeline);
    let remembered = status.memory.as_ref().and_then(|memory| memory.timeline);
    let timeline = told.max(remembered).unwrap_or(1);
    let word = |role: &str| match Role::from_word(role)? {
        Role::Primary => Some(vec![format!("primary on timeline {timeline}")]),
        Role::Standby => Some(vec![format!("standby on timeline {timeline}")]),
    };
    for endpoint in &status.endpoints {
        let address = endpoint.address.as_ref().and_then(|address| address.parse().ok());
        if endpoint.targets.is_empty() {
            seen.addresses
                .extend(address.map(|address| (endpoint.id.clone(), address)));
            seen.checks
                .extend(word(&endpoint.server.role).map(|word| (endpoint.id.clone(), word)));
        }
        for pod in &endpoint.targets {
            let id = format!("{}@{}", endpoint.id, pod.address);
            seen.checks.extend(word(&pod.server.role).map(|word| (id, word)));
        }
    }
    seen
}

/// Adds the Secrets and Services that a policy names, as far as they are missing and may be read.
pub async fn complete(
    client: &Client,
    documents: &mut Documents,
    object: &ReplicaSetPolicy,
) -> Result<(), Error> {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    for name in validate::references(&object.spec) {
        let key = (namespace.clone(), name);
        if documents.secrets.contains_key(&key) {
            continue;
        }
        match k8s::call(secrets.get_opt(&key.1)).await {
            Ok(Some(secret)) => {
                documents.secrets.insert(key, secret_keys(secret));
            }
            Ok(None) => {}
            Err(error) if error.code() == 403 => {}
            Err(error) => return Err(failed(format!("cannot read the Secret {}", key.1))(error)),
        }
    }
    let services: Api<Service> = Api::namespaced(client.clone(), &namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), &namespace);
    let found = policy_file::secrets(object, documents);
    for port in validate::service_references(documents.declared(object), &found) {
        let key = (namespace.clone(), port.service);
        if documents.services.contains_key(&key) {
            continue;
        }
        let what = format!("cannot read the Service {}", key.1);
        let Some(service) = k8s::call(services.get_opt(&key.1))
            .await
            .map_err(failed(what.clone()))?
        else {
            continue;
        };
        let behind = ListParams::default().labels(&format!("{}={}", labels::SERVICE_NAME, key.1));
        let listed = k8s::call(slices.list(&behind)).await.map_err(failed(what))?;
        documents
            .slices
            .extend(listed.items.into_iter().map(|slice| (key.clone(), slice)));
        documents.services.insert(key, service);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_no_other_path() {
        let refused = |name: &str| {
            path_part("resource name", name)
                .err()
                .map(|error| error.to_string())
        };
        for name in ["orders", "orders.v2", "a-1", "Orders"] {
            assert_eq!(refused(name), None, "{name}");
        }
        for (name, words) in [
            ("", "resource name may not be empty"),
            (
                "orders/status",
                "invalid resource name \"orders/status\": [may not contain '/']",
            ),
            (
                "a%2F/b",
                "invalid resource name \"a%2F/b\": [may not contain '/' may not contain '%']",
            ),
            ("..", "invalid resource name \"..\": [may not be '..']"),
            (
                "a?watch=1",
                "invalid resource name \"a?watch=1\": [may only contain letters, digits, '-' and '.']",
            ),
        ] {
            assert_eq!(refused(name).as_deref(), Some(words), "{name}");
        }
    }
}
