//! When a Secret is looked at because a server refused a login by it. A watch shows every change of it, but may be late, or fail.

use std::collections::BTreeMap;
use std::time::Duration;

use super::SecretKey;
use distributary_core::moment::Moment;

/// From one look to the next one, while nothing has changed: at first, and at most. It doubles from look to look.
const WAITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));

/// When Secrets were looked at last.
#[derive(Debug, Default)]
pub(super) struct Doubts(BTreeMap<SecretKey, Look>);

#[derive(Debug)]
struct Look {
    at: Moment,
    /// Until the next one.
    wait: Duration,
}

impl Look {
    /// Whether it counts for how long is waited.
    fn counts(&self, now: Moment) -> bool {
        now.since(self.at) < self.wait + WAITS.1
    }
}

impl Doubts {
    /// A server refused a login by this Secret. Whether it is to be looked at now.
    pub(super) fn look(&mut self, secret: &SecretKey, now: Moment) -> bool {
        let last = self.0.get(secret).filter(|last| last.counts(now));
        if last.is_some_and(|last| now.since(last.at) < last.wait) {
            return false;
        }
        let wait = last.map_or(WAITS.0, |last| (last.wait * 2).min(WAITS.1));
        self.0.retain(|_, last| last.counts(now));
        self.0.insert(secret.clone(), Look { at: now, wait });
        true
    }

    /// It is another one, or nobody names it any more.
    pub(super) fn forget(&mut self, secret: &SecretKey) {
        self.0.remove(secret);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str) -> SecretKey {
        ("shop".to_owned(), name.to_owned())
    }

    fn moment(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds))
    }

    #[test]
    fn a_secret_whose_logins_go_on_to_fail_is_looked_at_ever_more_rarely() {
        let mut doubts = Doubts::default();
        let looks: Vec<_> = (0..3600)
            .filter(|second| doubts.look(&secret("probe"), moment(*second)))
            .collect();
        assert_eq!(looks, [0, 10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030]);
        assert!(doubts.look(&secret("other"), moment(3600)), "each has its own");
        // It changed: what comes now is about another one.
        doubts.forget(&secret("probe"));
        assert!(doubts.look(&secret("probe"), moment(3601)));
        assert!(!doubts.look(&secret("probe"), moment(3610)));
    }

    #[test]
    fn what_is_past_is_not_kept() {
        let mut doubts = Doubts::default();
        assert!(doubts.look(&secret("probe"), moment(0)));
        assert!(doubts.look(&secret("other"), moment(610)));
        assert_eq!(doubts.0.keys().collect::<Vec<_>>(), [&secret("other")]);
        assert!(doubts.look(&secret("probe"), moment(611)));
        assert!(doubts.look(&secret("probe"), moment(621)), "and it begins anew");
    }
}
