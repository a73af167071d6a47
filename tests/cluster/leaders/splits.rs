//! A leader that is frozen while a request of it is under way: the request arrives when another one leads.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::control_plane::AuditEvent;
use harness::gate::{Gate, Held, Passing};
use harness::suite::Suite;
use harness::{ControlPlane, Postgres, wait};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::fixture::{POLICY, SOON, addresses};
use crate::pair::{Pair, follows, way};

/// What shows of a late request is put right at its watch event, which is there at once.
const AT_ITS_EVENT: Duration = Duration::from_secs(1);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_put_of_rw_that_arrives_after_the_next_leader_moved_it_is_refused",
            late_route_of_writes,
        )
        .test(
            "a_logged_move_that_arrives_after_the_old_primary_returned_moves_nothing",
            late_move,
        )
        .test(
            "a_put_of_ro_that_arrives_late_is_put_right_at_its_watch_event",
            late_route_of_reads,
        )
        .test(
            "a_status_that_arrives_late_is_put_right_at_its_watch_event",
            late_status,
        )
}

/// What is held, of which object.
#[derive(Clone, Copy)]
enum Late {
    Writes,
    Reads,
    Status,
}

impl Late {
    fn target(self) -> &'static str {
        match self {
            Self::Writes | Self::Reads => "endpointslices",
            Self::Status => "replicasetpolicies/status",
        }
    }

    fn name(self) -> String {
        match self {
            Self::Writes => format!("{POLICY}-rw-ipv4-5432"),
            Self::Reads => format!("{POLICY}-ro-ipv4-5432"),
            Self::Status => POLICY.to_owned(),
        }
    }

    fn hold(self, gate: &Gate) -> Held {
        gate.hold(move |request| self.is(request))
    }

    fn is(self, request: &Passing) -> bool {
        let end = match self {
            Self::Writes | Self::Reads => format!("/{}", self.name()),
            Self::Status => format!("/{}/status", self.name()),
        };
        request.method == "PUT" && request.path.ends_with(&end)
    }

    /// The writes of it by this account since a number of writes.
    fn writes(self, pair: &Pair, account: &str, since: usize) -> Result<Vec<AuditEvent>> {
        let writes = pair.writes(account)?.into_iter().skip(since);
        let of_it = |event: &AuditEvent| event.target() == self.target() && event.name == self.name();
        Ok(writes.filter(of_it).collect())
    }
}

/// Lets the request of the frozen leader go, and waits until the API server has answered it.
async fn arrives(pair: &Pair, late: Late, held: Held) -> Result<AuditEvent> {
    let before = pair.writes(pair.leader)?.len();
    held.let_go();
    wait::eventually("the late request to be answered", SOON, || async {
        late.writes(pair, pair.leader, before)?.pop().context("it is not")
    })
    .await
}

/// The old leader goes on: it follows, and nothing that it writes is taken.
async fn goes_on(pair: &Pair) -> Result<()> {
    let before = pair.writes(pair.leader)?.len();
    pair.it.operator.daemon().thaw()?;
    follows(&pair.it.operator).await?;
    pair.rests().await?;
    let wrote = pair.writes(pair.leader)?.split_off(before);
    ensure!(wrote.is_empty(), "it wrote when it thawed: {wrote:?}");
    Ok(())
}

async fn late_route_of_writes(plane: Arc<ControlPlane>) -> Result<()> {
    let (pair, gate) = Pair::behind_gate(plane, 2).await?;
    let it = &pair.it;
    let [old, new, other] = [
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    ];
    let writes = it.follow("rw").await?;
    let mut held = Late::Writes.hold(&gate);
    // The leader puts this right, so its request names the primary.
    let edit = Patch::Merge(json!({"ports": [{"name": "other", "port": 5432, "protocol": "TCP"}]}));
    it.slices()
        .patch(&Late::Writes.name(), &PatchParams::default(), &edit)
        .await?;
    let request = held.arrives(SOON).await?;
    ensure!(
        request.body["endpoints"][0]["addresses"] == json!([old.address()]),
        "{request:?}"
    );
    it.operator.daemon().freeze()?;
    pair.taken_over().await?;
    old.kill().await?;
    new.promote().await?;
    other.follow(new)?;
    it.leads("rw", &[new], SOON).await?;

    let late = arrives(&pair, Late::Writes, held).await?;
    ensure!(late.code == 409, "{late:?}");
    goes_on(&pair).await?;
    ensure!(
        way(&writes) == [addresses(&[old]), addresses(&[new])],
        "{:?}",
        writes.sets()
    );
    Ok(())
}

async fn late_move(plane: Arc<ControlPlane>) -> Result<()> {
    let (pair, gate) = Pair::behind_gate(plane, 2).await?;
    let it = &pair.it;
    let [old, new] = [it.postgres.primary(), it.postgres.replica(0)];
    let writes = it.follow("rw").await?;
    let mut held = gate.hold(|request| {
        Late::Status.is(request) && request.body["status"]["memory"]["holder"]["endpoint"] == "replica-1"
    });
    // Silent first, so that it proves nothing after the promotion.
    old.freeze()?;
    new.promote().await?;
    held.arrives(SOON).await?;
    it.operator.daemon().freeze()?;
    old.thaw()?;
    pair.taken_over().await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;

    arrives(&pair, Late::Status, held).await?;
    goes_on(&pair).await?;
    let memory = it.get().await?.status.unwrap_or_default().memory;
    let holder = memory.and_then(|memory| memory.holder).context("no holder")?;
    ensure!(holder.endpoint == "primary", "{holder:?}");
    ensure!(writes.sets() == [addresses(&[old])], "{:?}", writes.sets());
    Ok(())
}

async fn late_route_of_reads(plane: Arc<ControlPlane>) -> Result<()> {
    late_for_a_moment(plane, Late::Reads).await
}

async fn late_status(plane: Arc<ControlPlane>) -> Result<()> {
    late_for_a_moment(plane, Late::Status).await
}

/// A replica is away for a moment. What the leader writes of that arrives when it is back, and the next leader has nothing
/// to write but what differs already.
async fn late_for_a_moment(plane: Arc<ControlPlane>, late: Late) -> Result<()> {
    let (pair, gate) = Pair::behind_gate(plane, 2).await?;
    let it = &pair.it;
    let [one, other]: [&Postgres; 2] = [it.postgres.replica(0), it.postgres.replica(1)];
    let (writes, reads) = (it.follow("rw").await?, it.follow("ro").await?);
    let mut held = late.hold(&gate);
    one.reset_connections()?;
    held.arrives(SOON).await?;
    it.operator.daemon().freeze()?;
    one.heal()?;
    pair.taken_over().await?;
    it.leads("ro", &[one, other], SOON).await?;
    pair.rests().await?;
    let wrote = late.writes(&pair, pair.follower, 0)?;
    ensure!(wrote.is_empty(), "the next leader wrote it: {wrote:?}");

    let before = pair.writes(pair.follower)?.len();
    let arrived = arrives(&pair, late, held).await?;
    ensure!(arrived.succeeded(), "{arrived:?}");
    let right = wait::eventually("it to be put right", SOON, || async {
        late.writes(&pair, pair.follower, before)?
            .pop()
            .context("it is not")
    })
    .await?;
    ensure!(
        after(arrived.received, right.received) <= AT_ITS_EVENT,
        "{arrived:?} was put right by {right:?}"
    );
    it.leads("ro", &[one, other], SOON).await?;
    it.serves().await?;
    goes_on(&pair).await?;
    let (both, left) = (addresses(&[one, other]), addresses(&[other]));
    ensure!(way(&reads) == [both.clone(), left, both], "{:?}", reads.sets());
    ensure!(
        writes.sets() == [addresses(&[it.postgres.primary()])],
        "{:?}",
        writes.sets()
    );
    Ok(())
}

fn after(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).unsigned_abs()
}
