//! Faults of the protocol that a test puts into it on purpose, one at a time, to see that the simulation finds them.
//!
//! Without the feature `seeded-faults`, which no release turns on, [`SeededFault::is_on`] is `false` at compile time, and
//! nothing of a fault is left. With it no fault is on until a test calls `seed`.

#[cfg(all(feature = "seeded-faults", not(debug_assertions)))]
compile_error!("the feature `seeded-faults` is for tests: a release has no faults that can be turned on");

/// A fault. Its documentation is the rule that it breaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[cfg_attr(
    feature = "seeded-faults",
    derive(strum::EnumMessage, strum::IntoStaticStr, strum::VariantArray)
)]
pub enum SeededFault {
    /// A PUT carries the resourceVersion as seen.
    PutWithoutVersion,
    /// A POST needs absence.
    PostReplaces,
    /// The status is written at the version that was seen.
    StatusWithoutVersion,
    /// The choice of the write primary is logged before it is acted on.
    ActBeforeLog,
    /// Writes are withdrawn from the old server before they are published at the new one.
    PublishBeforeWithdraw,
    /// The status is written after the routes that it tells.
    ReportBeforeRoutes,
    /// A request without an answer may not have been done.
    LostAnswerIsSuccess,
    /// After a request without an answer the object is read before it is written again.
    NoReadAfterLostAnswer,
    /// One request about an object is under way at a time.
    SecondRequestAtOnce,
    /// Where another process changed the memory, it is recalled and the decision made anew.
    ConflictRetriedBlindly,
    /// An object that the policy does not control, and may not adopt, is left alone.
    ForeignOverwritten,
    /// An unchanged world gives no request.
    EchoIsAChange,
    /// A choice is acted on unlogged only when no answer held the memory for `failoverTimeout`.
    GivesUpAtOnce,
    /// After a recall a decision that goes by the recalled memory is awaited.
    RecallNotAwaited,
    /// Until the remembered holder is proven, the route of the writes stays as it was found.
    RouteBeforeProof,
    /// Contested servers are remembered.
    ContestNotRemembered,
    /// A Lease expires by the process's own clock since it saw the record change, not by the times in the record.
    LeaseByWallClock,
    /// A Lease expires by the duration in the record.
    LeaseByOwnDuration,
    /// A Lease of another process is taken only when it has expired or was released.
    LiveLeaseTaken,
    /// The leader counts its lease from before it sent the renewal.
    LeaseCountedFromAnswer,
    /// The Lease is written at the version that was seen.
    LeaseWithoutVersion,
    /// A renewal without an answer is read before it counts.
    LostRenewalCounts,
    /// A new leader reads the policy and the slices of the writes before its first write.
    BeginsUnread,
    /// What a follower chose itself counts for nothing when it begins to lead.
    ChoiceOfFollowerKept,
    /// A recalled memory brings its timeline: the high-water mark.
    MarkNotRecalled,
    /// The high-water mark never falls, but by the word of a person.
    MarkFalls,
    /// Silence of the holder is no reason to follow a contested server.
    ContestedIgnored,
    /// The writes leave a silent holder after `failoverTimeout`.
    FollowedAtOnce,
    /// Routes stay as they were until every server was checked.
    RoutedBeforeChecked,
    /// A proven standby is never a write target.
    StandbyKeepsWrites,
    /// Who was seen as a standby is remembered.
    StandbysForgotten,
    /// A process that starts goes by the memory.
    MemoryIgnored,
}

impl SeededFault {
    /// Whether the protocol is to have this fault.
    #[cfg(not(feature = "seeded-faults"))]
    #[must_use]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(feature = "seeded-faults")]
mod on {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use strum::{EnumMessage, VariantArray};

    use super::SeededFault;

    /// The number of the fault that is on, counted from 1; 0: none.
    static ON: AtomicUsize = AtomicUsize::new(0);

    /// From now on the protocol of this process has this fault alone, or none.
    pub fn seed(fault: Option<SeededFault>) {
        ON.store(fault.map_or(0, SeededFault::number), Ordering::SeqCst);
    }

    impl SeededFault {
        pub const ALL: &'static [Self] = Self::VARIANTS;

        /// Whether the protocol is to have this fault.
        #[must_use]
        pub fn is_on(self) -> bool {
            ON.load(Ordering::Relaxed) == self.number()
        }

        /// The word for it.
        #[must_use]
        pub fn word(self) -> &'static str {
            self.into()
        }

        /// The rule that it breaks.
        #[must_use]
        pub fn rule(self) -> &'static str {
            self.get_documentation().unwrap_or_default()
        }

        const fn number(self) -> usize {
            self as usize + 1
        }
    }
}

#[cfg(feature = "seeded-faults")]
pub use on::seed;
