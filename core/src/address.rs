//! Which addresses may be those of a server, wherever it is asked from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where clouds give credentials to whoever asks, beside 169.254.169.254: Google, Alibaba, Azure, Oracle.
const METADATA: [IpAddr; 4] = [
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
];

/// The IPv4 address that a translator on the way, or a tunnel, reads in one of IPv6: NAT64 (`64:ff9b::/96`, and the last 32 bits in
/// `64:ff9b:1::/48`), SIIT (`::ffff:0:0:0/96`), 6to4 (`2002::/16`), and the compatible ones of old (`::/96`).
#[must_use]
pub fn carried(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(address) = address else {
        return None;
    };
    if address.is_loopback() || address.is_unspecified() {
        return None;
    }
    let ([0x64, 0xff9b, 0, 0, 0, 0, high, low]
    | [0x64, 0xff9b, 1, _, _, _, high, low]
    | [0, 0, 0, 0, 0xffff | 0, 0, high, low]
    | [0x2002, high, low, ..]) = address.segments()
    else {
        return None;
    };
    Some(IpAddr::V4(Ipv4Addr::from_bits(
        u32::from(high) << 16 | u32::from(low),
    )))
}

/// Whether a server may have this address. Loopback, link-local, multicast, unspecified and broadcast addresses mean something
/// else on each node, and an `EndpointSlice` of Kubernetes may not hold them; the metadata services of clouds are no servers. An
/// IPv4 address that is mapped into IPv6 is the same address; of one of IPv6 that carries another one ([`carried`]) neither may
/// be such.
#[must_use]
pub fn may_be_a_server(address: IpAddr) -> bool {
    let address = address.to_canonical();
    is_ordinary(address) && carried(address).is_none_or(is_ordinary)
}

fn is_ordinary(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    let special = special || address.is_loopback() || address.is_multicast() || address.is_unspecified();
    !special && !METADATA.contains(&address) && !is_of_the_node_of_amazon(address)
}

/// `fd00:ec2::/32`: metadata (`::254`), credentials of pods (`::23`), names and time of a node of Amazon.
const fn is_of_the_node_of_amazon(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => matches!(address.segments(), [0xfd00, 0xec2, ..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_mean_something_else_on_each_node_are_refused() {
        for refused in [
            "127.0.0.1",
            "127.255.0.3",
            "::1",
            "0.0.0.0",
            "::",
            "169.254.169.254",
            "fe80::1",
            "febf::1",
            "224.0.0.1",
            "239.255.255.255",
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
            "::ffff:169.254.1.1",
            "::ffff:0.0.0.0",
            "::ffff:224.0.0.1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "100.100.100.200",
            "::ffff:168.63.129.16",
            "192.0.0.192",
            "64:ff9b::169.254.169.254",
            "64:ff9b::100.100.100.200",
            "::127.0.0.1",
            "64:ff9b::",
            "64:ff9b:1::127.0.0.1",
            "64:ff9b:1:2:3:4:169.254.169.254",
            "::ffff:0:169.254.169.254",
            "2002:a9fe:a9fe::1",
            "2002:7f00:1::",
        ] {
            assert!(!may_be_a_server(refused.parse().unwrap()), "{refused}");
        }
        for allowed in [
            "10.0.0.1",
            "198.18.0.1",
            "192.168.1.1",
            "2001:db8::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "::ffff:0:10.0.0.1",
            "2002:a00:1::1",
            "fd00:ec1::254",
            "::10.0.0.1",
        ] {
            assert!(may_be_a_server(allowed.parse().unwrap()), "{allowed}");
        }
    }
}
