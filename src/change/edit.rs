//! A change of a policy as a JSON Patch (RFC 6902). Pure.

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

/// A request for checks.
const REQUESTED: &str = "distributary.dev/check-requested-at";

/// Endpoints that are told where one is not there, at most.
const TOLD: usize = 10;

/// The fields of an endpoint that say where its server is.
const ADDRESS: [&str; 4] = ["host", "port", "serviceRef", "urlSecretRef"];

/// What is changed.
#[derive(Clone, PartialEq)]
pub enum Edit {
    /// Checks are asked for, with this value.
    Check(String),
    Add(Addition),
    Update(Update),
    /// The replica of this id.
    Remove(String),
}

/// A replica to be added.
#[derive(Clone, PartialEq)]
pub struct Addition {
    pub id: String,
    /// As the policy is to have it, but for its address.
    pub fields: Map<String, Value>,
    pub address: Address,
}

/// Fields to be changed.
#[derive(Clone, PartialEq)]
pub struct Update {
    pub whose: Whose,
    pub fields: Map<String, Value>,
    /// `None`: it stays.
    pub address: Option<Address>,
}

/// An endpoint, by its id.
#[derive(Clone, Debug, PartialEq)]
pub enum Whose {
    Replica(String),
    /// Or the primary.
    Endpoint(String),
}

/// Where a server is.
#[derive(Clone, PartialEq)]
pub enum Address {
    /// A URL with a password, which goes into a Secret.
    Url(String),
    /// What a URL without one names.
    Parts {
        host: String,
        port: u16,
        database: Option<String>,
        /// The word of `tls.mode`.
        tls: Option<&'static str>,
    },
}

/// The Secret of a change's own with the URL of a replica.
#[must_use]
pub fn secret_of(policy: &Value, id: &str) -> Option<String> {
    let replica = replicas(policy).iter().find(|replica| replica["id"] == id)?;
    replica["urlSecretRef"]["name"].as_str().map(ToOwned::to_owned)
}

/// Whether the policy refers to this Secret, wherever.
#[must_use]
pub fn refers_to(policy: &Value, secret: &str) -> bool {
    match policy {
        Value::Object(fields) => fields.iter().any(|(name, field)| {
            (name.ends_with("SecretRef") && field["name"] == secret) || refers_to(field, secret)
        }),
        Value::Array(parts) => parts.iter().any(|part| refers_to(part, secret)),
        _ => false,
    }
}

fn replicas(policy: &Value) -> &[Value] {
    policy["spec"]["replicas"].as_array().map_or(&[], Vec::as_slice)
}

/// The operations of a patch.
struct Operations(Vec<Value>);

impl Operations {
    /// A policy that was deleted and made anew is another one.
    fn of(policy: &Value) -> Self {
        let test = |field: &str| {
            let value = &policy["metadata"][field];
            json!({"op": "test", "path": format!("/metadata/{field}"), "value": value})
        };
        Self(vec![test("uid"), test("resourceVersion")])
    }

    fn add(&mut self, path: String, value: &Value) {
        self.0.push(json!({"op": "add", "path": path, "value": value}));
    }

    fn remove(&mut self, path: String) {
        self.0.push(json!({"op": "remove", "path": path}));
    }
}

impl Edit {
    /// Whether it changes what was declared.
    #[must_use]
    pub const fn is_of_spec(&self) -> bool {
        !matches!(self, Self::Check(_))
    }

    /// The id of a replica, and its URL that goes into a Secret.
    pub(super) fn url(&self) -> Option<(&str, &str)> {
        match self {
            Self::Add(Addition {
                id,
                address: Address::Url(url),
                ..
            })
            | Self::Update(Update {
                whose: Whose::Replica(id) | Whose::Endpoint(id),
                address: Some(Address::Url(url)),
                ..
            }) => Some((id, url)),
            _ => None,
        }
    }

    /// The id of the replica whose address is taken away.
    pub(super) fn leaves(&self) -> Option<&str> {
        match self {
            Self::Remove(id)
            | Self::Update(Update {
                whose: Whose::Replica(id) | Whose::Endpoint(id),
                address: Some(_),
                ..
            }) => Some(id),
            _ => None,
        }
    }

    /// The id of the endpoint that serves no more.
    #[must_use]
    pub fn takes_out(&self) -> Option<&str> {
        match self {
            Self::Remove(id) => Some(id),
            Self::Update(Update {
                whose: Whose::Replica(id) | Whose::Endpoint(id),
                fields,
                ..
            }) if matches!(
                fields.get("state").and_then(Value::as_str),
                Some("Draining" | "Disabled")
            ) =>
            {
                Some(id)
            }
            _ => None,
        }
    }

    /// Whether a policy is as this edit makes it, with the URL in this Secret.
    pub(super) fn is_done(&self, policy: &Value, secret: &str) -> bool {
        let (id, fields) = match self {
            Self::Add(Addition { id, fields, .. })
            | Self::Update(Update {
                whose: Whose::Replica(id) | Whose::Endpoint(id),
                fields,
                ..
            }) => (id, fields),
            Self::Check(_) | Self::Remove(_) => return false,
        };
        let is_it = |replica: &&Value| replica["id"] == *id && replica["urlSecretRef"]["name"] == secret;
        let found = replicas(policy).iter().find(is_it);
        found.is_some_and(|replica| fields.iter().all(|(name, value)| replica[name] == *value))
    }

    /// The patch of a policy as it was read. `secret`: the name of the Secret with the URL.
    ///
    /// # Errors
    /// The policy has that endpoint already, or has none of that id.
    pub(super) fn operations(&self, policy: &Value, secret: Option<&str>) -> Result<Value, Refusal> {
        let mut operations = Operations::of(policy);
        match self {
            Self::Check(now) => {
                if !policy["metadata"]["annotations"].is_object() {
                    operations.add("/metadata/annotations".to_owned(), &json!({}));
                }
                let name = REQUESTED.replace('/', "~1");
                operations.add(format!("/metadata/annotations/{name}"), &json!(now));
            }
            Self::Add(addition) => addition.to(policy, secret, &mut operations)?,
            Self::Update(update) => update.to(policy, secret, &mut operations)?,
            Self::Remove(id) => operations.remove(place(policy, id)?),
        }
        Ok(operations.0.into())
    }
}

impl Addition {
    fn to(&self, policy: &Value, secret: Option<&str>, operations: &mut Operations) -> Result<(), Refusal> {
        if primary(policy) == self.id || place(policy, &self.id).is_ok() {
            let message = format!("the policy has an endpoint {} already", self.id);
            return Err(Refusal::new(409, "AlreadyExists", message));
        }
        let mut endpoint = self.fields.clone();
        endpoint.insert("id".to_owned(), json!(self.id));
        endpoint.extend(self.address.fields(secret, &Value::Null));
        if !policy["spec"]["replicas"].is_array() {
            operations.add("/spec/replicas".to_owned(), &json!([]));
        }
        operations.add("/spec/replicas/-".to_owned(), &endpoint.into());
        Ok(())
    }
}

impl Update {
    fn to(&self, policy: &Value, secret: Option<&str>, operations: &mut Operations) -> Result<(), Refusal> {
        let at = match &self.whose {
            Whose::Endpoint(id) if primary(policy) == id => {
                if !policy["spec"]["primary"].is_object() {
                    operations.add("/spec/primary".to_owned(), &json!({}));
                }
                "/spec/primary".to_owned()
            }
            Whose::Endpoint(id) => place(policy, id).map_err(|_| {
                let all = [primary(policy)].into_iter().chain(ids(policy));
                Refusal::new(404, "NotFound", none("endpoint", id, all))
            })?,
            Whose::Replica(id) => place(policy, id)?,
        };
        let mut fields = self.fields.clone();
        if let Some(address) = &self.address {
            let was = &policy.pointer(&at).cloned().unwrap_or_default();
            let is = address.fields(secret, was);
            let gone = |name: &&&str| was.get(**name).is_some() && !is.contains_key(**name);
            for name in ADDRESS.iter().filter(gone) {
                operations.remove(format!("{at}/{name}"));
            }
            fields.extend(is);
        }
        for (name, value) in &fields {
            operations.add(format!("{at}/{name}"), value);
        }
        Ok(())
    }
}

impl Address {
    /// The fields of an endpoint for it. Parts that the URL leaves out stay.
    fn fields(&self, secret: Option<&str>, was: &Value) -> Map<String, Value> {
        let mut fields = Map::new();
        match self {
            Self::Url(_) => {
                fields.insert(
                    "urlSecretRef".to_owned(),
                    json!({"name": secret.unwrap_or_default(), "key": "url"}),
                );
            }
            Self::Parts {
                host,
                port,
                database,
                tls,
            } => {
                fields.insert("host".to_owned(), json!(host));
                fields.insert("port".to_owned(), json!(port));
                let mut connection = was["connection"].clone();
                if let Some(database) = database {
                    connection["database"] = json!(database);
                }
                if let Some(mode) = tls {
                    connection["tls"]["mode"] = json!(mode);
                }
                if database.is_some() || tls.is_some() {
                    fields.insert("connection".to_owned(), connection);
                }
            }
        }
        fields
    }
}

fn primary(policy: &Value) -> &str {
    policy["spec"]["primary"]["id"].as_str().unwrap_or("primary")
}

/// The path of a replica.
fn place(policy: &Value, id: &str) -> Result<String, Refusal> {
    let at = replicas(policy).iter().position(|replica| replica["id"] == id);
    at.map(|at| format!("/spec/replicas/{at}"))
        .ok_or_else(|| Refusal::new(404, "NotFound", none("replica", id, ids(policy))))
}

fn ids(policy: &Value) -> impl Iterator<Item = &str> {
    replicas(policy)
        .iter()
        .filter_map(|replica| replica["id"].as_str())
}

/// That there is none of this id, with those that there are.
fn none<'a>(what: &str, id: &str, all: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = all.collect();
    let told = match &all[..] {
        [] => "none".to_owned(),
        all if all.len() > TOLD => format!("{} and {} more", all[..TOLD].join(", "), all.len() - TOLD),
        all => all.join(", "),
    };
    format!("the policy has no {what} {id}: it has {told}")
}
