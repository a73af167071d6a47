//! Whether a server may have crashed, by the newest signs.
//!
//! | state      | dead, hard                          | dead       | starting, stopping | error of the server itself      | good check                      |
//! |------------|-------------------------------------|------------|--------------------|---------------------------------|---------------------------------|
//! | none       | confirming                          | none       | out                | none                            | none                            |
//! | confirming | out, but `ConnectionClosed` confirms nothing | confirming | out       | none                            | none                            |
//! | out        | out                                 | out        | out                | none, with the second in a row  | none, with the second in a row  |
//!
//! An error of the server itself proves that the server lives ([`FailureKind::proves_life`]). Other failures end no suspicion
//! that is confirmed; those of a login or of TLS end one that is not.

use super::moment::Moment;
use super::observation::{FailureClass, FailureKind};

/// Answers in a row that end a suspicion: good checks, and errors that the server itself sent.
const ANSWERS: u8 = 2;

/// Whether the server may have crashed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Suspicion {
    #[default]
    None,
    /// One hard sign was seen; the next check confirms it or not.
    Confirming { since: Moment },
    /// Confirmed: out of the routes. `answers`: in a row, that prove it alive.
    Out { since: Moment, answers: u8 },
}

impl Suspicion {
    /// After an answer that proves the server alive.
    #[must_use]
    pub fn after_answer(self) -> Self {
        match self {
            Self::Out { since, answers } if answers + 1 < ANSWERS => Self::Out {
                since,
                answers: answers + 1,
            },
            _ => Self::None,
        }
    }

    const fn out(since: Moment) -> Self {
        Self::Out { since, answers: 0 }
    }

    /// After a failed check that ended at `now`.
    #[must_use]
    pub fn after_failure(self, kind: FailureKind, now: Moment) -> Self {
        // A connection that is accepted and then closed may have been ended by an administrator: it confirms nothing.
        let confirms = kind != FailureKind::ConnectionClosed;
        match (self, kind.class()) {
            (Self::Out { since, .. }, FailureClass::Dead { .. } | FailureClass::Transient) => {
                Self::Out { since, answers: 0 }
            }
            (Self::Out { .. }, _) if kind.proves_life() => self.after_answer(),
            (_, FailureClass::Transient) => Self::out(now),
            (Self::Confirming { .. }, FailureClass::Dead { hard: true }) if confirms => Self::out(now),
            (Self::None, FailureClass::Dead { hard: true }) => Self::Confirming { since: now },
            (
                Self::Confirming { .. },
                FailureClass::Saturated | FailureClass::Configuration | FailureClass::Alive,
            ) => Self::None,
            _ => self,
        }
    }
}
