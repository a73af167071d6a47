//! Answers that come in another order than they were given, from several Pods, or not at all; over made-up answers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use serde_json::{Value, json};

use crate::chromium::Page;
use crate::fleet::signed_in;
use crate::live::card;
use crate::made_up;
use crate::stub::{Stub, event, not_found};

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "an_older_answer_undoes_nothing_that_the_stream_has_told",
            async |_| order().await,
        )
        .test("a_deleted_policy_leaves_the_page", async |_| deleted().await)
        .test("a_fault_of_the_page_is_reported_and_ends_no_stream", async |_| {
            faulty().await
        })
}

async fn live(page: &Page) -> Result<()> {
    let is_live = "document.getElementById('link').dataset.state === 'Live'";
    page.until("the page to be live", is_live).await
}

/// So many more answers to requests whose URL ends so have come, and were taken.
async fn answered(page: &Page, end: &str, more: u64) -> Result<()> {
    let count = format!(
        "performance.getEntriesByType('resource').filter(({{ name }}) => name.endsWith({})).length",
        json!(end)
    );
    let before = page.value(&count).await?.as_u64().unwrap_or_default();
    page.until(end, &format!("{count} >= {}", before + more)).await?;
    // From the last byte to what is done with it.
    let pause = "new Promise((done) => setTimeout(() => done(true), 500))";
    page.value(pause).await.map(drop)
}

async fn order() -> Result<()> {
    let stub = Stub::start(10).await?;
    let (_browser, page) = signed_in(&stub).await?;
    live(&page).await?;
    page.shows("10 in all, 1 not ready").await?;
    // The lists of the stub know nothing of what the stream tells.
    let (mut changed, removed) = (made_up::item(0), made_up::item(1));
    changed["ready"] = json!({"status": "False", "reason": "NoReadTarget", "message": "told by the stream"});
    let removed = json!({"namespace": removed["namespace"], "name": removed["name"]});
    let change = json!({"items": [changed], "removed": [removed]});
    stub.shared.changes.send(event("change", &change))?;
    page.shows("9 in all, 2 not ready").await?;
    answered(&page, "/api/v1/policies?limit=500", 1).await?;
    let text = page.value("document.body.innerText").await?;
    let text = text.as_str().unwrap_or_default();
    ensure!(
        text.contains("9 in all, 2 not ready") && text.contains("told by the stream"),
        "{text}"
    );

    stub.shared.is_busy.store(true, Ordering::SeqCst);
    page.value("location.hash = '#/shop/orders'").await?;
    page.shows("Primary in Frankfurt").await?;
    live(&page).await?;
    // What they may do is asked for until there is an answer.
    page.shows("Add a replica").await?;
    ensure!(!stub.shared.is_busy.load(Ordering::SeqCst), "nobody has asked");
    let mut changed = made_up::policy("orders", Duration::ZERO);
    changed["answeredBy"] = json!("distributary-other");
    changed["endpoints"][2]["reason"] = json!("Lagging");
    changed["endpoints"][2]["connections"] = Value::Null;
    stub.shared.changes.send(event("change", &changed))?;
    page.until("the change", &format!("{}.includes('Lagging')", card(2)))
        .await?;
    answered(&page, "/api/v1/policies/shop/orders", 2).await?;
    let text = page.value(&card(2)).await?;
    let text = text.as_str().unwrap_or_default();
    // The figures are those of the answer.
    ensure!(text.contains("Lagging") && text.contains("52 of 200"), "{text}");

    // The declared primary is a replica once another one takes the writes; words of a later version are shown as they are.
    changed["writePrimary"] = json!("eu-west-1");
    changed["endpoints"][0]["role"] = json!("Standby");
    changed["endpoints"][1]["cannotTakeOver"] = json!("LaterObstacle");
    stub.shared.changes.send(event("change", &changed))?;
    let tile = "[...document.querySelectorAll('.tile')].find((tile) => tile.innerText.includes('Replicas that are well')).innerText";
    page.until("two of four", &format!("{tile}.includes('2/4')"))
        .await?;
    let text = page.value(&card(1)).await?;
    let obstacle = "May not take over the writes: Later obstacle.";
    ensure!(
        text.as_str().is_some_and(|text| text.contains(obstacle)),
        "{text}"
    );

    // An alert is said aloud once, however many answers come.
    changed["conditions"] = json!([{
        "type": "SplitBrainSuspected", "status": "True", "reason": "SeveralWritable", "message": "Two servers take writes.",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    stub.shared.changes.send(event("change", &changed))?;
    page.shows("Two servers take writes.").await?;
    page.value("(window.alert_ = document.querySelector('.notices [role=alert]')) !== null")
        .await?;
    answered(&page, "/api/v1/policies/shop/orders", 2).await?;
    let kept = page.value("window.alert_.isConnected").await?;
    ensure!(kept == true, "the alert is another one");
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

async fn faulty() -> Result<()> {
    let stub = Stub::start(10).await?;
    let (_browser, page) = signed_in(&stub).await?;
    live(&page).await?;
    page.shows("10 in all, 1 not ready").await?;
    let mut changed = made_up::item(0);
    changed["ready"] = json!({"status": "False", "reason": "NoReadTarget", "message": "told afterwards"});
    stub.shared
        .changes
        .send(event("change", &json!({"items": null, "removed": []})))?;
    stub.shared
        .changes
        .send(event("change", &json!({"items": [changed], "removed": []})))?;
    page.shows("told afterwards").await?;
    // Why it is not live for a while stands where that is said.
    let full =
        json!({"code": 429, "reason": "TooManyRequests", "message": "the token has 8 streams already"});
    stub.shared.changes.send(event("end", &full))?;
    page.shows("Connecting again: the token has 8 streams already")
        .await?;
    live(&page).await?;
    // The fault has ended none of them, and is told where faults are looked for.
    let opened = page.requests();
    let opened = opened
        .iter()
        .filter(|url| url.ends_with("/api/v1/events"))
        .count();
    ensure!(opened == 2, "{opened} streams");
    ensure!(page.errors().len() == 1, "{:?}", page.errors());
    Ok(())
}

async fn deleted() -> Result<()> {
    let stub = Stub::start(10).await?;
    let (_browser, page) = signed_in(&stub).await?;
    page.value("location.hash = '#/shop/orders'").await?;
    page.shows("Primary in Frankfurt").await?;
    live(&page).await?;
    stub.shared.is_gone.store(true, Ordering::SeqCst);
    stub.shared.changes.send(event("end", &not_found("orders")))?;
    page.shows("There is no such policy.").await?;
    page.until(
        "nothing of it to be shown",
        "!document.body.innerText.includes('Primary in Frankfurt')",
    )
    .await?;
    // One of the same name comes back.
    stub.shared.is_gone.store(false, Ordering::SeqCst);
    page.shows("Primary in Frankfurt").await?;
    page.until(
        "no notice",
        "!document.body.innerText.includes('There is no such policy.')",
    )
    .await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}
