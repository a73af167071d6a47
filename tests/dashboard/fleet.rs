//! Many policies, over made-up answers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::suite::Suite;
use harness::{ControlPlane, wait};
use serde_json::{Value, json};

use crate::chromium::{Chromium, Page};
use crate::made_up;
use crate::stub::{Stub, TOKEN, event};

const POLICIES: usize = 1000;
/// Of the processor, for one update of the page.
const UPDATE: f64 = 50.0;
const UPDATES: u32 = 60;
const SOON: Duration = Duration::from_secs(60);

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test(
            "a_thousand_policies_are_paged_and_filtered_the_worst_first",
            async |_| paged().await,
        )
        .test(
            "an_update_of_a_thousand_policies_takes_50_ms_at_most",
            async |_| updates().await,
        )
        .test("a_hidden_tab_closes_its_streams", async |_| hidden().await)
}

/// Signed in at a stub.
pub async fn signed_in(stub: &Stub) -> Result<(Arc<Chromium>, Page)> {
    let browser = Chromium::start("unused.example", stub.address)?;
    let page = browser.page().await?;
    page.open(&stub.url()).await?;
    page.write("#token", TOKEN).await?;
    page.press("Enter").await?;
    Ok((browser, page))
}

async fn rows(page: &Page) -> Result<Vec<Value>> {
    let rows = "[...document.querySelectorAll('.fleet tbody tr')].map((row) => [row.dataset.state, row.querySelector('.policy').textContent])";
    let rows = page.value(rows).await?;
    Ok(rows.as_array().cloned().unwrap_or_default())
}

async fn paged() -> Result<()> {
    let stub = Stub::start(POLICIES).await?;
    let (_browser, page) = signed_in(&stub).await?;
    page.shows("1,000 in all, 30 not ready, 50 degraded").await?;
    page.shows("1 to 50 of 1,000").await?;
    let first = rows(&page).await?;
    ensure!(first.len() == 50, "{first:?}");
    ensure!(first[..30].iter().all(|row| row[0] == "bad"), "{first:?}");
    ensure!(first[30..].iter().all(|row| row[0] == "warn"), "{first:?}");
    page.click(".pager button:last-child").await?;
    page.shows("51 to 100 of 1,000").await?;
    ensure!(rows(&page).await?[0][0] == "warn");

    // The keyboard alone: "/" leads to the filter.
    page.press("/").await?;
    page.until(
        "the filter to have the focus",
        "document.activeElement.id === 'filter'",
    )
    .await?;
    page.write("#filter", "ledger-0").await?;
    page.until("only those", "[...document.querySelectorAll('.fleet .policy')].every((link) => link.textContent.includes('ledger-0'))").await?;
    let found = rows(&page).await?;
    ensure!(found.len() == 12, "{found:?}");
    page.value("document.getElementById('filter').value = ''; document.getElementById('filter').dispatchEvent(new Event('input'))").await?;

    // By region: each has its number, and filters.
    let regions = page
        .value("[...document.querySelectorAll('[aria-label=Region] .chip')].map((chip) => chip.textContent)")
        .await?;
    ensure!(regions.as_array().is_some_and(|all| all.len() == 4), "{regions}");
    page.click("[aria-label=Region] .chip:first-child").await?;
    page.until(
        "those of one region",
        "document.querySelector('[aria-label=Region] .chip').getAttribute('aria-pressed') === 'true'",
    )
    .await?;
    page.until(
        "fewer",
        "/of (4|5)\\d\\d$/.test(document.querySelector('.pager span').textContent)",
    )
    .await?;
    // Whoever comes back from a policy finds what they looked for.
    let shown = page
        .value("document.querySelector('.pager span').textContent")
        .await?;
    page.click(".fleet tbody a").await?;
    page.shows("Primary in Frankfurt").await?;
    page.value("history.back()").await?;
    page.until(
        "the same place",
        &format!("document.querySelector('.pager span')?.textContent === {shown}"),
    )
    .await?;
    page.write("#filter", "ledger-0").await?;
    page.until(
        "only those",
        "[...document.querySelectorAll('.fleet .policy')].every((link) => link.textContent.includes('ledger-0'))",
    )
    .await?;
    page.click(".fleet tbody a").await?;
    page.shows("Primary in Frankfurt").await?;
    page.value("history.back()").await?;
    page.until(
        "the filter",
        "document.getElementById('filter')?.value === 'ledger-0' && document.querySelector('.fleet tbody a')?.textContent.includes('ledger-0')",
    )
    .await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

/// The time of the main thread, in milliseconds, whatever else the machine does.
async fn busy(page: &Page) -> Result<f64> {
    let metrics = page.send("Performance.getMetrics", json!({})).await?;
    let metrics = metrics["metrics"].as_array().cloned().unwrap_or_default();
    let task = metrics.iter().find(|metric| metric["name"] == "TaskDuration");
    Ok(task
        .and_then(|metric| metric["value"].as_f64())
        .unwrap_or_default()
        * 1e3)
}

async fn updates() -> Result<()> {
    let stub = Stub::start(POLICIES).await?;
    let (_browser, page) = signed_in(&stub).await?;
    page.send("Performance.disable", json!({})).await?;
    page.send("Performance.enable", json!({"timeDomain": "threadTicks"}))
        .await?;
    page.shows("1,000 in all").await?;
    page.value("performance.clearMeasures(); window.frames_ = []; new PerformanceObserver((list) => window.frames_.push(...list.getEntries().map((entry) => entry.duration))).observe({type: 'long-animation-frame'})").await?;
    let before = busy(&page).await?;
    for round in 0..UPDATES {
        // Another one of a hundred turns bad each time, so that rows come, go and move.
        let mut changed: Vec<_> = (0..POLICIES).map(made_up::item).collect();
        let turn = round as usize;
        for item in changed.iter_mut().skip(turn).step_by(97) {
            item["ready"] =
                json!({"status": "False", "reason": "NoReadTarget", "message": format!("round {round}")});
        }
        let change = json!({"items": changed, "removed": []});
        let _ = stub.shared.changes.send(event("change", &change));
        page.until(
            "the update",
            &format!("document.querySelector('.fleet').innerText.includes('round {round}')"),
        )
        .await?;
    }
    let each = (busy(&page).await? - before) / f64::from(UPDATES);
    let measured = page
        .value("performance.getEntriesByName('fleet update').map((entry) => entry.duration)")
        .await?;
    let mut measured: Vec<f64> = serde_json::from_value(measured)?;
    measured.sort_by(f64::total_cmp);
    let frames = page.value("window.frames_").await?;
    let median = measured[measured.len() / 2];
    println!(
        "an update of {POLICIES} policies: {each:.1} ms of the main thread; the script {median:.1} ms (median), {:.1} ms (worst); frames over 50 ms: {frames}",
        measured.last().copied().unwrap_or_default()
    );
    ensure!(measured.len() >= UPDATES as usize, "{}", measured.len());
    ensure!(each <= UPDATE, "{each:.1} ms of the main thread for an update");
    ensure!(median <= UPDATE, "{median:.1} ms");
    Ok(())
}

async fn hidden() -> Result<()> {
    let stub = Stub::start(10).await?;
    let (browser, page) = signed_in(&stub).await?;
    page.shows("10 in all").await?;
    let streams = async |wanted: usize| {
        let what = format!("{wanted} streams");
        wait::eventually(&what, SOON, async || {
            ensure!(stub.streams() == wanted, "{} are open", stub.streams());
            anyhow::Ok(())
        })
        .await
    };
    streams(1).await?;
    page.value("location.hash = '#/shop/orders'").await?;
    page.shows("Primary in Frankfurt").await?;
    // The one of the fleet was closed.
    streams(1).await?;
    let other = browser.page().await?;
    other.to_front().await?;
    page.until("the tab to be hidden", "document.hidden").await?;
    streams(0).await?;
    let requests = page.requests().len();
    wait::pass(
        Duration::from_secs(5),
        "that a hidden tab asks nothing is only seen by its absence",
    )
    .await;
    ensure!(page.requests().len() == requests, "a hidden tab asks");
    page.to_front().await?;
    streams(1).await?;
    page.until(
        "the page to be live",
        "document.getElementById('link').dataset.state === 'Live'",
    )
    .await
}
