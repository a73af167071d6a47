//! A client of the policy: it reads through the Service all the time.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::Reader;
use harness::reader::Totals;

use crate::cast::{Cast, PRIMARY, REPLICAS};
use crate::screen::{Time, list, say};

const PER_SECOND: u32 = 40;
/// So many reads in a row say where reads go.
const IN_A_ROW: u64 = 40;
const DEADLINE: Duration = Duration::from_secs(45);

/// A steady reader that knows the servers by name.
pub struct Reads {
    reader: Reader,
    cast: Cast,
    /// The failures that were printed.
    told: Cell<u64>,
}

/// Reads by server, and those that failed.
#[derive(Clone, Default)]
struct Counts {
    by_server: BTreeMap<String, u64>,
    failures: u64,
}

impl Reads {
    pub fn start(target: SocketAddr, cast: Cast) -> Self {
        Self {
            reader: Reader::builder(target).rate(PER_SECOND).start(),
            cast,
            told: Cell::default(),
        }
    }

    /// Waits until 40 reads in a row were answered by these servers, by each of them and by no other.
    pub async fn settle(&self, servers: &[&str]) -> Result<()> {
        let mut base = self.counts(&self.reader.totals());
        let what = format!("{IN_A_ROW} reads in a row to be answered by {}", list(servers));
        let settled = |totals: &Totals| {
            let now = self.counts(totals);
            let row = now.since(&base);
            if row.failures > 0 || !row.only_of(servers) {
                base = now;
                return Err(format!("interrupted by {row}"));
            }
            let enough = row.reads() >= IN_A_ROW && row.by_server.len() == servers.len();
            if enough { Ok(row) } else { Err(row.to_string()) }
        };
        let row = self.reader.until(&what, DEADLINE, settled).await?;
        let failures = self.reader.totals().failures;
        let failed = failures - self.told.replace(failures);
        let answered = row.reads();
        say(&format!(
            "reads: {failed} failed, then {answered} in a row were answered: {row}"
        ));
        Ok(())
    }

    /// Stops to read and prints the totals. Every server must have answered some reads.
    pub fn end(self) -> Result<()> {
        let totals = self.reader.stop();
        let by_server = named(&self.cast, &totals);
        say(&format!(
            "reads answered: {} ({})",
            totals.reads,
            counted(&by_server)
        ));
        say(&format!(
            "reads failed: {} ({})",
            totals.failures,
            counted(&totals.by_error)
        ));
        say(&format!(
            "longest time without an answer: {}",
            Time(totals.longest_gap)
        ));
        for server in std::iter::once(PRIMARY).chain(REPLICAS) {
            ensure!(
                by_server.contains_key(server),
                "expected that {server} answered some reads; seen: {totals:?}"
            );
        }
        Ok(())
    }

    fn counts(&self, totals: &Totals) -> Counts {
        Counts {
            by_server: named(&self.cast, totals),
            failures: totals.failures,
        }
    }
}

impl Counts {
    /// What was counted after `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        let new = |(name, count): (&String, &u64)| {
            let before = earlier.by_server.get(name).copied().unwrap_or_default();
            (*count > before).then(|| (name.clone(), count - before))
        };
        Self {
            by_server: self.by_server.iter().filter_map(new).collect(),
            failures: self.failures - earlier.failures,
        }
    }

    fn reads(&self) -> u64 {
        self.by_server.values().sum()
    }

    fn only_of(&self, servers: &[&str]) -> bool {
        self.by_server.keys().all(|name| servers.contains(&name.as_str()))
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&counted(&self.by_server))?;
        if self.failures > 0 {
            write!(formatter, ", {} failed", self.failures)?;
        }
        Ok(())
    }
}

fn named(cast: &Cast, totals: &Totals) -> BTreeMap<String, u64> {
    let named = |(server, count): (&std::net::Ipv4Addr, &u64)| (cast.name(&server.to_string()), *count);
    totals.by_server.iter().map(named).collect()
}

fn counted(counts: &BTreeMap<String, u64>) -> String {
    list(counts.iter().map(|(name, count)| format!("{name} {count}")))
}
