//! Names of the slices, and of routes in messages. A prefix has at most 40 characters, so that each is a valid name.

use std::net::IpAddr;

use distributary_core::outputs::Outputs;
use distributary_core::table::named;

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

/// What messages call a route: the name of its Service, or `the route rw` where the policy has no Services.
#[must_use]
pub fn of_route(outputs: Option<&Outputs>, route: &str) -> String {
    match outputs.and_then(|outputs| outputs.services.as_ref()) {
        Some(prefix) => named::service(prefix, route),
        None => format!("the route {route}"),
    }
}

/// The address family of a slice.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, strum::IntoStaticStr)]
#[strum(const_into_str)]
pub enum Family {
    #[strum(serialize = "IPv4")]
    V4,
    #[strum(serialize = "IPv6")]
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
        self.into_str()
    }
}
