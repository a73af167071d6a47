//! How many second attempts reads may have: a server that is slow must not be asked twice as much for that.

use std::sync::atomic::{AtomicU64, Ordering};

use distributary_core::Moment;

/// In thousandths of an attempt.
const ATTEMPT: u64 = 1000;
/// What a read adds: a tenth.
const OF_READ: u64 = 100;
/// What a second adds.
const OF_SECOND: u64 = 10 * ATTEMPT;
/// What is kept at most, and what there is at the start.
const RESERVE: u64 = 50 * ATTEMPT;

/// A tenth of the reads and ten each second, fifty in reserve.
pub struct Budget {
    left: AtomicU64,
    /// Nanoseconds until which the seconds were added.
    added: AtomicU64,
}

impl Budget {
    pub fn new(now: Moment) -> Self {
        Self {
            left: AtomicU64::new(RESERVE),
            added: AtomicU64::new(nanoseconds(now)),
        }
    }

    /// A read begins.
    pub fn earn(&self) {
        self.add(OF_READ);
    }

    /// Takes one attempt, where there is one.
    pub fn spend(&self, now: Moment) -> bool {
        let (now, before) = (nanoseconds(now), self.added.load(Ordering::Relaxed));
        let earned = now.saturating_sub(before).saturating_mul(OF_SECOND) / 1_000_000_000;
        let claimed = earned > 0
            && self
                .added
                .compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if claimed {
            self.add(earned);
        }
        let spend = |left: u64| left.checked_sub(ATTEMPT);
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .is_ok()
    }

    fn add(&self, thousandths: u64) {
        // Where it is full nothing is written, which other threads would have to read again.
        let more = |left: u64| (left < RESERVE).then(|| left.saturating_add(thousandths).min(RESERVE));
        let _ = self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

fn nanoseconds(moment: Moment) -> u64 {
    u64::try_from(moment.since_start().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis))
    }

    #[test]
    fn fifty_attempts_are_in_reserve_then_a_tenth_of_the_reads_and_ten_a_second() {
        let budget = Budget::new(at(0));
        let spent = |now| (0..200).take_while(|_| budget.spend(now)).count();
        assert_eq!(spent(at(0)), 50);
        (0..100).for_each(|_| budget.earn());
        assert_eq!(spent(at(0)), 10);
        assert_eq!(spent(at(500)), 5);
        assert_eq!(spent(at(60_000)), 50, "no more than the reserve");
    }
}
