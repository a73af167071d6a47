use super::*;
use crate::fixture::{self, at, breaker, policy, sample};
use crate::observation::Lsn;

const BEAT: Duration = Duration::from_secs(2);
const SPAN: Duration = Duration::from_secs(100);

/// The endpoint a, with a class c as `edit` has it.
struct Scene {
    policy: fixture::Case,
    class_states: ClassStates,
    history: WalHistory,
    known: Replay,
}

impl Scene {
    fn new(edit: impl Fn(&mut Class)) -> Self {
        let mut scene = Self {
            policy: policy(&["a"]),
            class_states: ClassStates::default(),
            history: WalHistory::default(),
            known: Replay::default(),
        };
        scene.policy.routing.classes = vec![fixture::class("c")];
        scene.edit(edit);
        scene
    }

    fn bounded(seconds: u64) -> Self {
        Self::new(|class| class.max_lag = Some(Duration::from_secs(seconds)))
    }

    fn edit(&mut self, edit: impl Fn(&mut Class)) {
        edit(&mut self.policy.routing.classes[0]);
        self.take_classes();
    }

    fn take_classes(&mut self) {
        let endpoint = self.policy.endpoint(&"a".into()).unwrap();
        self.class_states
            .take_classes(&self.policy.policy(), endpoint, &self.known);
    }

    fn class(&self) -> ClassJudgement {
        self.class_states.classes()[&ClassName::from("c")]
    }

    fn freshness(&self) -> Freshness {
        self.class().freshness.unwrap()
    }

    /// A heartbeat at this second: the head is at a thousand a second, the standby so far behind.
    fn beat(&mut self, second: u64, behind: u64) {
        self.history
            .primary_at(at(second * 1000), Lsn(second * 1000), Some(1), SPAN);
        self.tell(second, Some(second.saturating_sub(behind) * 1000));
    }

    fn tell(&mut self, second: u64, position: Option<u64>) {
        let told = ReplayReport {
            moment: at(second * 1000),
            position: position.map(Lsn),
            queried: None,
        };
        let settings = fixture::lag();
        self.known.observe(told, &self.history, &settings, BEAT);
        self.class_states.replayed(told, &self.known, &self.history, BEAT);
    }

    /// A whole check at this second, in which the probe query is answered or not.
    fn probe(&mut self, second: u64, query: &str, answered: bool) {
        let mut sample = sample(Role::Standby);
        sample.probes.insert(query.into(), answered);
        let observation = Observation {
            started: at(second * 1000),
            ended: at(second * 1000),
            address: None,
            result: Ok(sample),
            sqlstate: None,
        };
        self.class_states.probed(&observation, &self.policy.policy());
    }

    fn used(&mut self, sessions: u32, second: u64) -> UseStep {
        let load = Load {
            sessions,
            max_connections: 100,
            transactions: 0,
            started: 0,
            ..Load::default()
        };
        let endpoint = self.policy.endpoint(&"a".into()).unwrap();
        self.class_states
            .loaded(Some(load), endpoint, self.policy.strategy, at(second * 1000));
        self.class_states.used()
    }
}

/// Ten heartbeats, in the last of which the standby is so many seconds behind.
fn behind(scene: &mut Scene, seconds: u64) {
    for second in (0..=40).step_by(2) {
        scene.beat(second, seconds.min(second));
    }
}

#[test]
fn only_a_class_that_asks_something_knows_something() {
    assert_eq!(Scene::new(|_| {}).class_states.classes(), BTreeMap::new());
    let asked = Scene::bounded(5).class();
    assert_eq!((asked.freshness, asked.trips), (Some(Freshness::Unknown), 0));
    let asked = Scene::new(|class| class.probe_query = Some("q".into())).class();
    assert_eq!((asked.freshness, asked.circuit), (None, Circuit::default()));
}

#[test]
fn a_class_has_a_bound_of_its_own_and_returns_at_half_of_it() {
    let mut scene = Scene::bounded(8);
    scene.policy.endpoints[1].lag.max_bytes = Some(1);
    scene.take_classes();
    behind(&mut scene, 7);
    assert_eq!(scene.freshness(), Freshness::Fresh, "whatever the bound in bytes");
    behind(&mut scene, 10);
    assert_eq!(scene.freshness(), Freshness::Lagging);
    assert_eq!(
        scene.known.freshness,
        Freshness::Fresh,
        "by the endpoint's own bound"
    );
    for second in (42..80).step_by(2) {
        scene.beat(second, 5);
    }
    assert_eq!(
        scene.freshness(),
        Freshness::Lagging,
        "5 s are more than half of 8 s"
    );
    scene.beat(80, 4);
    assert_eq!(scene.freshness(), Freshness::Fresh);
}

#[test]
fn another_bound_is_judged_anew_and_the_same_one_is_not() {
    let mut scene = Scene::bounded(8);
    behind(&mut scene, 10);
    for second in (42..80).step_by(2) {
        scene.beat(second, 5);
    }
    scene.take_classes();
    assert_eq!(
        scene.freshness(),
        Freshness::Lagging,
        "the same bound: it stays out"
    );
    scene.edit(|class| class.max_lag = Some(Duration::from_secs(9)));
    assert_eq!(
        scene.freshness(),
        Freshness::Fresh,
        "it was never out by this one"
    );
    scene.edit(|class| class.max_lag = Some(Duration::from_secs(4)));
    assert_eq!(scene.freshness(), Freshness::Lagging);
}

#[test]
fn where_lag_is_not_judged_everybody_is_fresh_for_every_class() {
    let mut scene = Scene::bounded(1);
    scene.policy.endpoints[1].lag.source = LagSource::None;
    scene.take_classes();
    assert_eq!(scene.freshness(), Freshness::Fresh);
}

#[test]
fn another_server_has_no_lag_yet() {
    let mut scene = Scene::bounded(8);
    behind(&mut scene, 3);
    assert_eq!(scene.freshness(), Freshness::Fresh);
    assert_eq!(
        scene.class_states.behind(),
        Some(LagStep::of(Duration::from_secs(3), None))
    );
    scene.class_states.forget_lag();
    assert_eq!(scene.freshness(), Freshness::Unknown);
    assert_eq!(scene.class_states.behind(), None);
}

#[test]
fn what_was_unknown_is_known_when_the_history_moves_on() {
    let mut scene = Scene::bounded(8);
    scene.tell(2, Some(2000));
    let reconsider = |scene: &mut Scene| {
        let Scene {
            class_states,
            history,
            known,
            ..
        } = scene;
        class_states.reconsider(known, history, BEAT)
    };
    assert!(!reconsider(&mut scene), "there is still nothing to compare with");
    scene.history.primary_at(at(2001), Lsn(2000), Some(1), SPAN);
    assert!(reconsider(&mut scene));
    assert_eq!(scene.freshness(), Freshness::Fresh);
    assert!(!reconsider(&mut scene), "it is known");
    // A class that has nothing new takes nothing back from one that has.
    let mut scene = Scene::bounded(8);
    let mut second = scene.policy.routing.classes[0].clone();
    second.name = "d".into();
    scene.policy.routing.classes.push(second);
    scene.take_classes();
    scene.tell(2, Some(2000));
    scene.history.primary_at(at(2001), Lsn(2000), Some(1), SPAN);
    scene
        .class_states
        .recall(&"d".into(), Breaker::default(), Some(Replay::fresh_since(at(0))));
    assert!(reconsider(&mut scene));
}

#[test]
fn how_far_behind_it_is_stays_known_while_it_does_not_tell() {
    let mut scene = Scene::bounded(8);
    behind(&mut scene, 20);
    let known = scene.class_states.behind();
    assert_eq!(known, Some(LagStep::of(Duration::from_secs(20), None)));
    scene.tell(42, None);
    assert_eq!(scene.class_states.behind(), known);
    scene.known = Replay::default();
    scene.class_states.reconsider(&scene.known, &scene.history, BEAT);
    assert_eq!(
        scene.class_states.behind(),
        None,
        "its lag is not judged any more"
    );
}

#[test]
fn another_query_has_a_circuit_of_its_own() {
    let mut scene = Scene::new(|class| class.probe_query = Some("q".into()));
    scene.policy.breaker = breaker();
    for second in 0..6 {
        scene.probe(second, "q", false);
    }
    let open = |scene: &Scene| matches!(scene.class().circuit, Circuit::Open { .. });
    assert!(open(&scene) && scene.class().trips == 1);
    assert!(scene.class_states.is_returning() && scene.class_states.failures().is_none());
    scene.take_classes();
    assert!(open(&scene), "the same query");
    scene.edit(|class| class.probe_query = Some("other".into()));
    assert!(!open(&scene) && !scene.class_states.is_returning());
    scene.probe(10, "q", false);
    assert_eq!(scene.class_states.failures(), None, "nobody asks that any more");
    scene.probe(11, "other", false);
    assert_eq!(scene.class_states.failures(), Some(1));
}

#[test]
fn what_a_class_knew_is_recalled_where_it_still_asks() {
    let breaker = Breaker::restored(
        Circuit::HalfOpen {
            step: 1,
            successes: 0,
        },
        3,
        at(0),
    );
    let lagged = || Some(Replay::lagging_since(at(0)));
    let mut both = Scene::new(|class| {
        class.max_lag = Some(Duration::from_secs(8));
        class.probe_query = Some("q".into());
    });
    both.class_states.recall(&"c".into(), breaker.clone(), lagged());
    assert_eq!(both.class().circuit, breaker.circuit);
    assert_eq!((both.class().trips, both.freshness()), (3, Freshness::Lagging));
    let mut lag_alone = Scene::bounded(8);
    lag_alone
        .class_states
        .recall(&"c".into(), breaker.clone(), lagged());
    assert_eq!(
        (lag_alone.class().trips, lag_alone.freshness()),
        (0, Freshness::Lagging)
    );
    let mut query_alone = Scene::new(|class| class.probe_query = Some("q".into()));
    query_alone
        .class_states
        .recall(&"c".into(), breaker.clone(), lagged());
    assert_eq!(
        (query_alone.class().trips, query_alone.class().freshness),
        (3, None)
    );
    let before = query_alone.class_states.clone();
    query_alone.class_states.recall(&"gone".into(), breaker, lagged());
    assert_eq!(query_alone.class_states, before);
}

#[test]
fn why_a_class_stays_away_is_its_lag_first_and_then_its_circuit() {
    let open = Circuit::Open { until: at(0) };
    let half_open = Circuit::HalfOpen {
        step: 0,
        successes: 0,
    };
    let closed = Circuit::default();
    for (freshness, circuit, reason) in [
        (None, closed, Reason::Serving),
        (None, open, Reason::ProbeQueryFailed),
        (None, half_open, Reason::Returning),
        (Some(Freshness::Fresh), closed, Reason::Serving),
        (Some(Freshness::Fresh), open, Reason::ProbeQueryFailed),
        (Some(Freshness::Lagging), open, Reason::Lagging),
        (Some(Freshness::Stalled), half_open, Reason::ReplayStalled),
        (Some(Freshness::Unknown), closed, Reason::LagUnknown),
    ] {
        let judgement = ClassJudgement {
            freshness,
            circuit,
            trips: 0,
        };
        assert_eq!(judgement.reason(Some(Role::Standby)), reason, "{judgement:?}");
        // A primary has no lag.
        let of_circuit = ClassJudgement {
            freshness: None,
            ..judgement
        };
        let expected = of_circuit.reason(Some(Role::Standby));
        assert_eq!(judgement.reason(Some(Role::Primary)), expected, "{judgement:?}");
        assert_eq!(judgement.reason(None), expected, "{judgement:?}");
    }
}

#[test]
fn two_steps_of_use_are_ten_seconds_apart() {
    let mut scene = Scene::new(|_| {});
    assert_eq!(scene.used(15, 0), UseStep::default(), "under another strategy");
    scene.policy.strategy = Strategy::LeastConnections;
    let full = UseStep::of(15, 15, None);
    assert_eq!(scene.used(15, 0), full);
    assert_eq!(scene.used(0, 9), full, "too soon");
    assert_eq!(scene.used(0, 10), UseStep::default());
    assert_eq!(scene.used(15, 20), full);
    scene.take_classes();
    assert_eq!(scene.class_states.used(), full);
    scene.policy.strategy = Strategy::Weighted;
    scene.take_classes();
    assert_eq!(scene.class_states.used(), UseStep::default());
}
