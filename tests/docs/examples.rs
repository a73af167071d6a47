//! docs/examples.md, made of the golden cases.

use std::fmt::Write;

use serde_json::Value;

use crate::{must_be, read, root};

const HEAD: &str = "\
# Examples

Each example shows a policy, the answers of its servers, and the resulting routes. `checks` lists the
[observations](cli.md#observations) of each server, oldest first, one second apart. The examples are generated from the
[golden cases](../tests/golden/README.md), which also contain the status, and the objects where the case is about objects; `distributary plan` shows the same for your own policy.
";

/// Case by case, in the order of their names.
fn page() -> String {
    let mut cases: Vec<_> = std::fs::read_dir(root().join("tests/golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    cases.sort();
    let mut page = HEAD.to_owned();
    for case in cases {
        page += &example(&case);
    }
    page
}

fn example(case: &str) -> String {
    let file = |name: &str| read(format!("tests/golden/{case}/{name}.yaml"));
    let policy = file("policy");
    let (sentence, _) = policy.split_once('\n').unwrap();
    let sentence = sentence
        .strip_prefix("# ")
        .unwrap_or_else(|| panic!("{case} begins with a sentence"));
    let (_, spec) = policy.split_once("\nspec:").unwrap();
    let observations: String = file("observations")
        .lines()
        .map(|line| shortened(line) + "\n")
        .collect();
    let mut text = format!(
        "\n## {}\n\n{sentence}\n\n```yaml\nspec:{spec}```\n",
        case.replace('-', " ")
    );
    write!(text, "\n```yaml\n{observations}```\n").unwrap();
    let plan: Value = serde_yaml::from_str(&file("plan")).unwrap();
    let status: Value = serde_yaml::from_str(&file("status")).unwrap();
    text += &routes(&plan);
    text += &reasons(&status);
    text += &objects(case, &policy);
    text
}

/// Of a long list its first words and its last one.
fn shortened(line: &str) -> String {
    let words: Vec<_> = line.split(", ").collect();
    if words.len() < 12 {
        return line.to_owned();
    }
    format!("{}, ..., {}", words[..3].join(", "), words[words.len() - 1])
}

fn routes(plan: &Value) -> String {
    let mut named = Vec::new();
    for name in ["rw", "ro"] {
        named.extend(plan.get(name).map(|route| (name.to_owned(), route)));
    }
    let beside = |key: &str| plan[key].as_object().into_iter().flatten();
    named.extend(beside("classes").map(|(name, route)| (name.clone(), route)));
    named.extend(beside("regions").map(|(name, route)| (format!("ro-{name}"), route)));
    if named.is_empty() {
        return "\nNothing is decided: the routes stay as they are.\n".to_owned();
    }
    let mut table = "\n| route | state | weight of each |\n|---|---|---|\n".to_owned();
    for (name, route) in named {
        let members: Vec<_> = route["members"].as_array().unwrap().iter().map(member).collect();
        let state = route["state"].as_str().unwrap();
        writeln!(table, "| `{name}` | {state} | {} |", members.join(", ")).unwrap();
    }
    table
}

/// `a 100`, and what is special of it.
fn member(member: &Value) -> String {
    let admission = member["admission"].as_str().filter(|it| *it != "Eligible");
    let outside = (member["inSlice"] == false).then_some("not in a slice");
    let notes: Vec<_> = admission.into_iter().chain(outside).collect();
    let notes = if notes.is_empty() {
        String::new()
    } else {
        format!(" ({})", notes.join(", "))
    };
    let id = member["endpoint"].as_str().unwrap();
    format!("{id} {}{notes}", member["weight"])
}

fn reasons(status: &Value) -> String {
    let endpoints = status["endpoints"].as_array().into_iter().flatten();
    let other = endpoints.filter(|it| it["reason"] != "Serving");
    let told: Vec<_> = other
        .map(|it| {
            format!(
                "{} `{}`",
                it["id"].as_str().unwrap(),
                it["reason"].as_str().unwrap()
            )
        })
        .collect();
    if told.is_empty() {
        String::new()
    } else {
        format!("\nReasons: {}.\n", told.join(", "))
    }
}

/// Where the objects are, and what of them the case shows.
fn objects(case: &str, policy: &str) -> String {
    let said = policy.lines().find_map(|line| line.strip_prefix("# Objects: "));
    said.map_or_else(String::new, |said| {
        format!("\n[Objects](../tests/golden/{case}/objects.yaml): {said}\n")
    })
}

#[test]
fn the_examples_are_the_golden_cases() {
    must_be("docs/examples.md", &page());
}
