//! Who may read what: asked of the API server as the caller, and remembered for a while.
//!
//! # Guarantees
//! - A right, or its refusal, is believed for [`BELIEVED`] at most after the API server told it.
//! - Of callers who ask the same at the same time one asks the API server, and all go by its answer.
//! - At most [`MOST`] answers are kept, and of a token its SHA-256.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use distributary_core::Moment;
use distributary_core::ids::PolicyKey;
use kube::core::Status;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::caller::{Caller, TokenDigest};
use super::problem::Problem;
use crate::clock::Clock;
use crate::k8s::callers::{CallerError, Callers};

/// For how long an answer of the API server is believed.
const BELIEVED: Duration = Duration::from_secs(10);

/// Answers that are kept.
const MOST: usize = 1024;

/// What a caller wants to read.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// One policy: verb get.
    Policy(PolicyKey),
    /// The policies of a namespace, or of all: verb list.
    Policies(Option<String>),
    /// The page of metrics.
    Metrics,
}

impl Subject {
    /// The request that the API server answers only who may read this.
    pub(super) fn request(&self) -> Request<Vec<u8>> {
        const REVIEW: &str = r#"{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"nonResourceAttributes":{"path":"/metrics","verb":"get"}}}"#;
        let (method, path, body) = match self {
            Self::Policy(key) => ("GET", path_of(key), ""),
            Self::Policies(Some(namespace)) => ("GET", format!("{}?limit=1", path_in(namespace)), ""),
            Self::Policies(None) => ("GET", format!("{GROUP}/replicasetpolicies?limit=1"), ""),
            Self::Metrics => (
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
                REVIEW,
            ),
        };
        let mut request = Request::new(body.as_bytes().to_vec());
        *request.method_mut() = method.parse().unwrap_or_default();
        // Names were checked: they are part of a path as they are.
        *request.uri_mut() = path.parse().unwrap_or_default();
        if !body.is_empty() {
            let json = axum::http::HeaderValue::from_static("application/json");
            request
                .headers_mut()
                .insert(axum::http::header::CONTENT_TYPE, json);
        }
        request
    }
}

const GROUP: &str = "/apis/distributary.dev/v1alpha1";

fn path_in(namespace: &str) -> String {
    format!("{GROUP}/namespaces/{namespace}/replicasetpolicies")
}

/// The path of a policy at the API server.
#[must_use]
pub fn path_of(key: &PolicyKey) -> String {
    format!("{}/{}", path_in(&key.namespace), key.name)
}

/// Asks, and remembers. Clones share what is remembered.
#[derive(Clone)]
pub struct Rights {
    callers: Callers,
    clock: Clock,
    known: Arc<Mutex<Known>>,
}

type Question = (TokenDigest, Subject);

/// Set once the API server has answered.
type Answer = Arc<OnceCell<(Moment, Result<(), Box<Status>>)>>;

#[derive(Default)]
struct Known {
    answers: BTreeMap<Question, Answer>,
    /// The oldest first.
    order: VecDeque<Question>,
}

impl Known {
    /// The answer to a question, which may still be open.
    fn answer(&mut self, question: &Question, now: Moment) -> Answer {
        if let Some(known) = self.answers.get(question) {
            let is_believed = known.get().is_none_or(|(at, _)| now.since(*at) < BELIEVED);
            if is_believed {
                return Arc::clone(known);
            }
            self.order.retain(|other| other != question);
        }
        while self.order.len() >= MOST {
            let oldest = self.order.pop_front();
            oldest.and_then(|oldest| self.answers.remove(&oldest));
        }
        let answer = Answer::default();
        self.answers.insert(question.clone(), Arc::clone(&answer));
        self.order.push_back(question.clone());
        answer
    }
}

impl Rights {
    #[must_use]
    pub fn new(callers: Callers, clock: Clock) -> Self {
        Self {
            callers,
            clock,
            known: Arc::default(),
        }
    }

    /// Whether a caller may read this.
    ///
    /// # Errors
    /// Why not, in the words of the API server; or that it cannot be asked.
    pub async fn prove(&self, caller: &Caller, subject: &Subject) -> Result<(), Problem> {
        let question = (caller.digest, subject.clone());
        let answer = self.known.lock().answer(&question, self.clock.now());
        let ask = async || match self.callers.send(&caller.token, subject.request()).await {
            Ok(found) if *subject == Subject::Metrics && found["status"]["allowed"] != true => {
                let status =
                    Status::failure("the token may not get the nonResourceURL /metrics", "Forbidden");
                Ok((self.clock.now(), Err(status.with_code(403).boxed())))
            }
            Ok(_) => Ok((self.clock.now(), Ok(()))),
            Err(CallerError::Refused(status)) if matches!(status.code, 401 | 403 | 404) => {
                Ok((self.clock.now(), Err(status)))
            }
            Err(error) => Err(Problem::from(error)),
        };
        let (_, told) = answer.get_or_try_init(ask).await?;
        match told {
            Ok(()) => Ok(()),
            Err(status) => Err(Problem::refused(status)),
        }
    }
}

#[cfg(test)]
mod tests;
