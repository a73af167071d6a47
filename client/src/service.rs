//! The Service of the writes, for a router that knows the routes by a file alone: the kubelet brings the file of a ConfigMap a minute
//! late, and the operator moves the Service at once.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use distributary_core::table::RoutingTable;
use distributary_core::table::named::WRITES;

/// What the kubelet tells every container.
const IN_CLUSTER: &str = "KUBERNETES_SERVICE_HOST";
/// The name has so long to be looked up.
const LOOKUP: Duration = Duration::from_secs(1);

/// The table, its writes by way of their Service. Outside of a cluster, and where the Service is not written or its name is not known, they
/// go to the server of the table.
pub async fn by_service(mut table: RoutingTable) -> RoutingTable {
    let is_inside = std::env::var_os(IN_CLUSTER).is_some();
    let Some((name, port)) = name(&table).filter(|_| is_inside) else {
        return table;
    };
    let found = timeout(LOOKUP, lookup_host((name.as_str(), port))).await;
    let address = found.ok().and_then(Result::ok).and_then(|mut all| all.next());
    if let Some(address) = address {
        lead(&mut table, address);
    } else {
        tracing::warn!(
            name,
            "the Service of the writes is not found; they go to the server of the table"
        );
    }
    table
}

/// The name and the port of the Service of the writes.
fn name(table: &RoutingTable) -> Option<(String, u16)> {
    let service = table.routes.get(WRITES)?.service.as_ref()?;
    Some((
        format!("{}.{}.svc", service.name, table.policy.namespace),
        service.port,
    ))
}

/// Whoever takes the writes is reached there; until a newer table comes, by the name of who took them.
fn lead(table: &mut RoutingTable, service: SocketAddr) {
    let targets = table.routes.get_mut(WRITES).map(|route| &mut route.targets);
    for target in targets.into_iter().flatten() {
        (target.address, target.port) = (service.ip(), service.port());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(service: bool) -> RoutingTable {
        let mut table = crate::snapshot::tests::table();
        if service {
            table["routes"]["rw"]["service"] = json!({"name": "orders-rw", "port": 6432});
        }
        RoutingTable::read(&table.to_string()).expect("a table")
    }

    #[test]
    fn the_writes_alone_go_by_way_of_their_service() {
        let (before, mut after) = (table(true), table(true));
        assert_eq!(name(&before), Some(("orders-rw.shop.svc".to_owned(), 6432)));
        lead(&mut after, SocketAddr::from(([10, 0, 0, 7], 6432)));
        let writes = &after.routes[WRITES].targets;
        assert!(!writes.is_empty());
        for target in writes {
            assert_eq!((target.endpoint.as_str(), target.port), ("primary", 6432));
            assert_eq!(target.address.to_string(), "10.0.0.7");
        }
        assert_eq!(after.routes["ro"], before.routes["ro"]);
    }

    #[test]
    fn without_a_service_there_is_no_name() {
        assert_eq!(name(&table(false)), None);
    }
}
