//! What a process does while it follows so that it takes over soon, and what it does first when it begins to lead.

use std::time::Duration;

use super::desk::{Around, Desk};
use super::rendering::Rendering;
use super::request::Effect;
use super::{Lead, Now, Writing};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;

/// When a process begins to lead, the desks whose routes do not differ follow the others: so many at once, so long after those before
/// them. Meanwhile answers to requests are taken in.
const AT_ONCE: usize = 32;
const APART: Duration = Duration::from_millis(20);

impl<R: Rendering> Writing<R> {
    /// A process that follows compares what it would write with what there is: what differs is attended first when it leads.
    pub(super) fn compare(&mut self, now: Now, effects: &mut Vec<Effect<R::Body>>) {
        for key in std::mem::take(&mut self.marked) {
            self.wakes.set(&key, None);
            let is_same = self.with_desk(&key, now, effects, Desk::compare);
            if is_same == Some(false) {
                self.behind.insert(key);
            } else {
                self.behind.remove(&key);
            }
        }
    }

    /// This process begins to lead: by a lease another one did before it.
    pub(super) fn begin(&mut self, until: Option<Moment>, now: Moment) {
        self.lead = Lead::Leads { until };
        self.marked.append(&mut self.behind);
        let mut next = now + APART;
        let others = self.desks.keys().filter(|key| !self.marked.contains(*key));
        let others: Vec<_> = others.cloned().collect();
        for some in others.chunks(AT_ONCE) {
            for key in some {
                self.wakes.set(key, Some(next));
            }
            next = next + APART;
        }
        if until.is_some() {
            self.desks.values_mut().for_each(Desk::begin);
        }
    }

    /// What a desk does with what it works with; `None`: there is no such desk.
    pub(super) fn with_desk<T>(
        &mut self,
        key: &PolicyKey,
        now: Now,
        effects: &mut Vec<Effect<R::Body>>,
        act: impl FnOnce(&mut Desk<R::Body>, &mut Around<'_, R>) -> T,
    ) -> Option<T> {
        let desk = self.desks.get_mut(key)?;
        let mut around = Around {
            rendering: &self.rendering,
            installation: &self.installation,
            objects: &self.objects,
            living: &self.uids,
            foreign: &self.foreign,
            lead: self.lead,
            places: &mut self.places,
            busy: &self.busy,
            flights: &mut self.flights,
            succeeded: self.succeeded,
            now,
            effects,
        };
        Some(act(desk, &mut around))
    }
}
