//! The words for what the parts of a policy do not uphold together: the field that declares it, and the rule.

use super::{PRIMARY_ID, Problem, is_label, is_word};
use crate::{self as api, ReplicaSetPolicySpec, rules};
use distributary_core::policy::InvalidPolicy as Broken;

/// Where a policy declares its parts.
pub struct DeclaredFields<'a> {
    pub spec: &'a ReplicaSetPolicySpec,
    /// The index of each class among the declared ones; `None`: it is built in.
    pub classes: Vec<Option<usize>>,
}

impl DeclaredFields<'_> {
    pub fn problem(&self, broken: &Broken) -> Problem {
        let (field, rule) = self.field_and_rule(broken);
        Problem {
            field,
            rule,
            figures: self.figures(broken),
        }
    }

    /// Which of the names in the field it is about, where they have the form of names.
    fn figures(&self, broken: &Broken) -> Option<String> {
        let name = |name: &str| (is_label(name, 40, false) || is_word(name)).then(|| name.to_owned());
        match broken {
            Broken::SameServer { first, second } => Some(format!("{first} and {second}")),
            Broken::IdTwice { id, .. } => name(id.as_str()),
            Broken::DedicatedTwice { class, .. }
            | Broken::DedicatedUnknown { class, .. }
            | Broken::DedicatedToPrimary { class, .. }
            | Broken::ClassTwice { class, .. } => name(class.as_str()),
            Broken::OperationTwice { operation, .. } => name(operation),
            Broken::RegionTwice(region) => name(region),
            Broken::SelectorUnknown(at) => {
                let class = self
                    .spec
                    .routing
                    .as_ref()?
                    .classes
                    .get(self.declared_class(*at)?)?;
                let ids = class.replica_selector.as_ref()?.ids.iter();
                let unknown = ids.filter(|id| !self.is_endpoint(id));
                let unknown: Vec<_> = unknown.filter_map(|id| name(id)).take(8).collect();
                (!unknown.is_empty()).then(|| unknown.join(", "))
            }
            Broken::AcceptedUnknown => name(self.spec.failover.as_ref()?.accept_primary.as_deref()?),
            _ => None,
        }
    }

    fn is_endpoint(&self, id: &str) -> bool {
        let primary = self.spec.primary.id.as_deref().unwrap_or(PRIMARY_ID);
        let mut replicas = self.spec.replicas.iter();
        id == primary || replicas.any(|replica| replica.id.as_deref() == Some(id))
    }

    fn field_and_rule(&self, broken: &Broken) -> (String, &'static str) {
        let spec = |name: &str| format!("spec.{name}");
        match broken {
            Broken::IdOfPrimary(_) | Broken::Primary => (spec("primary.id"), rules::PRIMARY_ID),
            Broken::IdTwice { at, .. } => (endpoint_field(*at, "id"), rules::ID_ONCE),
            Broken::SameServer { second, .. } => (format!("endpoint {second}"), rules::SAME_SERVER),
            Broken::Weight(at) => (endpoint_field(*at, "weight"), rules::WEIGHT),
            Broken::NoConnections(at) => (endpoint_field(*at, "maxConnections"), rules::MAX_CONNECTIONS),
            Broken::Port(at) => (self.port(*at), rules::PORT),
            Broken::Recover(at) => (self.lag(*at, "recover"), rules::RECOVER),
            Broken::LagQuery(at) => (self.lag(*at, "lagQuery"), rules::LAG_QUERY),
            Broken::DedicatedTwice { at, .. } => (endpoint_field(*at, "dedicatedTo"), rules::DEDICATED_TO),
            Broken::DedicatedUnknown { at, .. } => {
                (endpoint_field(*at, "dedicatedTo"), rules::DEDICATED_CLASS)
            }
            Broken::DedicatedToPrimary { at, .. } => {
                (endpoint_field(*at, "dedicatedTo"), rules::DEDICATED_TO_PRIMARY)
            }
            Broken::AcceptedUnknown => (spec("failover.acceptPrimary"), rules::ACCEPT_PRIMARY),
            Broken::MovesUnchecked => (spec("failover.primaryRole"), rules::PINNED),
            Broken::FailureThreshold => (spec("circuitBreaker.failureThreshold"), rules::FAILURE_THRESHOLD),
            Broken::SuccessThreshold => (
                spec("circuitBreaker.halfOpen.successThreshold"),
                rules::SUCCESS_THRESHOLD,
            ),
            Broken::TrafficSteps => (spec("circuitBreaker.halfOpen.trafficSteps"), rules::TRAFFIC_STEPS),
            Broken::ResetTimeouts => (spec("circuitBreaker.maxResetTimeout"), rules::RESET_TIMEOUTS),
            Broken::Attempts { .. } => (spec("healthCheck.failoverTimeout"), rules::ATTEMPT),
            Broken::ClassTwice { at, .. } => (self.class(*at, "name"), rules::CLASS_ONCE),
            Broken::ClassName(at) => (self.class(*at, "name"), rules::CLASS_NAME),
            Broken::SelectorUnknown(at) => (self.class(*at, "replicaSelector.ids"), rules::SELECTOR_IDS),
            Broken::FallbackToPrimary(at) => (self.class(*at, "readFallback"), rules::REPLICAS_ONLY),
            Broken::OperationTwice { at: [a, b], .. } => {
                let later = if self.declared_class(*a) > self.declared_class(*b) {
                    a
                } else {
                    b
                };
                (self.class(*later, "operations"), rules::OPERATION_ONCE)
            }
            Broken::RegionTwice(_) => (spec("loadBalancing.regions"), rules::REGIONS),
        }
    }

    fn declared(&self, at: usize) -> Option<&api::Endpoint> {
        at.checked_sub(1).map_or(Some(&self.spec.primary), |replica| {
            self.spec.replicas.get(replica)
        })
    }

    fn port(&self, at: usize) -> String {
        let by_service = self
            .declared(at)
            .is_some_and(|declared| declared.service_ref.is_some());
        endpoint_field(at, if by_service { "serviceRef.port" } else { "port" })
    }

    /// A field of the lag: the endpoint's own where it says anything of it, or else the policy's.
    fn lag(&self, at: usize, name: &str) -> String {
        let own = self
            .declared(at)
            .and_then(|declared| declared.replication_lag.as_ref());
        let says = own.is_some_and(|own| match name {
            "recover" => own.max.is_some() || own.recover.is_some(),
            _ => own.source.is_some() || own.lag_query.is_some(),
        });
        if says {
            endpoint_field(at, &format!("replicationLag.{name}"))
        } else {
            format!("spec.replicationLag.{name}")
        }
    }

    fn declared_class(&self, at: usize) -> Option<usize> {
        self.classes.get(at).copied().flatten()
    }

    fn class(&self, at: usize, name: &str) -> String {
        self.declared_class(at).map_or_else(
            || "spec.routing.classes".to_owned(),
            |at| format!("spec.routing.classes[{at}].{name}"),
        )
    }
}

/// The primary is the first endpoint.
fn endpoint_field(at: usize, name: &str) -> String {
    at.checked_sub(1).map_or_else(
        || format!("spec.primary.{name}"),
        |replica| format!("spec.replicas[{replica}].{name}"),
    )
}
