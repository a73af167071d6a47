//! How soon an object is written again.

use std::collections::BTreeMap;
use std::time::Duration;

use super::order::Step;
use crate::render::ObjectId;
use crate::render::reading::Digest;
use distributary_core::moment::Moment;

/// From one write of a slice to the next; the first of a row waits for nothing. A zone that is lost is few
/// writes, and kube-proxy would not follow more of them: it waits a second after the first.
const APART: Duration = Duration::from_millis(100);
/// The same for an object that somebody else undoes, at most.
const UNDONE: Duration = Duration::from_secs(8);
/// When objects were last written.
#[derive(Default)]
pub struct Pace(BTreeMap<ObjectId, LastWrite>);

struct LastWrite {
    began: Moment,
    digest: Option<Digest>,
    /// How often in a row it was written to be the same.
    again: u32,
}

impl Pace {
    /// A write was not taken: others say when it is tried again.
    pub fn forget(&mut self, id: &ObjectId) {
        self.0.remove(id);
    }

    /// When this object may be written; `None`: now. What somebody undoes again and again is written less and less often.
    pub fn waits<B>(&self, step: &Step<B>, now: Moment) -> Option<Moment> {
        let last = self.0.get(&step.id)?;
        let again = (last.digest == step.digest).then_some(last.again);
        let apart = match again {
            Some(again) => (APART * 2_u32.saturating_pow(again)).min(UNDONE),
            None if step.rank.is_slice() => APART,
            None => return None,
        };
        let next = last.began + apart;
        (now < next).then_some(next)
    }

    pub fn begin<B>(&mut self, step: &Step<B>, now: Moment) {
        self.0.retain(|_, last| now.since(last.began) < 2 * UNDONE);
        let before = self.0.get(&step.id).filter(|last| last.digest == step.digest);
        let again = before.map_or(0, |last| (last.again + 1).min(16));
        let last = LastWrite {
            began: now,
            digest: step.digest,
            again,
        };
        self.0.insert(step.id.clone(), last);
    }
}
