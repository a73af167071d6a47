//! The servers by the names that the demo gives them.

use std::collections::{BTreeMap, BTreeSet};

use harness::{PgCluster, Postgres};

pub const PRIMARY: &str = "primary";
pub const REPLICAS: [&str; 2] = ["replica-1", "replica-2"];

/// The name of every address.
#[derive(Clone)]
pub struct Cast(BTreeMap<String, String>);

impl Cast {
    pub fn of(postgres: &PgCluster) -> Self {
        let roles = std::iter::once(PRIMARY).chain(REPLICAS);
        let named = |(server, role): (&Postgres, &str)| (server.address().to_string(), role.to_owned());
        Self(postgres.servers().zip(roles).map(named).collect())
    }

    /// The name of the server with this address; the address when it is nobody's.
    pub fn name(&self, address: &str) -> String {
        self.0.get(address).map_or(address, String::as_str).to_owned()
    }

    pub fn names<'a>(&self, addresses: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        addresses.into_iter().map(|address| self.name(address)).collect()
    }
}
