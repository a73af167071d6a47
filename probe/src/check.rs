//! One whole check of one server: name, address, connection, TLS, login, question; under one deadline.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::timeout;

use super::address::Rotation;
use super::clock::Clock;
use super::dns::Resolver;
use super::login::Server;
use super::query::{Lags, Queries, Refused, ask, probe};
use distributary_core::moment::Moment;
use distributary_core::observation::{Failure, FailureClass, FailureKind, Sample};
use distributary_core::server::Host;

/// After so many checks a server is asked again what it once refused to tell: rights can be granted.
const ASK_AGAIN: u32 = 100;

/// What one check found.
pub struct Found {
    pub address: Option<IpAddr>,
    /// The preferred address has left the name, and this is where the name leads now.
    pub elsewhere: bool,
    pub result: Result<(Sample, Lags), Failure>,
}

/// Checks one server, and remembers between checks what makes the next one cheaper.
pub struct Checker {
    clock: Clock,
    resolver: Resolver,
    server: Server,
    rotation: Rotation,
    /// Whether the newest check went elsewhere than to the preferred address, which has left the name.
    elsewhere: Arc<AtomicBool>,
    /// Whether it is the turn of the preferred address, although the name leads elsewhere.
    stays: bool,
    refused: Refused,
    checks: u32,
}

impl Checker {
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver, server: Server) -> Self {
        Self {
            clock,
            resolver,
            server,
            rotation: Rotation::default(),
            elsewhere: Arc::default(),
            stays: false,
            refused: Refused::default(),
            checks: 0,
        }
    }

    /// Whether the newest check, also one that is under way, went elsewhere than to the preferred address.
    pub fn elsewhere(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.elsewhere)
    }

    /// One check, over a connection of its own, that ends within `within`. The address `prefer` is taken where the name has
    /// it and it did not fail just now. Once it has left the name, the check goes to where the name leads now; and after a
    /// failed one there to `prefer`, whose server may serve on.
    pub async fn check(&mut self, within: Duration, prefer: Option<IpAddr>, queries: &Queries) -> Found {
        let mut address = None;
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(ASK_AGAIN) {
            self.refused = Refused::default();
        }
        self.elsewhere.store(false, Ordering::Relaxed);
        let deadline = self.clock.now() + within;
        let result = timeout(within, self.attempt(deadline, prefer, queries, &mut address)).await;
        let result = result.unwrap_or(Err(FailureKind::TimedOut.into()));
        self.rotation
            .note(address, result.as_ref().err().map(|failure| failure.kind));
        let elsewhere = self.elsewhere.load(Ordering::Relaxed);
        self.stays = elsewhere && result.is_err();
        Found {
            address,
            elsewhere,
            result,
        }
    }

    async fn attempt(
        &mut self,
        deadline: Moment,
        prefer: Option<IpAddr>,
        queries: &Queries,
        address: &mut Option<IpAddr>,
    ) -> Result<(Sample, Lags), Failure> {
        let chosen = self.choose(deadline, prefer).await?;
        *address = Some(chosen);
        let mut conversation = self.server.open(chosen, deadline.since(self.clock.now())).await?;
        let left = deadline.since(self.clock.now());
        let (mut sample, lags) = ask(&mut conversation, &mut self.refused, left, &queries.lags).await?;
        if !queries.probes.is_empty() {
            let left = deadline.since(self.clock.now());
            sample.probes = probe(&mut conversation, &queries.probes, left).await;
            sample.asked += conversation.take_asked();
        }
        Ok((sample, lags))
    }

    async fn choose(&mut self, deadline: Moment, prefer: Option<IpAddr>) -> Result<IpAddr, FailureKind> {
        let pod = self.server.pod.map(Host::Address);
        let host = pod.as_ref().unwrap_or(&self.server.location.host);
        // A resolver that is silent leaves half of the time to check the address that it gave before.
        let half = deadline.since(self.clock.now()) / 2;
        let addresses = self.resolver.addresses(host, prefer, half).await;
        let left = prefer.filter(|prefer| self.resolver.has_left(host, *prefer));
        match (left, addresses) {
            (Some(stays), _) if self.stays => Ok(stays),
            // Nobody may go where the name leads.
            (Some(stays), Err(refused)) if refused.class() == FailureClass::RefusedAddress => Ok(stays),
            (left, addresses) => {
                let chosen = self.rotation.choose(&addresses?, prefer);
                self.elsewhere.store(left.is_some(), Ordering::Relaxed);
                chosen.ok_or(FailureKind::NameNotFound)
            }
        }
    }
}

#[cfg(test)]
mod tests;
