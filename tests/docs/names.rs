//! Every name that a user meets is explained, and every table says what the code does.

use std::collections::BTreeSet;
use std::time::Duration;

use distributary::render::events::{self, EventReason};
use distributary::render::status::{ConditionReason, ConditionType};
use distributary::render::{labels, services};
use distributary_core::breaker::spacing;
use distributary_core::cadence;
use distributary_core::health::Reason;
use distributary_core::observation::{FailureClass, FailureKind};
use distributary_core::write_primary::Obstacle;
use distributary_probe::statements;
use strum::VariantArray;

use crate::{must_name, read};

#[test]
fn every_condition_with_its_reasons_is_explained_and_no_other() {
    let text = read("docs/conditions.md");
    let (_, section) = text.split_once("\n## Conditions\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let types = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("**")?.split_once("**")?.0));
    let known = ConditionType::VARIANTS.iter().map(ConditionType::into_str);
    assert_eq!(types.collect::<BTreeSet<_>>(), known.collect());
    let rows = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
    let reasons = rows.filter_map(|reason| reason.strip_prefix('`')?.strip_suffix('`'));
    let known = ConditionReason::VARIANTS.iter().map(ConditionReason::into_str);
    assert_eq!(reasons.collect::<BTreeSet<_>>(), known.collect());
}

#[test]
fn every_reason_of_an_endpoint_is_explained() {
    let reasons = Reason::ALL;
    let text = read("docs/conditions.md");
    let (_, table) = text.split_once("## Reasons of endpoints").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    for reason in reasons {
        assert!(table.contains(&format!("\n| `{reason}` | ")), "{reason}");
    }
    assert_eq!(
        table.lines().filter(|line| line.starts_with("| `")).count(),
        reasons.len()
    );
}

#[test]
fn every_obstacle_to_a_takeover_is_explained_and_no_other() {
    let text = read("docs/conditions.md");
    let (_, table) = text
        .split_once("## Why a server may not take over the writes")
        .unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let rows = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let known = Obstacle::ALL.iter().map(|obstacle| obstacle.word());
    assert_eq!(rows.collect::<Vec<_>>(), known.collect::<Vec<_>>());
}

#[test]
fn every_event_is_listed() {
    let mut events: Vec<_> = EventReason::VARIANTS
        .iter()
        .map(|it| it.into_str().to_owned())
        .collect();
    for type_ in events::ANNOUNCED {
        events.extend([type_.into_str().to_owned(), format!("Not{}", type_.into_str())]);
    }
    must_name("docs/conditions.md", &events);
}

const fn class(kind: FailureKind) -> &'static str {
    match kind.class() {
        FailureClass::Dead { hard: true } => "dead, hard",
        FailureClass::Dead { hard: false } => "dead",
        FailureClass::Transient => "transient",
        FailureClass::Saturated => "saturated",
        FailureClass::Configuration => "configuration",
        FailureClass::Own => "own",
        FailureClass::Name => "name",
        FailureClass::RefusedAddress => "refused address",
        FailureClass::Alive => "alive",
    }
}

#[test]
fn every_failure_is_explained_with_its_class() {
    let (conditions, decides) = (read("docs/conditions.md"), read("docs/how-it-decides.md"));
    for kind in FailureKind::ALL.iter().copied() {
        let class = class(kind);
        assert!(
            conditions.contains(&format!("\n| `{kind}` | {class} | ")),
            "{kind} is {class}"
        );
        let row = decides
            .lines()
            .find(|line| line.starts_with(&format!("| {class} | `")));
        assert!(
            row.is_some_and(|row| row.contains(&format!("`{kind}`"))),
            "{kind} is {class}"
        );
    }
}

#[test]
fn the_times_of_checks_are_those_of_the_code() {
    let text = read("docs/how-it-decides.md");
    for time in cadence::TIMES {
        let millis = time.as_millis();
        assert!(text.contains(&format!("{millis} ms")), "{millis} ms");
    }
    let at: Vec<_> = (1..5)
        .map(|counted| spacing(counted, 5, Duration::from_secs(5)).as_millis())
        .collect();
    assert_eq!(at, [333, 1000, 2000, 3333]);
    assert!(text.contains("With 5 in 5 s: 333 ms, 1 s, 2 s and 3333 ms."));
}

#[test]
fn every_label_is_listed() {
    let values: Vec<_> = labels::ALL.iter().map(ToString::to_string).collect();
    must_name("docs/labels.md", &values);
    let refused: Vec<_> = labels::REFUSED.iter().map(ToString::to_string).collect();
    must_name("docs/labels.md", &refused);
}

#[test]
fn every_field_of_a_service_is_listed_with_what_becomes_of_it() {
    let text = read("docs/labels.md");
    for field in services::FIELDS {
        assert!(text.contains(&format!("\n| `{field}` | ")), "{field}");
    }
    for field in services::REFUSED {
        let told = text
            .lines()
            .any(|line| line.contains(&format!("`{field}`")) && line.ends_with("| removed |"));
        assert!(told, "{field}");
    }
    for (field, reason) in services::LEFT {
        assert!(
            text.contains(&format!("\n| `{field}` | kept: {reason} |")),
            "{field}"
        );
    }
}

#[test]
fn what_a_check_asks_of_a_server_is_told() {
    let query = statements().collect::<Vec<_>>().join("\n");
    let word = |rest: &str| {
        let ends = |letter: char| !letter.is_alphanumeric() && letter != '_';
        rest.split(ends).next().unwrap_or_default().to_owned()
    };
    let mut asked: BTreeSet<_> = query.split("pg_catalog.").skip(1).map(word).collect();
    for type_or_operator in ["", "int8", "int4", "text", "bool"] {
        assert!(
            asked.remove(type_or_operator),
            "{type_or_operator:?} is not in {asked:?}"
        );
    }
    // Before the question of a check.
    asked.insert("set_config".to_owned());
    assert!(asked.len() > 9, "{asked:?}");
    let operations = read("docs/operations.md");
    let from = operations.find("A check calls ").unwrap();
    let told = &operations[from..][..operations[from..].find(':').unwrap()];
    let quoted = told.split('`').skip(1).step_by(2).map(str::to_owned);
    assert_eq!(quoted.collect::<BTreeSet<_>>(), asked);
}
