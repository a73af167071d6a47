//! Requests without an answer.

use super::desk::SentRequest;
use super::input::Place;
use super::places::PlaceKind;
use super::request::{Call, Request};
use distributary_core::ids::PolicyKey;

/// What is known of a request until its answer comes.
#[derive(Clone, Hash)]
pub struct Sent {
    pub key: PolicyKey,
    pub uid: String,
    pub request: SentRequest,
    pub place: PlaceKind,
    /// Others have its place already, as it takes long.
    pub lent: bool,
    pub kind: &'static str,
    pub verb: &'static str,
}

impl Sent {
    /// The object that it is about; `None`: the policy.
    pub fn place_of_object(&self) -> Option<Place> {
        let id = self.request.subject.clone()?;
        Some(Place {
            namespace: self.key.namespace.clone(),
            id,
        })
    }
}

/// What is known of it when it is sent.
pub fn sent<B>(request: &Request<B>, uid: &str) -> Sent {
    Sent {
        key: request.key.clone(),
        uid: uid.to_owned(),
        request: SentRequest {
            subject: request.call.object().cloned(),
            is_read: request.call.is_read(),
            deletes: match &request.call {
                Call::Delete { version, .. } => Some(version.clone()),
                _ => None,
            },
        },
        place: request.place,
        lent: false,
        kind: request.call.kind(),
        verb: request.call.verb(),
    }
}
