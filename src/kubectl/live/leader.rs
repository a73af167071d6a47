//! The leader: the holder of the Lease, reached through a port-forward to its Pod.
//!
//! It needs the rights to get the Lease, and to get and create `pods/portforward`, in the operator's namespace. The API server names
//! the one that is missing.

use axum::body::Body;
use axum::http::Response;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use kube::core::Status;

use super::http;
use super::{Installation, LiveArguments};
use crate::k8s;
use crate::k8s::error::CallError;
use crate::kubectl::cluster::Cluster;
use crate::kubectl::error::Error;

/// The Pod of the leader.
pub struct Leader {
    namespace: String,
    pods: Api<Pod>,
    pod: String,
    port: u16,
}

impl Leader {
    /// # Errors
    /// The Lease cannot be read, or nobody holds it.
    pub async fn find(cluster: &Cluster, arguments: &LiveArguments) -> Result<Self, Error> {
        let LiveArguments {
            operator:
                Installation {
                    operator_namespace: namespace,
                    lease_name: name,
                },
            loopback_port: port,
            ..
        } = arguments;
        let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
        let lease = match k8s::call(leases.get(name)).await {
            Err(error) if error.code() == 404 => {
                return Err(Error::said(format!(
                    "there is no Lease {namespace}/{name}: --operator-namespace and --lease-name say where the operator is"
                )));
            }
            lease => lease?,
        };
        let holder = lease.spec.and_then(|spec| spec.holder_identity);
        let pod = holder.as_deref().and_then(pod_of);
        let pod = pod.ok_or_else(|| Error::said(format!("nobody holds the Lease {namespace}/{name}")))?;
        Ok(Self {
            namespace: namespace.clone(),
            pods: Api::namespaced(cluster.client.clone(), namespace),
            pod: pod.to_owned(),
            port: *port,
        })
    }

    /// # Errors
    /// The API server refuses the port-forward, or nobody listens there.
    pub async fn send(&self, path: &str) -> Result<Response<Body>, Error> {
        let mut forward = match k8s::call(self.pods.portforward(&self.pod, &[self.port])).await {
            Ok(forward) => forward,
            Err(error) if error.code() == 403 => return Err(self.refused(error).await),
            Err(error) if error.code() == 404 => {
                return Err(Error::said(format!(
                    "no operator leads: the Pod {}/{}, which held the Lease last, is not there any more",
                    self.namespace, self.pod
                )));
            }
            Err(error) => return Err(error.into()),
        };
        let told = forward.take_error(self.port);
        let stream = forward
            .take_stream(self.port)
            .ok_or_else(|| Error::said("the port-forward has no stream"))?;
        let answer = http::get(stream, forward, path).await;
        match (answer, told) {
            // What the kubelet says of it is more than that nobody answers.
            (Err(error), Some(told)) => Err(match told.await {
                Some(said) => Error::said(said.trim()),
                None => error,
            }),
            (answer, _) => answer,
        }
    }
}

/// Verbs on pods/portforward that a port-forward over a WebSocket needs.
const VERBS: [&str; 2] = ["get", "create"];

impl Leader {
    /// Which verbs are missing: the API server names none where create is.
    async fn refused(&self, error: CallError) -> Error {
        let mut missing = Vec::new();
        for verb in VERBS {
            if self.may(verb).await == Some(false) {
                missing.push(verb);
            }
        }
        if missing.is_empty() {
            return error.into();
        }
        let message = format!(
            "pods \"{}\" is forbidden: you cannot {} resource \"pods/portforward\" in API group \"\" in the namespace \"{}\"",
            self.pod,
            missing.join(" and "),
            self.namespace
        );
        Error::Server(Status::failure(&message, "Forbidden").with_code(403).boxed())
    }

    /// `None`: the API server does not say.
    async fn may(&self, verb: &str) -> Option<bool> {
        let review = SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(self.namespace.clone()),
                    name: Some(self.pod.clone()),
                    resource: Some("pods".to_owned()),
                    subresource: Some("portforward".to_owned()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SelfSubjectAccessReviewSpec::default()
            },
            ..SelfSubjectAccessReview::default()
        };
        let reviews = Api::<SelfSubjectAccessReview>::all(self.pods.clone().into_client());
        let answer = k8s::call(reviews.create(&PostParams::default(), &review))
            .await
            .ok()?;
        Some(answer.status?.allowed)
    }
}

/// The identity of a holder begins with the name of its Pod, which has no `_`.
fn pod_of(identity: &str) -> Option<&str> {
    let (pod, _) = identity.rsplit_once('_')?;
    (!pod.is_empty()).then_some(pod)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lease_names_its_pod() {
        let identity = k8s::lease::identity("distributary-7d4b-x2x9");
        assert_eq!(pod_of(&identity), Some("distributary-7d4b-x2x9"));
        assert_eq!((pod_of(""), pod_of("_1"), pod_of("other")), (None, None, None));
    }
}
