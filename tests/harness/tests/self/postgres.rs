//! Servers start, replicate, and suffer what they are made to suffer.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::link::Link;
use harness::postgres::{APP, DATABASE, PORT, PROBE, Shutdown, Tls};
use harness::{ControlPlane, PgCluster, Postgres, dns, reader, wait};
use tokio_postgres::{Config, NoTls};

const MOMENT: Duration = Duration::from_millis(300);
const DEADLINE: Duration = Duration::from_secs(10);

type Shared = Arc<ControlPlane>;

pub async fn killed_server_leaves_no_process(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let replica = cluster.replica(0);
    let processes = replica.processes();
    ensure!(processes.len() > 3, "{processes:?}");
    replica.kill().await?;
    ensure!(
        replica.processes().is_empty() && !replica.is_running(),
        "it still runs"
    );
    // The node's first process waits for orphans as they end.
    harness::wait::eventually(
        "its processes to be gone",
        std::time::Duration::from_secs(5),
        || async {
            processes
                .iter()
                .all(|pid| nix::sys::signal::kill(*pid, None).is_err())
        },
    )
    .await?;
    ensure!(reader::ask(replica.socket()).await.is_err());

    replica.start().await?;
    cluster
        .primary()
        .sql("insert into note (body) values ('written meanwhile')")
        .await?;
    cluster.caught_up().await?;
    ensure!(replica.sql("select count(*) from note").await? == "101");
    replica.stop(Shutdown::Fast).await?;
    replica.start().await
}

pub async fn frozen_server_does_not_answer(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    let server = cluster.primary();
    server.freeze()?;
    ensure!(hangs(server).await);
    server.thaw()?;
    ensure!(reader::ask(server.socket()).await? == server.address());
    server.freeze_postmaster()?;
    ensure!(hangs(server).await);
    server.thaw()?;
    ensure!(reader::ask(server.socket()).await? == server.address());
    server.refuse_silently()?;
    ensure!(hangs(server).await);
    server.heal()?;
    ensure!(reader::ask(server.socket()).await? == server.address());
    Ok(())
}

pub async fn black_hole_cuts_replication_too(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let (cut, other) = (cluster.replica(0), cluster.replica(1));
    cut.black_hole()?;
    ensure!(hangs(cut).await);
    ensure!(reader::ask(other.socket()).await? == other.address());
    let primary = cluster.primary();
    let row = primary
        .sql("insert into note (body) values ('unheard'); select pg_current_wal_lsn()")
        .await?;
    other.replays(&row).await?;
    ensure!(cut.sql("select count(*) from note").await? == "100");
    cut.heal()?;
    cluster.caught_up().await?;
    ensure!(cut.sql("select count(*) from note").await? == "101");

    cut.cut_replication()?;
    ensure!(reader::ask(cut.socket()).await? == cut.address());
    primary.sql("delete from note").await?;
    ensure!(cut.sql("select count(*) from note").await? == "101");
    cut.heal()?;
    cluster.caught_up().await
}

pub async fn resets_reach_the_client(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    let server = cluster.primary();
    let (client, connection) = connect(server).await?;
    let connection = tokio::spawn(connection);
    client.simple_query("select 1").await?;
    server.reset_connections()?;
    ensure!(client.simple_query("select 1").await.is_err());
    ensure!(wait::within("the reset", DEADLINE, connection).await?.is_err());
    let refused = wait::within("a refusal", DEADLINE, reader::ask(server.socket())).await;
    ensure!(format!("{:#}", refused.err().context("it connected")?).contains("refused"));
    server.heal()?;
    reader::ask(server.socket()).await.map(drop)
}

pub async fn forgotten_connection_is_silent_and_a_new_one_works(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    let server = cluster.primary();
    let (client, connection) = connect(server).await?;
    let _connection = tokio::spawn(connection);
    client.simple_query("select 1").await?;
    ensure!(server.sever_connections()? == 1, "there is one connection");
    ensure!(
        wait::within("an answer", MOMENT, client.simple_query("select 1"))
            .await
            .is_err()
    );
    reader::ask(server.socket()).await.map(drop)
}

pub async fn requests_are_reset_and_routes_taken_away(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    let server = cluster.primary();
    for (cause, told) in [
        (Postgres::reset_requests as fn(&Postgres) -> Result<()>, "reset"),
        (Postgres::unreachable, "No route"),
    ] {
        cause(server)?;
        let refused = wait::within("a refusal", DEADLINE, reader::ask(server.socket())).await;
        let error = format!("{:#}", refused.err().context("it connected")?);
        ensure!(error.contains(told), "{error}");
        server.heal()?;
        reader::ask(server.socket()).await?;
    }
    Ok(())
}

pub async fn rules_more_addresses_and_ipv6_lead_to_a_server(_: Shared) -> Result<()> {
    let cluster = PgCluster::builder().more_addresses(2).ipv6().start().await?;
    let server = cluster.primary();
    for address in server.more_addresses() {
        ensure!(reader::ask((*address, PORT).into()).await? == *address);
    }
    let six = server.ipv6().context("an address of IPv6")?;
    let asked = reader::ask((six, PORT).into()).await;
    // It answers with an address that is none of IPv4.
    ensure!(format!("{:#}", asked.err().context("an address of IPv4")?).contains("an address"));
    server.rules_first(&["host all app all reject"])?;
    wait::eventually("a refusal", DEADLINE, || async {
        reader::ask(server.socket()).await.is_err()
    })
    .await?;
    server.rules_first(&[])?;
    wait::eventually("an answer", DEADLINE, || async {
        reader::ask(server.socket()).await
    })
    .await
    .map(drop)
}

pub async fn link_is_slow_and_ends_with_its_owner(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    let link = Link::to(cluster.primary().socket(), &[Duration::from_millis(100)]).await?;
    let socket = (link.address(), PORT).into();
    let watch = wait::Stopwatch::start();
    ensure!(reader::ask(socket).await? == cluster.primary().address());
    ensure!(
        watch.elapsed() > Duration::from_millis(400),
        "{:?}",
        watch.elapsed()
    );
    drop(link);
    wait::eventually("its end", DEADLINE, || async {
        reader::ask(socket).await.is_err()
    })
    .await
}

pub async fn promoted_replica_is_followed(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(2).await?;
    let (old, new, other) = (cluster.primary(), cluster.replica(0), cluster.replica(1));
    old.kill().await?;
    new.promote().await?;
    other.follow(new)?;
    let written = new
        .sql("insert into note (body) values ('new'); select pg_current_wal_lsn()")
        .await?;
    other.replays(&written).await?;
    old.rebuild(new).await?;
    ensure!(old.sql("select pg_is_in_recovery()").await? == "t");
    ensure!(old.sql("select count(*) from note").await? == "101");
    Ok(())
}

pub async fn tls_can_be_required(_: Shared) -> Result<()> {
    let tls = Tls {
        required: true,
        client_certificates: true,
        ..Tls::default()
    };
    let cluster = PgCluster::builder().tls(tls).replicas(1).start().await?;
    let refused = connect(cluster.replica(0))
        .await
        .err()
        .context("it connected without TLS")?;
    let code = refused
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(|error| error.code().cloned());
    ensure!(
        code.as_ref().is_some_and(|code| code.code() == "28000"),
        "{refused:#}"
    );
    let psql = |mode: &str| {
        let directory = harness::node::data_subdir("tmp")?;
        let identity = cluster.client_identity(APP.user)?;
        let (certificate, key) = identity.write(&directory, "client")?;
        let authority = directory.join("authority.crt");
        std::fs::write(&authority, cluster.authority().pem())?;
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let (host, files) = (cluster.replica(0).address(), [authority, certificate, key]);
        let [authority, certificate, key] = files.map(|file| file.display().to_string());
        anyhow::Ok(format!(
            "host={host} dbname={DATABASE} user={} password={} sslmode={mode} sslrootcert={authority} \
             sslcert={certificate} sslkey={key}",
            APP.user, APP.password
        ))
    };
    let connection = psql("verify-full")?;
    let mut command = tokio::process::Command::new("psql");
    let output = command.args([
        &connection,
        "-Atc",
        "select ssl from pg_stat_ssl where pid = pg_backend_pid()",
    ]);
    let output = output.output().await?;
    ensure!(output.stdout == b"t\n", "{output:?}");
    Ok(())
}

pub async fn identities_differ_on_demand(_: Shared) -> Result<()> {
    let (one, other) = tokio::try_join!(PgCluster::start(0), PgCluster::builder().own_identity().start())?;
    ensure!(one.primary().system_identifier().await? != other.primary().system_identifier().await?);
    one.primary().give_way_to(other.primary())?;
    ensure!(reader::ask(one.primary().socket()).await? == other.primary().address());
    one.primary().heal()?;
    ensure!(reader::ask(one.primary().socket()).await? == one.primary().address());
    Ok(())
}

pub async fn names_lead_to_servers(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    let server = cluster.primary();
    let resolve = async || {
        anyhow::Ok(
            tokio::net::lookup_host((server.name(), PORT))
                .await?
                .collect::<Vec<_>>(),
        )
    };
    ensure!(resolve().await? == [server.socket()]);
    let elsewhere = Ipv4Addr::new(198, 18, 9, 9);
    dns::set(server.name(), &[elsewhere])?;
    ensure!(resolve().await? == [(elsewhere, PORT).into()]);
    dns::fail(server.name(), true);
    ensure!(resolve().await.is_err());
    dns::fail(server.name(), false);
    dns::remove(server.name());
    ensure!(resolve().await.is_err());
    Ok(())
}

pub async fn changed_password_is_refused(_: Shared) -> Result<()> {
    let cluster = PgCluster::start(0).await?;
    drop(connect(cluster.primary()).await?);
    cluster.primary().set_password(PROBE.user, "changed").await?;
    let refused = connect(cluster.primary()).await.err().context("it connected")?;
    let code = refused
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(|error| error.code().cloned());
    ensure!(code.is_some_and(|code| code.code() == "28P01"), "{refused:#}");
    Ok(())
}

/// Whether a connection gets neither an answer nor a refusal.
async fn hangs(server: &Postgres) -> bool {
    tokio::time::timeout(MOMENT, reader::ask(server.socket()))
        .await
        .is_err()
}

type Connection = tokio_postgres::Connection<tokio_postgres::Socket, tokio_postgres::tls::NoTlsStream>;

async fn connect(server: &Postgres) -> Result<(tokio_postgres::Client, Connection)> {
    let mut config = Config::new();
    config
        .host(server.address().to_string())
        .dbname(DATABASE)
        .user(PROBE.user)
        .password(PROBE.password);
    Ok(config.connect(NoTls).await?)
}
