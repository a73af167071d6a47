//! Connection URIs for libpq 14 and later: every host of a route in its order, no user, no password.

use std::net::{IpAddr, Ipv6Addr};

use distributary_core::login::TlsMode;
use distributary_core::plan::{Member, Route};
use distributary_core::policy::{Host, Policy};

/// The URI of a route that has members.
#[must_use]
pub fn uri(policy: &Policy, name: &str, route: &Route) -> String {
    let clients = &policy.clients;
    let session = if name == "rw" { "read-write" } else { "any" };
    format!(
        "postgresql://{}/{}?connect_timeout={}&sslmode={}&target_session_attrs={session}",
        hosts(policy, route, |address| address.to_string()),
        escaped(&clients.database),
        clients.connect_timeout.as_secs(),
        sslmode(clients.tls),
    )
}

/// The same for libpq 16 and later, which chooses among the hosts of a read route at random.
#[must_use]
pub fn uri_of_16(policy: &Policy, name: &str, route: &Route) -> String {
    let uri = uri(policy, name, route);
    if name == "rw" {
        return uri;
    }
    format!("{uri}&load_balance_hosts=random")
}

/// The hosts of those in the slice, in order; `ipv6`: how the client writes such an address.
pub fn hosts(policy: &Policy, route: &Route, ipv6: fn(Ipv6Addr) -> String) -> String {
    let members = route.members.iter().filter(|member| member.in_slice);
    let hosts: Vec<_> = members.map(|member| host(policy, member, ipv6)).collect();
    hosts.join(",")
}

/// The host as declared, which is what a certificate names.
fn host(policy: &Policy, member: &Member, ipv6: fn(Ipv6Addr) -> String) -> String {
    let declared = policy
        .endpoint(&member.target.endpoint)
        .and_then(|endpoint| endpoint.location.as_ref());
    match declared.map(|location| &location.host) {
        Some(name @ Host::Name(_)) => server(name, member.port, ipv6),
        _ => server(&Host::Address(member.address), member.port, ipv6),
    }
}

/// Host and port as a URI has them.
pub fn server(host: &Host, port: u16, ipv6: fn(Ipv6Addr) -> String) -> String {
    match host {
        Host::Name(name) => format!("{}:{port}", name.trim_end_matches('.')),
        Host::Address(IpAddr::V6(address)) => format!("[{}]:{port}", ipv6(*address)),
        Host::Address(IpAddr::V4(address)) => format!("{address}:{port}"),
    }
}

/// libpq's word for a mode.
#[must_use]
pub const fn sslmode(mode: TlsMode) -> &'static str {
    match mode {
        TlsMode::Disable => "disable",
        TlsMode::Require => "require",
        TlsMode::VerifyCa => "verify-ca",
        TlsMode::VerifyFull => "verify-full",
    }
}

/// Percent-encoding of all but RFC 3986's unreserved characters.
pub fn escaped(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_of_any_name_stays_one_part_of_the_uri() {
        assert_eq!(escaped("orders"), "orders");
        assert_eq!(escaped("a/b?c=ü"), "a%2Fb%3Fc%3D%C3%BC");
    }
}
