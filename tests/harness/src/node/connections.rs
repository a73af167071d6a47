//! The TCP connections of this node, and connections that a firewall forgets.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Context, Result};

use super::nft;

/// An established connection, seen from the client.
pub struct Connection {
    /// The client's port.
    pub port: u16,
    /// Of the client's socket.
    pub inode: u64,
}

/// The established connections to a server.
///
/// # Errors
/// When the kernel does not list them.
pub fn established(server: Ipv4Addr, port: u16) -> Result<Vec<Connection>> {
    const ESTABLISHED: &str = "01";
    let table = fs::read_to_string("/proc/net/tcp").context("read the connections")?;
    // As the kernel writes it: an address in the machine's byte order, a port, both hexadecimal.
    let remote = format!("{:08X}:{port:04X}", u32::from_ne_bytes(server.octets()));
    let connection = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, local, to, state, .., inode] = fields.get(..10)? else {
            return None;
        };
        let (_, port) = local
            .split_once(':')
            .filter(|_| *to == remote && *state == ESTABLISHED)?;
        Some(Connection {
            port: u16::from_str_radix(port, 16).ok()?,
            inode: inode.parse().ok()?,
        })
    };
    Ok(table.lines().filter_map(connection).collect())
}

/// Drops the packets of the connections of these clients' ports to a server, and tells nobody; new ones go through, those
/// from the same ports a minute later.
///
/// # Errors
/// When nft fails.
pub fn sever(server: Ipv4Addr, ports: &[u16]) -> Result<()> {
    let elements: Vec<_> = ports.iter().map(|port| format!("{server} . {port}")).collect();
    if elements.is_empty() {
        return Ok(());
    }
    nft(&format!(
        "add element inet faults severed {{ {} }}\n",
        elements.join(", ")
    ))
}
