//! The alerts: each has its page, asks for metrics that there are, and is in the chart.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{below, read};

const RULES: &str = "deploy/monitoring/rules.yaml";
const DASHBOARD: &str = "deploy/monitoring/dashboard.json";
/// What every metric begins with.
const PREFIX: &str = "distributary_";
/// Labels that Prometheus adds to each series, and that of the buckets of a histogram.
const OF_ALL: [&str; 5] = ["instance", "job", "le", "namespace", "pod"];
const TROUBLESHOOTING: &str = "docs/troubleshooting.md";

fn alerts() -> Vec<Value> {
    let rules: Value = serde_yaml::from_str(&read(RULES)).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules = groups.iter().flat_map(|group| group["rules"].as_array().unwrap());
    rules.cloned().collect()
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
    let listed = read("docs/metrics.md");
    let mut pages = BTreeSet::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let page = alert["annotations"]["runbook_url"].as_str().unwrap().to_owned();
        let short = name.strip_prefix("Distributary").unwrap();
        assert_eq!(page, format!("docs/runbooks/{short}.md"));
        let text = read(&page);
        assert!(
            text.starts_with(&format!("# {short}\n\nAlert `{name}`.")),
            "{page}"
        );
        for heading in ["## Effect", "## Where to look", "## What to do"] {
            assert!(text.contains(heading), "{page}: {heading}");
        }
        let severity = alert["labels"]["severity"].as_str().unwrap();
        let row = format!("| [`{name}`](runbooks/{short}.md) | {severity} |");
        assert!(listed.contains(&row), "{row}");
        pages.insert(page);
    }
    assert!(pages.len() > 11, "{pages:?}");
    let found = below("docs/runbooks", "md").into_iter();
    assert_eq!(
        found
            .map(|page| page.display().to_string())
            .collect::<BTreeSet<_>>(),
        pages
    );
}

/// What names metrics, by its path: the alerts, the dashboard and the pages for who looks for a cause.
fn texts() -> Vec<(String, String)> {
    let fixed = [RULES, DASHBOARD, TROUBLESHOOTING].map(str::to_owned).into_iter();
    let pages = below("docs/runbooks", "md");
    let pages = pages.iter().map(|page| page.display().to_string());
    fixed
        .chain(pages)
        .map(|file| (file.clone(), read(file)))
        .collect()
}

/// The metrics that a text names, without what they begin with, each with what stands before it in its line and after it.
fn named(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.match_indices(PREFIX).map(move |(at, _)| {
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let rest = &text[at + PREFIX.len()..];
        let ends = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
        let (name, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        (name.trim_end_matches("_bucket"), &text[line..at], after)
    })
}

#[test]
fn alerts_and_pages_name_metrics_that_there_are() {
    let listed = read("docs/metrics.md");
    let mut all = BTreeSet::new();
    for (file, text) in texts() {
        for (name, ..) in named(&text) {
            assert!(
                listed.contains(&format!("| `{PREFIX}{name}` |")),
                "{file}: {name}"
            );
            all.insert(name.to_owned());
        }
    }
    assert!(all.len() > 10, "{all:?}");
}

/// As `sum by (kind) (rate(METRIC`, `METRIC{kind="…"}`, or in a page METRIC in code, then by `kind`.
fn labels<'a>(before: &'a str, after: &'a str) -> Vec<&'a str> {
    let mut labels = Vec::new();
    let grouped = before
        .rsplit_once(" by (")
        .and_then(|(_, list)| list.split_once(')'));
    let only_calls = |between: &str| {
        between
            .chars()
            .all(|c| c.is_ascii_lowercase() || " (_".contains(c))
    };
    if let Some((list, _)) = grouped.filter(|(_, between)| only_calls(between)) {
        labels.extend(list.split(", "));
    }
    let selected = after.strip_prefix('{').and_then(|rest| rest.split_once('}'));
    if let Some((list, _)) = selected {
        labels.extend(list.split(',').filter_map(|label| label.split(['=', '!']).next()));
    }
    let told = after
        .split_once('`')
        .and_then(|(_, rest)| rest.strip_prefix(" by `"));
    labels.extend(told.and_then(|rest| rest.split('`').next()));
    labels
}

#[test]
fn alerts_and_pages_name_labels_that_their_metrics_have() {
    let listed = read("docs/metrics.md");
    let mut by_file = BTreeMap::new();
    for (file, text) in texts() {
        for (name, before, after) in named(&text) {
            let start = format!("| `{PREFIX}{name}` |");
            let row = listed.lines().find(|row| row.starts_with(&start)).unwrap();
            let has = row.split('|').nth(3).unwrap();
            for label in labels(before, after) {
                let known = OF_ALL.contains(&label) || has.contains(&format!("`{label}`"));
                assert!(known, "{file}: {name} has no label {label}");
                *by_file.entry(file.clone()).or_insert(0) += 1;
            }
        }
    }
    for file in [RULES, DASHBOARD, TROUBLESHOOTING] {
        assert!(by_file.contains_key(file), "no label is found in {file}");
    }
}

/// Two Pods show metrics, and each alert is one: what tells the Pods apart is left out.
#[test]
fn no_alert_tells_the_pods_apart() {
    for alert in alerts() {
        let expression = alert["expr"].as_str().unwrap();
        for (at, _) in expression.match_indices("distributary_") {
            let before = &expression[..at];
            let joins = [") (", ") (rate(", "absent("];
            assert!(
                joins.iter().any(|joins| before.ends_with(joins)),
                "{}: {before}",
                alert["alert"]
            );
        }
    }
}

#[test]
fn the_chart_has_the_same_alerts_and_dashboard() {
    for file in ["rules.yaml", "dashboard.json"] {
        let of = |folder: &str| read(format!("{folder}/{file}"));
        assert_eq!(of("deploy/monitoring"), of("charts/distributary/files"));
    }
}
