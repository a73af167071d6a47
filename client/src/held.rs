//! A connection while it is lent: it goes back to its pool clean, is reset first, or is cancelled and closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use deadpool::managed::Object;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::connection::{Connection, Opener};
use crate::server::{InFlight, Server};

/// To reset a session takes so long at most.
const RESETTING: Duration = Duration::from_secs(1);

/// A connection that is closed where it is dropped, and has its place in the pool until then.
struct Closing(Option<Object<Opener>>);

impl Drop for Closing {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// Makes a session what it was after the login, and gives it back; where that fails, closes it.
fn reset(object: Object<Opener>) {
    let mut closing = Closing(Some(object));
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let is_reset = match &closing.0 {
            Some(object) => matches!(timeout(RESETTING, object.reset()).await, Ok(true)),
            None => false,
        };
        if is_reset {
            drop(closing.0.take());
        }
    });
}

/// A connection that is used by one request, and by the statements of its closure that are under way.
pub struct Held {
    /// Taken when it is dropped.
    pub object: Option<Object<Opener>>,
    /// Statements that were begun and are not answered; one whose future was dropped stays.
    pub busy: AtomicU32,
    /// A cancellation was sent.
    pub cancelled: AtomicBool,
    in_flight: InFlight,
}

impl Held {
    pub fn new(server: &Arc<Server>, object: Object<Opener>) -> Arc<Self> {
        Arc::new(Self {
            object: Some(object),
            busy: AtomicU32::new(0),
            cancelled: AtomicBool::new(false),
            in_flight: server.begin(),
        })
    }

    /// `None`: it is on its way back.
    pub fn connection(&self) -> Option<&Connection> {
        let object = self.object.as_ref()?;
        Some(&***object)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let abandoned = *self.busy.get_mut() > 0;
        let is_well = !abandoned && object.is_clean();
        if is_well && !object.traffic.has_state() {
            return;
        }
        // Behind a pooler the state is that of a server, which the pooler resets.
        if is_well && object.traffic.can_be_reset() && !object.pooled {
            return reset(object);
        }
        let waits = abandoned || object.traffic.waits();
        let (token, closed) = (object.client.cancel_token(), object.client.is_closed());
        let closing = Closing(Some(object));
        if waits && !closed && !*self.cancelled.get_mut() {
            self.in_flight.server().cancel(token, closing);
        }
    }
}

/// Counts a statement as under way; where its future is dropped, for ever.
pub struct Busy<'a>(&'a Held);

impl<'a> Busy<'a> {
    pub fn new(held: &'a Held) -> Self {
        held.busy.fetch_add(1, Ordering::AcqRel);
        Self(held)
    }

    pub fn end(self) {
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}
