//! What the stub answers to the statements of a probe. They are read loosely: a new one needs a line in [`VALUES`].

use std::time::Instant;

/// Who is asked.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    pub primary: bool,
    /// When the stub started; the write-ahead log grows from then on.
    pub started: Instant,
}

type Value = fn(Server) -> Option<String>;

/// What an expression is about, and its value; the first line that fits counts.
const VALUES: &[(&str, Value)] = &[
    ("pg_walfile_name", |it| {
        it.primary.then(|| "000000010000000000000001".to_owned())
    }),
    ("received_tli", |it| (!it.primary).then(|| "1".to_owned())),
    ("pg_last_wal_replay_lsn", |it| Some(lsn(it))),
    ("pg_last_wal_receive_lsn", |it| (!it.primary).then(|| lsn(it))),
    ("pg_current_wal_lsn", |it| Some(lsn(it))),
    ("system_identifier", |_| Some("7300000000000000001".to_owned())),
    ("timeline_id", |_| Some("1".to_owned())),
    ("pg_stat_activity", |_| Some("3".to_owned())),
    ("max_connections", |_| Some("100".to_owned())),
    ("xact_commit", |it| {
        Some(it.started.elapsed().as_millis().to_string())
    }),
    ("pg_postmaster_start_time", |_| {
        Some("1700000000000000".to_owned())
    }),
    ("pg_is_in_recovery", |it| {
        Some(if it.primary { "f" } else { "t" }.to_owned())
    }),
];

/// An answer: a row with the tag of its statement, or the tag alone.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Row(Vec<Option<String>>),
    Tag(String),
}

/// The answers to statements in one message; an expression that no line of the table fits is NULL, and `unknown` is
/// told of it.
pub fn answers(text: &str, server: Server, mut unknown: impl FnMut(&str)) -> Vec<Answer> {
    let statements = text
        .split(';')
        .map(str::trim)
        .filter(|statement| !statement.is_empty());
    let answer = |statement: &str| match statement.split_once(char::is_whitespace) {
        Some((verb, rest)) if verb.eq_ignore_ascii_case("select") => {
            let value = |expression: &str| {
                let known = VALUES.iter().find(|(about, _)| expression.contains(about));
                if known.is_none() {
                    unknown(expression);
                }
                known.and_then(|(_, value)| value(server))
            };
            Answer::Row(expressions(rest).into_iter().map(value).collect())
        }
        Some((verb, _)) => Answer::Tag(verb.to_uppercase()),
        None => Answer::Tag(statement.to_uppercase()),
    };
    statements.map(answer).collect()
}

/// A log that grows by a megabyte a second.
fn lsn(server: Server) -> String {
    let position = 0x100_0000 + server.started.elapsed().as_millis() * 1000;
    format!("{:X}/{:X}", position >> 32, position & 0xFFFF_FFFF)
}

/// The expressions of a SELECT list: up to FROM, between commas, outside of parentheses.
fn expressions(list: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (vec![], 0_u32, 0);
    for (at, character) in list.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&list[start..at]);
                start = at + 1;
            }
            ' ' if depth == 0 && list[at..].starts_with(" FROM ") => {
                found.push(&list[start..at]);
                return found;
            }
            _ => {}
        }
    }
    found.push(&list[start..]);
    found
}
