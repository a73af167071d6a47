//! What goes out of the writing half: requests to the API server, Events, figures.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;

use super::places::PlaceKind;
use crate::render::events::Notice;
use crate::render::reading::{ObservedObject, Version};
use crate::render::status::Refusal;
use crate::render::{Kind, ObjectId};

/// Tells one request from another.
pub type FlightId = u64;

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect<B> {
    Request(Request<B>),
    /// To be published when there is time.
    Event {
        key: PolicyKey,
        uid: String,
        notice: Notice,
    },
    /// Another writer changed what is remembered of a policy: the engine must go by it.
    Recall {
        key: PolicyKey,
        uid: String,
        status: Box<ReplicaSetPolicyStatus>,
        /// Decisions that go by it carry this number, or a higher one.
        number: u64,
    },
    /// The route of the writes leads elsewhere than decided, and the holder has not proved itself: the engine must know.
    Found {
        key: PolicyKey,
        uid: String,
        servers: BTreeSet<SocketAddr>,
    },
    /// The API server drops who wrote a status: the CustomResourceDefinition is of an earlier version.
    Unsigned,
    Figure(Figure),
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Figure {
    /// A write that succeeded.
    Wrote { kind: &'static str, verb: &'static str },
    /// What another operator undid.
    Undone,
    /// A request that failed, by the category of its error.
    Failed { category: &'static str },
}

/// A request to the API server.
#[derive(Clone, Debug, PartialEq)]
pub struct Request<B> {
    pub flight: FlightId,
    pub key: PolicyKey,
    /// Without an answer for so long, it has failed, and nobody knows what came of it.
    pub deadline: Duration,
    /// What its place is of.
    pub(super) place: PlaceKind,
    /// It follows one without an answer: over a connection that no request was sent over before.
    pub fresh: bool,
    pub call: Call<B>,
}

#[cfg(test)]
impl<B> Request<B> {
    pub fn about(key: PolicyKey, call: Call<B>) -> Self {
        Self {
            flight: 7,
            key,
            deadline: Duration::from_secs(3),
            place: PlaceKind::Write,
            fresh: false,
            call,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq)]
pub enum Call<B> {
    /// POST: refused where there is such an object.
    Create { id: ObjectId, body: B },
    /// PUT of the object `onto` as it was seen, with our fields as in `wanted`: refused where it is another one by now.
    Put { id: ObjectId, onto: B, wanted: B },
    /// DELETE of the object of this uid at this version.
    Delete {
        id: ObjectId,
        uid: String,
        version: Version,
    },
    /// GET of an object of which nobody knows how it is.
    Get { id: ObjectId },
    /// PUT of /status of the policy of this uid at this version.
    PutStatus {
        uid: String,
        version: Version,
        status: Box<ReplicaSetPolicyStatus>,
    },
    /// GET of the policy.
    GetPolicy,
}

impl<B> Call<B> {
    #[must_use]
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Put { .. } => "update",
            Self::Delete { .. } => "delete",
            Self::Get { .. } | Self::GetPolicy => "get",
            Self::PutStatus { .. } => "status",
        }
    }

    /// The object that it is about; `None`: the policy.
    #[must_use]
    pub const fn object(&self) -> Option<&ObjectId> {
        match self {
            Self::Create { id, .. } | Self::Put { id, .. } | Self::Delete { id, .. } | Self::Get { id } => {
                Some(id)
            }
            Self::PutStatus { .. } | Self::GetPolicy => None,
        }
    }

    /// The kind of the object that it is about, as metrics name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.object().map_or("ReplicaSetPolicy", |id| id.kind.name())
    }

    pub(super) const fn is_read(&self) -> bool {
        matches!(self, Self::Get { .. } | Self::GetPolicy)
    }

    /// Whether it writes an object of the policy, which quotas and webhooks can hold up.
    pub(super) const fn changes_object(&self) -> bool {
        self.object().is_some() && !self.is_read()
    }

    /// Whether a route waits for it: a slice, or what is logged before it.
    pub(super) fn is_urgent(&self) -> bool {
        self.object().is_none_or(|id| id.kind == Kind::EndpointSlice)
    }
}

/// What became known by a request.
#[derive(Clone, Debug, Hash)]
pub enum Answer<B> {
    /// The object as it is now; `None`: there is none.
    Object(Option<Box<ObservedObject<B>>>),
    /// The policy as it is now; `None`: there is none.
    Policy(Option<Box<PolicyReading>>),
    /// The API server refused it, and did nothing.
    Refused {
        refusal: Refusal,
        /// The HTTP status code.
        code: u16,
        retry_after: Option<Duration>,
    },
    /// It was not sent: too little of the lease was left.
    Unsent,
    /// No answer came, or one that does not say whether it was done.
    Unknown {
        refusal: Refusal,
        retry_after: Option<Duration>,
    },
}

/// A policy as an answer shows it.
#[derive(Clone, Debug, Hash)]
pub struct PolicyReading {
    pub uid: String,
    pub version: Version,
    pub status: ReplicaSetPolicyStatus,
}
