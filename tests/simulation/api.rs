//! A simulated API server: objects, the policy's status, resource versions, and what watches show.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use distributary::render::merge::merge;
use distributary::render::reading::{FIELD_MANAGER, Text, Version, observed};
use distributary::render::status::Refusal;
use distributary::render::{Kind, ObjectId};
use distributary::writing::lease::{LeaseAnswer, LeaseCall, LeaseRecord};
use distributary::writing::{Answer, Call, Input, Place, PolicyReading};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::ids::PolicyKey;
use distributary_core::seeded::SeededFault;
use serde_json::{Value, json};

pub const UID: &str = "uid-1";
const NAMESPACE: &str = "shop";

/// What a version changed.
#[derive(Clone, Debug)]
enum Change {
    Object(Place, Option<Value>),
    Status(Box<ReplicaSetPolicyStatus>),
}

#[derive(Debug, Default)]
pub struct Api {
    version: u64,
    objects: BTreeMap<Place, Value>,
    pub status: ReplicaSetPolicyStatus,
    status_version: u64,
    history: BTreeMap<u64, Change>,
    /// Watches that are not behind this have to list.
    compacted: u64,
    pub lease: Option<LeaseRecord>,
    /// Writes of objects and of the status that were carried out.
    pub writes: usize,
}

/// Objects of a list in one page.
const PAGE: usize = 2;

/// A list that is read page by page, all of it as it was when it began.
#[derive(Debug)]
pub struct List {
    pub version: u64,
    pages: VecDeque<Vec<Input<Text>>>,
}

impl List {
    pub fn is_read(&self) -> bool {
        self.pages.is_empty()
    }
}

pub fn key() -> PolicyKey {
    PolicyKey::new(NAMESPACE, "orders")
}

fn place(id: &ObjectId) -> Place {
    Place {
        namespace: NAMESPACE.to_owned(),
        id: id.clone(),
    }
}

pub fn refused(code: u16) -> Answer<Text> {
    let category = if code == 403 { "Forbidden" } else { "Conflict" };
    Answer::Refused {
        refusal: Refusal::new(category, "the simulation says so"),
        code,
        retry_after: None,
    }
}

pub fn unknown() -> Answer<Text> {
    Answer::Unknown {
        refusal: Refusal::new("Deadline", "no answer"),
        retry_after: None,
    }
}

/// The addresses in a slice.
pub fn addresses(object: &Value) -> BTreeSet<String> {
    let endpoints = object["endpoints"].as_array().into_iter().flatten();
    let addresses = endpoints.flat_map(|endpoint| endpoint["addresses"].as_array().into_iter().flatten());
    addresses
        .filter_map(|address| address.as_str().map(ToOwned::to_owned))
        .collect()
}

/// Whether it is a slice of this Service.
pub fn is_slice_of(service: &str, object: &Value) -> bool {
    object["metadata"]["labels"]["kubernetes.io/service-name"] == json!(service)
}

impl Api {
    fn next(&mut self, change: impl FnOnce(u64) -> Change) {
        self.version += 1;
        let change = change(self.version);
        self.history.insert(self.version, change);
    }

    /// The newest version of all.
    pub fn head(&self) -> u64 {
        self.version
    }

    pub fn compact(&mut self) {
        self.compacted = self.version;
        self.history.clear();
    }

    pub fn status_version(&self) -> Version {
        Version::new(self.status_version.to_string())
    }

    /// A person writes.
    pub fn put(&mut self, place: Place, object: Value) {
        self.put_as("kubectl-edit", place, object);
    }

    fn put_as(&mut self, manager: &str, place: Place, mut object: Value) {
        self.next(|version| {
            // As times, texts of one length compare.
            let write = json!({"manager": manager, "time": format!("{version:020}")});
            object["metadata"]["managedFields"] = json!([write]);
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            object["metadata"]["namespace"] = json!(place.namespace);
            if object["metadata"]["uid"].is_null() {
                object["metadata"]["uid"] = json!(format!("uid of {} {version}", place.id.name));
            }
            Change::Object(place.clone(), Some(object.clone()))
        });
        self.objects.insert(place, object);
    }

    pub fn delete(&mut self, place: &Place) {
        if self.objects.remove(place).is_some() {
            self.next(|_| Change::Object(place.clone(), None));
        }
    }

    /// The objects of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&Place, &Value)> {
        self.objects
            .iter()
            .filter(move |(place, _)| place.id.kind == kind)
    }

    /// The servers that slices of this Service have, all together.
    pub fn servers_of(&self, service: &str) -> BTreeSet<String> {
        let slices = self.of_kind(Kind::EndpointSlice).map(|(_, object)| object);
        slices
            .filter(|object| is_slice_of(service, object))
            .flat_map(addresses)
            .collect()
    }

    pub fn get(&self, id: &ObjectId) -> Option<&Value> {
        self.objects.get(&place(id))
    }

    pub fn at(&self, place: &Place) -> Option<&Value> {
        self.objects.get(place)
    }

    /// Whether watches that have shown everything up to `cursor` have to list.
    pub fn lists(&self, cursor: Option<u64>) -> bool {
        cursor.is_none_or(|cursor| cursor < self.compacted)
    }

    /// What watches that have shown everything up to `cursor` show next.
    pub fn watched(&self, cursor: Option<u64>) -> Vec<Input<Text>> {
        let changes = self.history.range(cursor.unwrap_or_default() + 1..);
        changes
            .map(|(version, change)| seen(*version, change.clone()))
            .collect()
    }

    /// A list of everything begins.
    pub fn list(&self) -> List {
        let mut all = self.listed().into_iter();
        let page = || Some(all.by_ref().take(PAGE).collect::<Vec<_>>()).filter(|page| !page.is_empty());
        List {
            version: self.version,
            pages: std::iter::from_fn(page).collect(),
        }
    }

    /// The next page of a list; `None`: its version is forgotten, and so its continue token is refused with 410.
    pub fn page(&self, list: &mut List) -> Option<Vec<Input<Text>>> {
        let is_known = list.version >= self.compacted;
        is_known.then(|| list.pages.pop_front().unwrap_or_default())
    }

    /// Everything, as lists show it.
    pub fn listed(&self) -> Vec<Input<Text>> {
        let mut inputs = Vec::new();
        for kind in Kind::ALL.iter().copied() {
            let objects = self.of_kind(kind);
            inputs.extend(objects.map(|(_, object)| Input::Seen(Box::new(observed(kind, object.clone())))));
            inputs.push(Input::Listed {
                kind,
                namespace: None,
                places: self.of_kind(kind).map(|(place, _)| place.clone()).collect(),
            });
        }
        if self.status_version > 0 {
            inputs.push(seen(
                self.status_version,
                Change::Status(Box::new(self.status.clone())),
            ));
        }
        inputs
    }

    fn shown(&self, id: &ObjectId) -> Answer<Text> {
        let object = self.get(id).cloned();
        Answer::Object(object.map(|object| Box::new(observed(id.kind, object))))
    }

    fn policy(&self) -> Answer<Text> {
        Answer::Policy(Some(Box::new(PolicyReading {
            uid: UID.to_owned(),
            version: self.status_version(),
            status: self.status.clone(),
        })))
    }

    /// A request about the lease.
    pub fn lend(&mut self, call: LeaseCall) -> LeaseAnswer {
        let version = |lease: &LeaseRecord| lease.version.clone();
        let record = match call {
            LeaseCall::Read => return LeaseAnswer::Lease(self.lease.clone()),
            LeaseCall::Create(_) if self.lease.is_some() => return LeaseAnswer::Conflict,
            LeaseCall::Update(record)
                if self
                    .lease
                    .as_ref()
                    .is_none_or(|lease| record.version.is_some() && version(lease) != record.version) =>
            {
                return LeaseAnswer::Conflict;
            }
            LeaseCall::Create(record) | LeaseCall::Update(record) => record,
        };
        self.version += 1;
        let version = Some(Version::new(self.version.to_string()));
        self.lease = Some(LeaseRecord { version, ..record });
        LeaseAnswer::Lease(self.lease.clone())
    }

    /// Whether a write rests on the object as it is: absent, or at this version.
    pub fn is_newest(&self, call: &Call<Text>) -> bool {
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        let is = |id: &ObjectId| self.get(id).map(version);
        match call {
            Call::Create { id, .. } => is(id).is_none(),
            Call::Put { id, onto, .. } => is(id) == serde_json::from_str(onto).ok().as_ref().map(version),
            Call::Delete { id, version, .. } => is(id) == Some(json!(version.as_str())),
            Call::PutStatus { version, .. } => *version == self.status_version(),
            Call::Get { .. } | Call::GetPolicy => true,
        }
    }

    pub fn carry_out(&mut self, call: Call<Text>) -> Answer<Text> {
        let tree = |text: &Text| serde_json::from_str::<Value>(text).expect("bodies are JSON");
        let version = self.version;
        let answer = match call {
            Call::Create { id, .. } if self.get(&id).is_some() && !SeededFault::PostReplaces.is_on() => {
                return refused(409);
            }
            Call::Create { id, body } => {
                self.put_as(FIELD_MANAGER, place(&id), tree(&body));
                self.shown(&id)
            }
            Call::Put { id, onto, wanted } => {
                let body = merge(id.kind, tree(&onto), &tree(&wanted));
                // What a PUT does not say is not compared.
                let same = |is: &Value| {
                    ["uid", "resourceVersion"].iter().all(|field| {
                        let asked = &body["metadata"][field];
                        asked.is_null() || is["metadata"][field] == *asked
                    })
                };
                if !self.get(&id).is_some_and(same) {
                    return refused(409);
                }
                self.put_as(FIELD_MANAGER, place(&id), body);
                self.shown(&id)
            }
            Call::Delete { id, uid, version } => {
                let same = |is: &Value| {
                    is["metadata"]["uid"] == uid && is["metadata"]["resourceVersion"] == version.as_str()
                };
                if !self.get(&id).is_some_and(same) {
                    return refused(409);
                }
                self.delete(&place(&id));
                Answer::Object(None)
            }
            Call::Get { id } => self.shown(&id),
            Call::PutStatus { version, .. }
                if version != self.status_version() && !SeededFault::StatusWithoutVersion.is_on() =>
            {
                return refused(409);
            }
            Call::PutStatus { status, .. } => {
                self.status = (*status).clone();
                self.next(|_| Change::Status(status));
                self.status_version = self.version;
                self.policy()
            }
            Call::GetPolicy => self.policy(),
        };
        self.writes += usize::from(self.version != version);
        answer
    }
}

fn seen(version: u64, change: Change) -> Input<Text> {
    let version = Version::new(version.to_string());
    match change {
        Change::Object(place, Some(object)) => Input::Seen(Box::new(observed(place.id.kind, object))),
        Change::Object(place, None) => Input::Lost { place, version },
        Change::Status(status) => Input::StatusSeen {
            key: key(),
            uid: UID.to_owned(),
            version,
            status,
        },
    }
}
