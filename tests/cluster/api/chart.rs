//! The API as the chart installs it.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use harness::api::ApiClient;
use harness::{ControlPlane, Operator, wait};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::{Value, json};

use crate::fixture::SOON;
use crate::packaging::{arguments_of, find, helm, restricted, rules, template};

/// By its own rights, which name one Secret and one ConfigMap, the operator makes a certificate for the Service.
pub async fn installed(plane: Arc<ControlPlane>) -> Result<()> {
    let namespace = restricted(&plane, "api").await?;
    let name = namespace.to_string();
    helm(&plane, "install", &name, &["api.enabled=true"]).await?;
    let account = format!("{name}-distributary");
    let deployments: Api<Deployment> = Api::namespaced(plane.client(), &namespace);
    let deployment = serde_json::to_value(deployments.get(&account).await?)?;
    let kubeconfig = plane.service_account_kubeconfig(&namespace, &account).await?;
    let arguments = arguments_of(&deployment)?.into_iter().skip(1);
    // The harness sets those of the log, and the address, by itself.
    let arguments =
        arguments.filter(|argument| !argument.starts_with("--log") && !argument.starts_with("--api-address"));
    let operator = Operator::builder(&kubeconfig)
        .args(arguments)
        .api()
        .env("POD_NAMESPACE", &namespace)
        .start()
        .await?;
    let maps: Api<ConfigMap> = Api::namespaced(plane.client(), &namespace);
    let service = format!("{account}-api");
    let authority = wait::eventually("the CA to be published", SOON, || async {
        let map = maps.get(&service).await?;
        map.data.unwrap_or_default().remove("ca.crt").context("no CA yet")
    })
    .await?;
    let client = ApiClient {
        address: operator.api_address(),
        host: format!("{service}.{name}.svc"),
        authority,
    };
    let document = client.send("GET", "/openapi.json", &[], "").await?;
    ensure!(document.status == 200, "{}", document.status);
    // An upgrade leaves the certificate where it is.
    let before = maps.get(&service).await?.data;
    helm(
        &plane,
        "upgrade",
        &name,
        &["api.enabled=true", r#"logLevel="debug""#],
    )
    .await?;
    ensure!(
        maps.get(&service).await?.data == before,
        "the upgrade took the CA away"
    );
    Ok(())
}

pub async fn rendered(plane: Arc<ControlPlane>) -> Result<()> {
    let name = "distributary-api";
    let off = template(&plane, &[]).await?;
    ensure!(
        !serde_json::to_string(&off)?.contains(name),
        "there is an API that nobody asked for"
    );
    let own = template(&plane, &["api.enabled=true", "metrics.access=Authorized"]).await?;
    let arguments = |documents: &[Value]| arguments_of(find(documents, "Deployment", "distributary")?);
    ensure!(
        arguments(&own)?[4..]
            == [
                "--api-address=[::]:8443",
                "--api-secret=distributary-api",
                "--metrics=Authorized"
            ],
        "{:?}",
        arguments(&own)
    );
    let expected = json!([{
        "apiGroups": [""], "resources": ["secrets", "configmaps"], "resourceNames": [name], "verbs": ["get", "update"],
    }]);
    ensure!(rules(&own, "Role", name)? == expected);
    for kind in ["Secret", "ConfigMap"] {
        ensure!(
            find(&own, kind, name)?.get("data").is_none(),
            "{kind} is not empty"
        );
    }
    let port = &find(&own, "Service", name)?["spec"]["ports"][0];
    ensure!(port["port"] == 8443 && port["targetPort"] == "api", "{port}");
    let of_user = template(&plane, &["api.enabled=true", "api.tls.secretName=own"]).await?;
    let issued = [
        "api.enabled=true",
        "api.tls.issuerRef.name=internal",
        "api.tls.issuerRef.kind=Issuer",
    ];
    let issued = template(&plane, &issued).await?;
    for (documents, secret) in [(&of_user, "own"), (&issued, "distributary-api-tls")] {
        ensure!(
            arguments(documents)?[4..]
                == [
                    "--api-address=[::]:8443",
                    "--api-tls-directory=/etc/distributary/api-tls"
                ],
            "{:?}",
            arguments(documents)
        );
        let pod = &find(documents, "Deployment", "distributary")?["spec"]["template"]["spec"];
        ensure!(pod["volumes"][0]["secret"]["secretName"] == secret, "{pod}");
        ensure!(
            pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/etc/distributary/api-tls",
            "{pod}"
        );
        // What the operator does not write it has no right to.
        ensure!(find(documents, "Role", name).is_err() && find(documents, "Secret", name).is_err());
    }
    let certificate = find(&issued, "Certificate", name)?;
    let names = json!([
        "distributary-api.default.svc",
        "distributary-api.default.svc.cluster.local"
    ]);
    ensure!(certificate["spec"]["dnsNames"] == names, "{certificate}");
    ensure!(
        certificate["spec"]["secretName"] == "distributary-api-tls",
        "{certificate}"
    );
    read_with_a_token(&plane).await?;
    let wrong = template(&plane, &["metrics.access=Authorized"]).await;
    ensure!(wrong.is_err(), "metrics that nobody can get");
    Ok(())
}

/// Both monitors lead to the port of the API, with a token.
async fn read_with_a_token(plane: &ControlPlane) -> Result<()> {
    let scraped = [
        "api.enabled=true",
        "metrics.access=Authorized",
        "metrics.podMonitor.create=true",
    ];
    let missing = template(plane, &scraped).await;
    ensure!(missing.is_err(), "a PodMonitor without a token");
    let more = [
        "metrics.podMonitor.tokenSecretName=scraper",
        "metrics.serviceMonitor.create=true",
        "metrics.serviceMonitor.tokenSecretName=scraper",
        "networkPolicy.enabled=true",
    ];
    let scraped = template(plane, &[&scraped[..], &more[..]].concat()).await?;
    let monitor = &find(&scraped, "PodMonitor", "distributary")?["spec"]["podMetricsEndpoints"][0];
    let tls = json!({"serverName": "distributary-api.default.svc", "ca": {"configMap": {"name": "distributary-api", "key": "ca.crt"}}});
    ensure!(
        monitor["port"] == "api" && monitor["scheme"] == "https" && monitor["tlsConfig"] == tls,
        "{monitor}"
    );
    ensure!(
        monitor["authorization"]["credentials"] == json!({"name": "scraper", "key": "token"}),
        "{monitor}"
    );
    let service = &find(&scraped, "Service", "distributary-metrics")?["spec"]["ports"][0];
    ensure!(service["targetPort"] == "api", "{service}");
    let of_service = &find(&scraped, "ServiceMonitor", "distributary")?["spec"]["endpoints"][0];
    let mut same = monitor.clone();
    same["port"] = service["name"].clone();
    ensure!(*of_service == same, "{of_service}");
    let ingress = &find(&scraped, "NetworkPolicy", "distributary")?["spec"]["ingress"];
    ensure!(
        *ingress == json!([{"ports": [{"protocol": "TCP", "port": "api"}]}]),
        "{ingress}"
    );
    Ok(())
}
