//! One whole check of one server: name, address, connection, TLS, login, question; under one deadline.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::timeout;

use super::address::Rotation;
use super::clock::Clock;
use super::dns::Resolver;
use super::login::Server;
use super::query::{Lags, Queries, Refused, ask, probe};
use distributary_core::moment::Moment;
use distributary_core::observation::{Failure, FailureKind, Sample};
use distributary_core::server::Host;

/// After so many checks a server is asked again what it once refused to tell: rights can be granted.
const ASK_AGAIN: u32 = 100;

/// What one check found.
pub struct Found {
    pub address: Option<IpAddr>,
    pub result: Result<(Sample, Lags), Failure>,
}

/// Checks one server, and remembers between checks what makes the next one cheaper.
pub struct Checker {
    clock: Clock,
    resolver: Resolver,
    server: Server,
    rotation: Rotation,
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
            refused: Refused::default(),
            checks: 0,
        }
    }

    /// One check, over a connection of its own, that ends within `within`. The address `prefer` is taken where the
    /// name has it, or had it not long ago, and it did not fail just now.
    pub async fn check(&mut self, within: Duration, prefer: Option<IpAddr>, queries: &Queries) -> Found {
        let mut address = None;
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(ASK_AGAIN) {
            self.refused = Refused::default();
        }
        let deadline = self.clock.now() + within;
        let result = timeout(within, self.attempt(deadline, prefer, queries, &mut address)).await;
        let result = result.unwrap_or(Err(FailureKind::TimedOut.into()));
        self.rotation
            .note(address, result.as_ref().err().map(|failure| failure.kind));
        Found { address, result }
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
        }
        conversation.close();
        Ok((sample, lags))
    }

    async fn choose(&mut self, deadline: Moment, prefer: Option<IpAddr>) -> Result<IpAddr, FailureKind> {
        let pod = self.server.pod.map(Host::Address);
        let host = pod.as_ref().unwrap_or(&self.server.location.host);
        // A resolver that is silent leaves half of the time to check the address that it gave before.
        let half = deadline.since(self.clock.now()) / 2;
        let addresses = self.resolver.addresses(host, prefer, half).await?;
        self.rotation
            .choose(&addresses, prefer)
            .ok_or(FailureKind::NameNotFound)
    }
}

#[cfg(test)]
mod tests;
