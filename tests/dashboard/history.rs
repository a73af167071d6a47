//! What the page keeps of the past; over made-up answers.

use anyhow::{Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use serde_json::json;

use crate::fleet::signed_in;
use crate::stub::Stub;

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_plot_has_a_gap_where_nobody_looked", async |_| gap().await)
        .test(
            "the_timeline_begins_with_the_newest_change_of_each_server",
            async |_| begins().await,
        )
}

async fn gap() -> Result<()> {
    let stub = Stub::start(1).await?;
    let (_browser, page) = signed_in(&stub).await?;
    let taken = page
        .value(
            "import('/dashboard/series.js').then(({ Series }) => {
                const series = new Series([(server) => server.lag], 6);
                const take = (at, lag) => series.take(at, [{ id: 'a', lag }]);
                take(100, 1); take(100.2, 2); take(102, 3);
                // Hidden for a minute.
                take(162, 4); take(164, 5);
                series.take(166, [{ id: 'b', lag: 9 }]); series.take(168, [{ id: 'b', lag: 9 }]);
                return [series.times, series.of('a')[0], series.of('b')[0]];
            })",
        )
        .await?;
    // A seventh point has come, and the oldest one left.
    let expected = json!([
        [102, 102.5, 162, 164, 166, 168],
        [3, null, 4, 5, null, null],
        [null, null, null, null, 9, 9],
    ]);
    ensure!(taken == expected, "{taken} is not {expected}");
    Ok(())
}

async fn begins() -> Result<()> {
    let stub = Stub::start(1).await?;
    let (_browser, page) = signed_in(&stub).await?;
    page.value("location.hash = '#/shop/orders'").await?;
    page.shows("Primary in Frankfurt").await?;
    page.until(
        "since when a server is down",
        "document.querySelector('.timeline').innerText.includes('us-east-1: Circuit open')",
    )
    .await?;
    // Here in the zone of the browser, and as logs have it.
    page.until(
        "the zone",
        "/ at \\d\\d:\\d\\d:\\d\\d [A-Z]{3,4}([+-]\\d+(:\\d+)?)?\\.$/.test(document.getElementById('told').textContent)",
    )
    .await?;
    page.until(
        "times of logs",
        "[...document.querySelectorAll('.timeline time, .conditions time')].every((time) => /Z$/.test(time.title) && time.title === time.dateTime)",
    )
    .await?;
    // Each once, though many answers have come.
    let times = "document.querySelector('.timeline').innerText.split('us-east-1: Circuit open').length - 1";
    let times = page.value(times).await?;
    ensure!(times == 1, "{times} times");
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}
