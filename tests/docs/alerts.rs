//! The alerts: each has its page, asks for metrics that there are, and is in the chart.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{below, read};

const RULES: &str = "deploy/monitoring/rules.yaml";
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

#[test]
fn alerts_and_pages_name_metrics_that_there_are() {
    let listed = read("docs/metrics.md");
    let dashboard = "deploy/monitoring/dashboard.json";
    let mut texts = vec![
        (RULES.to_owned(), read(RULES)),
        (dashboard.to_owned(), read(dashboard)),
        (TROUBLESHOOTING.to_owned(), read(TROUBLESHOOTING)),
    ];
    texts.extend(
        below("docs/runbooks", "md")
            .iter()
            .map(|page| (page.display().to_string(), read(page))),
    );
    let mut named = BTreeSet::new();
    for (file, text) in texts {
        for rest in text.split("distributary_").skip(1) {
            let ends = |letter: char| !letter.is_ascii_alphanumeric() && letter != '_';
            let name = rest.split(ends).next().unwrap().trim_end_matches("_bucket");
            assert!(
                listed.contains(&format!("| `distributary_{name}` |")),
                "{file}: {name}"
            );
            named.insert(name.to_owned());
        }
    }
    assert!(named.len() > 10, "{named:?}");
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
