//! `kubectl distributary force-check`: every server is checked now.

use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::cluster::{Policy, Where, resource_name};
use super::error::Error;
use super::output::{self, Names};
use super::wait::Patience;
use super::watching;
use crate::cli::ExitStatus;
use crate::clock::timestamp;
use crate::k8s;
use distributary_api::CHECK_REQUESTED_AT;

/// Who changed the policy, for the API server.
const MANAGER: &str = "kubectl-distributary";

/// Check every server of a policy now.
///
/// Sets the annotation distributary.dev/check-requested-at; needs the right to patch the policy, and with --wait those to list and
/// watch it.
///
/// Exit codes: 0; 1 it failed, or not all servers were checked within --timeout.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    #[command(flatten)]
    output: Names,
    /// Wait until all servers were checked.
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    patience: Patience,
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    resource_name(&arguments.name)?;
    let asked = format!("{:.3}", timestamp());
    let patch = json!({"metadata": {"annotations": {CHECK_REQUESTED_AT: asked}}});
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let (policies, name) = (cluster.policies(), &arguments.name);
    k8s::call(policies.patch(name, &parameters, &Patch::Merge(patch))).await?;
    let done = if arguments.wait {
        let answered = |policy: &Policy| {
            let status = policy.status.as_ref();
            let checked = status.and_then(|status| status.checked_for.as_ref());
            checked.is_some_and(|checked| answers(checked, &asked))
        };
        let changes = watching::policy(policies, name);
        arguments.patience.until(name, changes, answered).await?;
        output::did(name, "checked")
    } else {
        output::did(name, "check requested")
    };
    arguments.output.print(name, &done)?;
    Ok(ExitStatus::Well)
}

/// Whether a check was asked for by this request, or by a later one of somebody else.
fn answers(checked: &str, asked: &str) -> bool {
    let time = |text: &str| text.parse::<Timestamp>().ok();
    checked == asked
        || matches!((time(checked), time(asked)), (Some(checked), Some(asked)) if checked >= asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_request_of_somebody_else_is_an_answer_too() {
        let asked = "2026-01-01T00:00:01.500Z";
        assert!(answers(asked, asked));
        assert!(answers("2026-01-01T00:00:02Z", asked));
        assert!(!answers("2026-01-01T00:00:01.499Z", asked));
        assert!(!answers("now", asked));
    }
}
