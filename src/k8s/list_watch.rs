//! Lists objects and then watches them, without end: a stream of what the API server shows.
//!
//! | position | what happens | next position |
//! |---|---|---|
//! | Unlisted | | Listing, with `Init` |
//! | Listing | a page is read | Listing, with its objects; after the last page Listed, with `InitDone` |
//! | Listing | a failure | Unlisted |
//! | Listed | the watch begins | Watching |
//! | Listed | it does not begin | Listed |
//! | Watching | an object, or a bookmark | Watching, from its version on |
//! | Watching | the watch ends, as it was asked to, or is silent or broken | Listed |
//! | Listed, Watching | the server no longer knows the version, or has no such resource | Unlisted |
//!
//! # Guarantees
//! - A page and the start of a watch have deadlines. A watch ends after about 20 s, and is resumed where it ended; one of
//!   which nothing is heard for 25 s is given up and resumed. Nothing but a version that the server does not know leads to
//!   another list: the bookmark that ends every watch keeps the version young.
//! - Of a list, one page is in memory at a time, and a page is bounded in objects and in bytes.
//! - A failure is reported and never an item of the stream; what was shown before it stands.

mod failure;
mod pages;

use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::error::CallError;
use super::patience::Patience;
use crate::clock::Clock;
use distributary_core::moment::Moment;
pub use failure::Failure;
use pages::{PageSize, read_page};

/// A watch begins within this time, or has failed.
const START: Duration = Duration::from_secs(10);
/// The server is asked to end a watch after this many seconds: at least, and at most.
const SECONDS: (u64, u64) = (18, 22);
/// A watch that has shown nothing for so long, not even its end, is given up.
const SILENCE: Duration = Duration::from_secs(25);
/// A watch that ends sooner than this has failed: to begin it again at once would keep the server busy.
const SHORT: Duration = Duration::from_secs(1);

/// Which objects of a kind are shown; without selectors all.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub labels: Option<String>,
    pub fields: Option<String>,
}

impl Selection {
    #[must_use]
    pub fn labels(labels: String) -> Self {
        Self {
            labels: Some(labels),
            fields: None,
        }
    }

    #[must_use]
    pub fn name(name: &str) -> Self {
        Self {
            labels: None,
            fields: Some(format!("metadata.name={name}")),
        }
    }
}

/// How a watch fares.
#[derive(Debug)]
pub enum Report<'a> {
    /// The server answers: a list has ended, or a watch has begun.
    Heard,
    /// It is tried again after a while.
    Failed(&'a Failure),
}

/// Lists and watches the objects of `api`; `report` hears how it fares, `patience` says how long to wait after a failure.
pub fn list_watch<K>(
    api: Api<K>,
    selection: Selection,
    patience: Patience,
    report: impl Fn(Report<'_>) + Send + 'static,
) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let state = ListWatch {
        api,
        selection,
        patience,
        report,
        clock: Clock::new(),
        pages: PageSize::default(),
        position: Position::Unlisted,
    };
    futures::stream::unfold(state, |mut state| async {
        let event = state.next().await;
        Some((event, state))
    })
}

struct ListWatch<K, R> {
    api: Api<K>,
    selection: Selection,
    patience: Patience,
    report: R,
    clock: Clock,
    pages: PageSize,
    position: Position<K>,
}

enum Position<K> {
    Unlisted,
    Listing {
        objects: VecDeque<K>,
        /// Where the next page begins; an empty one is the first.
        next: Next,
    },
    Listed {
        version: String,
    },
    Watching {
        version: String,
        since: Moment,
        events: BoxStream<'static, Result<WatchEvent<K>, kube::Error>>,
    },
}

enum Next {
    Page(Option<String>),
    /// The list is complete, as it was at this version.
    Done(String),
}

impl<K, R> ListWatch<K, R>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    R: Fn(Report<'_>),
{
    async fn next(&mut self) -> Event<K> {
        loop {
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(failure) => {
                    self.position = self.after(&failure);
                    (self.report)(Report::Failed(&failure));
                    Clock::sleep(self.patience.wait()).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Event<K>>, Failure> {
        match &mut self.position {
            Position::Unlisted => {
                self.position = Position::Listing {
                    objects: VecDeque::new(),
                    next: Next::Page(None),
                };
                Ok(Some(Event::Init))
            }
            Position::Listing { objects, next } => {
                if let Some(object) = objects.pop_front() {
                    return Ok(Some(Event::InitApply(object)));
                }
                let next = std::mem::replace(next, Next::Page(None));
                self.list(next).await
            }
            Position::Listed { version } => {
                let version = version.clone();
                self.begin(version).await
            }
            Position::Watching { events, .. } => {
                let Ok(event) = tokio::time::timeout(SILENCE, events.next()).await else {
                    return Err(Failure::Silent(SILENCE));
                };
                self.watch(event)
            }
        }
    }

    async fn list(&mut self, next: Next) -> Result<Option<Event<K>>, Failure> {
        let from = match next {
            Next::Page(from) => from,
            Next::Done(version) => {
                self.position = Position::Listed { version };
                (self.report)(Report::Heard);
                return Ok(Some(Event::InitDone));
            }
        };
        let params = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            continue_token: from,
            ..ListParams::default()
        };
        let page = read_page(&self.api, params, &mut self.pages)
            .await
            .map_err(Failure::List)?;
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let next = match (
            text(page.metadata.continue_),
            text(page.metadata.resource_version),
        ) {
            (Some(more), _) => Next::Page(Some(more)),
            (None, Some(version)) => Next::Done(version),
            (None, None) => return Err(Failure::NoVersion),
        };
        self.position = Position::Listing {
            objects: page.objects,
            next,
        };
        Ok(None)
    }

    async fn begin(&mut self, version: String) -> Result<Option<Event<K>>, Failure> {
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(seconds()),
            ..WatchParams::default()
        };
        let events = match tokio::time::timeout(START, self.api.watch(&params, &version)).await {
            Ok(events) => events.map_err(CallError::from),
            Err(_) => Err(CallError::Deadline(START)),
        };
        self.position = Position::Watching {
            events: events.map_err(Failure::Watch)?.boxed(),
            since: self.clock.now(),
            version,
        };
        (self.report)(Report::Heard);
        Ok(None)
    }

    fn watch(
        &mut self,
        event: Option<Result<WatchEvent<K>, kube::Error>>,
    ) -> Result<Option<Event<K>>, Failure> {
        let Position::Watching { version, since, .. } = &mut self.position else {
            return Ok(None);
        };
        let Some(event) = event else {
            if self.clock.now().since(*since) < SHORT {
                return Err(Failure::Short);
            }
            self.patience.reset();
            let version = std::mem::take(version);
            self.position = Position::Listed { version };
            return Ok(None);
        };
        let (event, at) = match event.map_err(|error| Failure::Watch(error.into()))? {
            WatchEvent::Bookmark(bookmark) => (None, Some(bookmark.metadata.resource_version)),
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                let at = object.resource_version();
                (Some(Event::Apply(object)), at)
            }
            WatchEvent::Deleted(object) => {
                let at = object.resource_version();
                (Some(Event::Delete(object)), at)
            }
            WatchEvent::Error(status) => return Err(Failure::Watch(CallError::Refused(status))),
        };
        *version = at.filter(|at| !at.is_empty()).ok_or(Failure::NoVersion)?;
        self.patience.reset();
        Ok(event)
    }

    /// Where to go on after a failure.
    fn after(&mut self, failure: &Failure) -> Position<K> {
        match std::mem::replace(&mut self.position, Position::Unlisted) {
            Position::Listed { version } | Position::Watching { version, .. } if !failure.lists_anew() => {
                Position::Listed { version }
            }
            _ => Position::Unlisted,
        }
    }
}

/// For how long a watch is asked for: a random number, so that watches do not all end at once.
fn seconds() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    let (least, most) = SECONDS;
    u32::try_from(least + random % (most - least + 1)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
