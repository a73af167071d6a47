//! The words in which observations are written.

use std::time::Duration;

use super::{STEP, Silence, Unclear};
use crate::api::DurationText;
use crate::domain::Moment;
use crate::domain::observation::{FailureKind, Load, Lsn, Role, Sample};

/// Of who says nothing of its position, its timeline and its system.
const POSITION: u64 = 1000;
const TIMELINE: u32 = 1;
const SYSTEM: u64 = 7;
/// What one observation can be repeated.
const MOST_TIMES: u32 = 10_000;

/// Something that is said of a target at a moment.
#[derive(Clone, Debug)]
pub enum Said {
    Checked(Result<Sample, FailureKind>),
    Heard(Result<Sample, Silence>),
}

/// All that is said of one endpoint, each at its moment.
pub fn said(endpoint: &str, words: &[String], system: Option<u64>) -> Result<Vec<(Moment, Said)>, Unclear> {
    let system = system.unwrap_or(SYSTEM);
    let mut now = Moment::default();
    let mut all = Vec::new();
    for text in words {
        let unclear = || Unclear::Word {
            endpoint: endpoint.to_owned(),
            word: text.clone(),
        };
        if let Some(time) = text.strip_prefix("wait ") {
            now = now + DurationText::from(time).parse().ok_or_else(unclear)?;
            continue;
        }
        let (what, count) = text.split_once(" x ").unwrap_or((text, "1"));
        let times = count.parse::<u32>().ok().filter(|times| *times <= MOST_TIMES);
        let said = one(what, system).ok_or_else(unclear)?;
        for _ in 0..times.ok_or_else(unclear)? {
            now = now + STEP;
            all.push((now, said.clone()));
        }
    }
    Ok(all)
}

fn one(text: &str, system: u64) -> Option<Said> {
    match text.strip_prefix("session ") {
        None => sample(text, system)
            .map(Ok)
            .or_else(|| FailureKind::named(text).map(Err))
            .map(Said::Checked),
        Some("closes") => Some(Said::Heard(Err(Silence::Closed))),
        Some("is silent") => Some(Said::Heard(Err(Silence::Missed))),
        Some(told) => sample(told, system).map(|sample| Said::Heard(Ok(sample))),
    }
}

/// `standby`, `primary at 2000 on timeline 2 of system 8`, `standby with 4 sessions`.
fn sample(text: &str, system: u64) -> Option<Sample> {
    let mut words = text.split(' ');
    let role = match words.next()? {
        "primary" => Role::Primary,
        "standby" => Role::Standby,
        _ => return None,
    };
    let mut sample = Sample {
        lsn: Some(Lsn(POSITION)),
        system_identifier: Some(system),
        timeline: Some(TIMELINE),
        lag: (role == Role::Standby).then_some(Duration::ZERO),
        ..Sample::of(role)
    };
    while let Some(word) = words.next() {
        match word {
            "at" => sample.lsn = Some(Lsn(words.next()?.parse().ok()?)),
            "untold" => (sample.lsn, sample.timeline) = (None, None),
            "of" => sample.system_identifier = Some(after(&mut words, "system")?.parse().ok()?),
            "on" => sample.timeline = Some(after(&mut words, "timeline")?.parse().ok()?),
            "behind" => sample.lag = Some(DurationText::from(words.next()?).parse()?),
            "with" => {
                let sessions = words.next()?.parse().ok()?;
                (words.next()? == "sessions").then_some(())?;
                sample.load = Some(Load {
                    sessions,
                    max_connections: 100,
                    transactions: 0,
                    started: 0,
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
