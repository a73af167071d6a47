//! What a Lease says.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::Terms;
use crate::render::reading::Version;
use crate::writing::Now;
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;

/// No duration in a record counts for more: neither does this process take a longer lease.
pub const MOST: Duration = Duration::from_mins(10);

/// The spec of a Lease, the version at which it is so, and what others keep on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LeaseRecord {
    /// Empty: nobody.
    pub holder: String,
    /// `leaseDurationSeconds`; 0: the record does not say.
    pub seconds: i32,
    /// For people, as is the next.
    pub acquired: Option<Timestamp>,
    pub renewed: Option<Timestamp>,
    /// How often the holder changed.
    pub transitions: i32,
    /// Of the whole object; of one that is yet to be created, none.
    pub version: Option<Version>,
    /// Labels and annotations, owners and finalizers: those of others, which each write keeps.
    pub metadata: Box<ObjectMeta>,
}

/// What others keep on it decides nothing.
impl Hash for LeaseRecord {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            holder,
            seconds,
            acquired,
            renewed,
            transitions,
            version,
            metadata: _,
        } = self;
        (holder, seconds, acquired, renewed, transitions, version).hash(state);
    }
}

impl LeaseRecord {
    /// The record of a Lease that does not exist yet.
    pub(super) fn first(identity: &str, terms: &Terms, now: Now) -> Self {
        let free = Self {
            holder: identity.to_owned(),
            ..Self::default()
        };
        Self {
            acquired: Some(micros(now.wall)),
            ..free.taken(identity, terms, now)
        }
    }

    /// The same Lease, taken or renewed.
    pub(super) fn taken(&self, identity: &str, terms: &Terms, now: Now) -> Self {
        let wall = micros(now.wall);
        let same = self.holder == identity;
        Self {
            holder: identity.to_owned(),
            seconds: terms.seconds(),
            acquired: if same { self.acquired } else { Some(wall) },
            renewed: Some(wall),
            transitions: self.transitions.saturating_add(i32::from(!same)),
            version: self
                .version
                .clone()
                .filter(|_| !SeededFault::LeaseWithoutVersion.is_on()),
            metadata: self.metadata.clone(),
        }
    }

    /// The same Lease, held by nobody, as client-go leaves it.
    pub(super) fn released(&self, now: Now) -> Self {
        let wall = micros(now.wall);
        Self {
            holder: String::new(),
            seconds: 1,
            acquired: Some(wall),
            renewed: Some(wall),
            transitions: self.transitions,
            version: self.version.clone(),
            metadata: self.metadata.clone(),
        }
    }

    /// Whether nothing but the version and what others keep on it is another one.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let without = |record: &Self| Self {
            version: None,
            metadata: Box::default(),
            ..record.clone()
        };
        without(self) == without(other)
    }

    /// How long it is valid after it was seen to change; `own` where it does not say.
    pub(super) fn valid_for(&self, own: Duration) -> Duration {
        let seconds = u64::try_from(self.seconds).unwrap_or_default();
        match Duration::from_secs(seconds) {
            Duration::ZERO => own,
            _ if SeededFault::LeaseByOwnDuration.is_on() => own,
            said => said.min(MOST),
        }
    }

    /// When it was renewed by the times in the record, which are of another clock: a fault.
    pub(super) fn renewed_by_wall(&self, now: Now) -> Moment {
        let renewed = self.renewed.unwrap_or(now.wall);
        let age = Duration::try_from(now.wall.duration_since(renewed)).unwrap_or_default();
        Moment::new(now.moment.since_start().saturating_sub(age))
    }

    pub(super) fn is_before(&self, other: &Self) -> bool {
        let versions = self.version.as_ref().zip(other.version.as_ref());
        versions.is_some_and(|(this, other)| this.is_before(other))
    }
}

/// As Kubernetes keeps times of a Lease, so that what was written can be told again in what is read.
fn micros(wall: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(wall.as_microsecond()).unwrap_or(wall)
}
