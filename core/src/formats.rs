//! Texts for clients and proxies, computed from the routing table alone. Every format has one shape: a function from the table
//! to its documents, in any order, each with a name of its own.

mod document;
mod env;
mod jdbc;
mod libpq;
mod uri;

pub use document::Document;

use crate::outputs::Format;
use crate::table::RoutingTable;

/// What writes a format.
#[must_use]
pub const fn documents(format: Format) -> fn(&RoutingTable) -> Vec<Document> {
    match format {
        Format::Libpq => libpq::documents,
        Format::Jdbc => jdbc::documents,
        Format::Env => env::documents,
    }
}

#[cfg(test)]
mod tests;
