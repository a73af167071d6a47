//! The routing table: `routing.json` as a type. It is made of a plan, written to the ConfigMap `NAME-routing`, and read back
//! by clients and proxies; its schema, docs/schemas/routing.v1.json, is generated from it.
//!
//! [`RoutingTable::route`] says which route a request takes. No SQL is parsed. The first row that fits holds:
//!
//! | | the request | its route |
//! |---|---|---|
//! | 1 | names a class that there is not | none: [`NoRoute::UnknownClass`] |
//! | 2 | has an operation of a class whose target is Primary, or names such a class | `rw` |
//! | 3 | has no class, and is not read-only | `rw`: it is a write |
//! | 4 | has a priority that the policy maps to Primary | `rw` |
//! | 5 | has a priority that the policy maps to PrimaryPreferred, and `rw` is Served | `rw` |
//! | 6 | has any other priority that the policy maps | that of rows 8 to 11 |
//! | 7 | prefers the primary, and its class is not ReplicasOnly | `primary-preferred` |
//! | 8 | has a class | the route of the class |
//! | 9 | names a region that has no route | none: [`NoRoute::UnknownRegion`] |
//! | 10 | names a region | the route of the region |
//! | 11 | is any other read | `defaultRoute` |
//!
//! The class of a request is the one that it names, or else the one that has its operation. A priority never makes a read of a
//! write, and a class that the policy keeps from the primary gets there by no wish of a client, only by the policy's own
//! priorities. Where a policy gives `primary-preferred` another target, row 7 is `rw` while that is Served, and otherwise what
//! follows. With `routing.replicas` or `routing.defaultTarget` the plan has put the primary into the routes already.

mod build;
mod document;
mod earlier;
mod entry;
pub mod named;
mod ranges;
mod request;
#[cfg(feature = "schema")]
mod schema;
mod subject;
mod text;
mod word;

pub use document::{CircuitBreaker, Class, HealthCheck, PolicyName, Region, RoutingTable};
pub use entry::{Connection, Endpoint, Route, RouteTarget, Service};
pub use ranges::Unusable;
pub use request::{NoRoute, Request, RouteChoice};
#[cfg(feature = "schema")]
pub use schema::schema;
pub use subject::Subject;
pub use text::{TableError, is_intact};
pub use word::{SslMode, VERSION, Version};

#[cfg(test)]
mod tests;
