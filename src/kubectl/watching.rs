//! Objects as they change, by watches of the API server. A watch that fails is begun again; one that the API server refuses to the
//! caller is not.

use std::fmt::Debug;
use std::future::ready;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::core::{DynamicObject, Status};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::cluster::Cluster;
use super::error::{Error, note};
use crate::k8s;
use crate::telemetry::chain;
use distributary_core::ids::PolicyKey;

/// What a watch of several policies tells.
#[derive(Debug)]
pub enum Change {
    /// There are these, and no others.
    All(Vec<DynamicObject>),
    /// One is new, or another one.
    Is(Box<DynamicObject>),
    /// It was deleted.
    Gone(PolicyKey),
}

/// A policy as it is, and each time that it changes; an error says that it is gone, or may not be watched. Needs the rights to list
/// and watch it.
pub fn policy<K>(policies: Api<K>, name: &str) -> impl Stream<Item = Result<K, Error>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let own = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut one = One {
        name: name.to_owned(),
        is_listed: false,
    };
    watcher(policies, own)
        .default_backoff()
        .inspect_err(told)
        .filter_map(move |event| ready(one.take(event)))
}

/// The policies of a namespace, or of all, as they are and each time that one changes; an error says that they may not be watched.
/// Needs the rights to list and watch them.
pub fn policies(cluster: &Cluster, namespace: Option<&str>) -> impl Stream<Item = Result<Change, Error>> {
    let (client, resource) = (cluster.client.clone(), k8s::policy_resource());
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client, namespace, &resource),
        None => Api::all_with(client, &resource),
    };
    let mut many = Many::default();
    watcher(api, watcher::Config::default())
        .default_backoff()
        .inspect_err(told)
        .filter_map(move |event| ready(many.take(event)))
}

/// One object, by its name.
struct One {
    name: String,
    /// Whether the list that is being read has it.
    is_listed: bool,
}

impl One {
    fn take<K>(&mut self, event: Result<Event<K>, watcher::Error>) -> Option<Result<K, Error>> {
        match event {
            Ok(Event::Apply(object)) => Some(Ok(object)),
            Ok(Event::Init) => {
                self.is_listed = false;
                None
            }
            Ok(Event::InitApply(object)) => {
                self.is_listed = true;
                Some(Ok(object))
            }
            Ok(Event::InitDone) if self.is_listed => None,
            // Also while nobody watched.
            Ok(Event::InitDone | Event::Delete(_)) => Some(Err(self.gone())),
            Err(error) => refusal(&error).map(Err),
        }
    }

    fn gone(&self) -> Error {
        let message = format!(
            "replicasetpolicies.distributary.dev \"{}\" was deleted",
            self.name
        );
        Error::Server(Status::failure(&message, "NotFound").with_code(404).boxed())
    }
}

/// Those of the list that is being read.
#[derive(Default)]
struct Many(Vec<DynamicObject>);

impl Many {
    fn take(&mut self, event: Result<Event<DynamicObject>, watcher::Error>) -> Option<Result<Change, Error>> {
        let change = match event {
            Ok(Event::Apply(object)) => Change::Is(Box::new(object)),
            Ok(Event::Delete(object)) => {
                let namespace = object.namespace().unwrap_or_default();
                Change::Gone(PolicyKey::new(namespace, object.name_any()))
            }
            Ok(Event::Init) => {
                self.0.clear();
                return None;
            }
            Ok(Event::InitApply(object)) => {
                self.0.push(object);
                return None;
            }
            Ok(Event::InitDone) => Change::All(std::mem::take(&mut self.0)),
            Err(error) => return refusal(&error).map(Err),
        };
        Some(Ok(change))
    }
}

fn told(error: &watcher::Error) {
    if refusal(error).is_none() {
        note(&format!("warning: a watch failed: {}", chain(error)));
    }
}

/// Why a watch never comes about, however often it is tried: the caller may not.
fn refusal(error: &watcher::Error) -> Option<Error> {
    let (watcher::Error::InitialListFailed(kube::Error::Api(status))
    | watcher::Error::WatchStartFailed(kube::Error::Api(status))
    | watcher::Error::WatchFailed(kube::Error::Api(status))
    | watcher::Error::WatchError(status)) = error
    else {
        return None;
    };
    matches!(status.code, 401 | 403).then(|| Error::Server(status.clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::kubectl::cluster::Policy;

    fn object<T: serde::de::DeserializeOwned>(name: &str) -> T {
        from_value(json!({
            "apiVersion": "distributary.dev/v1alpha1", "kind": "ReplicaSetPolicy",
            "metadata": {"namespace": "shop", "name": name}, "spec": {"primary": {"host": "h"}},
        }))
        .unwrap()
    }

    fn failed(code: u16) -> watcher::Error {
        let status = Status::failure("cannot watch resource", "Forbidden").with_code(code);
        watcher::Error::WatchStartFailed(kube::Error::Api(status.boxed()))
    }

    #[test]
    fn a_policy_that_was_deleted_while_nobody_watched_is_gone() {
        let mut one = One {
            name: "orders".to_owned(),
            is_listed: false,
        };
        let mut take = |event| {
            one.take::<Policy>(Ok(event))
                .map(|told| told.map(drop).map_err(|gone| gone.text()))
        };
        assert_eq!(take(Event::Init), None);
        assert_eq!(take(Event::InitApply(object("orders"))), Some(Ok(())));
        assert_eq!(take(Event::InitDone), None);
        assert_eq!(take(Event::Apply(object("orders"))), Some(Ok(())));
        let gone = "Error from server (NotFound): replicasetpolicies.distributary.dev \"orders\" was deleted";
        assert_eq!(take(Event::Init), None);
        assert_eq!(take(Event::InitDone), Some(Err(gone.to_owned())));
        assert_eq!(take(Event::Delete(object("orders"))), Some(Err(gone.to_owned())));
    }

    #[test]
    fn a_list_tells_which_policies_are_left() {
        let mut many = Many::default();
        let mut take = |event| many.take(Ok(event)).map(Result::unwrap);
        assert!(matches!(take(Event::Apply(object("a"))), Some(Change::Is(_))));
        assert!(matches!(take(Event::Delete(object("b"))), Some(Change::Gone(key)) if key.name == "b"));
        for began in [Event::Init, Event::InitApply(object("c"))] {
            assert!(take(began).is_none());
        }
        let Some(Change::All(left)) = take(Event::InitDone) else {
            panic!("the list has ended");
        };
        let names: Vec<_> = left.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["c"]);
    }

    #[test]
    fn what_may_not_be_watched_is_not_tried_again() {
        for code in [401, 403] {
            let refused = refusal(&failed(code));
            assert!(
                matches!(refused, Some(Error::Server(status)) if status.code == code),
                "{code}"
            );
        }
        for code in [410, 429, 500, 503] {
            assert!(refusal(&failed(code)).is_none(), "{code}");
        }
    }
}
