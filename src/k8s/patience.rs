//! The back-off of watches.

use std::time::Duration;

/// From the first retry to the longest wait between two.
const WAITS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));

/// Grows while a watch fails. A list that begins, or ends, proves nothing; who sees the watch itself at work resets it.
#[derive(Clone, Debug)]
pub struct Patience {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let (first, longest) = WAITS;
        Self::new(first, longest)
    }
}

impl Patience {
    /// Doubles from the first wait to the longest.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// How long to wait now.
    pub fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait
    }

    pub const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_the_watch_works_again() {
        let mut patience = Patience::default();
        let waits: Vec<_> = (0..6).map(|_| patience.wait().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 8000]);
        patience.reset();
        assert_eq!(patience.wait(), WAITS.0);
    }
}
