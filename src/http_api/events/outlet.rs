//! Where the words of a stream go: to a client that reads, for as long as its right to do so is proven.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::permit::Permit;
use super::told::event;
use crate::clock::Clock;
use crate::http_api::problem::Problem;

/// A client that takes nothing for so long is given up.
pub const SLOW: Duration = Duration::from_secs(10);

/// The client is to be told nothing more: it has gone, is given up, or has heard why.
#[derive(Debug, PartialEq)]
pub struct Gone;

/// The way to a client.
pub struct Outlet {
    pub permit: Permit,
    sender: mpsc::Sender<Bytes>,
    clock: Clock,
}

impl Outlet {
    /// One to the client that has the receiver.
    #[must_use]
    pub fn new(permit: Permit, clock: Clock) -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(1);
        let outlet = Self {
            permit,
            sender,
            clock,
        };
        (outlet, receiver)
    }

    /// Waits until the client has gone.
    pub async fn closed(&self) {
        self.sender.closed().await;
    }

    /// Tells what the client may be told while the proof holds.
    pub async fn send(&self, text: Bytes) -> Result<(), Gone> {
        let left = self.permit.left(self.clock.now());
        if left.is_zero() {
            return self.end(&Problem::unavailable()).await;
        }
        match timeout(SLOW.min(left), self.sender.send(text)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Says why nothing follows, which needs no right.
    pub async fn end(&self, problem: &Problem) -> Result<(), Gone> {
        let _ = timeout(SLOW, self.sender.send(event("end", problem))).await;
        Err(Gone)
    }
}

#[cfg(test)]
mod tests {
    use distributary_core::Moment;

    use super::*;

    fn word() -> Bytes {
        Bytes::from_static(b"word")
    }

    /// The right was proven at the start.
    fn outlet(clock: Clock) -> (Outlet, mpsc::Receiver<Bytes>) {
        Outlet::new(Permit::new(clock.now(), 0), clock)
    }

    fn seconds(clock: Clock, since: Moment) -> u64 {
        clock.now().since(since).as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_for_ten_seconds_is_given_up() {
        let clock = Clock::new();
        let (outlet, receiver) = outlet(clock);
        let start = clock.now();
        assert_eq!(outlet.send(word()).await, Ok(()));
        assert_eq!(seconds(clock, start), 0, "there is room for one");
        assert_eq!(outlet.send(word()).await, Err(Gone));
        assert_eq!(seconds(clock, start), 10);
        assert_eq!(outlet.end(&Problem::unavailable()).await, Err(Gone));
        assert_eq!(seconds(clock, start), 20, "the reason waits no longer");
        drop(receiver);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_a_word_in_time_is_told_on() {
        let clock = Clock::new();
        let (outlet, mut receiver) = outlet(clock);
        let reads = async {
            for _ in 0..5 {
                Clock::sleep(Duration::from_secs(9)).await;
                assert_eq!(receiver.recv().await, Some(word()));
            }
        };
        let tells = async {
            for _ in 0..5 {
                assert_eq!(outlet.send(word()).await, Ok(()));
            }
        };
        tokio::join!(reads, tells);
        drop(receiver);
        assert_eq!(outlet.send(word()).await, Err(Gone));
        outlet.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_proof_the_reason_is_told_and_nothing_else() {
        let clock = Clock::new();
        let (outlet, mut receiver) = outlet(clock);
        Clock::sleep(Duration::from_secs(75)).await;
        assert_eq!(outlet.send(word()).await, Err(Gone));
        let told = receiver.recv().await.unwrap();
        assert!(told.starts_with(b"event: end\n"), "{told:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_that_waits_is_not_told_after_the_proof_has_ended() {
        let clock = Clock::new();
        let (outlet, mut receiver) = outlet(clock);
        Clock::sleep(Duration::from_secs(70)).await;
        assert_eq!(outlet.send(Bytes::from_static(b"before")).await, Ok(()));
        assert_eq!(outlet.send(word()).await, Err(Gone));
        assert_eq!(seconds(clock, Moment::default()), 75);
        assert_eq!(receiver.recv().await.unwrap(), "before");
        assert!(receiver.try_recv().is_err());
    }
}
