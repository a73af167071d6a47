//! `kubectl distributary report`: one archive with what somebody else needs to know of a policy.

mod collected;
mod log;
mod operator;

use std::fs::OpenOptions;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use super::cluster::Where;
use super::error::{self, Error};
use super::live::LiveArguments;
use crate::cli::{ExitStatus, archive};
use crate::clock::timestamp;
use collected::Collected;

/// Write an archive with all that is known of a policy, for somebody who helps.
///
/// It has the policy, its objects and those that it names, its Events, the decision with the statistics, log lines of the operator's
/// Pods but those of other policies, and versions, each as far as you may read it; notes.txt says what is missing, and why. Of Secrets
/// it has names and keys, and no value. explain -f and plan -f read the archive.
///
/// Exit codes: 0; 1 it failed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    /// File that is written, and must not exist; - is standard output. Default: distributary-report-NAMESPACE-POLICY-TIME.tar.gz.
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// Log lines of each Pod of the operator, from the last one back, of which those of other policies are left out.
    #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
    lines: u32,
    #[command(flatten)]
    live: LiveArguments,
}

/// # Errors
/// The policy cannot be read, or the file cannot be written.
pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let is_output = arguments.to.as_deref().is_some_and(|to| to.as_os_str() == "-");
    if is_output && std::io::stdout().is_terminal() {
        return Err(Error::said(
            "standard output is a terminal, and the archive is no text: lead it to a file, or name one with --to",
        ));
    }
    let cluster = place.cluster().await?;
    let now = timestamp();
    let mut collected = Collected::of(&cluster, &arguments.name).await?;
    collected.decision(&cluster, &arguments.live).await;
    operator::add(
        &mut collected,
        &cluster,
        arguments.live.operator_namespace(),
        arguments.lines,
    )
    .await;
    let time = now.strftime("%Y%m%dT%H%M%SZ");
    let folder = format!(
        "distributary-report-{}-{}-{time}",
        cluster.namespace, arguments.name
    );
    let (files, notes) = collected.files();
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let packed = archive::pack(&folder, &files, seconds);
    let packed = packed.map_err(|error| Error::said(format!("cannot make the archive: {error}")))?;
    let file = arguments
        .to
        .clone()
        .unwrap_or_else(|| format!("{folder}.tar.gz").into());
    let written = if is_output {
        std::io::stdout().write_all(&packed)
    } else {
        let mut options = OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(&file);
        opened.and_then(|mut opened| opened.write_all(&packed))
    };
    written.map_err(|error| Error::said(format!("cannot write {}: {error}", file.display())))?;
    for note in notes {
        error::note(&format!("not in the report: {note}"));
    }
    if !is_output {
        crate::cli::output::print(&format!("{}\n", file.display()))?;
    }
    Ok(ExitStatus::Well)
}
