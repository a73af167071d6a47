//! `kubectl distributary stats`: figures of policies, or of each server of one.

use serde_json::{Value, json};

use super::cluster::{Cluster, Where, declared, resource_name};
use super::error::{self, Error};
use super::figures;
use super::health::{self, Line};
use super::listed::{self, Chosen};
use super::live::LiveArguments;
use super::output::Output;
use crate::cli::ExitStatus;
use crate::cli::output::Table;
use crate::http_api::answers::{PolicyAnswer, ServerAnswer};

/// Show the work of the servers: of each policy, or of each server of one policy.
///
/// Rates are transactions per second of all clients and databases, without those of the operator. They are live figures: without
/// them the columns are empty.
///
/// Exit codes: 0; 1 it failed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    live: LiveArguments,
    #[command(flatten)]
    output: Output,
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    match &arguments.chosen.name {
        Some(name) => {
            resource_name(name)?;
            of_one(&cluster, arguments, name).await
        }
        None => of_all(&cluster, arguments).await,
    }
}

async fn of_all(cluster: &Cluster, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let scope = arguments.chosen.scope;
    let lines = health::lines(cluster, scope, &arguments.live).await?;
    if lines.is_empty() {
        error::note(&listed::none(scope.namespace(cluster)));
    }
    let names = lines.iter().map(|line| line.listed.metadata.name.as_str());
    let document = json!({"items": lines.iter().map(Line::document).collect::<Vec<_>>()});
    arguments
        .output
        .print(&document, names, || table(&lines, scope.all_namespaces))?;
    Ok(ExitStatus::Well)
}

fn table(lines: &[Line], has_namespace: bool) -> String {
    let mut header = Vec::new();
    header.extend(has_namespace.then_some("NAMESPACE"));
    header.extend(["NAME", "REPLICAS", "SHARE", "RESPONSE", "SESSIONS", "LAG"]);
    let mut table = Table::new(&header);
    for line in lines {
        let mut cells = Vec::new();
        if has_namespace {
            cells.push(line.listed.metadata.namespace.clone());
        }
        cells.push(line.listed.metadata.name.clone());
        cells.extend([
            line.replicas_text(),
            line.share(),
            line.response(),
            line.sessions(),
            line.lag().unwrap_or_default(),
        ]);
        table.row(cells);
    }
    table.text()
}

async fn of_one(cluster: &Cluster, arguments: &Arguments, name: &str) -> Result<ExitStatus, Error> {
    let namespace = &cluster.namespace;
    let figures = arguments
        .live
        .ask(cluster, async |live| live.policy(namespace, name).await);
    let (object, figures) = tokio::join!(cluster.policy(name), figures);
    let (object, live) = (object?, arguments.live.known(figures)?);
    let ids = object.status.iter().flat_map(|status| &status.endpoints);
    let mut ids: Vec<_> = ids.map(|endpoint| endpoint.id.clone()).collect();
    if ids.is_empty() {
        // The operator has not seen it yet.
        ids = declared(&object).into_iter().map(ToOwned::to_owned).collect();
    }
    let document = document(namespace, name, &ids, live.as_ref());
    let text = || of_servers(&ids, live.as_ref(), arguments.output.is_wide());
    arguments.output.print(&document, [name], text)?;
    Ok(ExitStatus::Well)
}

fn document(namespace: &str, name: &str, ids: &[String], live: Option<&PolicyAnswer>) -> Value {
    let endpoint = |id: &String| {
        let server = live.and_then(|live| server(live, id));
        json!({
            "id": id,
            "role": server.map(|server| &server.role),
            "connections": server.and_then(|server| server.connections),
            "serverMaxConnections": server.and_then(|server| server.server_max_connections),
            "maxConnections": server.map(|server| server.max_connections),
            "lagMilliseconds": server.and_then(|server| server.lag_milliseconds),
            "statistics": server.and_then(|server| server.statistics.as_ref()),
        })
    };
    json!({
        "namespace": namespace,
        "name": name,
        "live": live.is_some(),
        "statistics": live.map(|live| &live.statistics),
        "endpoints": ids.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn server<'a>(live: &'a PolicyAnswer, id: &str) -> Option<&'a ServerAnswer> {
    live.endpoints.iter().find(|server| server.id == id)
}

fn of_servers(ids: &[String], live: Option<&PolicyAnswer>, is_wide: bool) -> String {
    let mut header = vec![
        "ENDPOINT", "ROLE", "10S", "1M", "5M", "SESSIONS", "RESPONSE", "P95", "LAG",
    ];
    if is_wide {
        header.extend(["WORST LAG", "ROWS READ", "ROWS CHANGED", "ERRORS"]);
    }
    let mut table = Table::new(&header);
    for id in ids {
        let server = live.and_then(|live| server(live, id));
        table.row(cells(id, server, is_wide));
    }
    let mut text = table.text();
    if let Some(share) = live.and_then(|live| live.statistics.replica_usage_percentage) {
        text.push_str(&format!(
            "\nStandbys did {} of the transactions of the last minute.\n",
            figures::percent(share)
        ));
    }
    text
}

fn cells(id: &str, server: Option<&ServerAnswer>, is_wide: bool) -> Vec<String> {
    let statistics = server.and_then(|server| server.statistics.as_ref());
    let response = statistics.and_then(|it| it.response_time.as_ref());
    let rate = |of: Option<f64>| of.map(figures::rate).unwrap_or_default();
    let mut cells = vec![
        id.to_owned(),
        server.map(|server| server.role.clone()).unwrap_or_default(),
        rate(statistics.and_then(|it| it.ten_seconds.transactions)),
        rate(statistics.and_then(|it| it.minute.transactions)),
        rate(statistics.and_then(|it| it.five_minutes.transactions)),
        server.and_then(sessions).unwrap_or_default(),
        response
            .map(|times| figures::milliseconds(times.mean_milliseconds))
            .unwrap_or_default(),
        response
            .map(|times| figures::milliseconds(times.p95_milliseconds))
            .unwrap_or_default(),
        server
            .and_then(|server| server.lag_milliseconds)
            .map(figures::lag)
            .unwrap_or_default(),
    ];
    if is_wide {
        let errors = statistics.map(|it| &it.errors);
        let errors = errors
            .into_iter()
            .flatten()
            .map(|(class, count)| format!("{class} {count}"));
        cells.extend([
            statistics
                .and_then(|it| it.worst_lag_milliseconds)
                .map(figures::lag)
                .unwrap_or_default(),
            rate(statistics.and_then(|it| it.minute.rows_returned)),
            rate(statistics.and_then(|it| it.minute.rows_changed)),
            errors.collect::<Vec<_>>().join(", "),
        ]);
    }
    cells
}

/// Sessions of clients, of as many as the server takes: `12/200`.
pub fn sessions(server: &ServerAnswer) -> Option<String> {
    let connections = server.connections?;
    Some(match server.server_max_connections {
        Some(most) => format!("{connections}/{most}"),
        None => connections.to_string(),
    })
}
