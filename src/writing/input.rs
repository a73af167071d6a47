//! What comes into the writing half.

use std::collections::BTreeSet;
use std::sync::Arc;

use distributary_api::ReplicaSetPolicyStatus;
use distributary_api::validate::Declaration;
use distributary_core::decision::Decision;
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::transition::Transition;

use super::request::{Answer, FlightId};
use crate::render::reading::{ObservedObject, Version};
use crate::render::status::UnresolvedReference;
use crate::render::{Kind, ObjectId};

/// What happened.
#[derive(Clone, Debug)]
pub enum Input<B> {
    /// A policy is new or changed, or a Secret or a Service that it names.
    Declared(Box<Declared>),
    /// A watch shows a policy of which nothing but the status is another one.
    StatusSeen {
        key: PolicyKey,
        uid: String,
        version: Version,
        status: Box<ReplicaSetPolicyStatus>,
    },
    /// A policy is gone: nothing of it is kept.
    Gone { key: PolicyKey },
    /// The newest decision about a policy, and what changed by it.
    Decided {
        key: PolicyKey,
        decision: Arc<Decision>,
        transitions: Vec<Transition>,
    },
    /// A watch shows an object of ours, or one of another writer that carries our label.
    Seen(Box<ObservedObject<B>>),
    /// An object is gone, as of this version.
    Lost { place: Place, version: Version },
    /// A new list of all our objects of a kind, in a namespace or in all of them, has ended: these were in it.
    Listed {
        kind: Kind,
        namespace: Option<String>,
        places: BTreeSet<Place>,
    },
    /// The slices of others for a Service are these.
    Foreign {
        namespace: String,
        service: String,
        slices: Vec<String>,
    },
    /// What the API server answered to a request.
    Answered { flight: FlightId, answer: Answer<B> },
    /// This process may write until then; `None`: for good, there is no lease.
    Leads { until: Option<Moment> },
    /// It may write for longer.
    Renewed { until: Moment },
    /// Another process writes.
    Follows,
}

/// A policy as it was read, with what was looked up for it.
#[derive(Clone, Debug, Hash)]
pub struct Declared {
    pub key: PolicyKey,
    pub uid: String,
    pub generation: i64,
    /// It is being deleted, and there until its finalizers are gone.
    pub deleting: bool,
    /// What is in force: of the last valid spec where this one is not.
    pub valid: Option<Declaration>,
    /// What is wrong with the spec; empty: nothing.
    pub problems: Vec<String>,
    /// What is wrong with the Secrets and the Services that it names.
    pub unresolved: Vec<UnresolvedReference>,
    /// The status of the object that was read.
    pub status: ReplicaSetPolicyStatus,
    /// The version of that object.
    pub version: Version,
}

/// An object of a namespace.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    pub namespace: String,
    pub id: ObjectId,
}

impl Place {
    pub(super) fn of<B>(object: &ObservedObject<B>) -> Self {
        Self {
            namespace: object.namespace.clone(),
            id: object.id.clone(),
        }
    }
}
