//! Who takes the writes.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::claim::Claim;
use super::holding::Holding;
use super::obstacle::Obstacle;
use crate::ids::TargetId;
use crate::moment::Moment;

/// Where writes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Writes {
    /// To the holder.
    Served,
    /// The holder is silent: the route stays.
    Held,
    /// Nowhere.
    Withdrawn,
}

/// The primary is of another database than it was; or the servers do not agree on one, and none is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdentityChange {
    /// The identifier of this database; where none is known, the one that the declared primary does not show.
    pub known: u64,
    /// Whether `known` is only what others show: nothing is learned.
    pub disputed: bool,
    /// `None`: it showed another one before the operator restarted, and has not told since.
    pub shown: Option<u64>,
}

/// Who takes the writes, as chosen from the claims.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WriteChoice {
    pub holding: Holding,
    pub writes: Writes,
    /// Servers that take writes at once, the holder among them, where there are two or more.
    pub split: Vec<TargetId>,
    /// The holder shows another identifier than the known one, and nobody may follow: the writes stay.
    pub changed: Option<IdentityChange>,
    /// The holder cannot be checked, although nothing says that it is down, and a server that may follow it is writable on a
    /// newer timeline than any holder before: the writes stay, and both are in `split`.
    pub unproven: bool,
    /// Whether the holder told this process that it takes writes, as a server of this database.
    pub proven: bool,
    /// Where the route stays: the name of the holder leads elsewhere, and who is there has not proved that it may take the writes.
    pub stays_at: Option<SocketAddr>,
    /// Why others may not take over. Of a standby: if it were promoted now.
    pub obstacles: BTreeMap<TargetId, Obstacle>,
    /// When the holder has been silent for long enough.
    pub again: Option<Moment>,
}

/// Who holds the writes first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FirstHolder<'a> {
    pub(super) holder: Option<&'a Claim>,
    /// When the declared primary has been awaited for long enough.
    pub(super) again: Option<Moment>,
}
