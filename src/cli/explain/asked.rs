//! The route that `explain` is asked about.

use super::Arguments;
use crate::cli::Error;
use crate::cli::endpoints::Shown;
use distributary_core::observation::Role;
use distributary_core::routing::{Priority, Target};
use distributary_core::table::{Request, RoutingTable};

/// The one route that is asked for, and who is to serve it.
pub struct Asked {
    pub route: String,
    target: Target,
}

impl Asked {
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
        let routed = table
            .route(&request)
            .map_err(|error| Error::invalid(error.to_string()))?;
        Ok(Some(Self {
            route: routed.route.to_owned(),
            target: routed.target,
        }))
    }

    /// Why a server that is well is not in the route.
    pub fn why_not(&self, shown: &Shown) -> &'static str {
        if shown.classes.iter().any(|class| class.name == self.route) {
            return "the class does not use it, see above";
        }
        match (self.target, Role::from_word(&shown.role)) {
            (Target::Primary, Some(Role::Standby)) => "only the primary serves this route",
            (Target::PrimaryPreferred, Some(Role::Standby)) => {
                "the primary serves this route while it is well"
            }
            (Target::ReplicasOnly, Some(Role::Primary)) => "the primary never serves this route",
            (Target::Replicas, Some(Role::Primary)) => "the primary serves this route only as a fallback",
            _ => {
                "other servers come first: the servers that the class selects, or servers of a nearer region"
            }
        }
    }
}

/// `None`: nothing is asked for. Without an operation reads are meant.
fn request(arguments: &Arguments) -> Option<Request<'_>> {
    let request = Request {
        operation: arguments.operation.as_deref(),
        class: arguments.class.as_deref(),
        region: arguments.region.as_deref(),
        priority: arguments.priority.as_deref().and_then(Priority::from_word),
        read_only: arguments.read_only,
        prefer_primary: arguments.prefer_primary,
    };
    (request != Request::default()).then(|| Request {
        read_only: arguments.read_only || arguments.operation.is_none(),
        ..request
    })
}
