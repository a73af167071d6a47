//! What is known of the requests about one object: whether one is under way, and when the next may begin.

use std::time::Duration;

use super::request::FlightId;
use crate::render::status::Refusal;
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;

/// The back-off of requests that fail: from the first to the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(8));
/// A write that rests on an old view is tried again at once, so often in a row.
const OLD_VIEWS: u32 = 3;
/// How long the attempts to write a slice, or a status, may take, one after the other: one that hangs on a dead connection is soon tried on
/// another one, and one that a slow webhook holds up gets the time that the API server takes at most (30 s).
const OF_SLICES: [Duration; 3] = [
    Duration::from_secs(3),
    Duration::from_secs(12),
    Duration::from_secs(35),
];
/// The same for everything else.
const OF_OTHERS: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(35)];

/// The requests about one object.
#[derive(Clone, Debug, Default, Hash)]
pub struct Attempt {
    pub under_way: Option<UnderWay>,
    failures: u32,
    /// Writes in a row that were refused because they rested on an old view.
    old_views: u32,
    not_before: Option<Moment>,
    /// The API server said when.
    throttled: bool,
    /// Since when it waits for a place.
    starved: Option<Moment>,
    /// Nobody knows how the object is: it is read before it is written.
    pub unsure: bool,
    /// The request that is under way began before this process began to lead anew.
    outlived: bool,
    /// The newest request that failed got no answer.
    lost: bool,
    /// Why the newest request failed.
    pub refusal: Option<Refusal>,
    /// Since when requests fail for that.
    fails: Option<Moment>,
}

/// A request without an answer yet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct UnderWay {
    pub flight: FlightId,
    pub since: Moment,
    /// It may lead the writes to a server.
    pub leads_writes: bool,
}

impl Attempt {
    /// One that looks at an object again at `at`.
    pub fn look_at(at: Moment) -> Self {
        Self {
            unsure: true,
            not_before: Some(at),
            ..Self::default()
        }
    }

    /// Forgets what became of requests, but for one that is under way, and that the object must be read.
    pub fn forget_failures(&mut self) {
        *self = Self {
            under_way: self.under_way,
            unsure: self.unsure,
            ..Self::default()
        };
    }

    /// The process begins to lead: what failed is forgotten, and the answer to a request from before says nothing of now.
    pub fn outlive(&mut self) {
        self.forget_failures();
        self.outlived = self.under_way.is_some();
    }

    /// A request was answered. Whether it began before this process began to lead: the object is read again then.
    pub fn was_outlived(&mut self) -> bool {
        let outlived = std::mem::take(&mut self.outlived);
        if outlived {
            self.under_way = None;
            self.unsure = true;
        }
        outlived
    }

    /// When the next request may begin; `None`: now.
    pub fn waits(&self, now: Moment) -> Option<Moment> {
        self.not_before.filter(|at| now < *at)
    }

    /// Whether it waits because the API server asked for it.
    pub const fn is_throttled(&self) -> bool {
        self.throttled
    }

    /// Since when requests fail as the newest one did.
    pub const fn fails(&self) -> Option<Moment> {
        self.fails
    }

    /// There is no place for the next request. Since when.
    pub fn starve(&mut self, now: Moment) -> Moment {
        *self.starved.get_or_insert(now)
    }

    /// Whether it waits for a place.
    pub const fn is_starved(&self) -> bool {
        self.starved.is_some()
    }

    pub fn begin(&mut self, flight: FlightId, now: Moment) {
        self.starved = None;
        self.under_way = Some(UnderWay {
            flight,
            since: now,
            leads_writes: false,
        });
    }

    /// The request that is under way may lead the writes to a server.
    pub fn lead_writes(&mut self) {
        if let Some(under_way) = &mut self.under_way {
            under_way.leads_writes = true;
        }
    }

    /// Whether the next request goes over a connection of its own.
    pub const fn is_fresh(&self) -> bool {
        self.lost
    }

    /// How long the next request may take. No webhook delays a read.
    pub fn deadline(&self, is_urgent: bool, is_read: bool) -> Duration {
        let (deadlines, failures) = if is_read {
            (&OF_SLICES[..], self.failures / 2)
        } else if is_urgent {
            (&OF_SLICES[..], self.failures)
        } else {
            (&OF_OTHERS[..], self.failures)
        };
        let attempt = usize::try_from(failures).unwrap_or(usize::MAX);
        deadlines
            .get(attempt)
            .or(deadlines.last())
            .copied()
            .unwrap_or(BACK_OFF.1)
    }

    /// The object was read: what it is like is known.
    pub fn read(&mut self) {
        self.under_way = None;
        self.unsure = false;
    }

    /// The write rested on an old view.
    pub fn was_old(&mut self, refusal: Refusal, now: Moment) {
        self.old_views += 1;
        self.unsure = true;
        self.under_way = None;
        if self.old_views > OLD_VIEWS {
            self.fail(refusal, None, now);
        }
    }

    /// The request was refused.
    pub fn was_refused(&mut self, refusal: Refusal, retry_after: Option<Duration>, now: Moment) {
        self.under_way = None;
        self.lost = false;
        self.fail(refusal, retry_after, now);
    }

    /// No answer came.
    pub fn was_lost(&mut self, refusal: Refusal, retry_after: Option<Duration>, now: Moment) {
        self.under_way = None;
        (self.unsure, self.lost) = (!SeededFault::NoReadAfterLostAnswer.is_on(), true);
        self.fail(refusal, retry_after, now);
    }

    /// It was taken, but what it said is not there.
    pub fn was_dropped(&mut self, now: Moment) {
        let refusal = Refusal {
            category: "NotStored",
            message: "the API server does not keep status.memory: is its CustomResourceDefinition older than the operator?".to_owned(),
        };
        self.was_refused(refusal, None, now);
    }

    fn fail(&mut self, refusal: Refusal, retry_after: Option<Duration>, now: Moment) {
        let back_off = (BACK_OFF.0 * 2_u32.saturating_pow(self.failures.min(16))).min(BACK_OFF.1);
        self.failures += 1;
        self.throttled = retry_after.is_some();
        self.not_before = Some(now + back_off.max(retry_after.unwrap_or_default()));
        if self.refusal.as_ref() != Some(&refusal) {
            self.fails = Some(now);
        }
        self.refusal = Some(refusal);
    }
}

#[cfg(test)]
mod tests;
