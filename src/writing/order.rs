//! From what should be and what is to a list of writes, in a safe order.
//!
//! Order: slices; Services; the ConfigMap; what is no longer wanted. Of the slices those of `rw` and `ro` first, then of
//! classes, then of regions; each time those that only lose targets, then the others, then those whose targets are in another
//! one now. kube-proxy in nftables mode synchronises at once and then not again for a second, so what people use most
//! goes first. A Service is made after its slices: its first synchronisation finds them.

use std::collections::BTreeSet;

use super::input::Place;
use super::objects::Objects;
use super::ownership::Owner;
use super::rendering::Wanted;
use super::request::Call;
use crate::render::reading::{Digest, ObservedObject, SliceFacts, Version};
use crate::render::{Kind, ObjectId};
use distributary_core::seeded::SeededFault;
use distributary_core::table::named;

/// One write that is due.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<B> {
    pub rank: Rank,
    pub id: ObjectId,
    /// Of the object as it should be, now or when it is made anew; `None`: it should not be.
    pub digest: Option<Digest>,
    /// The route of a slice.
    pub route: Option<String>,
    /// The Service of a slice, and whether there is none of its name.
    pub service: Option<(String, bool)>,
    pub change: StepChange<B>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum StepChange<B> {
    Create(B),
    Put { onto: B, wanted: B },
    Delete { uid: String, version: Version },
}

impl<B: Clone> Step<B> {
    /// The request that does it.
    pub fn call(&self) -> Call<B> {
        let id = self.id.clone();
        match self.change.clone() {
            StepChange::Create(body) => Call::Create { id, body },
            StepChange::Put { onto, wanted } => Call::Put { id, onto, wanted },
            StepChange::Delete { uid, version } => Call::Delete { id, uid, version },
        }
    }
}

/// What to write, and what stands in the way.
#[derive(Clone, Debug, PartialEq)]
pub struct Due<B> {
    /// By their ranks.
    pub steps: Vec<Step<B>>,
    /// Objects of our names that the policy does not control: left alone.
    pub conflicts: Vec<ObjectId>,
}

impl<B> Default for Due<B> {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            conflicts: Vec::new(),
        }
    }
}

/// The place of a write in the order. Those of one rank go at once.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Rank {
    /// By the place of its route.
    Slice(u8, Change),
    Service,
    ConfigMap,
    Unwanted,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Change {
    Goes,
    OnlyLoses,
    Gains,
    /// After the slices that gain: a target that moves from one slice to another is in both for a moment, never in none.
    GivesAway,
}

impl Rank {
    /// Whether it takes servers out of a route, and puts none in.
    pub const fn withdraws(self) -> bool {
        matches!(self, Self::Slice(_, Change::Goes | Change::OnlyLoses))
    }

    pub const fn is_slice(self) -> bool {
        matches!(self, Self::Slice(..))
    }
}

/// Compares. `kept` stays as it is. An object is ours if the policy controls it or may adopt it. A Service of our name that is not ours gets no
/// slices of ours: kube-proxy would merge them with those of its owner.
pub fn due<'a, B: Clone + 'a>(
    wanted: impl IntoIterator<Item = &'a Wanted<B>>,
    kept: &BTreeSet<ObjectId>,
    objects: &Objects<B>,
    owner: Owner<'_>,
) -> Due<B> {
    let wanted: Vec<_> = wanted.into_iter().collect();
    let at = |id: &ObjectId| {
        let (namespace, id) = (owner.key.namespace.clone(), id.clone());
        objects.get(&Place { namespace, id })
    };
    let is_foreign = |id: &ObjectId| at(id).is_some_and(|object| !owner.may_write(object));
    let conflicts: Vec<_> = wanted
        .iter()
        .map(|it| &it.id)
        .filter(|id| is_foreign(id))
        .cloned()
        .collect();
    let led_elsewhere = |it: &&Wanted<B>| {
        let service =
            |id: &ObjectId, facts: &SliceFacts| id.kind == Kind::Service && id.name == facts.service;
        it.slice
            .as_ref()
            .is_some_and(|facts| conflicts.iter().any(|id| service(id, facts)))
    };
    let wanted: Vec<_> = wanted.into_iter().filter(|it| !led_elsewhere(it)).collect();
    let mut steps = Vec::new();
    let unseen = |service: &str| {
        let (kind, name) = (Kind::Service, service.to_owned());
        at(&ObjectId { kind, name }).is_none()
    };
    for it in wanted.iter().filter(|it| !conflicts.contains(&it.id)) {
        let seen = at(&it.id);
        match seen {
            Some(seen) if seen.digest == it.digest && !SeededFault::EchoIsAChange.is_on() => {}
            Some(seen) if is_past_mending(it, seen) => steps.push(Step {
                digest: Some(it.digest),
                ..delete(seen, &wanted)
            }),
            _ => steps.push(write(it, seen, &wanted, unseen)),
        }
    }
    let names: BTreeSet<&ObjectId> = wanted.iter().map(|it| &it.id).collect();
    let unwanted = objects
        .of(owner.uid)
        .filter(|seen| seen.namespace == owner.key.namespace)
        .chain(lost_slices(objects, owner, names.iter().copied()))
        .filter(|seen| !names.contains(&seen.id) && !kept.contains(&seen.id));
    steps.extend(unwanted.map(|seen| delete(seen, &wanted)));
    steps.retain(|step| owner.may_do(step));
    steps.sort_by_key(|step| step.rank);
    Due { steps, conflicts }
}

/// The slices without a policy for the Services among `ours`: kube-proxy uses them, too. Other objects without a policy are
/// left alone unless one of their name is needed.
pub fn lost_slices<'a, B>(
    objects: &'a Objects<B>,
    owner: Owner<'a>,
    ours: impl Iterator<Item = &'a ObjectId>,
) -> impl Iterator<Item = &'a ObservedObject<B>> {
    let services: BTreeSet<_> = ours
        .filter(|id| id.kind == Kind::Service)
        .map(|id| id.name.as_str())
        .collect();
    let of_ours = move |seen: &&ObservedObject<B>| {
        let service = seen.slice.as_ref().map(|slice| slice.service.as_str());
        service.is_some_and(|service| services.contains(service)) && owner.may_adopt(seen)
    };
    objects.lost_by(owner.key).filter(of_ours)
}

/// Whether no PUT makes an object what it should be: it is deleted, and made anew once that is answered.
fn is_past_mending<B>(it: &Wanted<B>, seen: &ObservedObject<B>) -> bool {
    let family = |slice: &Option<SliceFacts>| slice.as_ref().map(|slice| slice.family.clone());
    seen.fixed || family(&it.slice) != family(&seen.slice)
}

fn write<B: Clone>(
    it: &Wanted<B>,
    seen: Option<&ObservedObject<B>>,
    wanted: &[&Wanted<B>],
    unseen: impl Fn(&str) -> bool,
) -> Step<B> {
    let rank = match (it.id.kind, &it.slice) {
        (Kind::EndpointSlice, Some(after)) => {
            let before = seen.and_then(|seen| seen.slice.as_ref());
            let change = match before {
                Some(before) if gives_away(before, Some(it), wanted) => Change::GivesAway,
                Some(before) if only_loses(before, after) => Change::OnlyLoses,
                _ => Change::Gains,
            };
            Rank::Slice(place(after), change)
        }
        (Kind::EndpointSlice, None) | (Kind::Service, _) => Rank::Service,
        (Kind::ConfigMap, _) => Rank::ConfigMap,
    };
    let wanted = it.body.clone();
    let service = |slice: &SliceFacts| (slice.service.clone(), unseen(&slice.service));
    Step {
        rank,
        id: it.id.clone(),
        digest: Some(it.digest),
        route: it.slice.as_ref().and_then(|slice| slice.route.clone()),
        service: it.slice.as_ref().map(service),
        change: match seen {
            Some(seen) => StepChange::Put {
                onto: seen.body.clone(),
                wanted,
            },
            None => StepChange::Create(wanted),
        },
    }
}

fn delete<B>(seen: &ObservedObject<B>, wanted: &[&Wanted<B>]) -> Step<B> {
    let rank = match &seen.slice {
        Some(slice) => {
            let gives_away = gives_away(slice, None, wanted);
            let change = if gives_away {
                Change::GivesAway
            } else {
                Change::Goes
            };
            Rank::Slice(place(slice), change)
        }
        None => Rank::Unwanted,
    };
    Step {
        rank,
        id: seen.id.clone(),
        digest: None,
        route: seen.slice.as_ref().and_then(|slice| slice.route.clone()),
        service: None,
        change: StepChange::Delete {
            uid: seen.uid.clone(),
            version: seen.version.clone(),
        },
    }
}

fn place(slice: &SliceFacts) -> u8 {
    slice.route.as_deref().map_or(0, named::write_order)
}

fn only_loses(before: &SliceFacts, after: &SliceFacts) -> bool {
    after.addresses.is_subset(&before.addresses) && after.addresses != before.addresses
}

/// Whether something that a slice loses is to be in another one of its Service and port.
fn gives_away<B>(before: &SliceFacts, becomes: Option<&Wanted<B>>, wanted: &[&Wanted<B>]) -> bool {
    let kept = becomes
        .and_then(|it| it.slice.as_ref())
        .map(|slice| &slice.addresses);
    let lost: BTreeSet<_> = before
        .addresses
        .iter()
        .filter(|address| kept.is_none_or(|kept| !kept.contains(*address)))
        .collect();
    let others = wanted
        .iter()
        .filter(|other| becomes.is_none_or(|becomes| becomes.id != other.id))
        .filter_map(|other| other.slice.as_ref())
        .filter(|other| (&other.service, other.port) == (&before.service, before.port));
    !lost.is_empty()
        && others
            .into_iter()
            .any(|other| lost.iter().any(|address| other.addresses.contains(*address)))
}
