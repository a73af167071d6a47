//! The examples of docs/api.md, and the certificate.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::api::ApiClient;
use harness::certificates::Authority;
use harness::{ControlPlane, Operator, wait};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use super::scene::{HOST, Scene, bearer};
use crate::fixture::{Fixture, SOON};

/// Runs every example with curl, as the editor, and looks at its answer.
pub async fn examples(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let home = harness::node::data_subdir(&format!("curl-{}", scene.it.namespace))?;
    std::fs::write(home.join("api-ca.crt"), &scene.client.authority)?;
    let resolve = format!("resolve = \"{HOST}:8443:{}\"\n", scene.client.address.ip());
    std::fs::write(home.join(".curlrc"), resolve)?;
    let page = include_str!("../../../docs/api.md");
    let blocks = page.split("```sh\n").skip(1);
    let commands: Vec<_> = blocks.filter_map(|block| block.split("\n```").next()).collect();
    ensure!(commands.len() > 9, "{commands:?}");
    let mut streams = 0;
    for command in commands {
        let output = Command::new("sh")
            .args(["-c", &scene.here(command)])
            .current_dir(&home)
            .env("HOME", &home)
            .env("CURL_HOME", &home)
            .env("API", format!("https://{HOST}:8443"))
            .env("TOKEN", &scene.editor)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        if command.contains("/events") {
            streams += 1;
            ensure!(text.starts_with("event: snapshot\ndata: {"), "{command}: {text}");
            continue;
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command}: {errors}");
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("{command}: {text}"))?;
        ensure!(answer["code"].is_null(), "{command}: {answer}");
        ensure!(answer["answeredBy"].is_string(), "{command}: {answer}");
    }
    ensure!(streams == 2);
    Ok(())
}

fn empty(kind: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}})
}

/// Two operators: the one that leads makes the certificate, both serve it.
pub async fn own_certificate(plane: Arc<ControlPlane>) -> Result<()> {
    let it = Fixture::start(Arc::clone(&plane), 1).await?;
    it.operator.kill();
    for kind in ["Secret", "ConfigMap"] {
        it.apply(&empty(kind, "api")).await?;
    }
    let kubeconfig = plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    let start = || {
        Operator::builder(&kubeconfig)
            .namespace(&it.namespace)
            .api()
            .args([
                "--api-secret=api",
                "--lease-duration=5s",
                "--renew-deadline=4s",
                "--retry-period=500ms",
            ])
            .env("POD_NAMESPACE", &it.namespace)
            .start()
    };
    let (first, second) = tokio::try_join!(start(), start())?;
    let authority = wait::eventually("the CA to be published", SOON, || async {
        let map = it.api::<ConfigMap>().get("api").await?;
        map.data.unwrap_or_default().remove("ca.crt").context("no CA yet")
    })
    .await?;
    let of = |operator: &Operator| ApiClient {
        address: operator.api_address(),
        host: format!("api.{}.svc", &*it.namespace),
        authority: authority.clone(),
    };
    for operator in [&first, &second] {
        let document = wait::eventually("the API to be served", SOON, || async {
            of(operator).send("GET", "/openapi.json", &[], "").await
        })
        .await?;
        ensure!(document.status == 200 && document.body == include_str!("../../../docs/openapi.json"));
    }
    let secret = it.api::<Secret>().get("api").await?;
    let keys: Vec<_> = secret.data.unwrap_or_default().into_keys().collect();
    ensure!(
        keys == [
            "ca.crt",
            "ca.key",
            "renew-at",
            "renew-ca-at",
            "tls.crt",
            "tls.key"
        ],
        "{keys:?}"
    );
    let map = it.api::<ConfigMap>().get("api").await?;
    let shown: Vec<_> = map.data.unwrap_or_default().into_keys().collect();
    ensure!(shown == ["ca.crt"], "{shown:?}");
    Ok(())
}

pub async fn directory(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set(plane).await?;
    let authority = Authority::new("another")?;
    write_both(&authority, &scene.directory)?;
    let client = ApiClient {
        authority: authority.pem(),
        ..scene.client.clone()
    };
    wait::eventually("the new certificate to be served", SOON, || async {
        client.send("GET", "/openapi.json", &[], "").await
    })
    .await?;
    let old = scene.client.send("GET", "/openapi.json", &[], "").await;
    ensure!(old.is_err(), "the old certificate is still served");
    Ok(())
}

fn write_both(authority: &Authority, directory: &Path) -> Result<()> {
    authority.server(&[HOST], &[])?.write(directory, "tls").map(drop)
}

pub async fn metrics(plane: Arc<ControlPlane>) -> Result<()> {
    let scene = Scene::set_as(plane, false, &["--metrics=Authorized"]).await?;
    let open = scene.it.operator.http_get("/metrics").await?;
    ensure!(open.status == 404, "{}", open.status);
    let namespace = &*scene.it.namespace;
    let name = format!("scraper-{namespace}");
    let grants = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "scraper"}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
            "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": "scraper", "namespace": namespace}],
        },
    ]});
    let file = harness::node::data_subdir("tmp")?.join(format!("{name}.json"));
    std::fs::write(&file, grants.to_string())?;
    let file = file.to_str().context("a path in UTF-8")?;
    scene
        .it
        .plane
        .kubectl(&["apply", "-n", namespace, "-f", file])
        .await?;
    let token = scene.it.plane.service_account_token(namespace, "scraper").await?;
    let page = async |token: &str| scene.client.send("GET", "/metrics", &[bearer(token)], "").await;
    wait::eventually("the scraper to get the metrics", SOON, || async {
        let answer = page(&token).await?;
        ensure!(answer.status == 200, "{} {}", answer.status, answer.body);
        ensure!(answer.body.contains("distributary_checks_total"));
        // The requests of callers are timed, too.
        let asked = "distributary_api_request_duration_seconds_count{kind=\"SelfSubjectAccessReview\",verb=\"create\"}";
        ensure!(answer.body.contains(asked), "{}", answer.body);
        anyhow::Ok(())
    })
    .await?;
    let refused = page(&scene.reader).await?;
    ensure!(refused.status == 403, "{}", refused.status);
    let unknown = scene.client.send("GET", "/metrics", &[], "").await?;
    ensure!(unknown.status == 401, "{}", unknown.status);
    scene
        .it
        .plane
        .kubectl(&["delete", "clusterrole,clusterrolebinding", &name])
        .await?;
    Ok(())
}
