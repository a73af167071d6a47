//! Names of the slices. A prefix has at most 40 characters, so that each is a valid name.

use std::net::IpAddr;

/// `PREFIX-ro-ipv4-5432`: a slice holds one address family and one port. The second of them ends in `-2`, and so on.
#[must_use]
pub fn endpoint_slice(prefix: &str, suffix: &str, family: Family, port: u16, number: usize) -> String {
    let first = format!("{prefix}-{suffix}-{}-{port}", family.name().to_lowercase());
    if number == 1 {
        first
    } else {
        format!("{first}-{number}")
    }
}

/// The address family of a slice.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// As `addressType` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}
