//! A route made ready for picks: its targets by order, and in each order the sequence of their turns.
//!
//! Pure but for the counters of turns. A pick takes no lock and allocates nothing.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Turns of one order of a route, at most.
pub const MOST_TURNS: usize = 4096;
/// Threads share this many counters of turns.
const COUNTERS: usize = 16;

/// What a pick asks of a target.
pub trait Candidate {
    /// Whether it takes the request with this number, evenly drawn from 0 to 99: one that returns takes a share of them.
    fn admits(&self, drawn: u32) -> bool;
    /// Requests under way, and how many it takes at once, at least 1.
    fn used(&self) -> (u32, u32);
    /// When it failed last, in any unit that grows; 0: it never failed.
    fn failed_at(&self) -> u64;
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
    /// Places in `targets`.
    sequence: Box<[u16]>,
    counters: Box<[Counter; COUNTERS]>,
}

/// In a cache line of its own.
#[repr(align(64))]
struct Counter(AtomicU32);

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
    pub fn has_other(&self, tried: &[Arc<T>]) -> bool {
        self.targets()
            .any(|target| !tried.iter().any(|other| Arc::ptr_eq(other, target)))
    }

    /// Whose turn it is: of the lowest order that has any that admits it. Where nobody does, the one that failed longest ago.
    /// None of `tried` is taken; `None`: nobody else is there.
    pub fn pick(&self, tried: &[Arc<T>]) -> Option<&Arc<T>> {
        let fresh = |target: &Arc<T>| !tried.iter().any(|other| Arc::ptr_eq(other, target));
        let turn = |tier: &'_ Tier<T>| tier.turn();
        for tier in &self.tiers {
            let (at, drawn) = turn(tier);
            let passes = |target: &Arc<T>| fresh(target) && target.admits(drawn);
            let Some(first) = tier.from(at, passes) else {
                continue;
            };
            if self.turns == Turns::InTurn || tier.targets.len() == 1 {
                return Some(first);
            }
            let elsewhere = at.wrapping_mul(0x9E37_79B1).rotate_left(15);
            let second = tier.from(elsewhere, |target| passes(target) && !Arc::ptr_eq(target, first));
            return Some(second.map_or(first, |second| less_used(first, second)));
        }
        self.targets()
            .filter(|target| fresh(target))
            .min_by_key(|target| target.failed_at())
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
        let start = |at: usize| {
            let hash = random.hash_one(at);
            Counter(AtomicU32::new(
                u32::try_from(hash & 0xFFFF_FFFF).unwrap_or_default(),
            ))
        };
        Self {
            targets: targets.iter().map(|(target, ..)| Arc::clone(target)).collect(),
            sequence: sequence(&weights).into(),
            counters: Box::new(std::array::from_fn(start)),
        }
    }

    /// The number of this turn, and a number from 0 to 99 that goes with it. Two threads of one counter may get the same turn.
    fn turn(&self) -> (u32, u32) {
        let counter = &self.counters[shard()].0;
        let at = counter.load(Ordering::Relaxed);
        counter.store(at.wrapping_add(1), Ordering::Relaxed);
        let mixed = (at ^ (at >> 16)).wrapping_mul(0x85EB_CA6B);
        let mixed = (mixed ^ (mixed >> 13)).wrapping_mul(0xC2B2_AE35);
        (at, (mixed ^ (mixed >> 16)) % 100)
    }

    /// The first one that passes, from this turn on.
    fn from(&self, turn: u32, passes: impl Fn(&Arc<T>) -> bool) -> Option<&Arc<T>> {
        let count = self.sequence.len();
        let start = usize::try_from(turn).unwrap_or_default() % count.max(1);
        let (before, after) = self.sequence.split_at(start);
        let mut turns = after.iter().chain(before);
        turns.find_map(|at| self.targets.get(usize::from(*at)).filter(|target| passes(target)))
    }
}

/// The counter of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: usize = NEXT.fetch_add(1, Ordering::Relaxed) % COUNTERS;
    }
    SHARD.with(|shard| *shard)
}

/// Turns for these weights, spread as evenly as they can be; [`MOST_TURNS`] at most, and at least one for each.
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
    let rest = most - exact.len() as u64;
    let scaled = exact.iter().map(|weight| 1 + weight * rest / total);
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
