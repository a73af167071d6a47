//! What the writing half needs to know of rendering: the objects of a decision.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::render::ObjectId;
use crate::render::reading::{Digest, SliceFacts};
use crate::render::status::Report;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::config_maps::TooLarge;
use distributary_core::decision::Decision;
use distributary_core::outputs::Outputs;

/// From a decision to its objects. The operator's is [`crate::render`]; a model has a smaller one.
pub trait Rendering {
    /// The body of an object.
    type Body: Clone + fmt::Debug + PartialEq;

    /// The objects of a decision; `None`: it asks for no routes, and what there is stays.
    fn render(&self, decision: &Decision, outputs: &Outputs) -> Option<Rendered<Self::Body>>;

    /// The status that tells a report. `previous`: as it is now.
    fn status(
        &self,
        report: &Report<'_>,
        previous: &ReplicaSetPolicyStatus,
        now: &Time,
    ) -> ReplicaSetPolicyStatus;

    /// The same object without an owner.
    fn unowned(&self, wanted: &Wanted<Self::Body>) -> Wanted<Self::Body>;
}

/// All objects of a decision.
#[derive(Clone, Debug, Hash, PartialEq)]
pub struct Rendered<B> {
    pub objects: Vec<Wanted<B>>,
    /// ConfigMaps that would hold more than they can: what there is of them stays.
    pub too_large: Vec<TooLarge>,
    /// The revision of the routing table.
    pub revision: String,
}

/// An object as it should be.
#[derive(Clone, Debug, Hash, PartialEq)]
pub struct Wanted<B> {
    pub id: ObjectId,
    pub digest: Digest,
    /// Of an `EndpointSlice`.
    pub slice: Option<SliceFacts>,
    pub body: B,
}
