//! Clients of the API: those that follow events, those that ask, those that read nothing, and those that stop in the midst of
//! a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use harness::api::ApiClient;
use harness::wait;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::scene::Scene;

/// Streams that a token may have.
const OF_A_TOKEN: usize = 8;
/// Those that ask, each at its time.
const ASKERS: usize = 20;
/// An asker that is late by more sends no more than it can.
const LATE: Duration = Duration::from_secs(1);

/// How many clients there are.
pub struct Size {
    pub streams: usize,
    /// Per second.
    pub requests: u32,
    pub unread: usize,
    pub halves: usize,
}

impl Size {
    pub fn tokens(&self) -> usize {
        (self.streams + self.unread).div_ceil(OF_A_TOKEN).max(1)
    }

    pub fn json(&self) -> Value {
        json!({
            "streams": self.streams, "requestsPerSecond": self.requests, "unread": self.unread, "halves": self.halves,
        })
    }
}

#[derive(Default)]
struct Counts {
    good: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    slowest_us: AtomicU64,
    snapshots: AtomicU64,
    changes: AtomicU64,
}

/// What the clients were answered.
pub struct Answers {
    pub good: u64,
    /// By the limits of the API.
    pub refused: u64,
    pub failed: u64,
    pub slowest: Duration,
    pub snapshots: u64,
    pub changes: u64,
}

impl Answers {
    pub fn json(&self) -> Value {
        json!({
            "good": self.good, "refused": self.refused, "failed": self.failed,
            "slowestMs": benches::figures::milliseconds(self.slowest), "snapshots": self.snapshots, "changes": self.changes,
        })
    }
}

/// The clients, until it ends.
pub struct Load {
    counts: Arc<Counts>,
    /// Dropped with it, all end.
    _tasks: JoinSet<()>,
}

impl Load {
    /// Returns when every stream that is read has its snapshot.
    pub async fn start(scene: &Scene, size: &Size) -> Result<Self> {
        let counts = Arc::<Counts>::default();
        let mut tasks = JoinSet::new();
        let tokens = scene.tokens.iter().flat_map(|token| [token; OF_A_TOKEN]);
        for (number, token) in tokens.take(size.streams + size.unread).enumerate() {
            let client = Client::new(scene, token);
            // One of two follows all policies.
            let path = if number % 2 == 0 {
                format!("/api/v1/policies/{}/policy-0/events", &*scene.namespace)
            } else {
                format!("/api/v1/events?namespace={}", &*scene.namespace)
            };
            if number < size.streams {
                tasks.spawn(client.follow(path, Arc::clone(&counts)));
            } else {
                tasks.spawn(client.read_nothing(path));
            }
        }
        let streams = u64::try_from(size.streams)?;
        wait::eventually("all streams to begin", Duration::from_mins(1), || async {
            let begun = counts.snapshots.load(Relaxed);
            ensure!(begun >= streams, "{begun} have begun");
            anyhow::Ok(())
        })
        .await?;
        for number in 0..size.halves {
            let halves = [Half::Handshake, Half::Head, Half::Body];
            let client = Client::new(scene, &scene.tokens[0]);
            tasks.spawn(client.stop_midway(halves[number % halves.len()], scene.namespace.to_string()));
        }
        if size.requests > 0 {
            let pause = Duration::from_secs(1) * u32::try_from(ASKERS)? / size.requests;
            for number in 0..ASKERS {
                let client = Client::new(scene, &scene.tokens[0]);
                let first = pause * u32::try_from(number)? / u32::try_from(ASKERS)?;
                tasks.spawn(client.ask(paths(&scene.namespace), first, pause, Arc::clone(&counts)));
            }
        }
        Ok(Self {
            counts,
            _tasks: tasks,
        })
    }

    pub fn end(self) -> Answers {
        let Counts {
            good,
            refused,
            failed,
            slowest_us,
            snapshots,
            changes,
        } = &*self.counts;
        Answers {
            good: good.load(Relaxed),
            refused: refused.load(Relaxed),
            failed: failed.load(Relaxed),
            slowest: Duration::from_micros(slowest_us.load(Relaxed)),
            snapshots: snapshots.load(Relaxed),
            changes: changes.load(Relaxed),
        }
    }
}

fn paths(namespace: &str) -> Vec<String> {
    vec![
        format!("/api/db/health?policy={namespace}/policy-0"),
        format!("/api/db/replicas?policy={namespace}/policy-1"),
        format!("/api/db/stats?policy={namespace}/policy-0&component=routing"),
        format!("/api/v1/policies/{namespace}/policy-0"),
        format!("/api/v1/policies?namespace={namespace}"),
    ]
}

/// Where a request stops.
#[derive(Clone, Copy, PartialEq)]
enum Half {
    Handshake,
    Head,
    Body,
}

struct Client {
    client: ApiClient,
    header: [String; 1],
}

impl Client {
    fn new(scene: &Scene, token: &str) -> Self {
        Self {
            client: scene.client.clone(),
            header: [format!("Authorization: Bearer {token}")],
        }
    }

    /// Reads a stream to its end, and opens it again.
    async fn follow(self, path: String, counts: Arc<Counts>) {
        loop {
            let Ok(mut stream) = self.client.open("GET", &path, &self.header, "").await else {
                counts.failed.fetch_add(1, Relaxed);
                wait::pass(LATE, "the API has no room").await;
                continue;
            };
            let mut buffer = vec![0; 65_536];
            while let Ok(length) = stream.read(&mut buffer).await {
                if length == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&buffer[..length]);
                let count = |name: &str| u64::try_from(text.matches(name).count()).unwrap_or_default();
                counts.snapshots.fetch_add(count("event: snapshot"), Relaxed);
                counts.changes.fetch_add(count("event: change"), Relaxed);
            }
        }
    }

    /// Opens a stream and reads nothing of it; when it is given up, another one.
    async fn read_nothing(self, path: String) {
        loop {
            let stream = self.client.open("GET", &path, &self.header, "").await;
            wait::pass(Duration::from_secs(20), "a client that reads nothing").await;
            drop(stream);
        }
    }

    /// Sends half of a request, and waits until the API ends the connection; then once more.
    async fn stop_midway(self, half: Half, namespace: String) {
        loop {
            // One that is refused is sent again, too.
            let _ = self.send(half, &namespace).await;
            wait::pass(Duration::from_millis(100), "from one half to the next").await;
        }
    }

    async fn send(&self, half: Half, namespace: &str) -> Result<()> {
        let head = format!("POST /api/db/replicas?policy={namespace}/policy-0 HTTP/1.1\r\nHost: api\r\n");
        // An answer tells that it took too long, then the end comes.
        let mut rest = vec![];
        if half == Half::Handshake {
            let mut stream = TcpStream::connect(self.client.address).await?;
            // The start of a record of 512 bytes, with a ClientHello.
            stream.write_all(&[22, 3, 1, 2, 0, 1]).await?;
            stream.read_to_end(&mut rest).await?;
            return Ok(());
        }
        let mut stream = self.client.connect().await?;
        stream.write_all(head.as_bytes()).await?;
        if half == Half::Body {
            let more = format!("{}\r\nContent-Length: 1000\r\n\r\n{{\"action\": ", self.header[0]);
            stream.write_all(more.as_bytes()).await?;
        }
        stream.read_to_end(&mut rest).await?;
        Ok(())
    }

    /// Asks one thing after the other, each at its time.
    async fn ask(self, paths: Vec<String>, first: Duration, pause: Duration, counts: Arc<Counts>) {
        let mut due = Instant::now() + first;
        for path in paths.iter().cycle() {
            wait::pass(
                due.saturating_duration_since(Instant::now()),
                "the time of a request",
            )
            .await;
            let begun = Instant::now();
            match self.client.send("GET", path, &self.header, "").await {
                Ok(answer) if answer.status == 200 => counts.good.fetch_add(1, Relaxed),
                Ok(answer) if answer.status == 429 => counts.refused.fetch_add(1, Relaxed),
                Ok(_) | Err(_) => counts.failed.fetch_add(1, Relaxed),
            };
            let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            counts.slowest_us.fetch_max(took, Relaxed);
            due += pause;
            if due.elapsed() > LATE {
                due = Instant::now();
            }
        }
    }
}
