//! The wire types of `distributary.dev/v1alpha1`, and the CustomResourceDefinition made from them.

mod connection;
mod duration;
mod endpoint;
mod policy;
pub mod rules;
mod schema;
mod status;

pub use connection::{Connection, KeyRef, OptionalKeyRef, SecretRef, Tls, TlsMode};
pub use duration::DurationText;
pub use endpoint::{Endpoint, EndpointState};
pub use policy::{
    CircuitBreaker, ConfigMapOutput, DeletionPolicy, Failover, HalfOpen, HealthCheck, LoadBalancing, Mode,
    Outputs, ReadFallback, ReplicaSetPolicy, ReplicaSetPolicySpec, ServicesOutput, Strategy, Switch,
};
pub use schema::crd;
pub use status::{
    EndpointStatus, PrimaryStatus, ReplicaSetPolicyStatus, RoutingStatus, Summary, TargetStatus,
};
