//! What metrics are told of statuses, and of how long after a decision its slices are written.

use std::collections::BTreeMap;

use crate::metrics::Metrics;
use crate::render::Kind;
use crate::render::reading::Text;
use crate::writing::{Answer, Call, Declared, FlightId, Input, Request};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;

/// Of all policies. Nothing is kept of a policy about which no request is under way, unless one failed and is to be repeated.
pub(super) struct Ledger {
    metrics: Metrics,
    under_way: BTreeMap<FlightId, Sent>,
    open: BTreeMap<PolicyKey, OpenDecision>,
}

struct Sent {
    key: PolicyKey,
    writes_slice: bool,
    at: Moment,
}

/// A decision from which no slice was written yet.
struct OpenDecision {
    since: Moment,
    under_way: u32,
    failed: bool,
}

impl Ledger {
    pub(super) const fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            under_way: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    pub(super) fn take(&mut self, input: &Input<Text>, now: Moment) {
        match input {
            Input::Declared(declared) => {
                let Declared {
                    key,
                    uid,
                    version,
                    status,
                    ..
                } = &**declared;
                self.metrics.saw_status(key, uid, version, status);
            }
            Input::StatusSeen {
                key,
                uid,
                version,
                status,
            } => self.metrics.saw_status(key, uid, version, status),
            Input::Gone { key } => {
                self.metrics.forget(key);
                self.open.remove(key);
            }
            Input::Decided { key, .. } => {
                let open = self.open.entry(key.clone());
                open.or_insert(OpenDecision {
                    since: now,
                    under_way: 0,
                    failed: false,
                });
            }
            // Whoever leads writes what it decides itself.
            Input::Follows => self.open.clear(),
            Input::Answered { flight, answer } => self.answered(*flight, answer, now),
            _ => {}
        }
    }

    pub(super) fn sent(&mut self, request: &Request<Text>, now: Moment) {
        let call = &request.call;
        let is_read = matches!(call, Call::Get { .. } | Call::GetPolicy);
        let is_slice = call.object().is_some_and(|id| id.kind == Kind::EndpointSlice);
        let sent = Sent {
            key: request.key.clone(),
            writes_slice: is_slice && !is_read,
            at: now,
        };
        if let Some(open) = self.open.get_mut(&sent.key) {
            open.under_way += 1;
        }
        self.under_way.insert(request.flight, sent);
    }

    fn answered(&mut self, flight: FlightId, answer: &Answer<Text>, now: Moment) {
        let Some(sent) = self.under_way.remove(&flight) else {
            return;
        };
        let succeeded = matches!(answer, Answer::Object(_) | Answer::Policy(_));
        let Some(open) = self.open.get_mut(&sent.key) else {
            return;
        };
        open.under_way = open.under_way.saturating_sub(1);
        open.failed = !succeeded;
        // One that was sent before the decision does not follow from it.
        if succeeded && sent.writes_slice && sent.at >= open.since {
            self.metrics.decided_and_wrote(now.since(open.since));
            self.open.remove(&sent.key);
        }
    }

    /// A decision from which no request follows, or none any more, changes no slice.
    pub(super) fn settle(&mut self) {
        self.open.retain(|_, open| open.under_way > 0 || open.failed);
    }
}
