use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, Response, StatusCode};
use kube::client::Body;
use serde_json::json;

use super::*;

fn policy(name: &str) -> PolicyKey {
    PolicyKey::new("shop", name)
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn secret(name: &str) -> SecretKey {
    ("shop".to_owned(), name.to_owned())
}

/// What the API server answers to a read, and what a watch shows before the answer is there.
type Answer = (Option<&'static str>, Option<Shown>);

/// Reads the Secret `probe` while watches show something; the version that is kept, and how many reads there were.
async fn read(answers: Vec<Answer>) -> (Result<Secrets, Error>, Option<String>, usize) {
    let cache = Arc::new(SecretCache::default());
    let (policy, names) = (policy("orders"), names(&["probe"]));
    cache.used_by(&policy, &names);
    let left = Arc::new(Mutex::new(VecDeque::from(answers)));
    let (shown, script) = (Arc::clone(&cache), Arc::clone(&left));
    let count = script.lock().unwrap().len();
    let server = tower::service_fn(move |_: Request<Body>| {
        let (version, shows) = script.lock().unwrap().pop_front().unwrap();
        if let Some(shows) = shows {
            shown.changed(&secret("probe"), shows);
        }
        let body = match version {
            Some(version) => json!({"metadata": {"name": "probe", "resourceVersion": version}}),
            None => json!({"kind": "Status", "status": "Failure", "code": 404}),
        };
        let mut answer = Response::new(Body::from(body.to_string().into_bytes()));
        if version.is_none() {
            *answer.status_mut() = StatusCode::NOT_FOUND;
        }
        async move { Ok::<_, Infallible>(answer) }
    });
    let client = kube::Client::new(server, "default");
    let secrets = cache.dereference(&client, &policy, &names).await;
    let state = cache.state();
    assert!(state.reading.is_empty(), "a read is still under way");
    let kept = state.read.get(&secret("probe")).map(|read| read.version.clone());
    let reads = count - left.lock().unwrap().len();
    (secrets, kept, reads)
}

fn at(version: &str) -> Option<Shown> {
    Some(Shown::At(version.to_owned()))
}

fn gone(version: &str) -> Option<Shown> {
    Some(Shown::Gone(Some(version.to_owned())))
}

#[tokio::test]
async fn a_read_that_crosses_a_change_is_repeated() {
    let (_, kept, reads) = read(vec![(Some("5"), at("6")), (Some("6"), None)]).await;
    assert_eq!((kept.as_deref(), reads), (Some("6"), 2));
    // It came, or went, meanwhile.
    let (_, kept, reads) = read(vec![(None, at("6")), (Some("6"), None)]).await;
    assert_eq!((kept.as_deref(), reads), (Some("6"), 2));
    let (secrets, _, reads) = read(vec![(Some("5"), gone("7")), (None, None)]).await;
    let found = &secrets.unwrap()["probe"];
    assert!(matches!(found, Err(SecretProblem::NotFound)));
    assert_eq!(reads, 2);
}

#[tokio::test]
async fn a_read_that_is_as_new_as_what_a_watch_shows_is_not_repeated() {
    for answer in [
        (Some("6"), at("6")),
        (Some("10"), at("9")),
        (Some("8"), gone("7")),
        (None, gone("7")),
        (None, Some(Shown::Gone(None))),
    ] {
        let version = answer.0.unwrap_or_default();
        let (_, kept, reads) = read(vec![answer]).await;
        assert_eq!((kept.as_deref(), reads), (Some(version), 1));
    }
}

#[tokio::test]
async fn a_secret_that_never_rests_is_read_so_often_and_not_kept() {
    let answers = [5, 6, 7, 8].map(|version: u64| {
        let next = Shown::At((version + 1).to_string());
        let read: &'static str = ["5", "6", "7", "8"][usize::try_from(version - 5).unwrap()];
        (Some(read), Some(next))
    });
    let (secrets, kept, reads) = read(answers.to_vec()).await;
    assert!(matches!(secrets, Err(Error::SecretChanges { name }) if name == "probe"));
    assert_eq!((kept, reads), (None, READS));
}

#[test]
fn a_secret_is_forgotten_with_the_last_policy_that_names_it() {
    let cache = SecretCache::default();
    assert!(
        cache
            .used_by(&policy("orders"), &names(&["one", "two"]))
            .is_empty()
    );
    assert!(cache.used_by(&policy("carts"), &names(&["two"])).is_empty());
    assert_eq!(
        cache.used_by(&policy("orders"), &names(&["three"])),
        [secret("one")]
    );
    assert!(!cache.is_named(&secret("one")) && cache.is_named(&secret("two")));
    assert_eq!(cache.used_by(&policy("carts"), &names(&[])), [secret("two")]);
    assert_eq!(cache.used_by(&policy("orders"), &names(&[])), [secret("three")]);
    assert!(cache.state().users.is_empty() && cache.state().named.is_empty());
}

/// A cache in which these Secrets were read at version 5, and the policies `orders` and `users` name them all. Of `orders`, the login to
/// `a` is made of `probe`, of `users` that to the primary.
fn known(all: &[&str]) -> SecretCache {
    let cache = SecretCache::default();
    for (policy, endpoint) in [(policy("orders"), "a"), (policy("users"), "primary")] {
        cache.used_by(&policy, &names(all));
        let logins = BTreeMap::from([(EndpointId::from(endpoint), names(&["probe"]))]);
        cache.logs_in_with(&policy, logins);
    }
    for name in all {
        let read = Read::new("5".to_owned(), Ok(SecretKeys(BTreeMap::new())));
        let _ = cache.state().keep(&secret(name), read);
    }
    cache
}

#[test]
fn for_a_failed_login_its_own_secrets_alone_are_looked_at() {
    let moment = |seconds| Moment::new(Duration::from_secs(seconds));
    let cache = known(&["probe", "ca", "other"]);
    let doubted = |policy_name: &str, endpoint: &str, seconds| {
        cache.doubted(&policy(policy_name), &EndpointId::from(endpoint), moment(seconds))
    };
    assert_eq!(doubted("orders", "a", 1), [secret("probe")]);
    assert!(doubted("orders", "a", 10).is_empty(), "it was looked at");
    assert!(doubted("users", "primary", 10).is_empty(), "whoever names it");
    assert_eq!(doubted("users", "primary", 11), [secret("probe")]);
    assert!(doubted("orders", "b", 99).is_empty() && doubted("nobody", "a", 99).is_empty());
    assert_eq!(
        cache.read_of(|_| true).len(),
        3,
        "what was read is kept meanwhile"
    );
    // A watch shows that it changed: it is read at once, and looked at when its login fails.
    assert_eq!(
        cache.changed(&secret("probe"), Shown::At("6".to_owned())).len(),
        2
    );
    assert!(doubted("orders", "a", 12).is_empty(), "it is to be read");
    let _ = cache.state().keep(
        &secret("probe"),
        Read::new("6".to_owned(), Ok(SecretKeys(BTreeMap::new()))),
    );
    assert_eq!(doubted("orders", "a", 13), [secret("probe")]);
    cache.used_by(&policy("orders"), &names(&[]));
    cache.used_by(&policy("users"), &names(&[]));
    assert!(
        cache.state().logins.is_empty(),
        "nothing is kept of policies that are gone"
    );
}

/// What a look at the Secret `probe` leads to, where the API server answers so.
async fn look(code: StatusCode, version: &str) -> (SecretCache, Vec<PolicyKey>) {
    let cache = known(&["probe"]);
    let body = if code.is_success() {
        json!({"metadata": {"name": "probe", "resourceVersion": version}})
    } else {
        json!({"kind": "Status", "status": "Failure", "code": code.as_u16()})
    };
    let body = body.to_string();
    let server = tower::service_fn(move |request: Request<Body>| {
        let accepted = request.headers()["accept"].to_str().unwrap();
        assert!(accepted.contains("as=PartialObjectMetadata"), "{accepted}");
        let mut answer = Response::new(Body::from(body.clone().into_bytes()));
        *answer.status_mut() = code;
        async move { Ok::<_, Infallible>(answer) }
    });
    let concerned = cache
        .look(&kube::Client::new(server, "default"), &secret("probe"))
        .await;
    (cache, concerned)
}

#[tokio::test]
async fn a_look_at_a_secret_reads_no_value_and_leads_to_a_read_where_it_changed() {
    let both = [policy("orders"), policy("users")];
    for (code, version, concerned, kept) in [
        (StatusCode::OK, "5", &both[..0], true),
        // A watch was faster than the look.
        (StatusCode::OK, "4", &both[..0], true),
        (StatusCode::OK, "6", &both[..], false),
        (StatusCode::NOT_FOUND, "", &both[..], false),
        // It says nothing of the Secret.
        (StatusCode::FORBIDDEN, "", &both[..0], true),
    ] {
        let (cache, told) = look(code, version).await;
        assert_eq!(told, concerned, "{code} {version}");
        assert_eq!(
            cache.read_of(|_| true).len(),
            usize::from(kept),
            "{code} {version}"
        );
    }
}

/// Of a namespace and a name, with so many MiB under its only key.
fn large(mebibytes: usize) -> Read {
    let keys = BTreeMap::from([("k".to_owned(), vec![0; (mebibytes << 20) - 1])]);
    Read::new("1".to_owned(), Ok(SecretKeys(keys)))
}

#[test]
fn the_secrets_of_a_namespace_are_kept_as_long_as_there_is_room_for_them() {
    let cache = SecretCache::default();
    let all = names(&["one", "two", "three"]);
    cache.used_by(&policy("orders"), &all);
    let keep = |key: &SecretKey, mebibytes| cache.state().keep(key, large(mebibytes)).is_ok();
    let bank = ("bank".to_owned(), "one".to_owned());
    assert!(keep(&secret("one"), MOST - 1) && keep(&secret("two"), 1));
    assert!(!keep(&secret("three"), 1), "there is no room left");
    assert!(keep(&bank, MOST), "each namespace has its own");
    let known = |name: &str| cache.state().known(&secret(name)).map(|keys| keys.is_ok());
    assert_eq!(known("three"), Some(false));
    // One that was kept and is read again takes the room that it had.
    assert!(keep(&secret("one"), MOST - 1));
    // Nobody names it any more: the other one is read again, and fits.
    cache.used_by(&policy("orders"), &names(&["one", "three"]));
    assert_eq!(known("three"), None);
    assert!(keep(&secret("three"), 1));
    // What is gone is read again, kept or not.
    assert!(!keep(&secret("two"), 1));
    for name in ["one", "two"] {
        assert!(cache.changed(&secret(name), Shown::Gone(None)).len() <= 1);
        assert_eq!(known(name), None, "{name}");
    }
    cache.used_by(&policy("orders"), &names(&[]));
    assert_eq!(cache.state().kept.keys().collect::<Vec<_>>(), ["bank"]);
}
