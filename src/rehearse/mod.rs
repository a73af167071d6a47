//! What would be decided: a policy, and what its servers are said to show, in place of real checks.
//!
//! It drives the same [`World`] that the operator drives. Pure: the time of a rehearsal is told by its story.

mod story;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use distributary_api::validate::{ServicePort, Services};
use distributary_core::Moment;
use distributary_core::decision::{Decision, DecisionState};
use distributary_core::ids::{EndpointId, PolicyKey};
use distributary_core::observation::{FailureKind, Observation, Silence};
use distributary_core::policy::{DeclaredRole, Endpoint, IdentityRule, Policy};
use distributary_core::resolved::Resolved;
use distributary_core::resolved::ServiceProblem;
use distributary_core::target::{CheckAnswer, ProbeKey, ProbeOrder, SessionAnswer};
use distributary_core::world::{Announcement, Event, Instruction, Memory, World};
use story::{Setting, Statement};

/// From one thing that is said of a target to the next.
const STEP: Duration = Duration::from_secs(1);

/// What the servers of a policy show; docs/cli.md tells the words.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observations {
    /// By endpoint, or `ENDPOINT@ADDRESS` of a pod: oldest first, a second apart.
    #[serde(default)]
    pub checks: BTreeMap<String, Vec<String>>,
    /// The addresses of endpoints whose host is a name.
    #[serde(default)]
    pub addresses: BTreeMap<String, IpAddr>,
    /// By name: where the ready pods of a Service listen.
    #[serde(default)]
    pub services: BTreeMap<String, Vec<SocketAddr>>,
    /// The system identifier of who tells no other.
    #[serde(default)]
    pub system: Option<u64>,
}

/// Why observations say nothing of a policy.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unclear {
    #[error("checks.{0}: the policy checks no such endpoint, or it has no such pod")]
    NotChecked(String),
    #[error("checks.{endpoint}: '{word}'{}", story::expected(.word))]
    Word { endpoint: String, word: String },
    #[error("checks.{0}: a session needs an address: name it under addresses")]
    NoAddress(String),
}

/// All of them, at least one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", lines(.0))]
pub struct UnclearObservations(pub Vec<Unclear>);

fn lines(unclear: &[Unclear]) -> String {
    let lines: Vec<_> = unclear.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// The last decision of a rehearsal, and its moment.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    pub decision: Arc<Decision>,
    pub moment: Moment,
}

impl Observations {
    /// Each of the Services that are asked for, as it was observed.
    #[must_use]
    pub fn services(&self, asked: impl IntoIterator<Item = ServicePort>) -> Services {
        let known = |port: ServicePort| {
            let pods = self.services.get(&port.service).cloned();
            (port, pods.ok_or(ServiceProblem::NotFound))
        };
        asked.into_iter().map(known).collect()
    }

    /// A server of which nothing is said is well, and is what it is declared as; the database is the one that the policy
    /// names.
    #[must_use]
    pub fn or_well(mut self, policy: &Policy, resolved: &Resolved) -> Self {
        if let IdentityRule::Declared(system) = policy.identity {
            self.system.get_or_insert(system);
        }
        for endpoint in policy.endpoints.iter().filter(|endpoint| endpoint.is_watched()) {
            for (at, target) in resolved.targets(&endpoint.id).iter().enumerate() {
                let is_primary = endpoint.declared == DeclaredRole::Primary && at == 0;
                let word = if is_primary { "primary" } else { "standby" };
                self.checks
                    .entry(target.to_string())
                    .or_insert_with(|| vec![word.to_owned()]);
            }
        }
        self.checks
            .retain(|id, _| checked(policy, resolved, id) != Some(false));
        self
    }

    /// Without what is said of endpoints that the policy does not have, or does not check.
    #[must_use]
    pub fn of(mut self, policy: &Policy, resolved: &Resolved) -> Self {
        self.checks
            .retain(|id, _| checked(policy, resolved, id).is_some());
        self
    }

    fn address(&self, wanted: &ProbeOrder) -> Option<IpAddr> {
        let declared = wanted.location.host.to_string().parse().ok();
        let named = || self.addresses.get(wanted.target.endpoint.as_str()).copied();
        wanted.target.pod.or(declared).or_else(named)
    }
}

/// Whether the login to a target is known; `None`: no such target is checked.
fn checked(policy: &Policy, resolved: &Resolved, id: &str) -> Option<bool> {
    let has = |endpoint: &&Endpoint| {
        let targets = resolved.targets(&endpoint.id);
        targets.iter().any(|target| target.to_string() == id)
    };
    let mut watched = policy.endpoints.iter().filter(|endpoint| endpoint.is_watched());
    let endpoint = watched.find(has)?;
    let resolved = resolved.endpoint(&endpoint.id)?;
    Some(resolved.usable_login().is_some())
}

/// The world after all that is said, decided whenever it wants to be. `memory`: what was known before it. After it all
/// servers of the endpoints in `lost` refuse connections for as long as their circuits need to open.
///
/// # Errors
/// Everything that is said of an endpoint that is not there, or in words that are none.
pub fn rehearse(
    (policy, resolved): (&Arc<Policy>, &Arc<Resolved>),
    seen: &Observations,
    memory: Memory,
    lost: &BTreeSet<EndpointId>,
) -> Result<Rehearsal, UnclearObservations> {
    let mut stage = Stage::new((policy, resolved), memory);
    let setting = Setting::of(policy, seen);
    let (mut story, mut unclear) = (Vec::new(), Vec::new());
    for (id, words) in &seen.checks {
        let wanted = stage
            .wanted
            .iter()
            .find(|wanted| wanted.target.to_string() == *id);
        let Some(wanted) = wanted else {
            unclear.push(Unclear::NotChecked(id.clone()));
            continue;
        };
        let (mut said, wrong) = story::said(id, words, setting);
        unclear.extend(wrong);
        let in_session = |(_, said): &(Moment, Statement)| matches!(said, Statement::Heard(_));
        if said.iter().any(in_session) && seen.address(wanted).is_none() {
            unclear.push(Unclear::NoAddress(id.clone()));
        }
        if words.first().is_some_and(|first| first.starts_with("primary")) {
            said.extend(setting.movement(told_apart(policy)));
        }
        story.extend(
            said.into_iter()
                .map(|(moment, said)| (moment, wanted.clone(), said)),
        );
    }
    if !unclear.is_empty() {
        return Err(UnclearObservations(unclear));
    }
    let end = story.iter().map(|(moment, ..)| *moment).max().unwrap_or_default();
    story.extend(stage.refusals(lost, end));
    story.sort_by_key(|(moment, ..)| *moment);
    for (moment, wanted, said) in story {
        let address = seen.address(&wanted);
        stage.advance(moment, event(&policy.key, &wanted, address, moment, said));
    }
    if let Some(due) = stage.world.deadline() {
        stage.advance(due, None);
    }
    Ok(stage.end((policy, resolved)))
}

/// The head of the log is told so often that no lag is told by a line through a gap.
fn told_apart(policy: &Policy) -> Duration {
    let shortest = policy.endpoints.iter().map(|endpoint| endpoint.lag.max / 4).min();
    shortest.unwrap_or(STEP).max(STEP)
}

/// A world with one policy.
struct Stage {
    world: World,
    wanted: Vec<ProbeOrder>,
    last: Option<Arc<Decision>>,
    now: Moment,
    /// How long who is lost refuses connections.
    failing: Duration,
}

impl Stage {
    fn new((policy, resolved): (&Arc<Policy>, &Arc<Resolved>), memory: Memory) -> Self {
        let mut stage = Self {
            world: World::default(),
            wanted: Vec::new(),
            last: None,
            now: Moment::default(),
            failing: policy.probing.failover_timeout + STEP * (policy.breaker.failure_threshold + 1),
        };
        let changed = Event::PolicyChanged {
            policy: Arc::clone(policy),
            resolved: Arc::clone(resolved),
            memory,
        };
        stage.advance(Moment::default(), Some(changed));
        stage
    }

    fn refusals(&self, lost: &BTreeSet<EndpointId>, after: Moment) -> Vec<(Moment, ProbeOrder, Statement)> {
        let gone = self
            .wanted
            .iter()
            .filter(|wanted| lost.contains(&wanted.target.endpoint));
        let each = |wanted: &ProbeOrder| {
            let (wanted, steps) = (wanted.clone(), self.failing.as_secs());
            (1..=steps).map(move |step| {
                let refused = Statement::Checked(Err(FailureKind::ConnectRefused));
                (after + Duration::from_secs(step), wanted.clone(), refused)
            })
        };
        gone.flat_map(each).collect()
    }

    fn advance(&mut self, now: Moment, event: Option<Event>) {
        self.now = now;
        let effects = self.world.advance(now, event);
        for instruction in effects.prober {
            if let Instruction::Want { wanted, .. } = instruction {
                self.wanted = wanted;
            }
        }
        for report in effects.writer {
            if let Announcement::Decided { decision, .. } = report {
                self.last = Some(decision);
            }
        }
    }

    fn end(self, (policy, resolved): (&Arc<Policy>, &Arc<Resolved>)) -> Rehearsal {
        // A world decides every policy that is new to it.
        let none = || {
            Arc::new(Decision {
                policy: Arc::clone(policy),
                resolved: Arc::clone(resolved),
                state: DecisionState::Suspended,
                answered: None,
                recalled: 0,
            })
        };
        Rehearsal {
            decision: self.last.unwrap_or_else(none),
            moment: self.now,
        }
    }
}

/// `None`: a session is held at an address, and none is known.
fn event(
    policy: &PolicyKey,
    wanted: &ProbeOrder,
    address: Option<IpAddr>,
    moment: Moment,
    said: Statement,
) -> Option<Event> {
    let key = ProbeKey {
        policy: policy.clone(),
        target: wanted.target.clone(),
    };
    let incarnation = wanted.incarnation;
    let (started, ended) = (moment, moment);
    Some(match said {
        Statement::Checked(result) => Event::Observed(CheckAnswer {
            key,
            incarnation,
            elsewhere: false,
            observation: Observation {
                started,
                ended,
                address: address.filter(|_| result.is_ok()),
                result,
                sqlstate: None,
            },
        }),
        Statement::Heard(result) => Event::Heard(SessionAnswer {
            address: address?,
            key,
            incarnation,
            started,
            ended,
            result,
        }),
    })
}

#[cfg(test)]
mod tests;
