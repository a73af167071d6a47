//! Policies from text, and a prober of scripted servers that runs in simulated time.

#![allow(dead_code, reason = "each test binary uses its part")]

pub mod arbitrary;
pub mod log;
pub mod servers;
pub mod simulation;

use distributary::render::{Manifests, Subject, render};
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Secrets, Services};
use distributary_core::fixture::Case;
use distributary_core::observation::FailureKind;
use distributary_core::outputs::Outputs;
use distributary_core::plan::RoutingPlan;
use distributary_core::policy::PolicyParts;

/// The policy of a spec in YAML, as `shop/orders`.
pub fn policy(spec: &str) -> Case {
    let spec: serde_json::Value = serde_yaml::from_str(spec).expect("the spec is YAML");
    let object = serde_json::json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "uid-1", "generation": 1},
        "spec": spec,
    });
    let object: ReplicaSetPolicy = serde_json::from_value(object).expect("the spec is a policy's");
    let valid = validate::policy(&object).expect("the policy is valid");
    let looked_up = validate::resolve(&object, &Secrets::new(), &Services::new());
    Case::new(PolicyParts::clone(&valid.policy), looked_up)
}

/// The objects of a plan, under the usual names.
pub fn rendered(policy: &Case, outputs: &Outputs, plan: &RoutingPlan) -> Manifests {
    render(&Subject {
        policy: &policy.policy(),
        resolved: &policy.resolved(),
        outputs,
        plan,
    })
}

/// A failure by its name in status.
pub fn failure(name: &str) -> FailureKind {
    FailureKind::from_word(name).unwrap_or_else(|| panic!("{name} is no failure"))
}
