//! One request over a stream of bytes.

use axum::body::Body;
use axum::http::{Request, Response, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::kubectl::error::Error;

/// Gets a path. `kept`: lives as long as the connection.
///
/// # Errors
/// The other side does not answer.
pub async fn get(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    kept: impl Send + 'static,
    path: &str,
) -> Result<Response<Body>, Error> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| super::unanswered(&error))?;
    tokio::spawn(async move {
        // How it ended shows in the answer.
        let _ = connection.await;
        drop(kept);
    });
    let request = Request::get(path)
        .header(header::HOST, "localhost")
        .header(header::ACCEPT, "application/json, text/event-stream")
        .body(Body::empty())
        .map_err(|error| super::unanswered(&error))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|error| super::unanswered(&error))?;
    Ok(answer.map(Body::new))
}
