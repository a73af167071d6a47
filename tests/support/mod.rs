//! Policies from text, and a prober of scripted servers that runs in simulated time.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod arbitrary;
pub mod log;
pub mod simulation;

use std::sync::Arc;

use distributary::api::ReplicaSetPolicy;
use distributary::domain::observation::FailureKind;
use distributary::domain::policy::Policy;
use distributary::validate::{self, Secrets, Services};

/// The policy of a spec in YAML, as `shop/orders`.
pub fn policy(spec: &str) -> Arc<Policy> {
    let spec: serde_json::Value = serde_yaml::from_str(spec).expect("the spec is YAML");
    let object = serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 1},
        "spec": spec,
    });
    let object: ReplicaSetPolicy = serde_json::from_value(object).expect("the spec is a policy's");
    Arc::new(validate::policy(&object, &Secrets::new(), &Services::new()).expect("the policy is valid"))
}

/// A failure by its name in status.
pub fn failure(name: &str) -> FailureKind {
    const ALL: [FailureKind; 22] = [
        FailureKind::ConnectRefused,
        FailureKind::ConnectionReset,
        FailureKind::ConnectionClosed,
        FailureKind::TimedOut,
        FailureKind::Unreachable,
        FailureKind::Starting,
        FailureKind::Stopping,
        FailureKind::Saturated,
        FailureKind::AuthenticationFailed,
        FailureKind::DatabaseMissing,
        FailureKind::TlsFailed,
        FailureKind::TlsNotOffered,
        FailureKind::PasswordMethodRefused,
        FailureKind::SecretUnresolved,
        FailureKind::OutOfResources,
        FailureKind::NameNotFound,
        FailureKind::ResolverFailed,
        FailureKind::AddressRefused,
        FailureKind::ServerFailing,
        FailureKind::ProtocolViolation,
        FailureKind::ReplyTooLong,
        FailureKind::OtherError,
    ];
    let found = ALL.into_iter().find(|kind| kind.to_string() == name);
    found.unwrap_or_else(|| panic!("{name} is no failure"))
}
