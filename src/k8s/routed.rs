//! Which port a server has in the routes, as our slices say it: after a restart it is not known otherwise while the Service
//! behind it cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use parking_lot::Mutex;

use crate::render::reading::SliceFacts;

/// The servers of our slices, by namespace and slice.
#[derive(Debug, Default)]
pub struct RoutedServers(Mutex<BTreeMap<(String, String), Slice>>);

#[derive(Debug)]
struct Slice {
    policy: Option<String>,
    /// The name of the route.
    route: Option<String>,
    port: u16,
    addresses: Vec<IpAddr>,
}

impl RoutedServers {
    /// A slice of the policy of this uid is so.
    pub fn see(&self, namespace: &str, name: &str, policy: Option<&str>, facts: &SliceFacts) {
        let Some(port) = facts.port else { return };
        let slice = Slice {
            policy: policy.map(ToOwned::to_owned),
            route: facts.route.clone(),
            port,
            addresses: facts
                .addresses
                .iter()
                .filter_map(|address| address.parse().ok())
                .collect(),
        };
        self.0
            .lock()
            .insert((namespace.to_owned(), name.to_owned()), slice);
    }

    /// A slice is gone.
    pub fn lose(&self, namespace: &str, name: &str) {
        self.0.lock().remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The port under which a slice of the policy leads to this address.
    pub fn port(&self, namespace: &str, policy: &str, address: IpAddr) -> Option<u16> {
        let slices = self.0.lock();
        let mut own = of_policy(&slices, namespace, policy);
        own.find(|slice| slice.addresses.contains(&address))
            .map(|slice| slice.port)
    }

    /// The servers of each route of the policy, by the name of the route.
    pub fn routes(&self, namespace: &str, policy: &str) -> BTreeMap<String, BTreeSet<SocketAddr>> {
        let slices = self.0.lock();
        let mut routes = BTreeMap::<_, BTreeSet<_>>::new();
        for slice in of_policy(&slices, namespace, policy) {
            let Some(route) = &slice.route else { continue };
            let servers = slice
                .addresses
                .iter()
                .map(|address| SocketAddr::new(*address, slice.port));
            routes.entry(route.clone()).or_default().extend(servers);
        }
        routes
    }
}

fn of_policy<'a>(
    slices: &'a BTreeMap<(String, String), Slice>,
    namespace: &'a str,
    policy: &'a str,
) -> impl Iterator<Item = &'a Slice> {
    slices
        .range((namespace.to_owned(), String::new())..)
        .take_while(move |((other, _), _)| other == namespace)
        .map(|(_, slice)| slice)
        .filter(move |slice| slice.policy.as_deref() == Some(policy))
}
