//! A route made ready for picks: its targets by order, and in each order the sequence of their turns.
//!
//! Pure but for the counters of turns. A pick takes no lock and allocates nothing.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Turns of one order of a route, at most; one for each target where there are more of them.
pub const MOST_TURNS: usize = 4096;
/// So many places are drawn before all targets are looked at.
const DRAWS: usize = 3;
/// Threads share so many places of what each of them has for itself, such as counters of turns.
pub const SHARDS: usize = 16;

/// What a pick asks of a target.
pub trait Candidate {
    /// The share of the requests of a kind that it takes, in percent: one that returns takes some, one that is out none. `None`:
    /// whatever their kind.
    fn share(&self, kind: Option<&str>) -> u32;
    /// Requests under way, and how many it takes at once, at least 1.
    fn used(&self) -> (u32, u32);
    /// When a request of this kind failed there last, in any unit that grows; 0: none ever did.
    fn failed_at(&self, kind: Option<&str>) -> u64;
}

/// How turns are given among targets of one order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Turns {
    /// One after the other, by their weights.
    InTurn,
    /// Of two that are drawn by their weights, the one that is used less.
    LeastUsed,
}

/// A route, its targets by order.
pub struct Picker<T> {
    tiers: Box<[Tier<T>]>,
    turns: Turns,
}

struct Tier<T> {
    targets: Box<[Arc<T>]>,
    /// Of each of them.
    weights: Box<[u32]>,
    /// Places in `targets`.
    sequence: Box<[u16]>,
    counters: Box<[Counter; SHARDS]>,
}

/// Turns that were taken, in a cache line of its own.
#[repr(align(64))]
struct Counter {
    /// The next place in the sequence.
    place: AtomicU32,
    /// How often the sequence was gone through.
    round: AtomicU32,
}

/// One turn.
#[derive(Clone, Copy)]
struct Turn {
    place: usize,
    /// Unlike any other one's, and evenly drawn.
    drawn: u32,
}

impl Turn {
    /// Whether it is among so many of a hundred.
    const fn is_within(self, percent: u32) -> bool {
        percent >= 100 || (self.drawn as u64 * 100) >> 32 < percent as u64
    }
}

impl<T: Candidate> Picker<T> {
    /// Of targets with their order and weight, in the order of the table. A weight of 0 is taken for 1.
    pub fn new(targets: impl IntoIterator<Item = (Arc<T>, u16, u32)>, turns: Turns) -> Self {
        let mut targets: Vec<_> = targets.into_iter().collect();
        targets.sort_by_key(|(_, order, _)| *order);
        let tiers = targets.chunk_by(|(_, one, _), (_, other, _)| one == other);
        Self {
            tiers: tiers.map(Tier::new).collect(),
            turns,
        }
    }

    /// All targets, those of the lowest order first.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<T>> {
        self.tiers.iter().flat_map(|tier| &tier.targets)
    }

    /// Whether there is anybody but these. It takes no turn.
    pub fn has_other(&self, tried: &[&Arc<T>]) -> bool {
        self.targets()
            .any(|target| !tried.iter().any(|other| Arc::ptr_eq(other, target)))
    }

    /// Whether there is anybody but these who takes requests. It takes no turn.
    pub fn admits(&self, tried: &[&Arc<T>]) -> bool {
        let fresh = |target: &&Arc<T>| !tried.iter().any(|other| Arc::ptr_eq(other, target));
        self.targets().filter(fresh).any(|target| target.share(None) > 0)
    }

    /// Whose turn it is to serve a request of this kind: of the lowest order that has any that admits it. Where nobody does, the one
    /// that failed longest ago, of those first that take requests of any kind. None of `tried` is taken; `None`: nobody else is there.
    pub fn pick(&self, tried: &[&Arc<T>], kind: Option<&str>) -> Option<&Arc<T>> {
        let fresh = |target: &Arc<T>| !tried.iter().any(|other| Arc::ptr_eq(other, target));
        for tier in &self.tiers {
            let Some(turn) = tier.turn() else { continue };
            let passes = |target: &Arc<T>| fresh(target) && turn.is_within(target.share(kind));
            let Some(first) = tier.at(turn, passes) else {
                continue;
            };
            if self.turns == Turns::InTurn || tier.targets.len() == 1 {
                return Some(first);
            }
            let second = tier.second(turn, |target| passes(target) && !Arc::ptr_eq(target, first));
            return Some(second.map_or(first, |second| less_used(first, second)));
        }
        self.targets()
            .filter(|target| fresh(target))
            .min_by_key(|target| (target.share(None) == 0, target.failed_at(kind)))
    }
}

fn less_used<'a, T: Candidate>(one: &'a Arc<T>, other: &'a Arc<T>) -> &'a Arc<T> {
    let ((used, of), (others, of_others)) = (one.used(), other.used());
    // used/of ≤ others/of_others
    if u64::from(used) * u64::from(of_others) <= u64::from(others) * u64::from(of) {
        one
    } else {
        other
    }
}

impl<T: Candidate> Tier<T> {
    fn new(targets: &[(Arc<T>, u16, u32)]) -> Self {
        let weights: Vec<_> = targets.iter().map(|(_, _, weight)| (*weight).max(1)).collect();
        let random = RandomState::new();
        let sequence = sequence(&weights);
        let count = u64::try_from(sequence.len()).unwrap_or(u64::MAX).max(1);
        let start = |at: usize| Counter {
            place: AtomicU32::new(low(random.hash_one(at) % count)),
            round: AtomicU32::new(low(random.hash_one(!at))),
        };
        Self {
            targets: targets.iter().map(|(target, ..)| Arc::clone(target)).collect(),
            weights: weights.into(),
            sequence: sequence.into(),
            counters: Box::new(std::array::from_fn(start)),
        }
    }

    /// The next turn; `None`: nobody is here. Two threads of one counter may get the same one.
    fn turn(&self) -> Option<Turn> {
        let counter = &self.counters[shard()];
        let place = counter.place.load(Ordering::Relaxed);
        let round = counter.round.load(Ordering::Relaxed);
        let at = usize::try_from(place)
            .ok()
            .filter(|at| *at < self.sequence.len())?;
        if at + 1 == self.sequence.len() {
            counter.place.store(0, Ordering::Relaxed);
            counter.round.store(round.wrapping_add(1), Ordering::Relaxed);
        } else {
            counter.place.store(place + 1, Ordering::Relaxed);
        }
        let mixed = round.wrapping_mul(0x9E37_79B1) ^ place.wrapping_mul(0x85EB_CA6B);
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xC2B2_AE35);
        Some(Turn {
            place: at,
            drawn: mixed ^ (mixed >> 16),
        })
    }

    /// Whose turn it is. The turn of one that does not pass is anybody's, by their weights: no single other one gets all of them.
    fn at(&self, turn: Turn, passes: impl Fn(&Arc<T>) -> bool) -> Option<&Arc<T>> {
        let place = self.sequence.get(turn.place)?;
        let first = self.targets.get(usize::from(*place))?;
        if passes(first) {
            return Some(first);
        }
        self.drawn(turn, passes)
    }

    /// As [`drawn`](Self::drawn), mostly without a look at all of them: a place in the sequence is drawn by their weights, too.
    fn second(&self, turn: Turn, passes: impl Fn(&Arc<T>) -> bool) -> Option<&Arc<T>> {
        let mut drawn = turn.drawn;
        for _ in 0..DRAWS {
            drawn = (drawn ^ (drawn >> 15)).wrapping_mul(0x27D4_EB2F);
            let place = (u64::from(drawn) * self.sequence.len() as u64) >> 32;
            let at = self.sequence.get(usize::try_from(place).ok()?)?;
            let target = self.targets.get(usize::from(*at))?;
            if passes(target) {
                return Some(target);
            }
        }
        self.drawn(turn, passes)
    }

    /// One of those that pass, drawn by their weights.
    fn drawn(&self, turn: Turn, passes: impl Fn(&Arc<T>) -> bool) -> Option<&Arc<T>> {
        let passing = || {
            let all = self.targets.iter().zip(&self.weights);
            all.filter(|(target, _)| passes(target))
        };
        let total: u64 = passing().map(|(_, weight)| u64::from(*weight)).sum();
        let drawn = turn.drawn.wrapping_mul(0x27D4_EB2F);
        let mut point = (u128::from(drawn ^ (drawn >> 15)) * u128::from(total)) >> 32;
        let mut last = None;
        for (target, weight) in passing() {
            last = Some(target);
            match point.checked_sub(u128::from(*weight)) {
                Some(rest) => point = rest,
                None => break,
            }
        }
        last
    }
}

fn low(number: u64) -> u32 {
    u32::try_from(number & 0xFFFF_FFFF).unwrap_or_default()
}

/// The place of this thread.
pub fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    SHARD.with(|shard| {
        let known = shard.get();
        if known < SHARDS {
            return known;
        }
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        shard.set(next);
        next
    })
}

/// Turns for these weights, spread as evenly as they can be; [`MOST_TURNS`] at most, or one for each where there are more targets.
fn sequence(weights: &[u32]) -> Vec<u16> {
    let turns = turns(weights);
    let total: i64 = turns.iter().sum();
    let mut credit = vec![0_i64; turns.len()];
    let mut sequence = Vec::new();
    for _ in 0..total {
        for (credit, turns) in credit.iter_mut().zip(&turns) {
            *credit += turns;
        }
        // The first of those with the most.
        let next = (0..credit.len()).rev().max_by_key(|at| credit[*at]);
        if let Some(next) = next {
            credit[next] -= total;
            sequence.extend(u16::try_from(next));
        }
    }
    sequence
}

/// How many turns each has in a round.
fn turns(weights: &[u32]) -> Vec<i64> {
    let divisor = weights.iter().copied().fold(0, common_divisor).max(1);
    let exact: Vec<u64> = weights.iter().map(|weight| u64::from(weight / divisor)).collect();
    let (total, most) = (exact.iter().sum::<u64>(), MOST_TURNS as u64);
    if total <= most {
        return exact.into_iter().map(signed).collect();
    }
    // One for each first, so that the smallest is not lost; the rest by weight.
    let rest = most.saturating_sub(exact.len() as u64);
    let scaled = exact.iter().map(|weight| 1 + weight.saturating_mul(rest) / total);
    let scaled: Vec<i64> = scaled.map(signed).collect();
    scaled
}

fn signed(turns: u64) -> i64 {
    i64::try_from(turns).unwrap_or(i64::MAX)
}

const fn common_divisor(one: u32, other: u32) -> u32 {
    let (mut one, mut other) = (one, other);
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one
}

#[cfg(test)]
mod tests;
