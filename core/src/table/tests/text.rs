//! Written, read back, and proven by its revision.

use std::error::Error as _;

use super::*;

fn edited(text: &str, change: impl FnOnce(&mut serde_json::Value)) -> String {
    let mut document = serde_json::from_str(text).unwrap();
    change(&mut document);
    document.to_string()
}

#[test]
fn what_is_written_is_read_back_as_the_same_table() {
    let table = made(|policy| policy.of("a").location = None);
    let text = table.text();
    assert_eq!(RoutingTable::read(&text).unwrap(), table);
    assert_eq!(RoutingTable::read(&text).unwrap().text(), text);
}

#[test]
fn it_is_one_line_without_null() {
    let text = made(|_| {}).text();
    assert_eq!(text.find('\n'), Some(text.len() - 1));
    assert!(!text.contains("null") && !text.contains(": "), "{text}");
}

#[test]
fn its_revision_is_that_of_the_rest() {
    let table = made(|_| {});
    assert_eq!(table.revision, table.digest());
    assert_eq!(table.revision.len(), 64);
    let other = made(|policy| policy.routing.retry_attempts = 3);
    assert_ne!(other.revision, table.revision);
}

#[test]
fn a_text_that_was_meddled_with_is_not_intact() {
    let text = made(|_| {}).text();
    assert!(is_intact(&text));
    assert!(is_intact(&edited(&text, |_| {})), "in any layout");
    for meddled in [
        edited(&text, |document| document["retryAttempts"] = 3.into()),
        edited(&text, |document| document["revision"] = "0".into()),
        edited(&text, |document| document["more"] = 1.into()),
        "{}".to_owned(),
        "[]".to_owned(),
        String::new(),
    ] {
        assert!(!is_intact(&meddled), "{meddled}");
    }
}

#[test]
fn a_reader_passes_over_what_it_does_not_know() {
    let table = made(|_| {});
    let more = edited(&table.text(), |document| {
        document["more"] = serde_json::json!({"deep": [1.5, null]});
        document["classes"][0]["more"] = 1.into();
        document["routes"]["ro"]["targets"][0]["more"] = 1.into();
        document["priorities"]["urgent"] = "Elsewhere".into();
    });
    assert_eq!(RoutingTable::read(&more).unwrap(), table);
}

#[test]
fn another_version_is_refused_in_words() {
    let text = edited(&made(|_| {}).text(), |document| {
        document["version"] = "routing.distributary.dev/v2".into();
        document.as_object_mut().unwrap().remove("routes");
    });
    assert_eq!(
        RoutingTable::read(&text).unwrap_err().to_string(),
        "cannot read routing.json of version routing.distributary.dev/v2: only routing.distributary.dev/v1 is known"
    );
    let long = edited(&text, |document| document["version"] = "x".repeat(10_000).into());
    assert!(RoutingTable::read(&long).unwrap_err().to_string().len() < 200);
}

#[test]
fn a_text_of_another_form_is_refused_with_the_place() {
    let text = edited(&made(|_| {}).text(), |document| {
        document["strategy"] = "Random".into();
    });
    let error = RoutingTable::read(&text).unwrap_err();
    assert_eq!(error.to_string(), "cannot read routing.json");
    let source = error.source().unwrap().to_string();
    assert!(source.starts_with("unknown variant `Random`"), "{source}");
}

#[test]
fn a_route_that_is_named_must_be_there() {
    for (route, pointer) in [
        ("rw", "/routes/rw"),
        ("ro", "/routes/ro"),
        ("analytics", "/routes/analytics"),
    ] {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let text = edited(&made(|_| {}).text(), |document| {
            let parent = document.pointer_mut(parent).unwrap();
            parent.as_object_mut().unwrap().remove(key);
        });
        assert_eq!(
            RoutingTable::read(&text).unwrap_err().to_string(),
            format!("cannot read routing.json: it names the route {route} and does not have it")
        );
    }
}

#[test]
fn what_is_longer_than_a_config_map_is_not_read() {
    let text = format!("{}{}", made(|_| {}).text(), " ".repeat(1024 * 1024));
    assert!(matches!(RoutingTable::read(&text), Err(TableError::TooLong)));
    assert!(!is_intact(&text));
}

#[test]
fn a_text_that_is_nested_without_end_is_refused() {
    let deep = format!("{{\"version\": \"{VERSION}\", \"more\": {}", "[".repeat(500_000));
    assert!(RoutingTable::read(&deep).is_err() && !is_intact(&deep));
}
