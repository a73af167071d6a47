//! The hosts that credentials are for.

use std::net::IpAddr;
use std::sync::Arc;

/// Which hosts credentials are for: DNS names, all names below one, networks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostList(Arc<[Pattern]>);

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Pattern {
    /// In lower case, without a final dot.
    Name(String),
    /// With the dot that it begins with.
    Below(String),
    /// An address, and how many of its first bits count.
    Network(IpAddr, u32),
}

impl HostList {
    /// What a list must be.
    pub const MUST: &'static str =
        "must list hosts, separated by commas: names, suffixes such as .example.com, addresses and CIDRs";

    /// Reads a list such as `db.example.com, .db.example.com, 10.0.0.0/8`. `None`: it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let patterns: Option<Vec<_>> = text.split(',').map(|part| pattern(part.trim())).collect();
        patterns.map(|patterns| Self(patterns.into()))
    }

    /// Whether it names a host by its name as declared, where it has one, or contains the address where the host is.
    #[must_use]
    pub fn permits(&self, name: Option<&str>, address: IpAddr) -> bool {
        let name = name
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_ascii_lowercase();
        self.0.iter().any(|pattern| match pattern {
            Pattern::Name(known) => *known == name,
            Pattern::Below(suffix) => name.len() > suffix.len() && name.ends_with(suffix),
            Pattern::Network(network, prefix) => contains(*network, *prefix, address.to_canonical()),
        })
    }
}

fn pattern(text: &str) -> Option<Pattern> {
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
        return Some(Pattern::Network(address, prefix));
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
