//! `kubectl distributary status`: the servers of a policy, why each is as it is, and what must happen next.

mod follow;
mod view;

use super::cluster::{Cluster, Where, resource_name};
use super::error::Error;
use super::live::LiveArguments;
use super::output::Output;
use crate::cli::ExitStatus;
use view::View;

/// Show the servers of a policy: role, lag, sessions, rate, reason, since when, and what must happen next.
///
/// Needs the right to get the policy. Sessions and rates are live figures: without them the columns are empty, and the lag is that
/// of the last change.
///
/// Exit codes: 0; 1 it failed; 4 a server is not as declared, or the policy is not Ready.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    /// Show each change until interrupted; on a terminal in place of the last one, and with new figures every 2 s.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    live: LiveArguments,
    #[command(flatten)]
    output: Output,
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    resource_name(&arguments.name)?;
    if arguments.watch {
        return follow::run(&cluster, arguments).await;
    }
    let view = look(&cluster, arguments).await?;
    let (document, text) = (view.document(), || view.text(arguments.output.is_wide()));
    arguments
        .output
        .print(&document, [arguments.name.as_str()], text)?;
    Ok(if view.is_well() {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

/// The object and the figures are asked for at the same time.
async fn look(cluster: &Cluster, arguments: &Arguments) -> Result<View, Error> {
    let name = &arguments.name;
    let figures = arguments
        .live
        .ask(cluster, async |live| live.policy(&cluster.namespace, name).await);
    let (object, figures) = tokio::join!(cluster.policy(name), figures);
    let (object, live) = (object?, arguments.live.known(figures)?);
    Ok(View::new(&object, live.as_ref()))
}
