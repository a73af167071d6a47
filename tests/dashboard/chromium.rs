//! A real Chromium, driven by the DevTools protocol over a pair of pipes.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use harness::{node, wait};
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

/// For one answer of the browser, on a machine that does much else.
const DEADLINE: Duration = Duration::from_secs(60);

/// The browser finds its pipes at the descriptors 3 and 4.
const START: &str = r#"exec chromium "$@" 3<&0 4>&1 </dev/null >/dev/null"#;

type Answers = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Value>>>>;

/// What pages told that nobody asked for: events of the protocol.
type Events = Arc<Mutex<Vec<Value>>>;

/// Ends with its owner.
pub struct Chromium {
    _process: Child,
    sender: AsyncMutex<ChildStdin>,
    answers: Answers,
    events: Events,
    next: AtomicU64,
}

impl Chromium {
    /// `host`: a name that leads to this address.
    pub fn start(host: &str, address: SocketAddr) -> Result<Arc<Self>> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let data: PathBuf = node::data_subdir(&format!("chromium-{number}"))?;
        let log = fs::File::create(data.join("log"))?;
        let mut process = Command::new("sh")
            .args([
                "-c",
                START,
                "sh",
                "--headless=new",
                "--no-sandbox",
                "--remote-debugging-pipe",
            ])
            .args([
                "--no-first-run",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            // Certificates are the matter of tests/cluster/api.
            .arg("--ignore-certificate-errors")
            .arg(format!("--host-resolver-rules=MAP {host} {}", address.ip()))
            .arg(format!("--user-data-dir={}", data.display()))
            .env("HOME", &data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start chromium")?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (answers, events) = (Answers::default(), Events::default());
        let output = stdout.context("the output of chromium")?;
        tokio::spawn(read(output, answers.clone(), events.clone()));
        Ok(Arc::new(Self {
            _process: process,
            sender: AsyncMutex::new(stdin.context("the input of chromium")?),
            answers,
            events,
            next: AtomicU64::new(1),
        }))
    }

    /// A new tab, in front, of this width and height.
    pub async fn page(self: &Arc<Self>) -> Result<Page> {
        let target = self
            .send(None, "Target.createTarget", json!({"url": "about:blank"}))
            .await?;
        let target = target["targetId"].as_str().context("no target")?.to_owned();
        let attached = json!({"targetId": target, "flatten": true});
        let attached = self.send(None, "Target.attachToTarget", attached).await?;
        let page = Page {
            browser: Arc::clone(self),
            session: attached["sessionId"].as_str().context("no session")?.to_owned(),
        };
        for domain in ["Page", "Runtime", "Log", "Network", "Performance"] {
            page.send(&format!("{domain}.enable"), json!({})).await?;
        }
        page.size(1280, 900).await?;
        Ok(page)
    }

    async fn send(&self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let (sender, receiver) = oneshot::channel();
        locked(&self.answers).insert(id, sender);
        let mut bytes = serde_json::to_vec(&message)?;
        bytes.push(0);
        self.sender
            .lock()
            .await
            .write_all(&bytes)
            .await
            .context("write to chromium")?;
        let mut answer = wait::within(method, DEADLINE, receiver).await?;
        if let Some(error) = answer.get("error") {
            bail!("{method}: {error}");
        }
        Ok(answer["result"].take())
    }
}

/// Messages end with a byte of 0. Whoever waits learns of the end of the browser by a channel that is closed.
async fn read(output: ChildStdout, answers: Answers, events: Events) {
    let mut output = BufReader::new(output);
    loop {
        let mut bytes = vec![];
        match output.read_until(0, &mut bytes).await {
            Ok(length) if length > 0 => {}
            _ => break locked(&answers).clear(),
        }
        bytes.pop();
        let Ok(message) = serde_json::from_slice::<Value>(&bytes) else {
            continue;
        };
        match message["id"].as_u64() {
            Some(id) => {
                let waiting = locked(&answers).remove(&id);
                waiting.map(|waiting| waiting.send(message));
            }
            None => locked(&events).push(message),
        }
    }
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A tab.
pub struct Page {
    browser: Arc<Chromium>,
    session: String,
}

impl Page {
    pub async fn send(&self, method: &str, parameters: Value) -> Result<Value> {
        self.browser.send(Some(&self.session), method, parameters).await
    }

    pub async fn size(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.send("Emulation.setDeviceMetricsOverride", size)
            .await
            .map(drop)
    }

    /// `scheme`: light or dark.
    pub async fn scheme(&self, scheme: &str) -> Result<()> {
        let features = json!({"features": [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]});
        self.send("Emulation.setEmulatedMedia", features).await.map(drop)
    }

    pub async fn open(&self, url: &str) -> Result<()> {
        let answer = self.send("Page.navigate", json!({"url": url})).await?;
        ensure!(answer.get("errorText").is_none(), "{url}: {answer}");
        self.until("the page to be loaded", "document.readyState === 'complete'")
            .await
    }

    /// The value of an expression, which may be a promise.
    pub async fn value(&self, expression: &str) -> Result<Value> {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.send("Runtime.evaluate", asked).await?;
        if let Some(wrong) = answer.get("exceptionDetails") {
            bail!("{expression}: {wrong}");
        }
        Ok(answer["result"]["value"].take())
    }

    /// Waits until an expression is true.
    pub async fn until(&self, what: &str, expression: &str) -> Result<()> {
        let asked = format!(
            "new Promise((done, fail) => {{
                const end = Date.now() + 45000;
                const look = () => {{
                    let found = false;
                    try {{ found = ({expression}); }} catch {{ /* not yet */ }}
                    if (found) done(true);
                    else if (Date.now() > end) fail(new Error(document.body?.innerText.slice(0, 4000)));
                    else setTimeout(look, 20);
                }};
                look();
            }})"
        );
        self.value(&asked)
            .await
            .with_context(|| format!("wait for {what}"))
            .map(drop)
    }

    /// Waits until the page shows a text.
    pub async fn shows(&self, text: &str) -> Result<()> {
        let expression = format!("document.body.innerText.includes({})", json!(text));
        self.until(text, &expression).await
    }

    pub async fn click(&self, selector: &str) -> Result<()> {
        let selector = json!(selector);
        self.until(
            &format!("{selector} to be there"),
            &format!("document.querySelector({selector})?.checkVisibility()"),
        )
        .await?;
        self.value(&format!("document.querySelector({selector}).click()"))
            .await
            .map(drop)
    }

    /// Types into a field, as a keyboard does.
    pub async fn write(&self, selector: &str, text: &str) -> Result<()> {
        let selector = json!(selector);
        self.until(
            &format!("{selector} to be there"),
            &format!("document.querySelector({selector})?.checkVisibility()"),
        )
        .await?;
        self.value(&format!("document.querySelector({selector}).focus()"))
            .await?;
        self.send("Input.insertText", json!({"text": text}))
            .await
            .map(drop)
    }

    pub async fn press(&self, key: &str) -> Result<()> {
        let code = match key {
            "Enter" => 13,
            "Tab" => 9,
            "Escape" => 27,
            _ => 0,
        };
        let text = match key {
            "Enter" => "\r",
            "Tab" | "Escape" => "",
            key => key,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = json!(text);
            }
            self.send("Input.dispatchKeyEvent", event).await?;
        }
        Ok(())
    }

    pub async fn to_front(&self) -> Result<()> {
        self.send("Page.bringToFront", json!({})).await.map(drop)
    }

    /// The whole page as PNG.
    pub async fn picture(&self) -> Result<Vec<u8>> {
        let height = self.value("document.documentElement.scrollHeight").await?;
        let width = self.value("document.documentElement.clientWidth").await?;
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        self.captured(json!({"format": "png", "captureBeyondViewport": true, "clip": clip}))
            .await
    }

    /// What a window shows of it, as PNG.
    pub async fn top(&self) -> Result<Vec<u8>> {
        self.captured(json!({"format": "png"})).await
    }

    async fn captured(&self, asked: Value) -> Result<Vec<u8>> {
        let mut answer = self.send("Page.captureScreenshot", asked).await?;
        let bytes: ByteString = serde_json::from_value(answer["data"].take())?;
        Ok(bytes.0)
    }

    /// What the page logged as an error, and exceptions that nobody caught. Refusals of the API are logged by the browser itself.
    pub fn errors(&self) -> Vec<String> {
        let mine = self.events();
        let errors = mine.iter().filter_map(|event| match event["method"].as_str()? {
            "Runtime.exceptionThrown" => Some(event["params"].to_string()),
            "Log.entryAdded" if event["params"]["entry"]["level"] == "error" => {
                let entry = &event["params"]["entry"];
                (entry["source"] != "network").then(|| entry.to_string())
            }
            _ => None,
        });
        errors.collect()
    }

    /// The URLs of all requests.
    pub fn requests(&self) -> Vec<String> {
        let mine = self.events();
        let sent = mine
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.filter_map(|event| event["params"]["request"]["url"].as_str().map(ToOwned::to_owned))
            .collect()
    }

    fn events(&self) -> Vec<Value> {
        let all = locked(&self.browser.events);
        all.iter()
            .filter(|event| event["sessionId"] == self.session.as_str())
            .cloned()
            .collect()
    }
}
