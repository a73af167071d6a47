use serde_json::json;

use super::*;

fn object(mode: &str) -> Value {
    json!({
        "apiVersion": "distributary.dev/v1alpha1",
        "kind": "ReplicaSetPolicy",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {"mode": mode, "primary": {"host": "pg.example.com"}},
        "status": {"conditions": "not even a list"},
    })
}

#[test]
fn a_status_that_cannot_be_read_is_no_fault_of_the_spec() {
    assert!(parse(object("Enforce")).is_ok());
}

#[test]
fn a_word_of_a_newer_version_is_a_problem_of_that_policy_alone() {
    let problem = parse(object("Rehearse")).unwrap_err();
    assert!(
        problem.starts_with("spec cannot be read by this version: unknown variant `Rehearse`"),
        "{problem}"
    );
}

#[test]
fn an_error_is_told_with_its_causes_once() {
    let source = super::super::error::CallError::Deadline(Duration::from_secs(10));
    let error = Error::UpdateStatus {
        name: "orders".to_owned(),
        source,
    };
    assert_eq!(
        chain(&error),
        "cannot update the status of orders: no answer within 10s"
    );
}
