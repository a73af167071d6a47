//! What can be read and written now.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::{Around, Desk, Rest, SLOW};
use crate::render::reading::SliceFacts;
use crate::render::{Kind, ObjectId};
use crate::writing::order::{Due, Rank, Step, StepChange};
use crate::writing::places::PlaceKind;
use crate::writing::rendering::Rendering;
use crate::writing::request::{Call, Effect};
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;
use distributary_core::table::named::WRITES;

/// What is under way, or about to be, in the order of writes: what comes later waits for it.
#[derive(Default)]
pub struct Open {
    first: Option<Rank>,
    pub slices: bool,
    pub any: bool,
}

/// The route of the writes while its holder is not proven.
struct Unproven {
    /// Where it leads.
    servers: BTreeSet<SocketAddr>,
    /// The decision knows that.
    is_told: bool,
    /// It is to lead to a server.
    is_filled: bool,
}

impl Open {
    fn with(&mut self, rank: Rank) {
        self.first.get_or_insert(rank);
        self.slices |= rank.is_slice();
        self.any = true;
    }
}

impl<B: Clone + std::fmt::Debug + PartialEq> Desk<B> {
    /// Reads what nobody knows, in the order of the writes that wait for it.
    pub(super) fn look<R: Rendering<Body = B>>(
        &mut self,
        due: &Due<B>,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) {
        let mut unsure: Vec<_> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.unsure && attempt.under_way.is_none())
            .map(|(subject, attempt)| (subject.clone(), attempt.waits(around.now.moment)))
            .collect();
        let waits_for = |step: &Step<B>, id: &ObjectId| {
            step.id == *id || step.service.as_ref().is_some_and(|(name, _)| *name == id.name)
        };
        unsure.sort_by_key(|(subject, _)| {
            let id = subject.as_ref();
            id.and_then(|id| due.steps.iter().position(|step| waits_for(step, id)))
        });
        for (subject, waits) in unsure {
            let call = subject.clone().map_or(Call::GetPolicy, |id| Call::Get { id });
            if let Some(at) = waits {
                rest.wake_at(at);
            } else {
                let is_of_route = due.steps.iter().any(|step| step.rank.is_slice());
                self.send(subject, call, is_of_route, around, rest);
            }
        }
    }

    /// Writes what is due, as far as nothing stands before it.
    pub(super) fn write<R: Rendering<Body = B>>(
        &mut self,
        due: &Due<B>,
        unlogged: bool,
        around: &mut Around<'_, R>,
        rest: &mut Rest,
    ) -> Open {
        let (now, mut open) = (around.now.moment, Open::default());
        for step in &due.steps {
            if open.first.is_some_and(|first| first < step.rank) {
                break;
            }
            let subject = Some(step.id.clone());
            let attempt = self.attempts.entry(subject.clone()).or_default();
            if let Some(under_way) = attempt
                .under_way
                .filter(|_| !SeededFault::SecondRequestAtOnce.is_on())
            {
                let (slow, told) = (under_way.since + SLOW.0, under_way.since + SLOW.1);
                if now < slow {
                    rest.wake_at(slow);
                    open.with(step.rank);
                } else if now < told {
                    rest.wake_at(told);
                    open.any = true;
                }
                continue;
            }
            if let Some(at) = attempt.waits(now) {
                rest.wake_at(at);
                continue;
            }
            if attempt.unsure {
                open.with(step.rank);
                continue;
            }
            if self.waits_for_another(step, due, unlogged) {
                open.any |= self.waits_for_read(step, now);
                continue;
            }
            if let Some(at) = self.pace.waits(step, self.goals, now) {
                rest.wake_at(at);
                open.with(step.rank);
            } else if self.send(subject.clone(), step.call(), step.rank.is_slice(), around, rest) {
                self.pace.begin(step, self.goals, now);
                if step.route.as_deref() == Some(WRITES) && !step.rank.withdraws() {
                    self.attempts.entry(subject).or_default().lead_writes();
                }
                open.with(step.rank);
            } else {
                // What waits for a place for long, while nothing is done, holds up nothing else, and is told.
                let done = around.places.of(PlaceKind::Write).done(&self.key.namespace);
                let starved = self.attempts.entry(subject).or_default().starve(now);
                let told = done.map_or(starved, |done| done.max(starved)) + SLOW.1;
                if now < told {
                    rest.wake_at(told);
                    open.with(step.rank);
                }
            }
        }
        open
    }

    /// What a write depends on that is not done: all else goes on.
    fn waits_for_another(&self, step: &Step<B>, due: &Due<B>, unlogged: bool) -> bool {
        let is_of_writes = |step: &Step<B>| step.route.as_deref() == Some(WRITES);
        let leads_writes = is_of_writes(step) || step.rank == Rank::ConfigMap;
        // The writes are withdrawn from the old server before they are published at the new one.
        let withdrawal = |other: &Step<B>| is_of_writes(other) && other.rank.withdraws();
        let publishes =
            is_of_writes(step) && !step.rank.withdraws() && !SeededFault::PublishBeforeWithdraw.is_on();
        // The first synchronisation of kube-proxy finds the slices of a Service.
        let has_no_slices = matches!(step.change, StepChange::Create(_))
            && due
                .steps
                .iter()
                .any(|other| self.is_slice_to_come(other, &step.id));
        (leads_writes && unlogged)
            || has_no_slices
            || (publishes && due.steps.iter().any(withdrawal))
            || self.unknown_service(step).is_some()
    }

    /// Whether the holder has not told this process yet that it takes the writes: the route stays as it was found, if that is
    /// elsewhere, and the engine is told where that is. One that is not there is made, unless the holder shows another database.
    pub(super) fn waits_for_proof<R: Rendering<Body = B>>(
        &mut self,
        due: &Due<B>,
        around: &mut Around<'_, R>,
    ) -> bool {
        let Some(Unproven { servers, is_told, .. }) = self.unproven(due, around) else {
            return false;
        };
        let told = Some((self.goals, servers));
        if !is_told && self.found != told {
            self.found = told;
            let found = self.found.iter().map(|(_, servers)| Effect::Found {
                key: self.key.clone(),
                uid: self.uid().to_owned(),
                servers: servers.clone(),
            });
            around.effects.extend(found);
        }
        self.stays_at(due, around).is_some() && !SeededFault::RouteBeforeProof.is_on()
    }

    /// Where the route of the writes stays as it was found: the servers that it leads to.
    pub(super) fn stays_at<R: Rendering<Body = B>>(
        &self,
        due: &Due<B>,
        around: &Around<'_, R>,
    ) -> Option<BTreeSet<SocketAddr>> {
        let found = self.unproven(due, around)?;
        (!found.is_told || found.is_filled).then_some(found.servers)
    }

    /// The route of the writes as it was found, where it is to change and the holder is not proven.
    fn unproven<R: Rendering<Body = B>>(&self, due: &Due<B>, around: &Around<'_, R>) -> Option<Unproven> {
        let (decision, _) = self.decided()?;
        let decided = decision.state.decided()?;
        // One that shows another database stays where it is, and is led to nowhere else.
        let is_wrong = decided.changed.is_some();
        let changes = |step: &Step<B>| {
            let is_made = matches!(step.change, StepChange::Create(_));
            step.route.as_deref() == Some(WRITES) && (is_wrong || !is_made)
        };
        if decided.proven || !due.steps.iter().any(changes) {
            return None;
        }
        let servers = self.led_to(around);
        let is_told = servers.is_empty() || decided.found.as_ref().is_none_or(|found| *found == servers);
        Some(Unproven {
            servers,
            is_told,
            is_filled: !decided.plan.rw.members.is_empty(),
        })
    }

    /// The servers of the slices of the writes.
    fn led_to<R: Rendering<Body = B>>(&self, around: &Around<'_, R>) -> BTreeSet<SocketAddr> {
        let slices = around
            .objects
            .of(self.uid())
            .filter_map(|object| object.slice.as_ref());
        let slices = slices.filter(|slice| slice.route.as_deref() == Some(WRITES));
        let servers = |slice: &SliceFacts| -> Vec<_> {
            let server = |address: &String| Some(SocketAddr::new(address.parse().ok()?, slice.port?));
            slice.addresses.iter().filter_map(server).collect()
        };
        slices.flat_map(servers).collect()
    }

    /// Whether it is a slice of this Service that is still to be written, and was not refused.
    fn is_slice_to_come(&self, step: &Step<B>, service: &ObjectId) -> bool {
        let of_it = step
            .service
            .as_ref()
            .is_some_and(|(name, _)| *name == service.name);
        let refused = || {
            let attempt = self.attempts.get(&Some(step.id.clone()));
            attempt.is_some_and(|attempt| attempt.refusal.is_some())
        };
        service.kind == Kind::Service && of_it && !refused()
    }

    /// Whether the Service of a new slice is being looked for.
    fn waits_for_read(&self, step: &Step<B>, now: Moment) -> bool {
        let attempt = self
            .unknown_service(step)
            .and_then(|service| self.attempts.get(&Some(service)));
        attempt.is_some_and(|attempt| attempt.waits(now).is_none())
    }
}
