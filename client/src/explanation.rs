//! Why a request goes where it goes, in the words of `distributary explain`.

use std::fmt;
use std::net::SocketAddr;

use distributary_core::breaker::CircuitState;
use distributary_core::health::Reason;
use distributary_core::plan::{Admission, RouteState};
use distributary_core::routing::Destination;
use distributary_core::table::{NoRoute, Request, RouteTarget};

use crate::routes::Candidate;
use crate::server::Server;
use crate::snapshot::Snapshot;

/// The route of a request, and who serves it now. Its `Display` says it in lines for people.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the route: a key of `routes` of routing.json.
    pub route: String,
    /// Whether it is served, by its own targets or by others; `None`: the table has no such route.
    pub state: Option<RouteState>,
    /// Who is to serve it.
    pub destination: Destination,
    /// The class of the request, where it has one.
    pub class: Option<String>,
    /// Whether the request is taken for a read.
    pub read: bool,
    /// The targets, in the order of the table.
    pub targets: Vec<ExplainedTarget>,
    /// The revision of the routing table.
    pub revision: String,
}

/// A target of the route.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct ExplainedTarget {
    /// The id of its endpoint.
    pub endpoint: String,
    /// Its address and port.
    pub address: SocketAddr,
    /// On what ground the table has it here.
    pub admission: Admission,
    /// Its share in hundredths; of the lowest `order` that has any target that serves.
    pub weight: u32,
    /// Targets of a higher order serve when none of a lower one does.
    pub order: u16,
    /// The share of such requests that the program itself lets pass, in percent; 0: none.
    pub share: u32,
    /// Why that is less than 100: `Suspect`, `CircuitOpen`, `HalfOpen`, `LoginRefused` (by what the program has seen of the server) or
    /// `Operation` (by what it has seen of this class or operation there).
    pub reason: Option<&'static str>,
}

impl Explanation {
    /// Of a request by a table.
    pub(crate) fn of(snapshot: &Snapshot, request: &Request<'_>, read: bool) -> Result<Self, NoRoute> {
        let choice = snapshot.table.route(request)?;
        let kind = choice.class.or(request.operation);
        let route = snapshot.table.routes.get(choice.route);
        let target = |target: &RouteTarget| {
            let address = SocketAddr::new(target.address, target.port);
            let server = snapshot.server(&target.endpoint, address);
            let share = server.map_or(0, |server| server.share(kind));
            ExplainedTarget {
                endpoint: target.endpoint.clone(),
                address,
                admission: target.admission,
                weight: target.weight,
                order: target.order,
                share,
                reason: server.filter(|_| share < 100).map(|server| reason(server)),
            }
        };
        Ok(Self {
            route: choice.route.to_owned(),
            state: route.map(|route| route.state),
            destination: choice.destination,
            class: choice.class.map(str::to_owned),
            read,
            targets: route
                .iter()
                .flat_map(|route| &route.targets)
                .map(target)
                .collect(),
            revision: snapshot.table.revision.clone(),
        })
    }
}

/// Why a server takes fewer requests than the table says.
fn reason(server: &Server) -> &'static str {
    if server.gate.is_suspected() {
        return Reason::Suspect.word();
    }
    match server.gate.circuit() {
        CircuitState::Open => Reason::CircuitOpen.word(),
        CircuitState::HalfOpen => CircuitState::HalfOpen.word(),
        CircuitState::Closed if server.gate.share() < 100 => "LoginRefused",
        CircuitState::Closed => "Operation",
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.read { "read" } else { "write" };
        let state = self.state.map_or("Empty", RouteState::word);
        write!(f, "{kind} on the route {} ({state}", self.route)?;
        match &self.class {
            Some(class) => write!(f, "; class {class}, {})", self.destination)?,
            None => write!(f, "; {})", self.destination)?,
        }
        write!(f, ", revision {:.12}", self.revision)?;
        for target in &self.targets {
            let ExplainedTarget {
                endpoint,
                address,
                admission,
                weight,
                ..
            } = target;
            write!(f, "\n  {endpoint} {address} {admission} weight {weight}")?;
            if target.order > 0 {
                write!(f, " order {}", target.order)?;
            }
            if let Some(reason) = target.reason {
                write!(f, "; {} % pass here: {reason}", target.share)?;
            }
        }
        Ok(())
    }
}
