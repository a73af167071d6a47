//! A client of the operator's HTTP API, on a connection of its own for each request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wait;
use crate::web::{Response, parse};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// Where the API is, and whom to trust.
#[derive(Clone, Debug)]
pub struct ApiClient {
    /// The address of an operator.
    pub address: SocketAddr,
    /// The name that its certificate must have.
    pub host: String,
    /// The CA, PEM.
    pub authority: String,
}

impl ApiClient {
    /// Sends a request with these header lines, and returns the answer.
    ///
    /// # Errors
    /// When the certificate is not of the CA, or there is no whole answer in time; any status is an answer.
    pub async fn send(&self, method: &str, path: &str, headers: &[String], body: &str) -> Result<Response> {
        let what = format!("{method} https://{}{path}", self.address);
        let exchange = async {
            let mut stream = self.open(method, path, headers, body).await?;
            let mut answer = vec![];
            // Who closes the connection may do so without the end of TLS.
            if let Err(error) = stream.read_to_end(&mut answer).await {
                anyhow::ensure!(!answer.is_empty(), "read the answer: {error}");
            }
            parse(&String::from_utf8_lossy(&answer)).context("not an HTTP answer")
        };
        wait::within(&what, DEADLINE, exchange).await
    }

    /// Sends a request, and returns the connection, on which the answer comes.
    ///
    /// # Errors
    /// When the certificate is not of the CA, or the connection ends.
    pub async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[String],
        body: &str,
    ) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        self.open_over(stream, method, path, headers, body).await
    }

    /// The same over a connection to the address.
    ///
    /// # Errors
    /// When the certificate is not of the CA, or the connection ends.
    pub async fn open_over(
        &self,
        stream: TcpStream,
        method: &str,
        path: &str,
        headers: &[String],
        body: &str,
    ) -> Result<TlsStream<TcpStream>> {
        let mut stream = self.secure(stream).await?;
        let mut lines = headers.join("\r\n");
        if !headers.is_empty() {
            lines.push_str("\r\n");
        }
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Length: {length}\r\n{lines}\r\n{body}",
            self.host
        );
        stream.write_all(request.as_bytes()).await?;
        Ok(stream)
    }

    /// A connection on which nothing was sent yet.
    ///
    /// # Errors
    /// When the certificate is not of the CA, or the connection ends.
    pub async fn connect(&self) -> Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await.context("connect")?;
        self.secure(stream).await
    }

    async fn secure(&self, stream: TcpStream) -> Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots.add(root?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone())?;
        Ok(TlsConnector::from(Arc::new(client)).connect(name, stream).await?)
    }
}
