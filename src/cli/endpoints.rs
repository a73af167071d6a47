//! Endpoints with a reason and what must happen next, for people and for programs.

use serde_json::{Value, json};

use super::output::Table;
use super::routes;
use crate::render::status::in_words;
use crate::render::{advice, cause};
use distributary_api::{ClassStatus, ServerStatus};
use distributary_core::decision::{Decision, EndpointView, TargetState, TargetView};
use distributary_core::health::Reason;
use distributary_core::ids::TargetId;
use distributary_core::lag_reading::LagReading;
use distributary_core::observation::{Failure, FailureKind};
use distributary_core::write_primary::Obstacle;

/// An endpoint, or one of its pods, as it is shown.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// With its address, of a pod.
    pub id: String,
    /// `None`: it is not known.
    pub address: Option<String>,
    /// The routes whose slices hold it.
    pub routes: Vec<String>,
    /// Since when, where that is known.
    pub since: Option<String>,
    /// Client sessions that are left on it while it drains.
    pub sessions: Option<u32>,
    /// In the words of a status, which may be of another version.
    pub server: ServerStatus,
}

impl Row {
    /// Whether it is as it was declared, for every class; a reason of another version of the operator is not.
    pub fn is_plain(&self) -> bool {
        self.is_well() && self.away().next().is_none()
    }

    /// Whether it is a server of this endpoint.
    pub fn is_of(&self, endpoint: &str) -> bool {
        self.id.split('@').next() == Some(endpoint)
    }

    /// The classes that stay away from it.
    pub fn away(&self) -> impl Iterator<Item = &ClassStatus> {
        let serves = |class: &&ClassStatus| Reason::from_word(&class.reason) == Some(Reason::Serving);
        self.server.classes.iter().filter(move |class| !serves(class))
    }

    /// Whether it is as it was declared, whatever classes make of it.
    pub fn is_well(&self) -> bool {
        Reason::from_word(&self.server.reason).is_some_and(advice::is_plain)
    }

    /// Whether there is something to say of it itself: it is not as it was declared, is another name, drains, is a pooler, may be too
    /// small, or its name rotates.
    fn is_notable(&self) -> bool {
        let server = &self.server;
        let noted = server.pooler
            || server.name_rotates
            || server.connection_limit.is_some()
            || server.usable_connections.is_some()
            || server.same_server_as.is_some();
        !self.is_well() || self.sessions.is_some() || noted
    }

    pub fn document(&self) -> Value {
        let advice = |reason: &str| Reason::from_word(reason).map(advice::of);
        let known = advice(&self.server.reason);
        let despite = self.server.held_despite.as_deref().and_then(advice);
        let mut document = json!({
            "id": self.id,
            "role": self.server.role,
            "circuit": self.server.circuit,
            "routes": self.routes,
            "reason": self.server.reason,
            "means": known.map(|advice| advice.means),
            "next": advice::next_in_words(&self.server),
        });
        let failure = self.server.failure.as_deref().and_then(FailureKind::from_word);
        let obstacle = self
            .server
            .cannot_take_over
            .as_deref()
            .and_then(Obstacle::from_word);
        let optional = [
            ("address", self.address.clone()),
            ("heldDespite", self.server.held_despite.clone()),
            ("heldDespiteMeans", despite.map(|advice| advice.means.to_owned())),
            ("failure", self.server.failure.clone()),
            (
                "failureMeans",
                failure.map(|kind| advice::of_failure(kind).to_owned()),
            ),
            ("cannotTakeOver", self.server.cannot_take_over.clone()),
            (
                "cannotTakeOverMeans",
                obstacle.map(|kind| advice::of_obstacle(kind).to_owned()),
            ),
            ("sameServerAs", self.server.same_server_as.clone()),
            ("sqlstate", self.server.sqlstate.clone()),
            ("lagAnswer", self.server.lag_answer.clone()),
            ("since", self.since.clone()),
            ("retryAt", self.retry_at()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                document[name] = value.into();
            }
        }
        if let Some(lag) = &self.server.lag {
            document["lag"] = json!(lag);
        }
        if let Some(sessions) = self.sessions {
            document["sessions"] = sessions.into();
        }
        if let Some(limit) = self.server.connection_limit {
            document["connectionLimit"] = limit.into();
        }
        if let Some(usable) = self.server.usable_connections {
            document["usableConnections"] = usable.into();
        }
        if self.server.pooler {
            document["pooler"] = true.into();
        }
        if self.server.name_rotates {
            document["nameRotates"] = true.into();
        }
        let away: Vec<_> = self.away().map(class_document).collect();
        if !away.is_empty() {
            document["classes"] = away.into();
        }
        document
    }

    /// How far it was behind, as its status tells.
    fn lag(&self) -> Option<String> {
        let lag = self.server.lag.as_ref()?;
        let figure = LagReading {
            past: None,
            ..cause::reading(lag)
        };
        Some(figure.to_string())
    }

    /// When its open circuit lets it return.
    fn retry_at(&self) -> Option<String> {
        self.server.retry_at.as_ref().map(|at| at.0.to_string())
    }

    /// Paragraphs on why it is as it is, and why classes stay away from it, each with what must happen next.
    fn explanation(&self) -> String {
        let own = self.is_notable().then(|| self.own_explanation());
        let classes = self.away().map(|class| self.explanation_of(class));
        own.into_iter().chain(classes).collect()
    }

    fn explanation_of(&self, class: &ClassStatus) -> String {
        let of_class = ServerStatus {
            reason: class.reason.clone(),
            ..ServerStatus::default()
        };
        let mut text = paragraph(&format!("{}, class {}", self.id, class.name), &of_class);
        if let Some(at) = &class.retry_at {
            text.push_str(&format!("  The class may return from {} on.\n", at.0));
        }
        text
    }

    fn own_explanation(&self) -> String {
        let mut text = paragraph(&self.id, &self.server);
        let mut say = |line: &str| text.push_str(&format!("  {line}\n"));
        if let Some(other) = &self.server.same_server_as {
            say(&format!("Same server as {other}."));
        }
        if let Some(code) = &self.server.sqlstate {
            say(&format!(
                "The SQLSTATE is {code}: see Appendix A of the PostgreSQL documentation."
            ));
        }
        if let Some(limit) = self.server.connection_limit {
            say(&format!(
                "The CONNECTION LIMIT of the role is {limit}. Each Pod of the operator needs 1 connection to the server for a check, and 1 more for the session that it holds."
            ));
        }
        if let Some(usable) = self.server.usable_connections {
            say(&format!(
                "maxConnections is more than the {usable} connections that the server has for ordinary roles."
            ));
        }
        if let Some(answer) = &self.server.lag_answer {
            say(&format!(
                "lagQuery answered {answer}. An interval becomes seconds by extract(epoch FROM …), NULL a number by coalesce(…, 0)."
            ));
        }
        if self.server.pooler {
            say(
                "A pooler or proxy answers at this address: role, lag and sessions are those of the servers behind it. Name the servers themselves.",
            );
        }
        if self.server.name_rotates {
            say(
                "NameRotates: the name led back to an address within 10 minutes of having left it. An address leaves such a name once no answer of 60 s has it.",
            );
        }
        let measured = self.server.lag.as_ref().and_then(|lag| lag.measured_at.as_ref());
        if let Some((lag, at)) = self.lag().zip(measured) {
            say(&format!("Its lag was {lag} at {}.", at.0));
        }
        if let Some(at) = self.retry_at() {
            say(&format!("The server may return from {at} on."));
        }
        if let Some(sessions) = self.sessions {
            say(&format!("Client sessions left on the server: {sessions}."));
        }
        text
    }
}

fn class_document(class: &ClassStatus) -> Value {
    let known = Reason::from_word(&class.reason).map(advice::of);
    let mut document = json!({
        "name": class.name,
        "reason": class.reason,
        "means": known.map(|advice| advice.means),
        "next": known.and_then(|advice| advice.next),
    });
    if let Some(at) = &class.retry_at {
        document["retryAt"] = at.0.to_string().into();
    }
    document
}

/// Why it is so, what it means, and what must happen next: of one that is held, to what it is held in spite of.
fn paragraph(who: &str, server: &ServerStatus) -> String {
    let mut text = format!("{who}: {}\n", cause::of(server));
    let mut say = |line: &str| text.push_str(&format!("  {line}\n"));
    let Some(advice) = Reason::from_word(&server.reason).map(advice::of) else {
        say("This version of distributary does not know the reason; use the version of the operator.");
        return text;
    };
    say(advice.means);
    let despite = server.held_despite.as_deref().and_then(Reason::from_word);
    if let Some(reason) = despite {
        say(&format!("{reason}: {}", advice::of(reason).means));
    }
    if let Some(kind) = server.failure.as_deref().and_then(FailureKind::from_word) {
        say(&format!("{kind}: {}.", advice::of_failure(kind)));
    }
    if let Some(next) = advice::next_in_words(server) {
        say(&format!("Next: {next}"));
    }
    text
}

/// What has to be said of those that are not as they were declared, are other names, drain, are poolers, or whose name rotates; empty: nothing.
/// Servers of which the same is to be said share a paragraph.
pub fn explanations<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let mut said: Vec<(Vec<&str>, String)> = Vec::new();
    let told = rows.into_iter().filter(|row| row.is_notable() || !row.is_plain());
    for row in told {
        let text = row.explanation();
        let text = text.strip_prefix(row.id.as_str()).unwrap_or(&text);
        match said.iter_mut().find(|(_, earlier)| earlier == text) {
            Some((who, _)) => who.push(&row.id),
            None => said.push((vec![&row.id], text.to_owned())),
        }
    }
    let paragraphs = said.iter().map(|(who, text)| format!("{}{text}", who.join(", ")));
    paragraphs.collect()
}

/// The servers of a decision: each endpoint, or each of its pods where it has some. `failure`: the failure of the newest check
/// of a server, by its id, where the decision passes over it.
pub fn of_decision(decision: &Decision, failure: impl Fn(&str) -> Option<Failure>) -> Vec<Row> {
    let plan = decision.state.decided().map(|decided| &decided.plan);
    let row = |view: &EndpointView, target: &TargetId, state: &TargetState| {
        let id = target.to_string();
        let routes = plan.map(|plan| routes::of_target(&decision.policy, plan, target));
        let address = target.pod.or(view.address);
        let passed_over = failure(&id).filter(|_| state.failure.is_none());
        let in_words = in_words(state);
        Row {
            id,
            address: address.map(|address| address.to_string()),
            routes: routes.unwrap_or_default(),
            since: None,
            sessions: view.sessions.filter(|_| target.pod.is_none()),
            server: ServerStatus {
                failure: passed_over
                    .map(|failure| failure.kind.to_string())
                    .or(in_words.failure),
                sqlstate: passed_over
                    .and_then(|failure| failure.sqlstate)
                    .map(|code| code.to_string())
                    .or(in_words.sqlstate),
                ..in_words
            },
        }
    };
    let mut rows = Vec::new();
    for view in decision.state.endpoints().unwrap_or_default() {
        rows.extend(
            servers(view)
                .iter()
                .map(|(target, state)| row(view, target, state)),
        );
    }
    rows
}

/// The servers of an endpoint with their states: the one that follows its host, or each of its pods.
pub fn servers(view: &EndpointView) -> Vec<(TargetId, &TargetState)> {
    if view.targets.is_empty() {
        return vec![(TargetId::host(view.id.clone()), &view.state)];
    }
    let pod = |pod: &TargetView| TargetId {
        endpoint: view.id.clone(),
        pod: Some(pod.address),
    };
    view.targets.iter().map(|it| (pod(it), &it.state)).collect()
}

pub fn table(shown: &[Row]) -> String {
    let dated = shown.iter().any(|it| it.since.is_some());
    let mut header = vec!["ENDPOINT", "ADDRESS", "ROLE", "ROUTES", "CIRCUIT", "REASON"];
    header.extend(dated.then_some(["LAG", "SINCE"]).into_iter().flatten());
    let mut table = Table::new(&header);
    for it in shown {
        let mut cells = vec![
            it.id.clone(),
            it.address.clone().unwrap_or_default(),
            it.server.role.clone(),
            it.routes.join(","),
            it.server.circuit.clone(),
            cause::of(&it.server),
        ];
        if dated {
            cells.push(it.lag().unwrap_or_default());
            cells.push(it.since.clone().unwrap_or_default());
        }
        table.row(cells);
    }
    table.text()
}
