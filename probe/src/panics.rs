//! A server's bytes that make a parser panic must not leave the server unobserved.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

/// What `asking` gives; `None`: it panicked.
pub async fn caught<T>(asking: impl Future<Output = T>) -> Option<T> {
    let result = AssertUnwindSafe(asking).catch_unwind().await;
    if result.is_err() {
        tracing::error!("a probe panicked");
    }
    result.ok()
}
