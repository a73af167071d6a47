//! Faults of the network, by packet filter. They befall the packets of one server; every other goes on.

use std::net::Ipv4Addr;
use std::sync::PoisonError;

use anyhow::Result;

use super::Postgres;
use crate::node::nft;

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

    /// Drops every packet between a standby and its upstream, and nothing else.
    ///
    /// # Errors
    /// When nft fails.
    pub fn cut_replication(&self) -> Result<()> {
        befall("silent", &[self.addresses.upstream])
    }

    /// Ends every fault of the network.
    ///
    /// # Errors
    /// When nft fails.
    pub fn heal(&self) -> Result<()> {
        let (server, upstream) = (self.addresses.server, self.addresses.upstream);
        let sets = ["silent", "deaf", "resetting"];
        // Only an element that is there can be deleted, so it is added first.
        let both = format!("{{ {server}, {upstream} }}");
        let line =
            |set| format!("add element inet faults {set} {both}\ndelete element inet faults {set} {both}\n");
        nft(&sets.map(line).concat())
    }

    /// Sends its replication to `upstream` from the next connection on.
    pub(super) fn replicate_from(&self, upstream: Ipv4Addr) -> Result<()> {
        let from = self.addresses.upstream;
        let mut current = self.upstream.lock().unwrap_or_else(PoisonError::into_inner);
        let old = current.map(|old| format!("delete element inet faults upstream {{ {from} : {old} }}\n"));
        let new = format!("add element inet faults upstream {{ {from} : {upstream} }}\n");
        nft(&(old.unwrap_or_default() + &new))?;
        *current = Some(upstream);
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
