//! What becomes known of all connections of a server.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What is kept of the bytes that clients say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// All of them.
    Everything,
    /// None, where thousands of clients talk for long.
    Nothing,
}

/// Connections to a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// That are open now.
    pub open: usize,
    /// That were open at once, at most.
    pub most: usize,
    /// That ever were.
    pub ever: usize,
}

pub(crate) struct Connections {
    counts: watch::Sender<Counts>,
    sent: AtomicU64,
    heard: Option<Mutex<Vec<u8>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    open: HashMap<u64, Connection>,
    dead: HashSet<IpAddr>,
}

struct Connection {
    /// The server's address.
    local: IpAddr,
    task: Option<AbortHandle>,
}

impl Connections {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            counts: watch::Sender::default(),
            sent: AtomicU64::new(0),
            heard: (memory == Memory::Everything).then(Mutex::default),
            state: Mutex::default(),
        }
    }

    /// Notes a new connection and numbers it; `None` where the address is dead.
    pub(crate) fn open(&self, local: IpAddr) -> Option<u64> {
        let mut state = self.state();
        if state.dead.contains(&local) {
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.open.insert(number, Connection { local, task: None });
        Some(number)
    }

    /// Notes the task of a connection, if it has not ended yet.
    pub(crate) fn treated_by(&self, number: u64, task: AbortHandle) {
        if let Some(connection) = self.state().open.get_mut(&number) {
            connection.task = Some(task);
        }
    }

    pub(crate) fn began(&self) {
        self.counts.send_modify(|counts| {
            counts.open += 1;
            counts.ever += 1;
            counts.most = counts.most.max(counts.open);
        });
    }

    pub(crate) fn ended(&self, number: u64) {
        self.state().open.remove(&number);
        self.counts.send_modify(|counts| counts.open -= 1);
    }

    /// Ends the connections to addresses for which `which` holds.
    pub(crate) fn close(&self, which: impl Fn(IpAddr) -> bool) {
        let tasks: Vec<_> = {
            let state = self.state();
            let open = state.open.values().filter(|connection| which(connection.local));
            open.filter_map(|connection| connection.task.clone()).collect()
        };
        for task in tasks {
            task.abort();
        }
    }

    pub(crate) fn dies(&self, address: IpAddr, dead: bool) {
        let mut state = self.state();
        if dead {
            state.dead.insert(address);
        } else {
            state.dead.remove(&address);
        }
    }

    pub(crate) fn hear(&self, bytes: &[u8]) {
        if let Some(heard) = &self.heard {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend_from_slice(bytes);
        }
    }

    pub(crate) fn heard(&self) -> Vec<u8> {
        let heard = self.heard.as_ref().expect("nothing is remembered");
        heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn say(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
