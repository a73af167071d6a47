//! The page of metrics: made anew for whoever asks, one at a time, and at most half of the time.

use std::io;
use std::sync::Arc;
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
const PAGES: usize = 5;

/// Clones share the pages.
#[derive(Clone)]
pub struct Exposition(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    clock: Clock,
    places: Arc<Semaphore>,
    newest: Arc<Mutex<Newest>>,
}

/// The page that was begun last.
#[derive(Default)]
struct Newest {
    begun: Moment,
    /// The next one may begin.
    rested: Moment,
    page: Option<Arc<Page>>,
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
    #[must_use]
    pub fn new(metrics: Metrics, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            metrics,
            clock,
            places: Arc::new(Semaphore::new(PAGES)),
            newest: Arc::default(),
        }))
    }

    /// A page that was begun after this call, which those who wait meanwhile share; the newest one where no place is left.
    ///
    /// # Errors
    /// Only if the page cannot be written, which is a fault of the program.
    pub async fn page(&self) -> io::Result<Bytes> {
        let (metrics, clock) = (self.0.metrics.clone(), self.0.clock);
        let asked = clock.now();
        let mut newest = Arc::clone(&self.0.newest).lock_owned().await;
        if newest.begun > asked
            && let Some(page) = &newest.page
        {
            return Ok(Bytes::from_owner(Reader(Arc::clone(page))));
        }
        clock.sleep_until(newest.rested).await;
        let places = &self.0.places;
        if places.available_permits() == 0 {
            // One that nobody reads any more gives its place up.
            drop(newest.page.take_if(|page| Arc::strong_count(page) == 1));
            if let Some(page) = &newest.page {
                return Ok(Bytes::from_owner(Reader(Arc::clone(page))));
            }
        }
        let place = Arc::clone(places).acquire_owned().await;
        let place = place.map_err(io::Error::other)?;
        // With many policies this takes a while, which a task of the routing must not wait for; and it goes on when who asked has
        // gone, with its place and its turn.
        let made = task::spawn_blocking(move || {
            let begun = clock.now();
            let text = metrics.encode().map_err(io::Error::other)?;
            let ended = clock.now();
            let page = Arc::new(Page { text, _place: place });
            *newest = Newest {
                begun,
                rested: (begun + PAUSE).max(ended + ended.since(begun)),
                page: Some(Arc::clone(&page)),
            };
            Ok(Bytes::from_owner(Reader(page)))
        });
        made.await?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Board, CheckCounts};

    #[tokio::test(start_paused = true)]
    async fn pages_are_shared_by_those_who_wait_and_where_they_are_read_slowly() {
        let metrics = Metrics::new(Board::default(), &CheckCounts::default(), Clock::new(), true);
        let exposition = Exposition::new(metrics.clone(), Clock::new());
        let page = async || exposition.page().await.unwrap();
        let undone = |page: &[u8]| {
            let text = str::from_utf8(page).unwrap();
            let line = text.lines().find(|line| line.contains("undone_writes_total "));
            line.unwrap().to_owned()
        };
        let mut held = vec![page().await];
        metrics.undone();
        // Begun before they asked, so it is not theirs; all three wait for the same one.
        let (one, two, three) = tokio::join!(page(), page(), page());
        assert_ne!(undone(&one), undone(&held[0]));
        assert_eq!((two.as_ptr(), three.as_ptr()), (one.as_ptr(), one.as_ptr()));
        drop((two, three));
        held.extend([one, page().await, page().await, page().await]);
        metrics.undone();
        let newest = page().await;
        assert_eq!(
            newest.as_ptr(),
            held[4].as_ptr(),
            "there are more pages than places"
        );
        // One that nobody reads any more makes room.
        held.remove(0);
        drop(newest);
        assert_ne!(undone(&page().await), undone(&held[3]));
    }
}
