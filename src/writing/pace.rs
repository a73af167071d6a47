//! How soon an object is written again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::order::{Step, StepChange};
use crate::render::ObjectId;
use crate::render::reading::Digest;
use distributary_core::moment::Moment;

/// From the first write of a slice for one decision to the first for the next one; those of one decision follow each other
/// at once. A zone that is lost is few writes, and kube-proxy would not follow more of them: it waits a second after the first.
const APART: Duration = Duration::from_millis(100);
/// The same for an object that somebody else undoes, at most.
const UNDONE: Duration = Duration::from_secs(8);
/// When objects were last written.
#[derive(Clone, Default, Hash)]
pub struct Pace {
    last: BTreeMap<ObjectId, LastWrite>,
    /// The goal that slices were written for last, and since when.
    turn: Option<(u64, Moment)>,
}

#[derive(Clone, Hash)]
struct LastWrite {
    began: Moment,
    digest: Option<Digest>,
    /// It was deleted.
    is_gone: bool,
    /// How often in a row it was written to be the same.
    again: u32,
}

impl Pace {
    /// A write was not taken: others say when it is tried again.
    pub fn forget(&mut self, id: &ObjectId) {
        self.last.remove(id);
    }

    /// When this object may be written; `None`: now. What somebody undoes again and again is written less and less often.
    pub fn waits<B>(&self, step: &Step<B>, goal: u64, now: Moment) -> Option<Moment> {
        let turn = self.turn.filter(|(of, _)| step.rank.is_slice() && *of != goal);
        let turn = turn.map(|(_, since)| since + APART);
        // What was deleted to be made anew is made at once.
        let is_undone = |last: &&LastWrite| last.digest == step.digest && !last.is_gone;
        let last = self.last.get(&step.id).filter(is_undone);
        let undone = last.map(|last| last.began + (APART * 2_u32.saturating_pow(last.again)).min(UNDONE));
        turn.max(undone).filter(|next| now < *next)
    }

    /// This object is written for this goal.
    pub fn begin<B>(&mut self, step: &Step<B>, goal: u64, now: Moment) {
        if step.rank.is_slice() && self.turn.is_none_or(|(of, _)| of != goal) {
            self.turn = Some((goal, now));
        }
        self.last.retain(|_, last| now.since(last.began) < 2 * UNDONE);
        let before = self.last.get(&step.id).filter(|last| last.digest == step.digest);
        let again = before.map_or(0, |last| (last.again + 1).min(16));
        let last = LastWrite {
            began: now,
            digest: step.digest,
            is_gone: matches!(step.change, StepChange::Delete { .. }),
            again,
        };
        self.last.insert(step.id.clone(), last);
    }
}
