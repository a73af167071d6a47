//! The words in which observations are written.

use std::sync::Arc;
use std::time::Duration;

use super::{Observations, STEP, Silence, Unclear};
use distributary_api::DurationText;
use distributary_core::Moment;
use distributary_core::observation::{FailureKind, Load, Lsn, NoLag, Role, Sample};
use distributary_core::policy::Policy;
use distributary_core::routing::Routing;

/// Of who says nothing of its timeline and its system.
const TIMELINE: u32 = 1;
const SYSTEM: u64 = 7;
/// The position of the log's head before it moves.
const POSITION: u64 = 1000;
/// How far behind one can be said to be.
const LONGEST: Duration = Duration::from_hours(24);
/// What one observation can be repeated.
const MOST_TIMES: u32 = 10_000;

/// What holds of all that is said.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    routing: &'a Routing,
    system: u64,
    /// The longest time by which somebody is said to be behind: so long the log's head moves before the story begins, a
    /// byte each millisecond.
    pub behind: Duration,
}

/// Something that is said of a target at a moment.
#[derive(Clone, Debug)]
pub enum Statement {
    Checked(Result<Sample, FailureKind>),
    Heard(Result<Sample, Silence>),
}

impl<'a> Setting<'a> {
    pub fn of(policy: &'a Policy, seen: &Observations) -> Self {
        let told = seen.checks.values().flatten().filter_map(|text| {
            let (_, behind) = text.split_once("behind ")?;
            DurationText::from(behind.split(' ').next()?).parse()
        });
        Self {
            routing: &policy.routing,
            system: seen.system.unwrap_or(SYSTEM),
            behind: told.filter(|time| *time <= LONGEST).max().unwrap_or_default(),
        }
    }

    /// Where the head is so long after its start. It rests from the first of the story on.
    fn head(self, time: Duration) -> Lsn {
        let moved = u64::try_from(time.min(self.moving()).as_millis()).unwrap_or(u64::MAX);
        Lsn(POSITION.saturating_add(moved))
    }

    fn moving(self) -> Duration {
        if self.behind.is_zero() {
            Duration::ZERO
        } else {
            self.behind + STEP
        }
    }

    /// How the head moves, as a primary tells it.
    pub fn movement(self, step: Duration) -> impl Iterator<Item = (Moment, Statement)> {
        // Nobody behind: nothing moves.
        let times = std::iter::successors(
            Some(Duration::ZERO).filter(|_| !self.behind.is_zero()),
            move |time| Some(*time + step),
        );
        times
            .take_while(move |time| *time <= self.behind)
            .map(move |time| {
                let sample = Sample {
                    lsn: Some(self.head(time)),
                    system_identifier: Some(self.system),
                    timeline: Some(TIMELINE),
                    ..Sample::of(Role::Primary)
                };
                (Moment::new(time), Statement::Checked(Ok(sample)))
            })
    }
}

/// All that is said of one endpoint, each at its moment, and every word that is none.
pub fn said(
    endpoint: &str,
    words: &[String],
    setting: Setting<'_>,
) -> (Vec<(Moment, Statement)>, Vec<Unclear>) {
    let mut now = Moment::new(setting.behind);
    let (mut all, mut unclear) = (Vec::new(), Vec::new());
    for text in words {
        let Some(step) = step(text, setting) else {
            unclear.push(Unclear::Word {
                endpoint: endpoint.to_owned(),
                word: text.clone(),
            });
            continue;
        };
        match step {
            Step::Wait(time) => now = now + time,
            Step::Say(said, times) => {
                for _ in 0..times {
                    now = now + STEP;
                    all.push((now, Statement::clone(&said)));
                }
            }
        }
    }
    (all, unclear)
}

/// What must be written in place of a text that is not understood; it follows the text.
pub fn expected(text: &str) -> &'static str {
    let is_time = |time: &str| DurationText::from(time).parse().is_some();
    let is_behind = |time: &str| {
        DurationText::from(time)
            .parse()
            .is_some_and(|time| time <= LONGEST)
    };
    let (what, _) = text.split_once(" x ").unwrap_or((text, "1"));
    let mut words = what.split(' ').skip_while(|word| *word != "behind").skip(1);
    if text.strip_prefix("wait ").is_some_and(|time| !is_time(time)) {
        ": wait needs a time, such as 40s"
    } else if what.contains(" behind") && !words.next().is_some_and(is_behind) {
        ": behind needs a time of at most 24h, such as 40s"
    } else {
        " must be primary, standby, the name of a failure, 'session …' or 'wait TIME'"
    }
}

/// What one text asks for.
enum Step {
    Wait(Duration),
    /// So many times.
    Say(Box<Statement>, u32),
}

fn step(text: &str, setting: Setting<'_>) -> Option<Step> {
    if let Some(time) = text.strip_prefix("wait ") {
        return Some(Step::Wait(DurationText::from(time).parse()?));
    }
    let (what, count) = text.split_once(" x ").unwrap_or((text, "1"));
    let times = count.parse::<u32>().ok().filter(|times| *times <= MOST_TIMES)?;
    Some(Step::Say(Box::new(one(what, setting)?), times))
}

fn one(text: &str, setting: Setting<'_>) -> Option<Statement> {
    match text.strip_prefix("session ") {
        None => sample(text, setting)
            .map(Ok)
            .or_else(|| FailureKind::from_word(text).map(Err))
            .map(Statement::Checked),
        Some("closes") => Some(Statement::Heard(Err(Silence::Closed))),
        Some("is silent") => Some(Statement::Heard(Err(Silence::Missed))),
        Some(told) => sample(told, setting).map(|sample| Statement::Heard(Ok(sample))),
    }
}

/// `standby`, `primary at 2000 on timeline 2 of system 8`, `standby with 4 sessions`, `standby failing reports`.
fn sample(text: &str, setting: Setting<'_>) -> Option<Sample> {
    let mut words = text.split(' ');
    let role = match words.next()? {
        "primary" => Role::Primary,
        "standby" => Role::Standby,
        _ => return None,
    };
    let mut sample = Sample {
        lsn: Some(setting.head(setting.moving())),
        system_identifier: Some(setting.system),
        timeline: Some(TIMELINE),
        lag: (role == Role::Standby).then_some(Ok(Duration::ZERO)),
        probes: setting
            .routing
            .probe_queries()
            .iter()
            .map(|query| (Arc::clone(query), true))
            .collect(),
        ..Sample::of(role)
    };
    while let Some(word) = words.next() {
        match word {
            "at" => sample.lsn = Some(Lsn(words.next()?.parse().ok()?)),
            "read-only" => sample.read_only = true,
            "untold" => (sample.lsn, sample.timeline) = (None, None),
            "of" => sample.system_identifier = Some(after(&mut words, "system")?.parse().ok()?),
            "on" => sample.timeline = Some(after(&mut words, "timeline")?.parse().ok()?),
            "behind" => {
                let time = DurationText::from(words.next()?).parse()?;
                (time <= LONGEST).then_some(())?;
                sample.lag = Some(Ok(time));
                sample.lsn = Some(setting.head(setting.moving().saturating_sub(time)));
            }
            "answering" => {
                sample.lag = Some(Err(match words.next()? {
                    "NULL" => NoLag::Null,
                    value => NoLag::value(value),
                }));
            }
            "failing" => {
                let class = setting.routing.class(&words.next()?.into())?;
                sample.probes.insert(class.probe_query.clone()?, false);
            }
            "with" => {
                let sessions = words.next()?.parse().ok()?;
                (words.next()? == "sessions").then_some(())?;
                sample.load = Some(Load {
                    sessions,
                    max_connections: 100,
                    transactions: 0,
                    started: 0,
                    ..Load::default()
                });
            }
            _ => return None,
        }
    }
    Some(sample)
}

/// What follows a word that must come next.
fn after<'a>(words: &mut std::str::Split<'a, char>, word: &str) -> Option<&'a str> {
    (words.next()? == word).then_some(())?;
    words.next()
}
