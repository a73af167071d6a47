//! How new a server must be for a read with a token.

use std::sync::OnceLock;
use std::time::Duration;

use distributary_core::Moment;
use distributary_probe::Clock;

use crate::checkout::Checkout;
use crate::error::{Error, FailureReason, TargetFailure};
use crate::session::Freshness;
use crate::shared::{Counts, Shared};
use crate::token::{self, Judged, Token};

/// Replicas that are not at a token yet are waited for for so long at most, all together, and asked again after each pause.
pub const TOKEN_WAIT: Duration = Duration::from_millis(100);
pub const TOKEN_PAUSE: Duration = Duration::from_millis(5);

impl Shared {
    /// Returns once the server is at the token.
    pub(super) async fn await_token(
        &self,
        checkout: &Checkout,
        token: Token,
        wait: &OnceLock<Moment>,
    ) -> Result<(), Error> {
        // What is asked next may be answered by another server than this was.
        if checkout.connection().is_none_or(|connection| connection.pooled) {
            return Err(too_old(checkout));
        }
        let until = *wait.get_or_init(|| self.clock.now() + TOKEN_WAIT);
        loop {
            let seen = checkout.position().await?.ok_or_else(|| too_old(checkout))?;
            match token::judge(token, seen) {
                Judged::Fresh => break checkout.set_freshness(Freshness::Proven),
                Judged::Unproven => break checkout.set_freshness(Freshness::Unproven),
                Judged::Forged => {
                    Counts::count(&self.counts.forged_tokens);
                    break;
                }
                Judged::Behind if seen.standby && self.clock.now() < until => Clock::sleep(TOKEN_PAUSE).await,
                Judged::Behind => {
                    if !seen.standby {
                        self.ask_for_table_sometimes();
                    }
                    return Err(too_old(checkout));
                }
                Judged::Elsewhere => return Err(too_old(checkout)),
                Judged::OtherSystem => {
                    return Err(Error::OtherDatabase {
                        token: token.system_identifier(),
                        server: seen.system_identifier,
                    });
                }
            }
        }
        Ok(())
    }
}

/// It is not as new as the read asks for.
pub fn too_old(checkout: &Checkout) -> Error {
    Error::Connect(TargetFailure {
        endpoint: checkout.server().id.clone(),
        reason: FailureReason::TooOld,
    })
}
