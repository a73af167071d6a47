//! The policies, the stub that is behind all of their endpoints, and what a watch sees of their routes.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::contestants::policies;
use benches::figures::{Times, show};
use benches::routes::{self, Watch};
use futures::{StreamExt, TryStreamExt, stream};
use harness::certificates::Authority;
use harness::control_plane::{Namespace, Program};
use harness::postgres::{DATABASE, PROBE};
use harness::{ControlPlane, wait};
use kube::Api;
use kube::api::{DynamicObject, PostParams};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::stub;

/// Endpoints of a policy: a primary and nine replicas.
pub const PER_POLICY: usize = 10;
/// Requests at once that make the policies.
const AT_ONCE: usize = 16;
const ROUTED: Duration = Duration::from_mins(20);
const SEEN: Duration = Duration::from_mins(1);

/// The address of an endpoint, counted from 0: within 198.18.64.0/18, which is nobody else's in the node.
pub fn address(number: usize) -> Ipv4Addr {
    let third = u8::try_from(64 + number / 250).unwrap_or(u8::MAX);
    let fourth = u8::try_from(number % 250 + 1).unwrap_or(u8::MAX);
    Ipv4Addr::new(198, 18, third, fourth)
}

/// All but the operator.
pub struct Crowd {
    pub kubeconfig: PathBuf,
    pub namespace: Namespace,
    pub plane: ControlPlane,
    tls: bool,
    seen: SharedRoutes,
    _watch: Watch,
    stub: Child,
    orders: ChildStdin,
    replies: Lines<BufReader<ChildStdout>>,
}

#[derive(Clone, Default)]
struct SharedRoutes(Arc<Mutex<Routes>>);

#[derive(Default)]
struct Routes {
    by_service: HashMap<String, BTreeSet<Ipv4Addr>>,
    readers: usize,
    writers: usize,
    /// When an address left a route of reads.
    left: Vec<(Instant, Ipv4Addr)>,
}

impl Crowd {
    pub async fn start(endpoints: usize, tls: bool) -> Result<Self> {
        ensure!(endpoints <= 16_000, "there are addresses for 16,000 endpoints");
        let (plane, kubeconfig) = benches::control_plane().await?;
        // It is not measured, and rules for thousands of Services would keep the cores busy.
        plane.program(Program::Proxy).kill();
        let namespace = plane.namespace("scale").await?;
        let route = ["route", "add", "local", "198.18.64.0/18", "dev", "lo"];
        ensure!(
            Command::new("ip").args(route).status().await?.success(),
            "ip route add"
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
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(stub::ARGUMENT);
        if tls {
            let directory = benches::directory("stub")?;
            let (certificate, key) = authority.server(&["stub.test"], &[])?.write(&directory, "stub")?;
            command.arg(certificate).arg(key);
        }
        let mut stub = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
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
            tls,
            seen,
            _watch: watch,
            stub,
            orders,
            replies,
        };
        crowd.ask("reset").await.context("the stub")?;
        Ok(crowd)
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

    /// Ends the stub: its port is needed.
    pub async fn end_stub(&mut self) -> Result<()> {
        self.stub.kill().await.context("end the stub")
    }

    /// Makes the policies of these numbers.
    pub async fn create(&self, numbers: Range<usize>) -> Result<()> {
        let api = policies(&self.plane, &self.namespace);
        let made = stream::iter(numbers).map(|number| {
            let api = api.clone();
            async move {
                let policy: DynamicObject = serde_json::from_value(self.policy(number))?;
                api.create(&PostParams::default(), &policy).await?;
                anyhow::Ok(())
            }
        });
        made.buffer_unordered(AT_ONCE).try_collect().await
    }

    fn policy(&self, number: usize) -> Value {
        let first = number * PER_POLICY;
        let replica = |at: usize| json!({"id": format!("replica-{at}"), "host": address(first + at)});
        let tls = if self.tls {
            json!({"mode": "VerifyCA", "caSecretRef": {"name": "ca"}})
        } else {
            json!({"mode": "Disable"})
        };
        json!({
            "apiVersion": "distributary.dev/v1alpha1",
            "kind": "ReplicaSetPolicy",
            "metadata": {"name": format!("policy-{number}")},
            "spec": {
                "connection": {
                    "database": DATABASE,
                    "credentialsSecretRef": {"name": "probe"},
                    "tls": tls,
                },
                "primary": {"host": address(first)},
                "replicas": (1..PER_POLICY).map(replica).collect::<Vec<_>>(),
                // The defaults, spelled out: they are what is measured.
                "healthCheck": {"interval": "30s", "heartbeat": "2s"},
            },
        })
    }

    /// Waits until so many policies have all their endpoints in their routes.
    pub async fn routed(&self, policies: usize) -> Result<()> {
        let routed = || async {
            let routes = self.seen.routes();
            let (readers, writers) = (routes.readers, routes.writers);
            ensure!(
                readers == policies * (PER_POLICY - 1) && writers == policies,
                "{readers} endpoints take reads, {writers} writes"
            );
            Ok(())
        };
        wait::eventually(&format!("{policies} policies to be routed"), ROUTED, routed).await
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

    /// How many endpoints left a route of reads since then.
    pub fn left_since(&self, since: Instant) -> usize {
        let routes = self.seen.routes();
        routes.left.iter().filter(|(at, _)| *at >= since).count()
    }

    /// Kills an endpoint so many times, spread over so many policies, and brings it back each time.
    pub async fn kills(&mut self, policies: usize, count: usize) -> Result<Times> {
        let mut times = Times::default();
        for kill in 0..count {
            let policy = kill * policies / count.max(1);
            let endpoint = address(policy * PER_POLICY + 1 + kill % (PER_POLICY - 1));
            wait::pass(
                benches::some_of(Duration::from_secs(2)),
                "a kill may come at any moment",
            )
            .await;
            let at = Instant::now();
            self.ask(&format!("kill {endpoint}")).await?;
            let left = || async { self.seen.left(endpoint, at) };
            let left = wait::eventually("the kill to be seen", SEEN, left).await.ok();
            times.push(left.map(|left| left - at));
            self.ask(&format!("revive {endpoint}")).await?;
            self.routed(policies).await?;
        }
        println!(
            "{count} kills: median {}, worst {}",
            show(times.median()),
            show(times.worst())
        );
        Ok(times)
    }
}

impl SharedRoutes {
    fn take(&self, service: &str, now: BTreeSet<Ipv4Addr>) {
        let mut routes = self.routes();
        let before = routes
            .by_service
            .insert(service.to_owned(), now.clone())
            .unwrap_or_default();
        if service.ends_with("-ro") {
            let at = Instant::now();
            routes
                .left
                .extend(before.difference(&now).map(|address| (at, *address)));
            routes.readers = routes.readers + now.len() - before.len();
        } else if service.ends_with("-rw") {
            routes.writers = routes.writers + now.len() - before.len();
        }
    }

    fn left(&self, address: Ipv4Addr, since: Instant) -> Option<Instant> {
        let routes = self.routes();
        let mut left = routes.left.iter();
        left.find(|(at, who)| *at >= since && *who == address)
            .map(|(at, _)| *at)
    }

    fn routes(&self) -> MutexGuard<'_, Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
