use std::collections::VecDeque;

use super::*;

/// Answers in order; after the last it stays silent for ever.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<VecDeque<Result<Answer, FailureKind>>>>);

impl Script {
    pub(super) async fn answer(&self, _: &str) -> Result<Answer, FailureKind> {
        let next = self.0.lock().unwrap().pop_front();
        match next {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

const WITHIN: Duration = Duration::from_millis(20);

fn resolver(answers: impl IntoIterator<Item = Result<Answer, FailureKind>>) -> Resolver {
    let script = Script(Arc::new(Mutex::new(answers.into_iter().collect())));
    let lookup = Lookup::Script(script);
    Resolver {
        clock: Clock::new(),
        lookup,
        remembered: Arc::default(),
        allowed: address_allowed,
    }
}

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn answer(texts: &[&str]) -> Result<Answer, FailureKind> {
    Ok(Answer {
        addresses: addresses(texts),
        ttl: Duration::from_secs(5),
    })
}

fn name(text: &str) -> Host {
    Host::Name(text.into())
}

#[tokio::test]
async fn answers_are_in_order_and_once() {
    let found = [
        "2001:db8::1",
        "198.18.0.9",
        "198.18.0.10",
        "198.18.0.9",
        "::ffff:198.18.0.1",
    ];
    let resolver = resolver([answer(&found)]);
    let expected = addresses(&["198.18.0.1", "198.18.0.9", "198.18.0.10", "2001:db8::1"]);
    assert_eq!(resolver.addresses(&name("db"), WITHIN).await, Ok(expected));
}

#[tokio::test]
async fn a_declared_address_asks_nobody() {
    let resolver = resolver([]);
    let host = Host::Address("::ffff:198.18.0.1".parse().unwrap());
    assert_eq!(
        resolver.addresses(&host, WITHIN).await,
        Ok(addresses(&["198.18.0.1"]))
    );
    let host = Host::Address("::ffff:127.0.0.1".parse().unwrap());
    assert_eq!(
        resolver.addresses(&host, WITHIN).await,
        Err(FailureKind::AddressRefused)
    );
}

#[tokio::test]
async fn refused_addresses_are_left_out() {
    let resolver = resolver([
        answer(&["127.0.0.1", "198.18.0.1"]),
        answer(&["127.0.0.1", "fe80::1"]),
    ]);
    assert_eq!(
        resolver.addresses(&name("db"), WITHIN).await,
        Ok(addresses(&["198.18.0.1"]))
    );
    assert_eq!(
        resolver.addresses(&name("db"), WITHIN).await,
        Err(FailureKind::AddressRefused)
    );
}

#[test]
fn addresses_that_mean_something_else_on_each_node_are_refused() {
    for refused in [
        "127.0.0.1",
        "127.255.0.3",
        "::1",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "fe80::1",
        "febf::1",
        "224.0.0.1",
        "239.255.255.255",
        "ff02::1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "::ffff:169.254.1.1",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
    ] {
        assert!(!address_allowed(refused.parse().unwrap()), "{refused}");
    }
    for allowed in [
        "10.0.0.1",
        "198.18.0.1",
        "192.168.1.1",
        "2001:db8::1",
        "fd00::1",
        "::ffff:10.0.0.1",
        "8.8.8.8",
    ] {
        assert!(address_allowed(allowed.parse().unwrap()), "{allowed}");
    }
}

#[tokio::test]
async fn the_last_good_answer_serves_when_a_lookup_fails() {
    let failures = [Err(FailureKind::ResolverFailed), Err(FailureKind::NameNotFound)];
    let resolver = resolver([answer(&["198.18.0.1"])].into_iter().chain(failures));
    // The fourth lookup hears nothing.
    for _ in 0..4 {
        assert_eq!(
            resolver.addresses(&name("db"), WITHIN).await,
            Ok(addresses(&["198.18.0.1"]))
        );
    }
}

#[tokio::test]
async fn a_name_without_a_good_answer_fails_as_the_lookup_did() {
    let resolver = resolver([Err(FailureKind::NameNotFound), Err(FailureKind::ResolverFailed)]);
    assert_eq!(
        resolver.addresses(&name("db"), WITHIN).await,
        Err(FailureKind::NameNotFound)
    );
    assert_eq!(
        resolver.addresses(&name("db"), WITHIN).await,
        Err(FailureKind::ResolverFailed)
    );
    assert_eq!(
        resolver.addresses(&name("db"), WITHIN).await,
        Err(FailureKind::ResolverFailed)
    );
}

#[tokio::test]
async fn an_old_answer_serves_no_longer_and_is_forgotten() {
    let resolver = resolver([
        answer(&["198.18.0.1"]),
        Err(FailureKind::ResolverFailed),
        answer(&["198.18.0.2"]),
    ]);
    assert!(resolver.addresses(&name("old"), WITHIN).await.is_ok());
    resolver.remembered.lock().unwrap().get_mut("old").unwrap().until = resolver.clock.now();
    assert_eq!(
        resolver.addresses(&name("old"), WITHIN).await,
        Err(FailureKind::ResolverFailed)
    );
    assert!(resolver.addresses(&name("new"), WITHIN).await.is_ok());
    assert_eq!(
        resolver.remembered.lock().unwrap().keys().collect::<Vec<_>>(),
        ["new"]
    );
}

#[tokio::test]
async fn a_newer_answer_replaces_the_addresses_and_shortens_nothing() {
    let long = Answer {
        addresses: addresses(&["198.18.0.1"]),
        ttl: Duration::from_hours(1),
    };
    let resolver = resolver([Ok(long), answer(&["198.18.0.2"])]);
    assert!(resolver.addresses(&name("db"), WITHIN).await.is_ok());
    assert!(resolver.addresses(&name("db"), WITHIN).await.is_ok());
    let remembered = resolver.remembered.lock().unwrap()["db"].clone();
    assert_eq!(remembered.addresses, addresses(&["198.18.0.2"]));
    assert!(remembered.until > resolver.clock.now() + Duration::from_hours(2));
}

#[test]
fn an_answer_outlives_the_resolver_for_three_ttls_and_at_least_a_minute() {
    for (ttl, bound) in [(0, 60), (20, 60), (21, 63), (300, 900), (u64::MAX, 86_400)] {
        assert_eq!(stale_bound(Duration::from_secs(ttl)), Duration::from_secs(bound));
    }
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
