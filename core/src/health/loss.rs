//! What the refusal of a login means after a loss.

use super::Health;
use crate::observation::{FailureClass, FailureKind};

impl Health {
    /// The failure of a check, by what went before it. Poolers refuse logins by SQLSTATE class 08 for several reasons, as a
    /// full pool. Where the session was closed, or the last check found a crash, the reason is that they have no connection to
    /// the server. A missed deadline is no such sign: a pool that is full is slow, too.
    pub(super) fn after_loss(&self, kind: FailureKind) -> FailureKind {
        let was_lost = self.failure.is_some_and(|kind| {
            kind == FailureKind::UpstreamLost || matches!(kind.class(), FailureClass::Dead { hard: true })
        });
        match kind {
            FailureKind::PoolerRefused if self.session_lost || was_lost => FailureKind::UpstreamLost,
            kind => kind,
        }
    }
}
