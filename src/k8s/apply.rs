//! Writing what [`crate::render::diff`] found.
//!
//! POST to create, PUT with the observed uid and resourceVersion to update, DELETE with both as preconditions: a
//! request that rests on an old view is refused, and the pass is made again from what is there.

use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, Client};
use serde_json::Value;

use super::error::{CallError, Error};
use super::observed::ObservedObjects;
use super::{api, call};
use crate::metrics::Metrics;
use crate::render::diff::{Diff, Write, diff};
use crate::render::{Kind, Manifest, ObjectId};
use distributary_core::ids::PolicyKey;

/// Attempts on one decision before it waits for its back-off.
const PASSES: usize = 3;

pub struct Writer<'a> {
    pub client: &'a Client,
    pub observed: &'a ObservedObjects,
    pub metrics: &'a Metrics,
    pub key: &'a PolicyKey,
    pub uid: &'a str,
}

/// Which of a policy's objects are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// What leads traffic.
    Slices,
    /// Services and the ConfigMap.
    Rest,
}

impl Part {
    const fn has(self, id: &ObjectId) -> bool {
        matches!(id.kind, Kind::EndpointSlice) == matches!(self, Self::Slices)
    }
}

impl Writer<'_> {
    /// Writes until the observed objects are as desired; the objects that stand in the way are returned.
    ///
    /// Those are looked at again when the others are written: nothing is heard of them otherwise.
    ///
    /// # Errors
    /// The first request that failed for another reason than an old view, or for that one too often.
    pub async fn apply(&self, desired: &[Manifest], part: Part) -> Result<Vec<ObjectId>, Error> {
        let conflicts = self.converge(desired, part).await?;
        if conflicts.is_empty() {
            return Ok(conflicts);
        }
        for id in &conflicts {
            self.refresh(id).await?;
        }
        self.converge(desired, part).await
    }

    async fn converge(&self, desired: &[Manifest], part: Part) -> Result<Vec<ObjectId>, Error> {
        for _ in 1..PASSES {
            match self.write(desired, part).await {
                Err(Error::Write { id, source, .. }) if matches!(source.code(), 404 | 409) => {
                    self.refresh(&id).await?;
                }
                done => return done,
            }
        }
        self.write(desired, part).await
    }

    /// Whether anything differs from what was observed.
    #[must_use]
    pub fn is_due(&self, desired: &[Manifest], part: Part) -> bool {
        !self.changes(desired, part).writes.is_empty()
    }

    /// Writes what differs from what was observed, once; the objects that stand in the way are returned.
    ///
    /// # Errors
    /// The first request that failed.
    pub async fn write(&self, desired: &[Manifest], part: Part) -> Result<Vec<ObjectId>, Error> {
        let changes = self.changes(desired, part);
        self.write_all(changes.writes).await?;
        Ok(changes.conflicts)
    }

    fn changes(&self, desired: &[Manifest], part: Part) -> Diff {
        let mut changes = diff(desired, &self.observed.of(self.key), self.uid);
        changes.writes.retain(|write| part.has(write.id()));
        changes.conflicts.retain(|id| part.has(id));
        changes
    }

    async fn write_all(&self, writes: Vec<Write>) -> Result<(), Error> {
        for write in writes {
            let (verb, id) = (write.verb(), write.id().clone());
            self.request(write).await.map_err(|source| Error::Write {
                verb,
                id: id.clone(),
                source,
            })?;
            self.metrics.wrote(id.kind.name(), verb);
            tracing::info!(policy = %self.key.name, namespace = %self.key.namespace, verb, object = %id, "wrote");
        }
        Ok(())
    }

    async fn request(&self, write: Write) -> Result<(), CallError> {
        let api = self.api(write.id());
        let parameters = PostParams {
            field_manager: Some("distributary".to_owned()),
            ..PostParams::default()
        };
        match write {
            Write::Create(Manifest { id, body }) => {
                let object = call(api.create(&parameters, &object(body)?)).await?;
                self.keep(&id, &object)
            }
            Write::Update(Manifest { id, body }) => {
                let object = call(api.replace(&id.name, &parameters, &object(body)?)).await?;
                self.keep(&id, &object)
            }
            Write::Delete {
                id,
                uid,
                resource_version,
            } => {
                let preconditions = Preconditions {
                    uid: Some(uid),
                    resource_version: Some(resource_version),
                };
                let parameters = DeleteParams {
                    preconditions: Some(preconditions),
                    ..DeleteParams::default()
                };
                call(api.delete(&id.name, &parameters)).await?;
                self.observed.absent(&self.key.namespace, &id);
                Ok(())
            }
        }
    }

    async fn refresh(&self, id: &ObjectId) -> Result<(), Error> {
        let failed = |source| Error::Write {
            verb: "get",
            id: id.clone(),
            source,
        };
        self.observed.absent(&self.key.namespace, id);
        match call(self.api(id).get_opt(&id.name)).await.map_err(failed)? {
            Some(object) => self.keep(id, &object).map_err(failed),
            None => Ok(()),
        }
    }

    fn keep(&self, id: &ObjectId, object: &DynamicObject) -> Result<(), CallError> {
        self.observed.keep(self.key, id.kind, as_json(object)?);
        Ok(())
    }

    fn api(&self, id: &ObjectId) -> Api<DynamicObject> {
        api(self.client, id.kind, &self.key.namespace)
    }
}

fn object(body: Value) -> Result<DynamicObject, CallError> {
    serde_json::from_value(body).map_err(|error| CallError::Request(kube::Error::SerdeError(error)))
}

/// An object as JSON.
pub fn as_json(object: &DynamicObject) -> Result<Value, CallError> {
    serde_json::to_value(object).map_err(|error| CallError::Request(kube::Error::SerdeError(error)))
}
