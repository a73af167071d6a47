//! The bound of lag of a read: where the primary was is known, or asked for.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use distributary_core::Moment;
use distributary_core::table::named::WRITES;
use distributary_probe::Clock;

use super::age::{TOKEN_PAUSE, TOKEN_WAIT, too_old};
use crate::checkout::Checkout;
use crate::error::{Error, FailureReason, TargetFailure};
use crate::lag::{Head, Heads};
use crate::server::Server;
use crate::shared::Shared;
use crate::token::{self, Judged, Position, Token};

/// The primary has so long to tell where its log is.
const ASKING: Duration = Duration::from_secs(1);

/// What the attempts of one read share.
#[derive(Default)]
pub struct LagWait {
    /// Until when replicas are waited for.
    until: OnceLock<Moment>,
    /// The primary did not answer: it is not asked again for this read.
    unknown: OnceLock<()>,
}

impl Shared {
    /// Returns once the server is at most `most` behind the primary.
    pub(super) async fn await_lag(
        &self,
        checkout: &Checkout,
        most: Duration,
        wait: &LagWait,
    ) -> Result<(), Error> {
        // What is asked next may be answered by another server than this was.
        if checkout.connection().is_none_or(|connection| connection.pooled) {
            return Err(too_old(checkout));
        }
        let until = *wait.until.get_or_init(|| self.clock.now() + TOKEN_WAIT);
        loop {
            let seen = checkout.position().await?.ok_or_else(|| too_old(checkout))?;
            let bound = self.bound(most, seen, wait).await;
            let bound = bound.ok_or_else(|| unknown(checkout))?;
            match token::judge_lag(bound, seen) {
                Judged::Fresh => return Ok(()),
                Judged::Behind if self.clock.now() < until => Clock::sleep(TOKEN_PAUSE).await,
                _ => return Err(too_old(checkout)),
            }
        }
    }

    /// What a server that told `seen` must have; `None`: the primary does not tell where it is.
    async fn bound(&self, most: Duration, seen: Position, wait: &LagWait) -> Option<Token> {
        if let Some((bound, ages)) = self.heads.within(most, self.clock.now()) {
            if ages {
                self.ask_ahead();
            }
            return Some(bound);
        }
        if wait.unknown.get().is_some() {
            return None;
        }
        // A server that takes writes tells it by itself.
        if let Some(own) = seen.token() {
            return Some(own);
        }
        let began = self.clock.now();
        let turn = self.heads.turn().await;
        // Somebody else may have asked while this one waited.
        let known = self
            .heads
            .within(most.max(self.clock.now().since(began)), self.clock.now());
        if let Some((bound, _)) = known {
            return Some(bound);
        }
        let told = match self.primary() {
            Some(primary) => ask(&primary, self.clock, &self.heads, &turn).await,
            None => None,
        };
        if told.is_none() {
            let _ = wait.unknown.set(());
        }
        told
    }

    fn primary(&self) -> Option<Arc<Server>> {
        self.snapshot().picker(WRITES)?.pick(&[], None).cloned()
    }

    /// Asks the primary beside the read, which has what it needs.
    fn ask_ahead(&self) {
        let (Some(turn), Some(primary)) = (self.heads.free_turn(), self.primary()) else {
            return;
        };
        let (heads, clock) = (Arc::clone(&self.heads), self.clock);
        tokio::spawn(async move { ask(&primary, clock, &heads, &turn).await });
    }
}

/// Where the log of the primary is now.
async fn ask(
    primary: &Arc<Server>,
    clock: Clock,
    heads: &Heads,
    turn: &OwnedMutexGuard<()>,
) -> Option<Token> {
    let started = clock.now();
    let told = async {
        let object = match primary.checkout(ASKING).await {
            Ok(object) => object,
            Err(reason) => {
                if let FailureReason::Failed(kind) = reason {
                    primary.failed(kind, started);
                }
                return None;
            }
        };
        let checkout = Checkout::new(primary, object);
        let at = clock.now();
        let position = checkout.position().await.ok().flatten()?.token()?;
        heads.note(Head { at, position }, turn);
        Some(position)
    };
    timeout(ASKING, told).await.ok().flatten()
}

fn unknown(checkout: &Checkout) -> Error {
    Error::Connect(TargetFailure {
        endpoint: checkout.server().id.clone(),
        reason: FailureReason::LagUnknown,
    })
}
