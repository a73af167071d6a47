use std::convert::Infallible;
use std::sync::Arc;

use axum::http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::super::made::{AUTHORITY_KEY, RENEW, renewed};
use super::*;

fn hosts() -> Vec<String> {
    vec!["api.ops.svc".to_owned(), "api".to_owned()]
}

/// An API server with a Secret and a ConfigMap; `true`: the ConfigMap cannot be written.
#[derive(Default)]
struct Objects {
    secret: Option<Value>,
    config_map: Option<Value>,
    refuses: bool,
}

fn keeper(objects: &Arc<Mutex<Objects>>) -> Keeper {
    let objects = Arc::clone(objects);
    let service = tower::service_fn(move |request: Request<Body>| {
        let objects = Arc::clone(&objects);
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut objects = objects.lock();
            let refuses = objects.refuses;
            let is_secret = parts.uri.path().contains("/secrets/");
            let kept = if is_secret {
                &mut objects.secret
            } else {
                &mut objects.config_map
            };
            let is_refused = parts.method == "PUT" && !is_secret && refuses;
            if parts.method == "PUT" && !is_refused {
                *kept = Some(serde_json::from_slice(&body).unwrap());
            }
            let (code, answer) = if is_refused {
                (
                    403,
                    json!({"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403}),
                )
            } else {
                let empty = json!({"metadata": {"name": "api", "namespace": "ops"}});
                (200, kept.clone().unwrap_or(empty))
            };
            let mut response = Response::new(Body::from(answer.to_string().into_bytes()));
            *response.status_mut() = code.try_into().unwrap();
            Ok::<_, Infallible>(response)
        }
    });
    let client = Client::new(service, "ops");
    Keeper {
        secrets: Api::namespaced(client.clone(), "ops"),
        config_maps: Api::namespaced(client, "ops"),
        kept: KeptCertificate {
            namespace: "ops".to_owned(),
            name: "api".to_owned(),
            hosts: hosts(),
        },
    }
}

#[test]
fn what_cannot_be_used_or_is_for_other_hosts_is_due() {
    let now = timestamp();
    let good = renewed(&Kept::new(), &hosts(), now).unwrap();
    assert!(!is_due(&good, &hosts(), now));
    let other = renewed(&Kept::new(), &hosts(), now).unwrap();
    let with = |key: &str, value: &[u8]| {
        let mut kept = good.clone();
        kept.insert(key.to_owned(), value.to_vec());
        kept
    };
    let garbage: &[u8] = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let bad = [
        with(CERTIFICATE, garbage),
        with(CERTIFICATE, &other[CERTIFICATE]),
        with(KEY, b"garbage"),
        with(KEY, &other[KEY]),
        with(AUTHORITY, garbage),
        with(AUTHORITY, &other[AUTHORITY]),
        with(RENEW, b"garbage"),
        renewed(&good, &["elsewhere.svc".to_owned()], now).unwrap(),
    ];
    for (number, kept) in bad.iter().enumerate() {
        assert!(is_due(kept, &hosts(), now), "{number}");
    }
    // The key of another authority signs nothing that the list trusts, which is noticed when it has signed.
    for kept in bad.iter().chain([&with(AUTHORITY_KEY, &other[AUTHORITY_KEY])]) {
        let new = successor(kept, &hosts(), now).unwrap();
        assert!(!is_due(&new, &hosts(), now));
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_is_served_although_its_authority_cannot_be_published_yet() {
    let objects = Arc::new(Mutex::new(Objects {
        refuses: true,
        ..Objects::default()
    }));
    let keeper = keeper(&objects);
    let (newest, served) = watch::channel(None);
    assert!(keeper.pass(true, &newest).await.is_err());
    assert!(served.borrow().is_some() && objects.lock().config_map.is_none());
    objects.lock().refuses = false;
    keeper.pass(true, &newest).await.unwrap();
    let kept = objects.lock().secret.clone().unwrap();
    assert!(kept["data"][CERTIFICATE].is_string());
    let published = objects.lock().config_map.clone().unwrap();
    assert!(
        published["data"][AUTHORITY]
            .as_str()
            .unwrap()
            .contains("BEGIN CERTIFICATE")
    );
}

#[tokio::test(start_paused = true)]
async fn an_unusable_certificate_is_replaced_by_who_writes_alone() {
    let objects = Arc::new(Mutex::new(Objects::default()));
    let keeper = keeper(&objects);
    let (newest, served) = watch::channel(None);
    keeper.pass(true, &newest).await.unwrap();
    let broken = {
        let mut objects = objects.lock();
        let secret = objects.secret.as_mut().unwrap();
        secret["data"][KEY] = json!("Z2FyYmFnZQ==");
        secret.clone()
    };
    newest.send_replace(None);
    assert!(keeper.pass(false, &newest).await.is_err());
    assert_eq!(objects.lock().secret.as_ref(), Some(&broken));
    keeper.pass(true, &newest).await.unwrap();
    assert!(served.borrow().is_some());
    assert_ne!(objects.lock().secret.as_ref(), Some(&broken));
}
