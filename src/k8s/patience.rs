//! The back-off of watches.

use std::time::Duration;

use kube::runtime::utils::{Backoff, ResetTimerBackoff};

/// From the first retry to the longest wait between two.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// A watch that held this long starts from the first wait again.
const FORGIVEN: Duration = Duration::from_mins(1);

/// Grows while a watch fails. kube's own starts anew with every list that begins, also with those that are refused.
pub struct Patience(ResetTimerBackoff<Doubling>);

impl Default for Patience {
    fn default() -> Self {
        Self(ResetTimerBackoff::new(Doubling(WAITS.0), FORGIVEN))
    }
}

impl Iterator for Patience {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for Patience {
    /// A list that begins proves nothing; only time does.
    fn reset(&mut self) {}
}

/// The next wait.
struct Doubling(Duration);

impl Iterator for Doubling {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.0;
        self.0 = (wait * 2).min(WAITS.1);
        Some(wait)
    }
}

impl Backoff for Doubling {
    fn reset(&mut self) {
        self.0 = WAITS.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_begins_shortens_no_wait() {
        let mut patience = Patience::default();
        let waits: Vec<_> = patience.by_ref().take(6).map(|wait| wait.as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
        patience.reset();
        assert_eq!(patience.next(), Some(WAITS.1));
    }
}
