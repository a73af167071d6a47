//! What the commands that change a policy have in common: the difference first, then the change, as the caller.

use serde_json::Value;

use super::cluster::Where;
use super::error::{self, Error};
use super::output::{self, Names};
use crate::change::{self, BY_PLUGIN, Edit, Refusal, Terms, Update, asked};
use crate::cli::ExitStatus;
use crate::cli::difference;
use crate::k8s::callers::AsCaller;
use distributary_core::ids::PolicyKey;
use distributary_core::policy::Strategy;
use kube::core::Status;

/// How a policy is changed.
#[derive(Debug, clap::Args)]
pub struct How {
    /// Change the policy though GitOps manages it, which would take the change back.
    #[arg(long)]
    force: bool,
    /// none, or server: the API server judges the change, with the caller's rights, and keeps nothing of it.
    #[arg(
        long,
        value_name = "none|server",
        value_parser = dry_run,
        require_equals = true,
        num_args = 0..=1,
        default_value = "none",
        default_missing_value = "server",
        hide_default_value = true
    )]
    dry_run: bool,
    #[command(flatten)]
    output: Names,
}

fn dry_run(text: &str) -> Result<bool, String> {
    match text {
        "none" => Ok(false),
        "server" => Ok(true),
        other => Err(format!(
            "Invalid dry-run value ({other}). Must be \"none\" or \"server\"."
        )),
    }
}

/// The id of an endpoint on a command line.
pub fn endpoint(text: &str) -> Result<String, String> {
    if asked::is_id(text) {
        Ok(text.to_owned())
    } else {
        Err(
            "must be a DNS-1123 label of at most 40 characters: lower-case letters, digits and '-'"
                .to_owned(),
        )
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        if refusal.is_of_server {
            let status = Status::failure(&refusal.message, &refusal.reason).with_code(refusal.code);
            return Self::refused(status.boxed());
        }
        // The name of the field in a body, as the argument of a command has none.
        Self::said(refusal.message.trim_start_matches("replicaConfig."))
    }
}

/// Shows what a change does to the policy of this name, and carries it out. `what`: what was done.
///
/// # Errors
/// What stands in its way.
pub async fn carry_out(
    place: &Where,
    name: &str,
    edit: &Edit,
    how: &How,
    what: &str,
) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let key = PolicyKey::new(&cluster.namespace, name);
    let terms = |dry_run| Terms {
        way: &BY_PLUGIN,
        force: how.force,
        dry_run,
        secrets: None,
    };
    let caller = || AsCaller::over(cluster.client.clone());
    // Who cannot be reached is told here, with the reason: of a change that is not answered nobody knows what becomes.
    if asked::is_key(&key) {
        cluster.policy(name).await?;
    }
    let mut done = change::carry_out(caller(), &key, edit, terms(true)).await?;
    let difference = difference::object(&done.before, &done.policy)?;
    if difference.is_empty() && done.secret.is_none() {
        how.output.print(name, &output::did(name, "unchanged"))?;
        return Ok(ExitStatus::Well);
    }
    let warnings = [takes_writes(&done.before, edit), is_in_vain(&done.before, edit)];
    for warning in warnings.iter().flatten() {
        error::note(warning);
    }
    if !how.output.is_name() {
        output::show(&difference)?;
    }
    let mut sentence = output::did(name, what);
    if how.dry_run {
        sentence.push_str(" (server dry run)");
    } else {
        done = change::carry_out(caller(), &key, edit, terms(false)).await?;
    }
    how.output.print(name, &sentence)?;
    for note in &done.notes {
        error::note(note);
    }
    Ok(ExitStatus::Well)
}

/// Whether a weight changes nothing; a weight of 0 takes a server out of the reads under every strategy.
fn is_in_vain(policy: &Value, edit: &Edit) -> Option<String> {
    let Edit::Update(Update { fields, .. }) = edit else {
        return None;
    };
    let weight = fields.get("weight")?;
    let told = policy["spec"]["loadBalancing"]["strategy"].as_str();
    let strategy = told.unwrap_or(Strategy::default().word());
    (*weight != 0 && strategy != Strategy::Weighted.word()).then(|| {
        format!("warning: the strategy of the policy is {strategy}: weights count under Weighted alone")
    })
}

/// What becomes of the writes where their server is taken out.
fn takes_writes(policy: &Value, edit: &Edit) -> Option<String> {
    let id = edit.takes_out()?;
    if policy["status"]["primary"]["id"] != id {
        return None;
    }
    Some(format!(
        "warning: {id} takes the writes: they move to the only server that may take over, if there is exactly one, or are withdrawn"
    ))
}
