//! Lets the faults happen, and mends the servers.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::postgres::Shutdown;
use harness::wait;

use super::ticks::Ticks;
use crate::offload::calamity::{Calamity, Kinds, Slot};
use crate::offload::ceilings::SERVERS;
use crate::offload::front::Front;
use crate::offload::machine::Busy;
use crate::offload::scene::Scene;

/// The replica of analytics: it takes over no writes.
const DEDICATED: usize = SERVERS - 1;

/// A fault that happened.
#[derive(Clone, Debug)]
pub struct Happened {
    /// What it was.
    pub kind: Calamity,
    /// Of which server.
    pub server: usize,
    /// The server was the primary.
    pub primary: bool,
    /// Just before it began.
    pub at: Instant,
    /// When the server accepted connections again.
    pub mended: Instant,
    /// How much the core of the generators was used from the beginning of its slot to the end.
    pub generator_core: f64,
    /// The servers that may be taken out for it.
    pub involved: Vec<Ipv4Addr>,
}

/// Whoever lets the faults happen.
pub struct Director<'a> {
    scene: &'a Scene,
    /// Of (a): a person changes its address, too.
    front: &'a Front,
    ticks: &'a Ticks,
    kinds: Kinds,
    start: Instant,
    slot: Duration,
    primary: usize,
}

impl<'a> Director<'a> {
    /// The first server is the primary; times count from `start`.
    pub fn new(
        (scene, front): (&'a Scene, &'a Front),
        ticks: &'a Ticks,
        kinds: Kinds,
        start: Instant,
        slot: Duration,
    ) -> Self {
        Self {
            scene,
            front,
            ticks,
            kinds,
            start,
            slot,
            primary: 0,
        }
    }

    /// The server that is the primary now.
    pub fn primary(&self) -> usize {
        self.primary
    }

    /// All faults in turn; returns at the end of the last slot.
    pub async fn direct(&mut self, schedule: &[Slot]) -> Result<Vec<Happened>> {
        let (mut all, mut busy) = (vec![], Busy::now()?);
        for (number, slot) in (1..).zip(schedule) {
            self.until(slot.at).await;
            let primary = self.primary == slot.server;
            let (kind, old) = (self.kinds.next(primary), self.primary);
            let name = kind.name();
            let at = Instant::now();
            let happening = self.happen(kind, slot);
            happening
                .await
                .with_context(|| format!("a fault of server {}: {name}", slot.server))?;
            let mended = Instant::now();
            println!(
                "{name:<10} of server {} at {:.0} s, mended after {:.1} s",
                slot.server,
                slot.at.as_secs_f64(),
                (mended - at).as_secs_f64()
            );
            self.until(self.slot * number).await;
            let before = std::mem::replace(&mut busy, Busy::now()?);
            let generator_core = busy.of_core(self.scene.cores.others, &before);
            let mut involved = vec![self.address(slot.server)];
            if self.primary != old {
                involved.push(self.address(self.primary));
                self.tell(old)?;
            }
            all.push(Happened {
                kind,
                server: slot.server,
                primary,
                at,
                mended,
                generator_core,
                involved,
            });
        }
        Ok(all)
    }

    async fn until(&self, at: Duration) {
        let left = (self.start + at).saturating_duration_since(Instant::now());
        wait::pass(left, "the schedule says when").await;
    }

    fn address(&self, server: usize) -> Ipv4Addr {
        self.scene.servers.server(server).address()
    }

    async fn happen(&mut self, kind: Calamity, slot: &Slot) -> Result<()> {
        let (number, lasts) = (slot.server, slot.lasts);
        let server = self.scene.servers.server(number);
        let passes = || wait::pass(lasts, "the fault lasts");
        match kind {
            Calamity::Crash => {
                server.kill().await?;
                passes().await;
                self.begin(number).await
            }
            Calamity::Restart => {
                server.stop(Shutdown::Fast).await?;
                self.begin(number).await
            }
            Calamity::Lag => {
                server.sql("select pg_wal_replay_pause()").await?;
                passes().await;
                server.sql("select pg_wal_replay_resume()").await.map(drop)
            }
            Calamity::Freeze => {
                server.freeze()?;
                passes().await;
                server.thaw()
            }
            Calamity::Promotion => self.promote(lasts).await,
        }
    }

    /// Starts a server, in its group.
    async fn begin(&self, number: usize) -> Result<()> {
        let server = self.scene.servers.server(number);
        server.start_no_wait()?;
        self.scene.servers.cage(number)?;
        server.accepts().await
    }

    /// The primary stops for good. Half of the time later the replica that has most takes over, and after the other half the old
    /// primary comes back as its replica.
    async fn promote(&mut self, lasts: Duration) -> Result<()> {
        let old = self.primary;
        self.scene.servers.server(old).stop(Shutdown::Immediate).await?;
        wait::pass(lasts / 2, "a failover takes a while").await;
        let new = self.most_advanced(old).await?;
        let next = self.scene.servers.server(new);
        next.promote().await?;
        self.primary = new;
        let number = next.sql("select number from clock").await?;
        self.ticks.move_to(next.socket(), number.parse()?);
        for other in (0..SERVERS).filter(|other| *other != old && *other != new) {
            self.scene.servers.server(other).follow(next)?;
        }
        wait::pass(lasts / 2, "the old primary is rebuilt later").await;
        self.scene.servers.server(old).rebuild(next).await?;
        self.scene.servers.cage(old)
    }

    async fn most_advanced(&self, old: usize) -> Result<usize> {
        let mut all = vec![];
        for number in (0..DEDICATED).filter(|number| *number != old) {
            let query = "select pg_last_wal_receive_lsn() - '0/0'::pg_lsn";
            let received = self.scene.servers.server(number).sql(query).await?;
            all.push((received.parse::<u128>()?, number));
        }
        let most = all.into_iter().max_by_key(|(received, _)| *received);
        Ok(most.context("no replica is left")?.1)
    }

    /// What a person does after a promotion: HAProxy's two servers change their places, and (a) gets a new address.
    fn tell(&self, old: usize) -> Result<()> {
        self.front
            .redirect(self.scene.servers.server(self.primary).socket());
        let (old, new) = (self.address(old), self.address(self.primary));
        let haproxy = &self.scene.haproxy;
        let place = haproxy.name_of(new);
        haproxy.place("writes/primary", new)?;
        haproxy.place("reads/primary", new)?;
        place.map_or(Ok(()), |name| haproxy.place(&name, old))
    }
}
