//! What a server tells of itself.

use std::net::IpAddr;

use crate::wire;

/// What a server answers to the questions of a check. Statements are read loosely: a new expression needs a line in
/// [`VALUES`].
#[derive(Clone, Debug)]
pub struct Standing {
    /// It is in recovery.
    pub standby: bool,
    /// What a standby replayed, what a primary wrote.
    pub lsn: Option<u64>,
    /// What a standby received.
    pub received: Option<u64>,
    pub timeline: Option<u32>,
    /// The system identifier, signed as it is in SQL.
    pub identifier: i64,
    pub sessions: u32,
    pub max_connections: u32,
    pub transactions: u64,
    /// When it started, in microseconds since 1970.
    pub started: u64,
    /// The address that a client reached.
    pub address: Option<IpAddr>,
    /// What other expressions are about, and their values.
    pub others: &'static [(&'static str, &'static str)],
    /// What refused statements have in them, and the SQLSTATE.
    pub refuses: Option<(&'static str, &'static str)>,
}

type Value = fn(&Standing) -> Option<String>;

/// What an expression is about, and its value; the first line that fits counts.
const VALUES: &[(&str, Value)] = &[
    // What was set, which nobody reads.
    ("set_config", |_| Some(String::new())),
    ("pg_walfile_name", Standing::wal_file),
    ("received_tli", |it| {
        it.timeline
            .filter(|_| it.standby)
            .map(|timeline| timeline.to_string())
    }),
    ("timeline_id", |it| {
        it.timeline.map(|timeline| timeline.to_string())
    }),
    ("pg_last_wal_replay_lsn", |it| it.lsn.map(position)),
    ("pg_last_wal_receive_lsn", |it| it.received.map(position)),
    ("pg_current_wal_lsn", |it| it.lsn.map(position)),
    ("system_identifier", |it| Some(it.identifier.to_string())),
    ("string_agg", |_| None),
    ("reserved_connections", |_| Some("3".to_owned())),
    ("pg_stat_activity", |it| Some(it.sessions.to_string())),
    ("max_connections", |it| Some(it.max_connections.to_string())),
    // Rows returned and changed, databases, and when their statistics began.
    ("xact_commit", |it| {
        Some(format!("{} 70 8 3 1700000000000", it.transactions))
    }),
    ("pg_postmaster_start_time", |it| Some(it.started.to_string())),
    ("inet_server_addr", |it| {
        it.address.map(|address| address.to_string())
    }),
    ("pg_backend_pid", |_| Some("4242".to_owned())),
    // NULL: no limit.
    ("rolconnlimit", |_| None),
    // Where it is set; NULL: it is off.
    ("default_transaction_read_only", |_| None),
    ("pg_is_in_recovery", |it| {
        Some(if it.standby { "t" } else { "f" }.to_owned())
    }),
];

impl Standing {
    /// A primary.
    pub fn primary() -> Self {
        Self {
            standby: false,
            lsn: Some(0x16_B374_D848),
            received: None,
            timeline: Some(3),
            identifier: -2,
            sessions: 7,
            max_connections: 100,
            transactions: 4711,
            started: 1_700_000_000_000_000,
            address: None,
            others: &[],
            refuses: None,
        }
    }

    /// A standby that has yet to replay a part of what it received.
    pub fn standby() -> Self {
        Self {
            standby: true,
            lsn: Some(0x16_B374_D000),
            received: Some(0x16_B374_D848),
            ..Self::primary()
        }
    }

    /// The answer to the whole question of a check, whatever its text.
    pub fn whole(&self) -> Vec<u8> {
        wire::answers(&[
            self.row(&["pg_is_in_recovery"]),
            self.row(&["pg_last_wal_replay_lsn", "pg_last_wal_receive_lsn"]),
            self.row(&["pg_walfile_name", "received_tli"]),
            self.row(&["timeline_id"]),
            self.row(&["system_identifier"]),
            self.load(),
            self.row(&["rolconnlimit"]),
            self.row(&["default_transaction_read_only"]),
        ])
    }

    /// The row of its load.
    pub fn load(&self) -> Vec<u8> {
        self.row(&[
            "pg_stat_activity",
            "max_connections",
            "xact_commit",
            "pg_postmaster_start_time",
            "pg_backend_pid",
            "string_agg",
            "reserved_connections",
        ])
    }

    fn row(&self, about: &[&str]) -> Vec<u8> {
        let values = about.iter().map(|about| self.value(about, &mut |_| ()));
        let mut row = Vec::new();
        wire::put_row(&mut row, &values.collect::<Vec<_>>());
        row
    }

    /// The answers to the statements of one question.
    pub fn answer(&self, question: &str) -> Vec<u8> {
        self.answer_noting(question, |_| ())
    }

    /// The same; an expression that no line of the table fits is NULL, and `unknown` is told of it.
    pub fn answer_noting(&self, question: &str, mut unknown: impl FnMut(&str)) -> Vec<u8> {
        let mut all = Vec::new();
        for statement in question.split(';') {
            if let Some((part, sqlstate)) = self.refuses
                && statement.contains(part)
            {
                return [all, wire::error(sqlstate), wire::failed()].concat();
            }
            let statement = statement.trim();
            let (verb, rest) = statement
                .split_once(char::is_whitespace)
                .unwrap_or((statement, ""));
            if verb.eq_ignore_ascii_case("select") {
                let values = expressions(rest).into_iter();
                let values: Vec<_> = values
                    .map(|expression| self.value(expression, &mut unknown))
                    .collect();
                wire::put_row(&mut all, &values);
            } else if !verb.is_empty() {
                wire::put_done(&mut all, &verb.to_uppercase());
            }
        }
        wire::put_ready(&mut all);
        all
    }

    /// The value of an expression; `None`: NULL.
    fn value(&self, expression: &str, unknown: &mut impl FnMut(&str)) -> Option<String> {
        let other = self.others.iter().find(|(about, _)| expression.contains(about));
        if let Some((_, value)) = other {
            return Some((*value).to_owned());
        }
        let Some((_, value)) = VALUES.iter().find(|(about, _)| expression.contains(about)) else {
            unknown(expression);
            return None;
        };
        value(self)
    }

    /// The file of the log that a primary writes.
    fn wal_file(&self) -> Option<String> {
        let (timeline, lsn) = (self.timeline?, self.lsn?);
        let segment = (lsn & 0xFFFF_FFFF) >> 24;
        (!self.standby).then(|| format!("{timeline:08X}{:08X}{segment:08X}", lsn >> 32))
    }
}

fn position(lsn: u64) -> String {
    format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF)
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
