//! A few futures at once. Each of them is polled whenever the task is.
//!
//! Not `FuturesUnordered`: that one wakes its task again whenever it has polled all of its futures, so that a read that merely waits
//! for its server would run twice, and wake another thread for that.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Futures that are rare, each in a box.
pub struct Few<F>(Vec<Pin<Box<F>>>);

impl<F: Future> Few<F> {
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    pub fn push(&mut self, future: F) {
        self.0.push(Box::pin(future));
    }

    pub fn extend(&mut self, futures: impl IntoIterator<Item = F>) {
        self.0.extend(futures.into_iter().map(Box::pin));
    }

    /// What the next one that ends returns; never, where there is none.
    pub async fn next(&mut self) -> F::Output {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        for at in 0..self.0.len() {
            if let Poll::Ready(output) = self.0[at].as_mut().poll(cx) {
                drop(self.0.swap_remove(at));
                return Poll::Ready(output);
            }
        }
        Poll::Pending
    }
}

/// Futures of which there is mostly one: that one is where its owner is.
pub struct Running<'a, F> {
    place: Pin<&'a mut Option<F>>,
    others: Few<F>,
}

impl<'a, F: Future> Running<'a, F> {
    /// `place`: for one of them, and empty.
    pub const fn new(place: Pin<&'a mut Option<F>>) -> Self {
        Self {
            place,
            others: Few::new(),
        }
    }

    pub fn push(&mut self, future: F) {
        if self.place.is_none() {
            self.place.set(Some(future));
        } else {
            self.others.push(future);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.place.is_none() && self.others.0.is_empty()
    }

    /// What the next one that ends returns; never, where there is none.
    pub async fn next(&mut self) -> F::Output {
        poll_fn(|cx| {
            let placed = self.place.as_mut().as_pin_mut();
            if let Some(Poll::Ready(output)) = placed.map(|future| future.poll(cx)) {
                self.place.set(None);
                return Poll::Ready(output);
            }
            self.others.poll_next(cx)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Wake, Waker};

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    async fn told(answer: oneshot::Receiver<u32>) -> u32 {
        answer.await.unwrap_or_default()
    }

    #[test]
    fn what_waits_is_woken_by_what_it_waits_for_alone() {
        let wakes = Arc::<Wakes>::default();
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);
        let place = pin!(None);
        let mut running = Running::new(place);
        let (first, one) = oneshot::channel();
        let (second, other) = oneshot::channel();
        running.push(told(one));
        running.push(told(other));
        let mut poll = |running: &mut Running<'_, _>| pin!(running.next()).poll(&mut cx);
        assert_eq!(poll(&mut running), Poll::Pending);
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0, "nothing has come");
        second.send(2).expect("it waits");
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert_eq!(poll(&mut running), Poll::Ready(2));
        assert_eq!(poll(&mut running), Poll::Pending);
        first.send(1).expect("it waits");
        assert_eq!(poll(&mut running), Poll::Ready(1));
        assert!(running.is_empty());
        let (third, again) = oneshot::channel();
        running.push(told(again));
        assert!(
            running.others.0.is_empty() && !running.is_empty(),
            "the place is free again"
        );
        third.send(3).expect("it waits");
        assert_eq!(poll(&mut running), Poll::Ready(3));
        assert_eq!(poll(&mut running), Poll::Pending, "there is none");
    }
}
