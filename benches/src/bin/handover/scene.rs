//! Two operators over some policies, and one handover after the other.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::crowd::{Crowd, Shape, shape};
use benches::pair::{Pair, told};
use benches::some_of;
use harness::control_plane::audit;
use harness::postgres::PORT;
use harness::wait;
use k8s_openapi::api::core::v1::Service;
use kube::Api;

use crate::reads::Reads;
use crate::way::Way;

const SHAPE: Shape = Shape::TRIO;
/// How long both may take to hold their sessions again.
const HELD: Duration = Duration::from_mins(5);
/// What is not seen by then after the lease has expired is not seen.
const BEYOND: Duration = Duration::from_mins(1);
/// Without a write for so long there is nothing left to write.
const REST: Duration = Duration::from_secs(3);

/// The terms of the Lease.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// As the flags say it.
    pub duration: Duration,
    pub retry: Duration,
}

impl Terms {
    /// The shares that the defaults have: 15 s, 10 s, 2 s.
    pub fn of(seconds: u32) -> Result<Self> {
        ensure!(seconds > 0, "LEASE is a number of seconds, of at least 1");
        let duration = Duration::from_secs(seconds.into());
        Ok(Self {
            duration,
            retry: duration * 2 / 15,
        })
    }

    fn flags(self) -> Vec<String> {
        let milliseconds = |time: Duration| format!("{}ms", time.as_millis());
        vec![
            format!("--lease-duration={}s", self.duration.as_secs()),
            format!("--renew-deadline={}", milliseconds(self.duration * 2 / 3)),
            format!("--retry-period={}", milliseconds(self.retry)),
        ]
    }
}

/// The policies, and both operators.
pub struct Scene {
    // Dropped first: its operators end before the control plane does.
    pair: Pair,
    crowd: Crowd,
    terms: Terms,
    /// Since when all routes are as they are to be.
    since: Instant,
}

/// What one handover took.
pub struct Handover {
    /// From the signal to the Lease of the other one, as another client's watch shows it.
    pub led: Duration,
    /// What befell the server that died at that moment, where one did.
    pub death: Option<Death>,
    /// What should not have been.
    pub wrong: Vec<String>,
}

/// How long a server that died when the leader went was in its routes.
pub struct Death {
    /// From the signal to the event of the slice, as another client's watch shows it.
    pub out: Duration,
    /// The same since the other one leads; zero where it was out before.
    pub after: Duration,
    /// From the signal to the last read through the Service that failed.
    pub proxied: Duration,
}

impl Scene {
    /// Two operators, and so many policies that are routed.
    pub async fn set(policies: usize, terms: Terms) -> Result<Self> {
        let mut crowd = Crowd::start_for(2, SHAPE, policies).await?;
        let pair = Pair::start(&crowd, &terms.flags()).await?;
        crowd.grow(policies).await?;
        crowd.routed().await?;
        let mut scene = Self {
            pair,
            crowd,
            terms,
            since: Instant::now(),
        };
        scene.warm().await?;
        scene.rests().await?;
        Ok(scene)
    }

    /// Ends the stub: the next scene needs its port.
    pub async fn strike(mut self) -> Result<()> {
        self.crowd.end_stub().await
    }

    /// Waits until there is nothing left to write.
    pub async fn rests(&self) -> Result<()> {
        self.pair.rests(&self.crowd.plane, REST).await
    }

    /// Waits until all servers are routed, and both operators hold all sessions.
    async fn warm(&mut self) -> Result<()> {
        self.crowd.routed().await?;
        self.pair.follows().await?;
        self.crowd.held(2 * self.crowd.servers(), HELD).await
    }

    /// A handover without another fault.
    pub async fn quiet(&mut self, way: Way) -> Result<Handover> {
        self.rests().await?;
        let begun = audit::now();
        let at = self.goes(way).await?;
        let mut handover = self.taken_over(way, at).await?;
        self.returns(way).await?;
        self.warm().await?;
        self.rests().await?;
        let written = self.pair.written(&self.crowd.plane, begun)?;
        if !written.is_empty() {
            handover
                .wrong
                .push(format!("written without a fault: {}", told(&written)));
        }
        self.conclude(&mut handover);
        Ok(handover)
    }

    /// A handover in which a server dies when the leader goes: the one whose turn it is of so many.
    pub async fn deadly(&mut self, way: Way, turn: usize, of: usize) -> Result<Handover> {
        let policy = self.crowd.policy_of(turn, of);
        let server = SHAPE.replica(policy, turn);
        let reads = Reads::start(self.front(policy).await?).await?;
        let at = self.goes(way).await?;
        self.crowd.ask(&format!("kill {server}")).await?;
        let mut handover = self.taken_over(way, at).await?;
        let begun = audit::now();
        let death = self.death(server, at, handover.led, &reads).await;
        drop(reads);
        self.returns(way).await?;
        self.crowd.ask(&format!("revive {server}")).await?;
        self.warm().await?;
        match death {
            Ok(death) => handover.death = Some(death),
            Err(error) => handover.wrong.push(format!("{error:#}")),
        }
        // Whoever went and came back sees the dead server by itself, and would withdraw it.
        let written = self.pair.written_by_follower(&self.crowd.plane, begun)?;
        if !written.is_empty() {
            handover.wrong.push(format!(
                "written by the one that does not lead: {}",
                told(&written)
            ));
        }
        self.conclude(&mut handover);
        Ok(handover)
    }

    /// What both write in this time but for the Lease, in words.
    pub async fn idle(&self, time: Duration) -> Result<Vec<String>> {
        self.rests().await?;
        let begun = audit::now();
        wait::pass(time, "nothing is to be written").await;
        let written = self.pair.written(&self.crowd.plane, begun)?;
        Ok(written
            .iter()
            .map(|event| told(std::slice::from_ref(event)))
            .collect())
    }

    /// Lets the leader go at a random moment between two renewals; when that was.
    async fn goes(&self, way: Way) -> Result<Instant> {
        let moment = some_of(self.terms.retry);
        wait::pass(moment, "the leader may go at any moment between two renewals").await;
        let at = Instant::now();
        way.goes(self.pair.leader())?;
        Ok(at)
    }

    async fn taken_over(&mut self, way: Way, at: Instant) -> Result<Handover> {
        let led = self.pair.taken_over(at, self.terms.duration + BEYOND).await;
        let led = led.with_context(|| format!("the handover after {}", way.name()))?;
        Ok(Handover {
            led: led - at,
            death: None,
            wrong: vec![],
        })
    }

    async fn death(&self, server: Ipv4Addr, at: Instant, led: Duration, reads: &Reads) -> Result<Death> {
        let out = self.crowd.left(server, at).await? - at;
        let failed = reads.calm(at).await?;
        Ok(Death {
            out,
            after: out.saturating_sub(led),
            proxied: failed.map_or(Duration::ZERO, |failed| failed - at),
        })
    }

    /// The one that went comes back, and follows.
    async fn returns(&self, way: Way) -> Result<()> {
        way.returns(self.pair.follower()).await?;
        self.pair.follows().await
    }

    /// No policy has another server for its writes than at the start.
    fn conclude(&mut self, handover: &mut Handover) {
        let moved = self.crowd.writes_moved_since(self.since);
        handover.wrong.extend(moved);
        self.since = Instant::now();
    }

    /// Where clients of a policy read: the ClusterIP of its `ro`.
    async fn front(&self, policy: usize) -> Result<SocketAddr> {
        let services: Api<Service> = Api::namespaced(self.crowd.plane.client(), &self.crowd.namespace);
        let service = services
            .get(&format!("{}-ro", shape::policy_name(policy)))
            .await?;
        let address = service
            .spec
            .and_then(|spec| spec.cluster_ip)
            .context("no clusterIP")?;
        Ok((address.parse::<Ipv4Addr>()?, PORT).into())
    }
}
