//! Medians, tables, JSON.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Times of the same thing, measured again and again; `None` is one that was waited for in vain.
#[derive(Clone, Debug, Default)]
pub struct Times(Vec<Option<Duration>>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Option<Duration>) {
        self.0.push(time);
    }

    /// The time that this share of them did not exceed, 0 to 1; those in vain are longer than all others.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<_> = self.0.iter().map(|time| time.unwrap_or(Duration::MAX)).collect();
        sorted.sort();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "some thousands at most"
        )]
        let rank = (share * sorted.len() as f64).ceil() as usize;
        let time = *sorted.get(rank.max(1) - 1)?;
        (time != Duration::MAX).then_some(time)
    }

    /// The median.
    #[must_use]
    pub fn median(&self) -> Option<Duration> {
        self.quantile(0.5)
    }

    /// The longest.
    #[must_use]
    pub fn worst(&self) -> Option<Duration> {
        self.quantile(1.0)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// All of it, in milliseconds.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "runs": self.count(),
            "unseen": self.0.iter().filter(|time| time.is_none()).count(),
            "medianMs": self.median().map(milliseconds),
            "p90Ms": self.quantile(0.9).map(milliseconds),
            "p95Ms": self.quantile(0.95).map(milliseconds),
            "worstMs": self.worst().map(milliseconds),
            "allMs": self.0.iter().map(|time| time.map(milliseconds)).collect::<Vec<_>>(),
        })
    }
}

/// Milliseconds, with microseconds behind the point.
#[must_use]
pub fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// A time for people; `none` where it was waited for in vain.
#[must_use]
pub fn show(time: Option<Duration>) -> String {
    match time {
        None => "none".to_owned(),
        Some(time) if time < Duration::from_secs(1) => format!("{:.1} ms", milliseconds(time)),
        Some(time) => format!("{:.2} s", time.as_secs_f64()),
    }
}

/// Prints rows with aligned columns; the first row is the head.
pub fn table(rows: &[Vec<String>]) {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<_> = cells.map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("{}", line.join("  ").trim_end());
    }
}

/// Says whether an aim was met.
pub fn aim(what: &str, met: Option<bool>) {
    let word = match met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "not measured",
    };
    println!("aim: {what}: {word}");
}

/// Writes `target/bench/NAME.json`, with what ran where, and says so.
///
/// # Errors
/// When it cannot be written.
pub fn save(name: &str, mut result: Value) -> Result<()> {
    result["machine"] = machine();
    let path = file(&format!("{name}.json"))?;
    fs::write(&path, format!("{result:#}\n")).with_context(|| format!("write {}", path.display()))?;
    println!("results in {}", path.display());
    Ok(())
}

/// A file of this name below `target/bench/`.
///
/// # Errors
/// When the directory cannot be made.
pub fn file(name: &str) -> Result<PathBuf> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| crate::root().join("target"), PathBuf::from);
    let directory = target.join("bench");
    fs::create_dir_all(&directory)?;
    Ok(directory.join(name))
}

/// Cores, processor, memory and kernel of this machine.
#[must_use]
pub fn machine() -> Value {
    // Of the machine, not those that this process keeps to.
    let processors = fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_core = |line: &&str| {
        let rest = line.strip_prefix("cpu");
        rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    let cores = processors.lines().filter(is_core).count();
    let line = |file: &str, start: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(start));
        line.map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned())
    };
    json!({
        "cores": cores,
        "processor": line("/proc/cpuinfo", "model name"),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
    })
}
