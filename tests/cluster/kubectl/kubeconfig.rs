//! The kubeconfigs that kubectl takes: client certificates, credential plugins, several files, the namespace of a context.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::ControlPlane;
use serde_json::{Value, json};
use tokio::process::Command;

use super::scene::{Caller, Ended, Scene, ended, flags_of_server};

/// A folder with kubeconfigs, beside a policy.
struct Files {
    scene: Scene,
    folder: PathBuf,
    /// With the token of a reader.
    of_reader: Value,
    token: String,
}

pub async fn taken(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane, 1).await?;
    let (plane, namespace) = (&scene.it.plane, &*scene.it.namespace);
    let file = plane
        .service_account_kubeconfig(namespace, Caller::Reader.name())
        .await?;
    let of_reader: Value = serde_json::from_slice(&std::fs::read(file)?)?;
    let token = of_reader["users"][0]["user"]["token"].as_str();
    let files = Files {
        token: token.context("a token")?.to_owned(),
        folder: harness::node::data_subdir(&format!("kubeconfig-{namespace}"))?,
        of_reader,
        scene,
    };
    certificates(&files).await?;
    plugins(&files).await?;
    several(&files).await?;
    unreachable(&files).await?;
    proxies(&files).await
}

impl Files {
    fn write(&self, name: &str, content: &Value) -> Result<PathBuf> {
        let file = self.folder.join(name);
        std::fs::write(&file, content.to_string())?;
        Ok(file)
    }

    /// The kubeconfig of the reader, with another login.
    fn with_user(&self, user: Value) -> Result<PathBuf> {
        let mut content = self.of_reader.clone();
        content["users"][0]["user"] = user;
        self.write("config", &content)
    }

    async fn run(&self, kubeconfig: impl AsRef<OsStr>, arguments: &[&str]) -> Result<Ended> {
        let mut command = Command::new(self.scene.plugin("kubectl-distributary")?);
        command.args(arguments).env("KUBECONFIG", kubeconfig);
        ended(&mut command).await
    }

    /// The status with live figures.
    async fn is_live(&self, kubeconfig: impl AsRef<OsStr>, more: &[&str]) -> Result<()> {
        let namespace = &*self.scene.it.namespace;
        let arguments = ["status", "orders", "--operator-namespace", namespace];
        let shown = self.run(kubeconfig, &[&arguments[..], more].concat()).await?;
        ensure!(
            shown.code == 0 && shown.err.is_empty() && shown.out.contains("/50 "),
            "{more:?}: {shown:?}"
        );
        Ok(())
    }
}

/// As kind and kubeadm make them.
async fn certificates(files: &Files) -> Result<()> {
    let admin = files.scene.it.plane.admin_kubeconfig();
    let content: Value = serde_json::from_slice(&std::fs::read(admin)?)?;
    let user = content["users"][0]["user"].as_object().context("a user")?;
    let fields: Vec<_> = user.keys().map(String::as_str).collect();
    ensure!(fields == ["client-certificate", "client-key"], "{fields:?}");
    let namespace = ["-n", &*files.scene.it.namespace];
    files.is_live(admin, &namespace).await?;
    // To the HTTP API a certificate says nothing.
    let flags = flags_of_server(&files.scene);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let arguments = [&["status", "orders"][..], &namespace[..], &flags[..]].concat();
    let refused = files.run(admin, &arguments).await?;
    ensure!(
        refused.code == 1
            && refused
                .err
                .starts_with("error: the kubeconfig has no bearer token"),
        "{refused:?}"
    );
    Ok(())
}

/// A program beside the kubeconfig prints the login.
async fn plugins(files: &Files) -> Result<()> {
    let script = |commands: &str| {
        let login = files.folder.join("login");
        std::fs::write(&login, format!("#!/bin/sh\n{commands}\n"))?;
        std::fs::set_permissions(&login, Permissions::from_mode(0o755))
    };
    let prints = |status: Value| {
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status,
        });
        let file = files.write("credential", &credential)?;
        let folder = files.folder.display();
        script(&format!("echo run >>'{folder}/runs'\ncat '{}'", file.display()))?;
        anyhow::Ok(())
    };
    let exec = json!({
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "interactiveMode": "Never",
    });
    let kubeconfig = files.with_user(json!({"exec": exec}))?;
    let runs = files.folder.join("runs");
    prints(json!({"token": files.token, "expirationTimestamp": "2999-01-01T00:00:00Z"}))?;
    files.is_live(&kubeconfig, &[]).await?;
    let told = std::fs::read_to_string(&runs)?;
    ensure!(told == "run\n", "the plugin ran more than once: {told}");
    let flags = flags_of_server(&files.scene);
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    files.is_live(&kubeconfig, &flags).await?;

    let admin = files.scene.it.plane.admin_kubeconfig();
    let content: Value = serde_json::from_slice(&std::fs::read(admin)?)?;
    let pem = |field: &str| {
        let file = content["users"][0]["user"][field].as_str().context("a file")?;
        anyhow::Ok(std::fs::read_to_string(file)?)
    };
    let (certificate, key) = (pem("client-certificate")?, pem("client-key")?);
    prints(json!({"clientCertificateData": certificate, "clientKeyData": key}))?;
    files.is_live(&kubeconfig, &[]).await?;

    script("echo canary-7f3a; exit 3")?;
    let refused = files.run(&kubeconfig, &["status", "orders"]).await?;
    ensure!(
        refused.code == 1
            && refused
                .err
                .starts_with("error: getting credentials: exec: executable ")
            && refused.err.ends_with("/login failed with exit status: 3\n"),
        "{refused:?}"
    );
    ensure!(!refused.err.contains("canary-7f3a"), "{refused:?}");
    Ok(())
}

/// Nobody listens there.
async fn unreachable(files: &Files) -> Result<()> {
    let mut content = files.of_reader.clone();
    content["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    let kubeconfig = files.write("unreachable", &content)?;
    for arguments in [
        &["health"][..],
        &["status", "orders"],
        &["explain", "orders"],
        &["force-check", "orders"],
        &["drain", "orders", "replica-1"],
    ] {
        let ended = files.run(&kubeconfig, arguments).await?;
        ensure!(
            ended.code == 1
                && ended.err.starts_with("Unable to connect to the server: ")
                && ended.err.lines().count() == 1,
            "{arguments:?}: {ended:?}"
        );
    }
    Ok(())
}

/// A proxy of the environment is not meant for every host.
async fn proxies(files: &Files) -> Result<()> {
    let kubeconfig = files.write("direct", &files.of_reader)?;
    let run = async |no_proxy: &str| {
        let mut command = Command::new(files.scene.plugin("kubectl-distributary")?);
        command.args(["routes", "orders"]).env("KUBECONFIG", &kubeconfig);
        command.env("HTTPS_PROXY", "http://user:canary-7f3a@127.0.0.1:1");
        ended(command.env("NO_PROXY", no_proxy)).await
    };
    let direct = run("example.com,198.18.0.0/15").await?;
    ensure!(direct.code == 0 && direct.err.is_empty(), "{direct:?}");
    let refused = run("example.com").await?;
    ensure!(
        refused.code == 1
            && refused
                .err
                .starts_with("error: the way to the API server is by a proxy")
            && !refused.err.contains("canary-7f3a"),
        "{refused:?}"
    );
    Ok(())
}

/// What the files say together, and which namespace is meant.
async fn several(files: &Files) -> Result<()> {
    let mut logins = files.of_reader.clone();
    let mut contexts = logins.clone();
    for field in ["contexts", "current-context"] {
        logins[field] = Value::Null;
    }
    for field in ["clusters", "users"] {
        contexts[field] = Value::Null;
    }
    let mut other = contexts["contexts"][0].clone();
    other["name"] = json!("elsewhere");
    other["context"]["namespace"] = json!("kube-system");
    contexts["contexts"]
        .as_array_mut()
        .context("contexts")?
        .push(other);
    let named = [
        files.folder.join("missing"),
        files.write("logins", &logins)?,
        files.write("contexts", &contexts)?,
    ];
    let all = std::env::join_paths(&named)?;
    // The namespace of the current context.
    files.is_live(&all, &[]).await?;
    let elsewhere = files.run(&all, &["routes", "--context", "elsewhere"]).await?;
    ensure!(
        elsewhere.code == 1 && elsewhere.err.contains("in the namespace \"kube-system\""),
        "{elsewhere:?}"
    );
    let here = ["--context", "elsewhere", "-n", &*files.scene.it.namespace];
    files.is_live(&all, &here).await?;
    let none = files.run(&all, &["routes", "--context", "nowhere"]).await?;
    ensure!(
        none.code == 1 && none.err == "error: context \"nowhere\" does not exist\n",
        "{none:?}"
    );
    // The flag wins.
    let own = files.write("own", &files.of_reader)?;
    let own = own.to_str().context("a path in UTF-8")?;
    files
        .is_live(Path::new("/nowhere"), &["--kubeconfig", own])
        .await?;
    let missing = files.run(&all, &["routes", "--kubeconfig", "/nowhere"]).await?;
    ensure!(
        missing.code == 1 && missing.err.starts_with("error: cannot use the kubeconfig: "),
        "{missing:?}"
    );
    Ok(())
}
