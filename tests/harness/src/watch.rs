//! Waiting for objects of the API server: by watches, so that a condition is seen when it comes true.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait::{self, Outcome, missed};

/// For the first list of a watch, and as long as a test may follow a route.
const FIRST: Duration = Duration::from_secs(10);
const EVER: Duration = Duration::from_hours(1);

/// Waits until `check` accepts the object of this name; it sees `None` while there is none.
///
/// # Errors
/// After `deadline`: the message has the object as it was last.
pub async fn object<K, O>(
    api: &Api<K>,
    name: &str,
    what: &str,
    deadline: Duration,
    mut check: impl FnMut(Option<&K>) -> O,
) -> Result<O::Value>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
    O: Outcome,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    set(api, config, what, deadline, |objects| check(objects.first())).await
}

/// Waits until `check` accepts the set of objects that the watch sees, ordered by namespace and name.
///
/// `check` is called with every state in turn, from the first complete list on; for "never" and "always" it may keep
/// what it saw. A watch that breaks, because the API server does, is taken up again.
///
/// # Errors
/// After `deadline`: the message has the objects as they were last.
pub async fn set<K, O>(
    api: &Api<K>,
    config: watcher::Config,
    what: &str,
    deadline: Duration,
    mut check: impl FnMut(&[K]) -> O,
) -> Result<O::Value>
where
    K: Resource + Clone + Debug + Send + Serialize + DeserializeOwned + 'static,
    O: Outcome,
{
    let mut last = "no answer of the API server".to_owned();
    let followed = async {
        let mut events = pin!(watcher(api.clone(), config).default_backoff());
        let mut seen = ObjectSet::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let Some(objects) = seen.apply(event) else {
                        continue;
                    };
                    match check(&objects).outcome() {
                        Ok(value) => return Ok(value),
                        Err(reason) => last = format!("{reason}\n{}", show(&objects)),
                    }
                }
                Err(error) => last = format!("{last}\nthen {error}"),
            }
        }
        Err(anyhow!("the watch for {what} ended"))
    };
    let ended = tokio::time::timeout(deadline, followed).await;
    ended.unwrap_or_else(|_| Err(missed(what, deadline, &last)))
}

/// The addresses that a Service sends traffic to: the endpoints of its slices that are ready.
#[must_use]
pub fn ready_addresses(slices: &[EndpointSlice]) -> BTreeSet<String> {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|endpoint| {
        endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true)
    });
    ready.flat_map(|endpoint| &endpoint.addresses).cloned().collect()
}

/// Waits until exactly these addresses get the traffic of the Service.
///
/// # Errors
/// After `deadline`: the message has the slices as they were last.
pub async fn routes(
    slices: &Api<EndpointSlice>,
    service: &str,
    addresses: &BTreeSet<String>,
    deadline: Duration,
) -> Result<()> {
    let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
    set(
        slices,
        config,
        &format!("{service} to lead to {addresses:?}"),
        deadline,
        |slices| {
            let ready = ready_addresses(slices);
            if ready == *addresses {
                Ok(())
            } else {
                Err(format!("it leads to {ready:?}"))
            }
        },
    )
    .await
}

/// What a client that watches the slices of a Service sees it lead to, one set of addresses after the other, each with
/// the moment when it was seen. Dropping it ends the watch.
#[derive(Debug)]
pub struct Route {
    seen: watch::Receiver<Vec<(Instant, BTreeSet<String>)>>,
    task: JoinHandle<()>,
}

impl Route {
    /// Starts to watch; returns when the present state was seen.
    ///
    /// # Errors
    /// When the API server does not answer within 10 s.
    pub async fn follow(slices: Api<EndpointSlice>, service: &str) -> Result<Self> {
        let (sender, mut seen) = watch::channel(vec![]);
        let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
        let task = tokio::spawn(async move {
            let note = |slices: &[EndpointSlice]| {
                let ready = ready_addresses(slices);
                sender.send_if_modified(|seen: &mut Vec<(Instant, BTreeSet<String>)>| {
                    let new = seen.last().is_none_or(|(_, last)| *last != ready);
                    if new {
                        seen.push((Instant::now(), ready));
                    }
                    new
                });
                false
            };
            // It ends with its owner, not with a condition.
            let _ = set(&slices, config, "the end of the test", EVER, note).await;
        });
        wait::within("the first list of a watch", FIRST, seen.changed()).await?;
        Ok(Self { seen, task })
    }

    /// Waits until the newest set that was seen is this one; returns when it was seen.
    ///
    /// # Errors
    /// After `deadline`: the message has what was seen.
    pub async fn leads_to(&self, addresses: &BTreeSet<String>, deadline: Duration) -> Result<Instant> {
        let mut seen = self.seen.clone();
        let is =
            |seen: &Vec<(Instant, BTreeSet<String>)>| seen.last().is_some_and(|(_, last)| last == addresses);
        let what = format!("a route to {addresses:?}");
        match tokio::time::timeout(deadline, seen.wait_for(is)).await {
            Ok(found) => found?
                .last()
                .map(|(moment, _)| *moment)
                .ok_or_else(|| anyhow!("nothing was seen")),
            Err(_) => Err(missed(&what, deadline, &format!("{:?}", self.sets()))),
        }
    }

    /// Every set that was seen, in order.
    #[must_use]
    pub fn sets(&self) -> Vec<BTreeSet<String>> {
        self.seen.borrow().iter().map(|(_, set)| set.clone()).collect()
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The state that the events of a watch describe.
struct ObjectSet<K> {
    objects: BTreeMap<(Option<String>, String), K>,
    complete: bool,
}

impl<K> Default for ObjectSet<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            complete: false,
        }
    }
}

impl<K: Resource + Clone> ObjectSet<K> {
    /// The whole state after this event; nothing while a list is under way.
    fn apply(&mut self, event: Event<K>) -> Option<Vec<K>> {
        match event {
            Event::Init => *self = Self::default(),
            Event::InitApply(object) | Event::Apply(object) => {
                self.objects
                    .insert((object.namespace(), object.name_any()), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&(object.namespace(), object.name_any()));
            }
            Event::InitDone => self.complete = true,
        }
        self.complete.then(|| self.objects.values().cloned().collect())
    }
}

fn show<K: Resource + Clone + Serialize>(objects: &[K]) -> String {
    let objects = objects.iter().cloned().map(|mut object| {
        object.managed_fields_mut().clear();
        serde_json::to_string(&object).unwrap_or_else(|error| error.to_string())
    });
    objects.collect::<Vec<_>>().join("\n")
}
