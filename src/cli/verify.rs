//! `distributary verify`: whether an operator works in a cluster, as far as the API server shows.

use std::time::Duration;

use futures::TryStreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use serde_json::json;

use super::cluster::Connection;
use super::output::Output;
use super::{Error, ExitStatus, block_on};
use crate::clock::Clock;
use crate::k8s;
use distributary_api::ReplicaSetPolicy;

/// Policies that are read with one request.
const PAGE: u32 = 500;
/// How long a Lease is taken to last that does not say so.
const DURATION: Duration = Duration::from_secs(15);
/// After the end of a Lease another process takes it within this, and the watch shows it.
const TAKEN: Duration = Duration::from_secs(5);

/// See whether an operator works in the cluster: policies can be read, and a process renews the Lease.
///
/// Needs the rights to list policies, and to get and watch the Lease. Waits for a renewal, for the duration of the Lease and 5 s
/// at most. `helm test` runs it with the ServiceAccount of the release.
///
/// Exit codes: 0; 4 no process renews the Lease.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Namespace whose policies the operator serves; may be given more than once. Default: all.
    #[arg(long = "namespace", value_name = "NAME")]
    namespaces: Vec<String>,
    /// Name of the Lease.
    #[arg(long, value_name = "NAME", default_value = "distributary")]
    lease_name: String,
    /// Namespace of the Lease. Default: that of the kubeconfig, or of the Pod.
    #[arg(long, value_name = "NAME")]
    lease_namespace: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// What became of the Lease while it was looked at.
enum Leadership {
    Renewed {
        holder: String,
    },
    Missing,
    Idle {
        holder: Option<String>,
        waited: Duration,
    },
}

pub fn main(arguments: &Arguments) -> Result<ExitStatus, Error> {
    block_on(verify(arguments))
}

async fn verify(arguments: &Arguments) -> Result<ExitStatus, Error> {
    let (client, namespace) = Connection::default().client().await?;
    let (policies, ready) = count(&client, &arguments.namespaces).await?;
    let namespace = arguments.lease_namespace.as_deref().unwrap_or(&namespace);
    let lease = format!("{namespace}/{}", arguments.lease_name);
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let leadership = look(&leases, &arguments.lease_name)
        .await
        .map_err(|source| Error::Failed {
            what: format!("cannot read the Lease {lease}"),
            source: source.into(),
        })?;
    let (holder, says) = match &leadership {
        Leadership::Renewed { holder } => (
            Some(holder),
            format!("the Lease {lease} is renewed by {holder}, which writes the routes"),
        ),
        Leadership::Missing => (
            None,
            format!(
                "there is no Lease {lease}: no operator that stands for it has started, or it has another name"
            ),
        ),
        Leadership::Idle { holder, waited } => {
            let whose = holder
                .as_ref()
                .map_or_else(String::new, |holder| format!(" of {holder}"));
            let waited = waited.as_secs();
            (
                holder.as_ref(),
                format!(
                    "nobody renewed the Lease {lease}{whose} within {waited} s: no operator writes the routes"
                ),
            )
        }
    };
    let works = matches!(leadership, Leadership::Renewed { .. });
    let document = json!({
        "policies": policies, "ready": ready, "lease": lease, "holder": holder, "works": works,
    });
    let text = || format!("{policies} policies, of which {ready} are Ready\n{says}\n");
    arguments.output.print(&document, text)?;
    Ok(if works {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

/// How many policies there are, and how many of them are Ready.
async fn count(client: &Client, namespaces: &[String]) -> Result<(usize, usize), Error> {
    let scopes: Vec<Api<ReplicaSetPolicy>> = match namespaces {
        [] => vec![Api::all(client.clone())],
        some => some
            .iter()
            .map(|namespace| Api::namespaced(client.clone(), namespace))
            .collect(),
    };
    let (mut all, mut ready) = (0, 0);
    for policies in scopes {
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let listed = k8s::call(policies.list(&page))
                .await
                .map_err(|source| Error::Failed {
                    what: "cannot list ReplicaSetPolicies".to_owned(),
                    source: source.into(),
                })?;
            all += listed.items.len();
            ready += listed.items.iter().filter(|policy| is_ready(policy)).count();
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => break,
            }
        }
    }
    Ok((all, ready))
}

fn is_ready(policy: &ReplicaSetPolicy) -> bool {
    let conditions = policy.status.iter().flat_map(|status| &status.conditions);
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Waits for the next renewal.
async fn look(leases: &Api<Lease>, name: &str) -> Result<Leadership, kube::Error> {
    let Some(lease) = leases.get_opt(name).await? else {
        return Ok(Leadership::Missing);
    };
    let spec = lease.spec.unwrap_or_default();
    let seconds = spec
        .lease_duration_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    let waited = seconds.map_or(DURATION, Duration::from_secs) + TAKEN;
    let version = lease.metadata.resource_version.unwrap_or_default();
    let parameters = WatchParams::default()
        .fields(&format!("metadata.name={name}"))
        .timeout(u32::try_from(waited.as_secs()).unwrap_or(u32::MAX));
    let renewal = async {
        let mut events = Box::pin(leases.watch(&parameters, &version).await?);
        while let Some(event) = events.try_next().await? {
            if let WatchEvent::Added(lease) | WatchEvent::Modified(lease) = event
                && let Some(holder) = lease.spec.and_then(|spec| spec.holder_identity)
                && !holder.is_empty()
            {
                return Ok(Some(holder));
            }
        }
        Ok::<_, kube::Error>(None)
    };
    let found = tokio::select! {
        found = renewal => found?,
        () = Clock::sleep(waited) => None,
    };
    Ok(match found {
        Some(holder) => Leadership::Renewed { holder },
        None => Leadership::Idle {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            waited,
        },
    })
}
