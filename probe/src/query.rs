//! The question of a check and of a heartbeat: one round trip that any login may ask of PostgreSQL 12 and later. A part
//! that the server refuses, as managed services do, is left out of the next ones.
//!
//! Every function, operator and type is named with its schema. By `search_path`, which the owner of a database sets, it would be
//! somebody else's, and run with the rights of the login (CVE-2018-1058). So no `IS DISTINCT FROM`, `IN` or `CASE … WHEN` with a
//! value, which stand for an operator that cannot be named.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::error::SqlState;

use super::classify::failure;
use super::conversation::{Conversation, Row};
use distributary_core::aliases::Instance;
use distributary_core::observation::{
    Failure, FailureClass, FailureKind, LagAnswer, Load, Lsn, NoLag, Role, Sample,
};

/// A part of the question, and its statement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Part {
    Role,
    Position,
    Timeline,
    Checkpoint,
    Identity,
    Load,
    Limit,
    ReadOnly,
}

/// The statements of a check and of a heartbeat, which any login may ask of PostgreSQL 12 and later: the role
/// (`pg_is_in_recovery`), the log position (`pg_current_wal_lsn`, `pg_last_wal_replay_lsn`, `pg_last_wal_receive_lsn`), the
/// timeline (`pg_walfile_name`, `pg_stat_wal_receiver`, `pg_control_checkpoint`), the identity (`pg_control_system`), the load (`pg_stat_activity`,
/// `pg_stat_database`, `max_connections`, `pg_postmaster_start_time`, `pg_backend_pid`), whether transactions are
/// read-only by default (`default_transaction_read_only`, and where `pg_settings` says that it is set), and how many
/// connections the role may have (`pg_roles`). One that a server refuses is left out of the next questions. Queries of policies come after these.
pub fn statements() -> impl Iterator<Item = &'static str> {
    Part::ALL.into_iter().map(Part::statement)
}

impl Part {
    const ALL: [Self; 8] = [
        Self::Role,
        Self::Position,
        Self::Timeline,
        Self::Checkpoint,
        Self::Identity,
        Self::Load,
        Self::Limit,
        Self::ReadOnly,
    ];

    const fn statement(self) -> &'static str {
        match self {
            Self::Role => "SELECT pg_catalog.pg_is_in_recovery()",
            Self::Position => {
                "SELECT CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, \
                 CASE WHEN r THEN pg_catalog.pg_last_wal_receive_lsn() END FROM pg_catalog.pg_is_in_recovery() r"
            }
            // The view tells received_tli only to members of pg_monitor.
            Self::Timeline => {
                "SELECT CASE WHEN NOT r THEN pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()) END, \
                 (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver) FROM pg_catalog.pg_is_in_recovery() r"
            }
            Self::Checkpoint => "SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()",
            Self::Identity => "SELECT system_identifier FROM pg_catalog.pg_control_system()",
            // Of the sessions of others a login without pg_monitor sees neither kind nor state, but database and name.
            Self::Load => {
                "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity WHERE datid IS NOT NULL \
                 AND coalesce(backend_type, 'client backend') OPERATOR(pg_catalog.=) 'client backend' \
                 AND coalesce(application_name, '') OPERATOR(pg_catalog.<>) 'distributary'), \
                 pg_catalog.current_setting('max_connections'), \
                 (SELECT pg_catalog.concat_ws(' ', pg_catalog.sum(xact_commit OPERATOR(pg_catalog.+) xact_rollback), \
                 pg_catalog.sum(tup_returned), \
                 pg_catalog.sum(tup_inserted OPERATOR(pg_catalog.+) tup_updated OPERATOR(pg_catalog.+) tup_deleted), \
                 pg_catalog.count(*), \
                 pg_catalog.sum(coalesce((pg_catalog.date_part('epoch', stats_reset) OPERATOR(pg_catalog.*) 1000)::pg_catalog.int8, 0))) \
                 FROM pg_catalog.pg_stat_database), \
                 (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8, \
                 pg_catalog.pg_backend_pid(), \
                 (SELECT pg_catalog.string_agg(ours.pid::pg_catalog.text, ' ') FROM (SELECT pid FROM pg_catalog.pg_stat_activity \
                 WHERE application_name OPERATOR(pg_catalog.=) 'distributary' LIMIT 257) ours), \
                 pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4 OPERATOR(pg_catalog.+) \
                 coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::pg_catalog.int4"
            }
            // The view is read only where it matters: it lists every setting.
            Self::ReadOnly => {
                "SELECT CASE WHEN pg_catalog.current_setting('default_transaction_read_only')::pg_catalog.bool \
                 THEN (SELECT source FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'default_transaction_read_only') END"
            }
            // It binds the role that logged in, unless that is a superuser.
            Self::Limit => {
                "SELECT CASE WHEN rolconnlimit OPERATOR(pg_catalog.>=) 0 AND NOT rolsuper THEN rolconnlimit END \
                 FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) session_user"
            }
        }
    }
}

/// Where a setting is that is not the server's: other logins, databases and sessions have another one.
const SETTINGS_OF_OURS: [&str; 5] = ["user", "database", "database user", "client", "session"];

/// Sessions of ours that are listed; where there are more, the list says nothing.
const SESSIONS: usize = 256;

/// What a server refused to tell. It is not asked again, as each refusal is a line in its log.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Refused([bool; Part::ALL.len()]);

/// Answers of lag queries, by their text; one that was not asked has none.
pub type Lags = HashMap<Arc<str>, LagAnswer>;

/// What policies ask beside that, each once.
#[derive(Clone, Debug, Default)]
pub struct Queries {
    /// With checks and heartbeats: the lag in seconds.
    pub lags: Vec<Arc<str>>,
    /// With checks: whether they are answered.
    pub probes: Vec<Arc<str>>,
}

/// Whether each probe query is answered, within `within` altogether. What does not come in time is not: what was asked
/// before has shown that the server is alive. Nothing is asked after that. Where a pooler lost its server with a query, it is
/// not known of those after it.
pub async fn probe(
    conversation: &mut Conversation,
    queries: &[Arc<str>],
    within: Duration,
) -> BTreeMap<Arc<str>, bool> {
    let mut answered: BTreeMap<_, _> = queries.iter().map(|query| (Arc::clone(query), false)).collect();
    // Something is left of the deadline of the check to tell.
    let share = within / u32::try_from(queries.len() + 1).unwrap_or(u32::MAX);
    if conversation.is_over() {
        return BTreeMap::new();
    }
    for (at, query) in queries.iter().enumerate() {
        let statement = [&**query];
        // The server ends it in time, if it can.
        match timeout(share + share / 4, conversation.ask(&statement, share)).await {
            Ok(Ok(answers)) => {
                answered.insert(Arc::clone(query), answers.refused.is_none());
            }
            Ok(Err(failure)) if failure.kind == FailureKind::UpstreamLost => {
                let asked = &queries[..=at];
                answered.retain(|query, _| asked.contains(query));
                break;
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    answered
}

/// Keeps the server from ending a session for saying nothing between two heartbeats: `idle_session_timeout`, of PostgreSQL 14 and
/// later, is set off for this session. Not through a pooler, whose session with the server serves others afterwards, and where
/// this one is not the server's.
pub async fn stay(conversation: &mut Conversation, within: Duration) -> Result<(), Failure> {
    if !conversation.is_direct() {
        return Ok(());
    }
    let refused = conversation.ask(&[STAY], within).await?.refused;
    if let Some(state) = refused {
        tracing::warn!(
            sqlstate = state.code(),
            "a session may not set idle_session_timeout: the server may end it when idle"
        );
    }
    Ok(())
}

/// Nothing is set where the server has no such limit, or knows none.
const STAY: &str = "SELECT CASE WHEN pg_catalog.current_setting('idle_session_timeout', true) OPERATOR(pg_catalog.<>) '0' \
                    THEN pg_catalog.set_config('idle_session_timeout', '0', false) END";

/// Asks everything that was not refused before, in one round trip; only after a refusal is there another one. Each of
/// `lag_queries` is a round trip more, to a standby. All of it ends within `within`, which the caller ensures too.
///
/// # Errors
/// What ended the connection, the server's error, or an answer that does not fit the question.
pub async fn ask(
    conversation: &mut Conversation,
    refused: &mut Refused,
    within: Duration,
    lag_queries: &[Arc<str>],
) -> Result<(Sample, Lags), Failure> {
    let mut rows: [Option<Row>; Part::ALL.len()] = Default::default();
    let mut parts: Vec<Part> = Part::ALL
        .into_iter()
        .filter(|part| !refused.0[*part as usize])
        .collect();
    while !parts.is_empty() {
        let statements: Vec<_> = parts.iter().map(|part| part.statement()).collect();
        let answers = conversation.ask(&statements, within).await?;
        let told = answers.rows.len().min(parts.len());
        for (part, row) in parts.drain(..told).zip(answers.rows) {
            rows[part as usize] = row;
        }
        match (answers.refused, parts.first()) {
            (Some(state), Some(part)) if *part != Part::Role && says_nothing_else(&state) => {
                refused.0[*part as usize] = !passes(&state);
                parts.remove(0);
            }
            (Some(state), _) => return Err(failure(&state)),
            (None, Some(_)) => return Err(FailureKind::ProtocolViolation.into()),
            (None, None) => {}
        }
    }
    let mut sample = sample(&rows)?;
    let load = rows[Part::Load as usize].as_ref();
    let process = parsed::<i32>(load, 4)?.zip(sample.load.map(|load| load.started));
    sample.pooled = conversation.is_pooled(process);
    sample.instance = process.and_then(|(process, started)| instance(load, process, started));
    let mut lags = Lags::new();
    // Together they leave room within the deadline of the whole check.
    let share = within / u32::try_from(lag_queries.len() + 1).unwrap_or(u32::MAX);
    // The lag of a primary is asked of nobody: the query of a standby may fail there, at every heartbeat.
    let queries = lag_queries.iter().filter(|_| sample.role == Role::Standby);
    for query in queries {
        let lag = lag(conversation, query, share).await?;
        lags.insert(Arc::clone(query), lag);
        if conversation.is_over() {
            break;
        }
    }
    sample.asked = conversation.take_asked();
    Ok((sample, lags))
}

/// Whether an error is about its statement alone: others say that the server, or that behind a pooler, is in trouble.
fn says_nothing_else(state: &SqlState) -> bool {
    // What is configuration in answer to a login is nothing here.
    matches!(
        failure(state).kind.class(),
        FailureClass::Alive | FailureClass::Configuration
    )
}

/// Whether what a server refused now it may tell at the next question: a statement was cancelled or took too long, a
/// transaction had to give way, a lock was not to be had. All else (no privilege, no such function, a function that raises an
/// error) stays as it is.
fn passes(state: &SqlState) -> bool {
    let code = state.code();
    code == "55P03" || code.starts_with("57") || code.starts_with("40")
}

fn sample(rows: &[Option<Row>; Part::ALL.len()]) -> Result<Sample, FailureKind> {
    let of = |part: Part| rows[part as usize].as_ref();
    let role = match text(of(Part::Role), 0)? {
        Some("t") => Role::Standby,
        Some("f") => Role::Primary,
        _ => return Err(FailureKind::ProtocolViolation),
    };
    let file = text(of(Part::Timeline), 0)?;
    let timeline = match file.and_then(|name| name.get(..8)) {
        Some(digits) => Some(u32::from_str_radix(digits, 16).map_err(|_| FailureKind::ProtocolViolation)?),
        None => signed_timeline(of(Part::Timeline), 1)?,
    };
    let source = text(of(Part::ReadOnly), 0)?;
    let set_to_read_only = source.is_some_and(|source| !SETTINGS_OF_OURS.contains(&source));
    Ok(Sample {
        lsn: parsed::<Lsn>(of(Part::Position), 0)?,
        received: parsed::<Lsn>(of(Part::Position), 1)?,
        system_identifier: parsed::<i64>(of(Part::Identity), 0)?.map(i64::cast_unsigned),
        timeline,
        checkpoint_timeline: signed_timeline(of(Part::Checkpoint), 0)?,
        load: load(of(Part::Load))?,
        read_only: role == Role::Primary && set_to_read_only,
        role_limit: parsed(of(Part::Limit), 0)?,
        ..Sample::of(role)
    })
}

/// Unsigned in the server, signed in SQL; 0 stands for none.
fn signed_timeline(row: Option<&Row>, column: usize) -> Result<Option<u32>, FailureKind> {
    let timeline = parsed::<i32>(row, column)?.map(i32::cast_unsigned);
    Ok(timeline.filter(|timeline| *timeline > 0))
}

fn load(row: Option<&Row>) -> Result<Option<Load>, FailureKind> {
    let (sessions, most) = (parsed(row, 0)?, parsed(row, 1)?);
    let (counters, started) = (text(row, 2)?.map(counters), parsed(row, 3)?);
    let reserved = parsed(row, 6)?;
    let Some(counters) = counters.transpose()? else {
        return Ok(None);
    };
    Ok((|| {
        Some(Load {
            sessions: sessions?,
            max_connections: most?,
            reserved_connections: reserved?,
            started: started?,
            ..counters
        })
    })())
}

/// The sums over all databases, in the order in which they are asked for.
fn counters(text: &str) -> Result<Load, FailureKind> {
    let words: Result<Vec<i64>, _> = text.split(' ').map(str::parse).collect();
    let Ok([transactions, returned, changed, databases, resets]) = words.as_deref() else {
        return Err(FailureKind::ProtocolViolation);
    };
    Ok(Load {
        transactions: unsigned(*transactions)?,
        rows_returned: unsigned(*returned)?,
        rows_changed: unsigned(*changed)?,
        databases: unsigned(*databases)?,
        resets: *resets,
        ..Load::default()
    })
}

fn unsigned<T: TryFrom<i64>>(number: i64) -> Result<T, FailureKind> {
    number.try_into().map_err(|_| FailureKind::ProtocolViolation)
}

/// Which server it is, where it lists all sessions of ours, that of the answer among them.
fn instance(load: Option<&Row>, process: i32, started: i64) -> Option<Instance> {
    let listed = load?.text(5).ok()??;
    let ours: Option<Vec<i32>> = listed.split(' ').map(|pid| pid.parse().ok()).collect();
    let ours = ours.filter(|ours| ours.len() <= SESSIONS && ours.contains(&process))?;
    Some(Instance {
        started,
        process,
        ours: ours.into(),
    })
}

/// The answer of a lag query. An error of the query says nothing of the server's health, nor does the loss of the server
/// behind a pooler: the questions before it were answered.
async fn lag(conversation: &mut Conversation, query: &str, within: Duration) -> Result<LagAnswer, Failure> {
    let answers = match conversation.ask(&[query], within).await {
        Ok(answers) => answers,
        Err(failure) if failure.kind == FailureKind::UpstreamLost => {
            return Ok(Err(NoLag::refused("08")));
        }
        Err(failure) => return Err(failure),
    };
    if let Some(state) = &answers.refused {
        return Ok(Err(NoLag::refused(state.code())));
    }
    let value = answers.rows.first().and_then(Option::as_ref);
    Ok(match value.map(|row| row.text(0)) {
        Some(Ok(Some(text))) => seconds(text).ok_or_else(|| NoLag::value(text)),
        Some(Ok(None)) => Err(NoLag::Null),
        Some(Err(_)) | None => Err(NoLag::Nothing),
    })
}

/// A number of seconds. Clocks differ: one that is ahead of the other makes a lag below 0, which is none.
fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok()?;
    let seconds = if seconds < 0.0 { 0.0 } else { seconds };
    Duration::try_from_secs_f64(seconds).ok()
}

fn text(row: Option<&Row>, column: usize) -> Result<Option<&str>, FailureKind> {
    let Some(row) = row else { return Ok(None) };
    row.text(column).map_err(|_| FailureKind::ProtocolViolation)
}

fn parsed<T: std::str::FromStr>(row: Option<&Row>, column: usize) -> Result<Option<T>, FailureKind> {
    let parse = |text: &str| text.parse().map_err(|_| FailureKind::ProtocolViolation);
    text(row, column)?.map(parse).transpose()
}

#[cfg(test)]
mod tests;
