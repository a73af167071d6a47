//! Whether a process that follows could take over at once: every server of every policy has had a check that tells something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::context::Context;
use crate::engine::Board;
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;

/// After this time it is ready all the same: a server that hangs holds up no rolling update.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether this process is warm. Once it is, it stays so. Clones tell the same.
#[derive(Clone)]
pub struct Warmth(Arc<Inner>);

struct Inner {
    context: Arc<Context>,
    board: Board,
    leads: Box<dyn Fn() -> bool + Send + Sync>,
    began: Moment,
    warm: AtomicBool,
}

impl Warmth {
    /// Of a process that starts now; `leads` says whether it leads.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        board: Board,
        leads: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        let began = context.clock.now();
        Self(Arc::new(Inner {
            context,
            board,
            leads: Box::new(leads),
            began,
            warm: AtomicBool::new(false),
        }))
    }

    #[must_use]
    pub fn is_warm(&self) -> bool {
        let Inner {
            context,
            began,
            leads,
            warm,
            ..
        } = &*self.0;
        let is_warm = || context.clock.now().since(*began) >= LONGEST || leads() || self.all_checked();
        if !warm.load(Ordering::Relaxed) && is_warm() {
            warm.store(true, Ordering::Relaxed);
        }
        warm.load(Ordering::Relaxed)
    }

    fn all_checked(&self) -> bool {
        let is_warm = |key: &PolicyKey| {
            let known = self.0.board.get(key);
            known.is_some_and(|entry| entry.decision.state.is_warm())
        };
        let handed = self.0.context.policies.all_handed();
        handed.is_some_and(|handed| handed.iter().all(is_warm))
    }
}
