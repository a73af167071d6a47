//! Faults of the network, by packet filter. They befall the packets of one server; every other goes on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use anyhow::{Result, bail};
use fake_postgres::Fake;

use super::{PORT, Postgres};
use crate::node::{connections, nft, route};

impl Postgres {
    /// Drops every packet from and to it, those of its replication as well. Nobody is told.
    ///
    /// # Errors
    /// When nft fails.
    pub fn black_hole(&self) -> Result<()> {
        befall("silent", &[self.addresses.server, self.addresses.upstream])
    }

    /// Drops what opens a connection to it; established ones go on.
    ///
    /// # Errors
    /// When nft fails.
    pub fn refuse_silently(&self) -> Result<()> {
        befall("deaf", &[self.addresses.server])
    }

    /// Answers every packet to it, of old and new connections, with a reset.
    ///
    /// # Errors
    /// When nft fails.
    pub fn reset_connections(&self) -> Result<()> {
        befall("resetting", &[self.addresses.server])
    }

    /// Takes the route to it away: whoever connects is told at once that there is none.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn unreachable(&self) -> Result<()> {
        self.reroute(false)
    }

    /// Drops the packets of the connections that clients of this node have to it now, as when a firewall forgets them;
    /// new ones go through, those from the same ports a minute later. Returns how many there are.
    ///
    /// # Errors
    /// When nft fails.
    pub fn sever_connections(&self) -> Result<usize> {
        let connections = connections::established(self.addresses.server, PORT)?;
        let ports: Vec<_> = connections.iter().map(|connection| connection.port).collect();
        connections::sever(self.addresses.server, &ports)?;
        Ok(ports.len())
    }

    /// Drops every packet between a standby and its upstream, and nothing else.
    ///
    /// # Errors
    /// When nft fails.
    pub fn cut_replication(&self) -> Result<()> {
        befall("silent", &[self.addresses.upstream])
    }

    /// Sends clients that connect to its address from now on to another server, as when the address was given away.
    /// Clients of a `ClusterIP` still reach it.
    ///
    /// # Errors
    /// When nft fails.
    pub fn give_way_to(&self, other: &Self) -> Result<()> {
        self.redirect("stand_in", self.addresses.server, Some(other.addresses.server))
    }

    /// The same with a [`rogue`](super::rogue).
    ///
    /// # Errors
    /// When nft fails.
    pub fn give_way_to_rogue(&self, rogue: &Fake) -> Result<()> {
        let IpAddr::V4(address) = rogue.address.ip() else {
            bail!("a rogue at {}", rogue.address);
        };
        self.redirect("stand_in", self.addresses.server, Some(address))
    }

    /// Lets clients connect, and answers what they then send with a reset, on old connections as well.
    ///
    /// # Errors
    /// When nft fails.
    pub fn reset_requests(&self) -> Result<()> {
        befall("hanging_up", &[self.addresses.server])
    }

    /// Ends every fault of the network.
    ///
    /// # Errors
    /// When nft or `ip` fails.
    pub fn heal(&self) -> Result<()> {
        let (server, upstream) = (self.addresses.server, self.addresses.upstream);
        let sets = ["silent", "deaf", "resetting", "hanging_up"];
        // Only an element that is there can be deleted, so it is added first.
        let both = format!("{{ {server}, {upstream} }}");
        let line =
            |set| format!("add element inet faults {set} {both}\ndelete element inet faults {set} {both}\n");
        nft(&sets.map(line).concat())?;
        self.redirect("stand_in", server, None)?;
        self.reroute(true)
    }

    fn reroute(&self, there: bool) -> Result<()> {
        if self.routed.swap(there, Ordering::Relaxed) != there {
            route(self.addresses.server, there)?;
        }
        Ok(())
    }

    /// Sends its replication to `upstream` from the next connection on.
    pub(super) fn replicate_from(&self, upstream: Ipv4Addr) -> Result<()> {
        self.redirect("upstream", self.addresses.upstream, Some(upstream))
    }

    fn redirect(&self, map: &'static str, from: Ipv4Addr, to: Option<Ipv4Addr>) -> Result<()> {
        let mut redirected = self.redirected.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |verb, to| format!("{verb} element inet faults {map} {{ {from} : {to} }}\n");
        let old = redirected.get(map).map(|old| line("delete", *old));
        let new = to.map(|to| line("add", to));
        nft(&(old.unwrap_or_default() + &new.unwrap_or_default()))?;
        match to {
            Some(to) => redirected.insert(map, to),
            None => redirected.remove(map),
        };
        Ok(())
    }
}

fn befall(set: &str, addresses: &[Ipv4Addr]) -> Result<()> {
    let elements: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    nft(&format!(
        "add element inet faults {set} {{ {} }}\n",
        elements.join(", ")
    ))
}
