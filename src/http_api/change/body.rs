//! The body of a change: small, soon there, and few at once, as each is memory that a caller fills.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::http_api::problem::Problem;

/// Bytes of a body.
const MOST: usize = 8 * 1024;

/// Bodies that are read at once.
const AT_ONCE: usize = 16;

/// For a body as a whole.
const WHOLE: Duration = Duration::from_secs(10);

/// Reads bodies. Clones share the places.
#[derive(Clone)]
pub struct Bodies(Arc<Semaphore>);

impl Default for Bodies {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Bodies {
    /// The bytes of a body, at most 8 KiB.
    ///
    /// # Errors
    /// 429 at once where 16 others are being read, 413 where it has more bytes, 408 where it has not come within 10 s, and 400
    /// where it ends early or its chunks are wrong.
    pub async fn read(&self, body: Body) -> Result<Vec<u8>, Problem> {
        let busy = |_| Problem::busy("16 bodies of changes are being read: try again");
        let _place = self.0.try_acquire().map_err(busy)?;
        let Ok(read) = timeout(WHOLE, whole(body)).await else {
            let message = "the body must come within 10 s";
            return Err(Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "RequestTimeout",
                message,
            ));
        };
        read
    }
}

/// Frames are copied: one of a single byte keeps the whole buffer that it was read into.
async fn whole(mut body: Body) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![];
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|_| Problem::bad("the body is not whole, or not of the form that the head tells"))?;
        let data = frame.into_data().unwrap_or_default();
        if bytes.len() + data.len() > MOST {
            let message = "the body must have at most 8 KiB";
            return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use futures::StreamExt;
    use futures::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_of_many_frames_is_read_whole_and_one_that_is_too_long_is_not_read_on() {
        let bodies = Bodies::default();
        let frames = |number: usize, taken: &Arc<AtomicUsize>| {
            let taken = Arc::clone(taken);
            Body::from_stream(stream::iter(0..number).map(move |_| {
                taken.fetch_add(1, Ordering::Relaxed);
                Ok::<_, io::Error>(Bytes::from_static(b" "))
            }))
        };
        let taken = Arc::<AtomicUsize>::default();
        let read = bodies.read(frames(MOST, &taken)).await.unwrap();
        assert_eq!(read.len(), MOST);
        taken.store(0, Ordering::Relaxed);
        let problem = bodies.read(frames(MOST * 8, &taken)).await.unwrap_err();
        assert_eq!(problem.code, 413);
        assert_eq!(taken.load(Ordering::Relaxed), MOST + 1);
    }

    #[tokio::test]
    async fn a_body_that_fails_is_not_told_as_too_large() {
        let failing = Body::from_stream(stream::iter([Err::<Bytes, _>(io::Error::other("reset"))]));
        assert_eq!(Bodies::default().read(failing).await.unwrap_err().code, 400);
    }

    #[tokio::test(start_paused = true)]
    async fn sixteen_bodies_are_read_at_once_each_for_ten_seconds() {
        let bodies = Bodies::default();
        let never = || Body::from_stream(stream::pending::<Result<Bytes, io::Error>>());
        let slow = (0..AT_ONCE).map(|_| bodies.read(never()));
        let mut slow = Box::pin(futures::future::join_all(slow));
        assert!(timeout(Duration::from_secs(1), &mut slow).await.is_err());
        assert_eq!(bodies.read(never()).await.unwrap_err().code, 429);
        for read in slow.await {
            assert_eq!(read.unwrap_err().code, 408);
        }
        assert_eq!(bodies.read(Body::from("{}")).await.unwrap(), b"{}");
    }
}
