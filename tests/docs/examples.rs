//! docs/examples.md, made of the golden cases.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::{must_be, read, root};

const HEAD: &str = "\
# Examples

Each example shows a policy, the answers of its servers, and the resulting routes. `checks` lists the
[observations](cli.md#observations) of each server, oldest first, one second apart. The examples are generated from the
[golden cases](../tests/golden/README.md), which also contain the status, and the objects where the case is about objects; `distributary plan` shows the same for your own policy.

";

/// The cases by what a reader wants to do or to understand.
const TASKS: [(&str, &str); 10] = [
    (
        "Declare servers",
        "plain names url-from-secret pods weighted least-connections zone zone-hints geographic region-of-the-cluster region-of-no-endpoint draining replica-disabled primary-disabled two-urls-of-one-server",
    ),
    (
        "Send classes of operations elsewhere",
        "class-selected class-max-lag class-primary-preferred class-replicas-only class-elsewhere class-probe-failed class-probe-returning default-primary dedicated dedicated-lost dedicated-stands-in dedicated-without-service replicas-off",
    ),
    (
        "A replica fails and returns",
        "suspect circuit-open half-open half-open-last-step half-open-tripped-again early-admission starting still-starting saturated answers-with-error",
    ),
    (
        "A replica lags",
        "lagging lagging-fallback all-lagging-without-fallback reads-withdrawn lag-unknown lag-query-without-a-number lag-not-judged",
    ),
    (
        "No replica can serve",
        "fallback min-healthy no-fallback nobody-may-read held region-lost",
    ),
    (
        "The primary fails, and another server is promoted",
        "primary-unreachable withdraw-on-loss promotion-followed awaiting-proof promotion-not-promotable pinned old-primary-returns old-primary-rejoins demotion-withdrawn primary-in-recovery primary-unproven read-only read-only-saturated",
    ),
    (
        "Servers contradict each other",
        "split-brain split-brain-ended writable-replica diverged not-following holder-on-older-timeline restored-primary identity-declared identity-mismatch identity-changed identity-changed-followed",
    ),
    (
        "Secrets, names and addresses",
        "missing-secret configuration-held routable-unproven name-unresolved address-refused family-not-served family-of-the-primary-not-served",
    ),
    (
        "Choose what is written",
        "config-maps name-prefix services-disabled dual-stack-and-two-ports retain observe suspend",
    ),
    (
        "The operator cannot write",
        "invalid waiting name-conflict foreign-endpoints foreign-operator write-failed",
    ),
];

/// Task by task; every case once.
fn page() -> String {
    let mut cases: BTreeSet<_> = std::fs::read_dir(root().join("tests/golden"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut page = HEAD.to_owned();
    for (task, _) in TASKS {
        let anchor = task.to_lowercase().replace(',', "").replace(' ', "-");
        writeln!(page, "- [{task}](#{anchor})").unwrap();
    }
    for (task, own) in TASKS {
        write!(page, "\n## {task}\n").unwrap();
        for case in own.split(' ') {
            assert!(cases.remove(case), "{case} is no case, or is named twice");
            page += &example(case);
        }
    }
    assert!(cases.is_empty(), "these cases belong to no task: {cases:?}");
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
        "\n### {}\n\n{sentence}\n\n```yaml\nspec:{spec}```\n",
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
            let beneath = it["heldDespite"].as_str();
            format!(
                "{} `{}`{}",
                it["id"].as_str().unwrap(),
                it["reason"].as_str().unwrap(),
                beneath
                    .map(|beneath| format!(" (`{beneath}`)"))
                    .unwrap_or_default()
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
