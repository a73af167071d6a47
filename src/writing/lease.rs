//! Which process may write: the Lease of Kubernetes by the algorithm of client-go, as a state machine. Pure: time is an
//! argument, requests are effects, and what the watch shows and the answers are inputs.
//!
//! | state | what happens | next state |
//! |---|---|---|
//! | Follows | it may stand, and the Lease is absent, released, its own, or another's and expired: a write of its own is accepted | Leads |
//! | Follows | that write is refused as resting on an old view, or as there is no Lease, or its outcome is unknown | Follows; the Lease is read before the next one |
//! | Leads | a renewal is accepted, or a read shows that it was | Leads, for longer |
//! | Leads | a renewal finds no Lease, or rests on an old view | Leads; the Lease is read at once |
//! | Leads | the Lease names another holder, or a read does not find it | Follows |
//! | Leads | no renewal was accepted within `renew_deadline` | Follows, and it stands again |
//! | Follows, Leads | stop | Stops |
//! | Stops | the Lease is not its own, or its release was answered | Ended |
//!
//! # Guarantees
//! - A Lease expires by the duration that is in the record, counted from when this process saw the record change. What the
//!   times in the record say is for people.
//! - A write needs absence or carries the version as seen. One request is under way at a time; after one without an answer
//!   the Lease is read before it is written again.
//! - The leader counts its lease from before it sent the renewal, so it ends no later than another process counts.
//! - A record of another program does not block for ever: one without a duration has that of this process, and no duration counts
//!   for more than [`MOST`].

mod record;
mod terms;

use std::time::Duration;

use super::Now;
use distributary_core::moment::Moment;
use distributary_core::seeded::SeededFault;
pub use record::{LeaseRecord, MOST};
pub use terms::Terms;

/// On stop, answers to requests of the desk are awaited for so long before the Lease is released.
pub const ANSWERS: Duration = Duration::from_millis(200);

/// What happened.
#[derive(Clone, Debug)]
pub enum LeaseInput {
    /// The watch shows the Lease.
    Seen(LeaseRecord),
    /// The watch shows that it is gone, or a list does not contain it.
    Missing,
    /// The first lists of every scope are complete or refused: this process may stand.
    MayStand,
    /// What the API server answered to the request.
    Answered(LeaseAnswer),
    /// The process stops.
    Stop,
    /// After that: no request of the desk is under way any more.
    Rests,
}

/// What became known by a request.
#[derive(Clone, Debug, Hash, PartialEq)]
pub enum LeaseAnswer {
    /// The Lease as it is now; `None`: there is none, and none was updated.
    Lease(Option<LeaseRecord>),
    /// The write rested on an old view, and did nothing.
    Conflict,
    /// The API server refused it, and did nothing.
    Refused { retry_after: Option<Duration> },
    /// Nobody knows whether it was done.
    Unknown,
}

/// What follows.
#[derive(Clone, Debug, PartialEq)]
pub enum LeaseEffect {
    Request(LeaseRequest),
    /// The process begins to lead, until then.
    Leads {
        until: Moment,
    },
    /// It leads for longer.
    Renewed {
        until: Moment,
    },
    /// It leads no more.
    Follows,
    /// It has stopped: it holds no Lease.
    Ended,
}

/// A request about the Lease.
#[derive(Clone, Debug, Hash, PartialEq)]
pub struct LeaseRequest {
    /// Without an answer for so long, its outcome is unknown.
    pub deadline: Duration,
    /// It follows one without an answer: over a connection that no request was sent over before.
    pub fresh: bool,
    pub call: LeaseCall,
}

#[derive(Clone, Debug, Hash, PartialEq)]
pub enum LeaseCall {
    /// GET, not from a cache.
    Read,
    /// POST.
    Create(LeaseRecord),
    /// PUT at the version that the record has.
    Update(LeaseRecord),
}

/// The Lease, as far as it is known.
#[derive(Clone, Debug, Hash)]
enum Known {
    Unknown,
    Absent,
    /// Unchanged since then, as this process saw it.
    Record(LeaseRecord, Moment),
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum State {
    Follows,
    /// The last accepted renewal was sent then.
    Leads {
        renewed: Moment,
    },
    /// The Lease is released then.
    Stops {
        release: Moment,
    },
    Ended,
}

/// A request without an answer.
#[derive(Clone, Debug, Hash)]
struct UnderWay {
    sent: Moment,
    /// What it writes; `None`: it reads.
    written: Option<LeaseRecord>,
}

/// The candidacy of one process.
#[derive(Clone, Debug, Hash)]
pub struct Candidate {
    identity: String,
    terms: Terms,
    /// An expired Lease is taken so much later, so that several processes do not all try at once.
    jitter: Duration,
    may_stand: bool,
    state: State,
    known: Known,
    /// The Lease is read before it is written.
    doubtful: bool,
    under_way: Option<UnderWay>,
    /// A write of which nobody knows whether it was done, and when it was sent.
    unconfirmed: Option<(LeaseRecord, Moment)>,
    /// Requests in a row that failed; another process that leads ends it, too.
    failures: u32,
    /// Writes in a row that rested on an old view, likewise.
    conflicts: u32,
    not_before: Moment,
}

impl Candidate {
    /// A process of this identity, which no other process has, that follows.
    #[must_use]
    pub fn new(identity: String, terms: Terms, jitter: Duration) -> Self {
        Self {
            identity,
            terms,
            jitter,
            may_stand: false,
            state: State::Follows,
            known: Known::Unknown,
            doubtful: true,
            under_way: None,
            unconfirmed: None,
            failures: 0,
            conflicts: 0,
            not_before: Moment::default(),
        }
    }

    /// When [`Self::advance`] must be called at the latest, inputs or not.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let given_up = match self.state {
            State::Leads { renewed } => Some(renewed + self.terms.renew_deadline()),
            _ => None,
        };
        let due = self.under_way.is_none().then(|| self.due()).flatten();
        given_up.into_iter().chain(due).min()
    }

    /// Takes in what happened by `now`, and does what follows.
    pub fn advance(&mut self, input: Option<LeaseInput>, now: Now) -> Vec<LeaseEffect> {
        let mut effects = Vec::new();
        if let Some(input) = input {
            self.take(input, now.moment, &mut effects);
        }
        if let (Known::Record(record, since), true) = (&mut self.known, SeededFault::LeaseByWallClock.is_on())
        {
            *since = record.renewed_by_wall(now);
        }
        if let State::Leads { renewed } = self.state
            && now.moment >= renewed + self.terms.renew_deadline()
        {
            self.follow(&mut effects);
        }
        if self.has_ended() {
            self.state = State::Ended;
            effects.push(LeaseEffect::Ended);
        }
        if self.under_way.is_none() && self.due().is_some_and(|due| due <= now.moment) {
            effects.push(LeaseEffect::Request(self.request(now)));
        }
        effects
    }

    fn take(&mut self, input: LeaseInput, now: Moment, effects: &mut Vec<LeaseEffect>) {
        match (input, self.state) {
            (_, State::Ended) => {}
            (LeaseInput::Seen(record), _) => {
                if !self.knows_newer(&record) {
                    self.observe(record, now, effects);
                }
            }
            (LeaseInput::Missing, _) => self.doubtful |= !matches!(self.known, Known::Absent),
            (LeaseInput::MayStand, _) => self.may_stand = true,
            (LeaseInput::Answered(answer), _) => self.answered(answer, now, effects),
            (LeaseInput::Rests, State::Stops { .. }) => self.state = State::Stops { release: now },
            (LeaseInput::Rests, _) | (LeaseInput::Stop, State::Stops { .. }) => {}
            (LeaseInput::Stop, _) => {
                self.follow(effects);
                (self.failures, self.not_before) = (0, now);
                let release = now + ANSWERS;
                self.state = State::Stops { release };
            }
        }
    }

    /// The Lease is so now.
    fn observe(&mut self, record: LeaseRecord, now: Moment, effects: &mut Vec<LeaseEffect>) {
        let unchanged = match &self.known {
            Known::Record(known, since) if known.says_the_same(&record) => Some(*since),
            _ => None,
        };
        if record.holder != self.identity {
            self.follow(effects);
        }
        if unchanged.is_none() && !self.is_free(&record) {
            // Another process leads: what failed before says nothing of the next time.
            (self.failures, self.conflicts) = (0, 0);
        }
        self.known = Known::Record(record, unchanged.unwrap_or(now));
    }

    fn follow(&mut self, effects: &mut Vec<LeaseEffect>) {
        if let State::Leads { .. } = self.state {
            self.state = State::Follows;
            effects.push(LeaseEffect::Follows);
        }
    }

    fn answered(&mut self, answer: LeaseAnswer, now: Moment, effects: &mut Vec<LeaseEffect>) {
        let Some(UnderWay { sent, written }) = self.under_way.take() else {
            return;
        };
        let renews = written.as_ref().is_some_and(|record| !record.holder.is_empty());
        match (answer, written) {
            // The watch has shown what came after.
            (LeaseAnswer::Lease(Some(record)), Some(_)) if self.knows_newer(&record) => self.doubtful = true,
            (LeaseAnswer::Lease(Some(record)), Some(_)) => {
                (self.failures, self.conflicts) = (0, 0);
                self.observe(record, now, effects);
                self.hold(sent, now, effects);
            }
            (LeaseAnswer::Lease(found), None) => self.read(found, now, effects),
            // There was none to update, or another one than was known.
            (LeaseAnswer::Lease(None), Some(_)) | (LeaseAnswer::Conflict, _) => {
                self.doubtful = true;
                self.conflicts += 1;
                if self.conflicts > 1 {
                    self.not_before = now + self.terms.retry_period();
                }
            }
            (LeaseAnswer::Refused { retry_after }, _) => self.fail(now, retry_after),
            (LeaseAnswer::Unknown, written) => {
                self.fail(sent, None);
                self.doubtful = true;
                self.unconfirmed = written.map(|record| (record, sent)).or(self.unconfirmed.take());
                if SeededFault::LostRenewalCounts.is_on() {
                    self.hold(sent, now, effects);
                }
            }
        }
        if matches!(self.state, State::Stops { .. }) && renews {
            // What became of a renewal is no reason to keep the Lease.
            (self.failures, self.not_before) = (0, now);
        }
    }

    /// A read found this: the newest that there is, though versions may have begun anew, as after a restore of etcd.
    fn read(&mut self, found: Option<LeaseRecord>, now: Moment, effects: &mut Vec<LeaseEffect>) {
        self.doubtful = false;
        let unconfirmed = self.unconfirmed.take();
        if unconfirmed.is_none() {
            // After a write without an answer it shows no more than that reads are answered.
            self.failures = 0;
        }
        let Some(record) = found else {
            self.follow(effects);
            self.known = Known::Absent;
            return;
        };
        let done = unconfirmed
            .filter(|(written, _)| written.says_the_same(&record) && written.version != record.version);
        self.observe(record, now, effects);
        if let Some((_, sent)) = done {
            self.hold(sent, now, effects);
        }
    }

    /// A write that was sent then was accepted: the lease counts from there.
    fn hold(&mut self, sent: Moment, now: Moment, effects: &mut Vec<LeaseEffect>) {
        let is_late = now >= sent + self.terms.renew_deadline();
        if is_late || !self.is_own() {
            return;
        }
        let is_counted_late = SeededFault::LeaseCountedFromAnswer.is_on();
        let until = if is_counted_late { now } else { sent } + self.terms.duration();
        match self.state {
            State::Leads { .. } => effects.push(LeaseEffect::Renewed { until }),
            State::Follows => effects.push(LeaseEffect::Leads { until }),
            State::Stops { .. } | State::Ended => return,
        }
        self.state = State::Leads { renewed: sent };
    }

    /// The next request begins a retry period after `from`, or when the API server asks for it.
    fn fail(&mut self, from: Moment, retry_after: Option<Duration>) {
        self.failures += 1;
        let asked = retry_after.unwrap_or_default().min(self.terms.renew_deadline());
        self.not_before = from + self.terms.retry_period().max(asked);
    }

    fn knows_newer(&self, record: &LeaseRecord) -> bool {
        matches!(&self.known, Known::Record(known, _) if record.is_before(known))
    }

    fn is_own(&self) -> bool {
        matches!(&self.known, Known::Record(record, _) if record.holder == self.identity)
    }

    /// Whether there is nothing to release any more, or the API server refuses it.
    fn has_ended(&self) -> bool {
        let refused = !self.doubtful && self.failures > 0;
        matches!(self.state, State::Stops { .. })
            && self.under_way.is_none()
            && (refused || (self.unconfirmed.is_none() && !self.is_own()))
    }

    /// When the next request is due.
    fn due(&self) -> Option<Moment> {
        let at = match (self.state, &self.known) {
            (State::Ended, _) => return None,
            _ if self.doubtful => Moment::default(),
            (State::Stops { release }, _) => release,
            (State::Leads { renewed }, _) => renewed + self.terms.retry_period(),
            (State::Follows, _) if !self.may_stand => return None,
            (State::Follows, Known::Record(record, since)) if !self.is_free(record) => {
                *since + record.valid_for(self.terms.duration()) + self.jitter
            }
            (State::Follows, _) => Moment::default(),
        };
        Some(at.max(self.not_before))
    }

    /// Whether it may be taken without a wait.
    fn is_free(&self, record: &LeaseRecord) -> bool {
        record.holder.is_empty() || record.holder == self.identity || SeededFault::LiveLeaseTaken.is_on()
    }

    fn request(&mut self, now: Now) -> LeaseRequest {
        let call = self.call(now);
        let written = match &call {
            LeaseCall::Read => None,
            LeaseCall::Create(record) | LeaseCall::Update(record) => Some(record.clone()),
        };
        let sent = now.moment;
        self.under_way = Some(UnderWay { sent, written });
        LeaseRequest {
            deadline: self.patience(now.moment),
            fresh: self.failures > 0,
            call,
        }
    }

    fn call(&self, now: Now) -> LeaseCall {
        match &self.known {
            _ if self.doubtful => LeaseCall::Read,
            Known::Unknown => LeaseCall::Read,
            Known::Absent => LeaseCall::Create(LeaseRecord::first(&self.identity, &self.terms, now)),
            Known::Record(record, _) if matches!(self.state, State::Stops { .. }) => {
                LeaseCall::Update(record.released(now))
            }
            Known::Record(record, _) => LeaseCall::Update(record.taken(&self.identity, &self.terms, now)),
        }
    }

    /// How long the next request may take: longer with each that failed, and never beyond the renewal deadline.
    fn patience(&self, now: Moment) -> Duration {
        let grown = self.terms.retry_period() * 2_u32.saturating_pow(self.failures.min(16));
        let most = match self.state {
            State::Leads { renewed } => (renewed + self.terms.renew_deadline()).since(now),
            _ => self.terms.renew_deadline(),
        };
        grown.min(most)
    }
}

#[cfg(test)]
mod tests;
