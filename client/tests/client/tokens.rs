//! Reads that see what was written before.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_client::{Error, FileMemory, Follower, Freshness, Query, Router, Session, Token};
use harness::postgres::Shutdown;
use harness::{PgCluster, wait};

use crate::fixture::{builder, embedded, warm};
use crate::remembered::{folder, following};

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

async fn write(follower: &Follower, mark: i32) -> Result<u64, Error> {
    let write = move |session: Session| async move {
        session
            .execute("insert into note (body) values ($1)", &[&format!("mark {mark}")])
            .await
    };
    let query = Query::operation("create").within(Duration::from_secs(5));
    follower.write(query, write).await
}

/// How often the mark is there, who said so, and whether that is proven to be as new as the token.
async fn read(follower: &Follower, mark: i32) -> Result<(usize, String, Freshness), Error> {
    let read = move |session: Session| async move {
        let found = session
            .query("select 1 from note where body = $1", &[&format!("mark {mark}")])
            .await?;
        Ok((found.len(), session.endpoint().to_owned(), session.freshness()))
    };
    let query = Query::new().within(Duration::from_secs(5));
    follower.read(query, read).await
}

async fn write_and_read(follower: &Follower, mark: i32) -> Result<String> {
    write(follower, mark).await?;
    let (found, endpoint, freshness) = read(follower, mark).await?;
    ensure!(found == 1, "{endpoint} is older than the token of {mark}");
    ensure!(freshness == Freshness::Proven, "{endpoint}: {freshness:?}");
    Ok(endpoint)
}

fn pairs() -> i32 {
    let pairs = std::env::var("PAIRS").ok().and_then(|pairs| pairs.parse().ok());
    pairs.unwrap_or(ROUND)
}

pub async fn no_read_is_older_than_its_token() -> Result<()> {
    let cluster = telling(2).await?;
    let router = embedded(&cluster).await?;
    let follower = Follower::new(router);
    let (mut by_replicas, mut by_primary) = (0, 0);
    let pairs = pairs();
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

/// Between a write and its read the primary stops, and a replica takes its place.
pub async fn no_read_is_older_than_its_token_across_a_promotion() -> Result<()> {
    let cluster = telling(2).await?;
    let memory = FileMemory::open(folder(&cluster)?.join("tokens.json"))?;
    let router = builder(&following(&cluster))?.memory(memory).connect().await?;
    let follower = Follower::new(warm(router).await?);
    let (soon, pairs) = (Duration::from_secs(30), pairs());
    for mark in 0..pairs {
        wait::eventually("a write", soon, || write(&follower, mark)).await?;
        let promotes = mark == pairs / 2;
        if promotes {
            // All that was written is on both replicas when it has stopped.
            cluster.primary().stop(Shutdown::Fast).await?;
            cluster.replica(0).promote().await?;
            cluster.replica(1).follow(cluster.replica(0))?;
        }
        let (found, endpoint, told) = wait::eventually("a read", soon, || read(&follower, mark)).await?;
        // A write whose outcome is not known was done again.
        ensure!(found > 0, "{endpoint} is older than the token of {mark}");
        let expected = [Freshness::Proven, Freshness::Unproven];
        ensure!(
            told == expected[0] || (promotes && told == expected[1]),
            "{mark} on {endpoint}: {told:?}"
        );
    }
    // A replica that follows the new primary proves its tokens, too.
    let stale = AtomicU32::new(0);
    wait::eventually("a replica to serve again", soon, || async {
        write(&follower, pairs).await?;
        let (found, endpoint, told) = read(&follower, pairs).await?;
        stale.fetch_add(u32::from(found == 0), Ordering::SeqCst);
        ensure!(
            endpoint == "replica-1" && told == Freshness::Proven,
            "{endpoint}: {told:?}"
        );
        Ok(())
    })
    .await?;
    ensure!(stale.into_inner() == 0, "a read was older than its token");
    Ok(())
}

pub async fn a_followers_read_sees_the_token_of_its_query_too() -> Result<()> {
    let cluster = telling(1).await?;
    let router = embedded(&cluster).await?;
    let follower = Follower::new(router.clone());
    write(&follower, 1).await?;
    cluster.caught_up().await?;
    cluster.replica(0).sql("select pg_wal_replay_pause()").await?;
    // What another process wrote for the same user.
    let other = Follower::new(router);
    write(&other, 2).await?;
    let token = other.token().context("a token")?;
    let count = |session: Session| async move {
        let found = session
            .query("select 1 from note where body = 'mark 2'", &[])
            .await?;
        Ok((found.len(), session.endpoint().to_owned()))
    };
    let seen = follower.read(Query::new().at_least(token), count).await?;
    ensure!(seen == (1, "primary".to_owned()), "{seen:?}");
    let seen = follower.read(Query::new(), count).await?;
    ensure!(seen == (0, "replica-0".to_owned()), "{seen:?}");
    cluster.replica(0).sql("select pg_wal_replay_resume()").await?;
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
    cluster.primary().stop(Shutdown::Fast).await?;
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
