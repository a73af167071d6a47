//! One task looks for all streams that follow the same policies.
//!
//! # Guarantees
//! - Who joins gets a snapshot, and then each change of what is in it: none is left out, and none comes twice.
//! - A change is looked up and written once, whoever many follow.
//! - The task ends when nobody follows any more.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::timeout;

use super::pending::Pending;
use super::{MOST, Streams};
use crate::clock::Clock;
use crate::engine::{Changed, Changes, Follower};
use crate::http_api::problem::Problem;
use distributary_core::Moment;

/// Between two changes: what changes meanwhile is told at once.
const PAUSE: Duration = Duration::from_millis(250);
/// A snapshot is given to all who join within this time, where nothing changes.
const FRESH: Duration = Duration::from_secs(1);
/// Words that a stream may be behind; one that is further behind begins anew.
const BEHIND: usize = 64;

/// Those that look, by what they follow.
pub type Hubs = BTreeMap<Changed, mpsc::Sender<Join>>;

/// Somebody wants to follow.
pub type Join = oneshot::Sender<Result<Joined, Problem>>;

/// What somebody who follows gets.
pub struct Joined {
    pub snapshot: Bytes,
    /// What follows it.
    pub words: broadcast::Receiver<Word>,
}

/// What is told to all who follow.
#[derive(Clone, Debug)]
pub enum Word {
    Change(Bytes),
    /// There is nothing to tell any more.
    End(Problem),
}

/// What a look at everything has found.
pub struct Whole {
    /// For one who begins.
    pub snapshot: Bytes,
    /// For those who know what was told before; `None`: nothing is another one.
    pub change: Option<Bytes>,
}

/// Looks, and remembers what was told.
pub trait Look: Send + 'static {
    /// Looks at everything.
    ///
    /// # Errors
    /// There is nothing to tell any more.
    fn whole(&mut self) -> impl Future<Output = Result<Whole, Problem>> + Send;

    /// Looks at what has changed; `None`: nothing is another one than was told.
    ///
    /// # Errors
    /// There is nothing to tell any more.
    fn changed(&mut self, pending: &Pending) -> impl Future<Output = Result<Option<Bytes>, Problem>> + Send;
}

/// Joins those who follow these policies; where nobody does, `look` looks for them from now on.
///
/// # Errors
/// There is nothing to tell.
pub async fn join<L: Look>(
    streams: &Streams,
    followed: &Changed,
    (clock, changes): (Clock, &Changes),
    look: impl FnOnce() -> L,
) -> Result<Joined, Problem> {
    let (join, joined) = oneshot::channel();
    {
        let mut open = streams.0.lock();
        open.hubs.retain(|_, hub| !hub.is_closed());
        let hub = open.hubs.entry(followed.clone()).or_insert_with(|| {
            let (sender, joins) = mpsc::channel(MOST);
            let hub = Hub {
                streams: streams.clone(),
                followed: followed.clone(),
                clock,
                // Before the first look: what changes meanwhile is told after it.
                changes: changes.follow(),
                look: look(),
                words: broadcast::Sender::new(BEHIND),
                fresh: None,
            };
            tokio::spawn(hub.run(joins));
            sender
        });
        // Each stream asks once at a time: there is room for all.
        let full = |_| Problem::busy("too many streams of events begin: try again");
        hub.try_send(join).map_err(full)?;
    }
    joined.await.unwrap_or_else(|_| Err(Problem::unavailable()))
}

struct Hub<L> {
    streams: Streams,
    followed: Changed,
    clock: Clock,
    changes: Follower,
    look: L,
    words: broadcast::Sender<Word>,
    fresh: Option<(Moment, Bytes)>,
}

impl<L: Look> Hub<L> {
    /// Until nobody follows any more.
    async fn run(mut self, mut joins: mpsc::Receiver<Join>) {
        loop {
            tokio::select! {
                biased;
                join = joins.recv() => match join {
                    Some(join) => self.join(join).await,
                    None => return,
                },
                () = self.words.closed() => if self.ends(&joins) {
                    return;
                },
                changed = self.changes.changed(&self.followed) => self.hear(changed).await,
            }
        }
    }

    /// Whether nobody wants to follow any more; who wants to later gets another one.
    fn ends(&self, joins: &mpsc::Receiver<Join>) -> bool {
        let mut open = self.streams.0.lock();
        let ends = joins.is_empty();
        if ends {
            open.hubs.remove(&self.followed);
        }
        ends
    }

    async fn join(&mut self, join: Join) {
        let snapshot = self.snapshot().await;
        let joined = snapshot.map(|snapshot| Joined {
            snapshot,
            words: self.words.subscribe(),
        });
        // It may have gone meanwhile.
        let _ = join.send(joined);
    }

    async fn snapshot(&mut self) -> Result<Bytes, Problem> {
        let now = self.clock.now();
        if let Some((at, snapshot)) = &self.fresh
            && now.since(*at) < FRESH
        {
            return Ok(snapshot.clone());
        }
        let whole = self.look.whole().await?;
        self.tell(Ok(whole.change));
        self.fresh = Some((now, whole.snapshot.clone()));
        Ok(whole.snapshot)
    }

    async fn hear(&mut self, changed: Changed) {
        let mut pending = Pending::default();
        pending.add(changed);
        let more = async {
            loop {
                pending.add(self.changes.changed(&self.followed).await);
            }
        };
        let _ = timeout(PAUSE, more).await;
        let change = self.look.changed(&pending).await;
        self.tell(change);
    }

    fn tell(&mut self, change: Result<Option<Bytes>, Problem>) {
        let word = match change {
            Ok(None) => return,
            Ok(Some(change)) => Word::Change(change),
            Err(problem) => Word::End(problem),
        };
        self.fresh = None;
        // Nobody may follow any more.
        let _ = self.words.send(word);
    }
}

#[cfg(test)]
mod tests;
