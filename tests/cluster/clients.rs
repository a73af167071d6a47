//! The connection URIs of the ConfigMap, as real clients take them: Debian's libpq, a newer one, pgjdbc.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::APP;
use harness::suite::Suite;
use harness::{ControlPlane, PgCluster, Postgres, wait};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use tokio::process::Command;

use crate::fixture::{Fixture, POLICY, SOON};

/// How long a client may take with all its connections; a JVM on a busy machine takes seconds to start.
const DEADLINE: Duration = Duration::from_secs(60);
/// By chance alone, one of two servers gets none of so many connections once in 10¹² times.
const MANY: usize = 40;
const FEW: usize = 3;
const PSQL: &str = "/usr/lib/postgresql/15/bin/psql";
/// Every character that has a meaning in a URI must have none in the name of a database.
const ODD: &str = "sales & a/b?c=100%+#ü";
/// The server, whether it is a standby, and whether it refuses to write.
const QUERY: &str = "select concat_ws(' ', host(inet_server_addr()), pg_is_in_recovery(), current_setting('transaction_read_only'))";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("the_libpq_of_debian_takes_its_uris", async |plane| {
            follows(plane, Client::Psql).await
        })
        .test("a_newer_libpq_takes_its_uris_and_spreads_reads", async |plane| {
            follows(plane, Client::Newer).await
        })
        .test("pgjdbc_takes_its_uris_and_spreads_reads", async |plane| {
            follows(plane, Client::Jdbc).await
        })
        .test("a_client_takes_the_urls_of_the_environment", environment)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Client {
    /// Debian's libpq.
    Psql,
    /// The libpq of psycopg's wheel.
    Newer,
    Jdbc,
}

impl Client {
    /// What the keys of its URIs begin with.
    const fn format(self) -> &'static str {
        match self {
            Self::Psql => "libpq",
            Self::Newer => "libpq16",
            Self::Jdbc => "jdbc",
        }
    }

    /// What it says when no server of the URI for writers takes writes.
    const fn refusal(self) -> &'static str {
        match self {
            Self::Psql | Self::Newer => "session is read-only",
            Self::Jdbc => "Could not find a server with specified targetServerType: primary",
        }
    }

    /// Connects so often to each URI. The answers to [`QUERY`], or what the client says instead; one list per URI.
    async fn answers<const N: usize>(self, times: usize, uris: [&str; N]) -> Result<[Vec<String>; N]> {
        let mut lines = Vec::new();
        if self == Self::Psql {
            for uri in uris {
                for _ in 0..times {
                    let (out, err) = run(PSQL, &["-X", "-A", "-t", "-c", QUERY, "-d", uri], &[]).await?;
                    lines.push(if out.is_empty() {
                        err
                    } else {
                        out.trim().to_owned()
                    });
                }
            }
        } else {
            let count = times.to_string();
            let arguments = [&[QUERY, &count], &uris[..]].concat();
            let (out, err) = self.program(&arguments).await?;
            ensure!(out.lines().count() == times * N, "{out}{err}");
            lines.extend(out.lines().map(ToOwned::to_owned));
        }
        let mut lines = lines.into_iter();
        Ok(uris.map(|_| lines.by_ref().take(times).collect()))
    }

    async fn program(self, arguments: &[&str]) -> Result<(String, String)> {
        let file = |name: &str| {
            PathBuf::from(env!("CARGO_MANIFEST_DIR"))
                .join("tests/clients")
                .join(name)
        };
        if self == Self::Jdbc {
            let file = file("Jdbc.java").display().to_string();
            let java = [
                "-XX:TieredStopAtLevel=1",
                "-cp",
                "/usr/share/java/postgresql.jar",
                &file,
            ];
            return run("java", &[&java, arguments].concat(), &[]).await;
        }
        let installed = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .with_file_name("clients")
            .join("psycopg");
        ensure!(
            installed.is_dir(),
            "psycopg is missing; `make clients` installs it in {}",
            installed.display()
        );
        let file = file("libpq.py").display().to_string();
        let path = ("PYTHONPATH", installed.display().to_string());
        run("/usr/bin/python3", &[&["-B", &file], arguments].concat(), &[path]).await
    }
}

/// What a program says on its two outputs. It logs in as `app`, and has no settings of its own.
async fn run(program: &str, arguments: &[&str], environment: &[(&str, String)]) -> Result<(String, String)> {
    let ran = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .envs([("HOME", "/nonexistent"), ("LC_ALL", "C.UTF-8")])
        .envs([("PGUSER", APP.user), ("PGPASSWORD", APP.password)])
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .kill_on_drop(true)
        .output();
    let ran = wait::within(&format!("the end of {program}"), DEADLINE, ran).await;
    let ran = ran.with_context(|| format!("run {program}"))?;
    Ok((String::from_utf8(ran.stdout)?, String::from_utf8(ran.stderr)?))
}

/// Two replicas, the first declared by an address of IPv6, the second by its name, and a database of an odd name.
async fn start(plane: Arc<ControlPlane>) -> Result<Fixture> {
    let it = Fixture::start_with(plane, PgCluster::builder().replicas(2).ipv6(), &[]).await?;
    it.postgres
        .primary()
        .sql(&format!("create database \"{ODD}\""))
        .await?;
    let mut policy = it.policy();
    policy["spec"]["connection"]["database"] = json!(ODD);
    policy["spec"]["replicas"][0]["host"] = json!(address(it.postgres.replica(0))?);
    policy["spec"]["replicas"][1]["host"] = json!(it.postgres.replica(1).name());
    policy["spec"]["outputs"] = json!({"configMap": {"formats": ["Libpq", "Jdbc", "Env"]}});
    it.apply(&policy).await?;
    it.condition("Ready", "True", "Routable").await?;
    key(&it, "libpq-ro", "both replicas", |uri| uri.contains(',')).await?;
    Ok(it)
}

fn address(server: &Postgres) -> Result<String> {
    Ok(server.ipv6().context("an address of IPv6")?.to_string())
}

/// The value of a key of the ConfigMap, when it is as it should be.
async fn key(it: &Fixture, key: &str, what: &str, is: impl Fn(&str) -> bool) -> Result<String> {
    wait::eventually(&format!("{key} with {what}"), SOON, || async {
        let config_map = it.api::<ConfigMap>().get(&format!("{POLICY}-routing")).await?;
        let data = config_map.data.unwrap_or_default();
        let value = data.get(key).cloned().with_context(|| format!("no {key}"))?;
        ensure!(is(&value), "{value}");
        anyhow::Ok(value)
    })
    .await
}

async fn follows(plane: Arc<ControlPlane>, client: Client) -> Result<()> {
    let it = start(plane).await?;
    let [first, second] = [it.postgres.replica(0), it.postgres.replica(1)];
    let primary = it.postgres.primary().address().to_string();
    let [writer, six, four] = [
        format!("{primary} f off"),
        format!("{} t on", address(first)?),
        format!("{} t on", second.address()),
    ];
    let [ro, rw] = ["ro", "rw"].map(|route| format!("{}-{route}", client.format()));
    let (reads, writes) = (
        key(&it, &ro, "", |_| true).await?,
        key(&it, &rw, "", |_| true).await?,
    );

    let [answers] = client.answers(MANY, [&reads]).await?;
    ensure!(
        answers.iter().all(|is| *is == six || *is == four),
        "{reads} leads elsewhere: {answers:?}"
    );
    let both = answers.contains(&six) && answers.contains(&four);
    ensure!(
        both == (client != Client::Psql),
        "{reads} is spread wrongly: {answers:?}"
    );

    // Who was demoted since the URI was read is no longer written to.
    let moved = writes.replace(&primary, &format!("{},{primary}", second.name()));
    let demoted = writes.replace(&primary, second.name());
    let [now, later, never] = client.answers(FEW, [&writes, &moved, &demoted]).await?;
    for (uri, answers) in [(&writes, now), (&moved, later)] {
        ensure!(
            answers.iter().all(|is| *is == writer),
            "{uri} leads elsewhere: {answers:?}"
        );
    }
    ensure!(
        never.iter().all(|says| says.contains(client.refusal())),
        "{demoted} is written to: {never:?}"
    );

    first.kill().await?;
    let [answers] = client.answers(MANY, [&reads]).await?;
    ensure!(
        answers.iter().all(|is| *is == four),
        "{reads} while one is dead: {answers:?}"
    );
    second.kill().await?;
    let fallback = key(&it, &ro, "the primary", |uri| {
        uri.contains(&format!("/{primary}:"))
    })
    .await?;
    let [answers] = client.answers(FEW, [&fallback]).await?;
    ensure!(
        answers.iter().all(|is| *is == writer),
        "{fallback} leads elsewhere: {answers:?}"
    );
    Ok(())
}

async fn environment(plane: Arc<ControlPlane>) -> Result<()> {
    let it = start(plane).await?;
    let expected = [
        (
            "DATABASE_URL",
            format!("{} f off", it.postgres.primary().address()),
        ),
        (
            "DATABASE_READ_REPLICA_1_URL",
            format!("{} t on", address(it.postgres.replica(0))?),
        ),
        (
            "DATABASE_READ_REPLICA_2_URL",
            format!("{} t on", it.postgres.replica(1).address()),
        ),
    ];
    for (name, server) in expected {
        let url = key(&it, name, "", |_| true).await?;
        let [answers] = Client::Psql.answers(1, [&url]).await?;
        ensure!(answers == [server], "{url} leads elsewhere: {answers:?}");
    }
    Ok(())
}
