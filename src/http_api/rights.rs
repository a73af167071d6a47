//! Who may read what: asked of the API server as the caller, and remembered for a while.
//!
//! # Guarantees
//! - A right, or its refusal, is believed for [`BELIEVED`] at most after the API server was asked.
//! - Of callers who ask the same at the same time one asks the API server, and all go by its answer, or by its silence.
//! - At most [`MOST`] answers are kept, [`MOST_REFUSED`] refusals among them, and of a token its SHA-256. No refusal makes room in the
//!   rights: whoever makes up tokens or names takes nothing from others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use distributary_core::Moment;
use distributary_core::ids::PolicyKey;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::caller::{Caller, TokenDigest};
use super::problem::Problem;
use crate::clock::Clock;
use crate::k8s::callers::Callers;
use crate::k8s::{policies_path, policy_path};

/// For how long an answer of the API server is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// Answers that are kept.
const MOST: usize = 1024;

/// Refusals among them.
const MOST_REFUSED: usize = 128;

/// Rights among them.
const MOST_PROVEN: usize = MOST - MOST_REFUSED;

/// What a caller wants to read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// One policy: verb get.
    Policy(PolicyKey),
    /// The policies of a namespace, or of all: verb list.
    Policies(Option<String>),
    /// The change of one policy: verb patch.
    Change(PolicyKey),
    /// The page of metrics.
    Metrics,
}

impl Subject {
    /// The request that the API server answers only who may read this.
    pub(super) fn request(&self) -> Request<Vec<u8>> {
        let review = |asked: Value| ("POST", REVIEWS.to_owned(), review(asked));
        let none = Vec::new;
        let (method, path, body) = match self {
            Self::Policy(key) => ("GET", policy_path(key), none()),
            Self::Policies(Some(namespace)) => {
                ("GET", format!("{}?limit=1", policies_path(namespace)), none())
            }
            Self::Policies(None) => ("GET", format!("{GROUP}/replicasetpolicies?limit=1"), none()),
            Self::Change(key) => review(json!({"resourceAttributes": {
                "group": "distributary.dev", "resource": "replicasetpolicies", "verb": "patch",
                "namespace": key.namespace, "name": key.name,
            }})),
            Self::Metrics => review(json!({"nonResourceAttributes": {"path": "/metrics", "verb": "get"}})),
        };
        let has_body = !body.is_empty();
        let mut request = Request::new(body);
        *request.method_mut() = method.parse().unwrap_or_default();
        // Names were checked: they are part of a path as they are.
        *request.uri_mut() = path.parse().unwrap_or_default();
        if has_body {
            let json = axum::http::HeaderValue::from_static("application/json");
            request
                .headers_mut()
                .insert(axum::http::header::CONTENT_TYPE, json);
        }
        request
    }
}

const GROUP: &str = "/apis/distributary.dev/v1alpha1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

/// Whoever is known may ask what they may do.
fn review(spec: Value) -> Vec<u8> {
    let kind = "SelfSubjectAccessReview";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec});
    review.to_string().into_bytes()
}

/// Asks, and remembers. Clones share what is remembered.
#[derive(Clone)]
pub struct Rights {
    /// Who is asked; `None`: everyone may read everything.
    callers: Option<Callers>,
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

type Question = (TokenDigest, Subject);

/// The API server's word, and when it was asked.
type Told = (Moment, Result<(), Problem>);

/// Set once the question has ended, with whatever result.
type Answer = Arc<OnceCell<Told>>;

#[derive(Default)]
struct Known {
    /// Somebody waits for each of them.
    open: BTreeMap<Question, Answer>,
    proven: Kept,
    refused: Kept,
}

/// Answers of the API server.
#[derive(Default)]
struct Kept {
    answers: BTreeMap<Question, Told>,
    /// The oldest first.
    order: VecDeque<Question>,
}

impl Kept {
    fn believed(&self, question: &Question, now: Moment) -> Option<&Told> {
        let told = self.answers.get(question)?;
        (now.since(told.0) < BELIEVED).then_some(told)
    }

    fn forget(&mut self, question: &Question) {
        if self.answers.remove(question).is_some() {
            self.order.retain(|other| other != question);
        }
    }

    /// The oldest one makes room.
    fn keep(&mut self, question: Question, told: Told, most: usize) {
        self.forget(&question);
        while self.order.len() >= most {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.answers.remove(&oldest));
        }
        self.answers.insert(question.clone(), told);
        self.order.push_back(question);
    }
}

impl Known {
    fn believed(&self, question: &Question, now: Moment) -> Option<Told> {
        let told = self.proven.believed(question, now);
        told.or_else(|| self.refused.believed(question, now)).cloned()
    }

    /// A question has ended. What is no answer of the API server concerns only those who wait for it.
    fn settle(&mut self, question: &Question, told: &Told) {
        self.open.remove(question);
        self.proven.forget(question);
        self.refused.forget(question);
        match &told.1 {
            Ok(()) => self.proven.keep(question.clone(), told.clone(), MOST_PROVEN),
            Err(problem) if matches!(problem.code, 401 | 403 | 404) => {
                self.refused.keep(question.clone(), told.clone(), MOST_REFUSED);
            }
            Err(_) => {}
        }
    }
}

/// Waits for the answer to a question. Where nobody does any more, nothing is kept of it.
struct Waiting<'a> {
    rights: &'a Rights,
    question: Question,
    answer: Answer,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut known = self.rights.known.lock();
        let is_last = |open: &Answer| Arc::ptr_eq(open, &self.answer) && Arc::strong_count(open) <= 2;
        if known.open.get(&self.question).is_some_and(is_last) {
            known.open.remove(&self.question);
        }
    }
}

impl Rights {
    #[must_use]
    pub fn new(callers: Callers, clock: Clock) -> Self {
        Self {
            callers: Some(callers),
            clock,
            known: Arc::default(),
        }
    }

    /// Whoever asks may read everything, as reaching the port was a right of its own.
    #[must_use]
    pub fn of_everyone(clock: Clock) -> Self {
        Self {
            callers: None,
            clock,
            known: Arc::default(),
        }
    }

    /// Proves that a caller may read this, and protects their connection from now on; when the API server was asked.
    ///
    /// # Errors
    /// Why not, in the words of the API server; or that it cannot be asked.
    pub async fn prove(&self, caller: &Caller, subject: &Subject) -> Result<Moment, Problem> {
        let proof = self.proof(caller, subject).await;
        if proof.is_ok() {
            caller.is_proven();
        }
        proof
    }

    async fn proof(&self, caller: &Caller, subject: &Subject) -> Result<Moment, Problem> {
        let Some(callers) = &self.callers else {
            return Ok(self.clock.now());
        };
        let question = (caller.digest, subject.clone());
        let waiting = {
            let mut known = self.known.lock();
            if let Some((asked, told)) = known.believed(&question, self.clock.now()) {
                return told.map(|()| asked);
            }
            let answer = Arc::clone(known.open.entry(question.clone()).or_default());
            Waiting {
                rights: self,
                question,
                answer,
            }
        };
        let ask = async || {
            let asked = self.clock.now();
            let told = (asked, ask_of(callers, caller, subject).await);
            self.known.lock().settle(&waiting.question, &told);
            told
        };
        let (asked, told) = waiting.answer.get_or_init(ask).await;
        told.clone().map(|()| *asked)
    }
}

async fn ask_of(callers: &Callers, caller: &Caller, subject: &Subject) -> Result<(), Problem> {
    let found = callers.send(&caller.token, subject.request()).await?;
    let message = match subject {
        Subject::Metrics => "the token may not get the nonResourceURL /metrics",
        Subject::Change(_) => "the token may not patch this ReplicaSetPolicy",
        Subject::Policy(_) | Subject::Policies(_) => return Ok(()),
    };
    if found["status"]["allowed"] == true {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "Forbidden", message))
}

#[cfg(test)]
mod tests;
