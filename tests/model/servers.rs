//! Three servers: who is up, who takes writes, and on which timeline.

use std::net::{IpAddr, SocketAddr};

/// The primary that is declared, and two replicas.
pub const COUNT: usize = 3;
pub const NAMES: [&str; COUNT] = ["primary", "a", "b"];
pub const PORT: u16 = 5432;

pub fn address(server: usize) -> IpAddr {
    [198, 18, 0, u8::try_from(server + 1).unwrap_or(u8::MAX)].into()
}

pub fn socket(server: usize) -> SocketAddr {
    SocketAddr::new(address(server), PORT)
}

/// Which server is at this address.
pub fn server(text: &str) -> Option<usize> {
    (0..COUNT).find(|server| address(*server).to_string() == text)
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Server {
    pub up: bool,
    pub writable: bool,
    pub timeline: u32,
}

/// What a server tells of itself.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Told {
    pub writable: bool,
    pub timeline: u32,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Servers(pub [Server; COUNT]);

impl Servers {
    pub fn new() -> Self {
        let server = |writable| Server {
            up: true,
            writable,
            timeline: 1,
        };
        Self([server(true), server(false), server(false)])
    }

    pub fn told(&self, server: usize) -> Option<Told> {
        let it = self.0[server];
        it.up.then_some(Told {
            writable: it.writable,
            timeline: it.timeline,
        })
    }

    fn newest(&self) -> u32 {
        self.0.iter().map(|server| server.timeline).max().unwrap_or(1)
    }

    pub fn may_promote(&self, server: usize) -> bool {
        self.0[server].up && !self.0[server].writable
    }

    pub fn promote(&mut self, server: usize) {
        let timeline = self.newest() + 1;
        self.0[server] = Server {
            up: true,
            writable: true,
            timeline,
        };
    }

    /// The server that takes writes on the newest timeline of all.
    pub fn best(&self) -> Option<usize> {
        let writable = (0..COUNT).filter(|server| self.0[*server].writable);
        writable.max_by_key(|server| self.0[*server].timeline)
    }

    /// Whether this server may become a standby of the best one.
    pub fn may_rejoin(&self, server: usize) -> bool {
        let best = self.best().filter(|best| self.0[*best].up && *best != server);
        let it = self.0[server];
        best.is_some_and(|best| it.writable && it.timeline < self.0[best].timeline)
    }

    pub fn rejoin(&mut self, server: usize) {
        let timeline = self.newest();
        self.0[server] = Server {
            up: true,
            writable: false,
            timeline,
        };
    }
}
