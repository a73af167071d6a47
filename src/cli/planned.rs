//! A policy from a file with what would be decided of it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::documents::Documents;
use super::endpoints::{self, Row};
use super::policy_file::{self, Examples, KnownCertificates};
use super::{Error, routes, warn};
use crate::clock;
use crate::rehearse::{Observations, Rehearsal, rehearse};
use crate::render::{Manifest, Manifests, Subject, render};
use distributary_api::ReplicaSetPolicy;
use distributary_api::validate::{self, Declaration, LoginSources};
use distributary_core::config_maps::TooLarge;
use distributary_core::decision::{DecisionState, EndpointView};
use distributary_core::ids::EndpointId;
use distributary_core::plan::RoutingPlan;
use distributary_core::policy::{Mode, Policy};
use distributary_core::world::Memory;

pub struct PolicyPlan {
    pub declared: Declaration,
    pub rehearsed: Rehearsal,
    /// What would be written; `None`: nothing, as nothing was decided.
    pub manifests: Option<Manifests>,
}

/// The policies of documents. A Secret, Service or address that is missing is assumed.
pub fn assumed(
    documents: &Documents,
    seen: &Observations,
    examples: &mut Examples,
) -> Result<Vec<Declaration>, Error> {
    let mut missing = BTreeSet::new();
    let certificates = clock::certificates();
    let certificates = KnownCertificates(&certificates);
    let sources = LoginSources {
        passwords: None,
        certificates: Some(&certificates),
    };
    let policies = policy_file::policies(documents, |object| {
        let (secrets, absent) = policy_file::assumed_secrets(object, documents);
        missing.extend(absent.iter().map(|name| assumption(name, object, documents)));
        let services = policy_file::assumed_services(object, &secrets, documents, seen, examples);
        validate::resolve_with(documents.declared(object), &secrets, &services, sources)
    })?;
    for assumption in &missing {
        warn(assumption);
    }
    for problem in policies.iter().flat_map(|declared| declared.resolved.problems()) {
        warn(&problem.to_string());
    }
    Ok(policies)
}

fn assumption(name: &str, object: &ReplicaSetPolicy, documents: &Documents) -> String {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    match documents.secret_elsewhere(name, namespace) {
        Some(other) => format!(
            "the Secret {name} is in these files in the namespace {other}, and the policy is in {namespace}: it is assumed to exist there with the keys that the policy needs"
        ),
        None => format!(
            "the Secret {name} is not in these files: it is assumed to exist with the keys that the policy needs"
        ),
    }
}

/// Says which addresses are none of a server.
pub fn warn_of(examples: &Examples) {
    let list = examples.list();
    if !list.is_empty() {
        warn(&format!(
            "these addresses are examples, as names are not resolved: {}",
            list.join(", ")
        ));
    }
}

impl PolicyPlan {
    /// A server of which `seen` says nothing is well. `lost`: the endpoints that then refuse connections.
    pub fn new(
        declared: &Declaration,
        mut seen: Observations,
        memory: Memory,
        lost: &BTreeSet<EndpointId>,
        examples: &mut Examples,
    ) -> Result<Self, Error> {
        let (policy, resolved) = (&declared.policy, &declared.resolved);
        policy_file::assumed_addresses(declared, &mut seen, examples);
        // Nobody is checked then.
        if policy.mode == Mode::Suspend {
            seen.checks.clear();
        } else {
            seen = seen.or_well(policy, resolved);
        }
        let rehearsed = rehearse((policy, resolved), &seen, memory, lost).map_err(|unclear| {
            Error::Invalid(
                unclear
                    .0
                    .iter()
                    .map(|one| format!("observations: {one}"))
                    .collect(),
            )
        })?;
        Ok(Self {
            manifests: Subject::of(&rehearsed.decision, &declared.outputs)
                .as_ref()
                .map(render),
            declared: declared.clone(),
            rehearsed,
        })
    }

    pub fn policy(&self) -> &Policy {
        &self.declared.policy
    }

    /// What is published of it; `None`: nothing, as nothing was decided.
    pub fn subject(&self) -> Option<Subject<'_>> {
        Subject::of(&self.rehearsed.decision, &self.declared.outputs)
    }

    pub fn plan(&self) -> Option<&RoutingPlan> {
        self.state().decided().map(|decided| &decided.plan)
    }

    pub fn objects(&self) -> &[Manifest] {
        self.manifests
            .as_ref()
            .map(|manifests| manifests.objects.as_slice())
            .unwrap_or_default()
    }

    /// Every endpoint, where they were judged.
    pub fn views(&self) -> &[EndpointView] {
        self.state().endpoints().unwrap_or_default()
    }

    fn state(&self) -> &DecisionState {
        &self.rehearsed.decision.state
    }

    /// ConfigMaps that would hold more than they can.
    pub fn too_large(&self) -> &[TooLarge] {
        let manifests = self.manifests.as_ref();
        manifests
            .map(|manifests| manifests.too_large.as_slice())
            .unwrap_or_default()
    }

    /// Whether every route leads to somebody who is well, and everything can be written; in a mode that decides nothing, too.
    pub fn is_well(&self) -> bool {
        self.too_large().is_empty() && self.is_routed()
    }

    fn is_routed(&self) -> bool {
        match self.state() {
            DecisionState::Decided(decided) => routes::are_well(self.policy(), &decided.plan),
            DecisionState::Suspended => true,
            DecisionState::Waiting { .. } => false,
        }
    }

    pub fn shown(&self) -> Vec<Row> {
        endpoints::of_decision(&self.rehearsed.decision, |_| None)
    }

    pub fn document(&self) -> Value {
        let mut document = json!({
            "policy": {"namespace": self.policy().key.namespace, "name": self.policy().key.name},
            "mode": self.policy().mode,
            "endpoints": self.shown().iter().map(Row::document).collect::<Vec<_>>(),
        });
        if let Some(subject) = self.subject() {
            document["routes"] = routes::document(&subject);
        }
        if let Some(plan) = self.plan() {
            document["classes"] = routes::operations_document(self.policy(), plan);
        }
        if let Some(why) = routes::undecided(self.state()) {
            document["undecided"] = why.into();
        }
        if let Some(manifests) = &self.manifests {
            document["revision"] = manifests.revision.as_str().into();
            document["objects"] = manifests
                .objects
                .iter()
                .map(|object| object.body.clone())
                .collect();
        }
        if !self.too_large().is_empty() {
            let one = |map: &TooLarge| json!({"configMap": map.config_map, "bytes": map.bytes});
            document["tooLarge"] = self.too_large().iter().map(one).collect();
        }
        document
    }

    /// Routes, endpoints, and what must be said of them.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.title());
        if let Some(why) = routes::undecided(self.state()) {
            text.push_str(&format!("\n{why}\n"));
        }
        if let Some(plan) = self.plan() {
            text.push_str(&format!("\n{}", routes::table(self.policy(), plan)));
        }
        let shown = self.shown();
        if !shown.is_empty() {
            text.push_str(&format!("\n{}", endpoints::table(&shown)));
        }
        let explanations = endpoints::explanations(&shown);
        if !explanations.is_empty() {
            text.push_str(&format!("\n{explanations}"));
        }
        if let Some(plan) = self.plan() {
            text.push_str(&format!("\n{}", routes::operations(self.policy(), plan)));
        }
        for map in self.too_large() {
            let name = &map.config_map;
            text.push_str(&format!(
                "\nConfigMap {name} would hold {map}: the operator would leave it as it is\n"
            ));
        }
        text
    }

    pub fn title(&self) -> String {
        let mode = match self.policy().mode {
            Mode::Enforce => "",
            Mode::Observe => ", mode Observe: the routes are decided, but not written",
            Mode::Suspend => ", mode Suspend",
        };
        match &self.manifests {
            Some(manifests) => format!("{}{mode}, revision {}", self.policy().key, manifests.revision),
            None => format!("{}{mode}", self.policy().key),
        }
    }
}
