//! The ConfigMaps of a policy: what each of them holds, and whether that is more than one can hold.

use std::fmt;

use crate::formats::{self, Document};
use crate::outputs::{Format, MOST_BYTES, Outputs};
use crate::plan;
use crate::policy::Policy;
use crate::resolved::Resolved;
use crate::table::{RoutingTable, Subject};

/// The key of the routing table.
pub const ROUTING: &str = "routing.json";

/// A ConfigMap as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigMap {
    pub name: String,
    pub contents: Vec<Content>,
}

/// A part of a ConfigMap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Content {
    /// The key of the routing table, or the word of a format.
    pub name: &'static str,
    pub documents: Vec<Document>,
}

impl Content {
    fn bytes(&self) -> usize {
        self.documents.iter().map(|document| document.text.len()).sum()
    }
}

impl ConfigMap {
    /// What is in it, by keys.
    pub fn documents(&self) -> impl Iterator<Item = &Document> {
        self.contents.iter().flat_map(|content| &content.documents)
    }

    /// Of all values: what the API server counts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.contents.iter().map(Content::bytes).sum()
    }

    /// Why the API server would refuse it; `None`: it has room for everything.
    #[must_use]
    pub fn too_large(&self) -> Option<TooLarge> {
        let bytes = self.bytes();
        (bytes > MOST_BYTES).then(|| TooLarge {
            config_map: self.name.clone(),
            bytes,
            parts: self.contents.iter().map(|it| (it.name, it.bytes())).collect(),
        })
    }
}

/// A ConfigMap that would hold more than it can.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct TooLarge {
    pub config_map: String,
    /// Of all values.
    pub bytes: usize,
    /// What they are, and the bytes of each.
    pub parts: Vec<(&'static str, usize)>,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|(name, bytes)| format!("{name} {bytes}"))
            .collect();
        let (bytes, parts) = (self.bytes, parts.join(", "));
        write!(f, "{bytes} of at most {MOST_BYTES} bytes ({parts})")
    }
}

/// The ConfigMaps that tell a table, each with what is computed from the table alone.
#[must_use]
pub fn config_maps(outputs: &Outputs, table: &RoutingTable) -> Vec<ConfigMap> {
    let environment = outputs.environment().map(|name| ConfigMap {
        name: name.to_owned(),
        contents: vec![content(Format::Env, table)],
    });
    std::iter::once(of_routes(outputs, table))
        .chain(environment)
        .collect()
}

fn of_routes(outputs: &Outputs, table: &RoutingTable) -> ConfigMap {
    let routing = Content {
        name: ROUTING,
        documents: vec![Document::new(ROUTING, table.text())],
    };
    let uris = outputs.formats.iter().filter(|format| **format != Format::Env);
    let uris = uris.map(|format| content(*format, table));
    ConfigMap {
        name: outputs.config_map.clone(),
        contents: std::iter::once(routing).chain(uris).collect(),
    }
}

fn content(format: Format, table: &RoutingTable) -> Content {
    Content {
        name: format.word(),
        documents: formats::documents(format)(table),
    }
}

/// The ConfigMap of the routes at its largest, while each endpoint is one server: a Service can have more pods, and the host of
/// a URL in a Secret is not known before it is read. That of the environment, without routes, is always small.
#[must_use]
pub fn largest(policy: &Policy, resolved: &Resolved, outputs: &Outputs) -> ConfigMap {
    let plan = plan::largest(policy, resolved);
    let subject = Subject {
        policy,
        resolved,
        outputs,
        plan: &plan,
    };
    of_routes(outputs, &RoutingTable::new(&subject))
}

#[cfg(test)]
mod tests;
