//! Which route a request takes: the table of the rules is in the docs of the parent module.

use std::fmt;

use super::document::{Class, RoutingTable};
use super::named::{PRIMARY_PREFERRED, WRITES};
use crate::plan::RouteState;
use crate::routing::{Destination, Priority, PriorityDestination, ReadFallback};

/// What a client says of an operation. The default says nothing, and is a write.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Request<'a> {
    /// The name of the operation, such as `findMany` or `create`.
    pub operation: Option<&'a str>,
    /// The name of a class, in place of the one that has the operation.
    pub class: Option<&'a str>,
    /// Where the client is: counts for reads that no class names.
    pub region: Option<&'a str>,
    pub priority: Option<Priority>,
    /// It writes nothing. Counts for operations that no class names.
    pub read_only: bool,
    /// A read that should see the newest data where it can.
    pub prefer_primary: bool,
}

/// The way of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RouteChoice<'a> {
    /// The name of the route: a key of `routes`.
    pub route: &'a str,
    /// Who is to serve it.
    pub destination: Destination,
    /// The class whose route it is, by its name; `None`: a route of no class.
    pub class: Option<&'a str>,
}

/// Why a request has no route.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NoRoute {
    #[error("there is no class {class}{}", KnownNames(known))]
    UnknownClass {
        class: String,
        /// The classes that there are, in the order of their names.
        known: Vec<String>,
    },
    #[error("there is no region {region} in loadBalancing.regions{}", KnownNames(known))]
    UnknownRegion {
        region: String,
        /// The regions that have a route, as declared.
        known: Vec<String>,
    },
}

/// The names that there are instead.
struct KnownNames<'a>(&'a [String]);

impl fmt::Display for KnownNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => Ok(()),
            [only] => write!(f, ": there is {only}"),
            several => write!(f, ": there are {}", several.join(", ")),
        }
    }
}

impl RoutingTable {
    /// The route of a request, by the rules in the docs of [`crate::table`]. It parses no SQL and knows no load: it reads the
    /// table alone, and the same request has the same route while the revision stays.
    ///
    /// # Errors
    /// A class that the policy does not have; a region that has no route, where the region decides.
    pub fn route<'a>(&'a self, request: &Request<'_>) -> Result<RouteChoice<'a>, NoRoute> {
        let routed = match self.classified(request)? {
            Kind::Write => writes(Destination::Primary),
            Kind::Read(class) => self.read_route(request, class)?,
        };
        let destination = if self.replicas {
            routed.destination
        } else {
            Destination::Primary
        };
        Ok(RouteChoice {
            destination,
            ..routed
        })
    }

    /// Whether the primary serves a request where no target of its route answers.
    #[must_use]
    pub fn primary_stands_in(&self, choice: &RouteChoice<'_>) -> bool {
        if choice.destination == Destination::ReplicasOnly {
            return false;
        }
        let class = choice
            .class
            .and_then(|name| self.classes.iter().find(|class| class.name == name));
        let own = class.and_then(|class| class.read_fallback.as_ref());
        let fallback = own.or(self.read_fallback.as_ref());
        fallback.is_some_and(|fallback| fallback.contains(&ReadFallback::Primary))
    }

    fn classified(&self, request: &Request<'_>) -> Result<Kind<'_>, NoRoute> {
        let of_operation = request.operation.and_then(|operation| {
            let has = |class: &&Class| class.operations.iter().any(|it| it == operation);
            self.classes.iter().find(has)
        });
        let named = request.class.map(|class| self.class(class)).transpose()?;
        let is_write = |class: &Class| class.destination == Destination::Primary;
        if of_operation.is_some_and(is_write) || named.is_some_and(is_write) {
            return Ok(Kind::Write);
        }
        Ok(match named.or(of_operation) {
            None if !request.read_only => Kind::Write,
            class => Kind::Read(class),
        })
    }

    fn read_route<'a>(
        &'a self,
        request: &Request<'_>,
        class: Option<&'a Class>,
    ) -> Result<RouteChoice<'a>, NoRoute> {
        let priority = request.priority.as_ref();
        let decided = match priority.and_then(|priority| self.priorities.get(priority)) {
            Some(PriorityDestination::Primary) => Some(writes(Destination::Primary)),
            Some(PriorityDestination::PrimaryPreferred) => self.writes_if_served(),
            None if request.prefer_primary => self.preferred(class),
            Some(PriorityDestination::Replicas) | None => None,
        };
        match decided {
            Some(routed) => Ok(routed),
            None => self.usual(request, class),
        }
    }

    /// The route of reads that prefer the primary; `None`: the policy keeps the class from it, or nobody serves there.
    fn preferred(&self, class: Option<&Class>) -> Option<RouteChoice<'_>> {
        if class.is_some_and(|class| class.destination == Destination::ReplicasOnly) {
            return None;
        }
        let own = self.classes.iter().find(|class| class.name == PRIMARY_PREFERRED);
        match own.filter(|class| class.destination == Destination::PrimaryPreferred) {
            Some(own) => Some(of_class(own)),
            None => self.writes_if_served(),
        }
    }

    /// The route where neither a priority nor a wish for the primary decides.
    fn usual<'a>(
        &'a self,
        request: &Request<'_>,
        class: Option<&'a Class>,
    ) -> Result<RouteChoice<'a>, NoRoute> {
        let route = match (class, request.region) {
            (Some(class), _) => return Ok(of_class(class)),
            (None, Some(region)) => self.of_region(region)?,
            (None, None) => &self.default_route,
        };
        Ok(RouteChoice {
            route,
            destination: self.default_destination.into(),
            class: None,
        })
    }

    fn class(&self, name: &str) -> Result<&Class, NoRoute> {
        let class = self.classes.iter().find(|class| class.name == name);
        class.ok_or_else(|| NoRoute::UnknownClass {
            class: name.to_owned(),
            known: self.classes.iter().map(|class| class.name.clone()).collect(),
        })
    }

    fn of_region(&self, name: &str) -> Result<&str, NoRoute> {
        let region = self.regions.iter().find(|region| region.name == name);
        region
            .map(|region| region.route.as_str())
            .ok_or_else(|| NoRoute::UnknownRegion {
                region: name.to_owned(),
                known: self.regions.iter().map(|region| region.name.clone()).collect(),
            })
    }

    /// `rw`, for who prefers the primary and does not need it.
    fn writes_if_served(&self) -> Option<RouteChoice<'static>> {
        let route = self.routes.get(WRITES)?;
        (route.state == RouteState::Served).then_some(writes(Destination::PrimaryPreferred))
    }
}

/// What a request is by its class and its operation.
enum Kind<'a> {
    /// On `rw`, whatever else is said.
    Write,
    Read(Option<&'a Class>),
}

const fn writes(destination: Destination) -> RouteChoice<'static> {
    RouteChoice {
        route: WRITES,
        destination,
        class: None,
    }
}

fn of_class(class: &Class) -> RouteChoice<'_> {
    RouteChoice {
        route: &class.route,
        destination: class.destination,
        class: Some(&class.name),
    }
}
