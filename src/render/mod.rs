//! From a decision to whole objects and texts. Pure, and cannot fail; objects are JSON, so that what is compared and
//! written is exactly what is meant.

pub mod advice;
pub mod cause;
pub mod config_map;
pub mod endpoint_slices;
pub mod events;
pub mod labels;
pub mod merge;
pub mod names;
pub mod reading;
pub mod remarks;
pub mod services;
pub mod status;

use serde_json::Value;

use distributary_core::config_maps::{TooLarge, config_maps};
use distributary_core::table::RoutingTable;
pub use distributary_core::table::Subject;
use distributary_core::table::named::{self, NamedRoute};

/// The kinds of objects that the operator writes.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(const_into_str)]
pub enum Kind {
    EndpointSlice,
    Service,
    ConfigMap,
}

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Self] = <Self as strum::VariantArray>::VARIANTS;

    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::EndpointSlice => "discovery.k8s.io/v1",
            Self::Service | Self::ConfigMap => "v1",
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        self.into_str()
    }
}

/// An object of a policy's namespace.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectId {
    pub kind: Kind,
    pub name: String,
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind.name(), self.name)
    }
}

/// A whole object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub id: ObjectId,
    pub body: Value,
}

/// All objects of a plan, and its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifests {
    pub objects: Vec<Manifest>,
    /// ConfigMaps that would hold more than they can: what there is of them stays.
    pub too_large: Vec<TooLarge>,
    /// SHA-256 of the plan as routing.json tells it, in hexadecimal.
    pub revision: String,
}

/// Renders a plan. The same plan gives the same bytes.
#[must_use]
pub fn render(subject: &Subject<'_>) -> Manifests {
    let table = RoutingTable::new(subject);
    let mut objects = Vec::new();
    if let Some(prefix) = &subject.outputs.services {
        let routes = named::routes(subject.policy, subject.outputs, subject.plan);
        for NamedRoute { name, route, .. } in routes.iter().filter(|it| it.service) {
            objects.extend(endpoint_slices::render(subject, prefix, name, route));
            objects.push(services::render(subject, prefix, name));
        }
    }
    let mut too_large = Vec::new();
    for map in config_maps(subject.outputs, &table) {
        match map.too_large() {
            Some(larger) => too_large.push(larger),
            None => objects.push(config_map::render(subject, &map)),
        }
    }
    Manifests {
        objects,
        too_large,
        revision: table.revision,
    }
}

#[cfg(test)]
mod tests;
