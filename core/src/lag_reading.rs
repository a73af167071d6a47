//! A lag as it was measured, with the bound that it is past: a figure for people.

use std::fmt;
use std::time::Duration;

use super::lag::Lag;
use super::moment::Moment;
use super::policy::LagSettings;

/// In milliseconds: times are told in tenths of a second, and from the bound on in seconds, so that what happens again is mostly
/// told in the same words.
const TENTH: u64 = 100;
const SECOND: u64 = 1000;
/// The bound.
const LONG: u64 = 10_000;

/// A lag as it was measured, with the bound that it is past.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LagReading {
    /// In tenths of a second, and from 10 s on in whole seconds.
    pub time: Duration,
    /// `None`: the source tells no positions.
    pub bytes: Option<u64>,
    /// It is longer; how much is not known.
    pub at_least: bool,
    /// `None`: it is past none.
    pub past: Option<LagBound>,
    /// When the server was asked.
    pub measured: Moment,
}

/// A bound of lag.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LagBound {
    Time(Duration),
    Bytes(u64),
}

impl LagReading {
    /// `None`: nothing is known.
    #[must_use]
    pub fn of(lag: Lag, measured: Moment, settings: &LagSettings) -> Option<Self> {
        let (time, bytes, at_least) = match lag {
            Lag::Unknown => return None,
            Lag::Behind { time, bytes } => (time, bytes, false),
            Lag::AtLeast { time, bytes } => (time, bytes, true),
        };
        let past_bytes = settings
            .max_bytes
            .filter(|most| bytes.is_some_and(|bytes| bytes > *most));
        let past = if time > settings.max {
            Some(LagBound::Time(settings.max))
        } else {
            past_bytes.map(LagBound::Bytes)
        };
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // What is past a bound is never told to be at it.
        let unit = if millis < LONG { TENTH } else { SECOND };
        let rounded = match past {
            Some(LagBound::Time(_)) => millis.div_ceil(unit),
            _ => millis / unit,
        };
        Some(Self {
            time: Duration::from_millis(rounded.saturating_mul(unit)),
            bytes,
            at_least,
            past,
            measured,
        })
    }
}

/// `9.4 s > 5 s`, `300 MiB > 256 MiB`; within the bounds `0.4 s`.
impl fmt::Display for LagReading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at_least {
            f.write_str("over ")?;
        }
        match (self.past, self.bytes) {
            (Some(LagBound::Bytes(most)), Some(bytes)) => write!(f, "{} > {}", size(bytes), size(most)),
            (Some(LagBound::Time(most)), _) => write!(f, "{} > {}", seconds(self.time), seconds(most)),
            _ => f.write_str(&seconds(self.time)),
        }
    }
}

/// `5 s`, `9.4 s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        millis if millis % 100 == 0 => format!("{}.{} s", time.as_secs(), millis / 100),
        millis => format!("{}.{millis:03} s", time.as_secs()),
    }
}

/// `256 MiB`: in the largest unit of which there is one, with a tenth where it is not whole.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let (mut unit, mut whole) = (0, 1_u64);
    while unit + 1 < UNITS.len() && bytes / whole >= 1024 {
        (unit, whole) = (unit + 1, whole * 1024);
    }
    let tenth = (bytes % whole) * 10 / whole;
    match tenth {
        0 => format!("{} {}", bytes / whole, UNITS[unit]),
        tenth => format!("{}.{tenth} {}", bytes / whole, UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn told(lag: Lag, max_bytes: Option<u64>) -> Option<String> {
        let settings = LagSettings {
            max: Duration::from_secs(5),
            max_bytes,
            ..fixture::lag()
        };
        let reading = LagReading::of(lag, fixture::at(0), &settings);
        reading.map(|reading| reading.to_string())
    }

    fn behind(millis: u64, bytes: u64) -> Lag {
        Lag::Behind {
            time: Duration::from_millis(millis),
            bytes: Some(bytes),
        }
    }

    #[test]
    fn a_lag_is_told_with_the_bound_that_it_is_past() {
        let cases = [
            (behind(9412, 1), None, "9.5 s > 5 s"),
            (behind(9400, 1), None, "9.4 s > 5 s"),
            (behind(5001, 1), None, "5.1 s > 5 s"),
            (behind(4999, 1), None, "4.9 s"),
            (behind(30_100, 1), None, "31 s > 5 s"),
            (behind(30_900, 1), None, "31 s > 5 s"),
            (behind(0, 0), Some(0), "0 s"),
            (behind(100, 300 << 20), Some(256 << 20), "300 MiB > 256 MiB"),
            (behind(9400, 300 << 20), Some(256 << 20), "9.4 s > 5 s"),
            (behind(100, 1536), Some(1023), "1.5 KiB > 1023 B"),
        ];
        for (lag, most, expected) in cases {
            assert_eq!(told(lag, most).as_deref(), Some(expected));
        }
        let least = Lag::AtLeast {
            time: Duration::from_secs(60),
            bytes: None,
        };
        assert_eq!(told(least, None).as_deref(), Some("over 60 s > 5 s"));
        assert_eq!(told(Lag::Unknown, None), None);
    }

    #[test]
    fn a_bound_below_a_second_is_told_as_it_is() {
        assert_eq!(seconds(Duration::from_millis(500)), "0.5 s");
        assert_eq!(seconds(Duration::from_millis(250)), "0.250 s");
    }
}
