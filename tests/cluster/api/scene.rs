//! An operator with an API, and callers with rights of their own.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use harness::api::ApiClient;
use harness::certificates::Authority;
use harness::control_plane::{Namespace, service_account_user};
use harness::web::Response;
use harness::{ControlPlane, Operator, wait};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::fixture::{Fixture, SOON};

pub const HOST: &str = "distributary-api";
const UNKNOWN: &str = "eyJhbGciOiJub25lIn0.e30.";

/// The callers of the table of docs/api.md.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Account {
    Reader,
    Editor,
    Stranger,
    Expired,
    Revoked,
    Garbage,
    None,
    TwoHeaders,
}

impl Account {
    pub fn of(name: &str) -> Result<Self> {
        Ok(match name {
            "reader" => Self::Reader,
            "editor" => Self::Editor,
            "stranger" => Self::Stranger,
            "expired" => Self::Expired,
            "revoked" => Self::Revoked,
            "garbage" => Self::Garbage,
            "none" => Self::None,
            "two headers" => Self::TwoHeaders,
            other => bail!("{other} is no caller"),
        })
    }
}

pub struct Scene {
    pub it: Fixture,
    pub client: ApiClient,
    pub reader: String,
    pub editor: String,
    pub stranger: String,
    pub expired: String,
    pub revoked: String,
    pub directory: PathBuf,
    _other: Namespace,
    is_admin: bool,
}

impl Scene {
    /// A policy of a primary and a replica, ready; the operator has the rights of its ServiceAccount.
    pub async fn set(plane: Arc<ControlPlane>) -> Result<Self> {
        Self::set_as(plane, false, &[]).await
    }

    /// `is_admin`: the operator has every right, by a client certificate.
    pub async fn set_as(plane: Arc<ControlPlane>, is_admin: bool, arguments: &[&str]) -> Result<Self> {
        let it = Fixture::start(plane, 1).await?;
        Self::over(it, is_admin, arguments).await
    }

    /// The same over servers that were started.
    pub async fn over(mut it: Fixture, is_admin: bool, arguments: &[&str]) -> Result<Self> {
        let plane = Arc::clone(&it.plane);
        let (directory, authority) = certificate(&it.namespace)?;
        it.operator.kill();
        it.operator = operator(&it, is_admin, &directory, arguments).await?;
        it.apply(&it.policy()).await?;
        it.serves().await?;
        let other = plane.namespace("other").await?;
        plane.apply(&it.namespace, &callers().to_string()).await?;
        plane.apply(&other, &callers().to_string()).await?;
        let reader = plane.service_account_token(&it.namespace, "reader").await?;
        let editor = plane.service_account_token(&it.namespace, "editor").await?;
        // The same way of signing is good while the token has not expired.
        let editor_before = editor.clone();
        let editor = plane.expiring(&editor, 14_000)?;
        let stranger = plane.service_account_token(&other, "reader").await?;
        let revoked = plane.service_account_token(&it.namespace, "revoked").await?;
        let accounts: Api<ServiceAccount> = Api::namespaced(plane.client(), &it.namespace);
        accounts
            .delete("revoked", &kube::api::DeleteParams::default())
            .await?;
        let client = ApiClient {
            address: it.operator.api_address(),
            host: HOST.to_owned(),
            authority,
        };
        let scene = Self {
            it,
            client,
            reader,
            editor,
            stranger,
            expired: plane.expiring(&editor_before, -60)?,
            revoked,
            directory,
            _other: other,
            is_admin,
        };
        // The API server may know a role, or that an account has gone, a little later.
        wait::eventually("the rights of the callers to be known", SOON, || async {
            let reader = scene
                .get("/api/db/health?policy=shop/orders", &scene.reader)
                .await?;
            let revoked = scene.it.plane.client();
            let review = kube::core::DynamicObject::new("", &review());
            let review = review.data(json!({"spec": {"token": scene.revoked}}));
            let reviews: Api<kube::core::DynamicObject> = Api::all_with(revoked, &self::review());
            let answer = reviews.create(&kube::api::PostParams::default(), &review).await?;
            ensure!(
                answer.data["status"]["authenticated"] != true,
                "it is still known"
            );
            ensure!(reader.status == 200, "{}", reader.body);
            anyhow::Ok(())
        })
        .await?;
        Ok(scene)
    }

    pub fn server(&self) -> String {
        self.it.postgres.primary().address().to_string()
    }

    /// A path of the documentation, with the namespace of this test.
    pub fn here(&self, path: &str) -> String {
        path.replace("shop", &self.it.namespace)
    }

    pub async fn get(&self, path: &str, token: &str) -> Result<Response> {
        self.client
            .send("GET", &self.here(path), &[bearer(token)], "")
            .await
    }

    pub async fn change(&self, body: &Value, token: &str) -> Result<Response> {
        let path = self.here("/api/db/replicas?policy=shop/orders");
        self.client
            .send("POST", &path, &[bearer(token)], &body.to_string())
            .await
    }

    /// A request of the table, as one of its callers.
    pub async fn ask(&self, request: &str, account: Account) -> Result<Response> {
        let headers = match account {
            Account::Reader => vec![bearer(&self.reader)],
            Account::Editor => vec![bearer(&self.editor)],
            Account::Stranger => vec![bearer(&self.stranger)],
            Account::Expired => vec![bearer(&self.expired)],
            Account::Revoked => vec![bearer(&self.revoked)],
            Account::Garbage => vec![bearer(UNKNOWN)],
            Account::None => vec![],
            Account::TwoHeaders => vec![bearer(&self.reader), bearer(&self.editor)],
        };
        let replica =
            json!({"id": "replica-9", "url": "postgresql://app:pass-9@10.0.0.9/app", "enabled": false});
        let (method, path, body) = match request.split_once(' ') {
            Some(("POST", "add_replica")) => (
                "POST",
                None,
                json!({"action": "add_replica", "replicaConfig": replica}),
            ),
            Some(("POST", "update_replica")) => {
                let config = json!({"id": "replica-9", "weight": 3});
                (
                    "POST",
                    None,
                    json!({"action": "update_replica", "replicaConfig": config}),
                )
            }
            Some(("POST", "remove_replica")) => (
                "POST",
                None,
                json!({"action": "remove_replica", "replicaId": "replica-9"}),
            ),
            Some(("POST", action)) => ("POST", None, json!({"action": action})),
            Some((method, path)) => (method, Some(path), Value::Null),
            None => bail!("{request} is no request"),
        };
        let path = self.here(path.unwrap_or("/api/db/replicas?policy=shop/orders"));
        let body = if method == "POST" {
            body.to_string()
        } else {
            String::new()
        };
        if path.contains("/events") {
            return self.begin(&path, &headers).await;
        }
        self.client.send(method, &path, &headers, &body).await
    }

    /// The answer to a request for events, up to the first one.
    async fn begin(&self, path: &str, headers: &[String]) -> Result<Response> {
        let mut stream = self.client.open("GET", path, headers, "").await?;
        let mut answer = vec![];
        let read = async {
            while !answer.windows(2).any(|bytes| bytes == b"\n\n") && stream.read_buf(&mut answer).await? > 0
            {
            }
            anyhow::Ok(())
        };
        wait::within("the first event", SOON, read).await?;
        harness::web::parse(&String::from_utf8_lossy(&answer)).context("not an HTTP answer")
    }

    /// What callers did was done by them, and nothing that the operator did was for them.
    pub fn audit_names_callers(&self) -> Result<()> {
        let namespace = &self.it.namespace;
        let editor = service_account_user(namespace, "editor");
        let operator = service_account_user(namespace, "operator");
        let all = self.it.plane.audit()?;
        let here: Vec<_> = all
            .iter()
            .filter(|event| event.namespace == **namespace)
            .collect();
        let own = |event: &harness::control_plane::AuditEvent| {
            event.user == operator || (self.is_admin && event.user == "admin")
        };
        let of_policy = |event: &&&harness::control_plane::AuditEvent| event.resource == "replicasetpolicies";
        let patches: Vec<_> = here
            .iter()
            .filter(of_policy)
            .filter(|event| event.verb == "patch" && event.uri.contains("fieldManager=distributary-api"))
            .collect();
        ensure!(!patches.is_empty(), "nobody changed a policy");
        for patch in patches {
            ensure!(!own(patch), "the operator changed a policy: {patch:?}");
            ensure!(patch.user == editor || !patch.succeeded(), "{patch:?}");
        }
        for secret in here
            .iter()
            .filter(|event| event.resource == "secrets" && event.is_write())
        {
            let is_ours = secret.name.starts_with("orders-") || secret.uri.contains("distributary-api");
            ensure!(
                !is_ours || !own(secret),
                "the operator wrote a Secret: {secret:?}"
            );
        }
        // Of the admin, the tests themselves write.
        let mut written = here
            .iter()
            .filter(|event| event.is_write() && event.user == operator);
        ensure!(
            written.all(|event| match &*event.resource {
                "replicasetpolicies" => event.uri.contains("/status"),
                resource => resource != "secrets",
            }),
            "the operator wrote what callers write"
        );
        // A policy is read by its name for callers alone, or by the desk of the leader.
        let read = |user: &str| {
            let mut gets = here.iter().filter(of_policy).filter(|event| event.verb == "get");
            gets.any(|event| event.user == user)
        };
        ensure!(
            read(&service_account_user(namespace, "reader")),
            "the reader read nothing"
        );
        let log = self.it.operator.log();
        for secret in [&self.reader, &self.editor, &self.stranger, "pass-9"] {
            ensure!(!log.contains(secret), "the log has a token or a password");
        }
        Ok(())
    }
}

pub fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn review() -> kube::core::ApiResource {
    let kind = kube::core::GroupVersionKind::gvk("authentication.k8s.io", "v1", "TokenReview");
    kube::core::ApiResource::from_gvk(&kind)
}

/// A directory with a certificate, and the CA.
pub fn certificate(name: &str) -> Result<(PathBuf, String)> {
    let authority = Authority::new("api")?;
    let directory = harness::node::data_subdir(&format!("api-{name}"))?;
    authority.server(&[HOST], &[])?.write(&directory, "tls")?;
    Ok((directory, authority.pem()))
}

pub async fn operator(
    it: &Fixture,
    is_admin: bool,
    directory: &std::path::Path,
    arguments: &[&str],
) -> Result<Operator> {
    let own = it
        .plane
        .service_account_kubeconfig(&it.namespace, "operator")
        .await?;
    let kubeconfig = if is_admin {
        it.plane.admin_kubeconfig()
    } else {
        &own
    };
    Operator::builder(kubeconfig)
        .namespace(&it.namespace)
        .api()
        .args([format!("--api-tls-directory={}", directory.display())])
        .args(arguments.iter().map(ToString::to_string))
        .start()
        .await
}

/// The accounts, and the Roles that docs/api.md shows.
fn callers() -> Value {
    let account =
        |name: &str| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
    let policies = |verbs: Value| json!({"apiGroups": ["distributary.dev"], "resources": ["replicasetpolicies"], "verbs": verbs});
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "delete"]});
    let role = |name: &str, rules: Value| json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules});
    let binding = |name: &str, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": name}],
        })
    };
    json!({"apiVersion": "v1", "kind": "List", "items": [
        account("reader"), account("editor"), account("patcher"), account("revoked"),
        role("reader", json!([policies(json!(["get", "list"]))])),
        role("editor", json!([policies(json!(["get", "list", "patch"])), secrets])),
        role("patcher", json!([policies(json!(["get", "list", "patch"]))])),
        binding("reader", "reader"), binding("editor", "editor"), binding("patcher", "patcher"), binding("revoked", "reader"),
    ]})
}
