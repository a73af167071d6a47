//! Policies, the [`stub`] that is behind all of their servers, and a control plane for them alone.

pub mod objects;
mod seen;
pub mod shape;
pub mod stub;

use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use harness::certificates::Authority;
use harness::control_plane::{Namespace, Program};
use harness::operator::Builder;
use harness::postgres::PROBE;
use harness::{ControlPlane, Operator, wait};
use kube::Api;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::figures::{Times, show};
use crate::routes::{self, Watch};
use seen::SharedRoutes;
use shape::MOST;
pub use shape::Shape;

/// Requests at once that make the policies.
const AT_ONCE: usize = 16;
const ROUTED: Duration = Duration::from_mins(20);
const HELD: Duration = Duration::from_mins(10);
const SEEN: Duration = Duration::from_mins(1);
/// Descriptors that are not those of held sessions: checks, the API server, files; and two for each Service that is followed.
const OTHER_FILES: u64 = 2_000;
const FILES_OF_SERVICE: u64 = 2;

/// All but the operator.
pub struct Crowd {
    pub kubeconfig: PathBuf,
    pub namespace: Namespace,
    pub plane: ControlPlane,
    pub shape: Shape,
    pub policies: usize,
    seen: SharedRoutes,
    _watch: Watch,
    stub: Child,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

/// What a start of the operator took.
#[derive(Clone, Copy)]
pub struct Start {
    /// Until every policy was routed.
    pub routed: Duration,
    /// Until it held every session.
    pub held: Duration,
}

impl Crowd {
    /// Room for so many policies and one operator, without kube-proxy; there are no policies yet.
    pub async fn start(shape: Shape, policies: usize) -> Result<Self> {
        let crowd = Self::start_for(1, shape, policies).await?;
        // It is not measured, and rules for thousands of Services would keep the cores busy.
        crowd.plane.program(Program::Proxy).kill();
        Ok(crowd)
    }

    /// The same for so many operators at once, and with kube-proxy.
    pub async fn start_for(operators: usize, shape: Shape, policies: usize) -> Result<Self> {
        let servers = policies * shape.servers;
        ensure!(servers <= MOST, "there are addresses for {MOST} servers");
        let services = if shape.by_service { policies } else { 0 };
        allow_files(
            OTHER_FILES + u64::try_from(operators * servers)? + FILES_OF_SERVICE * u64::try_from(services)?,
        )?;
        let (plane, kubeconfig) = crate::control_plane().await?;
        let namespace = plane.namespace("scale").await?;
        let route = ["route", "replace", "local", "198.18.64.0/18", "dev", "lo"];
        ensure!(
            Command::new("ip").args(route).status().await?.success(),
            "ip route replace"
        );
        let authority = Authority::new("scale")?;
        for (name, data) in [
            (
                "probe",
                json!({"username": PROBE.user, "password": PROBE.password}),
            ),
            ("ca", json!({"ca.crt": authority.pem()})),
        ] {
            let secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
            plane.apply(&namespace, &secret.to_string()).await?;
        }
        let mut stub = stub::spawn(shape, &authority)?;
        let orders = stub.stdin.take().context("its input")?;
        let replies = BufReader::new(stub.stdout.take().context("its output")?).lines();
        let (seen, slices) = (
            SharedRoutes::default(),
            Api::namespaced(plane.client(), &namespace),
        );
        let writer = seen.clone();
        let watch = routes::follow(slices, move |service, now| writer.take(service, now));
        let mut crowd = Self {
            kubeconfig,
            namespace,
            plane,
            shape,
            policies: 0,
            seen,
            _watch: watch,
            stub,
            orders,
            replies,
        };
        crowd.ask("reset").await.context("the stub")?;
        Ok(crowd)
    }

    /// An operator for the namespace of the policies.
    pub fn operator(&self) -> Builder {
        self.operator_as(&self.kubeconfig)
    }

    /// The same with the rights of this kubeconfig.
    pub fn operator_as(&self, kubeconfig: &Path) -> Builder {
        Operator::builder(kubeconfig)
            .namespace(&self.namespace)
            .args(["--log-level", "info"])
    }

    /// Gives the stub an order, and returns its answer, a line.
    pub async fn ask(&mut self, order: &str) -> Result<String> {
        self.orders.write_all(format!("{order}\n").as_bytes()).await?;
        self.replies.next_line().await?.context("the stub has ended")
    }

    pub fn stub_pid(&self) -> Result<Pid> {
        let id = self.stub.id().context("the stub has ended")?;
        Ok(Pid::from_raw(i32::try_from(id)?))
    }

    /// Ends the stub: its port is needed, by a real server or by the next crowd.
    pub async fn end_stub(&mut self) -> Result<()> {
        self.stub.kill().await.context("end the stub")
    }

    /// Makes policies until there are so many.
    pub async fn grow(&mut self, policies: usize) -> Result<()> {
        let started = Instant::now();
        let new: Range<usize> = self.policies..policies;
        let (client, shape, namespace) = (self.plane.client(), self.shape, &*self.namespace);
        let made = stream::iter(new).map(|policy| {
            let client = client.clone();
            async move {
                for object in shape.objects(policy) {
                    objects::create(&client, namespace, object).await?;
                }
                anyhow::Ok(())
            }
        });
        made.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        self.policies = policies;
        println!(
            "{policies} policies of {} servers; made in {}",
            shape.servers,
            show(Some(started.elapsed()))
        );
        Ok(())
    }

    /// How many servers all policies have.
    pub fn servers(&self) -> usize {
        self.policies * self.shape.servers
    }

    /// Waits until all policies have all their servers in their routes.
    pub async fn routed(&self) -> Result<()> {
        let all = (self.servers() - self.policies, self.policies);
        let routed = || async {
            let (readers, writers) = self.seen.routed();
            ensure!(
                (readers, writers) == all,
                "{readers} servers take reads, {writers} writes"
            );
            Ok(())
        };
        wait::eventually(
            &format!("{} policies to be routed", self.policies),
            ROUTED,
            routed,
        )
        .await
    }

    /// Waits until a start of the operator that began then has routed all policies, and holds all sessions.
    pub async fn started(&mut self, since: Instant) -> Result<Start> {
        self.routed().await?;
        let routed = since.elapsed();
        self.held(self.servers(), HELD).await?;
        let held = since.elapsed();
        println!(
            "all routed after {}, all sessions held after {}",
            show(Some(routed)),
            show(Some(held))
        );
        Ok(Start { routed, held })
    }

    /// Waits until the stub has exactly so many held sessions.
    pub async fn held(&mut self, sessions: usize, deadline: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let stats: Value = serde_json::from_str(&self.ask("stats").await?)?;
            if stats["sessions"] == sessions {
                return Ok(());
            }
            ensure!(
                started.elapsed() < deadline,
                "waited for {sessions} sessions: {stats}"
            );
            wait::pass(
                Duration::from_millis(100),
                "the stub is not to be kept busy by questions",
            )
            .await;
        }
    }

    /// How many servers left a route of reads since then.
    pub fn left_since(&self, since: Instant) -> usize {
        self.seen.left_since(since)
    }

    /// The routes of writes that led to others than before since then, and to whom.
    pub fn writes_moved_since(&self, since: Instant) -> Vec<String> {
        self.seen.moved_since(since)
    }

    /// Kills a server so many times, spread over the policies, and brings it back each time.
    pub async fn kills(&mut self, count: usize) -> Result<Times> {
        let mut times = Times::default();
        for kill in 0..count {
            let victim = self.victim(kill, count);
            wait::pass(
                crate::some_of(Duration::from_secs(2)),
                "a kill may come at any moment",
            )
            .await;
            let at = Instant::now();
            self.ask(&format!("kill {victim}")).await?;
            let left = self.left(victim, at).await.ok();
            times.push(left.map(|left| left - at));
            self.ask(&format!("revive {victim}")).await?;
            self.routed().await?;
        }
        println!(
            "{count} kills: median {}, worst {}",
            show(times.median()),
            show(times.worst())
        );
        Ok(times)
    }

    /// Lets so many servers, of so many policies, die and come back, some at a time: those come back when all of them have
    /// left their routes, and the next die when all are back.
    pub async fn flips(&mut self, count: usize, at_once: usize) -> Result<()> {
        for first in (0..count).step_by(at_once.max(1)) {
            let numbers = first..(first + at_once).min(count);
            let victims: Vec<_> = numbers.map(|flip| self.victim(flip, count)).collect();
            let at = Instant::now();
            for victim in &victims {
                self.ask(&format!("kill {victim}")).await?;
            }
            for victim in &victims {
                self.left(*victim, at).await?;
            }
            for victim in &victims {
                self.ask(&format!("revive {victim}")).await?;
            }
            self.routed().await?;
        }
        Ok(())
    }

    /// The server that dies as this one of so many: a replica, each time of another policy where there are enough.
    fn victim(&self, number: usize, count: usize) -> Ipv4Addr {
        self.shape.replica(self.policy_of(number, count), number)
    }

    /// The policy whose server dies as this one of so many.
    pub fn policy_of(&self, number: usize, count: usize) -> usize {
        number * self.policies / count.max(1)
    }

    /// Waits until a server has left a route of reads, from `since` on; returns when that was seen.
    pub async fn left(&self, server: Ipv4Addr, since: Instant) -> Result<Instant> {
        let left = || async { self.seen.left(server, since) };
        wait::eventually("a kill to be seen", SEEN, left).await
    }
}

/// Raises the limit of open files as far as it goes; children inherit it.
fn allow_files(needed: u64) -> Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = setrlimit(Resource::RLIMIT_NOFILE, most.max(needed), most.max(needed));
    if raised.is_err() {
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    }
    let (now, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    ensure!(
        now >= needed,
        "{needed} open files are needed, {now} are allowed (ulimit -n)"
    );
    Ok(())
}
