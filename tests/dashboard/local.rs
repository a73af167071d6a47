//! `kubectl distributary dashboard`: the page on one machine, with the rights of a kubeconfig.

use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use distributary_api::ReplicaSetPolicy;
use harness::suite::Suite;
use harness::wait::Stopwatch;
use harness::{ControlPlane, wait};
use kube::api::DeleteParams;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::chromium::{Chromium, Page};
use crate::fixture::{SOON, addresses};
use crate::live::card;
use crate::plugin::{Caller, Scene};

/// From the EndpointSlice to the page.
const SHOWN: Duration = Duration::from_secs(1);
/// A name of somebody else that leads to this machine.
const REBOUND: &str = "rebound.example";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("the_local_page_shows_and_changes_what_an_editor_may", editor)
        .test("the_local_page_of_a_viewer_has_the_status_alone", viewer)
        .test("the_local_port_is_for_its_own_page_alone", guarded)
}

/// The command while it runs.
struct Served {
    process: Child,
    address: SocketAddr,
    url: String,
    secret: String,
    browser: Arc<Chromium>,
}

impl Served {
    async fn start(scene: &Scene, caller: Caller) -> Result<Self> {
        Self::start_with(scene, caller, &[]).await
    }

    /// With more arguments.
    async fn start_with(scene: &Scene, caller: Caller, more: &[&str]) -> Result<Self> {
        let arguments = ["dashboard", "--operator-namespace", &scene.it.namespace];
        let arguments = [&arguments[..], more].concat();
        let mut command = scene.command(caller, &arguments).await?;
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process = command.spawn()?;
        let out = process.stdout.take().context("its output")?;
        let mut lines = BufReader::new(out).lines();
        let url = wait::within("the URL", SOON, lines.next_line()).await?;
        let url = url.context("the command ended")?;
        let (start, rest) = url.split_once("/#secret=").context("a secret")?;
        let secret = rest.split('&').next().unwrap_or_default().to_owned();
        ensure!(secret.len() == 64, "{url}");
        let address: SocketAddr = start.trim_start_matches("http://").parse()?;
        ensure!(address.ip().to_string() == "127.0.0.1", "{url}");
        let browser = Chromium::start(REBOUND, address)?;
        Ok(Self {
            process,
            address,
            url,
            secret,
            browser,
        })
    }

    /// A page that was opened by the printed URL, and looks at the policy.
    async fn page(&self, scene: &Scene) -> Result<Page> {
        let page = self.browser.page().await?;
        page.open(&self.url).await?;
        page.until("the secret to have left the address", "location.hash === '#/'")
            .await?;
        page.value(&format!("location.hash = '#/{}/orders'", &*scene.it.namespace))
            .await?;
        page.until(
            "the servers",
            "document.querySelectorAll('.server-card').length > 1",
        )
        .await?;
        Ok(page)
    }

    /// The status code of a request with these header lines.
    async fn code(&self, method: &str, path: &str, headers: &[String]) -> Result<String> {
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
            let request = format!("{method} {path} HTTP/1.0\r\n{lines}Content-Length: 0\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = vec![];
            stream.read_to_end(&mut answer).await?;
            let answer = String::from_utf8(answer)?;
            anyhow::Ok(answer.split(' ').nth(1).context("a code")?.to_owned())
        };
        wait::within(path, SOON, exchange).await
    }
}

async fn editor(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 2).await?;
    let mut served = Served::start(&scene, Caller::Editor).await?;
    let page = served.page(&scene).await?;
    page.until(
        "the page to be live",
        "document.getElementById('link').dataset.state === 'Live'",
    )
    .await?;
    page.until(
        "figures of the operator",
        &format!("/Response\\s+\\d/.test({})", card(1)),
    )
    .await?;

    let routes = scene.it.follow("ro").await?;
    let watch = Stopwatch::start();
    scene.it.postgres.replica(0).kill_postmaster()?;
    let left = addresses(&[scene.it.postgres.replica(1)]);
    let seen = async {
        page.until(
            "replica-1 not to serve",
            &format!("!{}.includes('Serving')", card(1)),
        )
        .await?;
        anyhow::Ok(watch.elapsed())
    };
    let (slice, shown) = tokio::try_join!(routes.leads_to(&left, SOON), seen)?;
    let after = shown.saturating_sub(watch.until(slice));
    println!("on the local page a killed replica shows {after:.0?} after its slice");
    ensure!(after <= SHOWN, "it shows {after:?} after the slice");

    let disable = "[...document.querySelectorAll('.server-card')[1].querySelectorAll('button')].find((button) => button.textContent === 'Disable' && button.checkVisibility())";
    page.until("what an editor may do", disable).await?;
    page.value(&format!("{disable}.click()")).await?;
    page.click("dialog button[type=submit]").await?;
    page.shows("replica-1 was disabled.").await?;
    scene
        .it
        .until("replica-1 to be disabled", SOON, |policy| {
            policy.spec.replicas[0]
                .state
                .is_some_and(|state| state.word() == "Disabled")
        })
        .await?;
    page.shows("Disabled").await?;

    // All policies of the namespace; those of all namespaces they may not list, and are told where to look.
    page.value("location.hash = '#/'").await?;
    page.shows("You may not list these policies.").await?;
    page.write("#where", &scene.it.namespace).await?;
    page.press("Enter").await?;
    page.shows("1 in all").await?;

    // What nobody answers for any more does not look as if it were of now.
    served.process.kill().await?;
    page.until(
        "the end of the command to be told",
        "document.getElementById('link').dataset.state === 'Waiting'",
    )
    .await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

async fn viewer(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let served = Served::start(&scene, Caller::Viewer).await?;
    let page = served.page(&scene).await?;
    page.shows("No live figures.").await?;
    page.shows("You may look, and change nothing").await?;
    page.until("why", &format!("{}.includes('The server is well')", card(1)))
        .await?;
    // The watch of the policy tells what the operator writes.
    scene.it.postgres.replica(0).kill().await?;
    page.until(
        "replica-1 not to serve",
        &format!("!{}.includes('Serving')", card(1)),
    )
    .await?;
    page.value(&format!("location.hash = '#/{}'", &*scene.it.namespace))
        .await?;
    page.shows("1 in all").await?;
    page.shows("No live figures.").await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());

    // Who names a namespace sees it at once, also where they may not list all.
    let namespace = &*scene.it.namespace;
    let served = Served::start_with(&scene, Caller::Viewer, &["-n", namespace]).await?;
    let page = served.browser.page().await?;
    page.open(&served.url).await?;
    page.shows("1 in all").await?;
    let hash = page.value("location.hash").await?;
    ensure!(hash == format!("#/{namespace}"), "{hash}");
    // The watch of the policies tells what becomes of them.
    page.until(
        "the list to be live",
        "document.getElementById('link').dataset.state === 'Live'",
    )
    .await?;
    let policies = scene.it.api::<ReplicaSetPolicy>();
    policies.delete("orders", &DeleteParams::default()).await?;
    page.shows("The operator serves no policy here.").await?;
    ensure!(page.errors().is_empty(), "{:?}", page.errors());
    Ok(())
}

async fn guarded(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let served = Served::start(&scene, Caller::Editor).await?;
    let page = served.page(&scene).await?;
    let kept = page
        .value("JSON.stringify([location.href, document.cookie, {...localStorage}, {...sessionStorage}, document.documentElement.outerHTML])")
        .await?;
    ensure!(!kept.to_string().contains(&served.secret), "{kept}");
    let list = format!("/api/v1/policies?namespace={}", &*scene.it.namespace);
    let change = format!("/api/db/replicas?policy={}/orders", &*scene.it.namespace);
    let own = format!("Host: {}", served.address);
    let rebound = format!("Host: {REBOUND}:{}", served.address.port());
    let secret = format!("Authorization: Bearer {}", &served.secret);
    let (foreign, none) = (
        "Origin: http://evil.example".to_owned(),
        "Origin: null".to_owned(),
    );
    let cases: [(&str, &str, &str, Vec<&String>); 7] = [
        ("200", "GET", &list, vec![&own, &secret]),
        ("401", "GET", &list, vec![&own]),
        ("403", "GET", &list, vec![&rebound, &secret]),
        ("403", "GET", "/", vec![&rebound]),
        ("403", "POST", &change, vec![&own, &secret, &foreign]),
        ("403", "POST", &change, vec![&own, &secret, &none]),
        ("401", "POST", &change, vec![&own]),
    ];
    for (code, method, path, headers) in cases {
        let headers: Vec<_> = headers.into_iter().cloned().collect();
        let found = served.code(method, path, &headers).await?;
        ensure!(
            found == code,
            "{method} {path} {headers:?} is {found} and not {code}"
        );
    }

    // In a browser: another name that leads here has no page, and its scripts reach nothing.
    let before = scene.it.get().await?.metadata;
    let other = served.browser.page().await?;
    other
        .open(&format!("http://{REBOUND}:{}/", served.address.port()))
        .await?;
    other
        .shows("the header Host must be the address that the command printed")
        .await?;
    let body = json!({"action": "force_health_check"}).to_string();
    for target in [change.clone(), format!("http://{}{change}", served.address)] {
        for mode in ["cors", "no-cors"] {
            let post = format!(
                "fetch('{target}', {{method: 'POST', mode: '{mode}', body: '{body}'}}).then((answer) => answer.ok, () => false)"
            );
            ensure!(other.value(&post).await? == false, "{target} {mode}");
        }
    }
    let after = scene.it.get().await?.metadata;
    ensure!(
        (after.generation, &after.annotations) == (before.generation, &before.annotations),
        "another page changed the policy"
    );
    Ok(())
}
