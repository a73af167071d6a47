mod classes;
mod edits;
mod lag;
mod pods;
mod primary;
mod recalled;
mod restart;
mod sessions;

use crate::decision::{Decided, Decision, DecisionState, TargetState};
use crate::fixture::Case;
use crate::target::{Incarnation, NextCheck, ProbeOrder};
use crate::transition::Transition;
use std::time::Duration;

use super::*;
use crate::breaker::Circuit;
use crate::fixture::{address, at, endpoint, location, login, sample, sample_at, serving};
use crate::health::Reason;
use crate::ids::{EndpointId, TargetId};
use crate::observation::{FailureKind, Observation, Role, Sample, Silence};
use crate::percent::Percent;
use crate::plan::RoutingPlan;
use crate::policy::{DeclaredRole, EndpointState, Mode};

/// As a memory has it, which tells no step.
const HALF_OPEN: Circuit = Circuit::HalfOpen {
    step: 0,
    successes: 0,
};

/// primary, a and b at 198.18.0.1, .2 and .3; two failures trip, one success closes at half the weight.
fn policy() -> Case {
    let mut policy = crate::fixture::policy(&["a", "b"]);
    policy.breaker.failure_threshold = 2;
    policy.breaker.success_threshold = 1;
    policy.breaker.traffic_steps = vec![Percent::new(50)];
    policy
}

fn edited(edit: impl FnOnce(&mut Case)) -> Case {
    let mut policy = policy();
    policy.generation = 2;
    edit(&mut policy);
    policy
}

/// A world with the prober's view of it: who is wanted, as the last instruction says.
#[derive(Default)]
struct Scene {
    world: World,
    wanted: BTreeMap<TargetId, ProbeOrder>,
    now: Moment,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::default();
        scene.apply(policy(), &Memory::default(), 0);
        scene
    }

    /// A scene whose checks do not gather, without a policy yet.
    fn spread() -> Self {
        Self {
            world: World::new(Jitter::Spread),
            ..Self::default()
        }
    }

    /// A scene whose endpoints were all checked and are well.
    fn well() -> Self {
        let mut scene = Self::new();
        for id in ["primary", "a", "b"] {
            scene.check(id, 1, good(id));
        }
        scene
    }

    fn apply(&mut self, policy: Case, memory: &Memory, millis: u64) -> Effects {
        let effects = self.step(policy.changed(memory.clone()), millis);
        for instruction in &effects.prober {
            if let Instruction::Want { wanted, .. } = instruction {
                self.wanted = wanted
                    .iter()
                    .map(|wanted| (wanted.target.clone(), wanted.clone()))
                    .collect();
            }
        }
        effects
    }

    /// Steps the world, and takes its instructions as a prober does.
    fn step(&mut self, event: Event, millis: u64) -> Effects {
        self.now = at(millis);
        let effects = self.world.step(event, self.now);
        self.obey(&effects);
        effects
    }

    fn obey(&mut self, effects: &Effects) {
        for instruction in &effects.prober {
            if let Instruction::Next { key, check } = instruction
                && let Some(wanted) = self.wanted.get_mut(&key.target)
            {
                assert!(check.number > wanted.check.number, "instructions are numbered");
                wanted.check = *check;
            }
        }
    }

    fn check(&mut self, id: &str, millis: u64, result: Result<Sample, FailureKind>) -> Effects {
        let incarnation = self.wanted[&target(id)].incarnation;
        self.check_incarnation(id, incarnation, millis, result)
    }

    /// What the held session said.
    fn hear(&mut self, id: &str, millis: u64, result: Result<Sample, Silence>) -> Effects {
        let wanted = &self.wanted[&target(id)];
        let (incarnation, address) = (wanted.incarnation, wanted.location.host.to_string());
        let heard = SessionAnswer {
            key: key(id),
            incarnation,
            address: address.parse().unwrap(),
            started: at(millis),
            ended: at(millis),
            result,
        };
        self.step(Event::Heard(heard), millis)
    }

    /// Heartbeats of all three: the primary's log is at `primary`, the standbys replayed up to `a` and `b`.
    fn beat(&mut self, millis: u64, [primary, a, b]: [u64; 3]) {
        self.hear("primary", millis, Ok(sample_at(Role::Primary, primary)));
        self.hear("a", millis, Ok(sample_at(Role::Standby, a)));
        self.hear("b", millis, Ok(sample_at(Role::Standby, b)));
    }

    /// The primary's log moves on for 40 s, and a check finds that it stood still.
    fn falls_behind(&mut self, id: &str, millis: u64) {
        self.check("primary", millis, good("primary"));
        self.check(id, millis, good(id));
        for beat in 1..=20 {
            let head = sample_at(Role::Primary, 1000 + beat);
            self.hear("primary", millis + beat * 2000, Ok(head));
        }
        self.check(id, millis + 40_001, good(id));
    }

    fn check_incarnation(
        &mut self,
        id: &str,
        incarnation: Incarnation,
        millis: u64,
        result: Result<Sample, FailureKind>,
    ) -> Effects {
        let key = key(id);
        let address = key
            .target
            .pod
            .or_else(|| self.wanted[&key.target].location.host.to_string().parse().ok());
        let observation = Observation {
            started: at(millis),
            ended: at(millis),
            address: address.filter(|_| result.is_ok()),
            result,
        };
        let event = Event::Observed(CheckAnswer {
            key,
            incarnation,
            observation,
        });
        self.step(event, millis)
    }

    /// Decides now: the new decision, where there is one, with what changed by it.
    fn decision(&mut self) -> Option<(Arc<Decision>, Vec<Transition>)> {
        let effects = self.world.decide(self.now);
        self.obey(&effects);
        let mut decided = effects.writer.into_iter().filter_map(|report| match report {
            Report::Decided {
                decision,
                transitions,
                ..
            } => Some((decision, transitions)),
            Report::Gone { .. } => None,
        });
        let first = decided.next();
        assert!(decided.next().is_none(), "one decision for a policy");
        first
    }

    fn decide(&mut self) -> Option<DecisionState> {
        self.decision().map(|(decision, _)| decision.state.clone())
    }

    fn decided(&mut self) -> Decided {
        match self.decide() {
            Some(DecisionState::Decided(decided)) => *decided,
            other => panic!("{other:?}"),
        }
    }

    fn reason(&mut self, id: &str) -> Reason {
        let decided = self.decided();
        let view = decided.endpoints.iter().find(|view| view.id.as_str() == id);
        view.unwrap().state.reason
    }

    /// Time passes, and the world is asked when it wants to be.
    fn wait_for_deadline(&mut self) {
        self.now = self.world.deadline().expect("it wants to be asked");
    }

    /// The routes of a new decision: `rw primary; ro a b`.
    fn routes(&mut self) -> String {
        match self.decide() {
            Some(DecisionState::Decided(decided)) => words(&decided.plan),
            Some(other) => format!("{other:?}"),
            None => "no change".to_owned(),
        }
    }

    fn instruction(&self, id: &str) -> &NextCheck {
        &self.wanted[&target(id)].check
    }
}

/// `a`, or `a@198.18.0.7` for a pod.
fn target(id: &str) -> TargetId {
    let (endpoint, pod) = id
        .split_once('@')
        .map_or((id, None), |(id, pod)| (id, pod.parse().ok()));
    TargetId {
        endpoint: endpoint.into(),
        pod,
    }
}

fn key(id: &str) -> ProbeKey {
    ProbeKey {
        policy: policy().key.clone(),
        target: target(id),
    }
}

fn words(plan: &RoutingPlan) -> String {
    let ids = |route: &crate::plan::Route| {
        route
            .members
            .iter()
            .map(|member| format!(" {}", member.target))
            .collect::<String>()
    };
    format!("rw{}; ro{}", ids(&plan.rw), ids(&plan.ro))
}

fn good(id: &str) -> Result<Sample, FailureKind> {
    Ok(sample(if id == "primary" {
        Role::Primary
    } else {
        Role::Standby
    }))
}

const REFUSED: Result<Sample, FailureKind> = Err(FailureKind::ConnectRefused);
const WAITING: &str = "Waiting { unchecked: ";

#[test]
fn a_new_policy_wants_every_endpoint_checked_now() {
    let scene = Scene::new();
    let wanted: Vec<_> = scene.wanted.keys().map(ToString::to_string).collect();
    assert_eq!(wanted, ["a", "b", "primary"]);
    for wanted in scene.wanted.values() {
        assert_eq!(
            (wanted.check.at, wanted.check.timeout),
            (at(0), Duration::from_secs(2))
        );
    }
}

#[test]
fn routes_wait_until_every_endpoint_was_checked_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.routes(), format!("{WAITING}3 }}"));
    scene.check("primary", 1, good("primary"));
    scene.check("a", 2, good("a"));
    assert_eq!(scene.routes(), format!("{WAITING}1 }}"));
    scene.check("b", 3, Err(FailureKind::TimedOut));
    assert_eq!(scene.routes(), "rw primary; ro a");
}

#[test]
fn an_unchanged_world_gives_no_decision() {
    let mut scene = Scene::well();
    assert_eq!(scene.routes(), "rw primary; ro a b");
    scene.check("a", 100, good("a"));
    assert_eq!(scene.routes(), "no change");
}

#[test]
fn the_same_policy_twice_has_no_effects() {
    let mut scene = Scene::well();
    scene.decide();
    assert!(scene.apply(policy(), &Memory::default(), 500).is_empty());
    assert!(scene.world.decide(scene.now).is_empty());
}

#[test]
fn every_observation_is_answered_by_one_instruction() {
    let mut scene = Scene::new();
    let effects = scene.check("a", 40, good("a"));
    let ([Instruction::Next { key, check }], [_]) = (effects.prober.as_slice(), effects.figures.as_slice())
    else {
        panic!("{effects:?}");
    };
    assert_eq!(key.target, target("a"));
    assert_eq!(check.number, 1);
    assert_eq!(check.prefer, Some(address(2)));
    assert_eq!(check.at, at(30_040));
}

#[test]
fn checks_of_many_targets_do_not_gather() {
    let mut scene = Scene::spread();
    scene.apply(policy(), &Memory::default(), 0);
    let mut moments: Vec<_> = ["primary", "a", "b"]
        .into_iter()
        .flat_map(|id| scene.check(id, 0, good(id)).prober)
        .filter_map(|instruction| match instruction {
            Instruction::Next { check, .. } => Some(check.at),
            Instruction::Want { .. } => None,
        })
        .collect();
    moments.dedup();
    assert_eq!(moments.len(), 3, "{moments:?}");
}

#[test]
fn an_observation_of_an_unknown_target_is_ignored() {
    let mut scene = Scene::well();
    scene.decide();
    let wanted = scene.wanted.clone();
    scene.apply(
        edited(|policy| {
            policy.endpoints.pop();
        }),
        &Memory::default(),
        10,
    );
    scene.decide();
    scene.wanted = wanted;
    assert!(scene.check("b", 11, good("b")).is_empty());
    assert!(scene.world.decide(scene.now).is_empty());
}

#[test]
fn a_policy_that_is_gone_is_forgotten_once() {
    let mut scene = Scene::well();
    let key = policy().key.clone();
    let gone = || Event::PolicyGone {
        key: policy().key.clone(),
    };
    assert_eq!(
        scene.world.step(gone(), at(10)),
        Effects {
            prober: vec![Instruction::Want {
                policy: key.clone(),
                wanted: Vec::new()
            }],
            writer: vec![Report::Gone { key }],
            figures: Vec::new(),
        }
    );
    assert!(scene.world.step(gone(), at(11)).is_empty());
    assert!(scene.check("a", 12, good("a")).is_empty());
    assert!(scene.world.decide(scene.now).is_empty());
}

#[test]
fn a_policy_of_a_new_uid_starts_anew() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| policy.uid = "uid-2".to_owned()),
        &Memory::default(),
        10,
    );
    assert_eq!(scene.routes(), format!("{WAITING}3 }}"));
}

#[test]
fn two_policies_of_one_name_in_two_namespaces_are_two() {
    let mut scene = Scene::well();
    scene.decide();
    let other = edited(|policy| {
        policy.key = PolicyKey::new("crm", "orders");
        policy.uid = "uid-2".to_owned();
    });
    scene.world.step(other.changed(Memory::default()), at(10));
    assert_eq!(scene.routes(), format!("{WAITING}3 }}"), "the new one alone");
    scene.check("a", 11, REFUSED);
    scene.check("a", 17, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro b", "the old one alone");
}

#[test]
fn an_address_that_is_refused_is_asked_for_no_more() {
    let mut scene = Scene::new();
    scene.check("a", 1, Err(FailureKind::AddressRefused));
    assert_eq!(scene.instruction("a").at, Moment::NEVER);
}

#[test]
fn a_url_that_is_read_later_has_its_port_and_another_port_is_another_server() {
    let mut scene = Scene::default();
    let nowhere = |policy: &mut Case| policy.of("a").location = None;
    scene.apply(edited(nowhere), &Memory::default(), 0);
    scene.decide();
    scene.apply(policy(), &Memory::default(), 10);
    assert_eq!(scene.wanted[&target("a")].location.port, 5432);

    let moved = |policy: &mut Case| {
        if let Some(location) = &mut policy.of("a").location {
            location.port = 6432;
        }
    };
    scene.apply(edited(nowhere), &Memory::default(), 20);
    scene.apply(edited(moved), &Memory::default(), 30);
    assert_eq!(scene.wanted[&target("a")].location.port, 6432);
}

#[test]
fn who_is_admitted_early_or_held_says_so_and_is_not_well() {
    let mut scene = Scene::default();
    let spec = edited(|policy| policy.failover.read_fallback.clear());
    scene.apply(spec, &Memory::default(), 0);
    for id in ["primary", "a", "b"] {
        scene.check(id, 1, good(id));
    }
    let shown = |scene: &mut Scene| {
        let views = scene.decided().endpoints;
        let shown = views.iter().map(|view| (view.state.reason, view.healthy));
        shown.collect::<Vec<_>>()
    };
    let well = (Reason::Serving, true);
    assert_eq!(shown(&mut scene), [well; 3]);
    for millis in [1000, 6001] {
        for id in ["a", "b"] {
            scene.check(id, millis, Err(FailureKind::TimedOut));
        }
    }
    let held = (Reason::Held, false);
    assert_eq!(shown(&mut scene), [well, held, held]);
    scene.check("a", 7000, good("a"));
    let early = (Reason::AdmittedEarly, false);
    assert_eq!(shown(&mut scene), [well, early, (Reason::CircuitOpen, false)]);
}

#[test]
fn checks_that_begin_together_are_spread_over_a_tenth_of_the_interval() {
    let ids: Vec<_> = (0..64).map(|number| format!("replica-{number}")).collect();
    let spec = edited(|policy| {
        let replicas = ids.iter().zip(2..).map(|(id, last)| endpoint(id, last));
        policy.endpoints = std::iter::once(endpoint("primary", 1)).chain(replicas).collect();
    });
    let mut scene = Scene::spread();
    scene.apply(spec, &Memory::default(), 0);
    let mut gaps: Vec<_> = ids
        .iter()
        .map(|id| {
            scene.check(id, 0, good("a"));
            scene.instruction(id).at.since(at(0))
        })
        .collect();
    gaps.sort_unstable();
    let (least, most) = (Duration::from_secs(27), Duration::from_secs(30));
    assert!(gaps.iter().all(|gap| (least..=most).contains(gap)));
    // Each third of it has some.
    for third in 0..3 {
        let from = least + Duration::from_secs(third);
        let within = gaps
            .iter()
            .filter(|gap| (from..from + Duration::from_secs(1)).contains(*gap));
        assert!(within.count() >= 10, "{third}: {gaps:?}");
    }
    gaps.dedup();
    assert!(gaps.len() > 32, "{gaps:?}");
}
