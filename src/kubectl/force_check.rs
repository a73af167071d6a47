//! `kubectl distributary force-check`: every server is checked now.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::cluster::Where;
use super::error::Error;
use super::output::{self, Names};
use crate::cli::ExitStatus;
use crate::clock::timestamp;
use crate::k8s;
use distributary_api::CHECK_REQUESTED_AT;

/// Who changed the policy, for the API server.
const MANAGER: &str = "kubectl-distributary";

/// Check every server of a policy now.
///
/// Sets the annotation distributary.dev/check-requested-at; needs the rights to get and patch the policy.
///
/// Exit codes: 0; 1 it failed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    #[command(flatten)]
    output: Names,
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let asked = format!("{:.3}", timestamp());
    let patch = json!({"metadata": {"annotations": {CHECK_REQUESTED_AT: asked}}});
    let parameters = PatchParams {
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let policies = cluster.policies();
    k8s::call(policies.patch(&arguments.name, &parameters, &Patch::Merge(patch))).await?;
    let done = output::did(&arguments.name, "check requested");
    arguments.output.print(&arguments.name, &done)?;
    Ok(ExitStatus::Well)
}
