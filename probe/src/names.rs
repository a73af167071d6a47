//! The task that looks a name up beside the checks, once for all who watch a server of that name. An address that leaves the
//! name is noticed at the TTL, not at the next check.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::clock::Clock;
use super::dns::Resolver;
use super::panics::caught;
use super::places::{Places, Shares};
use super::subscribers::Subscribers;
use distributary_core::target::Answer;

/// Lookups beside the checks that may be under way at once, for all names together and for those of one policy.
pub const LOOKUPS: Shares = Shares { all: 32, policy: 8 };
/// One takes at most so long: a resolver that is silent holds up no other name for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks one name up again and again.
pub struct NameWatch {
    pub clock: Clock,
    pub resolver: Resolver,
    pub name: Arc<str>,
    /// Who watches servers of the name.
    pub servers: watch::Receiver<Vec<Subscribers>>,
    /// Those of all names.
    pub places: Places,
    pub answers: mpsc::Sender<Answer>,
}

impl NameWatch {
    /// Ends when nobody watches a server of the name, or nobody listens.
    pub async fn run(mut self) {
        while self.tell().await.is_some() {
            let interval = self.interval();
            let due = self.resolver.due(&self.name, interval);
            tokio::select! {
                changed = self.servers.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                () = self.clock.sleep_until(due) => {}
            }
            let policies = self
                .servers
                .borrow()
                .iter()
                .flat_map(Subscribers::policies)
                .collect();
            let Some(_place) = self.places.take(policies).await else {
                // Whoever watched is gone, which is told in a moment.
                if self.servers.changed().await.is_err() {
                    return;
                }
                continue;
            };
            if caught(self.look_up(interval)).await != Some(true) {
                self.resolver.give_up(&self.name);
            }
        }
    }

    fn interval(&self) -> Duration {
        let servers = self.servers.borrow();
        let intervals = servers.iter().filter_map(Subscribers::interval);
        intervals.min().unwrap_or(Duration::MAX)
    }

    /// Whether it was answered in time.
    async fn look_up(&self, interval: Duration) -> bool {
        let used: Vec<_> = self
            .servers
            .borrow()
            .iter()
            .flat_map(Subscribers::preferred)
            .collect();
        self.resolver.look_up(&self.name, &used, interval, PATIENCE).await
    }

    async fn tell(&self) -> Option<()> {
        let servers = self.servers.borrow().clone();
        for server in servers {
            for news in server.named(|used| self.resolver.state(&self.name, used)) {
                self.answers.send(Answer::Named(news)).await.ok()?;
            }
        }
        Some(())
    }
}
