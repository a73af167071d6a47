//! `routing.json` as a text: written, read, and its revision.

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::document::RoutingTable;
use super::earlier;
use super::named::{DEFAULT, WRITES};
use super::ranges::{self, Unusable};
use super::word::VERSION;
use crate::outputs::MOST_BYTES;

/// Bytes: no ConfigMap holds more.
const LONGEST: usize = MOST_BYTES;
/// Characters of a version that are told.
const VERSION_TOLD: usize = 64;
const REVISION: &str = "revision";

/// Why a text is no routing table.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    #[error("cannot read routing.json: it is longer than {LONGEST} bytes")]
    TooLong,
    #[error("cannot read routing.json of version {version}: only {VERSION} is known")]
    OtherVersion { version: String },
    #[error("cannot read routing.json")]
    Malformed {
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot read routing.json: it names the route {route} and does not have it")]
    NoSuchRoute { route: String },
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    version: String,
}

impl RoutingTable {
    /// Reads `routing.json`, also as version 0.1.0 wrote it. Fields that are not known are passed over. The revision is taken
    /// as it stands: [`is_intact`] proves it.
    ///
    /// # Errors
    /// The text is longer than 1 MiB, is of another version, is not of the form of the schema, names a route or an endpoint that
    /// it does not have, or has a number that is out of its range.
    pub fn read(text: &str) -> Result<Self, TableError> {
        if text.len() > LONGEST {
            return Err(TableError::TooLong);
        }
        let malformed = |source| TableError::Malformed { source };
        let Head { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            let version = version.chars().take(VERSION_TOLD).collect();
            return Err(TableError::OtherVersion { version });
        }
        let document = serde_json::from_str(text).map_err(malformed)?;
        let table: Self = serde_json::from_value(earlier::completed(document)).map_err(malformed)?;
        if let Some(route) = table.missing() {
            return Err(TableError::NoSuchRoute {
                route: route.to_owned(),
            });
        }
        ranges::check(&table)?;
        Ok(table)
    }

    /// One line of JSON and a line feed: the same table gives the same bytes, the keys of each object in ascending order.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n", canonical(self.value()))
    }

    /// The revision that belongs to the table: SHA-256 of all the rest, 64 hexadecimal digits.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(self.value())
    }

    /// A table has no key that is not a string, and no number that is not whole: it is always a value.
    fn value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }

    /// A route that is named and is not there.
    fn missing(&self) -> Option<&str> {
        let classes = self.classes.iter().map(|class| class.route.as_str());
        let regions = self.regions.iter().map(|region| region.route.as_str());
        let mut named = [WRITES, DEFAULT, self.default_route.as_str()]
            .into_iter()
            .chain(classes)
            .chain(regions);
        named.find(|route| !self.routes.contains_key(*route))
    }
}

/// Whether `routing.json` carries the revision of what it says; fields that this version does not know count too.
#[must_use]
pub fn is_intact(text: &str) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return false;
    };
    let told = document
        .get(REVISION)
        .and_then(Value::as_str)
        .map(ToOwned::to_owned);
    told.is_some_and(|told| told == digest(document))
}

fn digest(mut document: Value) -> String {
    if let Some(fields) = document.as_object_mut() {
        fields.remove(REVISION);
    }
    hex(&Sha256::digest(canonical(document)))
}

/// Compact, with sorted keys, whatever order serde_json was built to keep.
fn canonical(mut document: Value) -> String {
    document.sort_all_objects();
    document.to_string()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
