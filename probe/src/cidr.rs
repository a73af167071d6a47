//! Networks as people and the API server write them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net};

/// A network of either family, in CIDR notation (RFC 4632, RFC 4291). One that is mapped into IPv6 (`::ffff:0:0/96`) is the
/// IPv4 network.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cidr(IpNet);

/// Why a text is no [`Cidr`], as what it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidCidr {
    /// It is neither a network nor an address.
    #[error("must be a CIDR such as 10.0.0.0/8 or fd00::/8, or an address")]
    NotANetwork,
    /// Its address is inside the network, not the network's own.
    #[error("has an address with bits after the prefix: write {network}")]
    BitsAfterPrefix {
        /// The network that contains the address.
        network: Cidr,
    },
}

impl Cidr {
    /// Whether `address` is in it. `address` is not mapped into IPv6.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    /// Reads a CIDR, or an address alone, with or without white space around it.
    ///
    /// # Errors
    /// [`InvalidCidr`], for who wrote the text.
    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        let text = text.trim();
        let net: IpNet = text
            .parse()
            .or_else(|_| text.parse().map(|address: IpAddr| IpNet::from(address)))
            .map_err(|_| InvalidCidr::NotANetwork)?;
        if net.addr() != net.network() {
            return Err(InvalidCidr::BitsAfterPrefix {
                network: Self(canonical(net.trunc())),
            });
        }
        Ok(Self(canonical(net)))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
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

#[cfg(test)]
mod tests;
