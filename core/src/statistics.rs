//! Statistics of one server, from the samples that checks and heartbeats take anyway: counters become rates.
//!
//! | what happens                                     | what follows                                             |
//! |--------------------------------------------------|----------------------------------------------------------|
//! | the server starts anew, or another one answers   | a gap: rates begin anew                                  |
//! | statistics of a database are reset, or it goes   | a gap                                                    |
//! | a counter falls                                  | a gap                                                    |
//! | nothing is told for a while                      | none: the counters go on meanwhile                       |
//! | nothing is told for as long as a window          | nothing is known of that window                          |
//!
//! What a gap cuts off is not known (`None`), never 0.

mod points;
mod response;
mod ring;
mod worst;

use std::time::Duration;

use crate::lag::Lag;
use crate::moment::Moment;
use crate::observation::{FailureClass, Load, Role};
pub use points::Rates;
use points::{Points, Reading};
pub use response::ResponseTimes;
use response::Responses;
use worst::WorstLag;

/// How a sample was taken that statistics are made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// When it was told.
    pub at: Moment,
    pub role: Role,
    /// The transactions that this question, and what was asked on the same connection since the one before, made.
    pub asked: u32,
    /// Sessions of operators on it, the own one included; `None`: it does not tell.
    pub operators: Option<u32>,
}

/// The statistics of one target: at most 2 KiB, whatever happens.
#[derive(Clone, Debug)]
pub struct Statistics {
    points: Points,
    responses: Responses,
    worst: WorstLag,
    /// Failed checks since the target is watched, by [`FailureClass::number`].
    errors: [u64; FailureClass::WORDS.len()],
    /// Counted by the newest heartbeat.
    operators: u32,
    role: Option<Role>,
}

/// What is known of a target at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// As it was told last.
    pub role: Option<Role>,
    pub ten_seconds: Rates,
    pub minute: Rates,
    pub five_minutes: Rates,
    /// Of the last good checks, at most 32; `None`: there was none.
    pub response: Option<ResponseTimes>,
    /// Failed checks since the target is watched, by the word of their class.
    pub errors: [(&'static str, u64); FailureClass::WORDS.len()],
    /// The longest lag of the last 5 minutes, to 15 s; `None`: none was known, or it is a primary.
    pub worst_lag: Option<Duration>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            points: Points::default(),
            responses: Responses::default(),
            worst: WorstLag::default(),
            errors: [0; FailureClass::WORDS.len()],
            operators: 1,
            role: None,
        }
    }
}

impl Statistics {
    pub const TEN_SECONDS: Duration = Duration::from_secs(10);
    pub const MINUTE: Duration = Duration::from_mins(1);
    pub const FIVE_MINUTES: Duration = Duration::from_mins(5);

    /// Takes in how busy a target is (`None`: it does not tell), and how far a standby is behind (`None`: it is not known).
    /// `took`: how long a good check took; `None`: a heartbeat told it. Returns how many transactions ended since it told last,
    /// without those of operators; 0 after a gap.
    pub fn tell(
        &mut self,
        measured: &Measured,
        load: Option<Load>,
        lag: Option<Lag>,
        took: Option<Duration>,
    ) -> u64 {
        self.role = Some(measured.role);
        match took {
            Some(took) => self.responses.add(took),
            // A check is a session of its own beside the one that is held.
            None => self.operators = measured.operators.unwrap_or(self.operators).max(1),
        }
        if measured.role == Role::Primary {
            self.worst = WorstLag::default();
        }
        if let Some(Lag::Behind { time, .. } | Lag::AtLeast { time, .. }) = lag {
            self.worst.add(time, measured.at);
        }
        let asked = u64::from(measured.asked) * u64::from(self.operators);
        let Some(load) = load else {
            self.points = Points::default();
            return 0;
        };
        self.points.add(Reading {
            at: measured.at,
            load,
            asked,
        })
    }

    /// A check failed.
    pub fn fail(&mut self, class: FailureClass) {
        let errors = &mut self.errors[class.number()];
        *errors = errors.saturating_add(1);
    }

    /// Its role as it was told last.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        self.role
    }

    /// Failed checks since the target is watched, by the word of their class.
    pub fn errors(&self) -> [(&'static str, u64); FailureClass::WORDS.len()] {
        std::array::from_fn(|class| (FailureClass::WORDS[class], self.errors[class]))
    }

    /// What the last `window` tells.
    #[must_use]
    pub fn rates(&self, window: Duration, now: Moment) -> Rates {
        self.points.rates(window, now)
    }

    /// All of it.
    #[must_use]
    pub fn summary(&self, now: Moment) -> Summary {
        Summary {
            role: self.role,
            ten_seconds: self.rates(Self::TEN_SECONDS, now),
            minute: self.rates(Self::MINUTE, now),
            five_minutes: self.rates(Self::FIVE_MINUTES, now),
            response: self.responses.times(),
            errors: self.errors(),
            worst_lag: self.worst.of(now),
        }
    }
}

/// The share of all transactions that the standbys among `servers` did, from 0 to 1, by the rates of each with its role. `None`: it is
/// not known of one of them, there is no primary, or nothing was done.
#[must_use]
pub fn replica_share(servers: impl IntoIterator<Item = (Role, Option<f64>)>) -> Option<f64> {
    let (mut primaries, mut standbys) = (None, 0.0);
    for (role, rate) in servers {
        let rate = rate?;
        match role {
            Role::Primary => primaries = Some(primaries.unwrap_or(0.0) + rate),
            Role::Standby => standbys += rate,
        }
    }
    let all = primaries? + standbys;
    (all > 0.0).then(|| standbys / all)
}

#[cfg(test)]
mod tests;
