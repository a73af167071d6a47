//! Connection URIs for libpq: every host of a route in its order, no user, no password. Times are in whole seconds.
//!
//! `libpq-ROUTE` is for libpq 14 and later, `libpq16-ROUTE` for 16 and later, which chooses among the hosts of a read route at
//! random.

use super::document::Document;
use super::uri::{UriRoute, escaped, routes_with_uris};
use crate::table::RoutingTable;

/// Two URIs for each route that has somebody in its slice.
pub fn documents(table: &RoutingTable) -> Vec<Document> {
    let each = |route: UriRoute<'_>| {
        let uri = uri(&route);
        let of_16 = if route.writes() {
            uri.clone()
        } else {
            format!("{uri}&load_balance_hosts=random")
        };
        [
            Document::new(format!("libpq-{}", route.name), uri),
            Document::new(format!("libpq16-{}", route.name), of_16),
        ]
    };
    routes_with_uris(table).flat_map(each).collect()
}

fn uri(route: &UriRoute<'_>) -> String {
    let clients = &route.table.connection;
    let session = if route.writes() { "read-write" } else { "any" };
    format!(
        "postgresql://{}/{}?connect_timeout={}&sslmode={}&target_session_attrs={session}",
        route.hosts(|address| address.to_string()),
        escaped(&clients.database),
        clients.connect_timeout_seconds,
        clients.sslmode,
    )
}
