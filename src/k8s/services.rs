//! Dereferencing: the Services that policies name, and the ready pods behind them. Each is followed by two watches, of
//! the Service and of its EndpointSlices, for as long as a policy names it.

mod hold;
pub mod pods;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch};
use kube::{Api, ResourceExt};
use tokio::task::AbortHandle;

use super::context::Context;
use super::patience::Patience;
use crate::render::labels;
use distributary_api::validate::{ServicePort, Services};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::resolved::ServiceProblem;
pub use hold::hold;
use pods::{Ports, Ready};

/// Namespace and name of a Service.
pub type ServiceKey = (String, String);

/// A pass over a policy that names a Service anew comes again when its lists have ended, at the latest after this.
pub const FIRST_LISTS: Duration = Duration::from_secs(5);

/// The Services that policies name, as last seen.
#[derive(Debug, Default)]
pub struct ServiceCache(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    followed: BTreeMap<ServiceKey, Followed>,
    /// Counts the watches: what one says after its end concerns nobody.
    watches: u64,
}

#[derive(Debug)]
struct Followed {
    users: BTreeSet<PolicyKey>,
    since: Moment,
    watch: u64,
    task: AbortHandle,
    service: Listed<Ports>,
    slices: Listed<Ready>,
    /// A watch failed before the first lists had ended.
    failed: bool,
}

/// What a watch sees.
enum Seen {
    Service(Box<Event<Service>>),
    Slice(Box<Event<EndpointSlice>>),
    Failed,
}

impl ServiceCache {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says which Services a policy names: `start` begins a watch of one that nobody named before, and those that nobody
    /// names any more are no longer followed.
    pub fn used_by(
        &self,
        policy: &PolicyKey,
        names: &BTreeSet<&str>,
        now: Moment,
        start: impl Fn(ServiceKey, u64) -> AbortHandle,
    ) {
        let mut state = self.state();
        let State { followed, watches } = &mut *state;
        for (service, followed) in followed.iter_mut() {
            if service.0 != policy.namespace || !names.contains(service.1.as_str()) {
                followed.users.remove(policy);
            }
        }
        for name in names {
            let service = (policy.namespace.clone(), (*name).to_owned());
            let one = followed.entry(service).or_insert_with_key(|service| {
                *watches += 1;
                Followed::new(*watches, start(service.clone(), *watches), now)
            });
            one.users.insert(policy.clone());
        }
        followed.retain(|_, followed| {
            let used = !followed.users.is_empty();
            if !used {
                followed.task.abort();
            }
            used
        });
    }

    /// Where the ready pods listen; `None` while the first lists of a Service are awaited.
    #[must_use]
    pub fn dereference(
        &self,
        policy: &PolicyKey,
        ports: &BTreeSet<ServicePort>,
        now: Moment,
    ) -> Option<Services> {
        let state = self.state();
        let mut services = Services::new();
        for port in ports {
            let key = (policy.namespace.clone(), port.service.clone());
            let ready = match state.followed.get(&key) {
                Some(followed) => followed.ready(port.port, now)?,
                None => Err(ServiceProblem::Unavailable),
            };
            services.insert(port.clone(), ready);
        }
        Some(services)
    }

    /// Takes in what a watch sees; the policies that it concerns.
    fn seen(&self, service: &ServiceKey, watch: u64, seen: Seen) -> Vec<PolicyKey> {
        let mut state = self.state();
        let current = |followed: &&mut Followed| followed.watch == watch;
        let Some(followed) = state.followed.get_mut(service).filter(current) else {
            return Vec::new();
        };
        let concerns = match seen {
            Seen::Service(event) => followed.service.take(*event, Ports::of),
            Seen::Slice(event) => followed.slices.take(*event, Ready::of),
            Seen::Failed => !followed.is_known() && !std::mem::replace(&mut followed.failed, true),
        };
        if concerns {
            followed.users.iter().cloned().collect()
        } else {
            Vec::new()
        }
    }
}

impl Followed {
    fn new(watch: u64, task: AbortHandle, since: Moment) -> Self {
        Self {
            users: BTreeSet::new(),
            since,
            watch,
            task,
            service: Listed::default(),
            slices: Listed::default(),
            failed: false,
        }
    }

    fn is_known(&self) -> bool {
        self.service.known.is_some() && self.slices.known.is_some()
    }

    fn ready(&self, port: u16, now: Moment) -> Option<Result<Vec<std::net::SocketAddr>, ServiceProblem>> {
        if let (Some(service), Some(slices)) = (&self.service.known, &self.slices.known) {
            return Some(match service.values().next() {
                Some(service) => pods::ready(service, slices.values(), port),
                None => Err(ServiceProblem::NotFound),
            });
        }
        let awaited = !self.failed && now.since(self.since) < FIRST_LISTS;
        (!awaited).then_some(Err(ServiceProblem::Unavailable))
    }
}

/// The objects of a watch by name. During a new list, and while the watch fails, what was known stands.
#[derive(Debug)]
struct Listed<T> {
    /// `None` before the first list has ended.
    known: Option<BTreeMap<String, T>>,
    listing: BTreeMap<String, T>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self {
            known: None,
            listing: BTreeMap::new(),
        }
    }
}

impl<T: PartialEq> Listed<T> {
    /// Takes in an event; whether what is known differs.
    fn take<K: ResourceExt>(&mut self, event: Event<K>, read: impl Fn(&K) -> T) -> bool {
        match event {
            Event::Init => {
                self.listing.clear();
                false
            }
            Event::InitApply(object) => {
                self.listing.insert(object.name_any(), read(&object));
                false
            }
            Event::InitDone => {
                let listed = Some(std::mem::take(&mut self.listing));
                std::mem::replace(&mut self.known, listed) != self.known
            }
            Event::Apply(object) => {
                let known = self.known.get_or_insert_default();
                let name = object.name_any();
                let before = known.insert(name.clone(), read(&object));
                before.as_ref() != known.get(&name)
            }
            Event::Delete(object) => {
                let known = self.known.as_mut();
                known.is_some_and(|known| known.remove(&object.name_any()).is_some())
            }
        }
    }
}

/// Follows one Service; asks for passes itself, until it is aborted.
pub async fn follow(context: Arc<Context>, service: ServiceKey, number: u64) {
    let (namespace, name) = &service;
    let services: Api<Service> = Api::namespaced(context.client.clone(), namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(context.client.clone(), namespace);
    let by_name = watcher::Config::default().fields(&format!("metadata.name={name}"));
    // A policy never leads to its own routes, nor to those of another one.
    let behind = watcher::Config::default().labels(&format!(
        "{}={name},{}!={}",
        labels::SERVICE_NAME,
        labels::SLICE_MANAGED_BY,
        labels::SLICE_MANAGER
    ));
    let services = seen("Service", &service, watch(services, by_name), Seen::Service);
    let slices = seen("EndpointSlice", &service, watch(slices, behind), Seen::Slice);
    let mut events = std::pin::pin!(futures::stream::select(services, slices));
    while let Some(event) = events.next().await {
        for policy in context.services.seen(&service, number, event) {
            context.triggers.ask(policy).await;
        }
    }
}

fn seen<K>(
    kind: &'static str,
    (namespace, name): &ServiceKey,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + Send,
    see: fn(Box<Event<K>>) -> Seen,
) -> impl Stream<Item = Seen> + Send
where
    K: Send,
{
    events.backoff(Patience::default()).map(move |event| match event {
        Ok(event) => see(Box::new(event)),
        Err(error) => {
            tracing::warn!(kind, %namespace, service = %name, %error, "watch of a Service that a policy names failed, and is tried again");
            Seen::Failed
        }
    })
}

#[cfg(test)]
mod tests;
