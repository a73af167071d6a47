use super::*;

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn nets(texts: &[&str]) -> Vec<Cidr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn allowed(rules: &AddressRules, address: &str) -> bool {
    rules.allows(address.parse().unwrap())
}

#[test]
fn without_lists_only_special_addresses_are_refused() {
    let rules = AddressRules::default();
    for address in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1"] {
        assert!(allowed(&rules, address), "{address}");
    }
    for address in [
        "127.0.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::127.0.0.1",
        "64:ff9b::100.100.100.200",
        "::169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::",
        "64:ff9b:1::127.0.0.1",
        "::ffff:0:127.0.0.1",
        "2002:7f00:1::1",
        "fd00:ec2::23",
    ] {
        assert!(!allowed(&rules, address), "{address}");
    }
    for address in [
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::10.0.0.1",
        "::10.0.0.1",
        "2002:a00:1::1",
    ] {
        assert!(allowed(&rules, address), "{address}");
    }
}

#[test]
fn what_is_refused_as_ipv4_is_refused_where_ipv6_carries_it() {
    let rules = AddressRules::new(&nets(&["64:ff9b::/96"]), &nets(&["10.0.0.7"]));
    rules.refuse_services(["10.96.0.0/12"]);
    for (address, expected) in [
        ("64:ff9b::10.0.0.1", true),
        ("64:ff9b::10.0.0.7", false),
        ("64:ff9b::10.96.0.1", false),
        ("::10.0.0.7", false),
        ("2002:a00:7::1", false),
        ("64:ff9b:1::10.96.0.1", false),
        // Not in the allow list.
        ("10.0.0.1", false),
    ] {
        assert_eq!(allowed(&rules, address), expected, "{address}");
    }
}

#[test]
fn an_allow_list_is_all_that_is_allowed_and_the_deny_list_goes_before_it() {
    let rules = AddressRules::new(
        &nets(&["10.0.0.0/8", "fd00::/8", "127.0.0.0/8"]),
        &nets(&["10.96.0.0/12", "10.0.0.7"]),
    );
    for address in ["10.0.0.1", "fd12::1", "::ffff:10.0.0.1"] {
        assert!(allowed(&rules, address), "{address}");
    }
    for address in [
        "192.168.0.1",
        "2001:db8::1",
        "10.96.0.1",
        "10.0.0.7",
        "::ffff:10.97.0.1",
        "127.0.0.1",
    ] {
        assert!(!allowed(&rules, address), "{address}");
    }
}

#[test]
fn the_rule_that_refuses_an_address_is_known() {
    let rules = AddressRules::new(&nets(&["10.0.0.0/8"]), &nets(&["10.1.0.0/16"]));
    rules.refuse_services(["10.96.0.0/12"]);
    for (address, rule) in [
        ("10.0.0.1", None),
        ("127.0.0.1", Some(FailureKind::AddressRefused)),
        ("::ffff:169.254.169.254", Some(FailureKind::AddressRefused)),
        ("10.96.0.1", Some(FailureKind::AddressOfService)),
        ("10.1.0.1", Some(FailureKind::AddressDenied)),
        ("192.168.0.1", Some(FailureKind::AddressNotAllowed)),
    ] {
        assert_eq!(rules.refusal(address.parse().unwrap()), rule, "{address}");
    }
}

#[test]
fn the_service_cidrs_are_refused_while_the_cluster_has_them() {
    let rules = AddressRules::new(&nets(&["10.0.0.0/8"]), &[]);
    let clone = rules.clone();
    assert!(allowed(&clone, "10.96.0.1"));
    assert!(rules.refuse_services(["10.96.0.0/12", "fd00:96::/112"]));
    assert!(!allowed(&clone, "10.96.0.1"));
    assert!(!rules.refuse_services(["fd00:96::/112", "10.96.0.0/12", "10.96.0.0/12", "nonsense"]));
    assert!(rules.refuse_services([]));
    assert!(allowed(&clone, "10.96.0.1"));
}

#[test]
fn the_preferred_address_is_taken_where_the_name_has_it() {
    let all = addresses(&["198.18.0.1", "198.18.0.2", "198.18.0.3"]);
    let mut rotation = Rotation::default();
    for _ in 0..3 {
        assert_eq!(rotation.choose(&all, Some(all[1])), Some(all[1]));
        rotation.note(Some(all[1]), None);
    }
    let gone: IpAddr = "198.18.0.7".parse().unwrap();
    assert_eq!(rotation.choose(&all, Some(gone)), Some(all[0]));
    assert_eq!(rotation.choose(&[], Some(gone)), None);
}

#[test]
fn without_a_preference_each_address_has_its_turn() {
    let all = addresses(&["198.18.0.1", "198.18.0.2", "198.18.0.3"]);
    for failure in [
        None,
        Some(FailureKind::ConnectRefused),
        Some(FailureKind::AuthenticationFailed),
    ] {
        let mut rotation = Rotation::default();
        let mut chosen = Vec::new();
        for _ in 0..6 {
            chosen.push(rotation.choose(&all, None).unwrap());
            rotation.note(chosen.last().copied(), failure);
        }
        assert_eq!(chosen, [&all[..], &all[..]].concat());
    }
}

#[test]
fn after_a_failure_another_address_is_checked() {
    let all = addresses(&["198.18.0.1", "198.18.0.2"]);
    let mut rotation = Rotation::default();
    let mut chosen = Vec::new();
    for _ in 0..4 {
        chosen.push(rotation.choose(&all, Some(all[0])).unwrap());
        rotation.note(chosen.last().copied(), Some(FailureKind::TimedOut));
    }
    assert_eq!(chosen, [all[0], all[1], all[0], all[1]]);
    // A server that is full, or a wrong password, is no reason to leave it.
    for failure in [
        FailureKind::Saturated,
        FailureKind::AuthenticationFailed,
        FailureKind::OtherError,
    ] {
        rotation.note(Some(all[0]), Some(failure));
        assert_eq!(rotation.choose(&all, Some(all[0])), Some(all[0]));
    }
    // The only address has no other.
    rotation.note(Some(all[0]), Some(FailureKind::TimedOut));
    assert_eq!(rotation.choose(&all[..1], None), Some(all[0]));
}
