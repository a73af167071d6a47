//! Endpoints with a reason and what must happen next, for people and for programs.

use distributary_core::observation::Role;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::output::Table;
use super::routes;
use crate::render::advice;
use distributary_core::decision::{ClassView, Decided, Decision, EndpointView, TargetView};
use distributary_core::health::Reason;
use distributary_core::ids::ClassName;
use distributary_core::ids::TargetId;
use distributary_core::observation::FailureKind;
use distributary_core::policy::Policy;

/// An endpoint, or one of its pods, as it is shown.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// With its address, of a pod.
    pub id: String,
    pub address: String,
    pub role: String,
    pub circuit: String,
    /// The routes that it is in.
    pub routes: Vec<String>,
    pub reason: String,
    pub failure: Option<String>,
    /// Since when, where that is known.
    pub since: Option<String>,
    /// When its open circuit lets it return.
    pub retry_at: Option<String>,
    /// Client sessions that are left on it while it drains.
    pub sessions: Option<u32>,
    /// The classes that stay away from it.
    pub classes: Vec<ShownClass>,
}

/// A class that stays away from an endpoint, by a bound of lag or a probe query of its own.
#[derive(Clone, Debug)]
pub struct ShownClass {
    pub name: String,
    pub reason: String,
    pub retry_at: Option<String>,
}

impl Shown {
    /// Whether it is as it was declared, for every class; a reason of another version of the operator is not.
    pub fn is_plain(&self) -> bool {
        self.is_well() && self.classes.is_empty()
    }

    /// Whether it is as it was declared, whatever classes make of it.
    pub fn is_well(&self) -> bool {
        Reason::from_word(&self.reason).is_some_and(advice::is_plain)
    }

    pub fn document(&self) -> Value {
        let known = Reason::from_word(&self.reason).map(advice::of);
        let mut document = json!({
            "id": self.id,
            "role": self.role,
            "circuit": self.circuit,
            "routes": self.routes,
            "reason": self.reason,
            "means": known.map(|advice| advice.means),
            "next": known.and_then(|advice| advice.next),
        });
        let failure = self.failure.as_deref().and_then(FailureKind::from_word);
        let optional = [
            (
                "address",
                Some(self.address.clone()).filter(|address| !address.is_empty()),
            ),
            ("failure", self.failure.clone()),
            (
                "failureMeans",
                failure.map(|kind| advice::of_failure(kind).to_owned()),
            ),
            ("since", self.since.clone()),
            ("retryAt", self.retry_at.clone()),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                document[name] = value.into();
            }
        }
        if let Some(sessions) = self.sessions {
            document["sessions"] = sessions.into();
        }
        if !self.classes.is_empty() {
            document["classes"] = self.classes.iter().map(ShownClass::document).collect();
        }
        document
    }

    /// A paragraph on why it is as it is, and what must happen next.
    fn explanation(&self) -> String {
        let mut text = paragraph(&self.id, &self.reason, self.failure.as_deref());
        let mut say = |line: &str| text.push_str(&format!("  {line}\n"));
        if let Some(at) = &self.retry_at {
            say(&format!("The server may return from {at} on."));
        }
        if let Some(sessions) = self.sessions {
            say(&format!("Client sessions left on the server: {sessions}."));
        }
        for class in &self.classes {
            text.push_str(&paragraph(
                &format!("{}, class {}", self.id, class.name),
                &class.reason,
                None,
            ));
            if let Some(at) = &class.retry_at {
                text.push_str(&format!("  The class may return from {at} on.\n"));
            }
        }
        text
    }
}

impl ShownClass {
    fn document(&self) -> Value {
        let known = Reason::from_word(&self.reason).map(advice::of);
        let mut document = json!({
            "name": self.name,
            "reason": self.reason,
            "means": known.map(|advice| advice.means),
            "next": known.and_then(|advice| advice.next),
        });
        if let Some(at) = &self.retry_at {
            document["retryAt"] = at.clone().into();
        }
        document
    }
}

/// Why it is so, what it means, and what must happen next.
fn paragraph(who: &str, reason: &str, failure: Option<&str>) -> String {
    let mut text = match failure {
        Some(failure) => format!("{who}: {reason} ({failure})\n"),
        None => format!("{who}: {reason}\n"),
    };
    let mut say = |line: &str| text.push_str(&format!("  {line}\n"));
    match Reason::from_word(reason).map(advice::of) {
        Some(advice) => {
            say(advice.means);
            if let Some(kind) = failure.and_then(FailureKind::from_word) {
                say(&format!("{kind}: {}.", advice::of_failure(kind)));
            }
            if let Some(next) = advice.next {
                say(&format!("Next: {next}"));
            }
        }
        None => {
            say("This version of distributary does not know the reason; use the version of the operator.");
        }
    }
    text
}

/// What has to be said of those that are not as they were declared, or drain; empty: nothing.
pub fn explanations<'a>(shown: impl IntoIterator<Item = &'a Shown>) -> String {
    let told = shown
        .into_iter()
        .filter(|it| !it.is_plain() || it.sessions.is_some());
    told.map(Shown::explanation).collect()
}

/// The endpoints of a decision, each followed by its pods where one of them is not as it should be.
pub fn of_decision(decision: &Decision) -> Vec<Shown> {
    let decided = decision.state.decided();
    let views = decision.state.endpoints().unwrap_or_default();
    views
        .iter()
        .flat_map(|view| of_view(&decision.policy, view, decided))
        .collect()
}

fn of_view(policy: &Policy, view: &EndpointView, decided: Option<&Decided>) -> Vec<Shown> {
    let routes = |pod| {
        let target = TargetId {
            endpoint: view.id.clone(),
            pod,
        };
        decided
            .map(|decided| routes::of_target(policy, &decided.plan, &target))
            .unwrap_or_default()
    };
    let host = Shown {
        id: view.id.to_string(),
        address: view
            .address
            .map(|address| address.to_string())
            .unwrap_or_default(),
        role: Role::word_of(view.role).to_owned(),
        circuit: view.circuit.state().to_string(),
        routes: routes(None),
        reason: view.reason.to_string(),
        failure: view.failure.map(|failure| failure.to_string()),
        sessions: view.sessions,
        classes: classes(&view.classes),
        ..Shown::default()
    };
    let pod = |pod: &TargetView| Shown {
        id: format!("{}@{}", view.id, pod.address),
        address: pod.address.to_string(),
        role: Role::word_of(pod.role).to_owned(),
        circuit: pod.circuit.state().to_string(),
        routes: routes(Some(pod.address)),
        reason: pod.reason.to_string(),
        failure: pod.failure.map(|failure| failure.to_string()),
        classes: classes(&pod.classes),
        ..Shown::default()
    };
    if view.targets.is_empty() {
        vec![host]
    } else {
        view.targets.iter().map(pod).collect()
    }
}

fn classes(views: &BTreeMap<ClassName, ClassView>) -> Vec<ShownClass> {
    let away = views.iter().filter(|(_, view)| view.reason != Reason::Serving);
    away.map(|(name, view)| ShownClass {
        name: name.to_string(),
        reason: view.reason.to_string(),
        retry_at: None,
    })
    .collect()
}

pub fn table(shown: &[Shown]) -> String {
    let dated = shown.iter().any(|it| it.since.is_some());
    let mut header = vec!["ENDPOINT", "ADDRESS", "ROLE", "ROUTES", "CIRCUIT", "REASON"];
    header.extend(dated.then_some("SINCE"));
    let mut table = Table::new(&header);
    for it in shown {
        let mut cells = vec![
            it.id.clone(),
            it.address.clone(),
            it.role.clone(),
            it.routes.join(","),
            it.circuit.clone(),
            reason(it),
        ];
        cells.extend(dated.then(|| it.since.clone().unwrap_or_default()));
        table.row(cells);
    }
    table.text()
}

/// The reason with the failure.
pub fn reason(shown: &Shown) -> String {
    match &shown.failure {
        Some(failure) => format!("{} ({failure})", shown.reason),
        None => shown.reason.clone(),
    }
}
