//! Connection URIs for pgjdbc: every host of a route in its order, no user, no password.

use std::net::Ipv6Addr;

use super::libpq::{escaped, hosts, sslmode};
use distributary_core::plan::Route;
use distributary_core::policy::Policy;

/// The URI of a route that has members. Times are in seconds.
#[must_use]
pub fn uri(policy: &Policy, name: &str, route: &Route) -> String {
    let clients = &policy.clients;
    let servers = if name == "rw" {
        "targetServerType=primary"
    } else {
        "targetServerType=any&loadBalanceHosts=true"
    };
    format!(
        "jdbc:postgresql://{}/{}?connectTimeout={}&sslmode={}&{servers}",
        hosts(policy, route, whole),
        escaped(&clients.database),
        clients.connect_timeout.as_secs(),
        sslmode(clients.tls),
    )
}

/// pgjdbc compares it with a certificate's as a text, and Java writes that without `::`.
fn whole(address: Ipv6Addr) -> String {
    address.segments().map(|segment| format!("{segment:x}")).join(":")
}
