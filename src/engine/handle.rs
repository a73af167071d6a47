//! How others reach the engine.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::changes::Changes;
use super::failed_logins::FailedLogins;

use distributary_core::ids::PolicyKey;
use distributary_core::policy::Policy;
use distributary_core::resolved::Resolved;
use distributary_core::world::{Event, Memory};

/// Where the watching side hands in policies. Clones are of the same engine.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    pub(super) events: mpsc::Sender<Event>,
    /// The logins that servers refuse.
    pub failed_logins: FailedLogins,
    /// Where changes of policies are told; the board tells those of the decisions.
    pub changes: Changes,
}

/// The engine has ended: the process is stopping.
#[derive(Debug, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Stopped;

/// Room for one word of the desk in the engine's queue.
pub struct RecallPermit<'a>(mpsc::Permit<'a, Event>);

impl RecallPermit<'_> {
    /// Says that another process wrote what it remembers of a policy.
    pub fn recalled(self, key: PolicyKey, uid: String, memory: Memory, number: u64) {
        self.0.send(Event::Recalled {
            key,
            uid,
            memory,
            number,
        });
    }

    /// Says where the route of the writes was found to lead.
    pub fn found(self, key: PolicyKey, uid: String, servers: BTreeSet<SocketAddr>) {
        self.0.send(Event::Found { key, uid, servers });
    }
}

impl EngineHandle {
    /// The handle of an engine that takes in nothing but what `events` holds.
    #[cfg(test)]
    pub fn of(events: mpsc::Sender<Event>) -> Self {
        Self {
            events,
            failed_logins: FailedLogins::default(),
            changes: Changes::default(),
        }
    }

    /// Hands in a policy. The decision that follows from it goes to the desk. The `memory` is read when there is room for it: a
    /// newer one than that may have come meanwhile, and have been handed in before the policy, in vain.
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn change(
        &self,
        policy: Arc<Policy>,
        resolved: Arc<Resolved>,
        memory: impl FnOnce() -> Memory,
    ) -> Result<(), Stopped> {
        let room = self.events.reserve().await.map_err(|_| Stopped)?;
        room.send(Event::PolicyChanged {
            policy,
            resolved,
            memory: memory(),
        });
        Ok(())
    }

    /// Says that a policy is gone.
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn gone(&self, key: PolicyKey) -> Result<(), Stopped> {
        self.send(Event::PolicyGone { key }).await
    }

    /// Waits for room in the engine's queue. Whoever takes in the engine's decisions goes on with that meanwhile: the engine
    /// may wait for them.
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn recall_permit(&self) -> Result<RecallPermit<'_>, Stopped> {
        self.events.reserve().await.map(RecallPermit).map_err(|_| Stopped)
    }

    /// Says that other addresses are refused than before.
    ///
    /// # Errors
    /// [`Stopped`] while the process ends.
    pub async fn addresses_changed(&self) -> Result<(), Stopped> {
        self.send(Event::AddressesChanged).await
    }

    async fn send(&self, event: Event) -> Result<(), Stopped> {
        self.events.send(event).await.map_err(|_| Stopped)
    }
}
