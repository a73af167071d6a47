//! Policies that look often, and what primaries are given to do.

use anyhow::{Result, ensure};
use harness::Postgres;
use serde_json::{Value, json};

use crate::fixture::Fixture;

/// A policy with a bound of 3 s of lag, looked at three times a second.
pub fn tight(it: &Fixture) -> Value {
    let mut policy = often(it);
    policy["spec"]["replicationLag"] = json!({"max": "3s", "recover": "2s"});
    policy
}

/// A policy that asks three times a second, and waits a second for an answer.
pub fn often(it: &Fixture) -> Value {
    let mut policy = it.policy();
    policy["spec"]["healthCheck"]["heartbeat"] = json!("300ms");
    policy
}

/// Writes to the primary until it is dropped, ten minutes at most.
pub struct Writer(tokio::task::JoinHandle<()>);

impl Writer {
    pub async fn start(primary: &Postgres) -> Result<Self> {
        primary
            .sql("create table if not exists noise (at timestamptz)")
            .await?;
        let noise = "do $$ begin for i in 1..6000 loop insert into noise values (clock_timestamp()); commit; \
                     perform pg_sleep(0.1); end loop; end $$";
        let writes = primary.background_sql(noise);
        // It ends with the server or with the test.
        Ok(Self(tokio::spawn(async move { drop(writes.await) })))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Ends what another session of the server does.
pub async fn end(server: &Postgres, part_of_query: &str) -> Result<()> {
    let end = format!(
        "select count(pg_terminate_backend(pid)) from pg_stat_activity where query like '%{part_of_query}%' and pid <> pg_backend_pid()"
    );
    let ended = server.sql(&end).await?;
    ensure!(ended == "1", "{ended} sessions ended");
    Ok(())
}
