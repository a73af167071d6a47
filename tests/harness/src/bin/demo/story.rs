//! What happens to the replicas, and what the operator makes of it.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use harness::Postgres;
use harness::postgres::Shutdown;
use harness::wait::Stopwatch;
use harness::watch::ready_addresses;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::watcher::Config;

use crate::cast::{Cast, PRIMARY, REPLICAS};
use crate::history::History;
use crate::policy::{self, NAME, Policy, Status};
use crate::reads::Reads;
use crate::screen::{Steps, Time, list, say, show};
use crate::setting::{NAMESPACE, Setting};

const FIRST: &str = REPLICAS[0];
const SECOND: &str = REPLICAS[1];

struct Story<'a> {
    setting: &'a Setting,
    clock: Stopwatch,
    route: History<Route>,
    status: History<Status>,
    reads: Reads,
}

/// A moment that times are told from, since the start of the demo.
struct Mark {
    moment: Duration,
    name: &'static str,
}

/// The names of the servers that `orders-ro` leads to.
#[derive(Clone, PartialEq)]
struct Route(BTreeSet<String>);

/// Plays it, step by step.
pub async fn play(steps: &mut Steps, setting: &Setting, clock: Stopwatch) -> Result<()> {
    let title = "Read 40 times a second through the ClusterIP of orders-ro";
    let story = steps.step(title, Story::begin(setting, clock)).await?;
    let kill = steps.step("Kill replica-1 with SIGKILL", story.kill()).await?;
    steps
        .step("Wait until its circuit opens", story.trip(&kill))
        .await?;
    steps.step("Start replica-1 again", story.revive()).await?;
    let title = "Restart replica-2 quickly: out and back, and no trip";
    steps.step(title, story.restart()).await?;
    steps.step("Stop all replicas", story.stop_all()).await?;
    steps.step("Start all replicas again", story.start_all()).await?;
    steps.step("Look back", story.end()).await
}

impl<'a> Story<'a> {
    async fn begin(setting: &'a Setting, clock: Stopwatch) -> Result<Self> {
        let cast = Cast::of(&setting.postgres);
        let target = setting.cluster_ip("ro").await?;
        say(&format!("{NAME}-ro is {target}"));
        let story = Self {
            setting,
            clock,
            route: route(setting, clock, cast.clone()),
            status: status(setting, clock),
            reads: Reads::start(target, cast),
        };
        story.reads.settle(&REPLICAS).await?;
        Ok(story)
    }

    /// Returns the mark of the crash.
    async fn kill(&self) -> Result<Mark> {
        let kill = self.mark("the kill");
        self.replica(FIRST).kill().await?;
        self.leaves(FIRST, &kill).await?;
        self.show(&["get", "endpointslices"]).await?;
        self.reads.settle(&[SECOND]).await?;
        Ok(kill)
    }

    async fn trip(&self, kill: &Mark) -> Result<()> {
        self.circuit(FIRST, "Open", kill).await?;
        self.show(&["get", "rsp", "-o", "wide"]).await
    }

    async fn revive(&self) -> Result<()> {
        self.replica(FIRST).start().await?;
        let start = self.mark("its start");
        self.circuit(FIRST, "HalfOpen", &start).await?;
        self.returns(FIRST, &start).await?;
        self.serves(FIRST, &start).await?;
        self.reads.settle(&REPLICAS).await
    }

    async fn restart(&self) -> Result<()> {
        let stop = self.mark("its stop");
        self.replica(SECOND).stop(Shutdown::Fast).await?;
        self.leaves(SECOND, &stop).await?;
        self.replica(SECOND).start().await?;
        let start = self.mark("its start");
        stop.tell("started again", start.moment);
        self.returns(SECOND, &start).await?;
        self.serves(SECOND, &start).await?;
        self.never_tripped(SECOND, &stop)?;
        self.reads.settle(&REPLICAS).await
    }

    async fn stop_all(&self) -> Result<()> {
        let (replicas, stop) = (self.setting.postgres.replicas(), self.mark("the stop"));
        try_join_all(replicas.iter().map(|replica| replica.stop(Shutdown::Fast))).await?;
        self.leads_to(&[PRIMARY], &stop).await?;
        let active = |status: &Status| status.condition_is("ReadFallbackActive", "True");
        self.status("the condition ReadFallbackActive is True", &stop, active)
            .await?;
        self.show(&["get", "rsp", "-o", "wide"]).await?;
        self.show(&["get", "endpointslices"]).await?;
        self.reads.settle(&[PRIMARY]).await
    }

    async fn start_all(&self) -> Result<()> {
        let replicas = self.setting.postgres.replicas();
        try_join_all(replicas.iter().map(Postgres::start)).await?;
        let start = self.mark("the start");
        let ended = |status: &Status| status.condition_is("ReadFallbackActive", "False");
        self.status("the condition ReadFallbackActive is False", &start, ended)
            .await?;
        self.leads_to(&REPLICAS, &start).await?;
        let recovered = |status: &Status| {
            status.condition_is("Degraded", "False") && REPLICAS.iter().all(|id| status.serves(id))
        };
        self.status(
            "both are Serving, the condition Degraded is False",
            &start,
            recovered,
        )
        .await?;
        self.show(&["get", "rsp"]).await?;
        self.show(&["get", "endpointslices"]).await?;
        self.reads.settle(&REPLICAS).await
    }

    async fn end(self) -> Result<()> {
        let sorted = "--sort-by=.metadata.creationTimestamp";
        self.show(&["get", "events", sorted]).await?;
        self.reads.end()
    }

    fn mark(&self, name: &'static str) -> Mark {
        let moment = self.clock.elapsed();
        Mark { moment, name }
    }

    fn replica(&self, id: &str) -> &Postgres {
        self.setting.postgres.replica(usize::from(id == SECOND))
    }

    async fn show(&self, arguments: &[&str]) -> Result<()> {
        show(&self.setting.plane, arguments).await
    }

    async fn leaves(&self, id: &str, mark: &Mark) -> Result<()> {
        self.route(&format!("{id} is out of {NAME}-ro"), mark, |route| {
            !route.0.contains(id)
        })
        .await?;
        let endpoint = |status: &Status| status.endpoint(id).cloned();
        let judged = |status: &Status| endpoint(status).is_some_and(|endpoint| endpoint.reason != "Serving");
        let what = format!("the status says why {id} is out");
        let (moment, status) = self.status.until(&what, mark.moment, judged).await?;
        let seen = list(endpoint(&status));
        mark.tell(&seen, moment);
        ensure!(
            status.circuit_is(id, "Closed"),
            "expected that {id} is out before its circuit opens; seen: {seen}"
        );
        Ok(())
    }

    async fn returns(&self, id: &str, mark: &Mark) -> Result<()> {
        let what = format!("{id} is back in {NAME}-ro");
        self.route(&what, mark, |route| route.0.contains(id)).await
    }

    async fn leads_to(&self, ids: &[&str], mark: &Mark) -> Result<()> {
        let what = format!("{NAME}-ro leads to {}", list(ids));
        self.route(&what, mark, |route| route.0.iter().eq(ids)).await
    }

    async fn circuit(&self, id: &str, circuit: &str, mark: &Mark) -> Result<()> {
        let what = format!("the circuit of {id} is {circuit}");
        self.status(&what, mark, |status| status.circuit_is(id, circuit))
            .await
    }

    async fn serves(&self, id: &str, mark: &Mark) -> Result<()> {
        let what = format!("{id} Serving (circuit Closed)");
        self.status(&what, mark, |status| status.serves(id)).await
    }

    /// Waits until the route is so, and tells when it was.
    async fn route(&self, what: &str, mark: &Mark, check: impl Fn(&Route) -> bool) -> Result<()> {
        let (moment, _) = self.route.until(what, mark.moment, check).await?;
        mark.tell(what, moment);
        Ok(())
    }

    /// Waits until the status is so, and tells when it was.
    async fn status(&self, what: &str, mark: &Mark, check: impl Fn(&Status) -> bool) -> Result<()> {
        let (moment, _) = self.status.until(what, mark.moment, check).await?;
        mark.tell(what, moment);
        Ok(())
    }

    fn never_tripped(&self, id: &str, mark: &Mark) -> Result<()> {
        let states = self.status.since(mark.moment);
        let mut seen: Vec<_> = states.iter().filter_map(|status| status.endpoint(id)).collect();
        seen.dedup();
        ensure!(
            seen.iter().all(|endpoint| endpoint.circuit == "Closed"),
            "expected that the circuit of {id} stays Closed; seen: {}",
            list(seen)
        );
        say(&format!("its status meanwhile: {}", list(seen)));
        Ok(())
    }
}

fn route(setting: &Setting, clock: Stopwatch, cast: Cast) -> History<Route> {
    let slices: Api<EndpointSlice> = Api::namespaced(setting.plane.client(), NAMESPACE);
    let config = Config::default().labels(&format!("kubernetes.io/service-name={NAME}-ro"));
    History::record(clock, slices, config, move |slices| {
        Route(cast.names(&ready_addresses(slices)))
    })
}

fn status(setting: &Setting, clock: Stopwatch) -> History<Status> {
    let policies = policy::api(setting.plane.client(), NAMESPACE);
    let config = Config::default().fields(&format!("metadata.name={NAME}"));
    History::record(clock, policies, config, |policies: &[Policy]| {
        let status = policies.first().and_then(|policy| policy.status.clone());
        status.unwrap_or_default()
    })
}

impl Mark {
    fn tell(&self, what: &str, moment: Duration) {
        let after = moment.saturating_sub(self.moment);
        say(&format!("{what}: {} after {}", Time(after), self.name));
    }
}

impl fmt::Display for Route {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{NAME}-ro leads to {}", list(&self.0))
    }
}
