//! Simulated PostgreSQL servers: a log of timelines each, and standbys that follow who has all of theirs.

use std::net::IpAddr;
use std::time::Duration;

use distributary_core::observation::{Load, Lsn, Role, Sample};

/// Where every log begins, in bytes.
const BEGIN: u64 = 1 << 30;
/// What a primary writes, in bytes a millisecond.
const RATE: u64 = 1_000;
/// The first database of all.
pub const SYSTEM: u64 = 7;

#[derive(Clone, Debug)]
pub struct Server {
    pub up: bool,
    pub frozen: bool,
    pub stalled: bool,
    pub role: Role,
    pub identifier: u64,
    /// The timelines of its log, and where each begins; the last one is its own.
    history: Vec<(u32, u64)>,
    lsn: u64,
    /// Of a standby: whom it follows.
    upstream: usize,
    /// How often it was started.
    starts: i64,
}

impl Server {
    pub fn timeline(&self) -> u32 {
        self.history.last().map_or(1, |(timeline, _)| *timeline)
    }

    pub fn answers(&self) -> bool {
        self.up && !self.frozen
    }

    pub fn is_primary(&self) -> bool {
        self.role == Role::Primary
    }

    /// Whether the log of `self` is the beginning of that of `other`.
    fn is_prefix_of(&self, other: &Self) -> bool {
        let timeline = self.timeline();
        let Some(at) = other.history.iter().position(|(theirs, _)| *theirs == timeline) else {
            return false;
        };
        let end = other.history.get(at + 1).map_or(other.lsn, |(_, begin)| *begin);
        self.identifier == other.identifier && self.history[..] == other.history[..=at] && self.lsn <= end
    }
}

#[derive(Debug)]
pub struct Servers {
    all: Vec<Server>,
    monitor: bool,
    at: Duration,
    newest: u32,
    /// Since when each follows a server of the first database that takes writes.
    following: Vec<Option<Duration>>,
}

/// The addresses of the servers, in their order.
pub fn address(server: usize) -> IpAddr {
    // Of two families, so that a move of the writes takes two slices: one loses a server, and one gains one.
    match server {
        0 => [198, 18, 0, 1].into(),
        1 => [198, 18, 0, 2].into(),
        _ => [0x2001, 0xdb8, 0, 0, 0, 0, 0, 3].into(),
    }
}

impl Servers {
    /// A primary and two standbys that follow it.
    pub fn new(monitor: bool) -> Self {
        let server = |role| Server {
            up: true,
            frozen: false,
            stalled: false,
            role,
            identifier: SYSTEM,
            history: vec![(1, BEGIN)],
            lsn: BEGIN,
            upstream: 0,
            starts: 1,
        };
        Self {
            all: vec![
                server(Role::Primary),
                server(Role::Standby),
                server(Role::Standby),
            ],
            monitor,
            at: Duration::ZERO,
            newest: 1,
            following: vec![None; 3],
        }
    }

    pub fn get(&self, server: usize) -> &Server {
        &self.all[server]
    }

    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// Lets logs grow until `now`.
    pub fn advance(&mut self, now: Duration) {
        let passed = u64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(0);
        if passed == 0 {
            return;
        }
        self.at = now;
        for server in &mut self.all {
            if server.answers() && server.is_primary() {
                server.lsn += passed * RATE;
            }
        }
        // Twice: a standby may follow a standby.
        for _ in 0..2 {
            for id in 0..self.all.len() {
                self.replay(id);
            }
        }
        for id in 0..self.all.len() {
            let upstream = &self.all[self.all[id].upstream];
            let follows = self.streams(id) && upstream.is_primary() && upstream.identifier == SYSTEM;
            self.following[id] = self.following[id].or(Some(now)).filter(|_| follows);
        }
    }

    /// Whether it has followed long enough for everybody to know.
    pub fn is_well(&self, id: usize) -> bool {
        let known = Duration::from_secs(40);
        self.following[id].is_some_and(|since| self.at.saturating_sub(since) > known)
    }

    fn replay(&mut self, id: usize) {
        if self.streams(id) && !self.all[id].stalled {
            let upstream = &self.all[self.all[id].upstream];
            let (history, lsn) = (upstream.history.clone(), upstream.lsn);
            (self.all[id].history, self.all[id].lsn) = (history, lsn);
        }
    }

    fn streams(&self, id: usize) -> bool {
        let server = &self.all[id];
        let upstream = &self.all[server.upstream];
        server.role == Role::Standby
            && server.upstream != id
            && server.answers()
            && upstream.answers()
            && server.is_prefix_of(upstream)
    }

    pub fn crash(&mut self, id: usize) {
        self.all[id].up = false;
    }

    pub fn start(&mut self, id: usize) {
        if !self.all[id].up {
            self.all[id].up = true;
            self.all[id].starts += 1;
        }
    }

    pub fn freeze(&mut self, id: usize, frozen: bool) {
        self.all[id].frozen = frozen;
    }

    pub fn stall(&mut self, id: usize, stalled: bool) {
        self.all[id].stalled = stalled;
    }

    /// Whether it could be promoted.
    pub fn promote(&mut self, id: usize) -> bool {
        if !self.all[id].answers() || self.all[id].is_primary() {
            return false;
        }
        self.newest += 1;
        let (timeline, lsn) = (self.newest, self.all[id].lsn);
        self.all[id].role = Role::Primary;
        self.all[id].history.push((timeline, lsn));
        true
    }

    /// It is a standby of `onto` from now on, rewound or copied.
    pub fn rejoin(&mut self, id: usize, onto: usize) {
        if id == onto || !self.all[onto].answers() {
            return;
        }
        let (identifier, history, lsn) = {
            let onto = &self.all[onto];
            (onto.identifier, onto.history.clone(), onto.lsn)
        };
        let starts = self.all[id].starts;
        // Who follows already does not start anew for another upstream.
        let follows = self.all[id].role == Role::Standby && self.all[id].is_prefix_of(&self.all[onto]);
        let server = &mut self.all[id];
        server.upstream = onto;
        if follows && server.up {
            return;
        }
        *server = Server {
            up: true,
            frozen: false,
            stalled: false,
            role: Role::Standby,
            identifier,
            history,
            lsn,
            upstream: onto,
            starts: starts + 1,
        };
    }

    pub fn empty(&mut self, id: usize) {
        let server = &mut self.all[id];
        *server = Server {
            up: true,
            frozen: false,
            stalled: false,
            role: Role::Primary,
            identifier: server.identifier + 1 + id as u64,
            history: vec![(1, BEGIN)],
            lsn: BEGIN,
            upstream: id,
            starts: server.starts + 1,
        };
    }

    /// What it says of itself.
    pub fn sample(&self, id: usize) -> Sample {
        let server = &self.all[id];
        let standby = server.role == Role::Standby;
        Sample {
            lsn: Some(Lsn(server.lsn)),
            received: standby.then_some(Lsn(server.lsn)),
            system_identifier: Some(server.identifier),
            timeline: if standby {
                (self.monitor && self.streams(id)).then(|| server.timeline())
            } else {
                Some(server.timeline())
            },
            checkpoint_timeline: Some(server.timeline()),
            load: Some(Load {
                sessions: 1,
                max_connections: 100,
                transactions: 0,
                started: server.starts * 1_000_000 + i64::try_from(id).unwrap_or(0),
                ..Load::default()
            }),
            ..Sample::of(server.role)
        }
    }

    /// Ends every fault: all servers follow the best one of the first database. Whether that one takes writes; where it does
    /// not, it is to be promoted when it was seen as a standby.
    /// Nor does one that leads without anybody knowing it as its standby: only a person may name such a server.
    pub fn heal(&mut self, is_known: impl Fn(usize) -> bool) -> (usize, bool) {
        for id in 0..self.all.len() {
            self.start(id);
            self.freeze(id, false);
            self.stall(id, false);
        }
        let ours = |id: &usize| self.all[*id].identifier == SYSTEM;
        let best = (0..self.all.len()).filter(ours).max_by_key(|id| {
            let server = &self.all[*id];
            (server.timeline(), server.is_primary(), server.lsn)
        });
        let best = best.unwrap_or(0);
        let restored = self.all[best].identifier != SYSTEM;
        if restored {
            // A backup of the database is restored, on a server that may never have been seen as its standby.
            let (newest, lsn) = (self.newest + 1, self.all[0].lsn);
            self.newest = newest;
            self.all[0].identifier = SYSTEM;
            self.all[0].history = vec![(1, BEGIN), (newest, lsn)];
        }
        let leads = !restored
            && is_known(best)
            && self.all[best].is_primary()
            && self.all[best].timeline() == self.newest;
        if !leads {
            self.all[best].role = Role::Standby;
        }
        for id in 0..self.all.len() {
            self.rejoin(id, best);
        }
        (best, leads)
    }
}
