//! `kubectl distributary add`: another replica.

use std::io::{BufRead, BufReader, IsTerminal, Read};

use super::act::{self, How};
use super::cluster::Where;
use super::error::{self, Error};
use crate::change::Edit;
use crate::change::asked::ReplicaConfig;
use crate::cli::ExitStatus;
use distributary_api::validate;
use distributary_core::policy::EndpointState;

/// Bytes of a URL that is read.
const LONGEST: u64 = 8 * 1024;

/// Add a replica to a policy.
///
/// A URL with a password becomes the key url of the Secret POLICY-ID, which belongs to the policy and is deleted with the replica.
/// Of a URL without a password, host, port, database and sslmode go into the policy. Needs the rights to get and patch the policy; for a
/// URL with a password also those to get, create and delete Secrets.
///
/// Exit codes: 0; 1 it failed.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    /// Id of the replica.
    #[arg(value_name = "ID", value_parser = act::endpoint)]
    id: String,
    /// postgresql://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=MODE, or - to read it from standard input, where no list of processes
    /// shows its password.
    #[arg(value_name = "URL")]
    url: String,
    /// A name for people.
    #[arg(long, value_name = "TEXT")]
    display_name: Option<String>,
    /// Its region.
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// Share of the reads under the strategy Weighted, 0 to 1000. Default: 1.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..=1000))]
    weight: Option<u16>,
    /// Place in ordered lists, lowest first, 0 to 1000. Default: 1.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(0..=1000))]
    priority: Option<u16>,
    /// Size of a client's pool for it, 1 to 100000. Default: 15.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    max_connections: Option<u32>,
    /// Add it in the state Disabled: it is neither checked nor routed until it is enabled.
    #[arg(long)]
    disabled: bool,
    #[command(flatten)]
    how: How,
}

/// Without the URL, which may have a password.
impl std::fmt::Debug for Arguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arguments")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// # Errors
/// What stands in its way.
pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let url = url(&arguments.url)?;
    let config = ReplicaConfig {
        id: arguments.id.clone(),
        name: arguments.display_name.clone(),
        url: Some(url),
        region: arguments.region.clone(),
        weight: arguments.weight,
        max_connections: arguments.max_connections,
        state: arguments.disabled.then_some(EndpointState::Disabled),
        priority: arguments.priority,
        ..ReplicaConfig::default()
    };
    let edit = Edit::Add(config.addition()?);
    let what = format!("{} added", arguments.id);
    act::carry_out(place, &arguments.name, &edit, &arguments.how, &what).await
}

fn url(argument: &str) -> Result<String, Error> {
    if argument != "-" {
        let has_password = validate::server_url(argument).is_ok_and(|url| url.password.is_some());
        if has_password {
            error::note(
                "warning: others on this machine can see the password in the list of processes: use - and standard input",
            );
        }
        return Ok(argument.to_owned());
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(LONGEST);
    let read = if std::io::stdin().is_terminal() {
        error::note("The URL of the replica, in one line:");
        BufReader::new(&mut input).read_line(&mut text)
    } else {
        input.read_to_string(&mut text)
    };
    read.map_err(|error| Error::said(format!("cannot read the URL from standard input: {error}")))?;
    Ok(text.trim().to_owned())
}
