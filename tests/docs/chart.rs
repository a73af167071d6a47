//! charts/distributary/README.md, made from the values of the chart.

use std::fmt::Write;

use crate::{below, must_be, read};

const HEAD: &str = "\
# The chart of Distributary

<!-- Generated from values.yaml: UPDATE_DOCS=1 cargo test --test docs -->

Distributary is a Kubernetes operator that routes PostgreSQL reads to replicas. The chart installs two Pods of it, their rights, and the
CustomResourceDefinition `ReplicaSetPolicy`. It needs Kubernetes 1.31 or later. No registry has the image: `make image` builds it, and you
push it to your registry.

```sh
helm install distributary charts/distributary -n distributary-system --create-namespace --set image.repository=REGISTRY/distributary
helm test distributary -n distributary-system
```

`helm test` ends well when policies can be read and a Pod renews the Lease, which is the Pod that writes the routes. `helm uninstall` leaves the
CustomResourceDefinition, and so every policy and every route. [The tutorial](../../docs/tutorial.md) goes on from here;
[Operations](../../docs/operations.md) explains rights, addresses, sizes and upgrades.

## Values

| value | default | |
|---|---|---|
";

/// A value with the comment above it.
struct Documented {
    path: String,
    default: String,
    text: String,
}

/// Whoever may forward to the operator's Pods reads the figures of every policy: docs/security.md.
#[test]
fn no_role_of_ours_may_forward_to_a_pod() {
    let mut read_some = 0;
    for folder in ["deploy", "charts/distributary"] {
        for file in below(folder, "yaml") {
            // It is a text for people.
            if file.ends_with("krew/distributary.yaml") {
                continue;
            }
            let text = read(&file);
            assert!(!text.contains("portforward"), "{}", file.display());
            let is_of_all = |line: &str| line.contains("resources:") && line.contains('*');
            assert!(!text.lines().any(is_of_all), "{}", file.display());
            read_some += usize::from(text.contains("kind: ClusterRole"));
        }
    }
    assert!(read_some > 1, "{read_some}");
}

#[test]
fn the_readme_of_the_chart_is_what_its_values_say() {
    let values = documented(&read("charts/distributary/values.yaml"));
    assert!(values.len() > 25, "{} values", values.len());
    let bare: Vec<_> = values
        .iter()
        .filter(|value| value.text.is_empty() && !is_plain(&value.path))
        .map(|value| &value.path)
        .collect();
    assert!(bare.is_empty(), "values without a comment: {bare:?}");
    let mut page = HEAD.to_owned();
    for Documented { path, default, text } in &values {
        let _ = writeln!(page, "| `{path}` | `{default}` | {text} |");
    }
    must_be("charts/distributary/README.md", &page);
}

/// Values that are what their names say in every chart.
fn is_plain(path: &str) -> bool {
    let plain = [
        "image.repository",
        "imagePullSecrets",
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
        "podAnnotations",
        "serviceAccount.annotations",
    ];
    plain.contains(&path) || path.starts_with("resources.") || path == "serviceAccount.create"
}

/// Every value that is no object, in the order of the file. A comment belongs to the line below it, also where that line begins an
/// object; a comment that shows an item of a list is an example.
fn documented(values: &str) -> Vec<Documented> {
    let (mut found, mut comment) = (Vec::new(), Vec::new());
    let mut parents: Vec<(usize, &str, String)> = Vec::new();
    for line in values.lines() {
        let content = line.trim_start();
        let depth = line.len() - content.len();
        if content.is_empty() {
            comment.clear();
        } else if let Some(said) = content.strip_prefix("# ") {
            if !said.starts_with("- ") && !said.starts_with(' ') {
                comment.push(said);
            }
        } else if let Some((key, default)) = content.split_once(':') {
            parents.retain(|(of, ..)| *of < depth);
            let text = std::mem::take(&mut comment).join(" ");
            let default = default.trim();
            if default.is_empty() {
                parents.push((depth, key, text));
                continue;
            }
            let names: Vec<_> = parents.iter().map(|(_, name, _)| *name).chain([key]).collect();
            let of_parents = parents.iter_mut().map(|(_, _, text)| std::mem::take(text));
            let texts: Vec<_> = of_parents.chain([text]).filter(|text| !text.is_empty()).collect();
            found.push(Documented {
                path: names.join("."),
                default: default.to_owned(),
                text: texts.join(" ").replace('|', "\\|"),
            });
        }
    }
    found
}
