//! TLS, and poolers in the way.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Credentials, Error, FailureKind, FailureReason, Query, Router, Session};
use harness::postgres::{APP, Passwords, Pooler, ServerCertificate, Tls};
use harness::{PgCluster, node, wait};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fixture::{builder, embedded, served, spec, warm};

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

fn request(code: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 8).unwrap_or(u32::MAX).to_be_bytes();
    [b"R", &length[..], &[0, 0, 0, code], body].concat()
}

/// A server that asks for a proof of the password, and for one by so many iterations of SCRAM after that.
async fn ask(mut stream: TcpStream, first: &[u8], iterations: &str) -> std::io::Result<()> {
    let mut answer = [0; 1024];
    let _ = stream.read(&mut answer).await?;
    stream.write_all(first).await?;
    if stream.read(&mut answer).await? > 0 {
        let challenge = format!("r=abc,s=c2FsdA==,i={iterations}");
        stream.write_all(&request(11, challenge.as_bytes())).await?;
        let _ = stream.read(&mut answer).await?;
    }
    Ok(())
}

pub async fn a_login_is_held_to_the_terms_of_a_check() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let table = embedded(&cluster).await?.table();
    let scram = request(10, b"SCRAM-SHA-256\0\0");
    for (number, (first, iterations, expected)) in [
        (request(3, b""), "", FailureKind::PasswordMethodRefused),
        (request(5, &[1, 2, 3, 4]), "", FailureKind::PasswordMethodRefused),
        (scram.clone(), "1", FailureKind::ScramIterationsRefused),
        (scram, "100000000", FailureKind::ScramIterationsRefused),
        (request(10, &vec![b'x'; 70_000]), "", FailureKind::ReplyTooLong),
    ]
    .into_iter()
    .enumerate()
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = ask(stream, &first, iterations).await;
            }
        });
        let mut table = table.clone();
        for target in table.routes.values_mut().flat_map(|route| &mut route.targets) {
            (target.address, target.port) = (address.ip(), address.port());
        }
        table.revision = table.digest();
        let folder = node::data_subdir("terms")?.join(cluster.primary().name());
        std::fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{number}.json"));
        std::fs::write(&file, table.text())?;
        let router = Router::builder()
            .routing_file(&file)
            .credentials(Credentials::new(APP.user, APP.password));
        let router = router.connect().await?;
        let one = |session: Session| async move { session.query("select 1", &[]).await };
        let error = router
            .write(Query::new(), one)
            .await
            .err()
            .context("it let us in")?;
        server.abort();
        let Error::Write { source, .. } = &error else {
            anyhow::bail!("{error:?}");
        };
        let named =
            matches!(&**source, Error::Connect(failure) if failure.reason == FailureReason::Failed(expected));
        ensure!(named, "{error:?} is not {expected:?}");
    }
    Ok(())
}
