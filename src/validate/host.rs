//! Hosts as people write them.

use std::net::IpAddr;

use crate::domain::policy::Host;

/// A host as written: an address, or a DNS name.
pub fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Host::Address(address));
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.chars().all(|c| c.is_ascii_digit()));
    (text.len() <= 253 && !numeric && name.split('.').all(label)).then(|| Host::Name(text.to_owned()))
}

/// Whether an EndpointSlice may hold the address (Kubernetes refuses loopback, link-local, multicast, unspecified).
pub fn is_routable(host: &Host) -> bool {
    let address = match host {
        Host::Name(name) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            return name != "localhost" && !name.ends_with(".localhost");
        }
        Host::Address(address) => address.to_canonical(),
    };
    let special = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(special || address.is_loopback() || address.is_multicast() || address.is_unspecified())
}
