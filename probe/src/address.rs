//! Which addresses may be connected to, and which one of a host's it is this time.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::cidr::Cidr;
use distributary_core::address::{carried, may_be_a_server};
use distributary_core::observation::{FailureClass, FailureKind};

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
/// ([`carried`]: `64:ff9b::10.0.0.1`, `2002:a00:1::1`) is refused where either is.
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
            if !may_be_a_server(address) {
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
