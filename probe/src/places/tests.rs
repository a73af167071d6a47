use std::time::Duration;

use futures::FutureExt;

use super::*;

fn key(namespace: &str, name: &str) -> Vec<PolicyKey> {
    vec![PolicyKey::new(namespace, name)]
}

fn places(all: usize, policy: usize) -> Places {
    Places::new(Shares { all, policy }, Clock::new())
}

/// As many as these policies of a namespace can have.
fn grab(places: &Places, namespace: &str, policies: usize) -> Vec<Place> {
    let mut taken = vec![];
    for _ in 0..300 {
        for policy in 0..policies {
            taken.extend(
                places
                    .take(key(namespace, &policy.to_string()))
                    .now_or_never()
                    .flatten(),
            );
        }
    }
    taken
}

#[test]
fn namespaces_that_ask_at_once_have_the_same_and_leave_as_much() {
    for hostile in 1..20_usize {
        let places = places(256, 16);
        let mut taken = vec![0; hostile];
        let mut held = vec![];
        for round in 0..300 {
            for (number, taken) in taken.iter_mut().enumerate() {
                let policy = key(&number.to_string(), &(round % 64).to_string());
                let place = places.take(policy).now_or_never().flatten();
                *taken += usize::from(place.is_some());
                held.extend(place);
            }
        }
        let share = 256 / (hostile + 1);
        assert!(
            taken.iter().all(|taken| (share - 1..=share + 1).contains(taken)),
            "{taken:?}"
        );
        // The next one finds half of what is left.
        let next = grab(&places, "next", 64).len();
        assert!((share / 2..=share / 2 + 1).contains(&next), "{next} of {share}");
        drop(held);
        assert_eq!(places.state().free, 256);
    }
}

#[tokio::test(start_paused = true)]
async fn who_came_later_has_as_much_once_places_were_given_back() {
    let places = places(30, 30);
    let mut taken = grab(&places, "first", 30);
    assert_eq!(taken.len(), 15);
    let (told, mut served) = tokio::sync::mpsc::unbounded_channel();
    for number in 0..60 {
        for namespace in ["first", "second"] {
            let (places, told) = (places.clone(), told.clone());
            tokio::spawn(async move {
                let place = places.take(key(namespace, &number.to_string())).await.unwrap();
                told.send((namespace, place)).unwrap();
            });
        }
    }
    let mut of_second = vec![];
    for _ in 0..30 {
        tokio::task::yield_now().await;
        while let Ok((namespace, place)) = served.try_recv() {
            match namespace {
                "first" => taken.push(place),
                _ => of_second.push(place),
            }
        }
        if taken.len() > of_second.len() {
            taken.remove(0);
        }
    }
    let (first, second) = (taken.len(), of_second.len());
    assert!(first.abs_diff(second) <= 1 && first >= 9, "{first} and {second}");
}

#[test]
fn a_policy_leaves_places_to_the_others_of_its_namespace() {
    for hostile in 1..64_usize {
        let places = places(256, 16);
        let taken = grab(&places, "shop", hostile);
        assert!(taken.len() <= 16 * hostile);
        let mine = places.take(key("shop", "mine")).now_or_never();
        assert!(
            mine.flatten().is_some(),
            "{hostile} policies took {}",
            taken.len()
        );
    }
}

#[test]
fn there_is_always_one_place() {
    let places = places(0, 0);
    let only = places.take(key("shop", "a")).now_or_never().flatten();
    assert!(only.is_some());
    assert!(places.take(key("other", "b")).now_or_never().is_none());
    assert!(places.take(vec![]).now_or_never().unwrap().is_none());
    drop(only);
    assert!(places.take(key("other", "b")).now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn who_has_the_fewest_is_served_first_and_then_who_came_first() {
    let places = places(8, 8);
    let mut held = grab(&places, "busy", 1);
    let rest = grab(&places, "calm", 1);
    let (told, mut served) = tokio::sync::mpsc::unbounded_channel();
    for (number, (namespace, name)) in [("busy", "0"), ("calm", "0"), ("busy", "1"), ("busy", "1")]
        .into_iter()
        .enumerate()
    {
        let (places, told) = (places.clone(), told.clone());
        tokio::spawn(async move {
            let place = places.take(key(namespace, name)).await.unwrap();
            told.send((number, place)).unwrap();
        });
        tokio::task::yield_now().await;
    }
    assert!(served.try_recv().is_err());
    drop(rest);
    let mut order = vec![];
    let mut kept = vec![];
    for _ in 0..4 {
        tokio::task::yield_now().await;
        while let Ok((number, place)) = served.try_recv() {
            order.push(number);
            kept.push(place);
        }
        held.pop();
    }
    tokio::task::yield_now().await;
    while let Ok((number, place)) = served.try_recv() {
        order.push(number);
        kept.push(place);
    }
    // The third one has fewer than the first; once they have as many, who came first goes first.
    assert_eq!(order, [1, 2, 0, 3]);
}

#[tokio::test]
async fn who_no_longer_waits_takes_no_place() {
    let places = places(2, 2);
    let only = places.take(key("shop", "a")).await;
    let mut waits = Box::pin(places.take(key("shop", "a")));
    assert!(waits.as_mut().now_or_never().is_none());
    // Given, and never taken.
    drop(only);
    drop(waits);
    assert_eq!(places.state().free, 2);
    let only = places.take(key("shop", "a")).await;
    let mut waits = Box::pin(places.take([key("shop", "a"), key("shop", "b")].concat()));
    assert!(waits.as_mut().now_or_never().is_none());
    drop(waits);
    assert!(places.state().waiting.is_empty());
    drop(only);
    assert_eq!(places.state().free, 2);
}

/// Policies of one namespace whose servers never answer want more places than there are, again and again.
#[tokio::test(start_paused = true)]
async fn who_used_places_the_least_is_served_first() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let places = places(64, 16);
    for number in 0..300 {
        let places = places.clone();
        tokio::spawn(async move {
            loop {
                let place = places.take(key("shop", &format!("hung-{number}"))).await;
                Clock::sleep(TIMEOUT).await;
                drop(place);
            }
        });
    }
    // Each of them was served once.
    Clock::sleep(TIMEOUT * 12).await;
    let clock = Clock::new();
    for _ in 0..20 {
        Clock::sleep(Duration::from_millis(700)).await;
        let asked = clock.now();
        let place = places.take(key("shop", "mine")).await;
        let waited = clock.now().since(asked);
        assert!(waited <= TIMEOUT, "{waited:?}");
        Clock::sleep(Duration::from_millis(5)).await;
        drop(place);
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_wait_gets_a_place_of_its_own() {
    let places = places(8, 8);
    let _all = grab(&places, "busy", 8);
    let mut asked = places.ask(key("busy", "0"));
    assert!(asked.given().now_or_never().is_none());
    asked.also(key("calm", "0"));
    let place = asked.given().now_or_never().flatten().unwrap();
    assert_eq!(place.policy, PolicyKey::new("calm", "0"));
    // It is given once.
    let free = places.state().free;
    asked.also(key("calm", "1"));
    assert_eq!(places.state().free, free);
}

#[tokio::test(start_paused = true)]
async fn policies_are_forgotten_that_used_nothing_for_a_while() {
    let places = places(256, 16);
    for number in 0..2000 {
        let place = places.take(key("shop", &number.to_string())).await;
        Clock::sleep(Duration::from_millis(100)).await;
        drop(place);
    }
    let known = places.state().known();
    // Each is remembered for about a minute and a half.
    assert!(known < 2 * 1000, "{known}");
    Clock::sleep(Duration::from_secs(600)).await;
    for number in 0..2000 {
        drop(places.take(key("shop", &format!("new-{number}"))).await);
    }
    let known = places.state().known();
    assert!(known <= 4 * FEW, "{known}");
}
