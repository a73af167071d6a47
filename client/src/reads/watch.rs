//! When a read is looked at although nothing has come for it: at its deadline, for another attempt beside it, for the silence of a server.
//! One alarm serves all of that.
//!
//! Pure: time is an argument.

use std::cmp::min;
use std::time::Duration;

use distributary_core::Moment;

use crate::server::QUIET;

/// Between two attempts beside each other, at least.
const LEAST: Duration = Duration::from_millis(1);

/// What is due, and when. `N`: an attempt.
pub struct Watch<N> {
    /// The deadline of the read.
    until: Moment,
    /// An attempt has so long, at least, before another one begins beside it.
    share: Duration,
    /// When another one may begin.
    beside: Moment,
    /// The newest attempt and its beginning, until it is looked after whether its server is silent.
    newest: Option<(N, Moment)>,
}

impl<N> Watch<N> {
    pub const fn new(until: Moment, share: Duration) -> Self {
        Self {
            until,
            share,
            beside: until,
            newest: None,
        }
    }

    /// An attempt begins, on a server that answers within `slow`. The one before is returned where nobody looks after it yet.
    pub fn begin(&mut self, attempt: N, slow: Duration, now: Moment) -> Option<(N, Moment)> {
        self.beside = now + slow.max(self.share);
        self.newest.replace((attempt, now))
    }

    /// How long nothing is due; `hedges`: another attempt may be made.
    pub fn left(&self, hedges: bool, now: Moment) -> Duration {
        let beside = hedges.then_some(self.beside);
        let silence = self.newest.as_ref().map(|(_, began)| *began + QUIET);
        let due = [beside, silence].into_iter().flatten();
        due.fold(self.until, min).since(now)
    }

    /// The deadline is past.
    pub fn is_over(&self, now: Moment) -> bool {
        now >= self.until
    }

    /// The newest attempt, once it is time to look whether its server is silent.
    pub fn quiet(&mut self, now: Moment) -> Option<(N, Moment)> {
        self.newest.take_if(|(_, began)| now.since(*began) >= QUIET)
    }

    /// Whether another attempt may begin beside the others now; if so, not again before a share of the time.
    pub fn takes_turn(&mut self, now: Moment) -> bool {
        let is_due = now >= self.beside;
        if is_due {
            self.beside = now + self.share.max(LEAST);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Moment {
        Moment::new(ms(millis))
    }

    #[test]
    fn the_earliest_of_silence_another_attempt_and_the_deadline_is_due() {
        let mut watch = Watch::new(at(1000), ms(40));
        assert!(watch.begin("first", ms(30), at(0)).is_none());
        assert_eq!(watch.left(true, at(0)), ms(40), "its share of the time");
        assert_eq!(watch.left(false, at(0)), QUIET, "there is no other attempt");
        assert!(!watch.takes_turn(at(39)) && watch.takes_turn(at(40)) && !watch.takes_turn(at(79)));
        assert_eq!(watch.left(true, at(41)), ms(39));
        let before = watch.begin("second", ms(700), at(80));
        assert_eq!(before, Some(("first", at(0))), "somebody has to look after it");
        assert!(watch.quiet(at(179)).is_none());
        assert_eq!(watch.quiet(at(180)), Some(("second", at(80))));
        assert_eq!(watch.quiet(at(180)), None);
        assert_eq!(watch.left(true, at(180)), ms(600), "its server is slow");
        assert_eq!(watch.left(false, at(180)), ms(820));
        assert!(!watch.is_over(at(999)) && watch.is_over(at(1000)));
        assert_eq!(watch.left(false, at(2000)), Duration::ZERO);
    }

    #[test]
    fn attempts_without_a_share_are_a_millisecond_apart() {
        let mut watch = Watch::new(at(0), Duration::ZERO);
        watch.begin((), Duration::ZERO, at(0));
        assert!(watch.takes_turn(at(0)) && !watch.takes_turn(at(0)) && watch.takes_turn(at(1)));
    }
}
