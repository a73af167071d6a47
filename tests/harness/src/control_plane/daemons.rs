//! How the programs of the control plane are started.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::ServiceFamily;
use super::credentials::Credentials;
use super::programs;
use crate::node::{self, API_SERVER, API_SERVER6, SERVICE_RANGE, SERVICE_RANGE6};
use crate::process::Daemon;

/// Where the API server reaches the kubelet of the node.
pub(super) const KUBELET_PORT: u16 = 10250;

/// The controllers that matter where there is no kubelet and no scheduler.
const CONTROLLERS: &[&str] = &[
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "service-cidr-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "validatingadmissionpolicy-status-controller",
];

pub(super) fn etcd() -> Result<Daemon> {
    let data = node::data_dir().join("etcd");
    if data.exists() {
        fs::remove_dir_all(&data).context("remove the data of the last control plane")?;
    }
    Ok(Daemon::new("etcd", programs::path("etcd")?)?.args([
        "--name=n1".to_owned(),
        flag("data-dir", &data),
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--initial-advertise-peer-urls=http://127.0.0.1:2380".to_owned(),
        "--initial-cluster=n1=http://127.0.0.1:2380".to_owned(),
        "--heartbeat-interval=20".to_owned(),
        "--election-timeout=200".to_owned(),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]))
}

pub(super) fn api_server(
    credentials: &Credentials,
    audit_log: &Path,
    family: ServiceFamily,
) -> Result<Daemon> {
    let policy = credentials.file("audit-policy.json");
    let kubelet_client = credentials.certificate_of("kube-apiserver-kubelet-client")?;
    fs::write(&policy, audit_policy())?;
    if audit_log.exists() {
        fs::remove_file(audit_log).context("remove the audit log of the last control plane")?;
    }
    // What it advertises must be of the family of the Services; every client of the tests comes to its address of IPv4.
    let (bound, advertised, range) = match family {
        ServiceFamily::V4 => (API_SERVER.to_string(), API_SERVER.to_string(), SERVICE_RANGE),
        ServiceFamily::V6 => ("::".to_owned(), API_SERVER6.to_string(), SERVICE_RANGE6),
    };
    Ok(
        Daemon::new("kube-apiserver", programs::path("kube-apiserver")?)?.args([
            format!("--bind-address={bound}"),
            format!("--secure-port={}", node::API_PORT),
            format!("--advertise-address={advertised}"),
            format!("--service-cluster-ip-range={range}"),
            "--etcd-servers=http://127.0.0.1:2379".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            flag("cert-dir", &credentials.file("")),
            flag("tls-cert-file", &credentials.file("server.crt")),
            flag("tls-private-key-file", &credentials.file("server.key")),
            flag("client-ca-file", &credentials.file("ca.crt")),
            flag("kubelet-certificate-authority", &credentials.file("ca.crt")),
            flag("kubelet-client-certificate", &kubelet_client.0),
            flag("kubelet-client-key", &kubelet_client.1),
            flag(
                "service-account-signing-key-file",
                &credentials.file("tokens.key"),
            ),
            flag("service-account-key-file", &credentials.file("tokens.pub")),
            flag("audit-policy-file", &policy),
            flag("audit-log-path", audit_log),
            "--audit-log-maxsize=4096".to_owned(),
        ]),
    )
}

pub(super) fn controller_manager(credentials: &Credentials) -> Result<Daemon> {
    let kubeconfig = credentials.for_user("system:kube-controller-manager", &[])?;
    let daemon = Daemon::new(
        "kube-controller-manager",
        programs::path("kube-controller-manager")?,
    )?;
    Ok(daemon.args([
        flag("kubeconfig", &kubeconfig),
        format!("--controllers={}", CONTROLLERS.join(",")),
        "--use-service-account-credentials".to_owned(),
        flag(
            "service-account-private-key-file",
            &credentials.file("tokens.key"),
        ),
        flag("root-ca-file", &credentials.file("ca.crt")),
        flag("tls-cert-file", &credentials.file("server.crt")),
        flag("tls-private-key-file", &credentials.file("server.key")),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
        "--kube-api-qps=500".to_owned(),
        "--kube-api-burst=1000".to_owned(),
    ]))
}

pub(super) fn proxy(credentials: &Credentials) -> Result<Daemon> {
    let kubeconfig = credentials.for_user("system:kube-proxy", &[])?;
    Ok(Daemon::new("kube-proxy", programs::path("kube-proxy")?)?.args([
        flag("kubeconfig", &kubeconfig),
        "--proxy-mode=nftables".to_owned(),
        "--hostname-override=n1".to_owned(),
        // These settings are the kernel's own where the namespace may not change them; 0 leaves them alone.
        "--conntrack-max-per-core=0".to_owned(),
        "--conntrack-min=0".to_owned(),
        "--conntrack-tcp-timeout-established=0".to_owned(),
        "--conntrack-tcp-timeout-close-wait=0".to_owned(),
        "--healthz-bind-address=127.0.0.1:10256".to_owned(),
        "--metrics-bind-address=127.0.0.1:10249".to_owned(),
    ]))
}

/// `pods`: a directory with the addresses of Pods, see tests/controlplane/kubelet.
pub(super) fn kubelet(credentials: &Credentials, pods: &Path) -> Result<Daemon> {
    Ok(Daemon::new("kubelet", programs::path("kubelet-stub")?)?.args([
        format!("--listen={}:{KUBELET_PORT}", node::NODE),
        flag("tls-cert-file", &credentials.file("kubelet.crt")),
        flag("tls-private-key-file", &credentials.file("kubelet.key")),
        flag("client-ca-file", &credentials.file("ca.crt")),
        flag("pods", pods),
    ]))
}

/// Everything with its metadata, and what writes asked for, except where it holds secrets or is not of interest. The
/// requests of the control plane itself are many, as for each namespace that ends, and no test asks for them.
fn audit_policy() -> String {
    let itself = json!([
        "system:apiserver",
        "system:kube-controller-manager",
        "system:kube-proxy"
    ]);
    let secret = json!([{ "group": "", "resources": ["secrets", "serviceaccounts/token"] }]);
    let bulky = json!([{ "group": "apiextensions.k8s.io" }, { "group": "rbac.authorization.k8s.io" }]);
    let writes = json!(["create", "update", "patch", "delete", "deletecollection"]);
    let metadata = |resources| json!({ "level": "Metadata", "resources": resources });
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [
            { "level": "None", "users": itself },
            { "level": "None", "userGroups": ["system:serviceaccounts:kube-system"] },
            metadata(secret),
            metadata(bulky),
            { "level": "Request", "verbs": writes, "userGroups": ["system:serviceaccounts"] },
            { "level": "Metadata" },
        ],
    });
    policy.to_string()
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}
