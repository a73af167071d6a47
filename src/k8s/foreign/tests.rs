use serde_json::json;

use super::*;

fn slice(namespace: &str, name: &str, service: &str) -> EndpointSlice {
    serde_json::from_value(json!({
        "metadata": {"namespace": namespace, "name": name, "labels": {labels::SERVICE_NAME: service}},
        "addressType": "IPv4", "endpoints": [],
    }))
    .unwrap()
}

fn service(namespace: &str, name: &str) -> ServiceKey {
    (namespace.to_owned(), name.to_owned())
}

fn list(slices: &ForeignSlices, scope: &Scope, shown: &[EndpointSlice]) -> Vec<ServiceKey> {
    assert!(slices.event(&Event::Init, scope).is_empty());
    for slice in shown {
        assert!(slices.event(&Event::InitApply(slice.clone()), scope).is_empty());
    }
    slices.event(&Event::InitDone, scope)
}

#[test]
fn a_list_says_what_appeared_and_what_went_since() {
    let slices = ForeignSlices::default();
    let (one, two) = (slice("shop", "one", "rw"), slice("shop", "two", "ro"));
    let both = [service("shop", "ro"), service("shop", "rw")];
    assert_eq!(list(&slices, &None, &[one.clone(), two.clone()]), both);
    assert_eq!(list(&slices, &None, &[one.clone(), two.clone()]), []);
    // It goes while nobody watches.
    assert_eq!(list(&slices, &None, &[one]), [service("shop", "ro")]);
    assert_eq!(slices.of("shop", "rw"), ["one"]);
    assert!(slices.of("shop", "ro").is_empty());
}

#[test]
fn during_a_list_what_was_known_stands() {
    let slices = ForeignSlices::default();
    list(&slices, &None, &[slice("shop", "one", "rw")]);
    slices.event(&Event::Init, &None);
    assert_eq!(slices.of("shop", "rw"), ["one"]);
    // A list that fails begins anew.
    slices.event(&Event::InitApply(slice("shop", "two", "rw")), &None);
    list(&slices, &None, &[slice("shop", "one", "rw")]);
    assert_eq!(slices.of("shop", "rw"), ["one"]);
}

#[test]
fn a_list_of_one_namespace_says_nothing_of_another() {
    let slices = ForeignSlices::default();
    let (shop, crm) = (Some("shop".to_owned()), Some("crm".to_owned()));
    list(&slices, &shop, &[slice("shop", "one", "rw")]);
    list(&slices, &crm, &[slice("crm", "two", "rw")]);
    assert_eq!(list(&slices, &crm, &[]), [service("crm", "rw")]);
    assert_eq!(slices.of("shop", "rw"), ["one"]);
}

#[test]
fn a_slice_that_changes_hands_concerns_both_services() {
    let slices = ForeignSlices::default();
    let apply = |name: &str| slices.event(&Event::Apply(slice("shop", "one", name)), &None);
    assert_eq!(apply("rw"), [service("shop", "rw")]);
    assert_eq!(apply("rw"), []);
    assert_eq!(apply("ro"), [service("shop", "ro"), service("shop", "rw")]);
    assert!(slices.of("shop", "rw").is_empty());
    let gone = slices.event(&Event::Delete(slice("shop", "one", "ro")), &None);
    assert_eq!(gone, [service("shop", "ro")]);
    assert!(slices.of("shop", "ro").is_empty());
}

#[test]
fn nothing_is_kept_of_what_is_gone() {
    let slices = ForeignSlices::default();
    for name in ["one", "two"] {
        slices.event(&Event::Apply(slice("shop", name, "rw")), &None);
    }
    for name in ["one", "two"] {
        slices.event(&Event::Delete(slice("shop", name, "rw")), &None);
    }
    assert!(slices.state().known.0.is_empty());
}
