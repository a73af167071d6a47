use serde_json::json;

use super::*;

/// Helm and `kubectl label` write on it, too.
#[test]
fn what_others_keep_on_the_lease_stays_when_it_is_renewed() {
    let metadata = json!({
        "name": "distributary",
        "resourceVersion": "7",
        "labels": {"app.kubernetes.io/managed-by": "Helm"},
        "annotations": {"meta.helm.sh/release-name": "d"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "u"}],
        "finalizers": ["example.com/keep"],
    });
    let lease: Lease = serde_json::from_value(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata,
        "spec": {"holderIdentity": "pod-1"},
    }))
    .unwrap();
    let renewed = serde_json::to_value(object("distributary", &record(&lease))).unwrap();
    assert_eq!(renewed["metadata"], metadata);
}
