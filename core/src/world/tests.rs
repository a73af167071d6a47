mod classes;
mod edits;
mod families;
mod first;
mod following;
mod instances;
mod lag;
mod moves;
mod names;
mod pods;
mod primary;
mod recalled;
mod restart;
mod sessions;

use crate::decision::{Decision, DecisionState, RouteDecision, TargetState};
use crate::fixture::Case;
use crate::target::{Incarnation, NextCheck, ProbeOrder};
use crate::transition::Transition;
use std::time::Duration;

use super::*;
use crate::aliases::Instance;
use crate::breaker::Circuit;
use crate::fixture::{address, at, endpoint, location, login, sample, sample_at, serving};
use crate::health::Reason;
use crate::ids::{EndpointId, TargetId};
use crate::observation::{FailureKind, Observation, Role, Sample, Silence};
use crate::percent::Percent;
use crate::plan::RoutingPlan;
use crate::policy::{DeclaredRole, EndpointState, Mode};
use crate::write_primary::Holding;

/// Half-open, and nothing was good yet.
const FIRST_STEP: Circuit = Circuit::HalfOpen {
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

/// What a server tells that started then.
fn started(at: i64, sample: Sample) -> Sample {
    Sample {
        instance: Some(Instance {
            started: at,
            process: 1,
            ours: [1].into(),
        }),
        ..sample
    }
}

/// A world with the views of it: whom the prober wants, as the last instruction says, and what the writer was told.
#[derive(Default)]
struct Scene {
    world: World,
    wanted: BTreeMap<TargetId, ProbeOrder>,
    /// Not looked at yet.
    announced: Vec<Announcement>,
    /// The newest decision of each policy that was looked at.
    seen: BTreeMap<PolicyKey, Arc<Decision>>,
    now: Moment,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::default();
        scene.apply(policy(), &Memory::default(), 0);
        scene
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
                let by_target = |order: &ProbeOrder| (order.target.clone(), order.clone());
                self.wanted = wanted.iter().map(by_target).collect();
            }
        }
        effects
    }

    /// Something happens, and the world decides.
    fn step(&mut self, event: Event, millis: u64) -> Effects {
        self.now = at(millis);
        self.advance([event])
    }

    /// The world takes in these events now. Its instructions are obeyed as a prober does.
    fn advance(&mut self, events: impl IntoIterator<Item = Event>) -> Effects {
        let effects = self.world.advance(self.now, events);
        for instruction in &effects.prober {
            if let Instruction::Next { key, check } = instruction
                && let Some(wanted) = self.wanted.get_mut(&key.target)
            {
                assert!(check.number > wanted.check.number, "instructions are numbered");
                wanted.check = *check;
            }
        }
        self.announced.extend(effects.writer.iter().cloned());
        effects
    }

    fn check(&mut self, id: &str, millis: u64, result: Result<Sample, FailureKind>) -> Effects {
        let incarnation = self.wanted[&target(id)].incarnation;
        self.check_incarnation(id, incarnation, millis, result)
    }

    /// What the held session said.
    fn hear(&mut self, id: &str, millis: u64, result: Result<Sample, Silence>) -> Effects {
        let event = self.heard(id, millis, result);
        self.step(event, millis)
    }

    fn heard(&self, id: &str, millis: u64, result: Result<Sample, Silence>) -> Event {
        let wanted = &self.wanted[&target(id)];
        let (incarnation, address) = (wanted.incarnation, wanted.location.host.to_string());
        Event::Heard(SessionAnswer {
            key: key(id),
            incarnation,
            address: address.parse().unwrap(),
            started: at(millis),
            ended: at(millis),
            result,
        })
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
        let event = self.checked(id, incarnation, millis, result);
        self.step(event, millis)
    }

    fn checked(
        &self,
        id: &str,
        incarnation: Incarnation,
        millis: u64,
        result: Result<Sample, FailureKind>,
    ) -> Event {
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
            sqlstate: None,
        };
        Event::Observed(CheckAnswer {
            key,
            incarnation,
            elsewhere: false,
            observation,
        })
    }

    /// The name of the endpoint led to this address, where a check was good.
    fn found_at(&mut self, id: &str, millis: u64, last: u8, sample: Sample) {
        let observation = Observation {
            started: at(millis),
            ended: at(millis),
            address: Some(address(last)),
            result: Ok(sample),
            sqlstate: None,
        };
        let observed = CheckAnswer {
            key: key(id),
            incarnation: self.wanted[&target(id)].incarnation,
            elsewhere: false,
            observation,
        };
        self.step(Event::Observed(observed), millis);
    }

    /// The newest decision where it is another one than was looked at last, with all that changed since.
    fn decision(&mut self) -> Option<(Arc<Decision>, Vec<Transition>)> {
        self.advance([]);
        let (mut newest, mut changes) = (None, Vec::new());
        for announced in std::mem::take(&mut self.announced) {
            if let Announcement::Decided {
                key,
                decision,
                transitions,
            } = announced
            {
                changes.extend(transitions);
                newest = Some((key, decision));
            }
        }
        let (key, decision) = newest?;
        let before = self.seen.insert(key, Arc::clone(&decision));
        (before != Some(Arc::clone(&decision))).then_some((decision, changes))
    }

    fn decide(&mut self) -> Option<DecisionState> {
        self.decision().map(|(decision, _)| decision.state.clone())
    }

    fn decided(&mut self) -> RouteDecision {
        match self.decide() {
            Some(DecisionState::Decided(decided)) => *decided,
            other => panic!("{other:?}"),
        }
    }

    /// What is remembered after the newest decision.
    fn holding(&self) -> Holding {
        self.world.policies[&key("a").policy].holding.clone()
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
            Some(DecisionState::Waiting { unchecked }) => waiting(unchecked),
            Some(DecisionState::Suspended) => "suspended".to_owned(),
            None => "no change".to_owned(),
        }
    }

    fn instruction(&self, id: &str) -> &NextCheck {
        &self.wanted[&target(id)].check
    }

    /// When it is checked next.
    fn due(&self, id: &str) -> Moment {
        self.instruction(id).at.expect("it is checked again")
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
fn waiting(unchecked: usize) -> String {
    format!("waiting for {unchecked}")
}

#[test]
fn a_new_policy_wants_every_endpoint_checked_now() {
    let scene = Scene::new();
    let wanted: Vec<_> = scene.wanted.keys().map(ToString::to_string).collect();
    assert_eq!(wanted, ["a", "b", "primary"]);
    for wanted in scene.wanted.values() {
        assert_eq!(
            (wanted.check.at, wanted.check.timeout),
            (Some(at(0)), Duration::from_secs(2))
        );
    }
}

#[test]
fn routes_wait_until_every_endpoint_was_checked_once() {
    let mut scene = Scene::new();
    assert_eq!(scene.routes(), waiting(3));
    scene.check("primary", 1, good("primary"));
    scene.check("a", 2, good("a"));
    assert_eq!(scene.routes(), waiting(1));
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
    assert!(scene.advance([]).is_empty());
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
    assert_eq!(check.at, Some(at(30_040)));
}

#[test]
fn a_check_comes_as_much_sooner_as_the_jitter_says() {
    let jitter: Jitter = |key, number| match (key.target.to_string().as_str(), number) {
        ("a", 1) => 100,
        ("a", _) => 10,
        ("b", _) => 50,
        _ => 0,
    };
    let mut scene = Scene {
        world: World::new(jitter),
        ..Scene::default()
    };
    scene.apply(policy(), &Memory::default(), 0);
    let mut next = |id, millis| {
        scene.check(id, millis, good(id));
        scene.instruction(id).at
    };
    // Up to a tenth of 30 s.
    assert_eq!(next("primary", 0), Some(at(30_000)));
    assert_eq!(next("a", 0), Some(at(27_000)));
    assert_eq!(next("b", 0), Some(at(28_500)));
    assert_eq!(
        next("a", 27_000),
        Some(at(27_000 + 29_700)),
        "each check has its own"
    );
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
    assert!(scene.advance([]).is_empty());
}

#[test]
fn a_policy_that_is_gone_is_forgotten_once() {
    let mut scene = Scene::well();
    let key = policy().key.clone();
    let gone = || Event::PolicyGone {
        key: policy().key.clone(),
    };
    assert_eq!(
        scene.step(gone(), 10),
        Effects {
            prober: vec![Instruction::Want {
                policy: key.clone(),
                wanted: Vec::new()
            }],
            writer: vec![Announcement::Gone { key }],
            figures: Vec::new(),
        }
    );
    assert!(scene.step(gone(), 11).is_empty());
    assert!(scene.check("a", 12, good("a")).is_empty());
    assert!(scene.advance([]).is_empty());
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
    assert_eq!(scene.routes(), waiting(3));
}

#[test]
fn two_policies_of_one_name_in_two_namespaces_are_two() {
    let mut scene = Scene::well();
    scene.decide();
    let other = edited(|policy| {
        policy.key = PolicyKey::new("crm", "orders");
        policy.uid = "uid-2".to_owned();
    });
    scene.step(other.changed(Memory::default()), 10);
    assert_eq!(scene.routes(), waiting(3), "the new one alone");
    scene.check("a", 11, REFUSED);
    scene.check("a", 17, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro b", "the old one alone");
}

#[test]
fn an_address_that_is_refused_is_asked_for_no_more() {
    let mut scene = Scene::new();
    scene.check("a", 1, Err(FailureKind::AddressRefused));
    assert_eq!(scene.instruction("a").at, None);
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
