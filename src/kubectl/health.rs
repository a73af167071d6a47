//! `kubectl distributary health`: a line for each policy.

mod follow;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::cluster::{Cluster, Where};
use super::error::{self, Error};
use super::figures;
use super::listed::{self, Listed, Scope};
use super::live::LiveArguments;
use super::output::Output;
use crate::cli::ExitStatus;
use crate::cli::output::Table;
use crate::http_api::answers::PolicyItem;

/// Show whether each policy is well: a line for each.
///
/// Needs the right to list policies. SHARE, RESPONSE and LAG are live figures; without them LAG is that of the status.
///
/// Exit codes: 0; 1 it failed; 4 a policy is not Ready.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    scope: Scope,
    /// After the table show the line of each policy that changes, until interrupted.
    #[arg(short, long)]
    watch: bool,
    #[command(flatten)]
    live: LiveArguments,
    #[command(flatten)]
    output: Output,
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let lines = lines(&cluster, arguments.scope, &arguments.live).await?;
    let text = || table(&lines, arguments.scope.all_namespaces, arguments.output.is_wide());
    let names = lines.iter().map(|line| line.listed.metadata.name.as_str());
    if lines.is_empty() {
        error::note(&listed::none(arguments.scope.namespace(&cluster)));
    }
    arguments.output.print(&document(&lines), names, text)?;
    if arguments.watch {
        return follow::run(&cluster, arguments, lines).await;
    }
    Ok(if lines.iter().all(Line::is_well) {
        ExitStatus::Well
    } else {
        ExitStatus::Unwell
    })
}

/// A policy, with its live figures.
pub struct Line {
    pub listed: Listed,
    live: Option<PolicyItem>,
}

/// The objects and the figures are asked for at the same time.
pub async fn lines(cluster: &Cluster, scope: Scope, live: &LiveArguments) -> Result<Vec<Line>, Error> {
    let namespace = scope.namespace(cluster);
    let figures = live.ask(cluster, async |live| live.policies(namespace).await);
    let (listed, figures) = tokio::join!(listed::policies(cluster, namespace), figures);
    // Whoever may not list them is told that alone.
    let listed = listed?;
    let items = live.known(figures)?.unwrap_or_default().into_iter();
    let mut items: BTreeMap<_, _> = items
        .map(|item| ((item.namespace.clone(), item.name.clone()), item))
        .collect();
    let lines = listed.into_iter().map(|listed| {
        let key = (listed.metadata.namespace.clone(), listed.metadata.name.clone());
        Line {
            live: items.remove(&key),
            listed,
        }
    });
    Ok(lines.collect())
}

impl Line {
    fn is_well(&self) -> bool {
        self.listed.status.ready() == "True"
    }

    /// Healthy and declared replicas.
    fn replicas(&self) -> (Option<u32>, Option<u32>) {
        let live = self.live.as_ref();
        let told = self.listed.status.summary.as_ref();
        (
            live.and_then(|live| live.healthy_replicas)
                .or(told.map(|told| told.healthy_replicas)),
            live.and_then(|live| live.total_replicas)
                .or(told.map(|told| told.total_replicas)),
        )
    }

    pub fn replicas_text(&self) -> String {
        let (healthy, total) = self.replicas();
        let both = healthy.zip(total);
        both.map(|(healthy, total)| format!("{healthy}/{total}"))
            .unwrap_or_default()
    }

    pub fn share(&self) -> String {
        let share = self.live.as_ref().and_then(|live| live.replica_usage_percentage);
        share.map(figures::percent).unwrap_or_default()
    }

    pub fn response(&self) -> String {
        let time = self.live.as_ref().and_then(|live| live.average_response_time);
        time.map(figures::milliseconds).unwrap_or_default()
    }

    pub fn sessions(&self) -> String {
        let sessions = self.live.as_ref().and_then(|live| live.connections);
        sessions.map(|count| count.to_string()).unwrap_or_default()
    }

    /// The largest of the replicas.
    pub fn lag(&self) -> Option<String> {
        match &self.live {
            Some(live) => live.worst_lag_milliseconds.map(figures::lag),
            None => self.listed.status.summary.as_ref()?.lag.clone(),
        }
    }

    fn cells(&self, has_namespace: bool, is_wide: bool) -> Vec<String> {
        let told = self.listed.status.telling();
        let mut cells = Vec::new();
        if has_namespace {
            cells.push(self.listed.metadata.namespace.clone());
        }
        cells.extend([
            self.listed.metadata.name.clone(),
            self.listed.status.ready().to_owned(),
            self.replicas_text(),
            self.share(),
            self.response(),
            self.lag().unwrap_or_default(),
            told.map(|it| it.reason.clone()).unwrap_or_default(),
        ]);
        if is_wide {
            let primary = self.listed.status.primary.as_ref();
            cells.extend([
                primary.map(|primary| primary.id.clone()).unwrap_or_default(),
                self.sessions(),
                told.map(|it| it.message.clone()).unwrap_or_default(),
            ]);
        }
        cells
    }

    pub fn document(&self) -> Value {
        let (healthy, total) = self.replicas();
        let status = &self.listed.status;
        let condition = |type_| {
            status
                .condition(type_)
                .map(|it| json!({"status": it.status, "reason": it.reason, "message": it.message}))
        };
        let live = self.live.as_ref();
        json!({
            "namespace": self.listed.metadata.namespace,
            "name": self.listed.metadata.name,
            "ready": condition("Ready"),
            "degraded": condition("Degraded"),
            "writePrimary": status.primary.as_ref().map(|primary| &primary.id),
            "healthyReplicas": healthy,
            "totalReplicas": total,
            "live": live.is_some(),
            "replicaUsagePercentage": live.and_then(|live| live.replica_usage_percentage),
            "averageResponseTime": live.and_then(|live| live.average_response_time),
            "worstLagMilliseconds": live.and_then(|live| live.worst_lag_milliseconds),
            "connections": live.and_then(|live| live.connections),
        })
    }
}

fn document<'a>(lines: impl IntoIterator<Item = &'a Line>) -> Value {
    json!({"items": lines.into_iter().map(Line::document).collect::<Vec<_>>()})
}

fn table(lines: &[Line], has_namespace: bool, is_wide: bool) -> String {
    let mut header = Vec::new();
    header.extend(has_namespace.then_some("NAMESPACE"));
    header.extend(["NAME", "READY", "REPLICAS", "SHARE", "RESPONSE", "LAG", "REASON"]);
    if is_wide {
        header.extend(["PRIMARY", "SESSIONS", "MESSAGE"]);
    }
    let mut table = Table::new(&header);
    for line in lines {
        table.row(line.cells(has_namespace, is_wide));
    }
    table.text()
}
