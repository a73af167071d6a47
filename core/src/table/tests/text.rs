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
fn a_target_of_an_endpoint_that_is_not_there_is_refused() {
    let text = edited(&made(|_| {}).text(), |document| {
        document["routes"]["ro"]["targets"][1]["endpoint"] = "elsewhere".into();
    });
    assert_eq!(
        RoutingTable::read(&text).unwrap_err().to_string(),
        "cannot read routing.json: a target of the route ro is of the endpoint \"elsewhere\", which is not there"
    );
}

#[test]
fn a_number_out_of_its_range_is_refused_with_its_field() {
    let text = edited(&made(|_| {}).text(), |document| {
        document["endpoints"][1]["maxConnections"] = u32::MAX.into();
    });
    assert_eq!(
        RoutingTable::read(&text).unwrap_err().to_string(),
        "cannot read routing.json: endpoints[1].maxConnections must be between 1 and 100000, and is 4294967295"
    );
    let table: serde_json::Value = serde_json::from_str(&made(|_| {}).text()).unwrap();
    for (pointer, wrong) in [
        ("/retryAttempts", vec![11]),
        ("/endpoints/0/maxConnections", vec![0, 100_001]),
        ("/endpoints/0/weight", vec![1001]),
        ("/endpoints/0/priority", vec![1001]),
        ("/endpoints/0/port", vec![0]),
        (
            "/endpoints/0/connection/connectTimeoutMilliseconds",
            vec![0, 999, 300_001],
        ),
        ("/connection/connectTimeoutSeconds", vec![0, 301]),
        ("/routes/ro/targets/0/weight", vec![0, 100_001]),
        ("/routes/ro/targets/0/port", vec![0]),
        ("/healthCheck/intervalMilliseconds", vec![0]),
        ("/healthCheck/failoverTimeoutMilliseconds", vec![0, u64::MAX]),
        ("/circuitBreaker/failureThreshold", vec![0, 101]),
        ("/circuitBreaker/successThreshold", vec![0, 101]),
        ("/circuitBreaker/resetTimeoutMilliseconds", vec![99, u64::MAX]),
        ("/circuitBreaker/maxResetTimeoutMilliseconds", vec![99, u64::MAX]),
        ("/circuitBreaker/trafficSteps/0", vec![0, 101]),
    ] {
        for number in wrong {
            let mut document = table.clone();
            *document.pointer_mut(pointer).unwrap() = number.into();
            let error = RoutingTable::read(&document.to_string()).unwrap_err();
            assert!(
                matches!(error, TableError::Unusable(Unusable::OutOfRange { .. })),
                "{pointer} {number}: {error}"
            );
        }
    }
    for (pointer, items) in [
        ("/endpoints", 66),
        ("/classes", 20),
        ("/circuitBreaker/trafficSteps", 9),
        ("/routes/rw/targets", 2),
    ] {
        let mut document = table.clone();
        let list = document.pointer_mut(pointer).unwrap().as_array_mut().unwrap();
        let first = list[0].clone();
        list.resize(items, first);
        assert!(RoutingTable::read(&document.to_string()).is_err(), "{pointer}");
    }
}

#[test]
fn the_primary_stands_in_where_the_policy_says_so() {
    let asked = |table: &RoutingTable, class| {
        let choice = table.route(&Request {
            class,
            read_only: true,
            ..Request::default()
        });
        table.primary_stands_in(&choice.unwrap())
    };
    let mut table = made(|_| {});
    assert!(asked(&table, None) && asked(&table, Some("analytics")));
    let class = table.classes.iter_mut().find(|class| class.name == "analytics");
    class.unwrap().read_fallback = Some(Vec::new());
    assert!(
        asked(&table, None) && !asked(&table, Some("analytics")),
        "the class has its own"
    );
    let class = table
        .classes
        .iter_mut()
        .find(|class| class.name == "analytics")
        .unwrap();
    (class.read_fallback, class.destination) = (None, crate::routing::Destination::ReplicasOnly);
    assert!(!asked(&table, Some("analytics")), "never the primary");
    assert!(!asked(
        &made(|policy| policy.failover.read_fallback.clear()),
        None
    ));
    let older = edited(&made(|_| {}).text(), |document| {
        document.as_object_mut().unwrap().remove("readFallback");
    });
    assert!(
        !asked(&RoutingTable::read(&older).unwrap(), None),
        "it is not told"
    );
    let newer = edited(&made(|_| {}).text(), |document| {
        document["readFallback"] = serde_json::json!(["Elsewhere", "Primary"]);
    });
    assert!(asked(&RoutingTable::read(&newer).unwrap(), None));
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
