//! What a policy is made of.

use super::endpoint::{DeclaredRole, Endpoint};
use super::settings::{BreakerSettings, Failover, IdentityRule, Mode, Probing, Strategy};
use crate::ids::{ClassName, EndpointId, PolicyKey};
use crate::routing::{Class, ReadFallback, Routing};
use crate::server::ClientSettings;

/// What a [`super::Policy`] is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyParts {
    /// Namespace and name.
    pub key: PolicyKey,
    /// The uid of the object: an object of the same name made later is another policy.
    pub uid: String,
    /// `metadata.generation`: rises with every change of the spec.
    pub generation: i64,
    /// What the operator does with it.
    pub mode: Mode,
    /// The declared primary first, then the replicas as declared; ids are unique.
    pub endpoints: Vec<Endpoint>,
    /// How servers prove that they belong to this database.
    pub identity: IdentityRule,
    /// What the weights of targets come from.
    pub strategy: Strategy,
    /// Which routes there are, and who may serve them.
    pub routing: Routing,
    /// When servers are checked.
    pub probing: Probing,
    /// When circuits open and close.
    pub breaker: BreakerSettings,
    /// What happens when servers are lost.
    pub failover: Failover,
    /// How clients connect, where an endpoint says nothing else.
    pub clients: ClientSettings,
    /// The annotation `distributary.dev/check-requested-at`: when it changes, every server is checked at once.
    pub check_request: Option<String>,
}

impl PolicyParts {
    #[must_use]
    pub fn endpoint(&self, id: &EndpointId) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.id == *id)
    }

    /// Whether replicas that are too far behind may stand in, the least far first.
    #[must_use]
    pub fn compares_lagging(&self) -> bool {
        let of_classes = self
            .routing
            .classes
            .iter()
            .filter_map(|class| class.read_fallback.as_ref());
        let mut lists = of_classes.chain([&self.failover.read_fallback]);
        lists.any(|list| list.contains(&ReadFallback::LaggingReplicas))
    }

    /// Whether an endpoint, in whatever state, is dedicated to a class.
    #[must_use]
    pub fn has_dedicated(&self, class: &ClassName) -> bool {
        self.endpoints
            .iter()
            .any(|endpoint| endpoint.dedicated_to.contains(class))
    }

    /// Whether a class has a route that leads elsewhere than those of writes and of all reads: it may read from replicas, and
    /// it is declared, or endpoints are dedicated to it.
    #[must_use]
    pub fn has_own_route(&self, class: &Class) -> bool {
        class.has_route() && (class.declared || self.has_dedicated(&class.name))
    }

    /// Whether reads of a class are meant for an endpoint, in whatever state it is: the class selects it, or it is dedicated to the
    /// class where some are. `None`: reads that no class names.
    #[must_use]
    pub fn prefers(&self, class: Option<&Class>, endpoint: &Endpoint) -> bool {
        let Some(class) = class else {
            return endpoint.serves(None);
        };
        let dedicated = class.selector.selects_all() && self.has_dedicated(&class.name);
        endpoint.serves(Some(&class.name))
            && class.selector.selects(&endpoint.id, &endpoint.tags)
            && (!dedicated || endpoint.dedicated_to.contains(&class.name))
    }

    /// The declared replicas, in their order.
    pub fn replicas(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints
            .iter()
            .filter(|endpoint| endpoint.declared == DeclaredRole::Replica)
    }
}
