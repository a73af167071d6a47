//! The name of the holder leads elsewhere, or does not answer, while its server is well.
//!
//! | the name of the holder        | another name                    | who is at the new address              | writes |
//! |-------------------------------|---------------------------------|----------------------------------------|--------|
//! | leads elsewhere, or is silent | reaches the server of the holder | any                                    | stay on that server, under the other name |
//! | leads elsewhere               | none does                       | takes writes of this database, not below the mark | move by the name |
//! | leads elsewhere               | none does                       | any other                              | stay at the old address |
//!
//! A server that is reached by its own name needs not to have been a standby: managed services move names so.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Claim, Contenders, Holding};

/// A server that shuts down refuses new connections before it ends those that it has: so long after the name of the holder
/// fell silent another name must have answered.
const SHUTS_DOWN: Duration = Duration::from_secs(1);

impl<'a> Contenders<'a> {
    /// Where the writes stay although the name of the holder leads elsewhere.
    pub(super) fn stays_at(&self, holding: &Holding, claim: &Claim) -> Option<SocketAddr> {
        let old = Self::left_behind(holding, claim)?;
        let takes_over = claim.is_proven() && self.belongs(claim) && !self.is_below(claim);
        (!takes_over).then_some(old)
    }

    /// The address where the holder was, which its name does not lead to any more.
    fn left_behind(holding: &Holding, claim: &Claim) -> Option<SocketAddr> {
        let holds = holding.holder.as_ref() == Some(&claim.target);
        holding.server.filter(|server| holds && *server != claim.server)
    }

    /// Another name under which the server of the holder takes the writes, where that of the holder does not lead there, or
    /// is silent.
    pub(super) fn another_name(&self, holding: &Holding, present: &Claim) -> Option<&'a Claim> {
        let old = Self::left_behind(holding, present);
        let reaches = |claim: &&Claim| match (old, present.failing_since) {
            (Some(old), _) => claim.server == old,
            (None, Some(since)) => {
                let after = claim.asked.is_some_and(|asked| asked > since + SHUTS_DOWN);
                let silent = !present.well && !present.answers;
                after && silent && claim.instance == present.instance
            }
            (None, None) => false,
        };
        let takes_writes = |claim: &&Claim| claim.is_proven() && self.belongs(claim) && !self.is_below(claim);
        let others = self.claims.iter().filter(|claim| claim.target != present.target);
        others.filter(reaches).find(takes_writes)
    }
}
