//! Which addresses may be connected to, and which one of a host's it is this time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError, RwLock};

use super::cidr::Cidr;
use distributary_core::observation::{FailureClass, FailureKind};

/// Where clouds give credentials to whoever asks, beside 169.254.169.254: Amazon, Google, Alibaba, Azure, Oracle.
const METADATA: [IpAddr; 5] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// The IPv4 address that a translator on the way reads in one of IPv6: NAT64 (`64:ff9b::/96`), and the compatible ones of old
/// (`::/96`).
fn carried(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    let [a, b, 0, 0, 0, 0, high, low] = address.segments() else {
        return None;
    };
    let carries =
        [(0x64, 0xff9b), (0, 0)].contains(&(a, b)) && !address.is_loopback() && !address.is_unspecified();
    let bits = u32::from(high) << 16 | u32::from(low);
    carries.then(|| IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

/// Whether a server may have this address at all. Loopback, link-local, multicast, unspecified and broadcast addresses
/// mean something else on each node; `EndpointSlice`s may not hold them. An IPv4 address mapped into IPv6 is the same.
fn address_allowed(address: IpAddr) -> bool {
    let special = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let special = v4.is_loopback() || v4.is_multicast() || v4.is_unspecified();
            !special
                && !v4.is_link_local()
                && v4 != Ipv4Addr::BROADCAST
                && !METADATA.contains(&IpAddr::V4(v4))
        }
        IpAddr::V6(v6) => !special && !v6.is_unicast_link_local() && !METADATA.contains(&address),
    }
}

/// Which addresses may be connected to and published. The default refuses special addresses alone. Clones share what is
/// learned of the cluster.
///
/// | address | |
/// |---|---|
/// | loopback, link-local, multicast, unspecified, broadcast: what an `EndpointSlice` of Kubernetes may not hold | refused |
/// | that of the metadata of a cloud | refused |
/// | in the deny list, or in a Service CIDR | refused |
/// | there is an allow list, and it is not in it | refused |
/// | any other | allowed |
///
/// An IPv4 address that is mapped into IPv6 (`::ffff:10.0.0.1`) is the IPv4 address. One of IPv6 that carries an IPv4 address
/// (`64:ff9b::10.0.0.1`, `::10.0.0.1`) is refused where either is.
#[derive(Clone, Debug, Default)]
pub struct AddressRules {
    allow: Arc<[Cidr]>,
    deny: Arc<[Cidr]>,
    services: Arc<RwLock<Vec<Cidr>>>,
    #[cfg(test)]
    anything: bool,
}

impl AddressRules {
    /// `allow`: where it is not empty, only what it contains. `deny` goes before it. No Service CIDR is known yet.
    #[must_use]
    pub fn new(allow: &[Cidr], deny: &[Cidr]) -> Self {
        Self {
            allow: allow.into(),
            deny: deny.into(),
            ..Self::default()
        }
    }

    /// Whether `address` may be connected to and published.
    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        self.refusal(address).is_none()
    }

    /// Which rule refuses `address`; `None`: it may be connected to and published.
    #[must_use]
    pub fn refusal(&self, address: IpAddr) -> Option<FailureKind> {
        let address = address.to_canonical();
        let within = |nets: &[Cidr]| nets.iter().any(|net| net.contains(address));
        #[cfg(test)]
        if self.anything {
            return within(&self.deny).then_some(FailureKind::AddressDenied);
        }
        let services = self.services.read().unwrap_or_else(PoisonError::into_inner);
        let refusal_of = |address: IpAddr| {
            let within = |nets: &[Cidr]| nets.iter().any(|net| net.contains(address));
            if !address_allowed(address) {
                Some(FailureKind::AddressRefused)
            } else if within(&services) {
                Some(FailureKind::AddressOfService)
            } else {
                within(&self.deny).then_some(FailureKind::AddressDenied)
            }
        };
        let allowed = self.allow.is_empty() || within(&self.allow);
        refusal_of(address)
            .or_else(|| carried(address).and_then(refusal_of))
            .or((!allowed).then_some(FailureKind::AddressNotAllowed))
    }

    /// Replaces the Service CIDRs of the cluster (`ServiceCIDR` of networking.k8s.io/v1, `spec.cidrs`): a ClusterIP is no
    /// server. Whether they differ from before; what is no CIDR is left out.
    pub fn refuse_services<'a>(&self, cidrs: impl IntoIterator<Item = &'a str>) -> bool {
        let mut services: Vec<Cidr> = cidrs.into_iter().filter_map(|text| text.parse().ok()).collect();
        services.sort_unstable();
        services.dedup();
        let mut known = self.services.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *known != services;
        *known = services;
        changed
    }

    /// The same without these addresses.
    #[cfg(test)]
    pub(crate) fn and_not(self, deny: Cidr) -> Self {
        Self {
            deny: [deny].into(),
            ..self
        }
    }

    /// No rules, not even those of special addresses: servers of tests listen on loopback.
    #[cfg(test)]
    pub(crate) fn anything() -> Self {
        Self {
            anything: true,
            ..Self::default()
        }
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
