//! The wire types of `distributary.dev/v1alpha1`, and the CustomResourceDefinition made from them.

mod checks;
mod connection;
mod duration;
mod endpoint;
mod failover;
mod lag;
mod policy;
mod routing;
pub mod rules;
mod schema;
mod status;

pub use checks::{CircuitBreaker, HalfOpen, HealthCheck};
pub use connection::{Connection, KeyRef, OptionalKeyRef, SecretRef, Tls, TlsMode};
pub use duration::DurationText;
pub use endpoint::{Endpoint, EndpointState, ServiceRef};
pub use failover::{Failover, Identity, IdentityCheck, OnPrimaryLoss, PrimaryRole, ReadFallback};
pub use lag::{LagSource, ReplicationLag};
pub use policy::{
    CHECK_REQUESTED_AT, ConfigMapOutput, DeletionPolicy, Format, LoadBalancing, Mode, Outputs, PerRegion,
    ReplicaSetPolicy, ReplicaSetPolicySpec, ServicesOutput, Strategy, Switch,
};
pub use routing::{
    Class, DefaultTarget, Least, Priorities, PriorityTarget, Region, ReplicaSelector, Routing, Target,
    ZoneHints,
};
pub use schema::crd;
pub use status::{
    ClassStatus, EndpointStatus, FailoverStatus, PrimaryStatus, ReplicaSetPolicyStatus, RouteStatus,
    RoutingStatus, Summary, TargetStatus,
};
