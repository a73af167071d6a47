//! `kubectl distributary routes`: where requests lead.

use serde_json::{Value, json};

use super::cluster::Where;
use super::error::{self, Error};
use super::listed::{self, Chosen, Listed};
use super::output::Output;
use crate::cli::ExitStatus;
use crate::cli::output::Table;
use distributary_api::RouteStatus;
use distributary_core::plan::RouteState;

/// Show the routes of policies, with the servers that each leads to.
///
/// Needs the right to get the policy, or to list policies.
///
/// Exit codes: 0; 1 it failed; 4 a route is held, or leads nowhere.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    output: Output,
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let policies = listed::chosen(&cluster, &arguments.chosen).await?;
    let scope = arguments.chosen.scope;
    if policies.is_empty() {
        error::note(&listed::none(scope.namespace(&cluster)));
    }
    let names = policies.iter().map(|policy| policy.metadata.name.as_str());
    let document = json!({"items": policies.iter().map(document).collect::<Vec<_>>()});
    let text = || table(&policies, scope.all_namespaces, arguments.output.is_wide());
    arguments.output.print(&document, names, text)?;
    let mut routes = policies.iter().flat_map(|policy| &policy.status.routes);
    Ok(if routes.all(is_well) {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

fn is_well(route: &RouteStatus) -> bool {
    let states = [RouteState::Served, RouteState::Fallback];
    states.iter().any(|state| state.word() == route.state)
}

fn document(policy: &Listed) -> Value {
    json!({
        "namespace": policy.metadata.namespace,
        "name": policy.metadata.name,
        "mode": policy.spec.mode,
        "strategy": policy.spec.load_balancing.strategy,
        "revision": policy.status.routing.revision,
        "programmedAt": policy.status.routing.programmed_at,
        "failovers": policy.status.failovers.len(),
        "routes": policy.status.routes,
    })
}

fn table(policies: &[Listed], has_namespace: bool, is_wide: bool) -> String {
    let mut header = Vec::new();
    header.extend(has_namespace.then_some("NAMESPACE"));
    header.extend(["NAME", "ROUTE", "STATE", "ENDPOINTS"]);
    if is_wide {
        header.extend(["STRATEGY", "MODE", "PROGRAMMED", "REVISION"]);
    }
    let mut table = Table::new(&header);
    // A line of its own for one that the operator has not seen yet.
    let unknown = RouteStatus::default();
    for policy in policies {
        let routes = match &policy.status.routes[..] {
            [] => std::slice::from_ref(&unknown),
            routes => routes,
        };
        for route in routes {
            let mut cells = Vec::new();
            if has_namespace {
                cells.push(policy.metadata.namespace.clone());
            }
            cells.extend([
                policy.metadata.name.clone(),
                route.name.clone(),
                route.state.clone(),
                route.endpoints.join(","),
            ]);
            if is_wide {
                let routing = &policy.status.routing;
                cells.extend([
                    policy.spec.load_balancing.strategy.clone(),
                    policy.spec.mode.clone(),
                    routing.programmed_at.clone().unwrap_or_default(),
                    routing.revision.chars().take(12).collect(),
                ]);
            }
            table.row(cells);
        }
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_that_has_no_route_yet_has_a_line() {
        let of = |document: Value| serde_json::from_value::<Listed>(document).unwrap();
        let policies = [
            of(json!({"metadata": {"namespace": "shop", "name": "new"}})),
            of(json!({
                "metadata": {"namespace": "shop", "name": "orders"},
                "status": {"routes": [{"name": "ro", "state": "Served", "endpoints": ["replica-1"]}]},
            })),
        ];
        let text = table(&policies, false, false);
        let lines: Vec<_> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .collect();
        assert_eq!(lines[1], ["new", "-", "-", "-"], "{text}");
        assert_eq!(lines[2], ["orders", "ro", "Served", "replica-1"], "{text}");
    }
}
