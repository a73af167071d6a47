use std::sync::Arc;
use std::time::Duration;

use harness::certificates::Authority;
use kube::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::clients::Clients;
use super::super::requests::carry_out;
use super::*;
use crate::clock::Clock;
use crate::render::reading::{Text, Version};
use crate::writing::{Answer, Call, LEFT, Lead, Request as Asked};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// An API server that ends TLS handshakes when it is told to, and refuses what it is asked for.
struct Server {
    config: Config,
    accepted: Arc<Notify>,
    greet: Arc<Notify>,
    /// What it was asked for.
    asked: tokio::task::JoinHandle<String>,
}

impl Server {
    async fn start() -> Self {
        let authority = Authority::new("test").unwrap();
        let identity = authority.server(&[], &["127.0.0.1".parse().unwrap()]).unwrap();
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let mut config = Config::new(url.parse().unwrap());
        let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
        config.root_cert = Some(vec![root.to_vec()]);
        let (accepted, greet) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tells, waits) = (Arc::clone(&accepted), Arc::clone(&greet));
        let asked = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            tells.notify_one();
            waits.notified().await;
            let mut stream = TlsAcceptor::from(Arc::new(tls)).accept(stream).await.unwrap();
            let mut asked = vec![0; 65536];
            // A connection that was given up says nothing more.
            let length = stream.read(&mut asked).await.unwrap_or_default();
            let refusal = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","code":403}"#;
            let head = "HTTP/1.1 403 Forbidden\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{refusal}", refusal.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            String::from_utf8(asked[..length].to_vec()).unwrap()
        });
        Self {
            config,
            accepted,
            greet,
            asked,
        }
    }

    /// Sends a status by a lease of which so much is left, and does `meanwhile` during the handshake. What came of it, and
    /// what the server was asked for.
    async fn asked_with(
        self,
        fresh: bool,
        left: Duration,
        meanwhile: impl AsyncFnOnce(Clock, &watch::Sender<Lead>),
    ) -> (Answer<Text>, String) {
        let clock = Clock::new();
        let (told, lead) = watch::channel(Lead::default());
        let fence = Fence::new(move || lead.borrow().may_start(clock.now()));
        let clients = Clients::of(&self.config).unwrap().fenced(&fence);
        let call = Call::PutStatus {
            uid: "7".to_owned(),
            version: Version::new("9"),
            status: Box::new(ReplicaSetPolicyStatus::default()),
        };
        let mut request = Asked::about(PolicyKey::new("shop", "orders"), call);
        (request.fresh, request.deadline) = (fresh, MS(30_000));
        let until = Some(clock.now() + left);
        told.send_replace(Lead::Leads { until });
        let answer = tokio::spawn(carry_out(clients, request, fence));
        self.accepted.notified().await;
        meanwhile(clock, &told).await;
        self.greet.notify_one();
        let (_, answer) = answer.await.unwrap();
        (answer, self.asked.await.unwrap())
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_sent_whose_connection_is_made_when_too_little_of_the_lease_is_left() {
    for fresh in [false, true] {
        let server = Server::start().await;
        let short = MS(500);
        let frozen = async |clock: Clock, _: &watch::Sender<Lead>| {
            clock.sleep_until(clock.now() + short).await;
        };
        let (answer, asked) = server.asked_with(fresh, LEFT + short, frozen).await;
        assert_eq!(asked, "");
        assert!(matches!(answer, Answer::Unsent), "{answer:?}");
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_sent_whose_connection_is_made_after_another_process_leads() {
    let server = Server::start().await;
    let follows = async |_: Clock, told: &watch::Sender<Lead>| {
        told.send_replace(Lead::Follows);
    };
    let (answer, asked) = server.asked_with(false, MS(60_000), follows).await;
    assert_eq!(asked, "");
    assert!(matches!(answer, Answer::Unsent), "{answer:?}");
}

#[tokio::test]
async fn a_request_of_a_leader_is_sent_whole() {
    let server = Server::start().await;
    let nothing = async |_: Clock, _: &watch::Sender<Lead>| {};
    let (answer, asked) = server.asked_with(false, MS(60_000), nothing).await;
    assert!(matches!(answer, Answer::Refused { code: 403, .. }), "{answer:?}");
    let (head, body) = asked.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("PUT /apis/distributary.dev/v1alpha1/namespaces/shop"),
        "{head}"
    );
    assert!(
        head.contains(&format!("\r\ncontent-length: {}", body.len())),
        "{asked}"
    );
}
