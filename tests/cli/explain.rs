//! `explain` from files: the golden cases have a status for every reason.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::suite::Suite;
use serde_json::{Value, json};

use crate::invocation::distributary;

pub fn tests(suite: Suite<()>) -> Suite<()> {
    suite
        .test(
            "explain_has_a_sentence_for_every_reason_of_the_golden_cases",
            golden,
        )
        .test("explain_tells_routes_reason_and_what_must_happen", tells)
        .test("explain_tells_which_class_stays_away_and_why", a_class_stays_away)
        .test("explain_tells_of_a_name_that_rotates", a_name_rotates)
        .test(
            "explain_says_of_each_server_whether_it_may_take_over",
            who_may_take_over,
        )
        .test(
            "explain_tells_the_route_of_a_class_a_region_or_a_priority",
            one_route,
        )
        .test(
            "explain_says_nothing_of_a_fallback_that_the_policy_does_not_have",
            fallback,
        )
        .test(
            "explain_passes_over_a_routing_json_of_another_version",
            another_version,
        )
        .test("a_policy_that_is_not_there_is_told", not_there)
}

fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(serde_yaml::from_str(&text)?)
}

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// The policy of a golden case with its status, and its objects where the case has them.
fn with_status(folder: &Path) -> Result<String> {
    let mut policy = read(&folder.join("policy.yaml"))?;
    policy["status"] = read(&folder.join("status.yaml"))?;
    let objects = folder.join("objects.yaml");
    if !objects.exists() {
        return Ok(policy.to_string());
    }
    let objects = std::fs::read_to_string(objects)?;
    Ok(format!("{policy}\n---\n{objects}"))
}

/// The same with the objects that `plan` says the case leads to, where it has none of its own.
fn with_objects(folder: &Path) -> Result<String> {
    let status = with_status(folder)?;
    if folder.join("objects.yaml").exists() {
        return Ok(status);
    }
    let path = |name: &str| folder.join(name).display().to_string();
    let (policy, seen) = (path("policy.yaml"), path("observations.yaml"));
    let arguments = ["plan", "-f", &policy, "--observations", &seen, "-o", "json"];
    let planned = distributary(&arguments, "", &[])?.with(0)?.json()?;
    let objects = planned["policies"][0]["objects"].as_array();
    let objects = objects.context("objects")?.iter();
    let documents = objects.map(|object| format!("\n---\n{object}"));
    Ok(status + &documents.collect::<String>())
}

async fn golden(_: Arc<()>) -> Result<()> {
    let mut cases = 0;
    for entry in std::fs::read_dir(case(""))? {
        let folder = entry?.path();
        if !folder.is_dir() {
            continue;
        }
        cases += 1;
        let status = read(&folder.join("status.yaml"))?;
        let said = distributary(
            &["explain", "orders", "-f", "-", "-o", "json"],
            &with_status(&folder)?,
            &[],
        )?;
        let json = said.json()?;
        let endpoints = json["endpoints"].as_array().context("endpoints")?;
        ensure!(
            endpoints.len() >= status["endpoints"].as_array().map_or(0, Vec::len),
            "{}: {json:#}",
            folder.display()
        );
        ensure!(
            endpoints.iter().all(|it| it["means"].is_string()),
            "{}: {json:#}",
            folder.display()
        );
        let plain = |it: &Value| it["next"].is_null() && it["classes"].is_null();
        let well = json["ready"] == json!(true) && endpoints.iter().all(plain);
        said.with(if well { 0 } else { 4 })?;
    }
    ensure!(cases >= 20, "{cases}");
    Ok(())
}

async fn tells(_: Arc<()>) -> Result<()> {
    let said = distributary(
        &["explain", "orders", "-n", "shop", "-f", "-"],
        &with_status(&case("circuit-open"))?,
        &[],
    )?
    .with(4)?;
    ensure!(
        said.out
            .starts_with("shop/orders: Reads and writes are routed. (Routable)\nWrites: primary\n"),
        "{said:#?}"
    );
    ensure!(
        said.out.contains("CircuitOpen (") && said.out.contains("\n  Next: Check that the server answers"),
        "{said:#?}"
    );
    ensure!(
        said.out.contains("\n  The server may return from 2026-"),
        "{said:#?}"
    );
    ensure!(
        said.out
            .contains("Degraded is True since 2026-01-01T00:00:00Z: EndpointsNotServing: "),
        "{said:#?}"
    );
    // Without its objects it is told whether there is a route, not which ones.
    ensure!(said.row(&["primary"])?[3] == "yes", "{said:#?}");
    let well = distributary(
        &["explain", "orders", "-f", "-"],
        &with_status(&case("plain"))?,
        &[],
    )?
    .with(0)?;
    ensure!(
        !well.out.contains("Next:") && well.row(&["ro"])?[1] == "Served",
        "{well:#?}"
    );
    ensure!(well.row(&["primary"])?[3] == "primary-preferred,rw", "{well:#?}");
    // A built-in class has no Service.
    for (route, slice) in [("rw", "yes"), ("primary-preferred", "-")] {
        ensure!(well.row(&[route])?[5] == slice, "{route}: {well:#?}");
    }
    // One that is held is told with the reason beneath, and what to do about that.
    let held = with_status(&case("all-lagging-without-fallback"))?;
    let held = distributary(&["explain", "orders", "-f", "-"], &held, &[])?.with(4)?;
    for told in [
        "\na, b: Held (ReplayStalled, 31 s > 30 s)\n  No server of the route is well, so the route keeps this one.\n  ReplayStalled: The server lags ",
        "\n  Next: Look for a paused replay, ",
        "\n  Its lag was 31 s at 2025-12-31T23:59:51Z.\n",
    ] {
        ensure!(held.out.contains(told), "{told}: {held:#?}");
    }
    // What a lagQuery answers is corrected there, not by another source.
    let query = with_status(&case("lag-query-without-a-number"))?;
    let query = distributary(&["explain", "orders", "-f", "-"], &query, &[])?.with(4)?;
    ensure!(
        query.out.contains("\n  Next: Run lagQuery on the server ")
            && !query.out.contains("set the source to Query"),
        "{query:#?}"
    );
    // What to do about a write primary that is down is no matter of its circuit.
    let lost = with_status(&case("primary-unreachable"))?;
    let lost = distributary(&["explain", "orders", "-f", "-"], &lost, &[])?.with(4)?;
    ensure!(
        lost.out
            .contains("\n  Next: Bring the server back. If it is lost, ")
            && lost
                .out
                .lines()
                .next()
                .is_some_and(|line| line.contains("then promote a or b; ")),
        "{lost:#?}"
    );
    // A reason that a newer operator tells.
    let newer = with_status(&case("plain"))?.replace("\"Serving\"", "\"Unheard\"");
    let newer = distributary(&["explain", "orders", "-f", "-"], &newer, &[])?.with(4)?;
    ensure!(
        newer
            .out
            .contains("Unheard\n  This version of distributary does not know the reason"),
        "{newer:#?}"
    );
    Ok(())
}

async fn a_class_stays_away(_: Arc<()>) -> Result<()> {
    let given = with_status(&case("class-probe-failed"))?;
    let said = distributary(
        &["explain", "orders", "-f", "-", "--class", "reports"],
        &given,
        &[],
    )?
    .with(4)?;
    ensure!(
        said.out
            .contains("\na, class reports: ProbeQueryFailed\n  The server did not answer the probeQuery")
            && said
                .out
                .contains("\n  The class may return from 2026-01-01T00:00:59Z on.\n")
            && said.out.contains(
                "\na: The server is well, but not in this route: the class does not use it, see above.\n"
            ),
        "{said:#?}"
    );
    // Of the server itself there is nothing to say.
    ensure!(!said.out.contains("\na: Serving"), "{said:#?}");
    ensure!(said.row(&["reports", "Served"])?[2] == "b", "{said:#?}");
    let said = distributary(&["explain", "orders", "-f", "-", "-o", "json"], &given, &[])?.with(4)?;
    let json = said.json()?;
    let class = &json["endpoints"][1]["classes"][0];
    ensure!(
        class["name"] == "reports"
            && class["reason"] == "ProbeQueryFailed"
            && class["retryAt"] == "2026-01-01T00:00:59Z"
            && class["next"].is_string(),
        "{json:#}"
    );
    ensure!(json["endpoints"][2]["classes"].is_null(), "{json:#}");
    Ok(())
}

async fn who_may_take_over(_: Arc<()>) -> Result<()> {
    let holds = "is the write primary";
    let promoted = "yes, once it is promoted";
    let lost = "yes, when the write primary is lost or becomes a standby, and no other server may";
    for (name, expected) in [
        (
            "plain",
            &[("primary", holds), ("a", promoted), ("b", promoted)][..],
        ),
        (
            "promotion-not-promotable",
            &[("a", "no, NotPromotable: promotable of its endpoint is false")],
        ),
        ("split-brain", &[("primary", holds), ("a", lost), ("b", promoted)]),
        (
            "old-primary-returns",
            &[
                (
                    "primary",
                    "no, OlderTimeline: it takes writes on an older timeline than the last write primary",
                ),
                ("a", holds),
                ("b", promoted),
            ],
        ),
        (
            "writable-replica",
            &[(
                "a",
                "no, NeverStandby: it takes writes, and this policy never saw it as a standby",
            )],
        ),
        (
            "identity-mismatch",
            &[("b", "no, IdentityMismatch: it belongs to another database system")],
        ),
        (
            "pinned",
            &[(
                "a",
                "no, Pinned: failover.primaryRole is Pinned, and its endpoint is not the declared primary",
            )],
        ),
        (
            "draining",
            &[(
                "a",
                "no, NotActive: the state of its endpoint is Draining or Disabled",
            )],
        ),
        ("waiting", &[]),
    ] {
        let status = with_status(&case(name))?;
        let text = distributary(&["explain", "orders", "-f", "-"], &status, &[])?;
        let (_, table) = text
            .out
            .split_once("MAY TAKE OVER THE WRITES\n")
            .unwrap_or_default();
        let (table, _) = table.split_once("\n\n").unwrap_or((table, ""));
        let rows: Vec<_> = table.lines().filter_map(|line| line.split_once("  ")).collect();
        let json = distributary(&["explain", "orders", "-f", "-", "-o", "json"], &status, &[])?.json()?;
        for (id, sentence) in expected {
            let row = rows.iter().find(|(row, _)| row == id).context(name)?;
            ensure!(row.1.trim() == *sentence, "{name}: {table}");
            let endpoints = json["endpoints"].as_array().context("endpoints")?;
            let endpoint = endpoints.iter().find(|it| it["id"] == *id).context(name)?;
            let may = match sentence.split([' ', ',']).next() {
                Some("yes") => json!(true),
                Some("no") => json!(false),
                _ => Value::Null,
            };
            ensure!(endpoint["mayTakeOver"] == may, "{name}: {endpoint:#}");
            let why = endpoint["cannotTakeOver"]
                .as_str()
                .zip(endpoint["cannotTakeOverMeans"].as_str());
            let why = why.map(|(word, means)| format!("no, {word}: {means}"));
            ensure!(why.is_none_or(|why| why == *sentence), "{name}: {endpoint:#}");
            ensure!(
                endpoint["cannotTakeOver"].is_string() == (may == json!(false)),
                "{name}: {endpoint:#}"
            );
        }
    }
    // In a word of another version; and of a single route it is not asked.
    let status = with_status(&case("pinned"))?
        .replace(r#""cannotTakeOver":"Pinned""#, r#""cannotTakeOver":"Unheard""#);
    let text = distributary(&["explain", "orders", "-f", "-"], &status, &[])?;
    ensure!(text.out.contains("no, Unheard\n"), "{text:#?}");
    let routes = with_objects(&case("plain"))?;
    let text = distributary(
        &["explain", "orders", "-f", "-", "--prefer-primary"],
        &routes,
        &[],
    )?;
    ensure!(!text.out.contains("MAY TAKE OVER"), "{text:#?}");
    Ok(())
}

async fn a_name_rotates(_: Arc<()>) -> Result<()> {
    let folder = case("plain");
    let mut policy = read(&folder.join("policy.yaml"))?;
    policy["status"] = read(&folder.join("status.yaml"))?;
    policy["status"]["endpoints"][1]["nameRotates"] = json!(true);
    let given = policy.to_string();
    let said = distributary(&["explain", "orders", "-f", "-"], &given, &[])?.with(0)?;
    let id = policy["status"]["endpoints"][1]["id"]
        .as_str()
        .unwrap_or_default();
    let told = format!("\n{id}: Serving\n  ");
    ensure!(
        said.out.contains(&told) && said.out.matches("  NameRotates: ").count() == 1,
        "{said:#?}"
    );
    let said = distributary(&["explain", "orders", "-f", "-", "-o", "json"], &given, &[])?.with(0)?;
    let json = said.json()?;
    let rotates = [0, 1, 2].map(|place| json["endpoints"][place]["nameRotates"] == true);
    ensure!(rotates == [false, true, false], "{json:#}");
    Ok(())
}

async fn one_route(_: Arc<()>) -> Result<()> {
    let explain = |folder: &str, options: &[&str]| -> Result<_> {
        let arguments = [&["explain", "orders", "-f", "-"], options].concat();
        distributary(&arguments, &with_objects(&case(folder))?, &[])
    };
    let routes = |said: &str| -> Vec<String> {
        let rows = said.lines().skip_while(|line| !line.starts_with("ROUTE"));
        let rows = rows.skip(1).take_while(|line| !line.is_empty());
        rows.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect()
    };
    for (folder, options, row) in [
        (
            "class-selected",
            &["--class", "analytics"][..],
            "analytics Served ",
        ),
        ("class-selected", &["--class", "write"], "rw Served primary"),
        ("class-selected", &["--priority", "low"], "ro Served "),
        ("geographic", &["--region", "us-east-1"], "ro-us-east-1 "),
        ("class-selected", &["--operation", "create"], "rw Served primary"),
        ("class-selected", &["--operation", "search"], "analytics Served "),
        (
            "class-selected",
            &["--operation", "findMany"],
            "rw Served primary",
        ),
        (
            "class-selected",
            &["--operation", "findMany", "--read-only"],
            "ro Served ",
        ),
        (
            "class-selected",
            &["--prefer-primary"],
            "primary-preferred Served primary",
        ),
        ("replicas-off", &["--priority", "critical"], "rw Served primary"),
    ] {
        let said = explain(folder, options)?;
        let routes = routes(&said.out);
        let name = row.split(' ').next().unwrap_or_default();
        ensure!(
            routes.iter().all(|line| line.split(' ').next() == Some(name)) && routes[0].starts_with(row),
            "{options:?}: {said:#?}"
        );
    }
    let dedicated = explain("dedicated", &["--prefer-primary"])?;
    let why = |said: &crate::invocation::CommandOutput, why: &str| {
        said.out.contains(&format!(
            "\nb: The server is well, but not in this route: {why}.\n"
        ))
    };
    ensure!(
        why(&dedicated, "it is dedicated to other classes"),
        "{dedicated:#?}"
    );
    let writes = explain("dedicated", &["--class", "write"])?;
    ensure!(why(&writes, "only the primary serves this route"), "{writes:#?}");
    let own = explain("dedicated", &["--class", "analytics"])?;
    ensure!(routes(&own.out)[0].contains(" Served b "), "{own:#?}");
    let writes = explain("class-selected", &["--class", "write"])?;
    ensure!(
        writes
            .out
            .contains("The server is well, but not in this route: only the primary serves this route."),
        "{writes:#?}"
    );
    let none = explain("class-selected", &["--class", "reports"])?.with(3)?;
    ensure!(
        none.err
            .starts_with("error: there is no class reports: there are "),
        "{none:#?}"
    );
    let none = explain("class-selected", &["--region", "mars-1"])?.with(3)?;
    ensure!(
        none.err == "error: there is no region mars-1 in loadBalancing.regions\n",
        "{none:#?}"
    );
    explain("class-selected", &["--priority", "urgent"])?.with(2)?;
    explain("class-selected", &["--read-only"])?.with(2)?;
    explain(
        "class-selected",
        &["--operation", "create", "--class", "analytics"],
    )?
    .with(2)?;
    Ok(())
}

async fn fallback(_: Arc<()>) -> Result<()> {
    let plain = with_objects(&case("plain"))?;
    let without = plain.replacen(r#""spec":{"#, r#""spec":{"failover":{"readFallback":[]},"#, 1);
    for (given, why) in [
        (plain, "the primary serves this route only as a fallback"),
        (
            without,
            "the primary does not serve this route: it is not in its readFallback",
        ),
    ] {
        let said = distributary(
            &["explain", "orders", "-f", "-", "--priority", "low"],
            &given,
            &[],
        )?;
        let line = format!("\nprimary: The server is well, but not in this route: {why}.\n");
        ensure!(said.out.contains(&line), "{said:#?}");
    }
    Ok(())
}

async fn another_version(_: Arc<()>) -> Result<()> {
    let given = with_status(&case("plain"))?;
    let newer = given.replace("routing.distributary.dev/v1", "routing.distributary.dev/v2");
    let said = distributary(&["explain", "orders", "-f", "-"], &newer, &[])?.with(0)?;
    ensure!(
        said.err
            == "warning: cannot read routing.json of version routing.distributary.dev/v2: \
                only routing.distributary.dev/v1 is known\n"
            && said.row(&["primary"])?[3] == "yes",
        "{said:#?}"
    );
    let asked = distributary(
        &["explain", "orders", "-f", "-", "--class", "analytics"],
        &newer,
        &[],
    )?
    .with(1)?;
    ensure!(
        asked
            .err
            .contains("\nerror: the ConfigMap of the policy is missing or cannot be read; its routing.json "),
        "{asked:#?}"
    );
    Ok(())
}

async fn not_there(_: Arc<()>) -> Result<()> {
    let policy = std::fs::read_to_string(case("plain").join("policy.yaml"))?;
    let said = distributary(&["explain", "carts", "-f", "-"], &policy, &[])?.with(3)?;
    ensure!(
        said.err == "error: there is no ReplicaSetPolicy carts in these files\n",
        "{said:?}"
    );
    let said = distributary(&["explain", "orders", "-f", "-"], &policy, &[])?.with(4)?;
    ensure!(said.out.contains("there is no status"), "{said:?}");
    let said = distributary(&["explain", "orders"], "", &[])?.with(1)?;
    ensure!(
        said.err.starts_with("error: cannot find the API server"),
        "{said:?}"
    );
    Ok(())
}
