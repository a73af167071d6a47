//! `kubectl distributary api-ca`: the CA of the HTTP API.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;

use super::cluster::Where;
use super::error::Error;
use super::live::{self, Installation};
use crate::cli::ExitStatus;
use crate::cli::output;
use crate::k8s;

/// Print the CA of the HTTP API's certificate, as PEM, for curl --cacert and for --certificate-authority.
///
/// Reads the ConfigMap that the operator keeps for the certificate that it makes itself (--api-secret); needs the right to
/// get it. A certificate of another origin has no such ConfigMap: ask whoever issued it.
///
/// Exit codes: 0; 1 there is none, or it cannot be read.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    operator: Installation,
    /// Name of the ConfigMap, as the operator's --api-secret has it. Default: LEASE-NAME-api, as of the chart.
    #[arg(long, value_name = "NAME", value_parser = live::part)]
    name: Option<String>,
}

/// The key of the CA.
const KEY: &str = "ca.crt";

/// The CA in a ConfigMap; `None`: it has none yet.
pub fn of(map: &ConfigMap) -> Option<&str> {
    let authority = map.data.as_ref()?.get(KEY)?;
    (!authority.trim().is_empty()).then_some(authority)
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let namespace = &arguments.operator.operator_namespace;
    let name = arguments.name.clone();
    let name = name.unwrap_or_else(|| arguments.operator.authority());
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client, namespace);
    let map = k8s::call(maps.get(&name)).await?;
    let Some(authority) = of(&map) else {
        return Err(Error::said(format!(
            "the ConfigMap {namespace}/{name} has no {KEY} yet: the operator writes it once it has made its certificate"
        )));
    };
    output::print(&output::printable(authority))?;
    Ok(ExitStatus::Well)
}
