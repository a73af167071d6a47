//! A machine that is too busy: slow is not dead, and dead is still seen.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::load::Burners;
use harness::suite::Suite;
use harness::wait::{self, Stopwatch};
use harness::{ControlPlane, Reader};
use serde_json::json;

use crate::fixture::{Fixture, SOON, addresses};

const BURNERS: usize = 6;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite.test_alone(
        "six_burners_take_no_endpoint_out_for_a_minute_and_a_kill_is_still_seen",
        burners,
    )
}

/// Two operators at once: one at the default settings, one with a heartbeat of 100 ms.
async fn burners(plane: Arc<ControlPlane>) -> Result<()> {
    let (patient, eager) = tokio::try_join!(
        Fixture::at_defaults(Arc::clone(&plane), 2),
        Fixture::at_defaults(plane, 2)
    )?;
    let mut policy = eager.defaults();
    policy["spec"]["healthCheck"] = json!({"heartbeat": "100ms"});
    eager.apply(&policy).await?;
    eager.serves().await?;
    let burners = Burners::start(BURNERS);
    let mut watched = vec![];
    for it in [&patient, &eager] {
        let reader = Reader::builder(it.readable("ro").await?).rate(20).start();
        watched.push((it.follow("ro").await?, it.follow("rw").await?, reader));
    }
    wait::pass(
        Duration::from_secs(60),
        "that nothing leaves can only be seen by its absence",
    )
    .await;
    for (reads, writes, reader) in watched {
        let (totals, sets) = (reader.stop(), [reads.sets(), writes.sets()]);
        println!("reads beside {BURNERS} burners: {totals:?}");
        ensure!(
            sets.iter().all(|sets| sets.len() == 1),
            "an endpoint left: {sets:?}"
        );
        ensure!(totals.failures == 0 && totals.reads > 600, "{totals:?}");
    }
    for (name, it) in [
        ("the default heartbeat", &patient),
        ("a heartbeat of 100 ms", &eager),
    ] {
        let route = it.follow("ro").await?;
        let watch = Stopwatch::start();
        it.postgres.replica(0).kill_postmaster()?;
        let out = route
            .leads_to(&addresses(&[it.postgres.replica(1)]), SOON)
            .await?;
        let out = watch.until(out);
        println!("kill -9 of a postmaster beside {BURNERS} burners, at {name}: {out:.1?}");
        ensure!(out < Duration::from_secs(3), "{out:?}");
    }
    drop(burners);
    Ok(())
}
