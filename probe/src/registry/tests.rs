mod held;
mod names;
mod shared;

use std::collections::BTreeMap;
use std::time::Duration;

use fake_postgres::{Counts, Fake, Standing, script};
use tokio::time::timeout;

use super::*;
use crate::fixture::{location, login};
use distributary_core::login::TlsMode;
use distributary_core::moment::Moment;
use distributary_core::observation::{FailureKind, Lsn, Role, Silence};
use distributary_core::target::{CheckAnswer, Deadlines, Hold, Incarnation, SessionAnswer};

const LONG: Duration = Duration::from_secs(20);
/// Long enough to see that something does not happen.
const PAUSE: Duration = Duration::from_millis(60);

struct Bench {
    clock: Clock,
    registry: Registry,
    answers: mpsc::Receiver<Answer>,
}

fn bench(limits: Limits, room: usize) -> Bench {
    let clock = Clock::new();
    let (sender, answers) = mpsc::channel(room);
    Bench {
        clock,
        registry: Registry::new(clock, Resolver::anywhere(clock), limits, sender),
        answers,
    }
}

impl Bench {
    async fn answer(&mut self) -> CheckAnswer {
        match self.any().await {
            Answer::Checked { observed, .. } => observed,
            other => panic!("{other:?}"),
        }
    }

    async fn heard(&mut self) -> SessionAnswer {
        match self.any().await {
            Answer::Heard(heard) => heard,
            other => panic!("{other:?}"),
        }
    }

    async fn any(&mut self) -> Answer {
        timeout(LONG, self.answers.recv())
            .await
            .expect("an answer")
            .unwrap()
    }

    async fn silence(&mut self) {
        if let Ok(answer) = timeout(PAUSE, self.answers.recv()).await {
            panic!("{answer:?}");
        }
    }

    /// An instruction for now.
    fn now(&self, number: u64) -> NextCheck {
        NextCheck {
            number,
            at: Some(self.clock.now()),
            timeout: LONG,
            prefer: None,
            hold: None,
        }
    }

    fn later(&self, number: u64) -> NextCheck {
        NextCheck {
            at: Some(self.clock.now() + LONG),
            ..self.now(number)
        }
    }
}

fn policy(name: &str) -> PolicyKey {
    PolicyKey::new("default", name)
}

fn key(policy_name: &str, endpoint: &str) -> ProbeKey {
    ProbeKey {
        policy: policy(policy_name),
        target: target(endpoint),
    }
}

fn target(endpoint: &str) -> TargetId {
    TargetId::host(endpoint.into())
}

/// Each endpoint has a login of its own: nothing is shared.
fn wanted(endpoint: &str, fake: &Fake, check: NextCheck) -> ProbeOrder {
    ProbeOrder {
        target: target(endpoint),
        incarnation: Incarnation(1),
        location: location(fake),
        login: login_of(endpoint, TlsMode::Disable),
        lag_query: None,
        deadlines: deadlines(LONG),
        probe_queries: Vec::new(),
        interval: LONG,
        check,
    }
}

fn deadlines(timeout: Duration) -> Deadlines {
    Deadlines {
        timeout,
        failover_timeout: timeout * 3,
        failure_threshold: 3,
    }
}

fn limits_of(all: usize, policy: usize) -> Limits {
    Limits {
        all,
        policy,
        ..Limits::default()
    }
}

fn login_of(user: &str, mode: TlsMode) -> Arc<Login> {
    Arc::new(Login {
        user: user.to_owned(),
        ..login(mode)
    })
}

async fn good() -> Fake {
    Fake::answering(Standing::primary().whole()).await
}

/// A server that never answers.
async fn hung() -> Fake {
    Fake::following(script::silent()).await
}

/// Waits until `hold` for the connections of a server.
async fn until(fake: &Fake, hold: impl Fn(Counts) -> bool) {
    timeout(LONG, fake.until(hold)).await.expect("connections");
}

async fn until_open(fake: &Fake, count: usize) {
    until(fake, |counts| counts.open == count).await;
}

#[tokio::test]
async fn one_instruction_has_one_answer() {
    let (mut bench, fake) = (bench(Limits::default(), 8), good().await);
    let check = bench.now(5);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, check)]);
    let observed = bench.answer().await;
    assert_eq!(
        (observed.key, observed.incarnation),
        (key("a", "one"), Incarnation(1))
    );
    assert_eq!(observed.observation.result.unwrap().role, Role::Primary);
    bench.silence().await;
    // Neither the same instruction again nor an older one starts a check.
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, check)]);
    bench.registry.next(&key("a", "one"), bench.now(4));
    bench.registry.next(&key("a", "nobody"), bench.now(9));
    bench.registry.next(&key("nobody", "one"), bench.now(9));
    bench.silence().await;
    bench.registry.next(&key("a", "one"), bench.now(6));
    bench.answer().await;
    // The set of wanted targets carries instructions, too.
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, bench.now(7))]);
    bench.answer().await;
    bench.silence().await;
}

#[tokio::test]
async fn a_check_waits_for_its_moment() {
    let (mut bench, fake) = (bench(Limits::default(), 8), good().await);
    let at = bench.clock.now() + PAUSE;
    let check = NextCheck {
        at: Some(at),
        ..bench.now(1)
    };
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, check)]);
    assert!(bench.answer().await.observation.started >= at);
}

#[tokio::test]
async fn a_later_instruction_replaces_one_that_waits() {
    let (mut bench, fake) = (bench(Limits::default(), 8), good().await);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, bench.later(1))]);
    bench.silence().await;
    bench.registry.next(&key("a", "one"), bench.now(2));
    bench.answer().await;
    bench.registry.next(&key("a", "one"), bench.later(3));
    bench.registry.next(&key("a", "one"), bench.later(4));
    bench.silence().await;
}

#[tokio::test]
async fn what_is_no_longer_wanted_stops_in_the_middle_of_its_check() {
    let (mut bench, fake) = (bench(Limits::default(), 8), hung().await);
    let both = |check| vec![wanted("one", &fake, check), wanted("two", &fake, check)];
    bench.registry.want(&policy("a"), both(bench.now(1)));
    until_open(&fake, 2).await;
    bench
        .registry
        .want(&policy("a"), vec![wanted("two", &fake, bench.now(1))]);
    until_open(&fake, 1).await;
    bench.registry.want(&policy("a"), Vec::new());
    until_open(&fake, 0).await;
    assert!(bench.registry.policies.is_empty());
    bench.silence().await;
}

#[tokio::test]
async fn dropping_the_registry_stops_everything() {
    let (mut bench, fake) = (bench(Limits::default(), 8), hung().await);
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, bench.now(1))]);
    until_open(&fake, 1).await;
    drop(bench.registry);
    until_open(&fake, 0).await;
}

#[tokio::test]
async fn an_edit_of_one_target_leaves_the_others_alone() {
    let (mut bench, fake) = (bench(Limits::default(), 8), hung().await);
    let check = bench.now(1);
    bench.registry.want(
        &policy("a"),
        vec![wanted("edited", &fake, check), wanted("other", &fake, check)],
    );
    until_open(&fake, 2).await;
    let other = wanted("other", &fake, check);
    let edits: [fn(&mut ProbeOrder); 3] = [
        |wanted| wanted.incarnation = Incarnation(2),
        |wanted| wanted.login = login_of("edited", TlsMode::Require),
        |wanted| wanted.location.port = 1,
    ];
    let mut edited = wanted("edited", &fake, check);
    // The other's connection stays: each edit closes one and opens at most one.
    for (edit, counts) in edits.into_iter().zip([(2, 2), (2, 3), (1, 3)]) {
        edit(&mut edited);
        let new = wanted("new", &fake, bench.later(1));
        bench
            .registry
            .want(&policy("a"), vec![other.clone(), edited.clone(), new]);
        until(&fake, |now| (now.open, now.ever) == counts).await;
    }
    let observed = bench.answer().await;
    assert_eq!(
        (observed.key.target, observed.incarnation),
        (target("edited"), Incarnation(2))
    );
    assert_eq!(observed.observation.result, Err(FailureKind::ConnectRefused));
}

#[tokio::test]
async fn an_equal_login_is_the_same_login() {
    let (mut bench, fake) = (bench(Limits::default(), 8), hung().await);
    for number in 1..4 {
        bench
            .registry
            .want(&policy("a"), vec![wanted("one", &fake, bench.now(number))]);
        until_open(&fake, 1).await;
    }
    assert_eq!(fake.counts().ever, 1);
}

#[tokio::test]
async fn never_two_checks_of_a_target_at_once() {
    let (mut bench, fake) = (bench(Limits::default(), 8), hung().await);
    let short = |check| NextCheck {
        timeout: PAUSE,
        ..check
    };
    bench
        .registry
        .want(&policy("a"), vec![wanted("one", &fake, short(bench.now(1)))]);
    until_open(&fake, 1).await;
    bench.registry.next(&key("a", "one"), short(bench.now(2)));
    bench.registry.next(&key("a", "one"), short(bench.now(3)));
    let first = bench.answer().await.observation;
    let second = bench.answer().await.observation;
    assert_eq!(
        (&first.result, &second.result),
        (&Err(FailureKind::TimedOut), &Err(FailureKind::TimedOut))
    );
    assert!(first.ended <= second.started);
    assert_eq!((fake.counts().most, fake.counts().ever), (1, 2));
    bench.silence().await;
}

#[tokio::test]
async fn hung_targets_starve_no_other_policy() {
    let mut bench = bench(limits_of(3, 1), 64);
    let (fake, good) = (hung().await, good().await);
    let check = bench.now(1);
    let targets = ["one", "two", "three"].map(|endpoint| wanted(endpoint, &fake, check));
    bench.registry.want(&policy("hung"), targets.to_vec());
    until_open(&fake, 1).await;
    bench.registry.want(
        &policy("good"),
        vec![wanted("one", &good, check), wanted("two", &good, check)],
    );
    for number in 2..12 {
        let answered = [bench.answer().await.key, bench.answer().await.key];
        let mut endpoints = answered.map(|key| (key.policy, key.target.to_string()));
        endpoints.sort();
        assert_eq!(
            endpoints,
            ["one", "two"].map(|endpoint| (policy("good"), endpoint.to_owned()))
        );
        for endpoint in ["one", "two"] {
            bench.registry.next(&key("good", endpoint), bench.now(number));
        }
    }
    assert_eq!(fake.counts().most, 1);
}

#[tokio::test]
async fn hung_targets_of_one_policy_take_turns() {
    let (mut bench, fake) = (bench(limits_of(9, 1), 64), hung().await);
    let check = NextCheck {
        timeout: Duration::from_millis(30),
        ..bench.now(1)
    };
    bench.registry.want(
        &policy("a"),
        ["one", "two", "three"]
            .map(|id| wanted(id, &fake, check))
            .to_vec(),
    );
    let mut answered = BTreeMap::new();
    let mut ended = Moment::default();
    for _ in 0..6 {
        let CheckAnswer { key, observation, .. } = bench.answer().await;
        // The deadline counts from when the check began, not from when it began to wait for its turn.
        assert!(
            observation.started >= ended && observation.ended.since(observation.started) >= check.timeout
        );
        ended = observation.ended;
        let count: &mut u64 = answered.entry(key.target.to_string()).or_default();
        *count += 1;
        bench.registry.next(
            &key,
            NextCheck {
                number: *count + 1,
                ..check
            },
        );
    }
    assert_eq!(answered.into_values().collect::<Vec<_>>(), [2, 2, 2]);
    assert_eq!(fake.counts().most, 1);
}

#[tokio::test]
async fn the_operators_limit_holds_for_all_policies() {
    // One namespace takes half of them.
    let limits = limits_of(6, 2);
    let (mut bench, fake) = (bench(limits, 64), hung().await);
    let check = bench.now(1);
    for name in ["a", "b", "c"] {
        let targets = ["one", "two", "three"].map(|id| wanted(&format!("{name}-{id}"), &fake, check));
        bench.registry.want(&policy(name), targets.to_vec());
    }
    until_open(&fake, 3).await;
    bench.silence().await;
    assert_eq!(fake.counts().most, 3);
    // A place that is given up goes to who waits.
    bench.registry.want(&policy("a"), Vec::new());
    until(&fake, |counts| counts.open == 2 && counts.ever > 3).await;
    assert_eq!(fake.counts().most, 3);
}

#[tokio::test]
async fn a_full_channel_holds_answers_back_and_loses_none() {
    let limits = limits_of(1, 1);
    let mut bench = bench(limits, 1);
    let fake = good().await;
    let check = bench.now(1);
    let ids = ["one", "two", "three", "four"];
    bench
        .registry
        .want(&policy("a"), ids.map(|id| wanted(id, &fake, check)).to_vec());
    // A check that cannot deliver holds no place: all of them run although nobody listens.
    until(&fake, |counts| counts.ever >= ids.len()).await;
    let mut answered = Vec::new();
    for _ in ids {
        answered.push(bench.answer().await.key.target.to_string());
    }
    bench.silence().await;
    answered.sort();
    assert_eq!(answered, ["four", "one", "three", "two"]);
}
