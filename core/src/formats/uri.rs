//! What all connection URIs have in common: which routes have one, hosts, percent-encoding.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::plan::Admission;
use crate::table::named::WRITES;
use crate::table::{Class, Endpoint, Route, RouteTarget, RoutingTable};

/// A route that has URIs.
pub struct UriRoute<'a> {
    pub name: &'a str,
    pub table: &'a RoutingTable,
    pub route: &'a Route,
}

/// Every route that has somebody for URIs (libpq takes a URI without a host for the local socket), but for those of classes
/// that are built in and that no endpoint is dedicated to.
pub fn routes_with_uris(table: &RoutingTable) -> impl Iterator<Item = UriRoute<'_>> {
    let has_dedicated = |class: &Class| {
        let mut endpoints = table.endpoints.iter();
        endpoints.any(|endpoint| endpoint.dedicated_to.contains(&class.name))
    };
    let leads_elsewhere = move |name: &str| {
        let class = table.classes.iter().find(|class| class.name == name);
        class.is_none_or(|class| !class.built_in || has_dedicated(class))
    };
    let routes = table.routes.iter().filter(move |(name, route)| {
        leads_elsewhere(name.as_str()) && route.targets.iter().any(RouteTarget::is_in_uris)
    });
    routes.map(move |(name, route)| UriRoute { name, table, route })
}

impl UriRoute<'_> {
    /// Whether it is the route of writes.
    pub fn writes(&self) -> bool {
        self.name == WRITES
    }

    /// The hosts of those that URIs hold, each once: the pods of a Service have one name. The nearest come first, those that stand in
    /// after the others, then by priority; of equals each policy begins with another one, because libpq takes the first that
    /// answers. `ipv6`: how the client writes such an address.
    pub fn hosts(&self, ipv6: fn(Ipv6Addr) -> String) -> String {
        let targets = self.route.targets.iter().filter(|target| target.is_in_uris());
        let mut named = BTreeSet::new();
        let hosts = targets.map(|target| (self.place(target), self.host(target, ipv6)));
        let mut hosts: Vec<_> = hosts.filter(|(_, host)| named.insert(host.clone())).collect();
        hosts.sort_by_key(|(place, _)| *place);
        let first = self.first();
        for equals in hosts.chunk_by_mut(|(a, _), (b, _)| a == b) {
            equals.rotate_left(first % equals.len());
        }
        let hosts: Vec<_> = hosts.into_iter().map(|(_, host)| host).collect();
        hosts.join(",")
    }

    /// The place of a target among the others: lower ones first.
    fn place(&self, target: &RouteTarget) -> (u16, bool, u16) {
        let priority = self
            .endpoint(target)
            .map_or(u16::MAX, |endpoint| endpoint.priority);
        (target.order, target.admission == Admission::Fallback, priority)
    }

    /// A number that stays the same for a policy, and differs between policies.
    fn first(&self) -> usize {
        let policy = &self.table.policy;
        let digest = Sha256::digest(format!("{}/{}", policy.namespace, policy.name));
        usize::from(digest[0])
    }

    fn endpoint(&self, target: &RouteTarget) -> Option<&Endpoint> {
        let mut endpoints = self.table.endpoints.iter();
        endpoints.find(|endpoint| endpoint.id == target.endpoint)
    }

    /// The host as declared where it is a name, which is what a certificate has; else the address.
    fn host(&self, target: &RouteTarget, ipv6: fn(Ipv6Addr) -> String) -> String {
        let declared = self
            .endpoint(target)
            .and_then(|endpoint| endpoint.host.as_deref())
            .filter(|host| host.parse::<IpAddr>().is_err());
        match declared {
            Some(name) => named(name, target.port),
            None => at(target.address, target.port, ipv6),
        }
    }
}

/// Host and port as a URI has them; the host is a name or an address.
pub fn server(host: &str, port: u16) -> String {
    match host.parse() {
        Ok(address) => at(address, port, |address| address.to_string()),
        Err(_) => named(host, port),
    }
}

fn named(name: &str, port: u16) -> String {
    format!("{}:{port}", name.trim_end_matches('.'))
}

fn at(address: IpAddr, port: u16, ipv6: fn(Ipv6Addr) -> String) -> String {
    match address {
        IpAddr::V6(address) => format!("[{}]:{port}", ipv6(address)),
        IpAddr::V4(address) => format!("{address}:{port}"),
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
