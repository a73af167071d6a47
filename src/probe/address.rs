//! Which of a host's addresses may be connected to, and which one it is this time.

use std::net::{IpAddr, Ipv4Addr};

use crate::domain::observation::{FailureClass, FailureKind};

/// Whether a server may have this address. Loopback, link-local, multicast, unspecified and broadcast addresses mean
/// something else on each node; `EndpointSlice`s may not hold them. An IPv4 address mapped into IPv6 is the same.
#[must_use]
pub fn address_allowed(address: IpAddr) -> bool {
    let special = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let special = v4.is_loopback() || v4.is_multicast() || v4.is_unspecified();
            !special && !v4.is_link_local() && v4 != Ipv4Addr::BROADCAST
        }
        IpAddr::V6(v6) => !special && !v6.is_unicast_link_local(),
    }
}

/// Which of a host's addresses is checked: the preferred one; without it, one after the other, so that a dead one does
/// not hide a good one. After a failed check it is another one's turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    turn: usize,
    failed: Option<IpAddr>,
}

impl Rotation {
    /// Chooses of `addresses`; `None` where there are none.
    pub fn choose(&mut self, addresses: &[IpAddr], prefer: Option<IpAddr>) -> Option<IpAddr> {
        let usable = |address: &IpAddr| addresses.len() == 1 || Some(*address) != self.failed;
        if let Some(prefer) = prefer.filter(|prefer| addresses.contains(prefer) && usable(prefer)) {
            return Some(prefer);
        }
        let start = self.turn.checked_rem(addresses.len())?;
        let skipped =
            (0..addresses.len()).find(|skip| usable(&addresses[(start + skip) % addresses.len()]))?;
        let chosen = (start + skipped) % addresses.len();
        self.turn = chosen + 1;
        Some(addresses[chosen])
    }

    /// Notes how the check of `address` ended. Only what speaks against the server, not against the login, makes it
    /// another one's turn.
    pub fn note(&mut self, address: Option<IpAddr>, failure: Option<FailureKind>) {
        let against =
            |kind: FailureKind| matches!(kind.class(), FailureClass::Dead { .. } | FailureClass::Transient);
        self.failed = address.filter(|_| failure.is_some_and(against));
    }
}

#[cfg(test)]
mod tests;
