//! `distributary drill`: what the routes would be if a server, or a region, were gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use super::documents::ClusterArguments;
use super::endpoints::servers;
use super::output::{Output, Table};
use super::planned::{self, PolicyPlan};
use super::policy_file::{self, Examples, Source};
use super::{Error, ExitStatus, routes};
use crate::rehearse::Observations;
use distributary_api::validate::Declaration;
use distributary_core::breaker::CircuitState;
use distributary_core::decision::{EndpointView, TargetState};
use distributary_core::ids::EndpointId;
use distributary_core::observation::Role;
use distributary_core::plan::{Route, RoutingPlan};
use distributary_core::policy::Policy;
use distributary_core::table::named;
use distributary_core::world::Memory;

/// Show the routes that would remain after the loss of each server and of each region.
///
/// Needs no cluster and no server. A lost server refuses connections until its circuit is open; the other servers are well,
/// unless --observations says otherwise. No server is promoted meanwhile; the output names the servers that could take over
/// the writes.
///
/// Exit codes: 0; 3 the policy is invalid; 4 a loss would leave reads held, or leading nowhere.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// File with the answers of the servers before the loss, as in 'checks: {replica-1: [standby, ConnectRefused x 6]}'; see docs/cli.md.
    #[arg(long, value_name = "FILE")]
    observations: Option<PathBuf>,
    #[command(flatten)]
    output: Output,
}

pub fn main(arguments: &Arguments) -> Result<ExitStatus, Error> {
    let seen = policy_file::observations(arguments.observations.as_deref())?;
    // A drill is wanted, whatever the mode.
    let mut documents = arguments.source.documents()?.enforced();
    arguments.cluster.are_of(&mut documents);
    let mut examples = Examples::default();
    let policies = planned::assumed(&documents, &seen, &mut examples)?;
    if arguments.observations.is_some() && policies.len() > 1 {
        return Err(Error::invalid(
            "observations are of one policy, and there are several in these files",
        ));
    }
    let mut drills = Vec::new();
    for declared in policies {
        drills.push(Drill::new(&declared, &seen, &mut examples)?);
    }
    planned::warn_of(&examples);
    let document = json!({"policies": drills.iter().map(Drill::document).collect::<Vec<_>>()});
    let text = || drills.iter().map(Drill::text).collect::<Vec<_>>().join("\n");
    arguments.output.print(&document, text)?;
    Ok(if drills.iter().all(Drill::keeps_reads) {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

struct Drill {
    policy: Arc<Policy>,
    /// What is gone, as `replica-1` or `region us-east-1`, and what follows. First nothing is gone.
    losses: Vec<(Loss, PolicyPlan)>,
}

#[derive(Clone)]
enum Loss {
    Nothing,
    Endpoint(EndpointId),
    Region(String),
}

impl Loss {
    fn name(&self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Endpoint(id) => id.to_string(),
            Self::Region(region) => format!("region {region}"),
        }
    }

    fn includes(&self, policy: &Policy, id: &EndpointId) -> bool {
        match self {
            Self::Nothing => false,
            Self::Endpoint(lost) => lost == id,
            Self::Region(lost) => policy
                .endpoint(id)
                .is_some_and(|it| it.region.as_ref() == Some(lost)),
        }
    }
}

impl Drill {
    fn new(declared: &Declaration, seen: &Observations, examples: &mut Examples) -> Result<Self, Error> {
        let policy = Arc::clone(&declared.policy);
        let watched = || policy.endpoints.iter().filter(|endpoint| endpoint.is_watched());
        let regions: BTreeSet<_> = watched().filter_map(|endpoint| endpoint.region.clone()).collect();
        let mut losses = vec![Loss::Nothing];
        losses.extend(watched().map(|endpoint| Loss::Endpoint(endpoint.id.clone())));
        losses.extend(regions.into_iter().map(Loss::Region));
        let mut drill = Self {
            losses: Vec::new(),
            policy: Arc::clone(&policy),
        };
        for loss in losses {
            let ids = policy.endpoints.iter().map(|endpoint| endpoint.id.clone());
            let lost = ids.filter(|id| loss.includes(&policy, id)).collect();
            let planned = PolicyPlan::new(declared, seen.clone(), Memory::default(), &lost, examples)?;
            drill.losses.push((loss, planned));
        }
        Ok(drill)
    }

    /// Whether every loss leaves every route but that of writes with a server that is well.
    fn keeps_reads(&self) -> bool {
        self.losses.iter().all(|(_, planned)| {
            let reads = |plan: &RoutingPlan| {
                routes::all(&self.policy, plan)
                    .into_iter()
                    .filter(|(name, _)| name != named::WRITES)
                    .all(|(_, route)| routes::is_well(route))
            };
            planned.plan().is_some_and(reads)
        })
    }

    /// The servers that may take the writes over when promoted, where a loss leaves no primary that is well.
    fn candidates(&self, loss: &Loss, planned: &PolicyPlan) -> Option<Vec<String>> {
        if routes::is_well(&planned.plan()?.rw) {
            return None;
        }
        let is_left = |view: &&EndpointView| !loss.includes(&self.policy, &view.id);
        let may = |state: &TargetState| {
            let is_well = state.circuit.state() == CircuitState::Closed;
            state.role == Some(Role::Standby) && is_well && state.obstacle.is_none()
        };
        let servers = planned.views().iter().filter(is_left).flat_map(servers);
        let well = servers.filter(|(_, state)| may(state));
        Some(well.map(|(target, _)| target.to_string()).collect())
    }

    fn document(&self) -> Value {
        let each = |(loss, planned): &(Loss, PolicyPlan)| {
            let lost = match loss {
                Loss::Nothing => json!({}),
                Loss::Endpoint(id) => json!({"endpoint": id.as_str()}),
                Loss::Region(region) => json!({"region": region}),
            };
            json!({
                "lost": lost,
                "routes": planned.subject().as_ref().map(routes::document),
                "undecided": planned.plan().is_none(),
                "mayTakeWrites": self.candidates(loss, planned),
            })
        };
        json!({
            "policy": {"namespace": self.policy.key.namespace, "name": self.policy.key.name},
            "losses": self.losses.iter().map(each).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let mut table = Table::new(&["LOST", "ROUTE", "STATE", "ENDPOINTS", "CHANGE"]);
        let before: BTreeMap<_, _> = self
            .losses
            .first()
            .and_then(|(_, planned)| planned.plan())
            .map(|plan| {
                routes::all(&self.policy, plan)
                    .into_iter()
                    .map(|(name, route)| (name, (route.state, members(route))))
                    .collect()
            })
            .unwrap_or_default();
        let mut notes = Vec::new();
        for (loss, planned) in &self.losses {
            for (name, route) in planned
                .plan()
                .map(|plan| routes::all(&self.policy, plan))
                .unwrap_or_default()
            {
                let members = members(route);
                let is_changed = before.get(&name) != Some(&(route.state, members.clone()));
                let change = if is_changed { "changed" } else { "" };
                table.row([
                    loss.name(),
                    name,
                    route.state.to_string(),
                    members,
                    change.to_owned(),
                ]);
            }
            notes.extend(
                self.candidates(loss, planned)
                    .map(|candidates| note(loss, &candidates)),
            );
        }
        let notes = if notes.is_empty() {
            String::new()
        } else {
            format!("\n{}\n", notes.join("\n"))
        };
        format!("{}\n\n{}{notes}", self.policy.key, table.text())
    }
}

fn note(loss: &Loss, candidates: &[String]) -> String {
    let lost = match loss {
        Loss::Nothing => "without a loss".to_owned(),
        loss => format!("without {}", loss.name()),
    };
    if candidates.is_empty() {
        format!("{lost}: no server could take over the writes")
    } else {
        format!(
            "{lost}: writes continue after one of these servers is promoted: {}",
            candidates.join(", ")
        )
    }
}

/// Those in the slice; what the route has beside them is for clients that read routing.json.
fn members(route: &Route) -> String {
    let ids = |in_slice| {
        let members = route.members.iter().filter(|member| member.in_slice == in_slice);
        let ids: Vec<_> = members.map(|member| member.target.to_string()).collect();
        ids.join(",")
    };
    match (ids(true), ids(false)) {
        (slice, beyond) if beyond.is_empty() => slice,
        (slice, beyond) if slice.is_empty() => format!("(not in slice: {beyond})"),
        (slice, beyond) => format!("{slice} (not in slice: {beyond})"),
    }
}
