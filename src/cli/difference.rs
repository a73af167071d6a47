//! What a plan changes: writes in their order, each with the lines that differ.

use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use super::Error;
use super::output::yaml;
use crate::writing::diff::{Diff, Observed, Write};

/// Fields of the API server that say nothing of a change.
const SERVERS_OWN: [&str; 6] = [
    "managedFields",
    "resourceVersion",
    "uid",
    "generation",
    "creationTimestamp",
    "selfLink",
];

pub fn document(diff: &Diff) -> Value {
    let write = |write: &Write| {
        let id = write.id();
        let mut document = json!({"verb": write.verb(), "kind": id.kind.name(), "name": id.name});
        if let Write::Create(manifest) | Write::Update(manifest) = write {
            document["object"] = shown(&manifest.body);
        }
        document
    };
    json!({
        "writes": diff.writes.iter().map(write).collect::<Vec<_>>(),
        "conflicts": diff.conflicts.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

pub fn text(diff: &Diff, before: &Observed) -> Result<String, Error> {
    let mut text = String::new();
    for write in &diff.writes {
        let was = before
            .get(write.id())
            .map(shown)
            .as_ref()
            .map(yaml)
            .transpose()?
            .unwrap_or_default();
        let is = match write {
            Write::Create(manifest) | Write::Update(manifest) => yaml(&shown(&manifest.body))?,
            Write::Delete { .. } => String::new(),
        };
        text.push_str(&format!("{} {}\n", write.verb(), write.id()));
        for (sign, line) in lines(&was, &is) {
            text.push_str(&format!("  {sign} {line}\n"));
        }
    }
    for id in &diff.conflicts {
        text.push_str(&format!(
            "conflict {id}: this policy does not control it, so the operator would leave it alone\n"
        ));
    }
    Ok(text)
}

/// The lines of an object that differ, without its status.
pub fn object(before: &Value, after: &Value) -> Result<String, Error> {
    let changed = lines(&yaml(&shown(before))?, &yaml(&shown(after))?).into_iter();
    Ok(changed.map(|(sign, line)| format!("{sign} {line}\n")).collect())
}

fn shown(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|name, _| !SERVERS_OWN.contains(&name.as_str()));
    }
    object
}

/// The lines that differ, with the sign of each.
fn lines(before: &str, after: &str) -> Vec<(char, String)> {
    let sign = |tag| match tag {
        ChangeTag::Equal => None,
        ChangeTag::Delete => Some('-'),
        ChangeTag::Insert => Some('+'),
    };
    let diff = TextDiff::from_lines(before, after);
    let changed = diff.iter_all_changes().filter_map(|change| {
        let line = change.value().trim_end_matches('\n');
        Some((sign(change.tag())?, line.to_owned()))
    });
    changed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_differ_are_shown_in_order() {
        let shown = |before, after| {
            let lines = lines(before, after).into_iter();
            lines
                .map(|(sign, line)| format!("{sign}{line}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown("a\nb\nc\n", "a\nc\nd\n"), ["-b", "+d"]);
        assert!(shown("a\n", "a\n").is_empty());
        assert_eq!(shown("", "a\nb\n"), ["+a", "+b"]);
        assert_eq!(shown("a\nb\n", "x\nb\n"), ["-a", "+x"]);
    }
}
