//! Lookups beside the checks. No check is due, so time may be paused.

use std::net::IpAddr;

use tokio::time::advance;

use super::*;
use crate::address::AddressRules;
use crate::dns::tests::Script;
use crate::fixture::loopback;
use distributary_core::server::Location;
use distributary_core::target::{NameAnswer, NameState};

const SECOND: Duration = Duration::from_secs(1);
const INTERVAL: Duration = Duration::from_secs(30);

fn bench_of(script: &Script) -> Bench {
    let clock = Clock::new();
    let (sender, answers) = mpsc::channel(256);
    let resolver = Resolver::scripted(clock, script.clone(), AddressRules::anything());
    Bench {
        clock,
        registry: Registry::new(clock, resolver, Limits::default(), sender),
        answers,
    }
}

/// A target of a login of its own that used an address of this name, and is not checked.
fn named(endpoint: &str, name: &str, used: Option<IpAddr>) -> ProbeOrder {
    ProbeOrder {
        target: target(endpoint),
        incarnation: Incarnation(1),
        location: Location {
            host: Host::Name(name.to_owned()),
            port: 5432,
        },
        login: login_of(endpoint, TlsMode::Disable),
        lag_query: None,
        deadlines: deadlines(LONG),
        probe_queries: Vec::new(),
        interval: INTERVAL,
        check: NextCheck {
            number: 1,
            at: None,
            timeout: LONG,
            prefer: used,
            hold: None,
        },
    }
}

impl Bench {
    async fn named(&mut self) -> NameAnswer {
        match self.answers.recv().await.unwrap() {
            Answer::Named(named) => named,
            other => panic!("{other:?}"),
        }
    }

    fn hears_nothing(&mut self) {
        if let Ok(answer) = self.answers.try_recv() {
            panic!("{answer:?}");
        }
    }
}

/// Time passes, and whoever waits for it goes on.
async fn pass(time: Duration) {
    for _ in 0..time.as_millis().div_ceil(100) {
        advance(Duration::from_millis(100)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_leads_elsewhere_is_told_once_to_those_whose_address_it_was() {
    let script = Script::saying(&[loopback(1)]);
    let mut bench = bench_of(&script);
    let targets = [
        named("old", "db", Some(loopback(1))),
        named("new", "db", Some(loopback(2))),
        named("nowhere", "db", None),
    ];
    bench.registry.want(&policy("a"), targets.to_vec());
    // Who uses another one from before is told after two answers.
    let moved = bench.named().await;
    assert_eq!(
        (moved.key, moved.state.left),
        (key("a", "new"), Some(loopback(2)))
    );
    pass(SECOND * 5).await;
    bench.hears_nothing();

    script.says(&[loopback(2)]);
    pass(SECOND / 2).await;
    bench.hears_nothing();
    let moved = NameState {
        left: Some(loopback(1)),
        rotates: true,
    };
    // The one to which it came back is told in one answer, as that shows that the name rotates.
    let told = [bench.named().await, bench.named().await, bench.named().await];
    let states = told.map(|told| (told.key.target.to_string(), told.incarnation, told.state));
    let rotates = NameState {
        left: None,
        rotates: true,
    };
    let at_once = ["new", "nowhere", "old"].map(|id| (id.to_owned(), Incarnation(1), rotates));
    let mut sorted = states;
    sorted.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(sorted, at_once);
    // A minute of answers without it.
    let started = bench.clock.now();
    let last = bench.named().await;
    assert_eq!((last.key, last.state), (key("a", "old"), moved));
    assert!(bench.clock.now().since(started) > SECOND * 57);
    pass(SECOND * 5).await;
    bench.hears_nothing();
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_once_a_second_however_many_targets_share_it() {
    let script = Script::saying(&[loopback(1)]);
    let mut bench = bench_of(&script);
    for number in 0..1000 {
        let endpoint = format!("db-{number}");
        let order = named(&endpoint, "db", Some(loopback(1)));
        bench.registry.want(&policy(&endpoint), vec![order]);
    }
    pass(SECOND * 10).await;
    assert!((10..=11).contains(&script.asked()), "{}", script.asked());
    script.says(&[loopback(2)]);
    let mut told = BTreeMap::new();
    for _ in 0..1000 {
        let named = bench.named().await;
        told.insert(named.key, named.state.left);
    }
    assert_eq!(told.len(), 1000);
    assert!(told.values().all(|left| *left == Some(loopback(1))));
    assert!(script.asked() <= 13, "{}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_watches_any_more_is_not_looked_up() {
    let script = Script::saying(&[loopback(1)]);
    let mut bench = bench_of(&script);
    let both = ["one", "two"].map(|endpoint| named(endpoint, "db", None));
    bench.registry.want(&policy("a"), both.to_vec());
    pass(SECOND * 2).await;
    bench.registry.want(&policy("a"), both[..1].to_vec());
    let asked = script.asked();
    pass(SECOND * 3).await;
    assert!(script.asked() >= asked + 3, "one is left");
    // Another name is another one.
    bench
        .registry
        .want(&policy("a"), vec![named("one", "other", None)]);
    assert_eq!(
        bench
            .registry
            .names
            .keys()
            .map(AsRef::as_ref)
            .collect::<Vec<&str>>(),
        ["other"]
    );
    bench.registry.want(&policy("a"), Vec::new());
    assert!(bench.registry.names.is_empty());
    let asked = script.asked();
    pass(SECOND * 3).await;
    assert_eq!(script.asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn addresses_and_pods_are_not_looked_up() {
    let script = Script::saying(&[loopback(1)]);
    let mut bench = bench_of(&script);
    let mut pod = named("pod", "db", Some(loopback(1)));
    pod.target.pod = Some(loopback(1));
    let mut address = named("address", "db", None);
    address.location.host = Host::Address(loopback(1));
    bench.registry.want(&policy("a"), vec![pod, address]);
    pass(SECOND * 3).await;
    assert_eq!(script.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn lookups_follow_the_shortest_interval() {
    let script = Script::saying_for(&[loopback(1)], SECOND * 3600);
    let mut bench = bench_of(&script);
    let mut order = named("one", "db", None);
    bench.registry.want(&policy("a"), vec![order.clone()]);
    pass(INTERVAL * 4 + SECOND).await;
    assert_eq!(script.asked(), 5);
    bench.registry.want(&policy("b"), vec![named("two", "db", None)]);
    order.interval = SECOND * 2;
    bench.registry.want(&policy("a"), vec![order]);
    pass(SECOND * 10).await;
    assert!((9..=11).contains(&script.asked()), "{}", script.asked());
}

#[tokio::test(start_paused = true)]
async fn a_silent_name_server_is_asked_for_few_names_of_a_policy_at_once() {
    let script = Script::default();
    let mut bench = bench_of(&script);
    let order = |number| named(&format!("db-{number}"), &format!("db-{number}"), None);
    bench.registry.want(&policy("a"), (0..20).map(order).collect());
    for rounds in 1..=2 {
        pass(SECOND * 4).await;
        assert_eq!(script.asked(), LOOKUPS.policy * rounds);
        // Each is given up after 5 s.
        pass(SECOND).await;
    }
    // Others wait for none of them.
    let others = PolicyKey::new("other", "b");
    bench.registry.want(&others, vec![named("one", "db", None)]);
    pass(Duration::from_millis(1)).await;
    assert!(script.asked() > LOOKUPS.policy * 2);
    // The other four, and then those that were first.
    pass(SECOND * 5).await;
    assert!(script.asked() <= LOOKUPS.policy * 4 + 1);
}

#[tokio::test(start_paused = true)]
async fn one_who_begins_to_watch_a_name_that_rotates_is_told() {
    let script = Script::saying(&[loopback(1)]);
    let mut bench = bench_of(&script);
    bench.registry.want(&policy("a"), vec![named("one", "db", None)]);
    pass(SECOND * 2).await;
    for last in [2, 1] {
        script.says(&[loopback(last)]);
        pass(SECOND * 3).await;
    }
    assert!(bench.named().await.state.rotates);
    bench.registry.want(&policy("b"), vec![named("two", "db", None)]);
    let told = bench.named().await;
    assert_eq!((told.key, told.state.rotates), (key("b", "two"), true));
    // Ten minutes after the last return.
    assert!(!bench.named().await.state.rotates);
}

/// Whose deadline passes before that of the check is told where the check went all the same.
#[tokio::test]
async fn who_does_not_wait_for_a_check_elsewhere_knows_that_it_is_elsewhere() {
    let (mut bench, hung) = (bench_of(&Script::default()), hung().await);
    for last in [2, 1, 1] {
        bench.registry.resolver.hear("db", &[loopback(last)]);
    }
    let order = |timeout| {
        let mut order = named("one", "db", Some(loopback(2)));
        order.location.port = hung.address.port();
        order.check.at = Some(bench.clock.now());
        order.check.timeout = timeout;
        order
    };
    let (hasty, patient) = (order(PAUSE), order(PAUSE * 2));
    bench.registry.want(&policy("hasty"), vec![hasty]);
    bench.registry.want(&policy("patient"), vec![patient]);
    let mut told = Vec::new();
    while told.len() < 2 {
        if let Answer::Checked { observed, .. } = bench.any().await {
            let CheckAnswer {
                key,
                elsewhere,
                observation,
                ..
            } = observed;
            told.push((key.policy, observation.address, elsewhere, observation.result));
        }
    }
    let late = Err(FailureKind::TimedOut);
    let expected = [
        (policy("hasty"), None, true, late.clone()),
        (policy("patient"), Some(loopback(1)), true, late),
    ];
    assert_eq!(told, expected);
}
