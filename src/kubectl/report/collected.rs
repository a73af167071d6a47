//! What a report has of a policy, a file each.

use k8s_openapi::api::core::v1::Event;
use kube::api::ListParams;
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::archive::OBJECTS;
use crate::cli::documents::Documents;
use crate::cli::{self, cluster as objects, output};
use crate::http_api::paths;
use crate::k8s;
use crate::kubectl::cluster::{Cluster, resource_name};
use crate::kubectl::error::Error;
use crate::kubectl::live::LiveArguments;
use crate::render::Kind;
use distributary_api::{ReplicaSetPolicy, validate};
use distributary_core::ids::PolicyKey;

/// An annotation that has the policy once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What was collected, and what could not be.
pub struct Collected {
    key: PolicyKey,
    files: Vec<(String, String)>,
    missing: Vec<String>,
}

impl Collected {
    /// The policy, and what the API server has beside it.
    ///
    /// # Errors
    /// The policy cannot be read.
    pub async fn of(cluster: &Cluster, name: &str) -> Result<Self, Error> {
        resource_name(name)?;
        let (client, resource) = (cluster.client.clone(), k8s::policy_resource());
        let policies: Api<DynamicObject> = Api::namespaced_with(client, &cluster.namespace, &resource);
        let policy = json!(k8s::call(policies.get(name)).await?);
        let mut collected = Self {
            key: PolicyKey::new(&cluster.namespace, name),
            files: vec![],
            missing: vec![],
        };
        collected.objects(&cluster.client, policy).await;
        let events = events(cluster, name).await;
        collected.add("events.yaml", events);
        Ok(collected)
    }

    /// Of the policy.
    pub const fn key(&self) -> &PolicyKey {
        &self.key
    }

    /// The files, the last of which says what is missing.
    pub fn files(mut self) -> (Vec<(String, String)>, Vec<String>) {
        let notes = self
            .missing
            .iter()
            .map(|what| format!("not in the report: {what}\n"));
        let notes = notes.collect();
        self.files.push(("notes.txt".to_owned(), notes));
        (self.files, self.missing)
    }

    /// A file, or why there is none.
    pub fn add(&mut self, name: &str, document: Result<Value, Error>) {
        let text = document.and_then(|document| Ok(output::yaml(&document)?));
        self.add_text(name, text);
    }

    /// A file, or why there is none.
    pub fn add_text(&mut self, name: &str, text: Result<String, Error>) {
        match text {
            Ok(text) => self.files.push((name.to_owned(), text)),
            Err(error) => self.missing.push(format!("{name}: {}", error.text())),
        }
    }

    /// The decision, the reasons, the routes and the statistics, as who decides tells them.
    pub async fn decision(&mut self, cluster: &Cluster, live: &LiveArguments) {
        let path = paths::about(paths::POLICY, &self.key);
        let told = async { live.find(cluster).await?.get::<Value>(&path).await };
        self.add("decision.yaml", told.await);
    }

    async fn objects(&mut self, client: &Client, policy: Value) {
        let read = ReplicaSetPolicy::deserialize(&policy);
        let mut all = vec![of_kind(policy, "distributary.dev/v1alpha1", "ReplicaSetPolicy")];
        for kind in Kind::ALL.iter().copied() {
            match objects::objects_of_kind(client, &self.key, kind, &[]).await {
                Ok(found) => all.extend(found.into_values().map(shown)),
                Err(error) => self.note(&format!("{} objects of the policy", kind.name()), error),
            }
        }
        let named = match read {
            Ok(policy) => self.named(client, &policy).await,
            // The policy itself is told as it is.
            Err(error) => {
                let why = format!("objects that the policy names: it is of another version: {error}");
                self.missing.push(why);
                Documents::default()
            }
        };
        let services = named
            .services
            .values()
            .map(|service| of_kind(json!(service), "v1", "Service"));
        all.extend(services);
        let slices = named.slices.iter();
        all.extend(slices.map(|(_, slice)| of_kind(json!(slice), "discovery.k8s.io/v1", "EndpointSlice")));
        let secrets: Vec<_> = named
            .secrets
            .iter()
            .map(|((namespace, name), keys)| {
                json!({"namespace": namespace, "name": name, "keys": keys.0.keys().collect::<Vec<_>>()})
            })
            .collect();
        let documents: Result<Vec<_>, _> = all.iter().map(output::yaml).collect();
        let text = documents.map(|documents| documents.join("---\n"));
        self.add_text(OBJECTS, text.map_err(Into::into));
        self.add("secrets.yaml", Ok(json!({"secrets": secrets})));
    }

    /// The Secrets, Services and EndpointSlices that the policy names.
    async fn named(&mut self, client: &Client, policy: &ReplicaSetPolicy) -> Documents {
        let mut named = Documents::default();
        if let Err(error) = objects::complete(client, &mut named, policy).await {
            self.note("objects that the policy names", error);
        }
        for name in validate::references(&policy.spec) {
            let why = format!("secrets.yaml: the Secret {name} is not there, or you may not get it");
            let key = (self.key.namespace.clone(), name);
            if !named.secrets.contains_key(&key) {
                self.missing.push(why);
            }
        }
        named
    }

    fn note(&mut self, what: &str, error: cli::Error) {
        self.missing
            .push(format!("{what}: {}", Error::from(error).text()));
    }
}

fn of_kind(mut object: Value, version: &str, kind: &str) -> Value {
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    shown(object)
}

/// Without what the API server keeps for itself.
fn shown(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
    }
    object
}

/// The Events of the policy, which the API server keeps for an hour, unless it is told otherwise.
async fn events(cluster: &Cluster, name: &str) -> Result<Value, Error> {
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let fields = format!("involvedObject.kind=ReplicaSetPolicy,involvedObject.name={name}");
    let listed = k8s::call(events.list(&ListParams::default().fields(&fields))).await?;
    let told = |event: Event| {
        json!({
            "type": event.type_, "reason": event.reason, "message": event.message, "action": event.action,
            "first": event.event_time.map(|time| json!(time)).or(event.first_timestamp.map(|time| json!(time))),
            "last": event.series.and_then(|series| series.last_observed_time).map(|time| json!(time))
                .or(event.last_timestamp.map(|time| json!(time))),
        })
    };
    Ok(json!({"events": listed.items.into_iter().map(told).collect::<Vec<_>>()}))
}
