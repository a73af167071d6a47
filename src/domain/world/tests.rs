mod edits;
mod restart;

use std::time::Duration;

use super::*;
use crate::domain::observation::Sample;
use crate::domain::observation::{FailureKind, Observation};
use crate::domain::policy::Login;
use crate::domain::policy::{
    BreakerSettings, ClientSettings, Declared, Host, Location, Outputs, Percent, Probing, ReadFallback,
    Strategy, TlsMode, TlsSettings,
};
use crate::domain::target::Incarnation;

fn address(last: u8) -> IpAddr {
    IpAddr::from([198, 18, 0, last])
}

fn login(user: &str) -> Arc<Login> {
    Arc::new(Login {
        user: user.to_owned(),
        password: None,
        database: "postgres".to_owned(),
        tls: TlsSettings {
            mode: TlsMode::VerifyFull,
            ca: None,
            client: None,
        },
    })
}

fn endpoint(id: &str, last: u8) -> Endpoint {
    Endpoint {
        id: id.into(),
        declared: if id == "primary" {
            Declared::Primary
        } else {
            Declared::Replica
        },
        display_name: None,
        location: Some(Location {
            host: Host::Address(address(last)),
            port: 5432,
        }),
        login: Ok(login("distributary")),
        region: None,
        zone: None,
        weight: 1,
        priority: 1,
        max_connections: 15,
        active: true,
        tags: Vec::new(),
        clients: clients(),
    }
}

/// primary, a and b at 198.18.0.1, .2 and .3.
fn policy() -> Policy {
    Policy {
        key: PolicyKey::new("shop", "orders"),
        uid: "uid-1".to_owned(),
        generation: 1,
        mode: Mode::Enforce,
        retain: false,
        endpoints: vec![endpoint("primary", 1), endpoint("a", 2), endpoint("b", 3)],
        strategy: Strategy::RoundRobin,
        probing: Probing {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(2),
            failover_timeout: Duration::from_secs(5),
        },
        breaker: BreakerSettings {
            enabled: true,
            failure_threshold: 2,
            reset_timeout: Duration::from_secs(60),
            success_threshold: 1,
            traffic_steps: vec![Percent::new(50)],
        },
        read_fallback: vec![ReadFallback::Primary],
        outputs: Outputs {
            services: Some("orders".to_owned()),
            config_map: "orders-routing".to_owned(),
        },
        clients: clients(),
    }
}

fn edited(edit: impl FnOnce(&mut Policy)) -> Policy {
    let mut policy = policy();
    policy.generation = 2;
    edit(&mut policy);
    policy
}

fn at(millis: u64) -> Moment {
    Moment::new(Duration::from_millis(millis))
}

/// A world with the prober's view of it: who is wanted, as the last instruction says.
#[derive(Default)]
struct Scene {
    world: World,
    wanted: BTreeMap<EndpointId, Wanted>,
}

impl Scene {
    fn new() -> Self {
        let mut scene = Self::default();
        scene.apply(policy(), &Remembered::new(), 0);
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

    fn apply(&mut self, policy: Policy, remembered: &Remembered, millis: u64) -> Vec<Effect> {
        let event = Event::PolicyChanged {
            policy: Arc::new(policy),
            remembered: remembered.clone(),
        };
        let effects = self.world.step(event, at(millis));
        for effect in &effects {
            if let Effect::Want { wanted, .. } = effect {
                self.wanted = wanted
                    .iter()
                    .map(|wanted| (wanted.endpoint.clone(), wanted.clone()))
                    .collect();
            }
        }
        effects
    }

    fn check(&mut self, id: &str, millis: u64, result: Result<Sample, FailureKind>) -> Vec<Effect> {
        let incarnation = self.wanted[&EndpointId::from(id)].incarnation;
        self.check_incarnation(id, incarnation, millis, result)
    }

    fn check_incarnation(
        &mut self,
        id: &str,
        incarnation: Incarnation,
        millis: u64,
        result: Result<Sample, FailureKind>,
    ) -> Vec<Effect> {
        let key = ProbeKey {
            policy: policy().key,
            endpoint: id.into(),
        };
        let address = self.wanted[&key.endpoint].location.host.to_string().parse().ok();
        let observation = Observation {
            started: at(millis),
            ended: at(millis),
            address: address.filter(|_| result.is_ok()),
            result,
        };
        let event = Event::Observed(Observed {
            key,
            incarnation,
            observation,
        });
        self.world.step(event, at(millis))
    }

    /// Decides: the new state, where there is one.
    fn decide(&mut self) -> Option<DecisionState> {
        let mut effects = self.world.decide();
        assert!(effects.len() <= 1, "{effects:?}");
        match effects.pop()? {
            Effect::Decided { decision, .. } => Some(decision.state.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// The routes of a new decision: `rw primary; ro a b`.
    fn routes(&mut self) -> String {
        match self.decide() {
            Some(DecisionState::Decided { plan, .. }) => words(&plan),
            Some(other) => format!("{other:?}"),
            None => "no change".to_owned(),
        }
    }

    fn instruction(&self, id: &str) -> &NextCheck {
        &self.wanted[&EndpointId::from(id)].check
    }
}

fn words(plan: &RoutingPlan) -> String {
    let ids = |route: &crate::domain::plan::Route| {
        route
            .members
            .iter()
            .map(|member| format!(" {}", member.endpoint))
            .collect::<String>()
    };
    format!("rw{}; ro{}", ids(&plan.rw), ids(&plan.ro))
}

fn sample(role: Role) -> Sample {
    Sample {
        role,
        lsn: None,
        system_identifier: Some(7),
        timeline: Some(1),
    }
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
    let wanted: Vec<_> = scene.wanted.keys().map(EndpointId::as_str).collect();
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
    scene.check("b", 3, REFUSED);
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
    assert_eq!(scene.apply(policy(), &Remembered::new(), 500), []);
    assert_eq!(scene.world.decide(), []);
}

#[test]
fn every_observation_is_answered_by_one_instruction() {
    let mut scene = Scene::new();
    let effects = scene.check("a", 40, good("a"));
    let [Effect::Next { key, check }] = effects.as_slice() else {
        panic!("{effects:?}");
    };
    assert_eq!(key.endpoint, EndpointId::from("a"));
    assert_eq!(check.number, 1);
    assert_eq!(check.prefer, Some(address(2)));
    assert!(check.at > at(27_000) && check.at <= at(30_040), "{check:?}");
}

#[test]
fn checks_of_many_targets_do_not_gather() {
    let mut scene = Scene::new();
    let mut moments: Vec<_> = ["primary", "a", "b"]
        .into_iter()
        .flat_map(|id| scene.check(id, 0, good(id)))
        .filter_map(|effect| match effect {
            Effect::Next { check, .. } => Some(check.at),
            _ => None,
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
        &Remembered::new(),
        10,
    );
    scene.decide();
    scene.wanted = wanted;
    assert_eq!(scene.check("b", 11, good("b")), []);
    assert_eq!(scene.world.decide(), []);
}

#[test]
fn a_policy_that_is_gone_is_forgotten_once() {
    let mut scene = Scene::well();
    let key = policy().key;
    let gone = || Event::PolicyGone { key: policy().key };
    assert_eq!(
        scene.world.step(gone(), at(10)),
        [
            Effect::Want {
                policy: key.clone(),
                wanted: Vec::new()
            },
            Effect::Forget { key }
        ]
    );
    assert_eq!(scene.world.step(gone(), at(11)), []);
    assert_eq!(scene.check("a", 12, good("a")), []);
    assert_eq!(scene.world.decide(), []);
}

#[test]
fn a_policy_of_a_new_uid_starts_anew() {
    let mut scene = Scene::well();
    scene.decide();
    scene.apply(
        edited(|policy| policy.uid = "uid-2".to_owned()),
        &Remembered::new(),
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
    scene.world.step(
        Event::PolicyChanged {
            policy: Arc::new(other),
            remembered: Remembered::new(),
        },
        at(10),
    );
    assert_eq!(scene.routes(), format!("{WAITING}3 }}"), "the new one alone");
    scene.check("a", 11, REFUSED);
    scene.check("a", 17, REFUSED);
    assert_eq!(scene.routes(), "rw primary; ro b", "the old one alone");
}

#[test]
fn an_address_that_is_refused_is_asked_for_no_more() {
    let mut scene = Scene::new();
    assert_eq!(scene.check("a", 1, Err(FailureKind::AddressRefused)), []);
}

fn clients() -> ClientSettings {
    ClientSettings {
        database: "postgres".to_owned(),
        tls: TlsMode::VerifyFull,
        connect_timeout: Duration::from_secs(10),
    }
}
