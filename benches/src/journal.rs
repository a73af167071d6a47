//! Who said when that a server is down, or up again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use harness::wait;

/// What a contestant said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// This server gets no reads.
    Down(Ipv4Addr),
    /// This server gets reads.
    Up(Ipv4Addr),
    /// These servers get the writes.
    Writes(BTreeSet<Ipv4Addr>),
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    who: &'static str,
    said: Statement,
}

/// All that was said, in the order of the moments at which it was read.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Vec<Entry>>>);

impl Journal {
    /// Adds what `who` has just said.
    pub fn add(&self, who: &'static str, said: Statement) {
        let at = Instant::now();
        self.entries().push(Entry { at, who, said });
    }

    /// When `who` first said this, from `since` on.
    #[must_use]
    pub fn first(&self, who: &str, said: &Statement, since: Instant) -> Option<Instant> {
        let entries = self.entries();
        let found = entries
            .iter()
            .find(|entry| entry.who == who && entry.at >= since && entry.said == *said);
        found.map(|entry| entry.at)
    }

    /// Whether the last word of `who` on this server, by `at`, is that it is up.
    #[must_use]
    pub fn is_up(&self, who: &str, server: Ipv4Addr, at: Instant) -> bool {
        let (up, down) = (Statement::Up(server), Statement::Down(server));
        let entries = self.entries();
        let mut words = entries
            .iter()
            .rev()
            .filter(|entry| entry.who == who && entry.at < at);
        words
            .find(|entry| entry.said == up || entry.said == down)
            .is_some_and(|entry| entry.said == up)
    }

    /// How often `who` said since then that a server is down.
    #[must_use]
    pub fn downs(&self, who: &str, since: Instant) -> usize {
        let entries = self.entries();
        let said = entries
            .iter()
            .filter(|entry| entry.who == who && entry.at >= since);
        said.filter(|entry| matches!(entry.said, Statement::Down(_)))
            .count()
    }

    /// Which servers `who` took out since then, and when.
    #[must_use]
    pub fn taken_out(&self, who: &str, since: Instant) -> Vec<(Instant, Ipv4Addr)> {
        let entries = self.entries();
        let said = entries
            .iter()
            .filter(|entry| entry.who == who && entry.at >= since);
        said.filter_map(|entry| match entry.said {
            Statement::Down(server) => Some((entry.at, server)),
            _ => None,
        })
        .collect()
    }

    /// All sets of servers that took writes since then, as `who` saw them.
    #[must_use]
    pub fn writes(&self, who: &str, since: Instant) -> Vec<BTreeSet<Ipv4Addr>> {
        let entries = self.entries();
        let said = entries
            .iter()
            .filter(|entry| entry.who == who && entry.at >= since);
        said.filter_map(|entry| match &entry.said {
            Statement::Writes(servers) => Some(servers.clone()),
            _ => None,
        })
        .collect()
    }

    /// Waits until all of `who` have said this since then; those who have not after `deadline` have not.
    pub async fn all_said(
        &self,
        who: &[&'static str],
        said: &Statement,
        since: Instant,
        deadline: Duration,
    ) -> bool {
        let all = || async { who.iter().all(|who| self.first(who, said, since).is_some()) };
        wait::eventually("everybody's word", deadline, all).await.is_ok()
    }

    /// Waits until all of `who` say that this server is up.
    ///
    /// # Errors
    /// After `deadline`: the message names those who do not.
    pub async fn all_up(&self, who: &[&'static str], server: Ipv4Addr, deadline: Duration) -> Result<()> {
        let all = || async {
            let now = Instant::now();
            let missing = who.iter().filter(|who| !self.is_up(who, server, now));
            let missing: Vec<_> = missing.copied().collect();
            if missing.is_empty() {
                Ok(())
            } else {
                Err(format!("not so for {}", missing.join(", ")))
            }
        };
        wait::eventually(&format!("{server} to be up"), deadline, all).await
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
