//! What servers are beside how they answer: where they are, which endpoint leads to them, and what they tell of themselves.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use distributary_core::Moment;
use distributary_core::ids::{EndpointId, TargetId};

/// What a server tells of itself, from a moment on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trait {
    /// It starts anew.
    Started,
    /// A primary writes on this timeline, a standby receives it.
    Timeline(u32),
    System(u64),
    /// So many bytes of the log that all others have are not in its own.
    Lacks(u64),
}

/// What a server tells of itself at a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    pub started: i64,
    pub timeline: u32,
    pub system: u64,
    pub lacks: u64,
}

#[derive(Debug, Default)]
pub struct Servers {
    addresses: BTreeMap<String, IpAddr>,
    /// Where the name of an endpoint leads, from a moment on.
    names: BTreeMap<EndpointId, Vec<(Moment, String)>>,
    /// Of a server that has none only its role and its position are told.
    lives: BTreeMap<String, Vec<(Moment, Trait)>>,
}

impl Servers {
    /// The server of this name is at this address.
    pub fn is_at(&mut self, server: &str, address: IpAddr) -> &mut Self {
        self.addresses.insert(server.to_owned(), address);
        self
    }

    /// The server at an address; one that nobody named has the address for its name.
    pub fn at(&self, address: IpAddr) -> String {
        let known = self.addresses.iter().find(|(_, its)| **its == address);
        known.map_or_else(|| address.to_string(), |(server, _)| server.clone())
    }

    /// From `seconds` on the name of this endpoint leads to this server.
    pub fn leads(&mut self, seconds: f64, endpoint: &str, server: &str) -> &mut Self {
        let moment = Moment::new(Duration::from_secs_f64(seconds));
        let names = self.names.entry(endpoint.into()).or_default();
        names.push((moment, server.to_owned()));
        names.sort_by_key(|(moment, _)| *moment);
        self
    }

    /// From `seconds` on this server is so.
    pub fn is(&mut self, seconds: f64, server: &str, what: Trait) -> &mut Self {
        let moment = Moment::new(Duration::from_secs_f64(seconds));
        let life = self.lives.entry(server.to_owned()).or_default();
        life.push((moment, what));
        life.sort_by_key(|(moment, _)| *moment);
        self
    }

    /// The server that a target leads to: its pod, that of its name, or the one that is named as its endpoint.
    pub fn of(&self, id: &TargetId, now: Moment) -> String {
        if let Some(pod) = id.pod {
            return self.at(pod);
        }
        let names = self
            .names
            .get(&id.endpoint)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let name = names.iter().rfind(|(moment, _)| *moment <= now);
        name.map_or_else(|| id.endpoint.to_string(), |(_, server)| server.clone())
    }

    pub fn address(&self, server: &str) -> Option<IpAddr> {
        self.addresses.get(server).copied()
    }

    /// When the name of an endpoint leads elsewhere next, after a moment, and which server it leaves.
    pub fn next_move(&self, after: Moment) -> Option<(Moment, TargetId)> {
        let moves = self.names.iter().flat_map(|(id, names)| {
            let later = names.iter().skip(1).filter(|(moment, _)| *moment > after);
            later.map(|(moment, _)| (*moment, TargetId::host(id.clone())))
        });
        moves.min()
    }

    pub fn life(&self, server: &str, now: Moment) -> Option<Life> {
        let traits = self.lives.get(server)?;
        let mut life = Life {
            started: 0,
            timeline: 1,
            system: 7,
            lacks: 0,
        };
        for (moment, what) in traits.iter().take_while(|(moment, _)| *moment <= now) {
            match what {
                Trait::Started => life.started = i64::try_from(moment.since_start().as_secs()).unwrap_or(0),
                Trait::Timeline(timeline) => life.timeline = *timeline,
                Trait::System(system) => life.system = *system,
                Trait::Lacks(bytes) => life.lacks = *bytes,
            }
        }
        Some(life)
    }
}
