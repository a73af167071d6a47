//! Checks for policies that log in to one server alike.

use super::*;

#[tokio::test]
async fn nobody_waits_for_the_check_of_a_more_patient_policy() {
    let (mut bench, fake) = (bench(Limits::default(), 64), hung().await);
    let (patient, hasty) = (deadlines(LONG), deadlines(PAUSE));
    let patient = ProbeOrder {
        deadlines: patient,
        ..wanted("one", &fake, bench.now(1))
    };
    bench.registry.want(&policy("patient"), vec![patient]);
    until_open(&fake, 1).await;
    let began = bench.clock.now();
    let check = |number| NextCheck {
        timeout: PAUSE,
        ..bench.now(number)
    };
    let first = ProbeOrder {
        deadlines: hasty,
        ..wanted("one", &fake, check(1))
    };
    let next = [check(2), check(3)];
    bench.registry.want(&policy("hasty"), vec![first]);
    for check in next {
        let observed = bench.answer().await;
        assert_eq!(
            (observed.key, observed.observation.result),
            (key("hasty", "one"), Err(FailureKind::TimedOut))
        );
        bench.registry.next(&key("hasty", "one"), check);
    }
    assert!(bench.clock.now().since(began) < LONG / 4);
    // With the patience of the other it waits for the same check.
    bench.answer().await;
    let at = bench.clock.now() + PAUSE;
    let later = |number| NextCheck {
        at: Some(at),
        ..bench.now(number)
    };
    let (patient, hasty) = (wanted("one", &fake, later(2)), wanted("one", &fake, later(4)));
    bench.registry.want(&policy("patient"), Vec::new());
    until_open(&fake, 0).await;
    bench.registry.want(&policy("patient"), vec![patient]);
    bench.registry.want(&policy("hasty"), vec![hasty]);
    until(&fake, |counts| (counts.open, counts.ever) == (1, 5)).await;
    bench.silence().await;
    assert_eq!(fake.counts().ever, 5);
}

#[tokio::test]
async fn policies_of_two_namespaces_share_nothing() {
    let (mut bench, fake) = (bench(Limits::default(), 64), hung().await);
    for namespace in ["shop", "bank"] {
        let order = wanted("one", &fake, bench.now(1));
        bench.registry.want(&PolicyKey::new(namespace, "a"), vec![order]);
    }
    until_open(&fake, 2).await;
    // Those of one do.
    let order = wanted("one", &fake, bench.now(1));
    bench.registry.want(&PolicyKey::new("shop", "b"), vec![order]);
    bench.silence().await;
    assert_eq!(fake.counts().most, 2);
}

#[tokio::test]
async fn checks_are_shared_by_those_who_prefer_the_same_address() {
    let mut bench = bench(Limits::default(), 64);
    let (hanging, good) = (hung().await, good().await);
    let prefer = |check, address: [u8; 4]| NextCheck {
        prefer: Some(address.into()),
        ..check
    };
    for (name, address) in [
        ("a", [127, 0, 0, 1]),
        ("b", [127, 0, 0, 2]),
        ("c", [127, 0, 0, 1]),
    ] {
        let check = prefer(bench.now(1), address);
        bench
            .registry
            .want(&policy(name), vec![wanted("one", &hanging, check)]);
        let check = prefer(bench.later(1), address);
        bench.registry.want(
            &policy(&format!("{name}-good")),
            vec![wanted("one", &good, check)],
        );
    }
    until_open(&hanging, 2).await;
    bench.silence().await;
    assert_eq!(hanging.counts().most, 2);
    // Who comes to agree with others, or leaves them, is answered once.
    for (number, address) in [(2, [127, 0, 0, 1]), (3, [127, 0, 0, 2]), (4, [127, 0, 0, 1])] {
        let check = prefer(bench.now(number), address);
        bench.registry.next(&key("b-good", "one"), check);
        assert_eq!(bench.answer().await.key, key("b-good", "one"));
        bench.silence().await;
    }
    for name in ["a-good", "c-good"] {
        let check = prefer(bench.now(5), [127, 0, 0, 3]);
        bench.registry.next(&key(name, "one"), check);
        assert_eq!(bench.answer().await.key, key(name, "one"));
    }
    bench.silence().await;
    let groups = |registry: &Registry| {
        registry
            .servers
            .values()
            .map(|running| running.checks.len())
            .sum::<usize>()
    };
    assert_eq!(groups(&bench.registry), 4);
}

#[tokio::test]
async fn a_long_list_of_certificates_is_read_once_and_not_at_every_instruction() {
    let (mut bench, fake) = (bench(Limits::default(), 8), good().await);
    let mut login = (*login_of("probe", TlsMode::Disable)).clone();
    login.tls.ca = Some("-".repeat(1024 * 1024).into());
    let order = ProbeOrder {
        login: Arc::new(login),
        ..wanted("one", &fake, bench.later(1))
    };
    bench.registry.want(&policy("a"), vec![order]);
    let began = bench.clock.now();
    for number in 2..20_000 {
        let check = bench.later(number);
        bench.registry.next(&key("a", "one"), check);
    }
    // Twenty gigabytes would take longer.
    let took = bench.clock.now().since(began);
    assert!(took < Duration::from_secs(5), "{took:?}");
}
