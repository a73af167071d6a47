//! What the refusal of a login means after a loss.

use super::Health;
use crate::observation::{FailureClass, FailureKind};

impl Health {
    /// The failure of a check, by what went before it. Poolers refuse logins by SQLSTATE class 08 for several reasons: where
    /// the session was lost, or checks found the server dead, the reason is that they have no connection to it.
    pub(super) fn after_loss(&self, kind: FailureKind) -> FailureKind {
        let class = self.failure.map(FailureKind::class);
        let was_dead = matches!(class, Some(FailureClass::Dead { .. }));
        match kind {
            FailureKind::PoolerRefused if self.session_lost || was_dead => FailureKind::UpstreamLost,
            kind => kind,
        }
    }
}
