//! Checks of a server whose name leads elsewhere.

use super::*;
use crate::dns::tests::Script;
use crate::fixture::{everywhere, loopback, server};

/// A checker of a name, by answers that the test gives.
struct Named {
    fake: Fake,
    resolver: Resolver,
    checker: Checker,
}

impl Named {
    async fn new() -> Self {
        Self::under(AddressRules::anything()).await
    }

    async fn under(rules: AddressRules) -> Self {
        let (clock, fake) = (Clock::new(), everywhere().await);
        let resolver = Resolver::scripted(clock, Script::default(), rules);
        let location = Location {
            host: Host::Name("db".to_owned()),
            port: fake.address.port(),
        };
        let checker = Checker::new(clock, resolver.clone(), server(location, login(TlsMode::Disable)));
        Self {
            fake,
            resolver,
            checker,
        }
    }

    /// The name led to 127.0.0.1, and leads to these for two answers now.
    async fn led_to(last: &[u8]) -> Self {
        let named = Self::new().await;
        named.answers(&[1]);
        named.answers(last);
        named.answers(last);
        named
    }

    fn answers(&self, last: &[u8]) {
        let addresses: Vec<_> = last.iter().copied().map(loopback).collect();
        self.resolver.hear("db", &addresses);
    }

    /// The last byte of where it was checked, whether that is elsewhere, and whether it was good.
    async fn check(&mut self) -> (u8, bool, bool) {
        let found = self
            .checker
            .check(LONG, Some(loopback(1)), &Queries::default())
            .await;
        let last = match found.address {
            Some(IpAddr::V4(address)) => address.octets()[3],
            _ => 0,
        };
        (last, found.elsewhere, found.result.is_ok())
    }
}

#[tokio::test]
async fn one_answer_without_its_address_leads_no_check_elsewhere() {
    let mut named = Named::new().await;
    named.answers(&[1]);
    named.answers(&[2]);
    assert_eq!(named.check().await, (1, false, true));
    named.answers(&[2]);
    assert_eq!(named.check().await, (2, true, true));
    assert_eq!(
        named.check().await,
        (2, true, true),
        "while nobody prefers another one"
    );
}

#[tokio::test]
async fn after_a_failed_check_elsewhere_it_is_the_turn_of_the_old_server() {
    let mut named = Named::led_to(&[2, 3]).await;
    named.fake.kill(loopback(2));
    named.fake.kill(loopback(3));
    for elsewhere in [2, 3, 2] {
        assert_eq!(named.check().await, (elsewhere, true, false));
        assert_eq!(named.check().await, (1, false, true));
    }
    named.fake.kill(loopback(1));
    named.fake.revive(loopback(2));
    named.fake.revive(loopback(3));
    assert_eq!(named.check().await, (3, true, true));
}

#[tokio::test]
async fn a_dead_old_server_is_checked_in_turn() {
    let mut named = Named::led_to(&[2]).await;
    named.fake.kill(loopback(1));
    named.fake.kill(loopback(2));
    for _ in 0..3 {
        assert_eq!(named.check().await, (2, true, false));
        assert_eq!(named.check().await, (1, false, false));
    }
    named.answers(&[1]);
    named.fake.revive(loopback(1));
    assert_eq!(
        named.check().await,
        (2, false, false),
        "the name rotates, and both are its"
    );
    assert_eq!(named.check().await, (1, false, true));
}

/// While the name has both, a failed check of the other one counts as before: they may be one server.
#[tokio::test]
async fn another_address_of_the_name_is_not_elsewhere() {
    let mut named = Named::new().await;
    named.answers(&[1, 2]);
    named.fake.kill(loopback(1));
    assert_eq!(named.check().await, (1, false, false));
    assert_eq!(named.check().await, (2, false, true));
}

#[tokio::test]
async fn a_name_that_leads_to_refused_addresses_alone_leaves_the_old_server_checked() {
    let refused = "127.0.0.2/32".parse().unwrap();
    let mut named = Named::under(AddressRules::anything().and_not(refused)).await;
    named.answers(&[1]);
    named.answers(&[2]);
    named.answers(&[2]);
    for _ in 0..2 {
        assert_eq!(named.check().await, (1, false, true));
    }
}
