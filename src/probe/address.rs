//! Which addresses may be connected to, and which one of a host's it is this time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use ipnet::{IpNet, Ipv4Net};

use distributary_core::observation::{FailureClass, FailureKind};

/// Whether a server may have this address at all. Loopback, link-local, multicast, unspecified and broadcast addresses
/// mean something else on each node; `EndpointSlice`s may not hold them. An IPv4 address mapped into IPv6 is the same.
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

/// The operator's rules of addresses. Clones share what is learned of the cluster.
///
/// ```text
/// special (see [`address_allowed`])         refused
/// in the deny list, or a Service CIDR       refused
/// no allow list, or in it                   allowed
/// ```
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allow: Arc<[IpNet]>,
    deny: Arc<[IpNet]>,
    services: Arc<RwLock<Vec<IpNet>>>,
    #[cfg(test)]
    anything: bool,
}

impl AddressRules {
    /// `allow`: where it is not empty, only what it contains. `deny` goes before it.
    #[must_use]
    pub fn new(allow: &[IpNet], deny: &[IpNet]) -> Self {
        Self {
            allow: allow.into(),
            deny: deny.into(),
            ..Self::default()
        }
    }

    /// Whether `address` may be connected to and published.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        #[cfg(test)]
        if self.anything {
            return true;
        }
        let address = address.to_canonical();
        let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&address));
        let services = || within(&self.services.read().unwrap_or_else(PoisonError::into_inner));
        address_allowed(address)
            && !within(&self.deny)
            && !services()
            && (self.allow.is_empty() || within(&self.allow))
    }

    /// Replaces the Service CIDRs of the cluster: a ClusterIP is no server. Whether they differ from before; what is no
    /// CIDR is left out.
    pub fn refuse_services<'a>(&self, cidrs: impl IntoIterator<Item = &'a str>) -> bool {
        let mut services: Vec<_> = cidrs.into_iter().filter_map(|text| cidr(text).ok()).collect();
        services.sort_unstable();
        services.dedup();
        let mut known = self.services.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != services;
        *known = services;
        changed
    }

    /// No rules, not even those of special addresses: servers of tests listen on loopback.
    #[cfg(test)]
    pub(super) fn anything() -> Self {
        Self {
            anything: true,
            ..Self::default()
        }
    }
}

/// Reads a CIDR, or an address alone, of either family. IPv4 mapped into IPv6 is IPv4.
///
/// # Errors
/// What must hold, for people.
pub fn cidr(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let net: IpNet = text
        .parse()
        .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)))
        .map_err(|_| "must be a CIDR such as 10.0.0.0/8 or fd00::/8, or an address".to_owned())?;
    if net.addr() != net.network() {
        return Err(format!(
            "has an address with bits after the prefix: write {}",
            net.trunc()
        ));
    }
    Ok(canonical(net))
}

fn canonical(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let v4 = |address: Ipv6Addr| address.to_ipv4_mapped();
    let (address, prefix) = (net.addr(), net.prefix_len());
    let mapped = match address {
        IpAddr::V6(v6) if prefix >= MAPPED => v4(v6).and_then(|v4| Ipv4Net::new(v4, prefix - MAPPED).ok()),
        _ => None,
    };
    mapped.map_or(net, IpNet::V4)
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
