//! Live figures: from the leader through a port-forward, or from the HTTP API. Both give the same answers.

mod follow;
mod http;
mod leader;
mod server;
mod stream;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::Response;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::cluster::Cluster;
use super::error::{self, Error};
use crate::cli::cluster::path_part;
use crate::http_api::answers::{PolicyAnswer, PolicyItem, PolicyList};
use crate::http_api::paths;
use crate::http_api::problem::Problem;
use distributary_core::ids::PolicyKey;
use leader::Leader;
use server::Server;
pub use stream::{Events, FleetEvent};

/// For the head of an answer, with all that it takes to reach who answers.
const HEAD: Duration = Duration::from_secs(5);
/// For a whole answer, and for a pause in a stream, which has a sign of life every 15 s.
const WHOLE: Duration = Duration::from_secs(40);
/// Bytes of an answer: a page of 500 policies has less than 1 MiB.
const LONGEST: usize = 32 << 20;
/// Policies of a page, the most that there may be.
const PAGE: usize = 500;
/// Pages that are read at most.
const PAGES: usize = 100;

/// Which installation of the operator.
#[derive(Clone, Debug, clap::Args)]
pub struct Installation {
    /// Namespace of the operator.
    #[arg(
        long,
        env = "DISTRIBUTARY_OPERATOR_NAMESPACE",
        value_name = "NAME",
        default_value = "distributary-system",
        value_parser = part
    )]
    pub operator_namespace: String,
    /// Name of the operator's Lease, whose holder is the leader; the chart gives it the name of the Deployment.
    #[arg(
        long,
        env = "DISTRIBUTARY_LEASE_NAME",
        value_name = "NAME",
        default_value = "distributary",
        value_parser = part
    )]
    pub lease_name: String,
}

/// A name of the command line that becomes part of a path at the API server.
pub fn part(text: &str) -> Result<String, String> {
    let judged = path_part("name", text).map(|()| text.to_owned());
    judged.map_err(|error| error.to_string())
}

impl Installation {
    /// The ConfigMap with the CA of the HTTP API, as the chart names it.
    pub fn authority(&self) -> String {
        format!("{}-api", self.lease_name)
    }
}

/// Where live figures come from.
#[derive(Clone, Debug, clap::Args)]
pub struct LiveArguments {
    /// URL of the HTTP API, asked with the bearer token of the kubeconfig, such as https://localhost:8443. Default: the leader is
    /// asked, through a port-forward to its Pod.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// File with the CA of the HTTP API. Default: the ConfigMap that api-ca prints, or else what this system trusts.
    #[arg(long, value_name = "FILE", requires = "server")]
    certificate_authority: Option<PathBuf>,
    /// Name that the certificate of the HTTP API must have. Default: the host of --server.
    #[arg(long, value_name = "NAME", requires = "server")]
    tls_server_name: Option<String>,
    #[command(flatten)]
    operator: Installation,
    /// Port of the operator's --loopback-address.
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    loopback_port: u16,
}

/// Who answers.
pub enum Live {
    Leader(Box<Leader>),
    Server(Server),
}

impl LiveArguments {
    /// The namespace of the operator.
    pub fn operator_namespace(&self) -> &str {
        &self.operator.operator_namespace
    }

    /// Who answers.
    ///
    /// # Errors
    /// Why nobody does.
    pub async fn find(&self, cluster: &Cluster) -> Result<Live, Error> {
        match &self.server {
            Some(url) => Ok(Live::Server(Server::new(cluster, self, url).await?)),
            None => Ok(Live::Leader(Box::new(Leader::find(cluster, self).await?))),
        }
    }

    /// Whether the caller names who answers, so that nobody else will do.
    pub fn is_named(&self) -> bool {
        self.server.is_some()
    }

    /// What `ask` gets of who answers.
    ///
    /// # Errors
    /// Why nobody does.
    pub async fn ask<T>(
        &self,
        cluster: &Cluster,
        ask: impl AsyncFnOnce(&Live) -> Result<T, Error>,
    ) -> Result<T, Error> {
        ask(&self.find(cluster).await?).await
    }

    /// An answer, where there is one; `None`: there is none, which is said on standard error.
    ///
    /// # Errors
    /// The server that --server names does not answer.
    pub fn known<T>(&self, answer: Result<T, Error>) -> Result<Option<T>, Error> {
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(why) if self.is_named() => Err(why),
            Err(why) => {
                missing(&why);
                Ok(None)
            }
        }
    }
}

/// Says, once, that the result has what the status has alone.
fn missing(why: &Error) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    error::note(&format!(
        "No live figures, shown is what the status has: {}",
        why.text().trim_start_matches("error: ")
    ));
}

impl Live {
    /// The answer to a GET of a path.
    ///
    /// # Errors
    /// Nobody answers, or with a problem.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        let whole = async {
            let body = self.send(path).await?.into_body();
            let body = Limited::new(body, LONGEST).collect().await;
            let bytes = body.map_err(|error| unanswered(&*error))?.to_bytes();
            serde_json::from_slice(&bytes).map_err(|error| other_version(&error))
        };
        timeout(WHOLE, whole).await.unwrap_or_else(|_| Err(silent()))
    }

    /// All policies of a namespace, or of all where there is none.
    ///
    /// # Errors
    /// As [`Live::get`].
    pub async fn policies(&self, namespace: Option<&str>) -> Result<Vec<PolicyItem>, Error> {
        let mut path = format!("{}?limit={PAGE}", paths::POLICIES);
        if let Some(namespace) = namespace {
            path.push_str(&format!("&namespace={namespace}"));
        }
        let (mut all, mut after) = (Vec::new(), String::new());
        for _ in 0..PAGES {
            let page: PolicyList = self.get(&format!("{path}{after}")).await?;
            all.extend(page.items);
            match page.r#continue {
                Some(last) => after = format!("&continue={last}"),
                None => break,
            }
        }
        Ok(all)
    }

    /// All that is known of a policy.
    ///
    /// # Errors
    /// As [`Live::get`].
    pub async fn policy(&self, namespace: &str, name: &str) -> Result<PolicyAnswer, Error> {
        let key = PolicyKey::new(namespace, name);
        self.get(&paths::about(paths::POLICY, &key)).await
    }

    /// A policy as it changes.
    ///
    /// # Errors
    /// As [`Live::get`].
    pub async fn events(&self, namespace: &str, name: &str) -> Result<Events<PolicyAnswer>, Error> {
        let path = paths::about(paths::POLICY_EVENTS, &PolicyKey::new(namespace, name));
        Ok(Events::of(self.send(&path).await?.into_body()))
    }

    /// The policies of a namespace, or all, as they change.
    ///
    /// # Errors
    /// As [`Live::get`].
    pub async fn fleet_events(&self, namespace: Option<&str>) -> Result<Events<FleetEvent>, Error> {
        let namespace = namespace.map(|namespace| format!("?namespace={namespace}"));
        let path = format!("{}{}", paths::EVENTS, namespace.unwrap_or_default());
        Ok(Events::of(self.send(&path).await?.into_body()))
    }

    async fn send(&self, path: &str) -> Result<Response<Body>, Error> {
        let sent = async {
            match self {
                Self::Leader(leader) => leader.send(path).await,
                Self::Server(server) => server.send(path).await,
            }
        };
        let answer = timeout(HEAD, sent).await.unwrap_or_else(|_| Err(silent()))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        Err(refusal(answer).await)
    }
}

fn other_version(error: &serde_json::Error) -> Error {
    Error::said(format!(
        "the answer of the operator is of another version: {error}"
    ))
}

fn silent() -> Error {
    Error::said("the operator does not answer in time")
}

fn unanswered(error: &(dyn std::error::Error + 'static)) -> Error {
    Error::said(format!(
        "the operator does not answer: {}",
        crate::telemetry::chain(error)
    ))
}

/// In the words of who refused it.
async fn refusal(answer: Response<Body>) -> Error {
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LONGEST).collect().await;
    let problem = body
        .ok()
        .and_then(|body| serde_json::from_slice::<Problem>(&body.to_bytes()).ok());
    match problem {
        Some(problem) => Error::Server(
            kube::core::Status::failure(&problem.message, &problem.reason)
                .with_code(problem.code)
                .boxed(),
        ),
        None => Error::said(format!("the operator answers {status}")),
    }
}
