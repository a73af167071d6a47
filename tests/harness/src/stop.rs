//! An operator that stops at its n-th request to the API server: before it is sent, or after the server has answered and
//! before the operator sees the answer.
//!
//! The released binary knows nothing of this. [`Builder::stop_at`](crate::operator::Builder::stop_at) starts the program of
//! the test again, as an operator; so its main function begins with
//!
//! ```ignore
//! match Stop::asked() {
//!     Some(stop) => operator(|client| stop.around(client)),
//!     None => node::enter(tests),
//! }
//! ```

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::{Method, Request, Uri};
use kube::Client;
use kube::client::Body;
use nix::sys::signal::{Signal, raise};
use serde::{Deserialize, Serialize};

/// The variable of the environment that has the [`Stop`] of an operator.
pub(crate) const VARIABLE: &str = "DISTRIBUTARY_STOP";

/// At which request an operator stops, and how. Numbers begin with 1, and count writes alone unless
/// [`counting`](Self::counting) adds others.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Stop {
    moment: Moment,
    freezes: bool,
    counted: BTreeSet<RequestKind>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
enum Moment {
    Never,
    Before(u32),
    After(u32),
}

/// Requests by what they are for. Watches are of no kind: they are never counted.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum RequestKind {
    /// A get or a list.
    Read,
    /// A write of an Event.
    Event,
    /// A write of a Lease.
    Lease,
    /// Any other write.
    Write,
}

/// A request that was counted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct CountedRequest {
    /// Its number since the start of the operator.
    pub number: u32,
    /// Its HTTP method.
    pub method: String,
    /// Its path and query.
    pub uri: String,
    /// Whether the operator stops at it.
    pub stops: bool,
}

impl Stop {
    /// Counts and goes on.
    #[must_use]
    pub fn never() -> Self {
        Self::at(Moment::Never)
    }

    /// Ends the operator, as SIGKILL does, when it is about to send this request.
    #[must_use]
    pub fn before(number: u32) -> Self {
        Self::at(Moment::Before(number))
    }

    /// The same when the API server has answered this request, and the operator has not seen the answer.
    #[must_use]
    pub fn after(number: u32) -> Self {
        Self::at(Moment::After(number))
    }

    fn at(moment: Moment) -> Self {
        Self {
            moment,
            freezes: false,
            counted: BTreeSet::from([RequestKind::Write]),
        }
    }

    /// Freezes the operator there (SIGSTOP) instead of ending it; once it is thawed, it goes on to its end.
    #[must_use]
    pub fn freezing(self) -> Self {
        Self {
            freezes: true,
            ..self
        }
    }

    /// Counts requests of this kind too.
    #[must_use]
    pub fn counting(mut self, kind: RequestKind) -> Self {
        self.counted.insert(kind);
        self
    }

    /// Counts requests of this kind alone.
    #[must_use]
    pub fn of(self, kind: RequestKind) -> Self {
        Self {
            counted: BTreeSet::from([kind]),
            ..self
        }
    }

    /// What the test that started this program as an operator asked for; `None`: no test did.
    ///
    /// # Panics
    /// When the variable has what no test of this version wrote.
    #[must_use]
    pub fn asked() -> Option<Self> {
        let text = env::var(VARIABLE).ok()?;
        Some(serde_json::from_str(&text).expect("a stop in JSON"))
    }

    pub(crate) fn text(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// The clients with a layer around them that counts the requests of all of them, writes each into the log, and stops this
    /// process.
    #[must_use]
    pub fn around<const N: usize>(&self, clients: [Client; N]) -> [Client; N] {
        let counter = Arc::new(Counter {
            stop: self.clone(),
            count: AtomicU32::new(0),
        });
        clients.map(|client| counting(client, &counter))
    }
}

fn counting(client: Client, counter: &Arc<Counter>) -> Client {
    let (namespace, counter) = (client.default_namespace().to_owned(), counter.clone());
    let send = move |request: Request<Body>| {
        let (client, counter) = (client.clone(), counter.clone());
        async move {
            let number = counter.count(request.method(), request.uri());
            counter.reached(number.map(Moment::Before));
            let answer = client.send(request).await?;
            counter.reached(number.map(Moment::After));
            Ok::<_, kube::Error>(answer)
        }
    };
    Client::new(tower::service_fn(send), namespace)
}

impl RequestKind {
    fn of(method: &Method, uri: &Uri) -> Option<Self> {
        let is_watch = |part: &str| matches!(part, "watch=true" | "watch=1");
        if *method == Method::GET {
            let watches = uri.query().unwrap_or_default().split('&').any(is_watch);
            return (!watches).then_some(Self::Read);
        }
        let is_of = |resource: &str| uri.path().split('/').any(|part| part == resource);
        if is_of("events") {
            return Some(Self::Event);
        }
        Some(if is_of("leases") { Self::Lease } else { Self::Write })
    }
}

struct Counter {
    stop: Stop,
    count: AtomicU32,
}

impl Counter {
    /// The number of this request, where it is counted.
    fn count(&self, method: &Method, uri: &Uri) -> Option<u32> {
        let counted = |kind: &RequestKind| self.stop.counted.contains(kind);
        RequestKind::of(method, uri).filter(counted)?;
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let here = [Moment::Before(number), Moment::After(number)];
        let request = CountedRequest {
            number,
            method: method.to_string(),
            uri: uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            stops: here.contains(&self.stop.moment),
        };
        // A line of the log; the operator writes its own to the same place.
        eprintln!("{}", serde_json::json!(request));
        Some(number)
    }

    /// A signal that this thread sends to itself takes effect before it does anything else.
    fn reached(&self, moment: Option<Moment>) {
        if moment != Some(self.stop.moment) {
            return;
        }
        let signal = if self.stop.freezes {
            Signal::SIGSTOP
        } else {
            Signal::SIGKILL
        };
        raise(signal).expect("a signal to this process");
    }
}

/// The counted requests in a log.
pub(crate) fn counted(log: &str) -> Vec<CountedRequest> {
    let lines = log.lines().filter(|line| line.contains("\"stops\":"));
    lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
}
