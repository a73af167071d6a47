//! Connection URIs for pgjdbc: every host of a route in its order, no user, no password. Times are in whole seconds.

use std::net::Ipv6Addr;

use super::document::Document;
use super::uri::{UriRoute, escaped, routes_with_uris};
use crate::table::RoutingTable;

/// `jdbc-ROUTE` for each route that has somebody in its slice.
pub fn documents(table: &RoutingTable) -> Vec<Document> {
    routes_with_uris(table)
        .map(|route| Document::new(format!("jdbc-{}", route.name), uri(&route)))
        .collect()
}

fn uri(route: &UriRoute<'_>) -> String {
    let clients = &route.table.connection;
    let servers = if route.writes() {
        "targetServerType=primary"
    } else {
        "targetServerType=any&loadBalanceHosts=true"
    };
    format!(
        "jdbc:postgresql://{}/{}?connectTimeout={}&sslmode={}&{servers}",
        route.hosts(whole),
        escaped(&clients.database),
        clients.connect_timeout_seconds,
        clients.sslmode,
    )
}

/// pgjdbc compares it with a certificate's as a text, and Java writes that without `::`.
fn whole(address: Ipv6Addr) -> String {
    address.segments().map(|segment| format!("{segment:x}")).join(":")
}
