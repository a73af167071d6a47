//! `kubectl distributary dashboard`: the page of the dashboard on this machine alone, with the rights of the kubeconfig.
//!
//! # Guarantees
//! - Every answer is the caller's: before a policy is told, the API server is asked for it with the kubeconfig's credentials.
//! - See [`guard`] for who may ask.

mod by_status;
mod change;
mod fleet;
mod guard;
mod reading;
mod stream;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};

use super::cluster::{Cluster, Where};
use super::error::{Error, note};
use super::live::{Live, LiveArguments};
use crate::change::Refusal;
use crate::cli::{ExitStatus, output};
use crate::dashboard::{self, Served};
use crate::http::{self, Limits, Transport};
use crate::http_api::paths;
use crate::http_api::problem::Problem;
use guard::Guard;

/// Of one person, with some tabs.
const LIMITS: Limits = Limits {
    at_once: 64,
    whole: Duration::from_secs(60),
};

/// Serve the dashboard on this machine until interrupted, and print its URL.
///
/// The page shows and changes what you may, with -n at first the policies of that namespace. The URL has a secret of this run: whoever knows it acts with your rights while the command
/// runs. Needs the right to list or get policies; live figures and changes need what the other commands need for them.
///
/// Exit codes: 0 it was interrupted; 1 it failed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Port of 127.0.0.1. Default: a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    #[command(flatten)]
    live: LiveArguments,
}

/// What every handler has.
struct Shared {
    cluster: Cluster,
    live: LiveArguments,
}

type State = axum::extract::State<Arc<Shared>>;

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listener =
        http::listen(address).map_err(|error| Error::said(format!("cannot listen on {address}: {error}")))?;
    let address = listener
        .local_addr()
        .map_err(|error| Error::said(error.to_string()))?;
    let guard = Guard::new(address.port()).ok_or_else(|| Error::said("the system has no randomness"))?;
    let given = place
        .namespace
        .as_ref()
        .is_some_and(|namespace| !namespace.is_empty());
    let url = guard.url(given.then_some(cluster.namespace.as_str()));
    output::print(&format!("{url}\n"))?;
    note("Open this URL in a browser. It has a secret of this run. Interrupt to end.");
    let shared = Shared {
        cluster,
        live: arguments.live.clone(),
    };
    let served = http::serve(listener, Transport::Plain, LIMITS, pages(shared, guard));
    tokio::select! {
        () = served => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    Ok(ExitStatus::Well)
}

fn pages(shared: Shared, guard: Guard) -> Router {
    Router::new()
        .route(paths::POLICIES, get(reading::policies))
        .route(paths::EVENTS, get(fleet::events))
        .route(paths::POLICY, get(reading::policy))
        .route(paths::RIGHTS, get(reading::rights))
        .route(paths::POLICY_EVENTS, get(stream::events))
        .route(paths::REPLICAS, post(change::change))
        .merge(dashboard::pages(Served::Locally))
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "NotFound", "there is no such page"))
        .layer(from_fn_with_state(Arc::new(guard), guard::admit))
        .with_state(Arc::new(shared))
}

impl Shared {
    /// Who has live figures; an error says why nobody does.
    async fn live(&self) -> Result<Live, Error> {
        self.live.find(&self.cluster).await
    }
}

/// Why a request has no answer, in the words of who refused it.
fn problem(error: &Error) -> Problem {
    match error {
        // 401 is the answer to a page without the secret of this run.
        Error::Server(status) if status.code == 401 => Problem::new(
            StatusCode::BAD_GATEWAY,
            "Unauthorized",
            "the login of your kubeconfig is not accepted any more: log in, then start the command again",
        ),
        Error::Server(status) => Refusal::of(status).into(),
        other => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", other.text()),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn a_login_that_has_ended_is_no_wrong_secret() {
        let of = |code: u16| {
            let status = Status::failure("no", "Unauthorized").with_code(code);
            problem(&Error::Server(status.boxed())).code
        };
        // With 401 the page would ask for the secret.
        assert_eq!((of(401), of(403), of(404)), (502, 403, 404));
        assert_eq!(problem(&Error::said("nobody answers")).code, 503);
    }
}
