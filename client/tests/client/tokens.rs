//! Reads that see what was written before.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, Follower, Freshness, Query, Router, Session, Token};
use harness::{PgCluster, wait};

use crate::fixture::embedded;

/// The servers show the timeline that they follow.
pub async fn telling(replicas: usize) -> Result<PgCluster> {
    let settings = PgCluster::builder().setting("synchronous_commit", "on");
    let cluster = settings.replicas(replicas).start().await?;
    cluster.primary().sql("grant pg_read_all_stats to app").await?;
    cluster.caught_up().await?;
    Ok(cluster)
}

/// Writes and reads, one after the other: a round; PAIRS says how many there are in all.
const ROUND: i32 = 200;

async fn write_and_read(follower: &Follower, mark: i32) -> Result<String> {
    let write = move |session: Session| async move {
        session
            .execute("insert into note (body) values ($1)", &[&format!("mark {mark}")])
            .await
    };
    follower.write("create", write).await?;
    let read = move |session: Session| async move {
        let found = session
            .query("select 1 from note where body = $1", &[&format!("mark {mark}")])
            .await?;
        Ok((found.len(), session.endpoint().to_owned(), session.freshness()))
    };
    let (found, endpoint, freshness) = follower.read(Query::new(), read).await?;
    ensure!(found == 1, "{endpoint} is older than the token of {mark}");
    ensure!(freshness == Freshness::Proven, "{endpoint}: {freshness:?}");
    Ok(endpoint)
}

pub async fn no_read_is_older_than_its_token() -> Result<()> {
    let cluster = telling(2).await?;
    let router = embedded(&cluster).await?;
    let follower = Follower::new(router);
    let (mut by_replicas, mut by_primary) = (0, 0);
    let pairs = std::env::var("PAIRS")
        .ok()
        .and_then(|pairs| pairs.parse().ok())
        .unwrap_or(ROUND);
    for mark in 0..pairs {
        // A replay that stands still, for a while.
        match mark % ROUND {
            40 => drop(cluster.replica(0).sql("select pg_wal_replay_pause()").await?),
            60 => drop(cluster.replica(1).sql("select pg_wal_replay_pause()").await?),
            70 => {
                for replica in cluster.replicas() {
                    replica.sql("select pg_wal_replay_resume()").await?;
                }
            }
            _ => {}
        }
        let endpoint = write_and_read(&follower, mark).await?;
        if endpoint == "primary" {
            by_primary += 1;
        } else {
            by_replicas += 1;
        }
    }
    ensure!(
        by_replicas * 4 >= pairs * 3 && by_primary >= 10,
        "{by_replicas} by replicas, {by_primary} by the primary"
    );
    Ok(())
}

async fn freshness(router: &Router, token: Token) -> Result<(String, Freshness), Error> {
    let run = |session: Session| async move {
        session.query_one("select 1", &[]).await?;
        Ok((session.endpoint().to_owned(), session.freshness()))
    };
    router
        .read(Query::new().at_least(token).within(Duration::from_secs(3)), run)
        .await
}

pub async fn a_token_that_nobody_was_given_does_no_harm() -> Result<()> {
    let cluster = PgCluster::start(1).await?;
    let router = embedded(&cluster).await?;
    let (_, token) = router
        .write_with_token("create", |session: Session| async move {
            session.execute("insert into note (body) values ('x')", &[]).await
        })
        .await?;
    let token = token.context("a direct connection tells where the log is")?;
    ensure!(token.system_identifier().to_string() == cluster.primary().system_identifier().await?);
    let forged: Token = format!(
        "{:x}.{:x}.FFFFFFFFFFFF",
        token.system_identifier(),
        token.timeline()
    )
    .parse()?;
    let (endpoint, told) = freshness(&router, forged).await?;
    ensure!(
        (endpoint.as_str(), told) == ("primary", Freshness::NotAsked),
        "{endpoint} {told:?}"
    );
    ensure!(router.stats().forged_tokens == 1);
    let other: Token = format!("1.1.{:X}", token.lsn()).parse()?;
    let refused = freshness(&router, other).await;
    ensure!(
        matches!(refused, Err(Error::OtherDatabase { token: 1, .. })),
        "{refused:?}"
    );
    // Of a timeline that is to come: no server here is on it.
    let newer: Token = format!("{:x}.9.1", token.system_identifier()).parse()?;
    let refused = freshness(&router, newer).await;
    ensure!(matches!(refused, Err(Error::NobodyLeft { .. })), "{refused:?}");
    Ok(())
}

pub async fn a_token_from_before_a_promotion_is_unproven() -> Result<()> {
    let cluster = telling(1).await?;
    let router = embedded(&cluster).await?;
    let (_, token) = router
        .write_with_token("create", |session: Session| async move {
            session.execute("insert into note (body) values ('x')", &[]).await
        })
        .await?;
    let token = token.context("a token")?;
    cluster.primary().stop(harness::postgres::Shutdown::Fast).await?;
    cluster.primary().stand_by(cluster.replica(0))?;
    cluster.primary().start().await?;
    cluster.primary().promote().await?;
    wait::eventually("the writes to be back", Duration::from_secs(20), || async {
        let (endpoint, told) = freshness(&router, token).await?;
        ensure!(
            (endpoint.as_str(), told) == ("primary", Freshness::Unproven),
            "{endpoint} {told:?}"
        );
        Ok(())
    })
    .await
}
