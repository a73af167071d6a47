//! What is shown of a policy: its object, with what the operator knows right now. Pure, but for the age of a time.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::endpoints::{self, Row};
use crate::cli::explain;
use crate::cli::output::Table;
use crate::clock::timestamp;
use crate::http_api::answers::{PolicyAnswer, ServerAnswer};
use crate::kubectl::cluster::Policy;
use crate::kubectl::figures;
use crate::kubectl::stats;
use crate::render::cause;
use distributary_api::{LagStatus, ReplicaSetPolicyStatus, RouteStatus, ServerStatus};

/// A policy as it is shown.
#[derive(Clone, Debug)]
pub struct View {
    title: String,
    status: Option<ReplicaSetPolicyStatus>,
    /// The generation of the spec is newer than what the status describes.
    is_outdated: bool,
    is_live: bool,
    servers: Vec<Server>,
    routes: Vec<RouteStatus>,
}

/// An endpoint, or one of its pods.
#[derive(Clone, Debug)]
struct Server {
    row: Row,
    /// What the operator knows of it right now.
    live: Option<ServerAnswer>,
    since: Option<Timestamp>,
}

impl View {
    /// `live`: what the operator knows of it right now.
    pub fn new(object: &Policy, live: Option<&PolicyAnswer>) -> Self {
        let status = object.status.clone();
        let described = status.as_ref().and_then(|status| status.observed_generation);
        let endpoints = status.iter().flat_map(|status| &status.endpoints);
        let rows = endpoints.flat_map(|endpoint| explain::of_endpoint(endpoint, None));
        Self {
            title: format!(
                "{}/{}",
                object.metadata.namespace.as_deref().unwrap_or_default(),
                object.metadata.name.as_deref().unwrap_or_default()
            ),
            is_outdated: object.metadata.generation.is_some() && described != object.metadata.generation,
            is_live: live.is_some(),
            servers: rows.map(|row| Server::new(row, live)).collect(),
            routes: routes(status.as_ref(), live),
            status,
        }
    }

    /// Whether the same is shown, whatever the figures are.
    pub fn is_same(&self, other: &Self) -> bool {
        let is_same = |(own, other): (&Server, &Server)| {
            own.row.id == other.row.id && own.row.server == other.row.server && own.since == other.since
        };
        self.conditions() == other.conditions()
            && self.is_outdated == other.is_outdated
            && self.routes == other.routes
            && self.servers.len() == other.servers.len()
            && self.servers.iter().zip(&other.servers).all(is_same)
    }

    /// Whether the policy is Ready, and every server as declared.
    pub fn is_well(&self) -> bool {
        let ready = self.condition("Ready");
        ready.is_some_and(|ready| ready.status == "True") && self.servers.iter().all(|it| it.row.is_plain())
    }

    fn condition(&self, type_: &str) -> Option<&Condition> {
        let mut conditions = self.status.iter().flat_map(|status| &status.conditions);
        conditions.find(|condition| condition.type_ == type_)
    }

    /// Of those that say how reads and writes fare.
    fn conditions(&self) -> Vec<(&str, &str, &str, &str)> {
        let told = ["Ready", "Degraded"]
            .into_iter()
            .filter_map(|type_| self.condition(type_));
        told.map(|it| (&*it.type_, &*it.status, &*it.reason, &*it.message))
            .collect()
    }

    pub fn document(&self) -> Value {
        let status = self.status.as_ref();
        let conditions = self.conditions().into_iter().map(|(type_, status, reason, message)| {
            json!({"type": type_, "status": status, "reason": reason, "message": message})
        });
        json!({
            "policy": self.title,
            "live": self.is_live,
            "outdated": self.is_outdated,
            "conditions": conditions.collect::<Vec<_>>(),
            "writes": status.and_then(|status| status.primary.as_ref()),
            "endpoints": self.servers.iter().map(Server::document).collect::<Vec<_>>(),
            "routes": self.routes,
        })
    }

    pub fn text(&self, is_wide: bool) -> String {
        let Some(status) = &self.status else {
            return format!("{}: the operator has not seen the policy yet\n", self.title);
        };
        let mut text = match self.condition("Ready") {
            Some(ready) => format!("{}: {} ({})\n", self.title, ready.message, ready.reason),
            None => format!("{}: the status has no condition Ready yet\n", self.title),
        };
        if self.is_outdated {
            text.push_str("The operator has not processed the newest spec yet.\n");
        }
        let degraded = self.condition("Degraded").filter(|it| it.status == "True");
        if let Some(degraded) = degraded {
            text.push_str(&format!("Degraded: {} ({})\n", degraded.message, degraded.reason));
        }
        if let Some(primary) = &status.primary {
            let is_other = primary.id != primary.declared && !primary.declared.is_empty();
            let declared = is_other.then(|| format!(" (declared: {})", primary.declared));
            text.push_str(&format!(
                "Writes: {}{}\n",
                primary.id,
                declared.unwrap_or_default()
            ));
        }
        if !self.servers.is_empty() {
            text.push_str(&format!("\n{}", self.table(is_wide)));
        }
        if !self.routes.is_empty() {
            text.push_str(&format!("\n{}", self.route_table()));
        }
        let explained = endpoints::explanations(self.servers.iter().map(|it| &it.row));
        if !explained.is_empty() {
            text.push_str(&format!("\n{explained}"));
        }
        text
    }

    fn table(&self, is_wide: bool) -> String {
        let mut header = vec!["ENDPOINT", "ROLE", "LAG", "SESSIONS", "RATE", "REASON", "SINCE"];
        if is_wide {
            header.extend(["CIRCUIT", "RESPONSE", "REGION", "ADDRESS"]);
        }
        let mut table = Table::new(&header);
        let now = timestamp();
        for server in &self.servers {
            table.row(server.cells(is_wide, now));
        }
        table.text()
    }

    fn route_table(&self) -> String {
        let mut table = Table::new(&["ROUTE", "STATE", "ENDPOINTS"]);
        for route in &self.routes {
            table.row([route.name.clone(), route.state.clone(), route.endpoints.join(",")]);
        }
        table.text()
    }
}

/// Of the slices where the operator tells them, else of the status.
fn routes(status: Option<&ReplicaSetPolicyStatus>, live: Option<&PolicyAnswer>) -> Vec<RouteStatus> {
    let mut routes = status.map(|status| status.routes.clone()).unwrap_or_default();
    for route in &mut routes {
        let told = live.and_then(|live| live.routing.routes.get(&route.name));
        let Some(targets) = told.and_then(|told| told.targets.as_ref()) else {
            continue;
        };
        // In mode Observe there are no slices, and the status has the servers that the route would have.
        if targets.is_empty() && !route.endpoints.is_empty() {
            continue;
        }
        let mut ids: Vec<_> = targets
            .iter()
            .map(|target| target.endpoint.clone().unwrap_or_else(|| target.address.clone()))
            .collect();
        ids.dedup();
        route.endpoints = ids;
    }
    routes
}

impl Server {
    fn new(row: Row, live: Option<&PolicyAnswer>) -> Self {
        // Of several pods behind a Service the operator tells the figures of one.
        let is_pod = row.id.contains('@');
        let mut own = live.into_iter().flat_map(|live| &live.endpoints);
        let live = own.find(|server| server.id == row.id && !is_pod).cloned();
        let since = row.since.as_ref().and_then(|since| since.parse().ok());
        let mut server = Self { row, live, since };
        server.catch_up();
        server
    }

    /// The operator decides before it writes the status.
    fn catch_up(&mut self) {
        let Some(live) = &self.live else { return };
        let Some(reason) = live
            .reason
            .as_ref()
            .filter(|reason| **reason != self.row.server.reason)
        else {
            return;
        };
        self.row.server = ServerStatus {
            role: live.role.clone(),
            reason: reason.clone(),
            failure: live.failure.clone(),
            circuit: live.circuit.clone().unwrap_or_default(),
            eligible: live.eligible.unwrap_or_default(),
            lag: live.lag_milliseconds.map(|milliseconds| LagStatus {
                milliseconds,
                ..LagStatus::default()
            }),
            ..ServerStatus::default()
        };
        self.since = None;
    }

    fn lag(&self) -> Option<String> {
        match &self.live {
            Some(live) => {
                let lag = figures::lag(live.lag_milliseconds?);
                Some(if live.lag_at_least == Some(true) {
                    format!("over {lag}")
                } else {
                    lag
                })
            }
            None => self.row.server.lag.as_ref().map(figures::lag_of),
        }
    }

    /// Of all clients, per second, in the last 10 s.
    fn rate(&self) -> Option<f64> {
        let statistics = self.live.as_ref()?.statistics.as_ref()?;
        statistics.ten_seconds.transactions
    }

    fn sessions(&self) -> Option<String> {
        let of_live = self.live.as_ref().and_then(stats::sessions);
        of_live.or_else(|| self.row.sessions.map(|sessions| sessions.to_string()))
    }

    fn cells(&self, is_wide: bool, now: Timestamp) -> Vec<String> {
        let since = match self.since {
            Some(since) => figures::age(since, now),
            None => figures::age(now, now),
        };
        let mut cells = vec![
            self.row.id.clone(),
            self.row.server.role.clone(),
            self.lag().unwrap_or_default(),
            self.sessions().unwrap_or_default(),
            self.rate().map(figures::rate).unwrap_or_default(),
            cause::of(&self.row.server),
            since,
        ];
        if is_wide {
            let live = self.live.as_ref();
            let response = live.and_then(|live| live.response_time_milliseconds);
            cells.extend([
                self.row.server.circuit.clone(),
                response.map(figures::milliseconds).unwrap_or_default(),
                live.and_then(|live| live.region.clone()).unwrap_or_default(),
                self.row.address.clone().unwrap_or_default(),
            ]);
        }
        cells
    }

    fn document(&self) -> Value {
        let mut document = self.row.document();
        // Of routing.json, which was not read.
        if let Some(fields) = document.as_object_mut() {
            fields.remove("routes");
        }
        let live = self.live.as_ref();
        document["since"] = json!(self.since.map(|since| since.to_string()));
        document["lagMilliseconds"] = match live {
            Some(live) => json!(live.lag_milliseconds),
            None => json!(self.row.server.lag.as_ref().map(|lag| lag.milliseconds)),
        };
        document["connections"] = json!(live.and_then(|live| live.connections).or(self.row.sessions));
        document["serverMaxConnections"] = json!(live.and_then(|live| live.server_max_connections));
        document["maxConnections"] = json!(live.map(|live| live.max_connections));
        document["transactionsPerSecond"] = json!(self.rate());
        document["responseTimeMilliseconds"] = json!(live.and_then(|live| live.response_time_milliseconds));
        document
    }
}

#[cfg(test)]
mod tests;
