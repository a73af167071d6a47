//! A real operator and real servers.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use harness::wait::Stopwatch;
use serde_json::{Value, json};

use crate::api::scene::{HOST, Scene};
use crate::chromium::{Chromium, Page};
use crate::fixture::{Fixture, SOON, addresses};

/// From the EndpointSlice to the page.
const SHOWN: Duration = Duration::from_secs(1);
const MARKUP: &str = "<img src=x onerror=alert(1)>";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("a_killed_replica_shows_within_a_second_of_its_slice", killed)
        .test("a_promotion_and_a_split_brain_show", promotion)
        .test("whoever_may_changes_and_whoever_may_not_is_told", changes)
        .test("a_token_is_in_memory_alone_and_no_other_origin_gets_in", guarded)
}

struct Shown {
    scene: Scene,
    browser: Arc<Chromium>,
}

impl Shown {
    async fn start(plane: Arc<ControlPlane>, replicas: usize) -> Result<Self> {
        let it = Fixture::start(plane, replicas).await?;
        let scene = Scene::over(it, false, &[]).await?;
        let browser = Chromium::start(HOST, scene.client.address)?;
        Ok(Self { scene, browser })
    }

    fn url(&self) -> String {
        format!("https://{HOST}:{}/", self.scene.client.address.port())
    }

    /// A page that looks at the policy with this token, which was typed.
    async fn page(&self, token: &str) -> Result<Page> {
        let page = self.browser.page().await?;
        page.open(&format!("{}#/{}/orders", self.url(), self.scene.it.namespace))
            .await?;
        page.write("#token", token).await?;
        page.press("Enter").await?;
        page.until(
            "the servers",
            "document.querySelectorAll('.server-card').length > 1",
        )
        .await?;
        page.until(
            "the page to be live",
            "document.getElementById('link').dataset.state === 'Live'",
        )
        .await?;
        Ok(page)
    }
}

/// The text of the card of a server.
pub fn card(number: usize) -> String {
    format!("document.querySelectorAll('.server-card')[{number}].innerText")
}

async fn killed(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Shown::start(plane, 2).await?;
    let page = it.page(&it.scene.reader).await?;
    page.until("figures", &format!("/\\d (ms|s)/.test({})", card(1)))
        .await?;
    let scene = &it.scene.it;
    let routes = scene.follow("ro").await?;
    let watch = Stopwatch::start();
    scene.postgres.replica(0).kill_postmaster()?;
    let left = addresses(&[scene.postgres.replica(1)]);
    let seen = async {
        let gone =
            "document.querySelector('svg').getAttribute('aria-label').includes('ro leads to replica-2')";
        page.until("the route without replica-1", gone).await?;
        page.until(
            "replica-1 not to serve",
            &format!("!{}.includes('Serving')", card(1)),
        )
        .await?;
        anyhow::Ok(watch.elapsed())
    };
    let (slice, shown) = tokio::try_join!(routes.leads_to(&left, SOON), seen)?;
    let after = shown.saturating_sub(watch.until(slice));
    println!("a killed replica shows {after:.0?} after its slice");
    ensure!(after <= SHOWN, "it shows {after:?} after the slice");
    page.shows("replica-1: Serving →").await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

async fn promotion(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Shown::start(plane, 2).await?;
    let page = it.page(&it.scene.reader).await?;
    let scene = &it.scene.it;
    page.until(
        "who may follow",
        &format!(
            "{}.includes('May take over the writes, once it is promoted')",
            card(1)
        ),
    )
    .await?;
    scene.postgres.replica(0).promote().await?;
    page.shows("Split brain suspected: Several writable.").await?;
    page.until("why it may not", &format!("{}.includes('May not take over the writes: it was promoted while the write primary took writes')", card(1))).await?;
    page.until(
        "a badge",
        "document.querySelector('.badge').dataset.state === 'bad'",
    )
    .await?;
    scene
        .patch(json!({"spec": {"failover": {"acceptPrimary": "replica-1"}}}))
        .await?;
    page.until(
        "the new primary",
        &format!("{}.includes('takes the writes')", card(1)),
    )
    .await?;
    page.shows("Writes moved: rw from primary to replica-1").await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

async fn changes(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Shown::start(plane, 1).await?;
    let scene = &it.scene.it;
    scene
        .patch(json!({"spec": {"replicas": [{
            "id": "replica-1", "host": scene.postgres.replica(0).address(), "displayName": MARKUP,
        }]}}))
        .await?;
    let buttons = "[...document.querySelectorAll('main button')].filter((button) => button.checkVisibility()).map((button) => button.textContent)";

    let reader = it.page(&it.scene.reader).await?;
    reader.shows("You may look, and change nothing").await?;
    reader.shows(MARKUP).await?;
    ensure!(
        reader.value("document.images.length === 1").await? == true,
        "markup became an element"
    );
    let shown = reader.value(buttons).await?;
    for act in [
        "Check now",
        "Weight",
        "Drain",
        "Disable",
        "Remove",
        "Add a replica",
    ] {
        ensure!(!shown.to_string().contains(act), "a reader sees {act}: {shown}");
    }

    let editor = it.page(&it.scene.editor).await?;
    let weight = "[...document.querySelectorAll('button')].find((button) => button.textContent === 'Weight' && button.checkVisibility())";
    editor.until("what they may do", weight).await?;
    editor.value(&format!("{weight}.focus()")).await?;
    editor.press("Enter").await?;
    editor
        .until("the dialog", "document.querySelector('dialog').open")
        .await?;
    editor
        .value("document.getElementById('weight').value = ''")
        .await?;
    editor.write("#weight", "7").await?;
    editor.press("Enter").await?;
    editor.shows("The weight of replica-1 was changed.").await?;
    scene
        .until("the weight", SOON, |policy| {
            policy.spec.replicas[0].weight == Some(7)
        })
        .await?;
    editor
        .until("the new weight", &format!("/Weight\\s+7/.test({})", card(1)))
        .await?;
    // The other page hears of it as well, once somebody looks at it.
    reader.to_front().await?;
    reader
        .until("the new weight", &format!("/Weight\\s+7/.test({})", card(1)))
        .await?;
    editor.to_front().await?;
    let drain = "[...document.querySelectorAll('.server-card button')].find((button) => button.textContent === 'Drain' && button.checkVisibility())";
    editor.value(&format!("{drain}.click()")).await?;
    editor.click("dialog button[type=submit]").await?;
    editor.shows("replica-1 was told to drain.").await?;
    scene
        .until("the replica to drain", SOON, |policy| {
            policy.spec.replicas[0]
                .state
                .is_some_and(|state| state.word() == "Draining")
        })
        .await?;
    editor
        .until("to be asked whether it is enabled again", &format!("!({drain})"))
        .await?;
    // It need not serve again to be disabled.
    let offered = editor.value(buttons).await?.to_string();
    ensure!(
        offered.contains("Disable") && offered.contains("Enable"),
        "{offered}"
    );
    let page = [&reader, &editor];
    ensure!(
        page.iter().all(|page| page.errors().is_empty()),
        "{:?} {:?}",
        reader.errors(),
        editor.errors()
    );
    Ok(())
}

async fn guarded(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Shown::start(plane, 1).await?;
    let page = it.page(&it.scene.editor).await?;
    let token = &it.scene.editor;
    kept_nowhere(&page, token).await?;
    let own = it.url();
    let foreign: Vec<_> = page
        .requests()
        .into_iter()
        .filter(|url| !url.starts_with(&own))
        .collect();
    ensure!(foreign.is_empty(), "requests to others: {foreign:?}");
    // The page itself reaches nobody else, and makes no markup of text.
    let elsewhere = format!("http://{}/", it.scene.it.operator.http_address());
    let address = it.scene.client.address;
    let refused = format!(
        "fetch('https://{address}/openapi.json', {{mode: 'no-cors'}}).then(() => 'reached', () => 'refused')"
    );
    ensure!(page.value(&refused).await? == "refused");
    let markup = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch { return 'refused'; } })()";
    ensure!(page.value(markup).await? == "refused");
    page.open(&own).await?;
    page.until(
        "to be asked for the token again",
        "document.getElementById('token')",
    )
    .await?;

    // Another origin, which even has the token: the browser asks first, and is not told yes.
    let other = it.browser.page().await?;
    other.open(&format!("{elsewhere}livez")).await?;
    let api = format!("{own}api/db/replicas?policy={}/orders", it.scene.it.namespace);
    let generation = it.scene.it.get().await?.metadata.generation;
    let before = it.scene.it.get().await?.metadata.annotations;
    let body = json!({"action": "force_health_check"}).to_string();
    for headers in [
        format!("{{Authorization: 'Bearer {token}'}}"),
        "{}".to_owned(),
        "{'Content-Type': 'text/plain'}".to_owned(),
    ] {
        let post = format!(
            "fetch('{api}', {{method: 'POST', headers: {headers}, body: '{body}'}}).then((answer) => answer.status, () => 'refused')"
        );
        ensure!(other.value(&post).await? == "refused", "{headers}");
    }
    let framed = format!(
        "new Promise((done) => {{ const frame = document.createElement('iframe'); frame.src = '{own}'; frame.onload = () => {{ let text; try {{ text = String(frame.contentDocument?.body?.innerText); }} catch {{ text = 'closed'; }} done(text); }}; document.body.append(frame); }})"
    );
    let framed = other.value(&framed).await?;
    ensure!(!framed.to_string().contains("Sign in"), "{framed}");
    let after = it.scene.it.get().await?.metadata;
    ensure!(
        (after.generation, after.annotations) == (generation, before),
        "another origin changed the policy"
    );
    Ok(())
}

/// Neither URL nor cookie nor storage has the token.
async fn kept_nowhere(page: &Page, token: &str) -> Result<()> {
    let kept = page
        .value("Promise.all([caches.keys(), indexedDB.databases()]).then(([caches, databases]) => JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}, caches, databases, history.state]))")
        .await?;
    let kept = kept.as_str().context("a text")?;
    ensure!(!kept.contains(token), "{kept}");
    ensure!(kept.ends_with(r#","",{},{},[],[],null]"#), "{kept}");
    let cookies = page.send("Network.getCookies", json!({})).await?;
    ensure!(cookies["cookies"] == Value::Array(vec![]), "{cookies}");
    let written = page.requests().into_iter().find(|url| url.contains(token));
    ensure!(written.is_none(), "{written:?}");
    let field = page.value("document.documentElement.outerHTML").await?;
    ensure!(!field.to_string().contains(token), "the document has the token");
    Ok(())
}
