//! `plan`: validation, routes, objects, differences.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use distributary_api::rules;
use harness::suite::Suite;
use serde_json::{Value, json};

use crate::broken::{self, Validated, minimal, put};
use crate::invocation::{CommandOutput, distributary, file, sample};

pub fn tests(suite: Suite<()>) -> Suite<()> {
    suite
        .test("a_command_line_that_is_none_ends_with_2", usage)
        .test(
            "plan_refuses_what_admission_refuses_in_its_words",
            refuses_what_admission_refuses,
        )
        .test("plan_tells_every_problem_and_no_value", tells_every_problem)
        .test("a_mistyped_kind_is_told", tells_a_mistyped_kind)
        .test("every_sample_is_planned", samples)
        .test("plan_shows_routes_and_objects_in_three_forms", forms)
        .test("plan_shows_what_follows_from_observations", observations)
        .test("observations_that_are_not_understood_are_named", bad_observations)
        .test("plan_tells_of_a_secret_in_another_namespace", secret_elsewhere)
        .test("plan_shows_what_a_change_would_write", differences)
        .test("a_file_that_cannot_be_read_ends_with_1", unreadable)
        .test("services_and_their_pods_come_from_the_file", services)
        .test("plan_warns_of_what_a_policy_says_in_vain", in_vain)
        .test(
            "plan_warns_of_reads_that_no_replica_gets_and_of_settings_without_effect",
            without_effect,
        )
        .test(
            "a_key_that_is_there_twice_and_a_tab_are_told_where_they_are",
            twice_or_tab,
        )
        .test(
            "plan_tells_where_the_operations_of_every_class_go",
            operations_of_classes,
        )
        .test("plan_reads_the_secrets_in_the_files", reads_secrets)
        .test("plan_tells_a_config_map_that_would_be_too_large", too_large)
        .test("plan_and_drill_decide_for_the_region_of_a_cluster", region)
        .test(
            "plan_and_drill_and_check_know_the_names_that_the_operator_allows",
            names_of_the_cluster,
        )
}

const POLICY: &str = "
apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata: {name: orders, namespace: shop}
spec:
  primary: {host: 198.18.0.1}
  replicas:
  - {id: a, host: 198.18.0.2}
  - {id: b, host: 198.18.0.3}
";

fn plan(policy: &str, arguments: &[&str]) -> Result<CommandOutput> {
    distributary(&[&["plan", "-f", "-"], arguments].concat(), policy, &[])
}

async fn usage(_: Arc<()>) -> Result<()> {
    for arguments in [
        &[][..],
        &["plan"],
        &["plan", "-f", "-", "--unheard"],
        &["plan", "-f", "-", "-o", "xml"],
        &["plan", "-f", "-", "--previous", "-"],
        &["explain"],
        &["import"],
        &["unheard"],
    ] {
        distributary(arguments, POLICY, &[])?.with(2)?;
    }
    for command in ["plan", "check", "explain", "drill", "import"] {
        let help = distributary(&[command, "--help"], "", &[])?.with(0)?;
        ensure!(help.out.contains("Exit codes: 0; "), "{help:?}");
    }
    Ok(())
}

/// All cases are one file, each in a namespace of its own.
async fn refuses_what_admission_refuses(_: Arc<()>) -> Result<()> {
    let cases: Vec<_> = (0..)
        .zip(broken::cases(rules::ALL))
        .map(|(number, case)| (format!("case-{number}"), case))
        .collect();
    let documents = cases.iter().map(|(namespace, case)| {
        let mut policy = case.policy();
        put(&mut policy, "metadata.namespace", json!(namespace));
        policy.to_string()
    });
    let said = plan(&documents.collect::<Vec<_>>().join("\n---\n"), &[])?.with(3)?;
    let mut wrong = Vec::new();
    for (namespace, case) in &cases {
        let title = format!("error: {namespace}/");
        let told: Vec<_> = said.err.lines().filter(|line| line.starts_with(&title)).collect();
        // error: TITLE: FIELD: MESSAGE; the API server puts the value between.
        let parts = || {
            told.iter()
                .map(|line| line.splitn(4, ": ").skip(2).collect::<Vec<_>>())
        };
        // Validation may add which endpoints it is about.
        let is_rule = |api: &String, says: &str| {
            let mut rules = rules::ALL.iter().map(|(_, rule)| *rule);
            rules.any(|rule| api.contains(rule) && says.starts_with(&format!("{rule}: ")))
        };
        let in_words = |api: &String| parts().any(|part| api.contains(part[1]) || is_rule(api, part[1]));
        // Of one field one message is enough.
        let of_field =
            |api: &String| in_words(api) || parts().any(|part| api.starts_with(&format!("{}: ", part[0])));
        // Of another type the API server does not tell what to write instead.
        let of_type = |api: &String| api.contains(" must be of type ") && of_field(api);
        // What the API server does not see is told in the words of validation.
        let seen = case.admission.iter().any(|api| in_words(api) || of_type(api))
            && case.admission.iter().all(of_field);
        let unseen = case.admission.is_empty()
            && matches!(&case.validate, Validated::Problems(problems) if problems.iter().all(|(field, rule)|
                parts().any(|part| part[0] == field.as_str()
                    && (part[1] == rule.as_str() || part[1].starts_with(&format!("{rule}: "))))));
        if told.is_empty() || !(seen || unseen) {
            wrong.push(format!(
                "{} = {}:\n  the API server {:?}\n  validation {:?}\n  plan {told:?}",
                case.set, case.to, case.admission, case.validate
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

async fn tells_every_problem(_: Arc<()>) -> Result<()> {
    let mut policy = minimal();
    put(&mut policy, "spec.mode", json!("Rehearse"));
    put(&mut policy, "spec.primary.weight", json!(-1));
    put(&mut policy, "spec.primary.hots", json!("canary"));
    put(&mut policy, "spec.healthCheck.interval", json!("soon"));
    put(&mut policy, "spec.replicas[0].host", json!("127.0.0.1"));
    let said = plan(&policy.to_string(), &[])?.with(3)?;
    for told in [
        "error: default/orders: spec.mode: supported values: \"Enforce\", \"Observe\", \"Suspend\"\n",
        "error: default/orders: spec.primary.weight: should be greater than or equal to 0\n",
        "error: default/orders: spec.primary.hots: unknown field: did you mean host?\n",
        "error: default/orders: spec.healthCheck.interval: healthCheck.interval must be between 100ms and 1h, written as 30s, 500ms or 1m30s\n",
        "error: default/orders: spec.replicas[0].host: host must not be a loopback, link-local, multicast or unspecified address, nor that of the metadata of a cloud\n",
    ] {
        ensure!(said.err.contains(told), "{told}: {said:#?}");
    }
    ensure!(said.err.lines().count() == 5 && said.out.is_empty(), "{said:#?}");
    for (field, value) in [
        ("status", json!({"endpoints": "canary"})),
        ("metadata.labels", json!("canary")),
    ] {
        let part = field.split('.').next().unwrap_or_default();
        let mut policy = minimal();
        put(&mut policy, field, value);
        let misfit = format!("error: default/orders: {part}: it does not match the schema of its kind\n");
        let said = plan(&policy.to_string(), &[])?.with(3)?;
        ensure!(said.err == misfit, "{said:#?}");
        let said = distributary(&["explain", "orders", "-f", "-"], &policy.to_string(), &[])?.with(3)?;
        ensure!(said.err == misfit, "{said:#?}");
    }
    // A rule is not judged without a field that it needs.
    let mut policy = minimal();
    put(
        &mut policy,
        "spec.replicationLag",
        json!({"max": 60, "maxBytes": "many", "recover": "45s", "source": "query", "lagQuery": "SELECT 0"}),
    );
    put(
        &mut policy,
        "spec.replicas[0]",
        json!({"id": "a", "serviceRef": "pg"}),
    );
    put(
        &mut policy,
        "spec.circuitBreaker",
        json!({"failureThreshold": "100", "resetTimeout": 5, "maxResetTimeout": "30s"}),
    );
    put(
        &mut policy,
        "spec.healthCheck",
        json!({"failoverTimeout": "50ms"}),
    );
    let said = plan(&policy.to_string(), &[])?.with(3)?;
    let mut fields: Vec<_> = said
        .err
        .lines()
        .filter_map(|line| line.split(": ").nth(2))
        .collect();
    fields.sort_unstable();
    ensure!(
        fields
            == [
                "spec.circuitBreaker.failureThreshold",
                "spec.circuitBreaker.resetTimeout",
                "spec.replicas[0].serviceRef",
                "spec.replicationLag.max",
                "spec.replicationLag.maxBytes",
                "spec.replicationLag.source",
            ],
        "{said:#?}"
    );
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {password: ca-na-ry}}\n---\n";
    let said = plan(&format!("{secret}{POLICY}"), &[])?.with(3)?;
    ensure!(
        said.err == "error: -: Secret s: data must be base64, and stringData must be text\n",
        "{said:?}"
    );
    let said = plan("a: [canary", &[])?.with(3)?;
    ensure!(
        said.err
            .starts_with("error: -, line 2, column 1: this is neither YAML nor JSON"),
        "{said:?}"
    );
    ensure!(!said.err.contains("canary"), "{said:?}");
    let twice = plan(&format!("{POLICY}\n---\n{POLICY}"), &[])?.with(3)?;
    ensure!(
        twice.err == "error: shop/orders: the files contain it twice\n",
        "{twice:?}"
    );
    let none = plan("kind: Secret", &[])?.with(3)?;
    ensure!(
        none.err == "error: these files contain no ReplicaSetPolicy\n",
        "{none:?}"
    );
    Ok(())
}

async fn tells_a_mistyped_kind(_: Arc<()>) -> Result<()> {
    for kind in ["ReplicasetPolicy", "ReplicaSetPolcy", "replicasetpolicy"] {
        let mistyped = POLICY.replace("kind: ReplicaSetPolicy", &format!("kind: {kind}"));
        let said = plan(&mistyped, &[])?.with(3)?;
        ensure!(
            said.err == format!("error: kind: must be ReplicaSetPolicy, not {kind}\n"),
            "{said:?}"
        );
    }
    Ok(())
}

async fn samples(_: Arc<()>) -> Result<()> {
    for name in ["minimal.yaml", "full.yaml", "cloudnative-pg.yaml"] {
        let said = distributary(&["plan", "-f", &sample(name)], "", &[])?.with(0)?;
        ensure!(
            said.row(&["rw"])?[1] == "Served" && said.row(&["ro"])?[1] == "Served",
            "{said:#?}"
        );
        distributary(&["drill", "-f", &sample(name)], "", &[])?;
    }
    Ok(())
}

async fn forms(_: Arc<()>) -> Result<()> {
    let table = plan(POLICY, &[])?.with(0)?;
    ensure!(
        table.row(&["ro", "Served", "b"])?[3..] == ["198.18.0.3:5432", "50%", "yes", "-"],
        "{table:#?}"
    );
    ensure!(
        table.row(&["a", "198.18.0.2"])?[2..] == ["Standby", "ro", "Closed", "Serving"],
        "{table:#?}"
    );
    ensure!(
        table.out.contains("\nService orders-ro\n") && table.err.is_empty(),
        "{table:#?}"
    );
    let json = plan(POLICY, &["-o", "json"])?.with(0)?.json()?;
    let planned = &json["policies"][0];
    ensure!(
        planned["routes"]["rw"]["targets"][0]["endpoint"] == "primary",
        "{json:#}"
    );
    let kinds = planned["objects"].as_array().context("objects")?;
    ensure!(
        kinds.iter().filter(|object| object["kind"] == "Service").count() == 2,
        "{json:#}"
    );
    let yaml = plan(POLICY, &["-o", "yaml"])?.with(0)?;
    let same: Value = serde_yaml::from_str(&yaml.out)?;
    ensure!(same == json, "YAML says something else than JSON");
    let whole = plan(POLICY, &["--objects"])?.with(0)?;
    ensure!(whole.out.contains("\nkind: EndpointSlice\n"), "{whole:#?}");
    let observe = POLICY.replace("spec:", "spec:\n  mode: Observe");
    ensure!(
        plan(&observe, &[])?
            .with(0)?
            .out
            .contains("mode Observe: the routes are decided, but not written")
    );
    let suspend = POLICY.replace("spec:", "spec:\n  mode: Suspend");
    ensure!(
        plan(&suspend, &[])?
            .with(0)?
            .out
            .contains("mode is Suspend: the routes stay as they are")
    );
    Ok(())
}

async fn observations(_: Arc<()>) -> Result<()> {
    let lost = file(
        "lost.yaml",
        "checks: {a: [standby, ConnectRefused x 8], b: [standby, TimedOut x 8]}",
    )?;
    let lost = lost.to_string_lossy();
    let said = plan(POLICY, &["--observations", &lost])?.with(0)?;
    ensure!(said.row(&["ro"])?[1..3] == ["Fallback", "primary"], "{said:#?}");
    ensure!(
        said.row(&["a"])?
            .last()
            .is_some_and(|reason| reason == "CircuitOpen (ConnectRefused)"),
        "{said:#?}"
    );
    let next = "  ConnectRefused: nothing listens on the port: check that the server runs, and check host and port.\n  Next: ";
    ensure!(said.out.contains(next), "{said:#?}");
    let strict = POLICY.replace("spec:", "spec:\n  failover: {readFallback: []}");
    let said = plan(&strict, &["--observations", &lost])?.with(4)?;
    ensure!(said.row(&["ro"])?[1] == "Held", "{said:#?}");
    let behind = file("behind.yaml", "checks: {a: [standby behind 45s]}")?;
    let said = plan(POLICY, &["--observations", &behind.to_string_lossy()])?.with(0)?;
    ensure!(
        said.row(&["a"])?
            .last()
            .is_some_and(|reason| reason.starts_with("Lagging (over ")),
        "{said:#?}"
    );
    let foreign = file("foreign.yaml", "checks: {b: [standby of system 9]}")?;
    let said = plan(POLICY, &["--observations", &foreign.to_string_lossy()])?.with(0)?;
    ensure!(
        said.row(&["b"])?
            .last()
            .is_some_and(|reason| reason == "IdentityMismatch"),
        "{said:#?}"
    );
    Ok(())
}

async fn in_vain(_: Arc<()>) -> Result<()> {
    let vain = "
apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata: {name: orders, namespace: shop}
spec:
  primary: {host: 198.18.0.1, region: us}
  replicas:
  - {id: a, host: 198.18.0.2, region: us, tags: [big], promotable: false}
  loadBalancing:
    strategy: Geographic
    regions:
    - {name: us, failover: [mars]}
    - {name: eu}
  routing:
    classes:
    - {name: reports, operations: [reports], target: Replicas, replicaSelector: {tags: [big, small]}}
    - {name: audit, target: Replicas}
";
    let expected = [
        "shop/orders: routing.classes[reports].replicaSelector.tags: no server has the tag small",
        "shop/orders: routing.classes[audit]: the class has no operations: only its Service, and requests that name the class, use it",
        "shop/orders: loadBalancing.regions[us].failover: no server is in the region mars",
        "shop/orders: loadBalancing.regions[eu]: no server is in the region eu",
        "shop/orders: failover.primaryRole: no replica may take over the writes: each has promotable false, or a state other than Active",
    ];
    let said = plan(vain, &[])?.with(0)?;
    for line in expected {
        let line = format!("warning: {line}");
        ensure!(said.err.lines().any(|it| it == line), "{line}: {said:#?}");
    }
    let said = plan(vain, &["--strict"])?.with(3)?;
    for line in expected {
        ensure!(said.err.contains(line), "{line}: {said:#?}");
    }
    let said = plan(POLICY, &["--strict"])?.with(0)?;
    ensure!(!said.err.contains("warning"), "{said:#?}");
    Ok(())
}

/// Each with the only warning that it leads to.
async fn without_effect(_: Arc<()>) -> Result<()> {
    let with = |replicas: [&str; 2], rest: &str| {
        POLICY
            .replace("198.18.0.2", &format!("198.18.0.2{}", replicas[0]))
            .replace("198.18.0.3", &format!("198.18.0.3{}", replicas[1]))
            + rest
    };
    let same = |field| [field, field];
    let classes =
        "  routing: {classes: [{name: reports, operations: [reports], replicaSelector: {ids: [a]}}]}\n";
    for (policy, told) in [
        (
            with(same(", weight: 0"), "  loadBalancing: {strategy: Weighted}\n"),
            "replicas: reads have no replica: each has weight 0, is dedicated to classes, or has a state other than Active",
        ),
        (
            with(
                same(", dedicatedTo: [reports]"),
                "  routing: {classes: [{name: reports, operations: [reports]}]}\n",
            ),
            "replicas: reads have no replica: each has weight 0, is dedicated to classes, or has a state other than Active",
        ),
        (
            with([", state: Draining", ""], "  failover: {minHealthyReplicas: 2}\n"),
            "failover.minHealthyReplicas: it is 2, and only 1 replica can serve reads: the fallback is always used",
        ),
        (
            with(
                [", region: us-east", ", region: us-esat"],
                "  loadBalancing: {regions: [{name: us-east}]}\n",
            ),
            "replicas[b].region: no other server is in the region us-esat: did you mean us-east?",
        ),
        (
            with([", state: Disabled", ""], classes),
            "routing.classes[reports].replicaSelector: each replica that it selects has a state other than Active",
        ),
        (
            with([", weight: 5", ""], ""),
            "replicas[a].weight: weights other than 0 have an effect under loadBalancing.strategy Weighted alone",
        ),
        (
            with(same(""), "  replicationLag: {max: 0s}\n"),
            "replicationLag.max: it is 0s: a replica leaves the routes with any lag",
        ),
        (
            with(same(""), "  healthCheck: {timeout: 8s}\n"),
            "healthCheck.timeout: it is above failoverTimeout, 5s: no check takes longer than that",
        ),
    ] {
        let said = plan(&policy, &[])?.with(0)?;
        let line = format!("warning: shop/orders: {told}\n");
        ensure!(said.err == line, "{policy}: {said:#?}");
        let said = plan(&policy, &["--strict"])?.with(3)?;
        ensure!(said.err.contains(told), "{policy}: {said:#?}");
    }
    for policy in [
        with(same(", weight: 0"), "  routing: {replicas: Disabled}\n"),
        with([", weight: 5", ""], "  loadBalancing: {strategy: Weighted}\n"),
        with([", region: us-east-1", ", region: us-east-2"], ""),
    ] {
        let said = plan(&policy, &["--strict"])?.with(0)?;
        ensure!(said.err.is_empty(), "{policy}: {said:#?}");
    }
    Ok(())
}

async fn twice_or_tab(_: Arc<()>) -> Result<()> {
    for (text, told) in [
        (
            POLICY.replace("{host: 198.18.0.1}", "{host: canary, host: 198.18.0.1}"),
            "error: -: spec.primary.host: the key is there twice: write it once\n",
        ),
        (
            format!("{POLICY}\tfailover: {{}}\n"),
            "error: -, line 10: the line begins with a tab: YAML is indented with spaces\n",
        ),
    ] {
        let said = plan(&text, &[])?.with(3)?;
        ensure!(said.err == told, "{said:#?}");
    }
    Ok(())
}

async fn bad_observations(_: Arc<()>) -> Result<()> {
    for (text, told) in [
        (
            "checks: {c: [standby]}",
            "observations: checks.c: the policy checks no such endpoint, or it has no such pod",
        ),
        (
            "checks: {a: [well]}",
            "observations: checks.a: 'well' must be primary, standby, the name of a failure, 'session …' or 'wait TIME'",
        ),
        ("cheks: {}", "unknown field `cheks`"),
        ("checks: {a: standby}", "checks.a: write a list: [standby]"),
        (
            "checks: {a: [standby behind 40]}",
            "observations: checks.a: 'standby behind 40': behind needs a time of at most 24h, such as 40s",
        ),
    ] {
        let file = file("bad.yaml", text)?;
        let said = plan(POLICY, &["--observations", &file.to_string_lossy()])?.with(3)?;
        ensure!(said.err.contains(told), "{said:#?}");
    }
    let two = format!("{POLICY}\n---\n{}", POLICY.replace("orders", "carts"));
    let good = file("good.yaml", "checks: {a: [standby]}")?;
    let said = plan(&two, &["--observations", &good.to_string_lossy()])?.with(3)?;
    ensure!(said.err.contains("observations are of one policy"), "{said:#?}");
    Ok(())
}

async fn differences(_: Arc<()>) -> Result<()> {
    let before = file("before.yaml", POLICY)?;
    let before = before.to_string_lossy();
    let same = plan(POLICY, &["--diff", "--previous", &before])?.with(0)?;
    ensure!(
        same.out
            .ends_with("changes of shop/orders:\nnothing would be written\n"),
        "{same:#?}"
    );
    let without_b = POLICY.replace("  - {id: b, host: 198.18.0.3}\n", "");
    let said = plan(&without_b, &["--diff", "--previous", &before])?.with(5)?;
    ensure!(
        said.out.contains("update EndpointSlice orders-ro-ipv4-5432\n"),
        "{said:#?}"
    );
    ensure!(said.out.contains("  -   - 198.18.0.3\n"), "{said:#?}");
    ensure!(
        !said.out.contains("orders-rw-ipv4-5432"),
        "it tells what does not change: {said:#?}"
    );
    let renamed = POLICY.replace("orders", "carts");
    let said = plan(&renamed, &["--diff", "--previous", &before, "-o", "json"])?
        .with(5)?
        .json()?;
    let changes = said["changes"].as_array().context("changes")?;
    let verbs = |change: &Value| {
        change["writes"]
            .as_array()
            .map(|all| all.iter().map(|write| write["verb"].clone()).collect::<Vec<_>>())
    };
    ensure!(
        verbs(&changes[0]) == Some(vec![json!("create"); 5])
            && verbs(&changes[1]) == Some(vec![json!("delete"); 5]),
        "{said:#}"
    );
    // A name keeps its example address whatever else changes.
    let named = |hosts: &[&str]| {
        let replicas: String = hosts
            .iter()
            .map(|host| format!("\n  - {{id: {host}, host: {host}.example.com}}"))
            .collect();
        format!(
            "{}{replicas}\n",
            POLICY.split_once("\n  - ").map_or("", |(before, _)| before)
        )
    };
    let before = file("named.yaml", &named(&["x", "y", "z"]))?;
    let said = plan(
        &named(&["y", "z"]),
        &["--diff", "--previous", &before.to_string_lossy()],
    )?
    .with(5)?;
    let slice = said.out.split("update ConfigMap").next().unwrap_or_default();
    ensure!(
        slice.contains("  - ") && !slice.contains("  + "),
        "an address changed: {said:#?}"
    );
    Ok(())
}

async fn unreadable(_: Arc<()>) -> Result<()> {
    let said = distributary(&["plan", "-f", "none.yaml"], "", &[])?.with(1)?;
    ensure!(
        said.err == "error: none.yaml cannot be read: No such file or directory (os error 2)\n",
        "{said:?}"
    );
    let said = plan(POLICY, &["--diff"])?.with(1)?;
    ensure!(
        said.err
            .starts_with("error: cannot find the API server: no kubeconfig"),
        "{said:?}"
    );
    Ok(())
}

async fn secret_elsewhere(_: Arc<()>) -> Result<()> {
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: probe, namespace: other}, stringData: {password: canary}}";
    let policy = POLICY.replace(
        "spec:",
        "spec:\n  connection: {credentialsSecretRef: {name: probe}}",
    );
    let said = plan(&format!("{secret}\n---\n{policy}"), &[])?.with(0)?;
    let line = "warning: the Secret probe is in these files in the namespace other, and the policy is in shop: it is assumed to \
                exist there with the keys that the policy needs";
    ensure!(said.err.lines().any(|it| it == line), "{said:#?}");
    let said = plan(&policy, &[])?.with(0)?;
    let line = "warning: the Secret probe is not in these files: it is assumed to exist with the keys that the policy needs";
    ensure!(said.err.lines().any(|it| it == line), "{said:#?}");
    Ok(())
}

async fn services(_: Arc<()>) -> Result<()> {
    let objects = "
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: pg, namespace: shop}, spec: {ports: [{name: db, port: 5432}]}}
- apiVersion: discovery.k8s.io/v1
  kind: EndpointSlice
  metadata: {name: pg-1, namespace: shop, labels: {kubernetes.io/service-name: pg}}
  addressType: IPv4
  ports: [{name: db, port: 6432}]
  endpoints: [{addresses: [198.18.0.7]}, {addresses: [198.18.0.8], conditions: {ready: false}}]
---
";
    let policy = POLICY.replace("{id: b, host: 198.18.0.3}", "{id: b, serviceRef: {name: pg}}");
    let said = plan(&format!("{objects}{policy}"), &[])?.with(0)?;
    ensure!(
        said.row(&["ro", "Served", "b"])?[3] == "198.18.0.7:6432",
        "{said:#?}"
    );
    ensure!(
        !said.out.contains("198.18.0.8") && said.err.is_empty(),
        "{said:#?}"
    );
    let assumed = plan(&policy, &[])?.with(0)?;
    ensure!(
        assumed
            .err
            .contains("these addresses are examples, as names are not resolved: Service pg 192.0.2.1"),
        "{assumed:#?}"
    );
    Ok(())
}

/// Three replicas, one of them a Service with so many pods, each of which is in each of many routes.
fn with_pods(pods: usize, host: &str) -> String {
    let many = |name: &str| -> String { (0..16).map(|n| format!("{{name: {name}-{n}}}, ")).collect() };
    let replicas = format!(
        "{{id: b, host: {host}}}\n  - {{id: {}, serviceRef: {{name: pg}}}}",
        "s".repeat(40)
    );
    let policy = POLICY.replace("{id: b, host: 198.18.0.3}", &replicas);
    let (classes, regions) = (many("class"), many("region"));
    let endpoints: String = (0..pods)
        .map(|pod| format!("{{addresses: [198.18.100.{pod}]}}, "))
        .collect();
    format!(
        "{policy}  routing: {{classes: [{classes}]}}
  loadBalancing: {{regions: [{regions}]}}
---
{{apiVersion: v1, kind: Service, metadata: {{name: pg, namespace: shop}}, spec: {{ports: [{{name: db, port: 5432}}]}}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: pg-1, namespace: shop, labels: {{kubernetes.io/service-name: pg}}}}
addressType: IPv4
ports: [{{name: db, port: 6432}}]
endpoints: [{endpoints}]
"
    )
}

/// Pods are not counted before they are there.
async fn too_large(_: Arc<()>) -> Result<()> {
    let said = plan(&with_pods(20, "198.18.0.3"), &[])?.with(0)?;
    ensure!(said.out.contains("ConfigMap orders-routing\n"), "{said:?}");
    let many = with_pods(250, "198.18.0.4");
    let said = plan(&many, &[])?.with(4)?;
    ensure!(
        said.out.contains("\nConfigMap orders-routing would hold ")
            && said.out.contains(" of at most 1048576 bytes (routing.json ")
            && !said.out.contains("\nConfigMap orders-routing\n"),
        "{said:?}"
    );
    // What there is of it is not deleted.
    let before = file("small.yaml", &with_pods(1, "198.18.0.3"))?;
    let changes = ["-o", "json", "--diff", "--previous", &before.to_string_lossy()];
    let said = plan(&many, &changes)?.with(5)?.json()?;
    let bytes = said["policies"][0]["tooLarge"][0]["bytes"].as_u64();
    ensure!(bytes.is_some_and(|bytes| bytes > 1_048_576), "{bytes:?}");
    let writes = said["changes"][0]["writes"].as_array().context("writes")?;
    ensure!(
        writes.iter().all(|write| write["kind"] != "ConfigMap"),
        "{writes:#?}"
    );
    Ok(())
}

async fn region(_: Arc<()>) -> Result<()> {
    let policy = POLICY
        .replace(".2}", ".2, region: east}")
        .replace(".3}", ".3, region: west}")
        + "  loadBalancing: {strategy: Geographic}\n";
    for (command, routes) in [("plan", "routes"), ("drill", "losses/0/routes")] {
        let told = |arguments: &[&str]| -> Result<Value> {
            let told = distributary(
                &[&[command, "-f", "-", "-o", "json"], arguments].concat(),
                &policy,
                &[],
            )?;
            let told: Value = serde_json::from_str(&told.with(0)?.out)?;
            let routes = told.pointer(&format!("/policies/0/{routes}"));
            routes
                .cloned()
                .with_context(|| format!("{command} tells no routes"))
        };
        let (here, nowhere) = (told(&["--region", "west"])?, told(&[])?);
        ensure!(
            here["ro"]["targets"] == here["ro-west"]["targets"],
            "{command}: {here}"
        );
        ensure!(
            nowhere["ro"]["targets"] != nowhere["ro-west"]["targets"],
            "{command}: {nowhere}"
        );
    }
    let refused = plan(&policy, &["--region", "West Coast"])?.with(2)?;
    ensure!(
        refused
            .err
            .contains("must be a DNS-1123 label of at most 19 characters"),
        "{refused:?}"
    );
    Ok(())
}

/// What an administrator allows of the names of a cluster is no fault of a policy, and nothing more is allowed.
async fn names_of_the_cluster(_: Arc<()>) -> Result<()> {
    let named = |host: &str| POLICY.replace("198.18.0.2", host);
    let allow = &["--allow-namespaces", "databases"][..];
    let domain = &["--cluster-domain", "corp.example"][..];
    let both = &[allow, domain].concat()[..];
    let cases = [
        ("pg-1.databases.svc", &[][..], 3),
        ("pg-1.databases.svc", allow, 0),
        ("pg-1.other.svc", allow, 3),
        // A name outside, until the cluster is known to end so.
        ("pg-1.databases.svc.corp.example", &[], 0),
        ("pg-1.databases.svc.corp.example", domain, 3),
        ("pg-1.databases.svc.corp.example", both, 0),
    ];
    for (host, arguments, expected) in cases {
        for command in ["plan", "drill"] {
            let arguments = [&[command, "-f", "-"], arguments].concat();
            let said = distributary(&arguments, &named(host), &[])?.with(expected)?;
            let refuses = said.err.contains("spec.replicas[0].host");
            ensure!(refuses == (expected == 3), "{command} {host}: {said:#?}");
        }
    }
    // Nobody is asked where the policy is refused.
    let refused = distributary(&["check", "-f", "-"], &named("pg-1.databases.svc"), &[])?;
    ensure!(refused.with(3)?.err.contains("spec.replicas[0].host"));
    let asked = distributary(
        &[&["check", "-f", "-"], allow].concat(),
        &named("pg-1.databases.svc"),
        &[],
    )?;
    asked.with(4)?.row(&["a"])?;
    let said = plan(POLICY, &["--cluster-domain", "not a domain"])?.with(2)?;
    ensure!(said.err.contains("--cluster-domain"), "{said:?}");
    Ok(())
}

/// What the operator would find wrong with a Secret is told before the policy is applied, and so is what it would not use.
async fn reads_secrets(_: Arc<()>) -> Result<()> {
    let policy = "
apiVersion: distributary.dev/v1alpha1
kind: ReplicaSetPolicy
metadata: {name: orders, namespace: shop}
spec:
  connection: {tls: {caSecretRef: {name: orders-ca}}}
  primary: {urlSecretRef: {name: orders-url, key: url}}
";
    let secret = |name: &str, key: &str, value: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "stringData": {key: value},
        })
    };
    let wrong = [
        secret("orders-ca", "ca.crt", "canary"),
        secret(
            "orders-url",
            "url",
            "postgresql://u:canary@pg.example.com/orders?sslrootcert=/ca.pem",
        ),
    ];
    let all = |secrets: &[Value]| {
        let secrets: Vec<_> = secrets.iter().map(|secret| format!("---\n{secret}\n")).collect();
        format!("{policy}{}", secrets.concat())
    };
    let said = plan(&all(&wrong), &[])?.with(4)?;
    for told in [
        "ca.crt",
        "Secret orders-url, key url: sslrootcert is not used: put the CA into a Secret",
    ] {
        let mut warnings = said.err.lines().filter(|line| line.starts_with("warning: "));
        ensure!(warnings.any(|line| line.contains(told)), "{told}: {said:#?}");
    }
    ensure!(
        !said.err.contains("canary") && !said.out.contains("canary"),
        "{said:#?}"
    );
    // Those that are not there are assumed to be well.
    let said = plan(&all(&[]), &[])?.with(0)?;
    ensure!(!said.err.contains("must be"), "{said:#?}");
    Ok(())
}

/// Those of built-in classes too, which have no Service.
async fn operations_of_classes(_: Arc<()>) -> Result<()> {
    let said = plan(POLICY, &[])?.with(0)?;
    let (_, table) = said.out.split_once("\nCLASS ").context("a table of classes")?;
    for (class, operation, endpoints) in [
        ("analytics", "reports", "a, b"),
        ("primary-preferred", "transaction", "primary"),
        ("write", "deleteMany", "primary"),
    ] {
        let row = table.lines().find(|line| line.starts_with(&format!("{class} ")));
        let row = row.with_context(|| format!("{class}: {said:#?}"))?;
        ensure!(
            row.contains(operation) && row.ends_with(&format!("  {endpoints}")),
            "{row}"
        );
    }
    let seen = file(
        "primary-lost.yaml",
        "checks: {primary: [primary, ConnectRefused x 8]}",
    )?;
    let seen = seen.display().to_string();
    let lost = plan(POLICY, &["--observations", &seen, "-o", "json"])?.json()?;
    let classes = lost["policies"][0]["classes"].as_array().context("classes")?;
    let preferred = classes.iter().find(|it| it["class"] == "primary-preferred");
    let preferred = preferred.context("primary-preferred")?;
    ensure!(
        preferred["endpoints"] == json!(["a", "b"]) && preferred["operations"].is_array(),
        "{lost:#}"
    );
    Ok(())
}
