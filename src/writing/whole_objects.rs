//! The operator's rendering: whole objects as JSON text.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use super::rendering::{Rendered, Rendering, Wanted};
use crate::render::reading::{Text, digest, slice};
use crate::render::status::{Report, status};
use crate::render::{Manifest, Subject, render};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::decision::Decision;
use distributary_core::outputs::Outputs;
use distributary_core::policy::Mode;

/// Objects as they are sent to the API server.
#[derive(Clone, Copy, Debug)]
pub struct WholeObjects;

impl Rendering for WholeObjects {
    type Body = Text;

    fn render(&self, decision: &Decision, outputs: &Outputs) -> Option<Rendered<Text>> {
        if decision.policy.mode != Mode::Enforce {
            return None;
        }
        let manifests = render(&Subject::of(decision, outputs)?);
        Some(Rendered {
            objects: manifests.objects.into_iter().map(wanted).collect(),
            too_large: manifests.too_large,
            revision: manifests.revision,
        })
    }

    fn status(
        &self,
        report: &Report<'_>,
        previous: &ReplicaSetPolicyStatus,
        now: &Time,
    ) -> ReplicaSetPolicyStatus {
        status(report, previous, now)
    }

    fn unowned(&self, it: &Wanted<Text>) -> Wanted<Text> {
        // Texts are our own: they are JSON.
        let mut body: Value = serde_json::from_str(&it.body).unwrap_or_default();
        if let Some(metadata) = body["metadata"].as_object_mut() {
            metadata.remove("ownerReferences");
        }
        wanted(Manifest {
            id: it.id.clone(),
            body,
        })
    }
}

pub(super) fn wanted(Manifest { id, body }: Manifest) -> Wanted<Text> {
    Wanted {
        digest: digest(id.kind, &body),
        slice: slice(id.kind, &body),
        id,
        body: body.to_string().into_boxed_str(),
    }
}
