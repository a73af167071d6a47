//! The route that `explain` is asked about.

use super::Arguments;
use crate::cli::Error;
use crate::cli::endpoints::Row;
use distributary_api::ReplicaSetPolicySpec;
use distributary_core::observation::Role;
use distributary_core::routing::{Destination, ReadFallback};
use distributary_core::table::{Endpoint, Request, RoutingTable};

/// The one route that is asked for, and who is to serve it.
pub struct RouteQuery {
    pub route: String,
    destination: Destination,
    /// The class whose route it is.
    class: Option<String>,
    /// The endpoints that are dedicated to other classes.
    dedicated: Vec<String>,
    /// Whether the primary is a fallback of the route.
    primary_stands_in: bool,
}

impl RouteQuery {
    /// `None`: all of them are.
    ///
    /// # Errors
    /// There is no such class or region, or nothing that tells of them.
    pub fn of(
        arguments: &Arguments,
        table: Option<&RoutingTable>,
        spec: &ReplicaSetPolicySpec,
    ) -> Result<Option<Self>, Error> {
        let Some(request) = request(arguments) else {
            return Ok(None);
        };
        let table = table.ok_or_else(|| {
            Error::Unusable(
                "the ConfigMap of the policy is missing or cannot be read; its routing.json lists the classes and regions"
                    .to_owned(),
            )
        })?;
        let choice = table
            .route(&request)
            .map_err(|error| Error::invalid(error.to_string()))?;
        Ok(Some(Self {
            route: choice.route.to_owned(),
            destination: choice.destination,
            class: choice.class.map(ToOwned::to_owned),
            dedicated: dedicated_to_others(table, choice.class),
            primary_stands_in: primary_stands_in(spec, choice.class),
        }))
    }

    /// Why a server that is well is not in the route.
    pub fn why_not(&self, row: &Row) -> &'static str {
        if row.away().any(|class| Some(&class.name) == self.class.as_ref()) {
            return "the class does not use it, see above";
        }
        let replica = self.destination != Destination::Primary
            && Role::from_word(&row.server.role) == Some(Role::Standby);
        if replica && self.dedicated.iter().any(|id| row.is_of(id)) {
            return "it is dedicated to other classes";
        }
        match (self.destination, Role::from_word(&row.server.role)) {
            (Destination::Primary, Some(Role::Standby)) => "only the primary serves this route",
            (Destination::PrimaryPreferred, Some(Role::Standby)) => {
                "the primary serves this route while it is well"
            }
            (Destination::ReplicasOnly, Some(Role::Primary)) => "the primary never serves this route",
            (Destination::Replicas, Some(Role::Primary)) if self.primary_stands_in => {
                "the primary serves this route only as a fallback"
            }
            (Destination::Replicas, Some(Role::Primary)) => {
                "the primary does not serve this route: it is not in its readFallback"
            }
            _ => {
                "other servers come first: the servers that the class selects, or servers of a nearer region"
            }
        }
    }
}

/// Whether the primary is in the fallback of a class, or in that of the policy where the class has none.
fn primary_stands_in(spec: &ReplicaSetPolicySpec, class: Option<&str>) -> bool {
    let mut classes = spec.routing.iter().flat_map(|routing| &routing.classes);
    let own = classes.find(|own| Some(own.name.as_str()) == class);
    let own = own.and_then(|class| class.read_fallback.as_ref());
    let of_policy = spec
        .failover
        .as_ref()
        .and_then(|failover| failover.read_fallback.as_ref());
    own.or(of_policy)
        .is_none_or(|fallback| fallback.contains(&ReadFallback::Primary))
}

fn dedicated_to_others(table: &RoutingTable, class: Option<&str>) -> Vec<String> {
    let to_others = |endpoint: &&Endpoint| {
        let mut own = endpoint.dedicated_to.iter().map(String::as_str);
        !endpoint.dedicated_to.is_empty() && !own.any(|own| Some(own) == class)
    };
    let endpoints = table.endpoints.iter().filter(to_others);
    endpoints.map(|endpoint| endpoint.id.clone()).collect()
}

/// `None`: nothing is asked for. Without an operation reads are meant.
fn request(arguments: &Arguments) -> Option<Request<'_>> {
    let request = Request {
        operation: arguments.operation.as_deref(),
        class: arguments.class.as_deref(),
        region: arguments.region.as_deref(),
        priority: arguments.priority,
        read_only: arguments.read_only,
        prefer_primary: arguments.prefer_primary,
    };
    (request != Request::default()).then(|| Request {
        read_only: arguments.read_only || arguments.operation.is_none(),
        ..request
    })
}
