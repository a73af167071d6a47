//! Examples and lists that are compared with what runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distributary::engine::{Board, CheckCounts};
use distributary::metrics::Metrics;
use distributary::render::reading::Version;
use distributary::render::{self, Subject};
use distributary_api::validate::Declaration;
use distributary_core::Moment;
use distributary_core::breaker::Circuit;
use distributary_core::cluster::Cluster;
use distributary_core::decision::{Decision, DecisionState, RouteDecision, TargetNote, explain};
use distributary_core::health::{Reason, Standing};
use distributary_core::ids::{PolicyKey, TargetId};
use distributary_core::judgement::Judgement;
use distributary_core::lag::Lag;
use distributary_core::level::UseStep;
use distributary_core::observation::{Load, Observation, Role, Sample};
use distributary_core::percent::Percent;
use distributary_core::plan::plan;
use distributary_core::policy::Policy;
use distributary_core::statistics::Measured;
use distributary_core::table;
use distributary_core::target::ProbeKey;
use distributary_core::world::{Figures, Measurement};
use distributary_core::write_primary::{Holding, WriteChoice, Writes};
use distributary_probe::Clock;
use serde_json::{Value, json};

use crate::policies::policies;
use crate::{must_be, read};

/// The policy of the examples: a primary, a replica of weight 3, another one.
fn example() -> Declaration {
    let yaml = r"
apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata: {name: orders, namespace: shop, uid: 5d1e2f9c-0000-4000-8000-000000000001, generation: 1}
spec:
  connection: {database: orders}
  primary: {host: pg-0.example.com}
  replicas:
  - {id: replica-1, host: pg-1.example.com, weight: 3, zone: us-east-1b}
  - {id: replica-2, host: pg-2.example.com}
  loadBalancing: {strategy: Weighted}
";
    policies("the example", yaml).remove(0)
}

fn judgements(policy: &Policy) -> Vec<Judgement> {
    let good = (Standing::Good, Reason::Serving, Circuit::default());
    let first_step = Circuit::HalfOpen {
        step: 0,
        successes: 0,
    };
    let share = Percent::new(10);
    let returning = (
        Standing::Returning { share, last: false },
        Reason::Returning,
        first_step,
    );
    let states = [good, good, returning];
    let judged = policy.endpoints.iter().zip(states).enumerate();
    judged
        .map(|(at, (endpoint, (standing, reason, circuit)))| Judgement {
            same_as: None,
            target: TargetId::host(endpoint.id.clone()),
            address: Some(format!("198.18.0.1{at}").parse().unwrap()),
            role: Some(if at == 0 { Role::Primary } else { Role::Standby }),
            port: Some(5432),
            circuit,
            trips: 0,
            standing,
            health: standing,
            reason,
            failure: None,
            behind: None,
            used: UseStep::default(),
            classes: BTreeMap::new(),
        })
        .collect()
}

/// The declared primary takes the writes.
fn choice(policy: &Policy) -> WriteChoice {
    WriteChoice {
        stays_at: None,
        holding: Holding {
            holder: Some(TargetId::host(policy.endpoints[0].id.clone())),
            timeline: Some(1),
            ..Holding::default()
        },
        writes: Writes::Served,
        split: Vec::new(),
        changed: None,
        unproven: false,
        proven: true,
        obstacles: BTreeMap::new(),
        again: None,
    }
}

#[test]
fn the_example_of_routing_json_is_what_is_written() {
    let Declaration {
        policy,
        resolved,
        outputs,
    } = example();
    let plan = plan(
        &policy,
        &Cluster::default(),
        &judgements(&policy),
        &choice(&policy),
    );
    let subject = Subject {
        policy: &policy,
        resolved: &resolved,
        outputs: &outputs,
        plan: &plan,
    };
    let objects = render::render(&subject).objects;
    let data = &objects.last().unwrap().body["data"];
    let text = |key: &str| data[key].as_str().unwrap().to_owned();
    let routing: Value = serde_json::from_str(&text("routing.json")).unwrap();
    let generated = [
        ("routing.json", "json", format!("{routing:#}\n")),
        (
            "libpq",
            "text",
            format!("libpq-rw: {}\nlibpq-ro: {}\n", text("libpq-rw"), text("libpq-ro")),
        ),
    ];
    let mut page = read("docs/routing-json.md");
    for (name, language, block) in generated {
        let start = format!("<!-- generated: {name} -->\n```{language}\n");
        let (before, rest) = page.split_once(&start).unwrap();
        let after = &rest[rest.find("```").unwrap()..];
        page = format!("{before}{start}{block}{after}");
    }
    must_be("docs/routing-json.md", &page);
}

#[test]
fn the_schema_of_routing_json_is_that_of_its_type() {
    must_be(
        "docs/schemas/routing.v1.json",
        &format!("{:#}\n", table::schema()),
    );
}

#[test]
fn every_metric_is_listed_and_no_other() {
    let (board, checks) = (Board::default(), CheckCounts::default());
    let metrics = Metrics::new(board.clone(), &checks, Clock::new(), true);
    let Declaration { policy, resolved, .. } = example();
    let key = policy.key.clone();
    let endpoint = policy.endpoints[0].id.clone();
    let probe = ProbeKey {
        policy: key.clone(),
        target: TargetId::host(endpoint),
    };
    let sample = Sample::of(Role::Primary);
    let moment = Moment::default();
    let observation = Observation {
        started: moment,
        ended: moment,
        address: None,
        result: Ok(sample),
        sqlstate: None,
    };
    checks.count(&observation, Duration::ZERO);
    let lag = Lag::Behind {
        time: Duration::from_secs(1),
        bytes: Some(1),
    };
    let load = Load {
        sessions: 1,
        max_connections: 100,
        transactions: 1,
        started: 0,
        ..Load::default()
    };
    let figures = Figures {
        lag: Some(lag),
        load: Some(load),
        took: Some(Duration::from_millis(1)),
        measured: Some(Measured {
            at: moment,
            role: Role::Primary,
            asked: 1,
            operators: Some(1),
        }),
    };
    let judgements = judgements(&policy);
    let choice = choice(&policy);
    let plan = plan(&policy, &Cluster::default(), &judgements, &choice);
    let endpoints = explain(&policy, &resolved, &judgements, &plan, |_| TargetNote {
        sessions: Some(1),
        ..TargetNote::default()
    });
    let decided = RouteDecision {
        plan,
        endpoints,
        holding: choice.holding,
        split: Vec::new(),
        changed: None,
        unproven: false,
        proven: true,
        warm: true,
        found: None,
    };
    let decision = Decision {
        policy,
        resolved,
        state: DecisionState::Decided(Box::new(decided)),
        answered: None,
        recalled: 0,
    };
    board.decided(&key, &Arc::new(decision));
    board.measured(
        Measurement {
            key: probe,
            figures: Some(figures),
            failure: None,
            silent: false,
        },
        moment,
    );
    let _watch = metrics.watch("Service");
    count_all(&metrics, &key);

    let page = metrics.encode().unwrap();
    let text = read("docs/metrics.md");
    let listed = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let kind = rest.split(" | ").next()?;
        name.starts_with("distributary_").then_some((name, kind))
    });
    let described = metrics.descriptions().iter();
    let described = described.map(|metric| (metric.name.as_str(), metric.kind.as_str()));
    assert_eq!(described.collect::<BTreeSet<_>>(), listed.collect());
    for metric in metrics.descriptions() {
        let base = metric.name.trim_end_matches("_total").trim_end_matches("_info");
        let type_ = format!("# TYPE {base} {}\n", metric.kind.as_str());
        assert!(page.contains(&type_), "no series here: {type_}");
    }
    every_label_is_listed(&page, &text);
}

/// Something of all that the process counts.
fn count_all(metrics: &Metrics, key: &PolicyKey) {
    metrics.leads(true);
    metrics.wrote("Service", "create");
    metrics.failed("Deadline");
    metrics.watch_failed("Service", "Silent");
    metrics.requested("Service", "create", Duration::ZERO);
    metrics.decided_and_wrote(Duration::ZERO);
    let status = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "Routable", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let status = serde_json::from_value(status).unwrap();
    metrics.saw_status(key, "uid", &Version::new("1"), &status);
}

fn every_label_is_listed(page: &str, text: &str) {
    for line in page
        .lines()
        .filter(|line| line.contains('{') && !line.contains("le="))
    {
        for label in line
            .split(['{', ','])
            .skip(1)
            .filter_map(|label| label.split_once('='))
        {
            let name = line.split('{').next().unwrap();
            // Of a histogram.
            let name = name.trim_end_matches("_sum").trim_end_matches("_count");
            let row = text
                .lines()
                .find(|row| row.starts_with(&format!("| `{name}`")))
                .unwrap();
            assert!(row.contains(&format!("`{}`", label.0)), "{name}: {}", label.0);
        }
    }
}

/// As the operator serves it.
#[test]
fn the_description_of_the_http_api_is_that_of_the_code() {
    must_be("docs/openapi.json", distributary::http_api::document());
}
