//! What a watch has seen, every state with its moment, so that a step can tell when something came true.

use std::fmt::{Debug, Display};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Error, Result, anyhow};
use harness::wait::{self, Stopwatch};
use harness::watch;
use kube::runtime::watcher::Config;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

/// For what takes seconds at most; a busy machine gets its time.
const DEADLINE: Duration = Duration::from_secs(45);
/// Longer than anybody looks.
const FOREVER: Duration = Duration::from_hours(24);

/// The states of a set of objects since the watch began; moments are times of `clock`. Dropping it ends the watch.
pub struct History<S> {
    states: Arc<Mutex<Vec<(Duration, S)>>>,
    task: JoinHandle<()>,
}

impl<S: Clone + Display + PartialEq + Send + 'static> History<S> {
    /// Begins to watch; `read` makes a state of the objects.
    pub fn record<K, F>(clock: Stopwatch, api: Api<K>, config: Config, read: F) -> Self
    where
        K: Resource + Clone + Debug + Send + Sync + Serialize + DeserializeOwned + 'static,
        F: Fn(&[K]) -> S + Send + 'static,
    {
        let states = Arc::default();
        let noted = Arc::clone(&states);
        let task = tokio::spawn(async move {
            let keep = move |objects: &[K]| {
                note(&noted, clock.elapsed(), read(objects));
                false
            };
            // It ends by being aborted.
            let _ = watch::set(&api, config, "the end of the demo", FOREVER, keep).await;
        });
        Self { states, task }
    }

    /// Waits for a state that `check` accepts, in force at `since` or later; returns it and the moment from which on
    /// it was.
    pub async fn until(
        &self,
        what: &str,
        since: Duration,
        check: impl Fn(&S) -> bool,
    ) -> Result<(Duration, S)> {
        let found = wait::eventually(what, DEADLINE, || {
            let first = self.first(since, &check);
            async { first }
        });
        found.await.map_err(|_| self.missed(what))
    }

    /// All states in force at `since` or later, the oldest first.
    pub fn since(&self, since: Duration) -> Vec<S> {
        self.in_force(since).into_iter().map(|(_, state)| state).collect()
    }

    fn first(&self, since: Duration, check: impl Fn(&S) -> bool) -> Option<(Duration, S)> {
        let mut states = self.in_force(since).into_iter();
        let (moment, state) = states.find(|(_, state)| check(state))?;
        Some((moment.max(since), state))
    }

    fn missed(&self, what: &str) -> Error {
        let states = lock(&self.states);
        let last = states.last().map(|(_, state)| state.to_string());
        let seen = last.unwrap_or_else(|| "nothing".to_owned());
        anyhow!("expected within {DEADLINE:?}: {what}; seen: {seen}")
    }

    fn in_force(&self, since: Duration) -> Vec<(Duration, S)> {
        let states = lock(&self.states);
        let later = states.partition_point(|(moment, _)| *moment <= since);
        states[later.saturating_sub(1)..].to_vec()
    }
}

impl<S> Drop for History<S> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note<S: PartialEq>(states: &Mutex<Vec<(Duration, S)>>, now: Duration, state: S) {
    let mut states = lock(states);
    if states.last().is_none_or(|(_, last)| *last != state) {
        states.push((now, state));
    }
}

fn lock<S>(states: &Mutex<Vec<(Duration, S)>>) -> MutexGuard<'_, Vec<(Duration, S)>> {
    states.lock().unwrap_or_else(PoisonError::into_inner)
}
