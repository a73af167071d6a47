//! `distributary plan`: what would be decided and written, offline.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use super::cluster::Connection;
use super::documents::{ClusterArguments, Documents};
use super::output::{Output, yaml};
use super::planned::{self, PolicyPlan};
use super::policy_file::{self, Examples, Source};
use super::{Error, ExitStatus, block_on, cluster, difference, warn};
use crate::k8s::memory::{Now, memory};
use crate::rehearse::Observations;
use crate::render::{config_map, remarks};
use crate::writing::diff::{Diff, Observed, diff};
use distributary_api::validate::Declaration;
use distributary_api::{ReplicaSetPolicy, ReplicaSetPolicyStatus};
use distributary_core::Moment;
use distributary_core::health::Reason;
use distributary_core::ids::PolicyKey;
use distributary_core::policy::Mode;
use distributary_core::world::Memory;

/// Show what a policy would do: the routes, a reason for each server, and the objects.
///
/// Needs no cluster and no server. Validates the policy by the rules of admission and reports every problem. Assumes that
/// every server is well and has its declared role, unless --observations says otherwise. Assumes the Secrets, pods and
/// addresses that the files do not contain, with a warning.
///
/// Warns of what a policy says in vain, such as a tag that no server has.
///
/// Exit codes: 0; 3 the policy is invalid or, with --strict, says something in vain; 4 a route would be held or lead nowhere, or a ConfigMap would be too large; 5 --diff
/// found differences.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// File with the answers of the servers, as in 'checks: {replica-1: [standby, ConnectRefused x 6]}'; see docs/cli.md.
    #[arg(long, value_name = "FILE")]
    observations: Option<PathBuf>,
    /// Show the differences from the objects in the cluster or, with --previous, from the objects of an earlier policy. For
    /// the cluster, every server is assumed to be well, in the role and at the address that its status shows.
    #[arg(long)]
    diff: bool,
    /// File with the earlier policy, such as the one on the branch to merge into.
    #[arg(long, value_name = "FILE", requires = "diff")]
    previous: Option<PathBuf>,
    /// Treat a warning of what the policy says in vain as an error.
    #[arg(long)]
    strict: bool,
    /// Show whole objects with -o table too.
    #[arg(long)]
    objects: bool,
    #[command(flatten)]
    output: Output,
}

/// What the operator knows of the servers that serve, which need not prove anew that they follow; of the others nothing, as all
/// are assumed to be well.
fn as_it_serves(status: &ReplicaSetPolicyStatus) -> Memory {
    let now = Now {
        wall: Timestamp::UNIX_EPOCH,
        moment: Moment::default(),
    };
    let mut known = memory(status, now);
    known
        .endpoints
        .retain(|_, endpoint| endpoint.reason == Some(Reason::Serving));
    Memory {
        holding: known.holding,
        endpoints: known.endpoints,
        ..Memory::default()
    }
}

/// `connection`: to the cluster that --diff compares with.
pub fn main(arguments: &Arguments, connection: &Connection) -> Result<ExitStatus, Error> {
    let observed = arguments.observations.as_deref();
    let seen = policy_file::observations(observed)?;
    let mut documents = arguments.source.documents()?;
    arguments.cluster.are_of(&mut documents);
    let live = if arguments.diff && arguments.previous.is_none() {
        block_on(live(connection, &mut documents))?
    } else {
        Live::new()
    };
    let mut examples = Examples::default();
    let policies = planned::assumed(&documents, &seen, &mut examples)?;
    remark(&policies, arguments.strict)?;
    if observed.is_some() && policies.len() > 1 {
        return Err(Error::invalid(
            "observations are of one policy, and there are several in these files",
        ));
    }
    let mut plans = Vec::new();
    for declared in policies {
        let status = live
            .get(&declared.policy.key)
            .and_then(|object| object.status.as_ref());
        let memory = status.map(as_it_serves).unwrap_or_default();
        let seen = match status {
            Some(status) if observed.is_none() => {
                cluster::as_in_status(status).of(&declared.policy, &declared.resolved)
            }
            _ => seen.clone(),
        };
        plans.push(PolicyPlan::new(
            &declared,
            seen,
            memory,
            &BTreeSet::new(),
            &mut examples,
        )?);
    }
    let changes = match &arguments.previous {
        Some(file) => Some(since(
            (file, &arguments.source.namespace),
            &documents,
            &plans,
            &seen,
            &mut examples,
        )?),
        None if arguments.diff => Some(block_on(to_cluster(connection, &plans))?),
        None => None,
    };
    planned::warn_of(&examples);
    show(arguments, &plans, changes.as_deref())?;
    Ok(match changes {
        Some(changes) if changes.iter().any(Change::is_one) => ExitStatus::Different,
        _ if plans.iter().all(PolicyPlan::is_well) => ExitStatus::Well,
        _ => ExitStatus::Unwell,
    })
}

/// Says what the policies say in vain.
fn remark(policies: &[Declaration], strict: bool) -> Result<(), Error> {
    let of_policy = |declared: &Declaration| {
        let key = declared.policy.key.clone();
        let remarks = remarks::of(&declared.policy).into_iter();
        remarks.map(move |remark| format!("{key}: {remark}"))
    };
    let all: Vec<_> = policies.iter().flat_map(of_policy).collect();
    if strict && !all.is_empty() {
        return Err(Error::Invalid(all));
    }
    for remark in all {
        warn(&remark);
    }
    Ok(())
}

/// The policies in the cluster.
type Live = BTreeMap<PolicyKey, ReplicaSetPolicy>;

/// Reads the policies of the documents from the cluster, with what they name and the documents do not have. The objects
/// belong to the policy by its uid.
async fn live(connection: &Connection, documents: &mut Documents) -> Result<Live, Error> {
    let (client, _) = connection.client().await?;
    let mut live = Live::new();
    for at in 0..documents.policies.len() {
        let Ok(object) = policy_file::object(&documents.policies[at], &documents.names) else {
            continue;
        };
        let metadata = &object.metadata;
        let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
        let key = PolicyKey::new(namespace.unwrap_or_default(), name.unwrap_or_default());
        cluster::complete(&client, documents, &object).await?;
        if let Some(found) = cluster::policy(&client, &key.namespace, &key.name).await? {
            documents.policies[at]["metadata"]["uid"] = json!(found.metadata.uid);
            live.insert(key, found);
        }
    }
    Ok(live)
}

/// What changes for one policy.
struct Change {
    policy: PolicyKey,
    diff: Diff,
    before: Observed,
}

impl Change {
    fn is_one(&self) -> bool {
        !(self.diff.writes.is_empty() && self.diff.conflicts.is_empty())
    }
}

/// To the objects that the policies of a file lead to, by the same observations.
fn since(
    (file, namespace): (&PathBuf, &str),
    like: &Documents,
    plans: &[PolicyPlan],
    seen: &Observations,
    examples: &mut Examples,
) -> Result<Vec<Change>, Error> {
    let mut documents = Documents::read(std::slice::from_ref(file), namespace)?;
    (documents.cluster, documents.names) = (like.cluster.clone(), like.names.clone());
    let mut before = BTreeMap::new();
    for declared in planned::assumed(&documents, seen, examples)? {
        let seen = seen.clone().of(&declared.policy, &declared.resolved);
        let planned = PolicyPlan::new(&declared, seen, Memory::default(), &BTreeSet::new(), examples)?;
        before.insert(declared.policy.key.clone(), planned);
    }
    let objects = |planned: Option<&PolicyPlan>| -> Observed {
        let objects = planned.map(PolicyPlan::objects).unwrap_or_default();
        objects
            .iter()
            .map(|object| (object.id.clone(), object.body.clone()))
            .collect()
    };
    let mut changes: Vec<_> = plans
        .iter()
        .map(|planned| {
            let policy = planned.policy().key.clone();
            let before = objects(before.get(&policy));
            Change {
                diff: changed(planned, &before),
                policy,
                before,
            }
        })
        .collect();
    // Policies that are no longer there: what they wrote goes with them.
    let gone = |key: &&PolicyKey| !plans.iter().any(|planned| planned.policy().key == **key);
    let names: Vec<_> = before.keys().filter(gone).cloned().collect();
    for policy in names {
        let before = objects(
            before
                .get(&policy)
                .filter(|planned| !planned.declared.outputs.retain),
        );
        changes.push(Change {
            diff: diff(&[], &before, ""),
            policy,
            before,
        });
    }
    Ok(changes)
}

async fn to_cluster(connection: &Connection, plans: &[PolicyPlan]) -> Result<Vec<Change>, Error> {
    let (client, _) = connection.client().await?;
    let mut changes = Vec::new();
    for planned in plans {
        let policy = planned.policy().key.clone();
        let before = cluster::objects(&client, &policy, planned.objects()).await?;
        changes.push(Change {
            diff: changed(planned, &before),
            policy,
            before,
        });
    }
    Ok(changes)
}

/// What would be written; nothing in the modes that write nothing, and while nothing is decided.
fn changed(planned: &PolicyPlan, before: &Observed) -> Diff {
    if planned.policy().mode == Mode::Enforce && planned.manifests.is_some() {
        let mut before = before.clone();
        before.retain(|id, _| {
            !planned
                .too_large()
                .iter()
                .any(|map| *id == config_map::id(&map.config_map))
        });
        diff(planned.objects(), &before, &planned.policy().uid)
    } else {
        Diff::default()
    }
}

fn show(arguments: &Arguments, plans: &[PolicyPlan], changes: Option<&[Change]>) -> Result<(), Error> {
    let mut document = json!({"policies": plans.iter().map(PolicyPlan::document).collect::<Vec<_>>()});
    if let Some(changes) = changes {
        let each = |change: &Change| {
            let mut document = difference::document(&change.diff);
            document["policy"] = json!({"namespace": change.policy.namespace, "name": change.policy.name});
            document
        };
        document["changes"] = changes.iter().map(each).collect();
    }
    let text = text(arguments, plans, changes)?;
    arguments.output.print(&document, || text)
}

fn text(arguments: &Arguments, plans: &[PolicyPlan], changes: Option<&[Change]>) -> Result<String, Error> {
    let mut parts = Vec::new();
    for planned in plans {
        let mut part = planned.text();
        if arguments.objects {
            for object in planned.objects() {
                part.push_str(&format!("---\n{}", yaml(&object.body)?));
            }
        } else if changes.is_none() && planned.manifests.is_some() {
            part.push_str("\nOBJECT\n");
            for object in planned.objects() {
                part.push_str(&format!("{}\n", object.id));
            }
        }
        parts.push(part);
    }
    for change in changes.into_iter().flatten() {
        let differences = difference::text(&change.diff, &change.before)?;
        let none = "nothing would be written\n".to_owned();
        parts.push(format!(
            "changes of {}:\n{}",
            change.policy,
            if change.is_one() { differences } else { none }
        ));
    }
    Ok(parts.join("\n"))
}
