//! Figures for people.

use k8s_openapi::jiff::Timestamp;

use crate::render::cause;
use distributary_api::LagStatus;
use distributary_core::lag_reading::LagReading;

/// Of 0 to 100.
pub fn percent(of: f64) -> String {
    format!("{of:.0}%")
}

pub fn milliseconds(of: f64) -> String {
    if of < 10.0 {
        format!("{of:.1} ms")
    } else {
        format!("{of:.0} ms")
    }
}

/// Per second.
pub fn rate(of: f64) -> String {
    if of < 10.0 {
        format!("{of:.1}/s")
    } else {
        format!("{of:.0}/s")
    }
}

/// A lag in milliseconds, in tenths of a second, and from 10 s on in seconds, as the status tells one.
pub fn lag(milliseconds: u64) -> String {
    let unit = if milliseconds < 10_000 { 100 } else { 1_000 };
    lag_of(&LagStatus {
        milliseconds: milliseconds / unit * unit,
        ..LagStatus::default()
    })
}

/// The lag of a status, without its bound.
pub fn lag_of(status: &LagStatus) -> String {
    let figure = LagReading {
        past: None,
        ..cause::reading(status)
    };
    figure.to_string()
}

/// How long ago that was, as kubectl tells ages.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    let (minute, hour, day) = (60, 3_600, 86_400);
    let two = |whole: i64, unit: &str, rest: i64, small: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{small}"),
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => two(seconds / minute, "m", seconds % minute, "s"),
        600..10_800 => format!("{}m", seconds / minute),
        10_800..28_800 => two(seconds / hour, "h", seconds % hour / minute, "m"),
        28_800..172_800 => format!("{}h", seconds / hour),
        172_800..691_200 => two(seconds / day, "d", seconds % day / hour, "h"),
        _ => format!("{}d", seconds / day),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_those_of_kubectl() {
        let told = |seconds: i64| {
            let now = Timestamp::from_second(10_000_000).unwrap();
            age(Timestamp::from_second(10_000_000 - seconds).unwrap(), now)
        };
        let cases = [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (601, "10m"),
            (10_860, "3h1m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (700_000, "8d"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(told(seconds), expected);
        }
    }

    #[test]
    fn figures_have_as_many_digits_as_they_need() {
        assert_eq!(
            (percent(66.66), percent(0.0)),
            ("67%".to_owned(), "0%".to_owned())
        );
        assert_eq!(
            (milliseconds(1.26), milliseconds(31.7)),
            ("1.3 ms".to_owned(), "32 ms".to_owned())
        );
        assert_eq!(
            (rate(0.4), rate(1234.5)),
            ("0.4/s".to_owned(), "1234/s".to_owned())
        );
        assert_eq!((lag(9_460), lag(12_700)), ("9.4 s".to_owned(), "12 s".to_owned()));
    }
}
