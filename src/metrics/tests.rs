use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use distributary_core::fixture::{Case, at, login, policy, sample};
use distributary_core::login::{SecretProblem, UnresolvedSecret};
use distributary_core::observation::{FailureKind, Load, Observation, Role, Sample, Silence};
use distributary_core::policy::{EndpointState, Mode};
use distributary_core::target::{CheckAnswer, ProbeKey, ProbeOrder, SessionAnswer};
use distributary_core::world::{Announcement, Event, Instruction, Memory, World};

/// A world whose effects go to a board, as those of the engine do.
struct Scene {
    board: Board,
    metrics: Metrics,
    world: World,
    wanted: BTreeMap<String, ProbeOrder>,
    millis: u64,
}

impl Scene {
    fn new() -> Self {
        let board = Board::default();
        let mut scene = Self {
            metrics: Metrics::new(board.clone(), &CheckCounts::default(), Clock::new(), true),
            board,
            world: World::default(),
            wanted: BTreeMap::new(),
            millis: 0,
        };
        scene.metrics.leads(true);
        scene.apply(policy(&["a", "b"]));
        for id in ["primary", "a", "b"] {
            scene.check(id, Ok(told(id)));
        }
        for series in ASKED.into_iter().chain(TOLD) {
            for id in ["a", "b"] {
                assert!(scene.has(series, id), "{series} of {id}");
            }
        }
        scene
    }

    fn apply(&mut self, mut policy: Case) {
        policy.generation = i64::try_from(self.millis).unwrap();
        self.step(policy.changed(Memory::default()));
    }

    fn check(&mut self, id: &str, result: Result<Sample, FailureKind>) {
        let wanted = self.wanted[id].clone();
        self.check_as(&wanted, result);
    }

    fn check_as(&mut self, wanted: &ProbeOrder, result: Result<Sample, FailureKind>) {
        let now = at(self.millis + 1);
        let observation = Observation {
            started: now,
            ended: now + Duration::from_millis(1),
            address: wanted.location.host.to_string().parse().ok(),
            result,
            sqlstate: None,
        };
        self.step(Event::Observed(CheckAnswer {
            key: key(wanted),
            incarnation: wanted.incarnation,
            elsewhere: false,
            observation,
        }));
    }

    fn hear(&mut self, id: &str, result: Result<Sample, Silence>) {
        let (wanted, now) = (&self.wanted[id], at(self.millis + 1));
        let heard = SessionAnswer {
            key: key(wanted),
            incarnation: wanted.incarnation,
            address: wanted.location.host.to_string().parse().unwrap(),
            started: now,
            ended: now,
            result,
        };
        self.step(Event::Heard(heard));
    }

    fn step(&mut self, event: Event) {
        self.millis += 10;
        let effects = self.world.advance(at(self.millis), [event]);
        for instruction in effects.prober {
            if let Instruction::Want { wanted, .. } = instruction {
                let named = |wanted: ProbeOrder| (wanted.target.to_string(), wanted);
                self.wanted = wanted.into_iter().map(named).collect();
            }
        }
        for report in effects.writer {
            match report {
                Announcement::Decided { key, decision, .. } => self.board.decided(&key, &decision),
                Announcement::Gone { key } => self.board.forget(&key),
            }
        }
        for measurement in effects.figures {
            self.board.measured(measurement, at(self.millis));
        }
    }

    fn has(&self, series: &str, id: &str) -> bool {
        let page = self.metrics.encode().unwrap();
        page.lines().any(|line| {
            line.starts_with(&format!("distributary_endpoint_{series}{{"))
                && line.contains(&format!("endpoint=\"{id}\""))
        })
    }

    fn tells(&self, id: &str) -> [bool; 5] {
        TOLD.map(|series| self.has(series, id))
    }

    /// Whether nothing speaks of it.
    fn is_silent_about(&self, id: &str) -> bool {
        !self.metrics.encode().unwrap().contains(&format!("\"{id}\""))
    }
}

/// What the operator says of an endpoint.
const ASKED: [&str; 7] = [
    "eligible",
    "weight",
    "active",
    "circuit",
    "lag_bound_seconds",
    "max_connections",
    "transactions_total",
];
/// What an endpoint tells.
const TOLD: [&str; 5] = [
    "check_duration_seconds",
    "lag_seconds",
    "lag_bytes",
    "sessions",
    "usable_connections",
];
const ALL: [bool; 5] = [true; 5];
const NONE: [bool; 5] = [false; 5];

fn key(wanted: &ProbeOrder) -> ProbeKey {
    ProbeKey {
        policy: policy(&[]).key.clone(),
        target: wanted.target.clone(),
    }
}

fn told(id: &str) -> Sample {
    let role = if id == "primary" {
        Role::Primary
    } else {
        Role::Standby
    };
    Sample {
        load: Some(Load {
            sessions: 3,
            max_connections: 100,
            transactions: 7,
            started: 0,
            ..Load::default()
        }),
        ..sample(role)
    }
}

fn suspended(replicas: &[&str]) -> Case {
    let mut policy = policy(replicas);
    policy.mode = Mode::Suspend;
    policy
}

#[test]
fn an_endpoint_that_is_gone_leaves_no_series() {
    let mut scene = Scene::new();
    scene.apply(policy(&["a"]));
    assert!(scene.is_silent_about("b"));
    assert_eq!(scene.tells("a"), ALL);
    // What was under way for it makes none.
    let (mut late, key) = (scene.wanted["a"].clone(), policy(&[]).key.clone());
    late.target.endpoint = "b".into();
    scene.check_as(&late, Ok(told("b")));
    assert!(scene.is_silent_about("b"));
    scene.step(Event::PolicyGone { key });
    scene.check_as(&late, Ok(told("a")));
    assert!(scene.is_silent_about("a") && scene.is_silent_about("orders"));
}

#[test]
fn an_endpoint_that_goes_while_the_policy_is_suspended_leaves_no_series() {
    let mut scene = Scene::new();
    scene.apply(suspended(&["a", "b"]));
    // Nobody asks; what was decided stands.
    assert_eq!(scene.tells("b"), NONE);
    assert!(scene.has("eligible", "b"));
    scene.apply(suspended(&["a"]));
    assert!(scene.is_silent_about("b"));
    scene.apply(policy(&["a"]));
    for id in ["primary", "a"] {
        scene.check(id, Ok(told(id)));
    }
    assert!(scene.is_silent_about("b"));
    assert_eq!(scene.tells("a"), ALL);
}

#[test]
fn what_nobody_asks_tells_nothing() {
    let edits: [fn(&mut Case); 2] = [
        |policy| policy.endpoints[2].state = EndpointState::Disabled,
        |policy| {
            policy.of("b").login = Err(UnresolvedSecret {
                secret: "probe".to_owned(),
                problem: SecretProblem::NotFound,
            });
        },
    ];
    for edit in edits {
        let mut scene = Scene::new();
        let mut edited = policy(&["a", "b"]);
        edit(&mut edited);
        scene.apply(edited);
        assert_eq!(scene.tells("b"), NONE);
        assert!(scene.has("eligible", "b"));
        let mut back = policy(&["a", "b"]);
        back.of("b").login = Ok(login("distributary"));
        scene.apply(back);
        scene.check("b", Ok(told("b")));
        assert_eq!(scene.tells("b"), ALL);
    }
}

#[test]
fn who_does_not_answer_tells_nothing() {
    let mut scene = Scene::new();
    // As long as a session is held, it tells.
    scene.check("b", Err(FailureKind::TimedOut));
    assert_eq!(scene.tells("b"), ALL);
    scene.hear("b", Err(Silence::Missed));
    assert_eq!(scene.tells("b"), NONE);
    scene.hear("b", Ok(told("b")));
    let by_heartbeat = TOLD.map(|series| series != "check_duration_seconds");
    assert_eq!(scene.tells("b"), by_heartbeat);
    scene.check("b", Err(FailureKind::ConnectRefused));
    scene.check("b", Err(FailureKind::ConnectRefused));
    assert_eq!(scene.tells("b"), NONE);
    assert_eq!(scene.tells("a"), ALL);
    scene.check("b", Ok(told("b")));
    assert_eq!(scene.tells("b"), ALL);
    // A server that no longer tells its load has none.
    scene.check("b", Ok(sample(Role::Standby)));
    assert!(!scene.has("sessions", "b") && scene.has("lag_seconds", "b"));
}

#[test]
fn who_follows_shows_no_series_of_policies() {
    let scene = Scene::new();
    scene.metrics.leads(false);
    let page = scene.metrics.encode().unwrap();
    assert!(!page.contains("distributary_endpoint_"), "{page}");
    assert!(!page.contains("distributary_policy_"), "{page}");
    assert!(page.contains("distributary_leader 0\n"), "{page}");
    scene.metrics.leads(true);
    scene.metrics.took_lease();
    let page = scene.metrics.encode().unwrap();
    assert!(page.contains("distributary_endpoint_eligible"), "{page}");
    assert!(page.contains("distributary_leader 1\n"), "{page}");
    assert!(
        page.contains("distributary_lease_transitions_total 1\n"),
        "{page}"
    );
}

/// The value of the series that begins with this text.
fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(series));
    let line = line.unwrap_or_else(|| panic!("no {series} in {page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_alerts_need_is_told() {
    let mut scene = Scene::new();
    let of = |scene: &Scene, name: &str, more: &str| {
        let page = scene.metrics.encode().unwrap();
        let key = policy(&[]).key.clone();
        let labels = format!("namespace=\"{}\",policy=\"{}\"", key.namespace, key.name);
        value(&page, &format!("distributary_{name}{{{labels}{more}}}"))
    };
    assert!((of(&scene, "route_state", ",route=\"ro\"") - 3.0).abs() < 0.1);
    assert!((of(&scene, "policy_enforced", "") - 1.0).abs() < 0.1);
    assert!((of(&scene, "route_active_endpoints", ",route=\"ro\"") - 2.0).abs() < 0.1);
    assert!((of(&scene, "endpoint_lag_bound_seconds", ",endpoint=\"a\"") - 30.0).abs() < 0.1);
    assert!(of(&scene, "endpoint_circuit", ",endpoint=\"b\"").abs() < 0.1);
    for _ in 0..6 {
        scene.millis += 10_000;
        scene.check("b", Err(FailureKind::ConnectRefused));
    }
    assert!((of(&scene, "endpoint_circuit", ",endpoint=\"b\"") - 2.0).abs() < 0.1);
    let dead = of(
        &scene,
        "endpoint_probe_failures_total",
        ",endpoint=\"b\",class=\"Dead\"",
    );
    assert!((dead - 6.0).abs() < 0.1, "{dead}");
    for id in ["primary", "a", "b"].repeat(3) {
        scene.millis += 10_000;
        scene.check(id, Err(FailureKind::ConnectRefused));
    }
    assert!(
        (of(&scene, "route_state", ",route=\"ro\"") - 1.0).abs() < 0.1,
        "held"
    );
    scene.apply(suspended(&["a", "b"]));
    assert!(of(&scene, "policy_enforced", "").abs() < 0.1);
}

#[test]
fn endpoints_may_have_no_metrics_of_their_own() {
    let scene = Scene::new();
    let metrics = Metrics::new(scene.board.clone(), &CheckCounts::default(), Clock::new(), false);
    metrics.leads(true);
    let page = metrics.encode().unwrap();
    assert!(
        !page.contains("endpoint=") && !page.contains("distributary_endpoint_"),
        "{page}"
    );
    assert!(page.contains("distributary_route_state{"), "{page}");
    let told = metrics.descriptions().iter();
    assert!(
        told.map(|told| &told.name)
            .all(|name| !name.contains("_endpoint_"))
    );
}
