//! The invariants of the operator, by their names.

use std::collections::BTreeSet;

use distributary::render::status::{agree, memory};
use distributary::writing::Call;

use super::api::{Api, Body, Slot, members, revision};
use super::engine::View;
use super::operator::Operator;
use super::servers::COUNT;
use super::state::Sender;

/// What must hold.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Law {
    /// A write of `rw` names a server that told last that it takes writes, or the one that is there already. Who falls silent after it was
    /// logged is held.
    S1,
    /// `rw` names one server, and the memory leaves no holder that is proven to take writes.
    S2,
    /// `ro` is not emptied while a standby is good.
    S3,
    /// When all is written, the routes are as decided.
    S4,
    /// An object of others is not written.
    S5,
    /// Of the memory an older leader overwrites none that a newer one wrote.
    S6,
    /// In an unchanged world nothing is written, a change of leaders included.
    S7,
    /// When all is written, the status tells it.
    S8,
    /// `rw` leads to nobody whom the memory does not name, but for what an older leader sent.
    S10,
    /// Without faults the cluster is as it should be after a bounded time (L1, L2).
    Converges,
    /// And then nothing is written.
    Quiet,
}

/// What the laws know of what happened.
#[derive(Clone, Debug, Default, Hash)]
pub struct Laws {
    pub broken: Option<Law>,
    /// The world is not the one that it was.
    pub changed: bool,
    pub promoted: bool,
    pub meddled: bool,
    /// The change of leaders of whoever wrote the memory.
    author: u32,
}

impl Laws {
    pub fn of_a_new_policy() -> Self {
        Self {
            changed: true,
            ..Self::default()
        }
    }

    /// An operator sends a request.
    pub fn sent(&self, operator: &Operator, call: &Call<Body>, api: &Api) -> Option<Law> {
        let views = &operator.engine.views;
        match call {
            Call::Create { id, body } | Call::Put { id, wanted: body, .. } => {
                let slot = Slot::of(id)?;
                let before = api.servers(slot);
                if slot == Slot::Reads {
                    let good = views.iter().any(View::is_standby);
                    return (good && body.servers.is_empty()).then_some(Law::S3);
                }
                let restored = |server: &usize| self.meddled && api.remembered() == Some(*server);
                let mut new = body.servers.difference(&before);
                let proven = new.all(|server| views[*server].proved() || restored(server));
                (!proven).then_some(Law::S1)
            }
            Call::PutStatus { status, version, .. } if *version == api.status_version() => {
                let holder = api.remembered()?;
                let mark = api.status.memory.as_ref()?.timeline;
                let next = status.memory.as_ref().and_then(|memory| memory.holder.as_ref());
                let Some(next) = next else {
                    return Some(Law::S6);
                };
                let leaves = next.endpoint != super::servers::NAMES[holder];
                let view = &views[holder];
                let holds = view.proves() && view.timeline >= mark;
                (leaves && holds).then_some(Law::S2)
            }
            _ => None,
        }
    }

    /// A request was carried out. `terms`: the newest change of leaders.
    pub fn done(&mut self, before: &Api, after: &Api, by: Sender, terms: u32) -> Option<Law> {
        if before.head() == after.head() {
            return None;
        }
        if !self.changed {
            return Some(Law::S7);
        }
        let foreign = |slot: &Slot| before.get(*slot).is_some_and(|object| !object.is_ours());
        let kept = |slot: &Slot| after.get(*slot).is_some_and(|object| !object.is_ours());
        if Slot::ALL.iter().any(|slot| foreign(slot) && !kept(slot)) {
            return Some(Law::S5);
        }
        if before.status.memory != after.status.memory {
            if by.term < self.author {
                return Some(Law::S6);
            }
            self.author = by.term;
        }
        let (old, new) = (before.servers(Slot::Writes), after.servers(Slot::Writes));
        if new.len() > 1 {
            return Some(Law::S2);
        }
        let named: BTreeSet<_> = after.remembered().into_iter().collect();
        let excused = by.gave_up || by.term < terms;
        (new != old && !new.is_subset(&named) && !excused).then_some(Law::S10)
    }

    /// The leader knows all, and has nothing to do.
    pub fn settled(operator: &Operator, api: &Api) -> Option<Law> {
        let decision = operator.engine.decision.as_ref()?;
        let decided = decision.state.decided()?;
        let (writes, reads) = (members(&decided.plan.rw), members(&decided.plan.ro));
        let foreign = Slot::ALL
            .into_iter()
            .any(|slot| api.get(slot).is_none_or(|object| !object.is_ours()));
        if foreign {
            return None;
        }
        if api.servers(Slot::Writes) != writes || api.servers(Slot::Reads) != reads {
            return Some(Law::S4);
        }
        let bad = |server: usize| !operator.engine.views[server].is_standby() && !writes.contains(&server);
        let held = (0..COUNT).all(|server| !operator.engine.views[server].is_standby());
        if reads.iter().any(|server| bad(*server)) && !held {
            return Some(Law::S4);
        }
        let revision = revision(&writes, &reads);
        let routing = api.status.routing.as_ref();
        let told = routing.is_some_and(|routing| routing.revision == revision);
        let remembers = agree(api.status.memory.as_ref(), memory(decision).as_ref());
        (!told || !remembers).then_some(Law::S8)
    }
}
