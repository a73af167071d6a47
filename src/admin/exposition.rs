//! The page of metrics: made anew for whoever asks, and no more often than a process can afford.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use distributary_core::Moment;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::task;

use crate::clock::Clock;
use crate::metrics::Metrics;

/// Between the beginnings of two pages.
const PAUSE: Duration = Duration::from_millis(100);

/// Pages in memory at once, each read by any number of clients. While all of them are read slowly, the newest one is given.
const PAGES: usize = 4;

/// Clones share the pages.
/// Clones share the pages.
#[derive(Clone)]
pub(super) struct Exposition(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    clock: Clock,
    places: Arc<Semaphore>,
    newest: Mutex<Newest>,
}

/// The page that was begun last, while somebody reads it.
#[derive(Default)]
struct Newest {
    begun: Option<Moment>,
    page: Weak<Page>,
}

/// What is read, and its place until the last reader is done.
struct Page {
    text: String,
    _place: OwnedSemaphorePermit,
}

struct Reader(Arc<Page>);

impl AsRef<[u8]> for Reader {
    fn as_ref(&self) -> &[u8] {
        self.0.text.as_bytes()
    }
}

impl Exposition {
    pub(super) fn new(metrics: Metrics, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            metrics,
            clock,
            places: Arc::new(Semaphore::new(PAGES)),
            newest: Mutex::default(),
        }))
    }

    /// A page that was begun after this call, which those who wait meanwhile share; the newest one where no place is left.
    ///
    /// # Errors
    /// Only if the page cannot be written, which is a fault of the program.
    pub(super) async fn page(&self) -> io::Result<Bytes> {
        let shared = &*self.0;
        let asked = shared.clock.now();
        let mut newest = shared.newest.lock().await;
        if let Some(begun) = newest.begun {
            if begun > asked
                && let Some(page) = newest.page.upgrade()
            {
                return Ok(Bytes::from_owner(Reader(page)));
            }
            shared.clock.sleep_until(begun + PAUSE).await;
        }
        if shared.places.available_permits() == 0
            && let Some(page) = newest.page.upgrade()
        {
            return Ok(Bytes::from_owner(Reader(page)));
        }
        let place = Arc::clone(&shared.places).acquire_owned().await;
        newest.begun = Some(shared.clock.now());
        let metrics = shared.metrics.clone();
        // With many policies this takes a while, which a task of the routing must not wait for.
        let text = task::spawn_blocking(move || metrics.encode()).await?;
        let page = Arc::new(Page {
            text: text.map_err(io::Error::other)?,
            _place: place.map_err(io::Error::other)?,
        });
        newest.page = Arc::downgrade(&page);
        Ok(Bytes::from_owner(Reader(page)))
    }
}
