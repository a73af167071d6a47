use super::*;

fn permits(list: &str, host: &str, address: &str) -> bool {
    let name = host.parse::<IpAddr>().is_err().then_some(host);
    HostList::parse(list)
        .unwrap()
        .permits(name, address.parse().unwrap())
}

#[test]
fn a_list_permits_what_it_names_and_nothing_else() {
    for (list, host, address, permitted) in [
        ("db.example.com", "db.example.com", "10.0.0.1", true),
        ("db.example.com", "DB.Example.com.", "10.0.0.1", true),
        ("db.example.com", "one.db.example.com", "10.0.0.1", false),
        ("db.example.com", "db.example.com.attacker.net", "10.0.0.1", false),
        ("a.test, db.example.com", "db.example.com", "10.0.0.1", true),
        (".example.com", "db.example.com", "10.0.0.1", true),
        (".example.com", "one.db.example.com", "10.0.0.1", true),
        (".example.com", "example.com", "10.0.0.1", false),
        (".example.com", "badexample.com", "10.0.0.1", false),
        ("10.0.0.0/8", "any.test", "10.1.2.3", true),
        ("10.0.0.0/8", "10.1.2.3", "10.1.2.3", true),
        ("10.0.0.0/8", "11.0.0.1", "11.0.0.1", false),
        ("10.0.0.0/8", "any.test", "::ffff:10.1.2.3", true),
        ("0.0.0.0/0", "any.test", "2001:db8::1", false),
        ("10.0.0.1", "10.0.0.2", "10.0.0.2", false),
        ("10.0.0.2", "10.0.0.2", "10.0.0.2", true),
        ("2001:db8::/32", "any.test", "2001:db8:1::1", true),
        ("::/0", "any.test", "2001:db8:1::1", true),
        ("::ffff:10.0.0.0/104", "any.test", "10.1.2.3", true),
        ("::ffff:10.0.0.0/104", "any.test", "11.1.2.3", false),
        ("::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1", true),
        ("::ffff:0:0/95", "any.test", "10.0.0.1", false),
        // The name of an address is none.
        ("db.example.com", "10.0.0.1", "10.0.0.1", false),
    ] {
        assert_eq!(permits(list, host, address), permitted, "{list} {host} {address}");
    }
}

#[test]
fn of_several_lists_each_must_permit_a_host() {
    let [names, networks] = [".example.com", "10.0.0.0/8"].map(|text| HostList::parse(text).unwrap());
    let both = names.and(&networks);
    let permits = |name: &str, address: &str| both.permits(Some(name), address.parse().unwrap());
    assert!(permits("db.example.com", "10.0.0.1"));
    assert!(!permits("db.example.com", "11.0.0.1"));
    assert!(!permits("db.example.net", "10.0.0.1"));
}

#[test]
fn what_is_no_list_permits_nothing_by_mistake() {
    for text in [
        "",
        ",",
        "a,,b",
        "*",
        "*.example.com",
        ".",
        "10.0.0.0/33",
        "10.0.0.0/+8",
        "a/8",
        "a b",
        "10.0.0.0/",
    ] {
        assert_eq!(HostList::parse(text), None, "{text:?}");
    }
}

#[test]
fn a_list_that_is_too_long_is_none() {
    let many = |count: usize| vec!["a.test"; count].join(",");
    assert!(HostList::parse(&many(256)).is_some() && HostList::parse(&many(257)).is_none());
    assert!(HostList::parse(&"a".repeat(255)).is_some() && HostList::parse(&"a".repeat(256)).is_none());
}
