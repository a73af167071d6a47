//! A bound of lag for one read: what the primary had written so long ago.
//!
//! Where the log of the primary was at some moments is kept. A replica that has replayed such a position has everything that was
//! committed before that moment, so it is no further behind than that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, OwnedMutexGuard};

use distributary_core::Moment;

use crate::token::Token;

/// A position is kept where those beside it are further apart than this part of their age: so there are some of each age, and few in all.
const SPACING: u32 = 8;
/// No older one is kept: a longer bound is taken for this one.
const OLDEST: Duration = Duration::from_secs(3600);

/// Where the log of the primary was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// The primary was asked after this moment: it had written no less than this before.
    pub at: Moment,
    pub position: Token,
}

/// The newest positions of the primary, the oldest first.
#[derive(Default)]
pub struct Heads {
    known: ArcSwap<VecDeque<Head>>,
    /// Held by the one who asks the primary.
    asking: Arc<Mutex<()>>,
}

impl Heads {
    /// What a replica must have replayed to be at most `most` behind, and whether a newer position should be asked for soon;
    /// `None`: the primary must be asked first.
    pub fn within(&self, most: Duration, now: Moment) -> Option<(Token, bool)> {
        let known = self.known.load();
        let recent = |head: &&Head| now.since(head.at) <= most;
        let oldest = known.iter().find(recent)?;
        let ages = known.back().is_some_and(|newest| now.since(newest.at) > most / 2);
        Some((oldest.position, ages))
    }

    /// Waits for the turn to ask.
    pub async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.asking).lock_owned().await
    }

    /// The turn to ask, where nobody else asks.
    pub fn free_turn(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.asking).try_lock_owned().ok()
    }

    /// Keeps what the primary told; the turn proves that nobody else does. What was told on another timeline is forgotten.
    pub fn note(&self, head: Head, _turn: &OwnedMutexGuard<()>) {
        let mut known = VecDeque::clone(&self.known.load());
        let is_of = |position: Token| (position.system_identifier(), position.timeline());
        known.retain(|other| is_of(other.position) == is_of(head.position));
        known.push_back(head);
        thin(&mut known, head.at);
        self.known.store(Arc::new(known));
    }
}

/// Leaves the newest one, and of the others as many as are needed.
fn thin(known: &mut VecDeque<Head>, now: Moment) {
    let mut kept = VecDeque::<Head>::new();
    let mut all = known
        .drain(..)
        .filter(|head| now.since(head.at) <= OLDEST)
        .peekable();
    while let Some(head) = all.next() {
        let between = kept.back().zip(all.peek());
        let is_close =
            between.is_some_and(|(before, after)| after.at.since(before.at) <= now.since(after.at) / SPACING);
        if !is_close {
            kept.push_back(head);
        }
    }
    drop(all);
    *known = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    fn head(millis: u64, timeline: u32, lsn: u64) -> Head {
        let position = format!("7.{timeline:x}.{lsn:X}").parse().expect("a token");
        Head {
            at: at(millis),
            position,
        }
    }

    fn noted(heads: &Heads, head: Head) {
        let turn = heads.free_turn().expect("nobody asks");
        assert!(heads.free_turn().is_none(), "one at a time");
        heads.note(head, &turn);
    }

    fn needed(heads: &Heads, most: u64, now: u64) -> Option<u64> {
        let within = heads.within(Duration::from_millis(most), at(now));
        within.map(|(position, _)| position.lsn())
    }

    #[test]
    fn a_replica_needs_the_oldest_position_that_is_within_the_bound() {
        let heads = Heads::default();
        assert_eq!(needed(&heads, 1000, 0), None);
        for (millis, lsn) in [(0, 10), (500, 20), (900, 30)] {
            noted(&heads, head(millis, 1, lsn));
        }
        assert_eq!(needed(&heads, 1000, 1000), Some(10));
        assert_eq!(needed(&heads, 1000, 1001), Some(20));
        assert_eq!(needed(&heads, 100, 1000), Some(30));
        assert_eq!(needed(&heads, 100, 1001), None);
        assert_eq!(needed(&heads, 0, 1000), None);
    }

    #[test]
    fn a_newer_position_is_wanted_before_the_last_one_is_too_old() {
        let heads = Heads::default();
        noted(&heads, head(0, 1, 10));
        let ages = |now| {
            heads
                .within(Duration::from_millis(100), at(now))
                .map(|(_, ages)| ages)
        };
        assert_eq!((ages(50), ages(51), ages(101)), (Some(false), Some(true), None));
    }

    #[test]
    fn positions_of_another_timeline_are_forgotten_and_their_number_is_bounded() {
        let heads = Heads::default();
        for millis in 0..100_000 {
            noted(&heads, head(millis, 1, millis));
        }
        let kept = heads.known.load().len();
        assert!(kept <= 256, "{kept}");
        for most in [10, 100, 1000, 10_000, 50_000] {
            let lag = 100_000 - needed(&heads, most, 100_000).expect("a position");
            assert!(lag <= most && lag * 4 >= most * 3, "{most}: {lag}");
        }
        noted(&heads, head(100_000, 2, 1));
        assert_eq!(needed(&heads, 60_000, 100_000), Some(1));
        noted(&heads, head(5_000_000, 2, 2));
        assert_eq!(heads.known.load().len(), 1, "an hour is enough");
    }
}
