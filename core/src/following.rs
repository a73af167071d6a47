//! Whether a standby follows a server that takes writes: what the answers of the two prove together.
//!
//! [`Comparison`] is of any pair of a standby and a server that takes writes. [`Following`] is what it means for a standby of
//! the write primary:
//!
//! | | `Diverged` is found | `SameTimeline` is found | `Follows` is found | it takes writes | another write primary |
//! |---|---|---|---|---|---|
//! | `Presumed` | `Diverged` | `Follows` | `Follows` | `Required` | `Presumed` |
//! | `Required` | `Diverged` | `Follows` | `Follows` | `Required` | `Required` |
//! | `Follows` | `Diverged` | `Follows` | `Follows` | `Required` | `Presumed` |
//! | `Diverged` | `Diverged` | `Diverged` | `Follows` | `Required` | `Required` |
//!
//! `Presumed` becomes `Required` with an answer of a server that had not told before the write primary changed, or has
//! started since; or of one that is new where the write primary may have changed before.

use super::moment::Moment;
use super::observation::{Lsn, Sample};

/// What a standby told in one answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StandbyReport {
    pub asked: Moment,
    pub came: Moment,
    /// What it has replayed.
    pub replayed: Option<Lsn>,
    /// The timeline that its receiver receives.
    pub receives: Option<u32>,
    /// That of its last checkpoint: it is on this one, or on a newer one.
    pub checkpoint: Option<u32>,
}

/// What a server that takes writes told in one answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WritableReport {
    pub asked: Moment,
    pub came: Moment,
    /// The end of its log.
    pub position: Option<Lsn>,
    pub timeline: Option<u32>,
}

/// A timeline, and the first position that was seen on it: no earlier than the point where it left the one before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Branch {
    pub timeline: u32,
    pub first_seen: Lsn,
}

/// What answers prove.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Finding {
    /// The standby has log that the other server lacks, or follows somebody else.
    Diverged,
    /// Its receiver tells the timeline of the other server, and no position says otherwise. That is no proof where the two
    /// went apart on one timeline before: the receiver tells the timeline that it asks for, too.
    SameTimeline,
    Follows,
}

/// The answers of a standby beside those of a server that takes writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The oldest answer of the standby after which the other server was not asked yet: sessions may be asked in step, so
    /// that a newer answer comes each time before the other one that is asked for after the last.
    waiting: Option<StandbyReport>,
    /// The newest one after that.
    newest: Option<StandbyReport>,
    progress: Progress,
    /// Whether the other server was asked after any answer of the standby.
    made: bool,
}

/// Twice, one after the other, the standby reaches a position that the other server told after an earlier answer of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Progress {
    #[default]
    Begun,
    /// `told`: when.
    Toward {
        position: Lsn,
        told: Moment,
        again: bool,
    },
    /// `at`: when the answer came that showed the standby there.
    Reached { position: Lsn, at: Moment, again: bool },
}

impl StandbyReport {
    #[must_use]
    pub const fn of(sample: &Sample, asked: Moment, came: Moment) -> Self {
        Self {
            asked,
            came,
            replayed: sample.lsn,
            receives: sample.timeline,
            checkpoint: sample.checkpoint_timeline,
        }
    }

    /// On an older timeline than this one, and past the point where it began.
    fn went_another_way(&self, branch: Branch) -> bool {
        let older = self.receives.is_some_and(|its| its < branch.timeline);
        older && self.replayed > Some(branch.first_seen)
    }
}

impl Comparison {
    /// Whether the two were compared at all.
    #[must_use]
    pub const fn is_made(&self) -> bool {
        self.made
    }

    /// Takes in an answer of the standby. `branch`: that of the other server.
    pub fn standby(&mut self, report: StandbyReport, branch: Option<Branch>) -> Option<Finding> {
        if let Progress::Toward {
            position,
            told,
            again,
        } = self.progress
            && let Some(replayed) = report.replayed.filter(|replayed| *replayed >= position)
            && report.asked > told
        {
            self.progress = Progress::Reached {
                position: replayed,
                at: report.came,
                again,
            };
        }
        if self.waiting.is_none() {
            self.waiting = Some(report);
        } else {
            self.newest = Some(report);
        }
        let apart = branch.is_some_and(|branch| report.went_another_way(branch));
        apart.then_some(Finding::Diverged)
    }

    /// Takes in an answer of the other server, and compares it with what the standby had answered before it was asked for.
    pub fn writable(&mut self, report: WritableReport, branch: Option<Branch>) -> Option<Finding> {
        let before = |told: &StandbyReport| told.came < report.asked;
        let told = if let Some(newest) = self.newest.filter(before) {
            (self.waiting, self.newest) = (None, None);
            newest
        } else {
            let waiting = self.waiting.filter(before)?;
            self.waiting = self.newest.take();
            waiting
        };
        self.made = true;
        let reached = match self.progress {
            Progress::Reached { position, at, .. } if at < report.asked => Some(position),
            _ => None,
        };
        let beyond = |position: Lsn| report.position.is_some_and(|end| position > end);
        let ahead = told.replayed.max(reached).is_some_and(beyond);
        let newest = told.receives.max(told.checkpoint);
        let newer = matches!((newest, report.timeline), (Some(its), Some(timeline)) if its > timeline);
        if ahead || newer || branch.is_some_and(|branch| told.went_another_way(branch)) {
            self.progress = Progress::Begun;
            return Some(Finding::Diverged);
        }
        let tells_it = report.timeline.is_some() && told.receives == report.timeline;
        if told.replayed.is_none() || report.position.is_none() {
            return tells_it.then_some(Finding::Follows);
        }
        if self.goes_on(report) {
            return Some(Finding::Follows);
        }
        tells_it.then_some(Finding::SameTimeline)
    }

    /// The next step of the proof; whether it is complete.
    fn goes_on(&mut self, report: WritableReport) -> bool {
        let again = match self.progress {
            Progress::Begun => false,
            Progress::Reached { at, again, .. } if at < report.asked => {
                if again {
                    self.progress = Progress::Begun;
                    return true;
                }
                true
            }
            _ => return false,
        };
        if let Some(position) = report.position {
            self.progress = Progress::Toward {
                position,
                told: report.came,
                again,
            };
        }
        false
    }
}

/// Whether a standby follows the write primary.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Following {
    state: FollowingState,
    comparison: Comparison,
    /// When its server started, as it told last.
    started: Option<StartTime>,
    trusted: Trusted,
    /// Whether it and the write primary tell positions: where one does not, nothing can be proven.
    tells_none: [bool; 2],
}

/// What a server tells of its start; `None` in it: it would not say.
type StartTime = Option<i64>;

/// Which server needs no proof, at this address.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Trusted {
    /// Any: nothing speaks against it since it is watched.
    #[default]
    Any,
    /// The one that had started at this time: it told so before the write primary changed.
    Started(StartTime),
    /// None: it answered first after the write primary had changed, or may be one that had to prove that it follows.
    None,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FollowingState {
    /// Nothing is proven, and nothing speaks against it.
    #[default]
    Presumed,
    /// It took writes, had diverged from an earlier write primary, or was not there, or not since its last start, when the
    /// write primary changed: an old primary that rejoins with a transaction that the new one lacks may be behind the new
    /// one, where nothing else shows it.
    Required,
    /// Proven for this write primary, whatever restarts.
    Follows,
    /// It stands until the standby is proven to follow: being overtaken clears nothing.
    Diverged,
}

impl Following {
    /// As it was before the operator started.
    #[must_use]
    pub fn recalled(state: FollowingState) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// Of a server that is watched from now on.
    #[must_use]
    pub fn watched(must_prove: bool) -> Self {
        let trusted = if must_prove { Trusted::None } else { Trusted::Any };
        Self {
            trusted,
            ..Self::default()
        }
    }

    /// What is known of it. A server that tells no positions has nothing to prove.
    #[must_use]
    pub fn state(&self) -> FollowingState {
        match self.state {
            FollowingState::Required if self.tells_none.contains(&true) => FollowingState::Presumed,
            state => state,
        }
    }

    /// Takes in an answer of the standby, and when it says that it started. `branch`: that of the write primary.
    pub fn standby(&mut self, report: StandbyReport, started: StartTime, branch: Option<Branch>) {
        self.started = Some(started);
        self.tells_none[0] = report.replayed.is_none();
        if self.state == FollowingState::Presumed && !self.trusted.is(started) {
            self.state = FollowingState::Required;
        }
        let finding = self.comparison.standby(report, branch);
        self.find(finding);
    }

    /// Takes in an answer of the write primary.
    pub fn primary(&mut self, report: WritableReport, branch: Option<Branch>) {
        self.tells_none[1] = report.position.is_none();
        let finding = self.comparison.writable(report, branch);
        self.find(finding);
    }

    /// The server takes writes itself.
    pub fn takes_writes(&mut self) {
        self.comparison = Comparison::default();
        self.state = FollowingState::Required;
    }

    /// Another server is the write primary from now on.
    pub fn begin_anew(&mut self) {
        self.comparison = Comparison::default();
        self.tells_none[1] = false;
        self.trusted = self.started.map_or(Trusted::None, Trusted::Started);
        self.state = match self.state {
            FollowingState::Presumed | FollowingState::Follows => FollowingState::Presumed,
            FollowingState::Required | FollowingState::Diverged => FollowingState::Required,
        };
    }

    const fn find(&mut self, finding: Option<Finding>) {
        self.state = self.state.after(finding);
    }
}

impl FollowingState {
    /// Whether it serves nothing beside the write primary before it is proven to follow it, nor moves the head of the log.
    #[must_use]
    pub const fn must_prove(self) -> bool {
        matches!(self, Self::Required | Self::Diverged)
    }

    /// What is known once this is found.
    #[must_use]
    pub const fn after(self, finding: Option<Finding>) -> Self {
        match (self, finding) {
            (_, Some(Finding::Diverged)) => Self::Diverged,
            (_, Some(Finding::Follows)) | (Self::Presumed | Self::Required, Some(Finding::SameTimeline)) => {
                Self::Follows
            }
            (state, _) => state,
        }
    }
}

impl Trusted {
    fn is(self, started: StartTime) -> bool {
        match self {
            Self::Any => true,
            Self::Started(trusted) => trusted == started,
            Self::None => false,
        }
    }
}

#[cfg(test)]
mod tests;
