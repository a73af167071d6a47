//! A validating webhook that takes its time.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::certificates::Authority;
use crate::{node, suite, wait};

/// The longest request that is read.
const LONGEST: usize = 4 << 20;

/// Allows everything, after the time that the URL names. It ends when it is dropped.
#[derive(Debug)]
pub struct Webhook {
    address: SocketAddr,
    authority: String,
    asked: Asked,
    task: JoinHandle<()>,
}

/// The namespaces that it was asked about.
type Asked = Arc<Mutex<BTreeSet<String>>>;

impl Webhook {
    /// Starts one at an address of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start() -> Result<Self> {
        let address = node::claim_address()?.server;
        let authority = Authority::new("webhooks")?;
        let identity = authority.server(&[], &[IpAddr::from(address)])?;
        let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        let listener = TcpListener::bind((address, 0)).await?;
        let address = listener.local_addr()?;
        let (acceptor, asked) = (TlsAcceptor::from(Arc::new(config)), Asked::default());
        let task = suite::runtime().spawn(serve(listener, acceptor, Arc::clone(&asked)));
        Ok(Self {
            address,
            authority: authority.pem(),
            asked,
            task,
        })
    }

    /// Whether it was asked about a write in this namespace. The API server asks a moment after it has taken a configuration.
    #[must_use]
    pub fn was_asked_about(&self, namespace: &str) -> bool {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.contains(namespace)
    }

    /// A configuration that asks it about every write of these resources in a namespace, and that it answers after `delay`.
    /// `policy`: `Ignore` or `Fail`.
    #[must_use]
    pub fn configuration(&self, namespace: &str, resources: &[&str], delay: Duration, policy: &str) -> Value {
        let url = format!("https://{}/{}", self.address, delay.as_millis());
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": format!("slow-{namespace}")},
            "webhooks": [{
                "name": "slow.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": policy,
                "timeoutSeconds": 10,
                "clientConfig": {"url": url, "caBundle": ByteString(self.authority.clone().into_bytes())},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [{
                    "apiGroups": ["", "discovery.k8s.io"], "apiVersions": ["v1"], "resources": resources,
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                }],
            }],
        })
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, asked: Asked) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, asked) = (acceptor.clone(), Arc::clone(&asked));
        // A connection that breaks is the API server's concern.
        tokio::spawn(async move { answer(stream, acceptor, &asked).await });
    }
}

/// Answers the requests of a connection, one after the other.
async fn answer(stream: TcpStream, acceptor: TlsAcceptor, asked: &Asked) -> Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let mut read = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let got = stream.read_buf(&mut read).await?;
            ensure!(got > 0 && read.len() < LONGEST, "no more requests");
        };
        let text = String::from_utf8_lossy(&read[..head]).into_owned();
        let length = content_length(&text).context("no Content-Length")?;
        let end = head + 4 + length;
        while read.len() < end {
            let got = stream.read_buf(&mut read).await?;
            ensure!(got > 0 && read.len() < LONGEST, "the request ends");
        }
        let review: Value = serde_json::from_slice(&read[head + 4..end])?;
        read.drain(..end);
        if let Some(namespace) = review["request"]["namespace"].as_str() {
            let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
            asked.insert(namespace.to_owned());
        }
        wait::pass(
            delay(&text).context("no delay in the path")?,
            "a slow webhook is slow",
        )
        .await;
        let allowed = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "response": {"uid": review["request"]["uid"], "allowed": true},
        });
        let body = allowed.to_string();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes()).await?;
        stream.flush().await?;
    }
}

fn content_length(head: &str) -> Option<usize> {
    let line = head
        .lines()
        .find(|line| line.to_ascii_lowercase().starts_with("content-length:"))?;
    line.split_once(':')?.1.trim().parse().ok()
}

/// Of `POST /MILLISECONDS?timeout=10s HTTP/1.1`.
fn delay(head: &str) -> Option<Duration> {
    let path = head.split(' ').nth(1)?.trim_start_matches('/');
    let millis = path.split(['?', '/']).next()?.parse().ok()?;
    Some(Duration::from_millis(millis))
}
