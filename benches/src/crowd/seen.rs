//! What a watch sees of the routes of a crowd.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The routes as they were seen last, shared with the watch.
#[derive(Clone, Default)]
pub struct SharedRoutes(Arc<Mutex<Routes>>);

#[derive(Default)]
struct Routes {
    by_service: HashMap<String, BTreeSet<Ipv4Addr>>,
    readers: usize,
    writers: usize,
    /// When an address left a route of reads.
    left: Vec<(Instant, Ipv4Addr)>,
    /// When a route of writes led to others than before, and to whom.
    moved: Vec<(Instant, String, BTreeSet<Ipv4Addr>)>,
}

impl SharedRoutes {
    /// A Service leads to these addresses now.
    pub fn take(&self, service: &str, now: BTreeSet<Ipv4Addr>) {
        let mut routes = self.routes();
        let before = routes
            .by_service
            .insert(service.to_owned(), now.clone())
            .unwrap_or_default();
        if service.ends_with("-ro") {
            let at = Instant::now();
            routes
                .left
                .extend(before.difference(&now).map(|address| (at, *address)));
            routes.readers = routes.readers + now.len() - before.len();
        } else if service.ends_with("-rw") {
            routes.writers = routes.writers + now.len() - before.len();
            if now != before {
                routes.moved.push((Instant::now(), service.to_owned(), now));
            }
        }
    }

    /// How many addresses take reads, and how many take writes.
    pub fn routed(&self) -> (usize, usize) {
        let routes = self.routes();
        (routes.readers, routes.writers)
    }

    /// When this address first left a route of reads, from `since` on.
    pub fn left(&self, address: Ipv4Addr, since: Instant) -> Option<Instant> {
        let routes = self.routes();
        let mut left = routes.left.iter();
        left.find(|(at, who)| *at >= since && *who == address)
            .map(|(at, _)| *at)
    }

    /// How many addresses left a route of reads since then.
    pub fn left_since(&self, since: Instant) -> usize {
        let routes = self.routes();
        routes.left.iter().filter(|(at, _)| *at >= since).count()
    }

    /// The routes of writes that led to others than before since then, and to whom.
    pub fn moved_since(&self, since: Instant) -> Vec<String> {
        let routes = self.routes();
        let moved = routes.moved.iter().filter(|(at, ..)| *at >= since);
        moved
            .map(|(_, service, now)| format!("{service} led to {now:?}"))
            .collect()
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
