//! Who shares a held session, and who does not.

use std::sync::Arc;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use harness::postgres::{APP, PROBE};
use harness::suite::Suite;
use serde_json::json;

use crate::fixture::{Fixture, has_sessions, secret};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("policies_with_one_login_share_a_session", shared)
        .test("policies_with_other_logins_share_none", apart)
}

async fn shared(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 1).await?;
    let mut second = it.defaults();
    // Another Secret of the same content is the same login; another time is no other session.
    it.apply(&secret("same", PROBE.user, PROBE.password)).await?;
    second["spec"]["connection"]["credentialsSecretRef"]["name"] = json!("same");
    second["spec"]["healthCheck"] = json!({"heartbeat": "500ms"});
    it.apply_another("second", second).await?;
    it.holds_sessions().await?;
    // The session stays for the one that is left, and ends with the last.
    let delete = |name| ["delete", "rsp", "-n", &it.namespace, name].map(str::to_owned);
    for (name, left) in [("orders", 1), ("second", 0)] {
        let arguments = delete(name);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        it.plane.kubectl(&arguments).await?;
        for server in it.postgres.servers() {
            has_sessions(server, left).await?;
        }
    }
    Ok(())
}

async fn apart(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::at_defaults(plane, 1).await?;
    let replica = it.postgres.replica(0);
    let mut second = it.defaults();
    it.apply(&secret("app", APP.user, APP.password)).await?;
    second["spec"]["connection"]["credentialsSecretRef"]["name"] = json!("app");
    it.apply_another("second", second).await?;
    has_sessions(replica, 2).await?;
    let users = replica
        .rows("select usename from pg_stat_activity where application_name = 'distributary' order by 1")
        .await?;
    ensure!(users == [["app"], ["probe"]], "{users:?}");
    // The same user in another database is another session, too.
    let mut third = it.defaults();
    third["spec"]["connection"]["database"] = json!("postgres");
    it.apply_another("third", third).await?;
    has_sessions(replica, 3).await?;
    // A wrong password uses nobody's session.
    let mut fourth = it.defaults();
    fourth["metadata"]["name"] = json!("fourth");
    it.apply(&secret("wrong", PROBE.user, "wrong")).await?;
    fourth["spec"]["connection"]["credentialsSecretRef"]["name"] = json!("wrong");
    it.apply(&fourth).await?;
    it.kubectl_wait(
        "fourth",
        "jsonpath={.status.endpoints[1].failure}=AuthenticationFailed",
    )
    .await?;
    it.kubectl_wait("fourth", "condition=Stalled").await?;
    has_sessions(replica, 3).await
}
