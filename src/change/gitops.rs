//! Whether GitOps manages a policy: it would take back what is changed beside it. Pure.

use serde_json::Value;

use super::refusal::Refusal;

/// Managers of fields that are those of a tool, and the name of the tool.
const MANAGERS: [(&str, &str); 3] = [
    ("argocd-controller", "Argo CD"),
    ("kustomize-controller", "Flux Kustomization"),
    ("helm-controller", "Flux HelmRelease"),
];

/// Fails where GitOps manages the policy. `force_by`: how a caller insists.
///
/// # Errors
/// `ManagedByGitOps`, with who does.
pub fn refuses(policy: &Value, force_by: &str) -> Result<(), Refusal> {
    let Some(owner) = owner(policy) else {
        return Ok(());
    };
    let message = format!(
        "{owner} manages this policy, and would take the change back: change it at its source, or {force_by}"
    );
    Err(Refusal::new(409, "ManagedByGitOps", message))
}

fn owner(policy: &Value) -> Option<String> {
    let metadata = &policy["metadata"];
    if let Some(id) = metadata["annotations"]["argocd.argoproj.io/tracking-id"].as_str() {
        let application = id.split(':').next().unwrap_or_default();
        return Some(format!("the Argo CD application {application}"));
    }
    for (group, kind) in [("kustomize", "Kustomization"), ("helm", "HelmRelease")] {
        let label = |what: &str| metadata["labels"][format!("{group}.toolkit.fluxcd.io/{what}")].as_str();
        if let Some(name) = label("name") {
            let namespace = label("namespace")
                .map(|namespace| format!("{namespace}/"))
                .unwrap_or_default();
            return Some(format!("the Flux {kind} {namespace}{name}"));
        }
    }
    let fields = metadata["managedFields"].as_array()?;
    let named = |(manager, tool): &(&str, &str)| {
        let is_its = |entry: &&Value| {
            entry["manager"] == *manager && entry["subresource"].as_str().is_none_or(str::is_empty)
        };
        fields
            .iter()
            .find(is_its)
            .map(|_| format!("{tool} (field manager {manager})"))
    };
    MANAGERS.iter().find_map(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_manages_a_policy_is_named() {
        let cases = [
            (json!({}), None),
            (
                json!({"labels": {"app": "x"}, "annotations": {"a": "b"}, "managedFields": [{"manager": "kubectl"}]}),
                None,
            ),
            (
                json!({"annotations": {"argocd.argoproj.io/tracking-id": "shop:distributary.dev/ReplicaSetPolicy:shop/orders"}}),
                Some("the Argo CD application shop"),
            ),
            (
                json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system"}}),
                Some("the Flux Kustomization flux-system/apps"),
            ),
            (
                json!({"labels": {"helm.toolkit.fluxcd.io/name": "shop"}}),
                Some("the Flux HelmRelease shop"),
            ),
            (
                json!({"managedFields": [{"manager": "distributary-api"}, {"manager": "argocd-controller"}]}),
                Some("Argo CD (field manager argocd-controller)"),
            ),
            (
                json!({"managedFields": [{"manager": "kustomize-controller"}]}),
                Some("Flux Kustomization (field manager kustomize-controller)"),
            ),
            (
                json!({"managedFields": [{"manager": "helm-controller"}]}),
                Some("Flux HelmRelease (field manager helm-controller)"),
            ),
        ];
        for (metadata, expected) in cases {
            let policy = json!({"metadata": metadata});
            assert_eq!(owner(&policy).as_deref(), expected, "{metadata}");
            let refused = refuses(&policy, "use --force").err();
            assert_eq!(refused.is_some(), expected.is_some());
            assert!(refused.is_none_or(|refused| refused.message.ends_with("or use --force")));
        }
    }
}
