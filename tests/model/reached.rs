//! The states in which the rules matter: a run that never gets there proves nothing of them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use strum::VariantArray;

/// Where a rule matters.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, strum::IntoStaticStr, VariantArray)]
pub enum Point {
    /// Another operator took the Lease.
    LeaderChanged,
    /// A leader learned, or found by its clock, that it leads no more.
    LeadLost,
    /// Two operators may start requests at once, by their clocks.
    TwoLeaders,
    /// A write of an older leader was refused, as what it rests on had changed.
    LateRefused,
    /// One was done.
    LateDone,
    /// A status with another memory than the newest was refused.
    MemoryRefused,
    /// The leader ended after the log and before the move.
    CrashBetween,
    /// The engine was to go by what another process wrote.
    Recalled,
    /// The route was found to lead elsewhere than the memory says.
    FoundElsewhere,
    Moved,
    Withdrawn,
    Contested,
    OldPrimaryReturned,
}

#[derive(Debug, Default)]
pub struct Reached([AtomicU64; Point::VARIANTS.len()]);

impl Reached {
    pub fn note(&self, point: Point, is_there: bool) {
        if is_there {
            self.0[point as usize].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many steps led to each.
    pub fn counts(&self) -> BTreeMap<Point, u64> {
        let count = |point: &Point| (*point, self.0[*point as usize].load(Ordering::Relaxed));
        Point::VARIANTS.iter().map(count).collect()
    }
}
