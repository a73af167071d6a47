//! What a plan changes: writes in their order, each with the lines that differ.

use serde_json::{Value, json};

use super::Error;
use super::output::yaml;
use crate::render::diff::{Diff, Observed, Write};

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
            "conflict {id}: it is not controlled by this policy, and would be left alone\n"
        ));
    }
    Ok(text)
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

/// The lines that differ, by the longest common subsequence.
fn lines<'a>(before: &'a str, after: &'a str) -> Vec<(char, &'a str)> {
    let (before, after): (Vec<_>, Vec<_>) = (before.lines().collect(), after.lines().collect());
    // common[i][j]: lines that before[i..] and after[j..] have in common.
    let mut common = vec![vec![0_u32; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            common[i][j] = if before[i] == after[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == after.len() || (i < before.len() && common[i + 1][j] >= common[i][j + 1]) {
            found.push(('-', before[i]));
            i += 1;
        } else {
            found.push(('+', after[j]));
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_differ_are_shown_in_order() {
        assert_eq!(lines("a\nb\nc\n", "a\nc\nd\n"), [('-', "b"), ('+', "d")]);
        assert_eq!(lines("a\n", "a\n"), []);
        assert_eq!(lines("", "a\nb\n"), [('+', "a"), ('+', "b")]);
        assert_eq!(lines("a\nb\n", "x\nb\n"), [('-', "a"), ('+', "x")]);
    }
}
