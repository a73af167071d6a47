//! `distributary explain`: what a status says of each endpoint, and what must happen next.

mod asked;
mod takeover;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::{Value, json};

use super::cluster::Connection;
use super::documents::Documents;
use super::endpoints::{self, Row};
use super::output::{Output, Table};
use super::routes::{self, Place};
use super::{Error, ExitStatus, block_on, cluster, policy_file, warn};
use crate::render::config_map::ROUTING;
use crate::render::status::{ConditionStatus, ConditionType};
use crate::telemetry::chain;
use asked::RouteQuery;
use distributary_api::{EndpointStatus, ReplicaSetPolicy, ReplicaSetPolicyStatus, TargetStatus};
use distributary_core::ids::PolicyKey;
use distributary_core::routing::Priority;
use distributary_core::table::{Route, RoutingTable};
use takeover::Takeover;

/// Explain the status of a policy: which servers serve, which do not, why, since when, and what to do.
///
/// Reads the policy and the ConfigMap with its routes from the cluster (KUBECONFIG, or ~/.kube/config), or from files, such
/// as the output of 'kubectl get rsp,configmap -o yaml'.
///
/// Exit codes: 0; 3 the files are not valid; 4 a server is not as declared, or the policy is not Ready.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "NAME")]
    name: String,
    /// Namespace of the policy. Default: the namespace of the kubeconfig; for objects in files without a namespace, default.
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Explain only the route of this class of operations.
    #[arg(long, value_name = "NAME", conflicts_with = "region")]
    pub class: Option<String>,
    /// Explain only the route of this operation. An operation of no class is a write, unless --read-only is given.
    #[arg(long, value_name = "NAME", conflicts_with = "class")]
    pub operation: Option<String>,
    /// The operation writes nothing.
    #[arg(long, requires = "operation")]
    pub read_only: bool,
    /// Explain only the route of a read that prefers the primary.
    #[arg(long)]
    pub prefer_primary: bool,
    /// Explain only the route of reads from this region.
    #[arg(long, value_name = "NAME")]
    pub region: Option<String>,
    /// Explain only the route of operations of this priority. Where the policy does not route the priority, explain the
    /// route of the class, of the region, or of reads without a class.
    #[arg(long, value_name = "WORD", value_parser = priorities())]
    pub priority: Option<Priority>,
    /// File with the policy and its status, read instead of the cluster; may be given more than once; - is standard input.
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    output: Output,
}

fn priorities() -> impl TypedValueParser<Value = Priority> {
    let words = Priority::ALL.iter().map(|priority| priority.word());
    PossibleValuesParser::new(words)
        .try_map(|word| Priority::from_word(&word).ok_or_else(|| format!("{word} is no priority")))
}

/// `connection`: to the cluster that has the policy.
pub fn main(arguments: &Arguments, connection: &Connection) -> Result<ExitStatus, Error> {
    let (object, text) = if arguments.files.is_empty() {
        block_on(of_cluster(connection, arguments))?
    } else {
        of_files(arguments)?
    };
    let table = match text.map(|text| RoutingTable::read(&text)).transpose() {
        Ok(table) => table,
        Err(error) => {
            warn(&chain(&error));
            None
        }
    };
    let asked = RouteQuery::of(arguments, table.as_ref(), &object.spec)?;
    let explained = Explanation::new(&object, table, asked);
    arguments
        .output
        .print(&explained.document(), || explained.text())?;
    Ok(if explained.is_well() {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

/// The policy, and its routing.json where it is there.
async fn of_cluster(
    connection: &Connection,
    arguments: &Arguments,
) -> Result<(ReplicaSetPolicy, Option<String>), Error> {
    let (client, default) = connection.client().await?;
    let namespace = arguments.namespace.clone().unwrap_or(default);
    let name = &arguments.name;
    cluster::path_part("namespace", &namespace)?;
    cluster::path_part("resource name", name)?;
    let object = cluster::policy(&client, &namespace, name).await?;
    let object = object.ok_or_else(|| Error::Missing(PolicyKey::new(&namespace, name)))?;
    let routing = match config_map_name(&object) {
        // Whoever may read the policy alone is told what its status says.
        Some(name) => match cluster::config_map(&client, &namespace, name).await {
            Err(error) if error.is_forbidden() => {
                warn(&chain(&error));
                None
            }
            read => read?,
        },
        None => None,
    };
    let text = routing
        .as_ref()
        .and_then(|map| map["data"][ROUTING].as_str())
        .map(ToOwned::to_owned);
    Ok((object, text))
}

fn of_files(arguments: &Arguments) -> Result<(ReplicaSetPolicy, Option<String>), Error> {
    let default = arguments.namespace.as_deref().unwrap_or("default");
    let documents = Documents::read(&arguments.files, default)?;
    let asked = |document: &&Value| {
        let in_namespace = arguments
            .namespace
            .as_ref()
            .is_none_or(|asked| document["metadata"]["namespace"] == *asked);
        document["metadata"]["name"] == arguments.name && in_namespace
    };
    let found: Vec<_> = documents.policies.iter().filter(asked).collect();
    let [document] = found[..] else {
        let what = if found.is_empty() {
            "there is no"
        } else {
            "name the namespace: there is more than one"
        };
        return Err(Error::invalid(format!(
            "{what} ReplicaSetPolicy {} in these files",
            arguments.name
        )));
    };
    let object = policy_file::unjudged(document)?;
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    let map = config_map_name(&object).map(|name| (namespace, name.to_owned()));
    let data = map.and_then(|key| documents.config_maps.get(&key));
    let text = data.and_then(|data| data.get(ROUTING).cloned());
    Ok((object, text))
}

fn config_map_name(object: &ReplicaSetPolicy) -> Option<&str> {
    Some(object.status.as_ref()?.routing.as_ref()?.config_map.as_str())
}

/// The routes of routing.json by their names.
type Routes = BTreeMap<String, Route>;

/// What a status says.
struct Explanation {
    title: String,
    asked: Option<RouteQuery>,
    status: Option<ReplicaSetPolicyStatus>,
    /// The routes of routing.json, where it is there.
    routes: Option<Routes>,
    shown: Vec<Row>,
    /// The generation of the spec is newer than what the status describes.
    outdated: bool,
}

impl Explanation {
    fn new(object: &ReplicaSetPolicy, table: Option<RoutingTable>, asked: Option<RouteQuery>) -> Self {
        let status = object.status.clone();
        let mut routes = table.map(|table| table.routes);
        if let (Some(asked), Some(routes)) = (&asked, routes.as_mut()) {
            routes.retain(|name, _| *name == asked.route);
        }
        let described = status.as_ref().and_then(|status| status.observed_generation);
        let endpoints = status.iter().flat_map(|status| &status.endpoints);
        Self {
            title: format!(
                "{}/{}",
                object.metadata.namespace.as_deref().unwrap_or_default(),
                object.metadata.name.as_deref().unwrap_or_default()
            ),
            outdated: object.metadata.generation.is_some() && described != object.metadata.generation,
            shown: endpoints
                .flat_map(|endpoint| of_endpoint(endpoint, routes.as_ref()))
                .collect(),
            status,
            routes,
            asked,
        }
    }

    /// Who is well, and not in the route that is asked for, with the reason.
    fn left_out(&self) -> Vec<(&Row, &'static str)> {
        let out = |asked: &'_ RouteQuery| {
            let others = self
                .shown
                .iter()
                .filter(|it| it.is_well() && it.routes.is_empty());
            others.map(|it| (it, asked.why_not(it))).collect()
        };
        self.asked.as_ref().map(out).unwrap_or_default()
    }

    fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        let conditions = self.status.as_ref().map(|status| &status.conditions);
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == type_.into_str())
    }

    /// Whether reads and writes are routed; `None`: the status does not say it.
    fn is_ready(&self) -> Option<bool> {
        let ready = self.condition(ConditionType::Ready)?;
        Some(ready.status == ConditionStatus::True.into_str())
    }

    fn is_well(&self) -> bool {
        self.is_ready() == Some(true) && self.shown.iter().all(Row::is_plain)
    }

    /// The conditions that say more than that all is well, as `TYPE: MESSAGE`.
    fn conditions(&self) -> Vec<String> {
        let is_good = |condition: &&Condition| {
            ConditionType::from_str(&condition.type_)
                .is_ok_and(|type_| condition.status == type_.good().into_str())
        };
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        let worse = conditions.filter(|condition| !is_good(condition));
        worse
            .map(|it| {
                let since = &it.last_transition_time.0;
                format!(
                    "{} is {} since {since}: {}: {}",
                    it.type_, it.status, it.reason, it.message
                )
            })
            .collect()
    }

    fn takeover<'a>(&'a self, row: &'a Row) -> Takeover<'a> {
        let memory = self.status.as_ref().and_then(|status| status.memory.as_ref());
        Takeover::of(row, memory.and_then(|memory| memory.holder.as_ref()))
    }

    /// Who may take over the writes, and why not.
    fn takeovers(&self) -> String {
        let mut table = Table::new(&["ENDPOINT", "MAY TAKE OVER THE WRITES"]);
        for row in &self.shown {
            table.row([row.id.clone(), self.takeover(row).sentence()]);
        }
        table.text()
    }

    fn endpoint(&self, row: &Row) -> Value {
        let mut document = row.document();
        document["mayTakeOver"] = self.takeover(row).document();
        document
    }

    fn document(&self) -> Value {
        let status = self.status.as_ref();
        let left_out = self.left_out();
        let left_out = left_out
            .iter()
            .map(|(it, why)| json!({"endpoint": it.id, "why": why}));
        json!({
            "policy": self.title,
            "route": self.asked.as_ref().map(|asked| &asked.route),
            "leftOut": left_out.collect::<Vec<_>>(),
            "ready": self.is_ready(),
            "outdated": self.outdated,
            "writes": status.and_then(|status| status.primary.as_ref()),
            "conditions": self.conditions(),
            "routes": self.routes,
            "endpoints": self.shown.iter().map(|row| self.endpoint(row)).collect::<Vec<_>>(),
        })
    }

    fn text(&self) -> String {
        let Some(status) = &self.status else {
            return format!(
                "{}: there is no status: the operator has not seen the policy yet, or the file was not read from a cluster\n",
                self.title
            );
        };
        let mut text = match self.condition(ConditionType::Ready) {
            Some(ready) => format!("{}: {} ({})\n", self.title, ready.message, ready.reason),
            None => format!("{}: the status has no condition Ready yet\n", self.title),
        };
        if self.outdated {
            text.push_str(
                "The status describes an earlier spec: the operator has not processed the newest one yet.\n",
            );
        }
        if let Some(primary) = &status.primary {
            let promoted = primary.id != primary.declared && !primary.declared.is_empty();
            let declared = if promoted {
                format!(" (declared: {})", primary.declared)
            } else {
                String::new()
            };
            text.push_str(&format!("Writes: {}{declared}\n", primary.id));
        }
        if let Some(routes) = &self.routes {
            text.push_str(&format!("\n{}", table(routes)));
        }
        if !self.shown.is_empty() {
            text.push_str(&format!("\n{}", endpoints::table(&self.shown)));
        }
        if !self.shown.is_empty() && self.asked.is_none() {
            text.push_str(&format!("\n{}", self.takeovers()));
        }
        let explanations = endpoints::explanations(&self.shown);
        if !explanations.is_empty() {
            text.push_str(&format!("\n{explanations}"));
        }
        for (it, why) in self.left_out() {
            text.push_str(&format!(
                "\n{}: The server is well, but not in this route: {why}.\n",
                it.id
            ));
        }
        let conditions = self.conditions();
        if !conditions.is_empty() {
            text.push_str(&format!("\n{}\n", conditions.join("\n")));
        }
        text
    }
}

fn table(routes: &Routes) -> String {
    let places = |(name, route): (&String, &Route)| {
        let place = |target| Place::of_table(target, route.service.is_some());
        let places: Vec<_> = route.targets.iter().map(place).collect();
        (name.clone(), route.state, places)
    };
    routes::of_places(routes.iter().map(places))
}

/// An endpoint; of a Service, each of its pods.
pub fn of_endpoint(status: &EndpointStatus, routes: Option<&Routes>) -> Vec<Row> {
    let since = status.since.0.to_string();
    if !status.targets.is_empty() {
        return status
            .targets
            .iter()
            .map(|pod| of_pod(&status.id, &since, pod, routes))
            .collect();
    }
    vec![Row {
        id: status.id.clone(),
        address: status.address.clone(),
        routes: routes_of(
            routes,
            &status.id,
            status.address.as_deref(),
            status.server.eligible,
        ),
        since: Some(since),
        sessions: status.sessions,
        server: status.server.clone(),
    }]
}

fn of_pod(id: &str, since: &str, pod: &TargetStatus, routes: Option<&Routes>) -> Row {
    Row {
        id: format!("{id}@{}", pod.address),
        address: Some(pod.address.clone()),
        routes: routes_of(routes, id, Some(&pod.address), pod.server.eligible),
        since: Some(since.to_owned()),
        sessions: None,
        server: pod.server.clone(),
    }
}

/// The routes whose slices hold an address of an endpoint; without routing.json only whether it is in one.
fn routes_of(routes: Option<&Routes>, id: &str, address: Option<&str>, eligible: bool) -> Vec<String> {
    let Some(routes) = routes else {
        return if eligible {
            vec!["yes".to_owned()]
        } else {
            Vec::new()
        };
    };
    let address = address.and_then(|address| address.parse::<IpAddr>().ok());
    let serves = |(_, route): &(&String, &Route)| {
        let mut targets = route.targets.iter();
        targets.any(|target| target.in_slice && target.endpoint == id && Some(target.address) == address)
    };
    routes
        .iter()
        .filter(serves)
        .map(|(name, _)| name.clone())
        .collect()
}
