//! The connection URIs of the ConfigMap, as real clients take them: Debian's libpq, a newer one, pgjdbc.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::postgres::{APP, Tls};
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
/// Debian's, as the wheel is one for it.
const PYTHON: &str = "/usr/bin/python3";
const PGJDBC: &str = "/usr/share/java/postgresql.jar";
/// Where pgjdbc looks for the CA, below the home of its user.
const ROOTS: &str = ".postgresql/root.crt";
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
}

/// A cluster whose policy has a ConfigMap of all formats, and the place where clients look for the CA of its servers.
struct Setting {
    it: Fixture,
    home: PathBuf,
}

type Keys = BTreeMap<String, String>;

impl Setting {
    /// Two replicas, the first declared by an address of IPv6, the second by its name, and a database of an odd name.
    async fn start(plane: Arc<ControlPlane>) -> Result<Self> {
        let tls = Tls {
            required: true,
            ..Tls::default()
        };
        let it = Fixture::start_with(plane, PgCluster::builder().replicas(2).ipv6().tls(tls), &[]).await?;
        let create = format!("create database \"{ODD}\"");
        it.postgres.primary().sql(&create).await?;
        let authority = it.postgres.authority().pem();
        let home = harness::node::data_subdir("clients")?.join(&*it.namespace);
        std::fs::create_dir_all(home.join(".postgresql"))?;
        std::fs::write(home.join(ROOTS), &authority)?;
        it.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "stringData": {"ca.crt": authority},
        }))
        .await?;
        let mut policy = it.policy();
        policy["spec"]["connection"]["database"] = json!(ODD);
        policy["spec"]["connection"]["tls"] = json!({"mode": "VerifyFull", "caSecretRef": {"name": "ca"}});
        policy["spec"]["replicas"][0]["host"] = json!(address(it.postgres.replica(0))?);
        policy["spec"]["replicas"][1]["host"] = json!(it.postgres.replica(1).name());
        policy["spec"]["outputs"] = json!({"configMap": {"formats": ["Libpq", "Jdbc", "Env"]}});
        it.apply(&policy).await?;
        // No Service of this cluster can carry the first one; the URIs hold it.
        it.endpoint("replica-1", "FamilyNotServed", SOON).await?;
        it.condition("Ready", "True", "Routable").await?;
        Ok(Self { it, home })
    }

    /// The ConfigMap of the routes, when a key of it has this text.
    async fn keys(&self, key: &str, text: &str) -> Result<Keys> {
        self.keys_of("routing", key, text).await
    }

    /// The same of a ConfigMap by what its name ends with.
    async fn keys_of(&self, of: &str, key: &str, text: &str) -> Result<Keys> {
        wait::eventually(&format!("{key} with {text}"), SOON, || async {
            let api = self.it.api::<ConfigMap>();
            let keys = api.get(&format!("{POLICY}-{of}")).await?.data.unwrap_or_default();
            ensure!(
                keys.get(key).is_some_and(|value| value.contains(text)),
                "{keys:#?}"
            );
            anyhow::Ok(keys)
        })
        .await
    }

    /// Connects so often to each URI. The answers to [`QUERY`], or what the client says instead; one list per URI.
    async fn answers<const N: usize>(
        &self,
        client: Client,
        times: usize,
        uris: [&str; N],
    ) -> Result<[Vec<String>; N]> {
        let mut lines = Vec::new();
        if client == Client::Psql {
            for uri in uris.iter().flat_map(|uri| std::iter::repeat_n(uri, times)) {
                let (out, err) = self
                    .run(PSQL, &["-X", "-A", "-t", "-c", QUERY, "-d", uri])
                    .await?;
                lines.push(if out.is_empty() {
                    err
                } else {
                    out.trim().to_owned()
                });
            }
        } else {
            let file = |name: &str| {
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join("tests/clients")
                    .join(name)
            };
            let (libpq, jdbc) = (
                file("libpq.py").display().to_string(),
                file("Jdbc.java").display().to_string(),
            );
            let home = format!("-Duser.home={}", self.home.display());
            let (program, options) = match client {
                Client::Jdbc => (
                    "java",
                    vec!["-XX:TieredStopAtLevel=1", &home, "-cp", PGJDBC, &jdbc],
                ),
                _ => (PYTHON, vec!["-B", &libpq]),
            };
            let count = times.to_string();
            let arguments = [&options[..], &[QUERY, &count], &uris].concat();
            let (out, err) = self.run(program, &arguments).await?;
            ensure!(out.lines().count() == times * N, "{out}{err}");
            lines.extend(out.lines().map(ToOwned::to_owned));
        }
        let mut lines = lines.into_iter();
        Ok(uris.map(|_| lines.by_ref().take(times).collect()))
    }

    /// What a program says on its two outputs. It logs in as `app`, and has no settings of its own.
    async fn run(&self, program: &str, arguments: &[&str]) -> Result<(String, String)> {
        let ran = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs([
                ("LC_ALL", "C.UTF-8"),
                ("PGUSER", APP.user),
                ("PGPASSWORD", APP.password),
            ])
            .envs([
                ("HOME", self.home.clone()),
                ("PGSSLROOTCERT", self.home.join(ROOTS)),
            ])
            .env("PYTHONPATH", psycopg()?)
            .kill_on_drop(true)
            .output();
        let ran = wait::within(&format!("the end of {program}"), DEADLINE, ran).await;
        let ran = ran.with_context(|| format!("run {program}"))?;
        Ok((String::from_utf8(ran.stdout)?, String::from_utf8(ran.stderr)?))
    }
}

/// Where `make clients` puts it.
fn psycopg() -> Result<PathBuf> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .with_file_name("clients")
        .join("psycopg");
    ensure!(
        place.is_dir(),
        "{} is missing; `make clients` installs it",
        place.display()
    );
    Ok(place)
}

fn address(server: &Postgres) -> Result<String> {
    Ok(server.ipv6().context("an address of IPv6")?.to_string())
}

async fn follows(plane: Arc<ControlPlane>, client: Client) -> Result<()> {
    let setting = Setting::start(plane).await?;
    let servers = &setting.it.postgres;
    let primary = servers.primary().address().to_string();
    let writer = format!("{primary} f off");
    let [ro, rw] = ["ro", "rw"].map(|route| format!("{}-{route}", client.format()));
    let keys = setting.keys(&ro, ",").await?;
    let (reads, writes) = (&keys[&ro], &keys[&rw]);
    let (six, four) = (servers.replica(0), servers.replica(1));
    let mut replicas = [(six, address(six)?), (four, four.address().to_string())];
    // As the URI names them; pgjdbc writes an address of IPv6 in full.
    if reads.contains(&format!("//{}:", four.name())) {
        replicas.reverse();
    }
    let [(first, _), (second, _)] = &replicas;
    let [of_first, of_second] = [0, 1].map(|number: usize| format!("{} t on", replicas[number].1));

    let [answers] = setting.answers(client, MANY, [reads]).await?;
    // Without a word for it libpq takes the first host.
    let expected = match client {
        Client::Psql => BTreeSet::from([&of_first]),
        Client::Newer | Client::Jdbc => BTreeSet::from([&of_first, &of_second]),
    };
    ensure!(
        answers.iter().collect::<BTreeSet<_>>() == expected,
        "{reads}: {answers:?}"
    );

    // Who no longer takes writes since the URI was read gets none.
    let moved = writes.replace(&primary, &format!("{},{primary}", four.name()));
    let demoted = writes.replace(&primary, four.name());
    let [now, later, never] = setting.answers(client, FEW, [writes, &moved, &demoted]).await?;
    for (uri, answers) in [(writes, now), (&moved, later)] {
        ensure!(answers.iter().all(|is| *is == writer), "{uri}: {answers:?}");
    }
    ensure!(
        never.iter().all(|says| says.contains(client.refusal())),
        "{demoted}: {never:?}"
    );

    first.kill().await?;
    let [answers] = setting.answers(client, MANY, [reads]).await?;
    ensure!(
        answers.iter().all(|is| *is == of_second),
        "{reads} while one is dead: {answers:?}"
    );
    second.kill().await?;
    let fallback = &setting.keys(&ro, &format!("/{primary}:")).await?[&ro];
    let [answers] = setting.answers(client, FEW, [fallback]).await?;
    ensure!(answers.iter().all(|is| *is == writer), "{fallback}: {answers:?}");
    Ok(())
}

async fn environment(plane: Arc<ControlPlane>) -> Result<()> {
    let setting = Setting::start(plane).await?;
    let servers = &setting.it.postgres;
    let keys = setting.keys_of("env", "DATABASE_URL", "postgresql://").await?;
    for (name, server) in [
        ("DATABASE_URL", format!("{} f off", servers.primary().address())),
        (
            "DATABASE_READ_REPLICA_1_URL",
            format!("{} t on", address(servers.replica(0))?),
        ),
        (
            "DATABASE_READ_REPLICA_2_URL",
            format!("{} t on", servers.replica(1).address()),
        ),
    ] {
        let url = keys.get(name).with_context(|| format!("no {name}"))?;
        for client in [Client::Psql, Client::Newer] {
            let [answers] = setting.answers(client, 1, [url]).await?;
            ensure!(answers == [server.clone()], "{url}: {answers:?}");
        }
    }
    Ok(())
}
