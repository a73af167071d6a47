//! Checks, lag, promotion and logins on every major version from the oldest supported one on.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::{APP, Builder, DATABASE, PROBE, PROGRAMS, Shutdown, Tls};
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, wait};
use serde_json::json;

use crate::fixture::{Fixture, SOON, endpoint, secret};
use crate::installed;
use crate::pace::often;

const VERSIONS: [u32; 7] = [12, 13, 14, 15, 16, 17, 18];
/// Several of them.
const HEARTBEATS: Duration = Duration::from_secs(3);

pub fn tests(mut suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    for version in VERSIONS {
        suite = suite
            .test(
                &format!("a_plain_role_tells_all_and_leaves_no_error_in_the_log_of_{version}"),
                move |plane| checks(plane, version),
            )
            .test(
                &format!("a_replica_that_is_killed_or_lags_leaves_and_returns_on_{version}"),
                move |plane| leaves(plane, version),
            )
            .test(
                &format!("writes_follow_a_switchover_and_a_promotion_on_{version}"),
                move |plane| promotion(plane, version),
            )
            .test(
                &format!("logins_are_made_and_refused_for_a_reason_on_{version}"),
                move |plane| logins(plane, version),
            );
    }
    suite
}

fn programs(version: u32) -> PathBuf {
    match version {
        15 => PROGRAMS.into(),
        _ => installed().join(format!("postgresql/{version}/bin")),
    }
}

fn cluster(version: u32) -> Builder {
    PgCluster::builder().programs(&programs(version))
}

async fn is_version(it: &Fixture, version: u32) -> Result<()> {
    let number = it.postgres.primary().sql("show server_version_num").await?;
    let major = number.parse::<u32>()? / 10_000;
    ensure!(major == version, "it runs {number}");
    Ok(())
}

async fn checks(plane: Arc<ControlPlane>, version: u32) -> Result<()> {
    let builder = cluster(version).replicas(2);
    // What would end a session that says nothing, from 14 on.
    let builder = if version < 14 {
        builder
    } else {
        builder.setting("idle_session_timeout", "1s")
    };
    let it = Fixture::start_with(plane, builder, &[]).await?;
    is_version(&it, version).await?;
    let mut policy = it.defaults();
    policy["spec"]["healthCheck"] = json!({"interval": "1s", "heartbeat": "1500ms"});
    it.apply(&policy).await?;
    it.serves().await?;
    it.holds_sessions().await?;
    let sessions = async || {
        let held = "select pid, backend_start from pg_stat_activity where application_name = 'distributary' and state = 'idle' \
                    order by backend_start limit 1";
        it.postgres.replica(0).rows(held).await
    };
    let before = sessions().await?;
    wait::pass(
        HEARTBEATS * 2,
        "that a session is not ended is only seen over time",
    )
    .await;
    ensure!(sessions().await? == before, "the session was ended");

    let policy = it.get().await?;
    let status = policy.status.as_ref().context("no status")?;
    let memory = status.memory.as_ref().context("no memory")?;
    ensure!(
        memory.timeline == Some(1)
            && memory.system_identifier.as_deref()
                == Some(&*it.postgres.primary().system_identifier().await?),
        "{memory:?}"
    );
    for id in ["replica-1", "replica-2"] {
        let is = endpoint(&policy, id).context(id)?;
        let lag = is.server.lag.as_ref().with_context(|| format!("{is:?}"))?;
        ensure!(is.server.role == "Standby" && lag.milliseconds == 0, "{is:?}");
    }
    let metrics = it.operator.http_get("/metrics").await?.body;
    for name in [
        "distributary_endpoint_lag_seconds{",
        "distributary_endpoint_sessions{",
    ] {
        ensure!(metrics.contains(name), "no {name} in {metrics}");
    }
    for server in it.postgres.servers() {
        let log = server.log();
        let said = log.lines().find(|line| {
            line.contains("probe@")
                && ["ERROR", "WARNING", "FATAL"]
                    .iter()
                    .any(|level| line.contains(level))
        });
        ensure!(said.is_none(), "{said:?}");
    }
    Ok(())
}

async fn leaves(plane: Arc<ControlPlane>, version: u32) -> Result<()> {
    let it = Fixture::start_with(plane, cluster(version).replicas(2), &[]).await?;
    let mut policy = often(&it);
    policy["spec"]["replicationLag"] = json!({"max": "2s", "recover": "1s"});
    it.apply(&policy).await?;
    it.serves().await?;
    let (one, other, primary) = (
        it.postgres.replica(0),
        it.postgres.replica(1),
        it.postgres.primary(),
    );
    one.kill().await?;
    it.leads("ro", &[other], SOON).await?;
    one.start().await?;
    it.leads("ro", &[one, other], SOON).await?;

    one.sql("select pg_wal_replay_pause()").await?;
    primary.sql("create table behind as select 1 as i").await?;
    it.leads("ro", &[other], SOON).await?;
    it.endpoint("replica-1", "ReplayStalled", SOON).await?;
    one.sql("select pg_wal_replay_resume()").await?;
    it.leads("ro", &[one, other], SOON).await?;

    one.cut_replication()?;
    primary.sql("create table unseen as select 1 as i").await?;
    it.leads("ro", &[other], SOON).await?;
    one.heal()?;
    it.leads("ro", &[one, other], SOON).await
}

async fn promotion(plane: Arc<ControlPlane>, version: u32) -> Result<()> {
    let it = Fixture::start_with(plane, cluster(version).replicas(2), &[]).await?;
    it.apply(&often(&it)).await?;
    it.serves().await?;
    let (first, second, third) = (
        it.postgres.primary(),
        it.postgres.replica(0),
        it.postgres.replica(1),
    );
    // A switchover: the old primary ends as it should, and comes back as a standby.
    first.stop(Shutdown::Fast).await?;
    second.promote().await?;
    third.follow(second)?;
    it.leads("rw", &[second], SOON).await?;
    first.stand_by(second)?;
    first.start().await?;
    it.leads("ro", &[first, third], SOON).await?;
    it.leads("rw", &[second], SOON).await?;
    // A crash: the old primary comes back as what it was, and gets nothing.
    second.kill().await?;
    third.promote().await?;
    first.follow(third)?;
    it.leads("rw", &[third], SOON).await?;
    it.leads("ro", &[first], SOON).await?;
    second.start().await?;
    it.endpoint("replica-1", "WritableReplica", SOON).await?;
    it.condition("SplitBrainSuspected", "True", "SeveralWritable")
        .await?;
    it.leads("rw", &[third], SOON).await?;
    it.leads("ro", &[first], SOON).await?;
    let timeline = it.get().await?.status.and_then(|status| status.memory?.timeline);
    ensure!(timeline == Some(3), "{timeline:?}");
    Ok(())
}

async fn logins(plane: Arc<ControlPlane>, version: u32) -> Result<()> {
    let tls = Tls {
        required: true,
        ..Tls::default()
    };
    let it = Fixture::start_with(plane, cluster(version).replicas(1).tls(tls), &[]).await?;
    let ca = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"},
        "stringData": {"ca.crt": it.postgres.authority().pem()},
    });
    it.apply(&ca).await?;
    let mut policy = often(&it);
    policy["spec"]["connection"]["tls"] = json!({"mode": "VerifyFull", "caSecretRef": {"name": "ca"}});
    it.apply(&policy).await?;
    it.serves().await?;
    let primary = it.postgres.primary();
    if version >= 17 {
        // A trigger on logins of the checks, with whatever it sets and says, is not in their way.
        let trigger = format!(
            "create function public.seen() returns event_trigger language plpgsql as $$ begin \
             if session_user = '{}' then \
             perform set_config('search_path', 'public', false); \
             perform set_config('default_transaction_read_only', 'on', false); \
             perform set_config('statement_timeout', '1h', false); \
             raise notice 'seen'; \
             end if; end $$; \
             create event trigger seen on login execute function public.seen(); \
             alter event trigger seen enable always",
            PROBE.user
        );
        primary.sql(&trigger).await?;
        it.postgres.caught_up().await?;
        let before = it.checks_of("Good").await?;
        wait::eventually("good checks behind the trigger", SOON, || async {
            let now = it.checks_of("Good").await?;
            ensure!(now >= before + 6, "{now} after {before}");
            anyhow::Ok(())
        })
        .await?;
        it.serves().await?;
    }
    // A role whose password is no verifier of SCRAM is asked for it as MD5, where a rule lets it.
    for server in it.postgres.servers() {
        server.rules_first(&["hostssl all probe all md5"])?;
    }
    let md5 = format!(
        "set password_encryption = 'md5'; alter role probe password '{}'",
        PROBE.password
    );
    let mut refusals = vec![
        (
            "alter role probe password 'another'".to_owned(),
            "AuthenticationFailed",
        ),
        ("alter role probe nologin".to_owned(), "AuthenticationFailed"),
        (
            format!("alter role probe login; revoke connect on database {DATABASE} from public"),
            "ConnectNotGranted",
        ),
        (
            format!("grant connect on database {DATABASE} to public; {md5}"),
            "PasswordMethodRefused",
        ),
    ];
    if version >= 16 {
        let few = format!(
            "set scram_iterations = 1; alter role probe password '{}'",
            PROBE.password
        );
        refusals.push((few, "ScramIterationsRefused"));
    }
    for (statement, failure) in &refusals {
        // The password first, so that the next refusal is the next one's.
        if !statement.contains("password") {
            primary.set_password(PROBE.user, PROBE.password).await?;
        }
        primary.sql(statement).await?;
        it.fails("replica-1", "ConfigurationHeld", failure)
            .await
            .with_context(|| failure.to_string())?;
        it.leads("ro", &[it.postgres.replica(0)], SOON).await?;
    }
    it.apply(&secret("probe", APP.user, APP.password)).await?;
    it.serves().await
}
