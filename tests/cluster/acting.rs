//! The commands of the plugin that change a policy: every example of docs/cli.md, as a reader, an editor and nobody, and what they
//! refuse and leave behind.

mod report;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use harness::suite::Suite;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use crate::api::cells;
use crate::fixture::Fixture;
use crate::tutorial::Shell;

const PAGE: &str = include_str!("../../docs/cli.md");
const URL: &str = "postgresql://app:canary-7f3a@10.0.0.9:5433/app";

pub fn tests(suite: Suite<ControlPlane>) -> Suite<ControlPlane> {
    suite
        .test("every_command_that_changes_a_policy_does_what_it_says", examples)
        .test(
            "a_command_that_changes_a_policy_shows_the_difference_and_keeps_to_a_dry_run",
            difference,
        )
        .test(
            "a_policy_that_gitops_manages_is_changed_by_a_command_with_force_alone",
            gitops,
        )
        .test("a_command_that_may_not_watch_says_so_at_once", blind)
        .test("a_report_has_no_secret_and_is_explained_offline", report::report)
}

/// Somebody with a kubeconfig, kubectl and the plugin.
pub struct Person {
    shell: Shell,
}

impl Person {
    /// The ServiceAccount of this name, with these rules in the namespace of the test.
    pub async fn with(it: &Fixture, name: &str, rules: Value) -> Result<Self> {
        let subject = json!([{"kind": "ServiceAccount", "name": name, "namespace": &*it.namespace}]);
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        let of = |kind: &str| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": name}});
        let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        let (mut own, mut binding) = (of("Role"), of("RoleBinding"));
        own["rules"] = rules;
        binding["roleRef"] = role;
        binding["subjects"] = subject;
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [account, own, binding]});
        it.plane.apply(&it.namespace, &list.to_string()).await?;
        let kubeconfig = it.plane.service_account_kubeconfig(&it.namespace, name).await?;
        let folder = harness::node::data_subdir("acting")?.join(format!("{}-{name}", &*it.namespace));
        let names = vec![("--namespace shop", format!("--namespace {}", &*it.namespace))];
        let shell = Shell::of(folder, &kubeconfig, names)?;
        std::fs::write(shell.folder.join("replica-9.url"), format!("{URL}\n"))?;
        Ok(Self { shell })
    }

    pub async fn reader(it: &Fixture) -> Result<Self> {
        Self::with(it, "cli-reader", json!([policies(json!(["get", "list"]))])).await
    }

    pub async fn editor(it: &Fixture) -> Result<Self> {
        let secrets =
            json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"]});
        let rules = json!([policies(json!(["get", "list", "patch"])), secrets]);
        Self::with(it, "cli-editor", rules).await
    }

    pub async fn nobody(it: &Fixture) -> Result<Self> {
        Self::with(it, "cli-nobody", json!([])).await
    }

    /// Runs a command: its exit code, what it printed and what it said.
    pub async fn run(&self, command: &str) -> Result<(i32, String, String)> {
        self.shell.end(command).await
    }

    pub async fn does(&self, command: &str) -> Result<String> {
        self.shell.run(command, 0).await
    }

    /// Fails, and says this.
    pub async fn fails(&self, command: &str, code: i32, words: &str) -> Result<()> {
        let (ended, out, err) = self.run(command).await?;
        ensure!(
            ended == code && err.contains(words),
            "{command}: {ended} {out}{err}"
        );
        Ok(())
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.shell.folder.join(name)
    }
}

fn policies(verbs: Value) -> Value {
    json!({"apiGroups": ["distributary.dev"], "resources": ["replicasetpolicies"], "verbs": verbs})
}

/// The commands of a section of docs/cli.md, a line each.
pub fn commands(section: &str) -> Result<Vec<&'static str>> {
    let (_, text) = PAGE
        .split_once(&format!("\n## {section}\n"))
        .context("the section")?;
    let text = text.split("\n## ").next().unwrap_or_default();
    let blocks = text.split("```sh\n").skip(1);
    let lines = blocks.flat_map(|block| block.split("\n```").next().unwrap_or_default().lines());
    let commands: Vec<_> = lines.collect();
    ensure!(!commands.is_empty(), "{section} has no command");
    Ok(commands)
}

/// The rows of the section with the exit codes of reader, editor and nobody.
fn codes() -> Result<Vec<(String, [i32; 3])>> {
    let (_, text) = PAGE.split_once("\n## Change a policy\n").context("the section")?;
    let text = text.split("\n## ").next().unwrap_or_default();
    let rows = text
        .lines()
        .filter(|line| line.starts_with("| `kubectl distributary "));
    let rows: Result<Vec<_>> = rows
        .map(|row| {
            let cells = cells(row);
            let [command, codes @ ..] = &cells[..] else {
                anyhow::bail!("{row}");
            };
            let codes: Result<Vec<i32>, _> = codes.iter().map(|code| code.parse()).collect();
            let codes: [i32; 3] = codes?
                .try_into()
                .map_err(|codes: Vec<i32>| anyhow::anyhow!("{row}: {codes:?}"))?;
            Ok((command.trim_matches('`').to_owned(), codes))
        })
        .collect();
    let rows = rows?;
    ensure!(rows.len() > 5, "{rows:?}");
    Ok(rows)
}

async fn examples(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let commands = commands("Change a policy")?;
    for word in ["drain", "enable", "disable", "weigh", "add", "remove"] {
        let is_it = |command: &&str| command.contains(&format!("distributary {word} "));
        ensure!(commands.iter().any(is_it), "{word} has no example");
    }
    let (reader, nobody, editor) = (
        Person::reader(&it).await?,
        Person::nobody(&it).await?,
        Person::editor(&it).await?,
    );
    let told = codes()?;
    for command in &commands {
        let row = told.iter().find(|(row, _)| command.contains(row.as_str()));
        let (_, codes) = row.with_context(|| format!("{command} has no exit codes"))?;
        let before = serde_json::to_value(it.get().await?.spec)?;
        for (person, code) in [(&reader, codes[0]), (&nobody, codes[2])] {
            person
                .fails(command, code, "Error from server (Forbidden): ")
                .await?;
        }
        ensure!(serde_json::to_value(it.get().await?.spec)? == before, "{command}");
        ensure!(codes[1] == 0, "{command}");
        let out = editor.does(command).await?;
        ensure!(
            out.contains("replicasetpolicy.distributary.dev/orders "),
            "{command}: {out}"
        );
        ensure!(!out.contains("canary-7f3a"), "{out}");
    }
    let policy = it.get().await?;
    let managers = policy.metadata.managed_fields.unwrap_or_default();
    let is_ours = |manager: &str| manager == "kubectl-distributary";
    ensure!(
        managers
            .iter()
            .any(|entry| entry.manager.as_deref().is_some_and(is_ours))
    );
    // No Secret is left.
    ensure!(it.api::<Secret>().get_opt("orders-replica-9").await?.is_none());
    Ok(())
}

async fn difference(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 2).await?;
    let editor = Person::editor(&it).await?;
    let state =
        async || anyhow::Ok(serde_json::to_value(it.get().await?.spec)?["replicas"][0]["state"].clone());
    let out = editor
        .does("kubectl distributary drain orders replica-1 --dry-run=server")
        .await?;
    ensure!(
        out.contains("+   - state: Draining\n") || out.contains("+     state: Draining\n"),
        "{out}"
    );
    ensure!(
        out.ends_with("/orders replica-1 drained (server dry run)\n"),
        "{out}"
    );
    ensure!(state().await? == Value::Null);
    let out = editor
        .does("kubectl distributary drain orders replica-1 -o name")
        .await?;
    ensure!(out == "replicasetpolicy.distributary.dev/orders\n", "{out}");
    ensure!(state().await? == "Draining");
    it.leads("ro", &[it.postgres.replica(1)], crate::fixture::SOON)
        .await?;
    let out = editor.does("kubectl distributary drain orders replica-1").await?;
    ensure!(
        out == "replicasetpolicy.distributary.dev/orders unchanged\n",
        "{out}"
    );
    for (command, code, words) in [
        (
            "drain carts replica-1",
            1,
            "Error from server (NotFound): replicasetpolicies.distributary.dev \"carts\" not found",
        ),
        (
            "drain orders replica-7",
            1,
            "error: the policy has no endpoint replica-7: it has primary, replica-1, replica-2",
        ),
        ("drain orders replica_7", 2, "DNS-1123 label"),
        ("weigh orders replica-1 1001", 2, "1001 is not in 0..=1000"),
        (
            "remove orders primary",
            1,
            "error: the policy has no replica primary: it has replica-1, replica-2",
        ),
        (
            "add orders replica-2 postgresql://h.example",
            1,
            "error: the policy has an endpoint replica-2 already",
        ),
        (
            "add orders replica-9 nothing",
            1,
            "error: url must begin with postgresql://",
        ),
        (
            "add orders replica-9 -",
            1,
            "error: url must begin with postgresql://",
        ),
        (
            "drain orders replica-1 --dry-run=client",
            2,
            "Invalid dry-run value (client). Must be \"none\" or \"server\".",
        ),
        (
            "drain ../orders replica-1",
            1,
            "error: a namespace must be a DNS-1123 label, and the name of a policy a DNS-1123 subdomain",
        ),
    ] {
        editor
            .fails(&format!("kubectl distributary {command}"), code, words)
            .await?;
    }
    dry_add(&it, &editor).await
}

/// Of a dry run nothing stays, neither of the policy nor of the Secret.
async fn dry_add(it: &Fixture, editor: &Person) -> Result<()> {
    let add = "kubectl distributary add orders replica-9 - --disabled --dry-run <replica-9.url";
    let (code, out, err) = editor.run(add).await?;
    ensure!(
        code == 0 && err.contains("grant it get, list and watch on Secret orders-replica-9"),
        "{out}{err}"
    );
    ensure!(
        out.contains("name: orders-replica-9") && !out.contains("canary-7f3a"),
        "{out}"
    );
    ensure!(it.api::<Secret>().get_opt("orders-replica-9").await?.is_none());
    let (_, _, err) = editor
        .run("kubectl distributary add orders replica-9 'postgresql://app:canary-7f3a@10.0.0.9/app' --disabled --dry-run")
        .await?;
    ensure!(
        err.contains("use - and standard input") && !err.contains("canary-7f3a"),
        "{err}"
    );
    let (_, _, err) = editor
        .run("kubectl distributary drain orders primary --dry-run")
        .await?;
    ensure!(err.contains("warning: primary takes the writes"), "{err}");
    let in_vain = "warning: the strategy of the policy is RoundRobin: weights count under Weighted alone";
    for (weight, is_told) in [("3", true), ("0", false)] {
        let weigh = format!("kubectl distributary weigh orders replica-2 {weight} --dry-run");
        let (_, _, err) = editor.run(&weigh).await?;
        ensure!(err.contains(in_vain) == is_told, "{weigh}: {err}");
    }
    Ok(())
}

/// A reader of these tests may get and list.
async fn blind(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let reader = Person::reader(&it).await?;
    for command in [
        "wait orders --for=route=ro=Held --timeout=50s",
        "status orders --watch",
        "health --watch",
    ] {
        let words = "cannot watch resource \"replicasetpolicies\"";
        reader
            .fails(&format!("kubectl distributary {command}"), 1, words)
            .await?;
    }
    // Nor may they read routing.json, and the status is explained all the same.
    let (code, out, err) = reader.run("kubectl distributary explain orders").await?;
    ensure!(
        code == 0 && out.contains("replica-1") && err.starts_with("warning: cannot read the ConfigMap "),
        "{code} {out}{err}"
    );
    Ok(())
}

async fn gitops(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::ready(plane, 1).await?;
    let editor = Person::editor(&it).await?;
    let tracked = json!({"metadata": {"annotations": {"argocd.argoproj.io/tracking-id": "shop:distributary.dev/ReplicaSetPolicy:shop/orders"}}});
    it.patch(tracked).await?;
    let weigh = "kubectl distributary weigh orders replica-1 7";
    let hint = "error: the Argo CD application shop manages this policy, and would take the change back: change it at its source, or use --force";
    editor.fails(weigh, 1, hint).await?;
    editor.fails(&format!("{weigh} --dry-run"), 1, hint).await?;
    editor.does(&format!("{weigh} --force")).await?;
    ensure!(it.get().await?.spec.replicas[0].weight == Some(7));
    Ok(())
}
