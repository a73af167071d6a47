//! The wire types of `distributary.dev/v1alpha1`, the CustomResourceDefinition made from them, and [`validate`], which
//! makes a policy of them that cannot be wrong.
//!
//! With the feature `kube` they have a schema and are a custom resource; without it they are the spec alone, and the crate
//! needs nothing of Kubernetes.

#![forbid(unsafe_code)]
// The rules of the schema are not used where there is none.
#![cfg_attr(not(feature = "kube"), allow(dead_code, unused_imports))]

mod checks;
mod connection;
mod duration;
mod endpoint;
pub mod environment;
mod failover;
#[cfg(feature = "kube")]
mod hash;
mod lag;
mod policy;
mod routing;
pub mod rules;
#[cfg(feature = "kube")]
mod schema;
#[cfg(feature = "kube")]
mod status;
pub mod validate;

pub use distributary_core::login::TlsMode;
pub use distributary_core::outputs::Format;
pub use distributary_core::policy::{EndpointState, Mode, OnPrimaryLoss, OnReadLoss, PrimaryRole, Strategy};
pub use distributary_core::routing::{Destination, ReadFallback, ZoneHints};

pub use checks::{CircuitBreaker, HalfOpen, HealthCheck};
pub use connection::{Connection, KeyRef, OptionalKeyRef, SecretRef, Tls};
pub use duration::{DurationText, notation};
pub use endpoint::{Endpoint, ServiceRef};
pub use failover::{Failover, Identity, IdentityCheck};
pub use lag::ReplicationLag;
#[cfg(feature = "kube")]
pub use policy::ReplicaSetPolicy;
pub use policy::{
    CHECK_REQUESTED_AT, ConfigMapOutput, DeletionPolicy, LoadBalancing, MANAGED_BY, MetadataOutput, Outputs,
    PerRegion, ReplicaSetPolicySpec, ServicesOutput, Switch,
};
pub use routing::{Class, Least, Priorities, Region, ReplicaSelector, Routing};
#[cfg(feature = "kube")]
pub use schema::crd;
#[cfg(feature = "kube")]
pub use status::{
    ClassStatus, EndpointStatus, FailoverStatus, HolderStatus, LagStatus, MemoryStatus, PrimaryStatus,
    ReplicaSetPolicyStatus, RouteStatus, RoutingStatus, ServerStatus, Summary, TargetStatus,
};
