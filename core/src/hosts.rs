//! The hosts that credentials are for.

use std::net::IpAddr;
use std::sync::Arc;

/// Which hosts credentials are for: DNS names, all names below one, networks. Of several lists each must permit a host.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostList(Arc<[Vec<Pattern>]>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Pattern {
    /// In lower case, without a final dot.
    Name(String),
    /// With the dot that it begins with.
    Below(String),
    /// An address, and how many of its first bits count. One that is mapped into IPv6 is the IPv4 address.
    Network(IpAddr, u32),
}

impl HostList {
    /// What a list must be.
    pub const MUST: &'static str = "must list at most 256 hosts, separated by commas: names, suffixes such as .example.com, addresses and CIDRs";
    /// Of one list: each endpoint that uses it keeps it, and goes through it at each login.
    const MOST: usize = 256;

    /// Reads a list such as `db.example.com, .db.example.com, 10.0.0.0/8`. `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = text.split(',').map(str::trim);
        if parts.clone().nth(Self::MOST).is_some() {
            return None;
        }
        let patterns: Option<Vec<_>> = parts.map(pattern).collect();
        patterns.map(|patterns| Self([patterns].into()))
    }

    /// What both lists permit.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self(self.0.iter().chain(other.0.iter()).cloned().collect())
    }

    /// Whether it names a host by its name as declared, where it has one, or contains the address where the host is.
    #[must_use]
    pub fn permits(&self, name: Option<&str>, address: IpAddr) -> bool {
        let name = name
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        let matches = |pattern: &Pattern| match pattern {
            Pattern::Name(known) => *known == name,
            Pattern::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            Pattern::Network(network, prefix) => contains(*network, *prefix, address.to_canonical()),
        };
        self.0.iter().all(|list| list.iter().any(matches))
    }
}

/// The longest name of DNS, with a dot before it and one behind it.
const LONGEST: usize = 255;

fn pattern(text: &str) -> Option<Pattern> {
    if text.len() > LONGEST {
        return None;
    }
    let (address, prefix) = text
        .split_once('/')
        .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    if let Ok(address) = address.parse::<IpAddr>() {
        let longest = width(address);
        let digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
        let prefix = match prefix {
            None => longest,
            Some(prefix) => prefix
                .parse()
                .ok()
                .filter(|bits| digits(prefix) && *bits <= longest)?,
        };
        return Some(network(address, prefix));
    }
    let name = text
        .strip_prefix('.')
        .unwrap_or(text)
        .trim_end_matches('.')
        .to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty()
            && label
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let is_name = name.split('.').all(is_label);
    is_name.then(|| {
        if text.starts_with('.') {
            Pattern::Below(format!(".{name}"))
        } else {
            Pattern::Name(name)
        }
    })
}

fn network(address: IpAddr, prefix: u32) -> Pattern {
    const MAPPED: u32 = 96;
    match address {
        IpAddr::V6(v6) if prefix >= MAPPED && v6.to_ipv4_mapped().is_some() => {
            Pattern::Network(address.to_canonical(), prefix - MAPPED)
        }
        _ => Pattern::Network(address, prefix),
    }
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn contains(network: IpAddr, prefix: u32, address: IpAddr) -> bool {
    let same = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros(),
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits() ^ address.to_bits()).leading_zeros(),
        _ => return false,
    };
    same >= prefix
}

#[cfg(test)]
mod tests;
