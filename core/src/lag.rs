//! How far a standby is behind: the history of log positions, and the verdict with its hysteresis.
//!
//! The history keeps (moment, position) of the primary's log. A standby that has replayed up to L lags by the time since
//! the log's head was at L, interpolated; none where L is at the head. So an idle primary makes no lag, clocks of servers
//! do not matter, and log that never arrived counts.

use std::collections::VecDeque;
use std::time::Duration;

use super::following::Branch;
use super::moment::Moment;
use super::observation::Lsn;
use super::policy::{LagSettings, LagSource};

/// Positions kept of one history, at most.
const MOST_POSITIONS: usize = 512;
/// Where there are more, two that stay are this share of their age apart, or less: a lag that is interpolated between
/// them is wrong by at most that share of itself, whatever the longest lag that must be told apart.
const APART: u32 = 16;
/// A verdict stands for at least so many heartbeats.
const HEARTBEATS_APART: u32 = 3;

/// The head of the log over time, on one timeline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WalHistory {
    timeline: Option<u32>,
    /// The first position that was seen on this timeline, after another one.
    first_seen: Option<Lsn>,
    /// Rising in both.
    positions: VecDeque<(Moment, Lsn)>,
    /// When the primary itself last told.
    primary_told: Option<Moment>,
}

/// How far a standby is behind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lag {
    /// There is nothing to compare with.
    Unknown,
    /// `bytes`, here and below: `None` where the source tells no positions.
    Behind { time: Duration, bytes: Option<u64> },
    /// The history does not reach back: at least.
    AtLeast { time: Duration, bytes: Option<u64> },
}

/// Whether a standby is fresh enough.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Freshness {
    /// Not known, which is not fresh.
    #[default]
    Unknown,
    Fresh,
    /// Past a bound.
    Lagging,
    /// Past a bound, and its replay stands still while the head moves.
    Stalled,
}

/// What a standby told of its replay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReplayReport {
    pub moment: Moment,
    /// What it has replayed.
    pub position: Option<Lsn>,
    /// The answer of the lag query.
    pub queried: Option<Duration>,
}

impl WalHistory {
    /// A history that goes on from this timeline, of which nothing is known any more.
    #[must_use]
    pub fn on(timeline: Option<u32>) -> Self {
        Self {
            timeline,
            ..Self::default()
        }
    }

    /// The primary's own position. `span`: the longest lag that must be told apart. A new timeline begins a new history.
    pub fn primary_at(&mut self, moment: Moment, position: Lsn, timeline: Option<u32>, span: Duration) {
        if timeline.is_some() && timeline != self.timeline {
            let had_another = self.timeline.is_some();
            *self = Self {
                timeline,
                first_seen: had_another.then_some(position),
                ..Self::default()
            };
        }
        self.primary_told = Some(moment);
        // A standby may have told of more than a primary that was restored; the primary is right.
        if self.head().is_some_and(|head| position < head) {
            self.positions.clear();
        }
        self.advance(moment, position, span);
    }

    /// What a standby has received or replayed: it moves the head only while the primary has been silent for longer
    /// than `silence`, and only where the standby's timeline is not proven to be another one.
    pub fn standby_at(
        &mut self,
        moment: Moment,
        position: Lsn,
        timeline: Option<u32>,
        silence: Duration,
        span: Duration,
    ) {
        let silent = self.primary_told.is_none_or(|told| moment.since(told) > silence);
        let elsewhere = timeline.is_some() && self.timeline.is_some() && timeline != self.timeline;
        if silent && !elsewhere {
            self.advance(moment, position, span);
        }
    }

    fn advance(&mut self, moment: Moment, position: Lsn, span: Duration) {
        if let Some((newest, head)) = self.positions.back()
            && (moment < *newest || position < *head)
        {
            return;
        }
        // What happened in a gap as long as that is not told by a straight line through it.
        let gap = |(newest, head): &(Moment, Lsn)| position != *head && moment.since(*newest) > span;
        if self.positions.back().is_some_and(gap) {
            self.positions.clear();
        }
        if let Some(last) = self.positions.len().checked_sub(1).filter(|last| *last > 0) {
            let ((_, first), (_, second)) = (self.positions[last - 1], self.positions[last]);
            // A rest is told by its two ends.
            if first == second && second == position {
                self.positions.pop_back();
            }
        }
        self.positions.push_back((moment, position));
        let second = |positions: &VecDeque<(Moment, Lsn)>| positions.get(1).map(|(second, _)| *second);
        while second(&self.positions).is_some_and(|second| moment.since(second) > span) {
            self.positions.pop_front();
        }
        self.thin();
    }

    /// Makes room where there are too many; of a span that is too long for `APART`, at the cost of a larger error.
    fn thin(&mut self) {
        let mut apart = APART;
        while self.positions.len() > MOST_POSITIONS {
            self.leave_out(apart);
            apart = apart.div_ceil(2);
        }
    }

    /// Leaves out what its neighbours tell well enough: the older, the more; with 1, all but the two ends.
    fn leave_out(&mut self, apart: u32) {
        let all = std::mem::take(&mut self.positions);
        let Some((newest, _)) = all.back().copied() else {
            return;
        };
        for (at, kept) in all.iter().copied().enumerate().rev() {
            let older = at.checked_sub(1).map(|older| all[older].0);
            let between = older
                .zip(self.positions.front())
                .is_some_and(|(older, (newer, _))| newer.since(older) * apart <= newest.since(older));
            if !between {
                self.positions.push_front(kept);
            }
        }
    }

    /// The highest position known.
    #[must_use]
    pub fn head(&self) -> Option<Lsn> {
        self.positions.back().map(|(_, head)| *head)
    }

    /// How far behind a standby is that had replayed up to `position` at `moment`.
    #[must_use]
    pub fn behind(&self, position: Lsn, moment: Moment) -> Lag {
        let (Some(head), Some((oldest, start))) = (self.head(), self.positions.front().copied()) else {
            return Lag::Unknown;
        };
        let bytes = head.0.saturating_sub(position.0);
        if bytes == 0 {
            return Lag::Behind {
                time: Duration::ZERO,
                bytes: Some(bytes),
            };
        }
        if position < start {
            let time = moment.since(oldest);
            return Lag::AtLeast {
                time,
                bytes: Some(bytes),
            };
        }
        // The newest moment at which the head was here.
        let after = self.positions.partition_point(|(_, head)| *head <= position);
        let (from, low) = self.positions[after - 1];
        let (to, high) = self.positions[after];
        let share = u128::from(position.0 - low.0) * to.since(from).as_nanos() / u128::from(high.0 - low.0);
        let left = from + Duration::from_nanos(u64::try_from(share).unwrap_or(u64::MAX));
        Lag::Behind {
            time: moment.since(left),
            bytes: Some(bytes),
        }
    }

    /// Where this timeline began; `None`: no earlier one was seen.
    #[must_use]
    pub fn branch(&self) -> Option<Branch> {
        let (timeline, first_seen) = self.timeline.zip(self.first_seen)?;
        Some(Branch { timeline, first_seen })
    }

    /// Whether the primary told within `time` before `now`.
    #[must_use]
    pub fn is_live(&self, now: Moment, time: Duration) -> bool {
        self.primary_told.is_some_and(|told| now.since(told) <= time)
    }
}

/// What is known of the lag of one standby.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    pub freshness: Freshness,
    /// When the verdict last changed.
    judged: Option<Moment>,
    /// When a figure was known last.
    known: Option<Moment>,
    /// The newest position replayed, and since when it is that.
    position: Option<(Moment, Lsn)>,
    /// When its newest sample was taken.
    sampled: Option<Moment>,
    /// The newest figure, for people.
    pub lag: Option<Lag>,
}

impl Replay {
    /// One that served before the operator started: the verdict stands until there is another one.
    #[must_use]
    pub fn fresh_since(moment: Moment) -> Self {
        Self {
            freshness: Freshness::Fresh,
            judged: Some(moment),
            known: Some(moment),
            ..Self::default()
        }
    }

    /// One that was too far behind before the operator started, and served all the same: as a fallback, or a class.
    #[must_use]
    pub fn lagging_since(moment: Moment) -> Self {
        Self {
            freshness: Freshness::Lagging,
            ..Self::fresh_since(moment)
        }
    }

    /// The newest figure, and when the standby was asked for it.
    #[must_use]
    pub fn newest(&self) -> Option<(Lag, Moment)> {
        Some((self.lag?, self.sampled?))
    }

    /// The same by other bounds: the verdict that the newest figure asks for.
    #[must_use]
    pub fn by(&self, settings: &LagSettings) -> Self {
        let mut other = Self {
            freshness: Freshness::Unknown,
            judged: None,
            ..self.clone()
        };
        other.freshness = match (self.lag, self.sampled) {
            (Some(lag @ (Lag::Behind { .. } | Lag::AtLeast { .. })), Some(sampled)) => {
                other.verdict(lag, sampled, settings)
            }
            _ if self.freshness == Freshness::Fresh => Freshness::Fresh,
            _ => Freshness::Unknown,
        };
        other
    }

    /// Takes in the newest sample of the standby.
    pub fn observe(
        &mut self,
        report: ReplayReport,
        history: &WalHistory,
        settings: &LagSettings,
        heartbeat: Duration,
    ) {
        let ReplayReport {
            moment,
            position,
            queried,
        } = report;
        self.sampled = Some(moment);
        if let Some(position) = position
            && self.position.is_none_or(|(_, before)| before != position)
        {
            self.position = Some((moment, position));
        }
        let lag = match &settings.source {
            LagSource::Wal => position.map_or(Lag::Unknown, |position| history.behind(position, moment)),
            LagSource::Query(_) => queried.map_or(Lag::Unknown, |time| Lag::Behind { time, bytes: None }),
            LagSource::None => {
                self.freshness = Freshness::Fresh;
                self.lag = None;
                return;
            }
        };
        self.lag = Some(lag);
        if lag != Lag::Unknown {
            self.known = Some(moment);
        }
        let silent =
            settings.source == LagSource::Wal && !history.is_live(moment, settings.max.max(heartbeat * 4));
        // The primary is not seen: what was found before stands.
        if !(silent && self.judged.is_some()) {
            self.judge(lag, moment, history, settings, heartbeat);
        }
    }

    /// The history moved on: what was not known may be known now.
    pub fn reconsider(&mut self, history: &WalHistory, settings: &LagSettings, heartbeat: Duration) {
        if self.freshness != Freshness::Unknown || settings.source != LagSource::Wal {
            return;
        }
        if let (Some((_, position)), Some(sampled)) = (self.position, self.sampled) {
            let lag = history.behind(position, sampled);
            self.lag = Some(lag);
            if lag != Lag::Unknown {
                self.known = Some(sampled);
            }
            self.judge(lag, sampled, history, settings, heartbeat);
        }
    }

    fn judge(
        &mut self,
        lag: Lag,
        now: Moment,
        history: &WalHistory,
        settings: &LagSettings,
        heartbeat: Duration,
    ) {
        let verdict = match self.verdict(lag, now, settings) {
            Freshness::Lagging | Freshness::Stalled if self.stands_still(now, history, heartbeat) => {
                Freshness::Stalled
            }
            Freshness::Lagging | Freshness::Stalled => Freshness::Lagging,
            verdict => verdict,
        };
        let out = |freshness| matches!(freshness, Freshness::Lagging | Freshness::Stalled);
        let flips = out(verdict) != out(self.freshness) || self.freshness == Freshness::Unknown;
        let soon = self
            .judged
            .is_some_and(|judged| now.since(judged) < heartbeat * HEARTBEATS_APART);
        if verdict == self.freshness || (flips && soon && self.freshness != Freshness::Unknown) {
            return;
        }
        if flips {
            self.judged = Some(now);
        }
        self.freshness = verdict;
    }

    /// The verdict that the figure asks for; where it says nothing, the present one.
    fn verdict(&self, lag: Lag, now: Moment, settings: &LagSettings) -> Freshness {
        let within = |bytes: Option<u64>, most: Option<u64>| {
            let both = bytes.zip(most);
            both.is_none_or(|(bytes, most)| bytes <= most)
        };
        match lag {
            Lag::Behind { time, bytes } | Lag::AtLeast { time, bytes }
                if time > settings.max || !within(bytes, settings.max_bytes) =>
            {
                Freshness::Lagging
            }
            Lag::Behind { time, bytes } => {
                let below = time <= settings.recover && within(bytes, settings.recover_bytes());
                if below || self.freshness == Freshness::Unknown {
                    Freshness::Fresh
                } else {
                    self.freshness
                }
            }
            Lag::AtLeast { .. } => self.freshness,
            // Nothing was told for longer than the bound: what was found before says nothing of now.
            Lag::Unknown => match self.known {
                Some(known) if now.since(known) <= settings.max => self.freshness,
                _ => Freshness::Unknown,
            },
        }
    }

    fn stands_still(&self, now: Moment, history: &WalHistory, heartbeat: Duration) -> bool {
        self.position.is_some_and(|(since, position)| {
            now.since(since) >= heartbeat * HEARTBEATS_APART
                && history.head().is_some_and(|head| head > position)
        })
    }
}

impl LagSettings {
    /// The bound in bytes below which a standby returns: the share of `max_bytes` that `recover` is of `max`.
    #[must_use]
    pub fn recover_bytes(&self) -> Option<u64> {
        let most = self.max_bytes?;
        if self.max.is_zero() {
            return Some(most);
        }
        let share = u128::from(most) * self.recover.as_millis() / self.max.as_millis().max(1);
        Some(u64::try_from(share).unwrap_or(most))
    }
}

#[cfg(test)]
mod tests;
