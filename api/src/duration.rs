//! Durations as the Gateway API writes them: `1h30m`, `500ms`.

use std::borrow::Cow;
use std::time::Duration;

#[cfg(feature = "kube")]
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// The pattern of a [`DurationText`], from the Gateway API (GEP-2257).
pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";

/// A duration as a person wrote it; [`DurationText::parse`] gives its length. Its form and bounds are a rule of the
/// field that has it ([`super::rules::duration_between`]), so that a bad one is refused in words.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct DurationText(pub String);

impl DurationText {
    /// The length, or `None` where the text does not match [`PATTERN`].
    #[must_use]
    pub fn parse(&self) -> Option<Duration> {
        let mut rest = self.0.as_str();
        let mut total = Duration::ZERO;
        let mut parts = 0;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit())?;
            let number: u64 = rest[..digits]
                .parse()
                .ok()
                .filter(|_| (1..=5).contains(&digits))?;
            let (unit, after) = split_unit(&rest[digits..])?;
            total += unit * u32::try_from(number).ok()?;
            rest = after;
            parts += 1;
        }
        (1..=4).contains(&parts).then_some(total)
    }
}

/// A length in the notation of policies, to the millisecond: `5s`, `2500ms`.
#[must_use]
pub fn notation(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{}s", time.as_secs()),
        _ => format!("{}ms", time.as_millis()),
    }
}

fn split_unit(text: &str) -> Option<(Duration, &str)> {
    const UNITS: [(&str, Duration); 4] = [
        ("ms", Duration::from_millis(1)),
        ("h", Duration::from_hours(1)),
        ("m", Duration::from_mins(1)),
        ("s", Duration::from_secs(1)),
    ];
    UNITS
        .iter()
        .find_map(|(name, length)| text.strip_prefix(name).map(|rest| (*length, rest)))
}

impl From<&str> for DurationText {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

#[cfg(feature = "kube")]
impl JsonSchema for DurationText {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "maxLength": 32})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_written_as_it_is_read() {
        for (millis, text) in [(5000, "5s"), (2500, "2500ms"), (0, "0s"), (90_000, "90s")] {
            let time = Duration::from_millis(millis);
            assert_eq!(notation(time), text);
            assert_eq!(DurationText::from(text).parse(), Some(time));
        }
    }

    #[test]
    fn parses_every_unit_and_sums() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1h30m", 5_400_000),
            ("0s", 0),
            ("1m1s1ms", 61_001),
        ] {
            assert_eq!(
                DurationText::from(text).parse(),
                Some(Duration::from_millis(millis)),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_the_pattern_refuses() {
        for text in ["", "5", "s", "1d", "-1s", "1.5s", "123456s", "1s1s1s1s1s", "1s "] {
            assert_eq!(DurationText::from(text).parse(), None, "{text}");
        }
    }
}
