//! What is advised is done, and what it was advised for ends: for every reason, failure and condition that advises an act.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::render::advice;
use crate::render::status::{Report, WriteOutcome, status};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::cluster::Families;
use distributary_core::decision::Decision;
use distributary_core::fixture::{self, Case, SYSTEM, address, at, sample_at};
use distributary_core::health::Reason;
use distributary_core::ids::TargetId;
use distributary_core::observation::{FailureClass, FailureKind, Observation, Role, Sample};
use distributary_core::policy::{IdentityRule, LagSource};
use distributary_core::resolved::Pods;
use distributary_core::target::{CheckAnswer, Incarnation, ProbeKey};
use distributary_core::world::{Announcement, Effects, Event, Instruction, Memory, World};

type Told = Result<Sample, FailureKind>;

/// What a server tells at a second.
#[derive(Clone, Copy)]
enum Truth {
    Tells(fn(u64) -> Told),
    Fails(FailureKind),
}

/// A primary and the replicas `a` and `b`, as they are by now; each is checked every second.
struct Scene {
    world: World,
    case: Case,
    second: u64,
    truth: BTreeMap<&'static str, Truth>,
    wanted: BTreeMap<TargetId, Incarnation>,
    decision: Option<Arc<Decision>>,
}

fn following(second: u64) -> Told {
    standby(second).map(|told| Sample {
        timeline: Some(2),
        ..told
    })
}

fn primary(second: u64) -> Told {
    Ok(sample_at(Role::Primary, 1000 + second))
}

fn standby(second: u64) -> Told {
    Ok(sample_at(Role::Standby, 1000 + second))
}

/// Promoted: on the next timeline.
fn promoted(second: u64) -> Told {
    primary(second).map(|told| Sample {
        timeline: Some(2),
        ..told
    })
}

impl Scene {
    /// Nobody was checked yet.
    fn new() -> Self {
        let mut scene = Self {
            world: World::default(),
            case: fixture::policy(&["a", "b"]),
            second: 0,
            truth: BTreeMap::new(),
            wanted: BTreeMap::new(),
            decision: None,
        };
        scene.is("primary", primary);
        for id in ["a", "b"] {
            scene.is(id, standby);
        }
        scene.edit(|_| ());
        scene
    }

    fn well() -> Self {
        let mut scene = Self::new();
        scene.run(3);
        scene
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Case)) {
        edit(&mut self.case);
        self.case.generation += 1;
        self.happens([self.case.changed(Memory::default())]);
    }

    fn accept(&mut self, id: &str) {
        self.edit(|case| case.failover.accept_primary = Some(id.into()));
    }

    fn is(&mut self, id: &'static str, tells: fn(u64) -> Told) {
        self.truth.insert(id, Truth::Tells(tells));
    }

    fn fails(&mut self, id: &'static str, kind: FailureKind) {
        self.truth.insert(id, Truth::Fails(kind));
    }

    /// `a` tells this for so long.
    fn a_is(&mut self, tells: fn(u64) -> Told, seconds: u64) {
        self.is("a", tells);
        self.run(seconds);
    }

    fn a_fails(&mut self, kind: FailureKind, seconds: u64) {
        self.fails("a", kind);
        self.run(seconds);
    }

    fn happens(&mut self, events: impl IntoIterator<Item = Event>) {
        let Effects { prober, writer, .. } = self.world.advance(at(self.second * 1000), events);
        for instruction in prober {
            if let Instruction::Want { wanted, .. } = instruction {
                let orders = wanted.into_iter().map(|order| (order.target, order.incarnation));
                self.wanted = orders.collect();
            }
        }
        for announcement in writer {
            if let Announcement::Decided { decision, .. } = announcement {
                self.decision = Some(decision);
            }
        }
    }

    /// Seconds pass. The primary is asked last, so that its answers count for those of the others.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.second += 1;
            let targets: Vec<_> = self.wanted.clone().into_iter().collect();
            for (late, (target, incarnation)) in (0..).zip(targets) {
                let told = match self.truth[target.endpoint.as_str()] {
                    Truth::Tells(tells) => tells(self.second),
                    Truth::Fails(kind) => Err(kind),
                };
                let now = at(self.second * 1000 - 100 + late);
                let last = match target.endpoint.as_str() {
                    "primary" => 1,
                    "a" => 2,
                    "b" => 3,
                    _ => 4,
                };
                let answer = CheckAnswer {
                    key: ProbeKey {
                        policy: self.case.policy().key.clone(),
                        target: target.clone(),
                    },
                    incarnation,
                    elsewhere: false,
                    observation: Observation {
                        started: now,
                        ended: now,
                        address: told.is_ok().then(|| target.pod.unwrap_or_else(|| address(last))),
                        result: told,
                        sqlstate: None,
                    },
                };
                self.happens([Event::Observed(answer)]);
            }
        }
        self.happens([]);
    }

    /// The reason of an endpoint, and those of classes for it.
    fn reasons(&self, id: &str) -> Vec<Reason> {
        let endpoints = self
            .decision
            .as_ref()
            .and_then(|decision| decision.state.endpoints());
        let view = endpoints
            .into_iter()
            .flatten()
            .find(|view| view.id.as_str() == id);
        let of_classes = view.iter().flat_map(|view| view.state.classes.values());
        let classes = of_classes.map(|class| class.reason);
        view.iter().map(|view| view.state.reason).chain(classes).collect()
    }

    fn failure(&self, id: &str) -> Option<FailureKind> {
        let endpoints = self.decision.as_ref()?.state.endpoints()?;
        endpoints
            .iter()
            .find(|view| view.id.as_str() == id)?
            .state
            .failure
    }

    /// The status and the reason of a condition.
    fn condition(&self, type_: &str) -> (String, String) {
        let outputs = fixture::outputs();
        let report = Report {
            generation: 1,
            problems: &[],
            unresolved: &[],
            decision: self.decision.as_deref(),
            outputs: Some(&outputs),
            written: WriteOutcome::Programmed,
            remembered: true,
            signed: true,
            revision: None,
            moment: at(self.second * 1000),
        };
        let now = Time("2026-01-01T00:00:00Z".parse().unwrap());
        let status = status(&report, &ReplicaSetPolicyStatus::default(), &now);
        let condition = status
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == type_);
        condition
            .map(|condition| (condition.status, condition.reason))
            .unwrap()
    }
}

/// `begin` brings the reason about for this endpoint, and `act` is what is advised.
struct Advised {
    id: &'static str,
    reason: Reason,
    begin: fn(&mut Scene),
    act: fn(&mut Scene),
}

const fn of(id: &'static str, reason: Reason, begin: fn(&mut Scene), act: fn(&mut Scene)) -> Advised {
    Advised {
        id,
        reason,
        begin,
        act,
    }
}

/// It is mended.
fn mend(scene: &mut Scene) {
    scene.is("a", standby);
}

fn wait(_: &mut Scene) {}

fn elsewhere(scene: &mut Scene) {
    scene.edit(|case| case.of("a").location = Some(fixture::location(9)));
    mend(scene);
}

#[rustfmt::skip]
fn advised() -> Vec<Advised> {
    use FailureKind as F;
    use Reason as R;
    vec![
        of("primary", R::PrimaryInRecovery, |it| { it.is("primary", standby); it.run(2); }, |it| {
            it.is("a", promoted); it.is("primary", following);
        }),
        of("primary", R::PrimaryInRecovery, |it| {
            it.edit(|case| case.endpoints[1].promotable = false);
            it.is("primary", standby); it.is("a", promoted); it.run(2);
        }, |it| { it.accept("a"); it.is("primary", following); }),
        of("primary", R::ReadOnly, |it| {
            it.is("primary", |second| primary(second).map(|told| Sample { read_only: true, ..told })); it.run(2);
        }, |it| it.is("primary", primary)),
        of("a", R::Saturated, |it| it.a_fails(F::Saturated, 3), mend),
        of("a", R::AnswersWithError, |it| it.a_fails(F::OtherError, 3), mend),
        of("a", R::ConfigurationHeld, |it| it.a_fails(F::AuthenticationFailed, 3), mend),
        of("a", R::ConfigurationFailed, |it| {
            *it = Scene::new(); it.a_fails(F::AuthenticationFailed, 3);
        }, mend),
        of("a", R::Returning, |it| { it.a_fails(F::ConnectRefused, 10); mend(it); it.run(60); }, wait),
        of("a", R::AdmittedEarly, |it| {
            it.edit(|case| case.failover.read_fallback.clear());
            it.fails("b", F::ConnectRefused); it.a_fails(F::ConnectRefused, 10); mend(it); it.run(2);
        }, |it| it.is("b", standby)),
        of("a", R::Held, |it| {
            it.edit(|case| case.failover.read_fallback.clear());
            it.fails("b", F::ConnectRefused); it.a_fails(F::ConnectRefused, 10);
        }, mend),
        of("a", R::Suspect, |it| it.a_fails(F::ConnectRefused, 2), mend),
        of("a", R::Starting, |it| it.a_fails(F::Starting, 2), mend),
        of("a", R::StillStarting, |it| it.a_fails(F::Starting, 10), mend),
        of("a", R::CircuitOpen, |it| it.a_fails(F::ConnectRefused, 10), mend),
        of("a", R::Lagging, |it| it.a_is(|second| standby(second / 2), 80), mend),
        of("a", R::ReplayStalled, |it| it.a_is(|_| standby(0), 50), mend),
        of("a", R::LagUnknown, |it| {
            *it = Scene::new();
            it.a_is(|second| standby(second).map(|told| Sample { lsn: None, received: None, ..told }), 10);
        }, |it| it.edit(|case| case.endpoints[1].lag.source = LagSource::None)),
        of("a", R::ProbeQueryFailed, |it| {
            it.edit(|case| {
                let mut class = fixture::class("reports");
                class.probe_query = Some("SELECT 1".into());
                case.routing.classes.push(class);
            });
            it.a_is(|second| standby(second).map(|told| Sample { probes: [("SELECT 1".into(), false)].into(), ..told }), 10);
        }, |it| it.is("a", |second| standby(second).map(|told| Sample { probes: [("SELECT 1".into(), true)].into(), ..told }))),
        of("a", R::NameUnresolved, |it| it.a_fails(F::NameNotFound, 10), mend),
        of("c", R::NotCheckedYet, |it| {
            it.is("c", standby);
            it.case = fixture::policy(&["a", "b", "c"]);
            it.edit(|_| ());
        }, wait),
        of("a", R::AddressRefused, |it| it.a_fails(F::AddressRefused, 3), elsewhere),
        of("a", R::WritableReplica, |it| it.a_is(promoted, 3), mend),
        of("a", R::WritableReplica, |it| it.a_is(promoted, 3), |it| it.accept("a")),
        of("a", R::IdentityMismatch, |it| {
            it.a_is(|second| standby(second).map(|told| Sample { system_identifier: Some(SYSTEM + 1), ..told }), 3);
        }, elsewhere),
        of("a", R::Diverged, |it| it.a_is(|second| standby(second + 500), 3), mend),
        of("a", R::NotFollowing, |it| {
            it.a_is(promoted, 3); it.a_is(|second| standby(second).map(|told| Sample { timeline: None, ..told }), 1);
        }, wait),
        of("a", R::NoReadyPod, |it| {
            it.edit(|case| case.of("a").pods = Some(Pods { service: "pg".to_owned(), ready: Ok(Vec::new()) })); it.run(1);
        }, |it| {
            let ready = Ok(vec![(address(2), 5432).into()]);
            it.edit(|case| case.of("a").pods = Some(Pods { service: "pg".to_owned(), ready }));
        }),
        of("a", R::FamilyNotServed, |it| {
            it.edit(|case| case.cluster.families = [("ro".to_owned(), Families::V6)].into()); it.run(1);
        }, |it| it.edit(|case| case.cluster.families = [("ro".to_owned(), Families::Both)].into())),
    ]
}

#[test]
fn every_reason_ends_by_what_is_advised() {
    let mut seen = BTreeSet::new();
    for Advised {
        id,
        reason,
        begin,
        act,
    } in advised()
    {
        let mut scene = Scene::well();
        begin(&mut scene);
        assert!(
            scene.reasons(id).contains(&reason),
            "{reason}: {:?}",
            scene.reasons(id)
        );
        act(&mut scene);
        scene.run(700);
        assert!(!scene.reasons(id).contains(&reason), "{reason} stays");
        assert!(
            scene.reasons(id).iter().all(|reason| advice::is_plain(*reason)),
            "{reason}: {:?}",
            scene.reasons(id)
        );
        seen.insert(reason.word());
    }
    let advised = Reason::ALL
        .iter()
        .filter(|reason| advice::of(**reason).next.is_some());
    assert_eq!(seen, advised.map(|reason| reason.word()).collect());
}

/// Whatever a check fails with: once its cause is mended, the server serves.
#[test]
fn every_failure_ends_once_its_cause_is_mended() {
    for kind in FailureKind::ALL.iter().copied() {
        let mut scene = Scene::well();
        scene.fails("a", kind);
        scene.run(12);
        assert_eq!(scene.failure("a"), Some(kind));
        if kind.class() == FailureClass::RefusedAddress {
            elsewhere(&mut scene);
        } else {
            mend(&mut scene);
        }
        scene.run(700);
        assert_eq!(
            (scene.reasons("a"), scene.failure("a")),
            (vec![Reason::Serving], None),
            "{kind}"
        );
    }
}

/// `begin` brings the condition about, and `act` is what is advised.
struct AdvisedByCondition {
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    begin: fn(&mut Scene),
    act: fn(&mut Scene),
}

const fn when(
    (type_, status, reason): (&'static str, &'static str, &'static str),
    begin: fn(&mut Scene),
    act: fn(&mut Scene),
) -> AdvisedByCondition {
    AdvisedByCondition {
        type_,
        status,
        reason,
        begin,
        act,
    }
}

/// The primary never answered, and `a` takes writes.
fn without_primary(scene: &mut Scene) {
    *scene = Scene::new();
    scene.fails("primary", FailureKind::ConnectRefused);
    scene.fails("b", FailureKind::ConnectRefused);
    scene.a_is(promoted, 30);
}

/// The primary was on timeline 2, and is back on timeline 1.
fn set_back(scene: &mut Scene) {
    scene.is("primary", promoted);
    scene.run(3);
    scene.is("primary", primary);
    scene.run(3);
}

/// The primary cannot log anybody in, and `a` was promoted.
fn unproven(scene: &mut Scene) {
    scene.fails("primary", FailureKind::AuthenticationFailed);
    scene.a_is(promoted, 10);
}

fn other_database(second: u64) -> Told {
    primary(second).map(|told| Sample {
        system_identifier: Some(SYSTEM + 1),
        ..told
    })
}

fn upgraded(scene: &mut Scene) {
    scene.is("primary", other_database);
    scene.run(3);
}

/// The declared primary is a standby, and `a` takes the writes of another database.
fn disputed(scene: &mut Scene) {
    *scene = Scene::new();
    scene.is("primary", standby);
    scene.a_is(other_database, 10);
}

fn take_identifier(scene: &mut Scene) {
    scene.edit(|case| case.identity = IdentityRule::Declared(SYSTEM + 1));
}

#[rustfmt::skip]
fn advised_by_conditions() -> Vec<AdvisedByCondition> {
    let (ready, reachable, split) = ("Ready", "PrimaryReachable", "SplitBrainSuspected");
    let standby_alone: fn(&mut Scene) = |it| {
        it.edit(|case| case.endpoints[1].promotable = false);
        it.is("primary", standby); it.a_is(promoted, 3);
    };
    vec![
        when((ready, "False", "NoPrimary"), without_primary, |it| it.accept("a")),
        when((ready, "False", "PrimaryBelowMark"), set_back, |it| it.accept("primary")),
        when((reachable, "False", "OlderTimeline"), set_back, |it| it.accept("primary")),
        when((reachable, "False", "InRecovery"), standby_alone, |it| it.accept("a")),
        when((reachable, "False", "InRecovery"), |it| { it.is("primary", standby); it.run(3); }, |it| it.is("b", promoted)),
        when((ready, "False", "PrimaryUnproven"), unproven, |it| it.is("primary", standby)),
        when((split, "True", "PrimaryUnproven"), unproven, |it| it.fails("a", FailureKind::ConnectRefused)),
        when((split, "True", "PrimaryUnproven"), unproven, |it| it.accept("a")),
        when((split, "True", "SeveralWritable"), |it| it.a_is(promoted, 3), |it| it.fails("a", FailureKind::ConnectRefused)),
        when((split, "True", "SeveralWritable"), |it| it.a_is(promoted, 3), |it| it.is("a", standby)),
        when((split, "True", "SeveralWritable"), |it| it.a_is(promoted, 3), |it| { it.accept("a"); it.is("primary", standby); }),
        when((ready, "False", "IdentityChanged"), upgraded, take_identifier),
        when(("Stalled", "True", "IdentityChanged"), upgraded, take_identifier),
        when((ready, "False", "IdentityChanged"), disputed, take_identifier),
        when((ready, "False", "IdentityChanged"), disputed, |it| it.accept("a")),
        when((ready, "False", "IdentityChanged"), disputed, |it| {
            it.edit(|case| case.identity = IdentityRule::Declared(SYSTEM));
        }),
    ]
}

#[test]
fn every_condition_of_the_writes_ends_by_what_is_advised() {
    for AdvisedByCondition {
        type_,
        status,
        reason,
        begin,
        act,
    } in advised_by_conditions()
    {
        let mut scene = Scene::well();
        begin(&mut scene);
        let expected = (status.to_owned(), reason.to_owned());
        assert_eq!(scene.condition(type_), expected, "{type_}");
        scene.run(30);
        assert_eq!(scene.condition(type_), expected, "{type_} ends by itself");
        act(&mut scene);
        scene.run(60);
        assert_ne!(scene.condition(type_), expected, "{type_} stays");
    }
}
