//! What is compared of an object: read once, when it is rendered or seen, so that neither its text nor its tree is looked at
//! again before it is written.

use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Kind, ObjectId, labels};
use distributary_core::ids::PolicyKey;

/// SHA-256 of the fields of an object that are ours. Two objects with the same need no write.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}{:02x}", self.0[0], self.0[1], self.0[2])
    }
}

/// What the order of writes depends on in an `EndpointSlice`.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SliceFacts {
    /// The name of the route; `None`: its label is gone.
    pub route: Option<String>,
    /// The name of the Service.
    pub service: String,
    /// The port of its servers.
    pub port: Option<u16>,
    /// The address family of its servers, as `addressType` has it.
    pub family: String,
    /// The servers in it.
    pub addresses: BTreeSet<String>,
}

/// A resource version. Those of one kind compare as numbers (Kubernetes 1.35, KEP-5504; in practice before it too).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Version(String);

/// A number as one `i128`, which nothing else hashes as: a hasher can keep the order of versions alone.
impl Hash for Version {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0.parse::<u64>() {
            Ok(number) => state.write_i128(number.into()),
            Err(_) => self.0.hash(state),
        }
    }
}

impl Version {
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is proven to be older: what is no number proves nothing.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        let number = |text: &str| text.parse::<u64>().ok();
        number(&self.0)
            .zip(number(&other.0))
            .is_some_and(|(this, other)| this < other)
    }
}

/// An object as the API server has it: what is compared of it, and `body`, from which a PUT is made.
#[derive(Clone, Debug, Hash, PartialEq)]
pub struct ObservedObject<B> {
    pub namespace: String,
    pub id: ObjectId,
    pub uid: String,
    pub version: Version,
    /// The uid of the policy that controls it: of its controller or, where it has none, that of our annotation.
    pub policy: Option<String>,
    /// Whether an owner reference names its controller.
    pub owned: bool,
    /// Where it has no controller, our labels and that annotation: the policy that it was of.
    pub lost_by: Option<PolicyKey>,
    pub digest: Digest,
    /// Something in it that no PUT can change must be another: it is made anew.
    pub fixed: bool,
    /// Whether the newest of its writes that `managedFields` tell of is one by an operator like this one, of this or of another
    /// process, of this or of another version; and nothing is missing that each of them writes.
    pub by_operator: bool,
    /// Of an `EndpointSlice`.
    pub slice: Option<SliceFacts>,
    pub body: B,
}

/// The name under which the operator manages fields.
pub const FIELD_MANAGER: &str = "distributary";

/// An object as JSON text: its tree takes ten times the memory.
pub type Text = Box<str>;

/// Reads an object as the API server has it.
#[must_use]
pub fn observed(kind: Kind, mut object: Value) -> ObservedObject<Text> {
    let by_operator = by_operator(&object["metadata"]["managedFields"]) && is_whole(kind, &object);
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    ObservedObject {
        namespace: text("namespace"),
        id: ObjectId {
            kind,
            name: text("name"),
        },
        uid: text("uid"),
        version: Version(text("resourceVersion")),
        policy: policy(&object),
        owned: controller(&object).is_some(),
        lost_by: lost_by(&object),
        digest: digest(kind, &object),
        fixed: fixed(kind, &object),
        by_operator,
        slice: slice(kind, &object),
        body: object.to_string().into_boxed_str(),
    }
}

/// Whether the newest write is one by an operator. Times are in whole seconds: where another manager wrote in the same one, it
/// counts as the newest.
fn by_operator(managed: &Value) -> bool {
    let newest = |is_operator: bool| {
        let writes = list(managed).iter();
        let of = writes.filter(|write| (write["manager"] == FIELD_MANAGER) == is_operator);
        // All are in UTC and of one length, so texts compare as times.
        of.filter_map(|write| write["time"].as_str()).max()
    };
    newest(true).is_some_and(|own| newest(false) < Some(own))
}

/// Whether an object has everything that an operator always gives it. A write that takes something away and changes nothing else
/// is not in `managedFields`: the write before it, which is an operator's, still counts as the newest there.
fn is_whole(kind: Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let own: &[&str] = match kind {
        Kind::EndpointSlice => &[labels::ROUTE, labels::SERVICE_NAME, labels::SLICE_MANAGED_BY],
        Kind::Service => &[labels::ROUTE],
        Kind::ConfigMap => &[],
    };
    let labelled = [labels::MANAGED_BY, labels::POLICY].iter().chain(own);
    let annotations = &metadata["annotations"];
    let has_listed = |list: &str, of: &Value| {
        let listed = annotations[list].as_str().unwrap_or_default().split(',');
        listed.filter(|key| !key.is_empty()).all(|key| !of[key].is_null())
    };
    let has_content = match kind {
        Kind::EndpointSlice => !list(&object["ports"]).is_empty(),
        Kind::Service => list(&object["spec"]["ports"])
            .iter()
            .all(|port| !port["name"].is_null()),
        Kind::ConfigMap => annotations[labels::KEYS].is_string() && has_listed(labels::KEYS, &object["data"]),
    };
    labelled.copied().all(|key| !metadata["labels"][key].is_null())
        && !annotations[labels::POLICY_UID].is_null()
        && has_listed(labels::LABELS, &metadata["labels"])
        && has_listed(labels::ANNOTATIONS, annotations)
        && has_content
}

fn controller(object: &Value) -> Option<&Value> {
    let owners = list(&object["metadata"]["ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == json!(true))
}

/// The uid of the policy that controls an object.
fn policy(object: &Value) -> Option<String> {
    let uid = match controller(object) {
        Some(owner) => &owner["uid"],
        None => &object["metadata"]["annotations"][labels::POLICY_UID],
    };
    uid.as_str().map(ToOwned::to_owned)
}

/// The policy that an object without a controller was of.
fn lost_by(object: &Value) -> Option<PolicyKey> {
    let metadata = &object["metadata"];
    let ours = metadata["labels"][labels::MANAGED_BY] == json!(labels::MANAGER)
        && metadata["annotations"][labels::POLICY_UID].is_string()
        && controller(object).is_none();
    let name = metadata["labels"][labels::POLICY].as_str().filter(|_| ours)?;
    Some(PolicyKey::new(
        metadata["namespace"].as_str().unwrap_or_default(),
        name,
    ))
}

/// Of the fields that are ours.
#[must_use]
pub fn digest(kind: Kind, object: &Value) -> Digest {
    Digest(Sha256::digest(ours(kind, object).to_string()).into())
}

/// The fields of an object that are ours, in one form whether they were rendered or read.
fn ours(kind: Kind, object: &Value) -> Value {
    let of = match kind {
        Kind::EndpointSlice => json!({
            "addressType": object["addressType"],
            // The API server answers an empty list with null, or leaves it out.
            "endpoints": list(&object["endpoints"]),
            "ports": list(&object["ports"]),
        }),
        Kind::Service => service(&object["spec"]),
        Kind::ConfigMap => data(object),
    };
    json!([metadata(&object["metadata"]), of, fixed(kind, object)])
}

/// An immutable ConfigMap stays so, a headless Service never gets a cluster IP.
fn fixed(kind: Kind, object: &Value) -> bool {
    match kind {
        Kind::ConfigMap => object["immutable"] == json!(true),
        Kind::Service => object["spec"]["clusterIP"] == json!("None"),
        Kind::EndpointSlice => false,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn metadata(metadata: &Value) -> Value {
    let own = |field: &str| labels::Keys::of(metadata, field).ours;
    let owners: Vec<_> = list(&metadata["ownerReferences"])
        .iter()
        .filter(|owner| owner["kind"] == json!("ReplicaSetPolicy"))
        .collect();
    json!([own("labels"), own("annotations"), owners])
}

/// What we set of a Service, and what must not be there.
fn service(spec: &Value) -> Value {
    let set = super::services::FIELDS.iter().chain(super::services::REFUSED);
    let set = set.filter(|field| !spec[**field].is_null());
    set.map(|field| ((*field).to_owned(), spec[*field].clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// The keys of a ConfigMap that are ours by its annotation.
fn data(object: &Value) -> Value {
    let keys = object["metadata"]["annotations"][labels::KEYS].as_str();
    let keys = keys.into_iter().flat_map(|keys| keys.split(','));
    keys.map(|key| (key.to_owned(), object["data"][key].clone()))
        .collect::<Map<_, _>>()
        .into()
}

/// Of an `EndpointSlice`.
#[must_use]
pub fn slice(kind: Kind, object: &Value) -> Option<SliceFacts> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let labels = &object["metadata"]["labels"];
    let addresses = list(&object["endpoints"])
        .iter()
        .flat_map(|endpoint| list(&endpoint["addresses"]));
    (kind == Kind::EndpointSlice).then(|| SliceFacts {
        route: labels[labels::ROUTE].as_str().map(ToOwned::to_owned),
        service: text(&labels[labels::SERVICE_NAME]),
        port: object["ports"][0]["port"]
            .as_u64()
            .and_then(|port| port.try_into().ok()),
        family: text(&object["addressType"]),
        addresses: addresses.map(text).collect(),
    })
}
