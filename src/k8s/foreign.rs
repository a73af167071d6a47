//! EndpointSlices of others for our Services: kube-proxy would merge them with ours.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::api::PartialObjectMeta;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;

use crate::render::labels;

/// Slices that others manage, all of them: few words each, as nobody knows whose Service will be ours.
pub fn selector() -> String {
    format!(
        "{},{}!={}",
        labels::SERVICE_NAME,
        labels::SLICE_MANAGED_BY,
        labels::SLICE_MANAGER
    )
}

type Service = (String, String);

/// Names of the slices of others, by namespace and Service.
#[derive(Debug, Default)]
pub struct ForeignSlices(Mutex<BTreeMap<Service, BTreeSet<String>>>);

impl ForeignSlices {
    fn slices(&self) -> MutexGuard<'_, BTreeMap<Service, BTreeSet<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a watch event; the Service that it concerns.
    pub fn event(
        &self,
        event: &Event<PartialObjectMeta<DynamicObject>>,
        scope: Option<&str>,
    ) -> Option<Service> {
        let mut slices = self.slices();
        match event {
            Event::Init => {
                slices.retain(|(namespace, _), _| scope.is_some_and(|scope| scope != namespace));
                None
            }
            Event::Apply(slice) | Event::InitApply(slice) => {
                let service = service(slice)?;
                slices
                    .entry(service.clone())
                    .or_default()
                    .insert(slice.name_any());
                Some(service)
            }
            Event::Delete(slice) => {
                let service = service(slice)?;
                let left = slices.get_mut(&service).map(|names| {
                    names.remove(&slice.name_any());
                    names.len()
                });
                if left == Some(0) {
                    slices.remove(&service);
                }
                Some(service)
            }
            Event::InitDone => None,
        }
    }

    /// The slices of others for a Service.
    #[must_use]
    pub fn of(&self, namespace: &str, service: &str) -> Vec<String> {
        let slices = self.slices();
        slices
            .get(&(namespace.to_owned(), service.to_owned()))
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }
}

fn service(slice: &PartialObjectMeta<DynamicObject>) -> Option<Service> {
    Some((
        slice.namespace()?,
        slice.labels().get(labels::SERVICE_NAME)?.clone(),
    ))
}
