//! The route that `explain` is asked about.

use super::Arguments;
use crate::cli::Error;
use crate::cli::endpoints::Row;
use distributary_core::observation::Role;
use distributary_core::routing::Destination;
use distributary_core::table::{Endpoint, Request, RoutingTable};

/// The one route that is asked for, and who is to serve it.
pub struct RouteQuery {
    pub route: String,
    destination: Destination,
    /// The class whose route it is.
    class: Option<String>,
    /// The endpoints that are dedicated to other classes.
    dedicated: Vec<String>,
}

impl RouteQuery {
    /// `None`: all of them are.
    ///
    /// # Errors
    /// There is no such class or region, or nothing that tells of them.
    pub fn of(arguments: &Arguments, table: Option<&RoutingTable>) -> Result<Option<Self>, Error> {
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
            (Destination::Replicas, Some(Role::Primary)) => {
                "the primary serves this route only as a fallback"
            }
            _ => {
                "other servers come first: the servers that the class selects, or servers of a nearer region"
            }
        }
    }
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
