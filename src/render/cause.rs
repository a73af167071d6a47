//! A reason with what it rests on, as conditions, Events and tables tell it: `Held (ReplayStalled, 9.4 s > 5 s)`.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use distributary_api::{LagStatus, ServerStatus};
use distributary_core::Moment;
use distributary_core::health::Reason;
use distributary_core::lag_reading::{LagBound, LagReading};

/// The reason of a server with its failure, or the answer of its lag query, and its lag where that is the cause.
#[must_use]
pub fn of(server: &ServerStatus) -> String {
    let code = server.sqlstate.as_ref().map(|code| format!("SQLSTATE {code}"));
    let answer = || {
        let answer = server.lag_answer.as_ref()?;
        Some(format!("lagQuery answered {answer}"))
    };
    let details = [
        server.held_despite.clone(),
        code.or_else(|| server.failure.clone()).or_else(answer),
        excess(server),
    ];
    with(&server.reason, details)
}

/// A word with details.
#[must_use]
pub fn with(word: &str, details: impl IntoIterator<Item = Option<String>>) -> String {
    let details: Vec<_> = details.into_iter().flatten().collect();
    if details.is_empty() {
        word.to_owned()
    } else {
        format!("{word} ({})", details.join(", "))
    }
}

/// The lag with its bound, where that is what speaks against the server.
fn excess(server: &ServerStatus) -> Option<String> {
    let reason = server.held_despite.as_ref().unwrap_or(&server.reason);
    let of_lag = Reason::from_word(reason).is_some_and(Reason::is_of_lag);
    let lag = server.lag.as_ref().filter(|_| of_lag)?;
    Some(reading(lag).to_string())
}

/// A lag in the words of the status. `measured_at`: the wall clock when it was measured.
#[must_use]
pub fn lag(reading: &LagReading, measured_at: Option<Time>) -> LagStatus {
    let (past_milliseconds, past_bytes) = match reading.past {
        Some(LagBound::Time(most)) => (Some(millis(most)), None),
        Some(LagBound::Bytes(most)) => (None, Some(most)),
        None => (None, None),
    };
    LagStatus {
        milliseconds: millis(reading.time),
        bytes: reading.bytes,
        at_least: reading.at_least,
        past_milliseconds,
        past_bytes,
        measured_at,
    }
}

/// The figure of a status, as it is told.
#[must_use]
pub fn reading(lag: &LagStatus) -> LagReading {
    let time = lag
        .past_milliseconds
        .map(|most| LagBound::Time(Duration::from_millis(most)));
    LagReading {
        time: Duration::from_millis(lag.milliseconds),
        bytes: lag.bytes,
        at_least: lag.at_least,
        past: time.or(lag.past_bytes.map(LagBound::Bytes)),
        measured: Moment::default(),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_with_what_it_rests_on() {
        let behind = LagStatus {
            milliseconds: 9400,
            past_milliseconds: Some(5000),
            ..LagStatus::default()
        };
        let server = |reason: &str, despite: Option<&str>, failure: Option<&str>| ServerStatus {
            reason: reason.to_owned(),
            held_despite: despite.map(ToOwned::to_owned),
            failure: failure.map(ToOwned::to_owned),
            lag: Some(behind.clone()),
            ..ServerStatus::default()
        };
        let cases = [
            (server("Serving", None, None), "Serving"),
            (server("Held", None, None), "Held"),
            (
                server("Held", Some("ReplayStalled"), None),
                "Held (ReplayStalled, 9.4 s > 5 s)",
            ),
            (
                server("Held", Some("CircuitOpen"), Some("TimedOut")),
                "Held (CircuitOpen, TimedOut)",
            ),
            (server("Lagging", None, None), "Lagging (9.4 s > 5 s)"),
            (
                server("Lagging", None, Some("TimedOut")),
                "Lagging (TimedOut, 9.4 s > 5 s)",
            ),
            (
                server("Suspect", None, Some("ConnectRefused")),
                "Suspect (ConnectRefused)",
            ),
        ];
        for (server, expected) in cases {
            assert_eq!(of(&server), expected);
        }
        let refused = ServerStatus {
            sqlstate: Some("42501".to_owned()),
            ..server("AnswersWithError", None, Some("OtherError"))
        };
        assert_eq!(of(&refused), "AnswersWithError (SQLSTATE 42501)");
        let none = ServerStatus {
            lag_answer: Some("NULL".to_owned()),
            ..server("LagUnknown", None, None)
        };
        assert_eq!(of(&none), "LagUnknown (lagQuery answered NULL)");
    }
}
