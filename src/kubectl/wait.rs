//! `kubectl distributary wait`: until a policy is as it shall be.

use std::time::Duration;

use futures::{Stream, StreamExt};
use strum::VariantArray;
use tokio::time::timeout;

use super::cluster::{Policy, Where, declared};
use super::error::{Error, note};
use super::output::{Names, did};
use super::watching;
use crate::cli::ExitStatus;
use crate::render::status::ConditionReason;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::health::Reason;
use distributary_core::plan::RouteState;

/// Wait until a policy is as --for says, by a status of its newest spec.
///
/// Needs the rights to get, list and watch the policy.
///
/// Exit codes: 0 it is so; 1 it was not within --timeout, or it failed.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Name of the policy.
    #[arg(value_name = "POLICY")]
    name: String,
    /// route=NAME: the route leads to a server that is well, or with route=NAME=STATE it has that state (Served, Fallback, Held or
    /// Empty). primary=ID: that endpoint takes the writes, and rw leads to it. reason=ENDPOINT=REASON: the endpoint has that reason.
    /// reason=REASON: an endpoint has it, or the condition Ready.
    #[arg(long = "for", value_name = "WHAT", value_parser = Goal::of)]
    goal: Goal,
    #[command(flatten)]
    patience: Patience,
    #[command(flatten)]
    output: Names,
}

/// For how long is waited.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Patience {
    /// For so long at most, such as 30s or 5m; 0s: look once.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = crate::cli::lease::duration)]
    timeout: Duration,
}

/// What is waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Goal {
    Route {
        name: String,
        state: Option<RouteState>,
    },
    Primary(String),
    Reason {
        endpoint: Option<String>,
        reason: String,
    },
}

impl Goal {
    fn of(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!(
                "unrecognized condition: \"{text}\"; it must be route=NAME, route=NAME=STATE, primary=ID, reason=REASON or reason=ENDPOINT=REASON"
            )
        };
        let (kind, value) = text.split_once('=').ok_or_else(unknown)?;
        let (first, second) = match value.split_once('=') {
            Some((first, second)) => (first, Some(second)),
            None => (value, None),
        };
        if first.is_empty() {
            return Err(unknown());
        }
        match (kind, second) {
            ("route", state) => {
                let state = state.map(|word| {
                    RouteState::from_word(word).ok_or_else(|| {
                        format!("{word} is no state of a route: Served, Fallback, Held or Empty")
                    })
                });
                Ok(Self::Route {
                    name: first.to_owned(),
                    state: state.transpose()?,
                })
            }
            ("primary", None) => Ok(Self::Primary(first.to_owned())),
            ("reason", None) => Ok(Self::Reason {
                endpoint: None,
                reason: first.to_owned(),
            }),
            ("reason", Some(reason)) if Reason::from_word(reason).is_some() => Ok(Self::Reason {
                endpoint: Some(first.to_owned()),
                reason: reason.to_owned(),
            }),
            ("reason", Some(reason)) => Err(format!("{reason} is no reason of an endpoint")),
            _ => Err(unknown()),
        }
    }

    fn is_met(&self, status: &ReplicaSetPolicyStatus) -> bool {
        let route = |name: &str| status.routes.iter().find(|route| route.name == name);
        match self {
            Self::Route { name, state } => route(name).is_some_and(|route| {
                let is = RouteState::from_word(&route.state);
                match state {
                    Some(state) => is == Some(*state),
                    None => matches!(is, Some(RouteState::Served | RouteState::Fallback)),
                }
            }),
            Self::Primary(id) => {
                let takes = status.primary.as_ref().is_some_and(|primary| primary.id == *id);
                takes && route("rw").is_some_and(|route| route.endpoints.contains(id))
            }
            Self::Reason { endpoint, reason } => {
                let of_endpoint = status.endpoints.iter().any(|own| {
                    endpoint.as_ref().is_none_or(|id| own.id == *id) && own.server.reason == *reason
                });
                let conditions = &status.conditions;
                let of_ready = || {
                    conditions
                        .iter()
                        .any(|it| it.type_ == "Ready" && it.reason == *reason)
                };
                of_endpoint || (endpoint.is_none() && of_ready())
            }
        }
    }
}

impl Goal {
    /// What is asked for and cannot be met as the policy is: a slip of the pen, or of a change to come.
    fn is_in_vain(&self, policy: &Policy) -> Option<String> {
        match self {
            Self::Route { name, .. } => {
                let status = newest(policy)?;
                let is_there = status.routes.iter().any(|route| route.name == *name);
                (!is_there).then(|| format!("the policy has no route {name}"))
            }
            Self::Primary(id)
            | Self::Reason {
                endpoint: Some(id), ..
            } => {
                let is_there = declared(policy).contains(&id.as_str());
                (!is_there).then(|| format!("the policy has no endpoint {id}"))
            }
            Self::Reason { reason, .. } => {
                let of_condition = ConditionReason::VARIANTS
                    .iter()
                    .any(|own| own.into_str() == reason);
                let is_known = of_condition || Reason::from_word(reason).is_some();
                (!is_known).then(|| format!("this version knows no reason {reason}"))
            }
        }
    }
}

/// The status, where it is that of the newest spec.
fn newest(policy: &Policy) -> Option<&ReplicaSetPolicyStatus> {
    let status = policy.status.as_ref()?;
    let generation = policy.metadata.generation;
    (generation.is_none() || status.observed_generation == generation).then_some(status)
}

pub async fn run(place: &Where, arguments: &Arguments) -> Result<ExitStatus, Error> {
    let cluster = place.cluster().await?;
    let name = &arguments.name;
    let first = cluster.policy(name).await?;
    let goal = |policy: &Policy| newest(policy).is_some_and(|status| arguments.goal.is_met(status));
    if !goal(&first) {
        if let Some(why) = arguments.goal.is_in_vain(&first) {
            note(&format!("warning: {why}"));
        }
        let changes = watching::policy(cluster.policies(), name);
        arguments.patience.until(name, changes, goal).await?;
    }
    arguments.output.print(name, &did(name, "condition met"))?;
    Ok(ExitStatus::Well)
}

impl Patience {
    /// Waits until the policy is so.
    ///
    /// # Errors
    /// It is gone, or it was not so in time.
    pub async fn until(
        self,
        name: &str,
        changes: impl Stream<Item = Result<Policy, Error>>,
        is_so: impl Fn(&Policy) -> bool,
    ) -> Result<(), Error> {
        let met = async {
            let mut changes = std::pin::pin!(changes);
            while let Some(policy) = changes.next().await {
                if is_so(&policy?) {
                    return Ok(());
                }
            }
            Err(Error::said("the watch of the policy has ended"))
        };
        let late = |_| {
            Err(Error::said(format!(
                "timed out waiting for the condition on replicasetpolicies/{name}"
            )))
        };
        timeout(self.timeout, met).await.unwrap_or_else(late)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_goal_is_met_by_the_status() {
        let status: ReplicaSetPolicyStatus = serde_json::from_value(json!({
            "primary": {"id": "replica-1", "declared": "primary"},
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Routable", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
            "routes": [
                {"name": "rw", "state": "Served", "endpoints": ["replica-1"]},
                {"name": "ro", "state": "Fallback", "endpoints": ["replica-1"]},
                {"name": "reports", "state": "Empty"},
            ],
            "endpoints": [{
                "id": "replica-2", "role": "Unknown", "circuit": "Open", "eligible": false,
                "reason": "CircuitOpen", "effectiveWeight": 0, "since": "2026-01-01T00:00:00Z",
            }],
        }))
        .unwrap();
        for (goal, is_met) in [
            ("route=ro", true),
            ("route=ro=Served", false),
            ("route=ro=Fallback", true),
            ("route=reports", false),
            ("route=reports=Empty", true),
            ("route=none", false),
            ("primary=replica-1", true),
            ("primary=primary", false),
            ("reason=CircuitOpen", true),
            ("reason=Routable", true),
            ("reason=replica-2=CircuitOpen", true),
            ("reason=replica-1=CircuitOpen", false),
            ("reason=replica-2=Serving", false),
        ] {
            assert_eq!(Goal::of(goal).unwrap().is_met(&status), is_met, "{goal}");
        }
        for wrong in [
            "",
            "route",
            "route=",
            "route=ro=Well",
            "primary=a=b",
            "reason=a=b",
            "role=x",
        ] {
            assert!(Goal::of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_cannot_be_met_as_the_policy_is_is_told() {
        let mut policy = json!({
            "metadata": {"name": "orders", "generation": 2},
            "spec": {"primary": {"host": "h"}, "replicas": [{"id": "replica-1"}]},
            "status": {"observedGeneration": 2, "routes": [{"name": "ro", "state": "Empty"}]},
        });
        let told = |policy: &serde_json::Value, goal: &str| {
            let policy = serde_json::from_value(policy.clone()).unwrap();
            Goal::of(goal).unwrap().is_in_vain(&policy)
        };
        for goal in [
            "route=ro",
            "primary=primary",
            "primary=replica-1",
            "reason=replica-1=CircuitOpen",
            "reason=CircuitOpen",
            "reason=NoPrimary",
        ] {
            assert_eq!(told(&policy, goal), None, "{goal}");
        }
        for (goal, why) in [
            ("route=ru", "the policy has no route ru"),
            ("primary=replica-2", "the policy has no endpoint replica-2"),
            ("reason=replica-2=Serving", "the policy has no endpoint replica-2"),
            ("reason=CircitOpen", "this version knows no reason CircitOpen"),
        ] {
            assert_eq!(told(&policy, goal).as_deref(), Some(why), "{goal}");
        }
        // The routes of a new spec are to come.
        policy["metadata"]["generation"] = json!(3);
        assert_eq!(told(&policy, "route=ru"), None);
    }
}
