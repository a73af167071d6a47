//! The longest lag of the last minutes.

use std::time::Duration;

use super::ring::Ring;
use crate::moment::Moment;

/// The length of a span, in seconds, of which the longest lag is kept; and how many of them are, the present one included: 5
/// minutes.
const SPAN: (u64, u32) = (15, 20);

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    number: u32,
    /// In milliseconds.
    longest: u32,
}

#[derive(Clone, Debug, Default)]
pub struct WorstLag {
    present: Option<Span>,
    before: Ring<Span, { SPAN.1 as usize - 1 }>,
}

impl WorstLag {
    pub fn add(&mut self, lag: Duration, at: Moment) {
        let lag = u32::try_from(lag.as_millis()).unwrap_or(u32::MAX);
        let number = span(at);
        match &mut self.present {
            Some(present) if present.number >= number => present.longest = present.longest.max(lag),
            present => {
                let gone = present.replace(Span { number, longest: lag });
                if let Some(gone) = gone {
                    self.before.push(gone);
                }
            }
        }
    }

    pub fn of(&self, now: Moment) -> Option<Duration> {
        let oldest = (span(now) + 1).saturating_sub(SPAN.1);
        let spans = self.present.iter().chain(self.before.newest_first());
        let longest = spans
            .filter(|span| span.number >= oldest)
            .map(|span| span.longest)
            .max()?;
        Some(Duration::from_millis(longest.into()))
    }
}

/// The number of the span that a moment is in: enough for 2,000 years.
fn span(at: Moment) -> u32 {
    u32::try_from(at.since_start().as_secs() / SPAN.0).unwrap_or(u32::MAX - 1)
}
