//! Why a server may not take over the writes.

use crate::words::words;

/// Why a server may not take over the writes; of several the first. A standby is judged as if it were promoted now.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str)]
pub enum Obstacle {
    /// Its endpoint is Draining or Disabled.
    NotActive,
    /// `primaryRole` is Pinned, and it is not the declared primary.
    Pinned,
    NotPromotable,
    /// It shows the system identifier of another database.
    IdentityMismatch,
    /// Its system identifier, or that of this database, is not known.
    IdentityUnknown,
    /// It takes writes on an older timeline than the last holder: an old primary, or one that was set back.
    OlderTimeline,
    /// It takes writes, and does not tell its timeline.
    TimelineUnknown,
    /// It was promoted while the holder took writes.
    Contested,
    /// It takes writes, and was not seen as a standby before, nor stands in for one as a pod.
    NeverStandby,
    /// It took writes when it was last seen, and its newest check does not prove it, or it was missed since.
    NotProven,
}

words!(Obstacle);
