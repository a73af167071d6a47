//! TLS, and poolers in the way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, FailureKind, FailureReason, Query, Router, Session};
use harness::postgres::{Passwords, Pooler, ServerCertificate, Tls};
use harness::{PgCluster, wait};
use serde_json::json;

use crate::fixture::{builder, served, spec, warm};

/// Servers that take nobody in without TLS, known by their names.
async fn encrypted(replicas: usize) -> Result<(PgCluster, Router)> {
    let tls = Tls {
        required: true,
        ..Tls::default()
    };
    let cluster = PgCluster::builder().replicas(replicas).tls(tls).start().await?;
    let mut spec = spec(&cluster);
    spec["connection"]["tls"] = json!({"mode": "VerifyFull", "caSecretRef": {"name": "ca"}});
    spec["primary"]["host"] = json!(cluster.primary().name());
    for (at, replica) in cluster.replicas().iter().enumerate() {
        spec["replicas"][at]["host"] = json!(replica.name());
    }
    let builder = builder(&spec)?.secret("ca", [("ca.crt", cluster.authority().pem())]);
    let router = warm(builder.connect().await?).await?;
    Ok((cluster, router))
}

pub async fn certificates_are_verified_against_the_endpoints_own_name() -> Result<()> {
    let (cluster, router) = encrypted(2).await?;
    let encrypted = |session: Session| async move {
        let row = session
            .query_one("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[])
            .await?;
        Ok(row.get::<_, bool>(0))
    };
    ensure!(router.read(Query::new(), encrypted).await?);
    ensure!(router.write("create", encrypted).await?);
    // A cancellation is encrypted, too: the servers take none in the clear.
    let slow = |session: Session| async move { session.query("select pg_sleep(30)", &[]).await };
    let slow = router
        .read(Query::new().within(Duration::from_millis(300)), slow)
        .await;
    ensure!(matches!(slow, Err(Error::Deadline { .. })), "{slow:?}");
    for replica in cluster.replicas() {
        wait::eventually("the statement to be cancelled", Duration::from_secs(3), || async {
            let running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(30)' and state = 'active'";
            ensure!(replica.sql(running).await? == "0");
            Ok(())
        })
        .await?;
    }
    // Both show a certificate for somebody else: nobody is let in on new connections, and the reason is named.
    for server in cluster.servers() {
        server.use_certificate(ServerCertificate::WrongName)?;
        server.restart().await?;
    }
    let one = |session: Session| async move { session.query("select 1", &[]).await };
    let error = router
        .write(Query::new().within(Duration::from_secs(3)), one)
        .await;
    let error = error.err().context("a wrong certificate was taken")?;
    let Error::Write { source, .. } = &error else {
        anyhow::bail!("{error:?}");
    };
    let Error::Connect(failure) = &**source else {
        anyhow::bail!("{error:?}");
    };
    ensure!(
        failure.reason == FailureReason::Failed(FailureKind::CertificateNameMismatch),
        "{error:?}"
    );
    Ok(())
}

pub async fn reads_through_a_pooler_are_read_only_transactions() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let pooler = Pooler::pgbouncer(cluster.primary(), Passwords::Known).await?;
    let mut spec = spec(&cluster);
    spec["replicas"] = json!([]);
    spec["primary"]["host"] = json!(pooler.address());
    let router = builder(&spec)?.connect().await?;
    ensure!(served(&router, &Query::new(), 10).await?.get("primary") == Some(&10));
    let modes = |session: Session| async move {
        let row = session.query_one("select current_setting('transaction_read_only'), current_setting('default_transaction_read_only')", &[]).await?;
        Ok((row.get::<_, String>(0), row.get::<_, String>(1)))
    };
    let read = router.read(Query::new(), modes).await?;
    ensure!(read == ("on".to_owned(), "off".to_owned()), "{read:?}");
    let write =
        |session: Session| async move { session.execute("insert into note (body) values ('p')", &[]).await };
    let refused = router
        .read(Query::new(), write)
        .await
        .err()
        .context("a read wrote")?;
    ensure!(
        refused.sqlstate().is_some_and(|state| state.code() == "25006"),
        "{refused}"
    );
    ensure!(router.write("create", write).await? == 1);
    ensure!(router.transaction("create", write).await? == 1);
    // Nothing of ours stays with a server of the pool, which others use next.
    let write = router.write("create", modes).await?;
    ensure!(write == ("off".to_owned(), "off".to_owned()), "{write:?}");
    // A token is not for who cannot say which server answers.
    let (_, token) = router.write_with_token("create", modes).await?;
    ensure!(token.is_none(), "{token:?}");
    Ok(())
}
