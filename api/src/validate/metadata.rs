//! Labels and annotations that a policy asks for on its objects.

use std::collections::BTreeMap;

use super::{Problems, is_subdomain};
use crate as api;
use crate::rules;
use distributary_core::outputs::ObjectMetadata;

const FIELD: &str = "spec.outputs.metadata";
/// Of labels, and of annotations.
const MOST: usize = 16;
/// Of a name, and of the value of a label, in bytes.
const NAME_LENGTH: usize = 63;
/// Of the value of an annotation, in bytes: the API server counts those of all annotations together, 256 KiB at most.
const ANNOTATION_LENGTH: usize = 4096;
/// The recommended labels of Kubernetes, <https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>;
/// one of them is ours.
const RECOMMENDED: &str = "app.kubernetes.io/";
/// Keys of these domains, and of those below them, change what Kubernetes or the operator does with an object.
const RESERVED: [&str; 3] = ["kubernetes.io", "k8s.io", "distributary.dev"];

pub(super) fn validate(declared: api::MetadataOutput, problems: &mut Problems) -> ObjectMetadata {
    let api::MetadataOutput { labels, annotations } = declared;
    keys(&labels, "labels", problems);
    keys(&annotations, "annotations", problems);
    for (key, value) in &labels {
        let holds = value.is_empty() || is_name(value);
        problems.require(holds, format!("{FIELD}.labels[{key}]"), rules::LABEL_VALUE);
    }
    for (key, value) in &annotations {
        let holds = value.len() <= ANNOTATION_LENGTH;
        problems.require(
            holds,
            format!("{FIELD}.annotations[{key}]"),
            rules::ANNOTATION_VALUE,
        );
    }
    ObjectMetadata { labels, annotations }
}

fn keys(map: &BTreeMap<String, String>, of: &str, problems: &mut Problems) {
    problems.require(map.len() <= MOST, format!("{FIELD}.{of}"), rules::METADATA_COUNT);
    for key in map.keys() {
        let field = || format!("{FIELD}.{of}[{key}]");
        problems.require(is_key(key), field(), rules::METADATA_KEY);
        problems.require(!is_reserved(key), field(), rules::METADATA_RESERVED);
    }
}

/// A qualified name, as Kubernetes has it for labels and annotations.
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => is_subdomain(domain) && is_name(name),
        None => is_name(key),
    }
}

fn is_name(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= NAME_LENGTH
        && text.bytes().all(inner)
        && ends
            .iter()
            .all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric()))
}

/// Whether a key belongs to Kubernetes or to the operator.
fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    let within = |of: &&str| {
        let rest = domain.strip_suffix(*of);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let recommended = key.starts_with(RECOMMENDED) && key != api::MANAGED_BY;
    RESERVED.iter().any(within) && !recommended
}
