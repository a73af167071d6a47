//! An abstract API server: two slices, the status of the policy, a Lease, and what watches have to show.

use std::collections::BTreeSet;
use std::sync::Arc;

use distributary::render::reading::{Digest, ObservedObject, SliceFacts, Version};
use distributary::render::status::{Refusal, Report, WriteOutcome, carried};
use distributary::render::{Kind, ObjectId};
use distributary::writing::lease::{LeaseAnswer, LeaseCall, LeaseRecord};
use distributary::writing::{Answer, Call, Input, Place, PolicyReading, Rendered, Rendering, Wanted};
use distributary_api::{EndpointStatus, ReplicaSetPolicyStatus, RoutingStatus, ServerStatus};
use distributary_core::decision::{Decision, EndpointView};
use distributary_core::ids::PolicyKey;
use distributary_core::outputs::Outputs;
use distributary_core::plan::Route;
use distributary_core::routing::{DEFAULT, WRITES};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::canon::Number;
use super::servers::{NAMES, PORT, address, server};

pub const UID: &str = "uid-1";
const NAMESPACE: &str = "shop";

pub fn key() -> PolicyKey {
    PolicyKey::new(NAMESPACE, "orders")
}

/// The slices that there are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Slot {
    Writes,
    Reads,
}

impl Slot {
    pub const ALL: [Self; 2] = [Self::Writes, Self::Reads];

    const fn route(self) -> &'static str {
        match self {
            Self::Writes => WRITES,
            Self::Reads => DEFAULT,
        }
    }

    pub fn service(self) -> String {
        format!("orders-{}", self.route())
    }

    pub fn id(self) -> ObjectId {
        ObjectId {
            kind: Kind::EndpointSlice,
            name: format!("{}-ipv4", self.service()),
        }
    }

    pub fn of(id: &ObjectId) -> Option<Self> {
        Self::ALL.into_iter().find(|slot| slot.id() == *id)
    }

    fn facts(self, servers: &BTreeSet<usize>) -> SliceFacts {
        SliceFacts {
            route: Some(self.route().to_owned()),
            service: self.service(),
            port: Some(PORT),
            family: "IPv4".to_owned(),
            addresses: servers
                .iter()
                .map(|server| address(*server).to_string())
                .collect(),
        }
    }
}

/// The body of a slice: the servers, and which object it was when it was seen.
#[derive(Clone, Debug, Hash, PartialEq)]
pub struct Body {
    seen: Option<(String, Version)>,
    pub servers: BTreeSet<usize>,
}

/// The rendering of the model.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Small;

pub fn members(route: &Route) -> BTreeSet<usize> {
    let members = route.members.iter();
    members
        .filter_map(|member| server(&member.address.to_string()))
        .collect()
}

fn digest(servers: &BTreeSet<usize>) -> Digest {
    let mut digest = [0; 32];
    for server in servers {
        digest[*server] = 1;
    }
    Digest(digest)
}

fn wanted(slot: Slot, servers: BTreeSet<usize>) -> Wanted<Body> {
    Wanted {
        id: slot.id(),
        digest: digest(&servers),
        slice: Some(slot.facts(&servers)),
        body: Body { seen: None, servers },
    }
}

pub fn revision(writes: &BTreeSet<usize>, reads: &BTreeSet<usize>) -> String {
    format!("{writes:?} {reads:?}")
}

impl Rendering for Small {
    type Body = Body;

    fn render(&self, decision: &Decision, _: &Outputs) -> Option<Rendered<Body>> {
        let plan = &decision.state.decided()?.plan;
        let (writes, reads) = (members(&plan.rw), members(&plan.ro));
        Some(Rendered {
            revision: revision(&writes, &reads),
            objects: vec![wanted(Slot::Writes, writes), wanted(Slot::Reads, reads)],
            too_large: Vec::new(),
        })
    }

    /// The memory, the revision that is written, and who was seen as a standby.
    fn status(
        &self,
        report: &Report<'_>,
        previous: &ReplicaSetPolicyStatus,
        now: &Time,
    ) -> ReplicaSetPolicyStatus {
        let known = previous.observed_generation == Some(report.generation);
        if known && report.written == WriteOutcome::Waiting {
            return previous.clone();
        }
        let mut status = ReplicaSetPolicyStatus {
            observed_generation: Some(report.generation),
            ..previous.clone()
        };
        let Some(decision) = report
            .decision
            .filter(|_| report.written != WriteOutcome::Waiting)
        else {
            return status;
        };
        status.memory = carried(decision, status.memory.as_ref()).or(status.memory);
        let views = decision.state.endpoints().unwrap_or_default();
        status.endpoints = views.iter().map(|view| endpoint(view, now)).collect();
        if let (Some(revision), WriteOutcome::Programmed) = (report.revision, &report.written) {
            status.routing = Some(RoutingStatus {
                revision: revision.to_owned(),
                ..RoutingStatus::default()
            });
        }
        status
    }

    fn unowned(&self, wanted: &Wanted<Body>) -> Wanted<Body> {
        wanted.clone()
    }
}

fn endpoint(view: &EndpointView, now: &Time) -> EndpointStatus {
    EndpointStatus {
        id: view.id.to_string(),
        host: None,
        address: None,
        port: None,
        server: ServerStatus {
            seen_as_standby: view.state.seen_as_standby,
            ..ServerStatus::default()
        },
        sessions: None,
        targets: Vec::new(),
        since: now.clone(),
    }
}

/// Who wrote an object last.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Writer {
    Operator,
    /// A person, who leaves it to the policy.
    Person,
    /// Its owner, who is not the policy.
    Other,
}

#[derive(Clone, Debug, Hash)]
pub struct Object {
    uid: Number,
    version: Number,
    by: Writer,
    pub servers: BTreeSet<usize>,
}

impl Object {
    /// Whether the policy controls it.
    pub fn is_ours(&self) -> bool {
        self.by != Writer::Other
    }
}

#[derive(Clone, Debug, Hash)]
enum Change {
    Object(Slot, Option<Object>),
    Status(Arc<ReplicaSetPolicyStatus>),
}

#[derive(Clone, Debug, Hash)]
pub struct Api {
    head: Number,
    objects: [Option<Object>; 2],
    pub status: Arc<ReplicaSetPolicyStatus>,
    status_version: Number,
    /// What some watch has not shown yet.
    history: Vec<(Number, Change)>,
    pub lease: Option<LeaseRecord>,
}

fn version(number: Number) -> Version {
    Version::new(number.0.to_string())
}

fn uid(number: Number) -> String {
    format!("uid of version {}", number.0)
}

pub fn refused() -> Answer<Body> {
    Answer::Refused {
        refusal: Refusal::new("Conflict", "it is another one by now"),
        code: 409,
        retry_after: None,
    }
}

pub fn unknown() -> Answer<Body> {
    Answer::Unknown {
        refusal: Refusal::new("Deadline", "no answer"),
        retry_after: None,
    }
}

impl Api {
    /// A policy of which nothing is written but slices as they should be.
    pub fn new() -> Self {
        let object = |servers: &[usize], number| Object {
            uid: Number(number),
            version: Number(number),
            by: Writer::Operator,
            servers: servers.iter().copied().collect(),
        };
        Self {
            head: Number(3),
            objects: [Some(object(&[0], 1)), Some(object(&[1, 2], 2))],
            status: Arc::new(ReplicaSetPolicyStatus::default()),
            status_version: Number(3),
            history: Vec::new(),
            lease: None,
        }
    }

    pub const fn head(&self) -> Number {
        self.head
    }

    /// The versions of what the policy has in the cluster.
    pub fn written(&self) -> (Number, [Option<Number>; 2]) {
        let version = |slot| self.get(slot).map(|object| object.version);
        (self.status_version, Slot::ALL.map(version))
    }

    pub fn status_version(&self) -> Version {
        version(self.status_version)
    }

    pub const fn get(&self, slot: Slot) -> Option<&Object> {
        self.objects[slot as usize].as_ref()
    }

    /// The servers of a route.
    pub fn servers(&self, slot: Slot) -> BTreeSet<usize> {
        let ours = self.get(slot).filter(|object| object.is_ours());
        ours.map(|object| object.servers.clone()).unwrap_or_default()
    }

    /// The server that is remembered as the one that takes the writes.
    pub fn remembered(&self) -> Option<usize> {
        let holder = self.status.memory.as_ref()?.holder.as_ref()?;
        NAMES.iter().position(|name| *name == holder.endpoint)
    }

    /// Whether something was not shown yet by a watch that has shown everything up to `cursor`.
    pub fn shows(&self, cursor: Number) -> bool {
        self.history.last().is_some_and(|(version, _)| *version > cursor)
    }

    /// All watches have shown everything up to here.
    pub fn forget(&mut self, cursor: Number) {
        self.history.retain(|(version, _)| *version > cursor);
    }

    fn next(&mut self, change: Change) {
        self.history.push((self.head, change));
    }

    fn number(&mut self) -> Number {
        self.head.0 += 1;
        self.head
    }

    pub fn put(&mut self, slot: Slot, servers: BTreeSet<usize>, by: Writer) {
        let number = self.number();
        let before = self.objects[slot as usize]
            .as_ref()
            .filter(|object| object.is_ours() == (by != Writer::Other));
        let object = Object {
            uid: before.map_or(number, |object| object.uid),
            version: number,
            by,
            servers,
        };
        self.objects[slot as usize] = Some(object.clone());
        self.next(Change::Object(slot, Some(object)));
    }

    pub fn delete(&mut self, slot: Slot) {
        self.number();
        self.objects[slot as usize] = None;
        self.next(Change::Object(slot, None));
    }

    /// What a watch shows after `cursor`.
    pub fn watched(&self, cursor: Number) -> Vec<Input<Body>> {
        let new = self.history.iter().filter(|(version, _)| *version > cursor);
        new.map(|(number, change)| shown(*number, change)).collect()
    }

    /// What a first list shows.
    pub fn listed(&self) -> Vec<Input<Body>> {
        let there = Slot::ALL
            .into_iter()
            .filter_map(|slot| Some((slot, self.get(slot)?)));
        let objects = there.map(|(slot, object)| Input::Seen(Box::new(observed(slot, object))));
        objects.collect()
    }

    fn reading(&self) -> Answer<Body> {
        Answer::Policy(Some(Box::new(PolicyReading {
            uid: UID.to_owned(),
            version: self.status_version(),
            status: (*self.status).clone(),
        })))
    }

    fn object(&self, id: &ObjectId) -> Answer<Body> {
        let slot = Slot::of(id);
        let found = slot.and_then(|slot| Some(observed(slot, self.get(slot)?)));
        Answer::Object(found.map(Box::new))
    }

    /// Whether a slice is the object that was seen.
    fn is(&self, slot: Slot, seen: Option<&(String, Version)>) -> bool {
        let is = self
            .get(slot)
            .map(|object| (uid(object.uid), version(object.version)));
        is.is_some() && is.as_ref() == seen
    }

    pub fn carry_out(&mut self, call: &Call<Body>) -> Answer<Body> {
        match call {
            Call::GetPolicy => self.reading(),
            Call::Get { id } => self.object(id),
            Call::PutStatus { version, .. } if *version != self.status_version() => refused(),
            Call::PutStatus { status, .. } => {
                self.status = Arc::new((**status).clone());
                self.status_version = self.number();
                self.next(Change::Status(Arc::clone(&self.status)));
                self.reading()
            }
            Call::Create { id, body } => {
                let slot = Slot::of(id).expect("a slice");
                if self.get(slot).is_some() {
                    return refused();
                }
                self.put(slot, body.servers.clone(), Writer::Operator);
                self.object(id)
            }
            Call::Put { id, onto, wanted } => {
                let slot = Slot::of(id).expect("a slice");
                if !self.is(slot, onto.seen.as_ref()) {
                    return refused();
                }
                self.put(slot, wanted.servers.clone(), Writer::Operator);
                self.object(id)
            }
            Call::Delete { id, uid, version } => {
                let slot = Slot::of(id).expect("a slice");
                if !self.is(slot, Some(&(uid.clone(), version.clone()))) {
                    return refused();
                }
                self.delete(slot);
                Answer::Object(None)
            }
        }
    }

    /// A request about the Lease.
    pub fn lend(&mut self, call: &LeaseCall) -> LeaseAnswer {
        let held = self.lease.as_ref().map(|lease| lease.version.clone());
        let record = match call {
            LeaseCall::Read => return LeaseAnswer::Lease(self.lease.clone()),
            LeaseCall::Create(_) if held.is_some() => return LeaseAnswer::Conflict,
            LeaseCall::Update(record) if held.as_ref() != Some(&record.version) => {
                return LeaseAnswer::Conflict;
            }
            LeaseCall::Create(record) | LeaseCall::Update(record) => record.clone(),
        };
        let version = Some(version(self.number()));
        self.lease = Some(LeaseRecord { version, ..record });
        LeaseAnswer::Lease(self.lease.clone())
    }
}

fn observed(slot: Slot, object: &Object) -> ObservedObject<Body> {
    ObservedObject {
        namespace: NAMESPACE.to_owned(),
        id: slot.id(),
        uid: uid(object.uid),
        version: version(object.version),
        policy: object.is_ours().then(|| UID.to_owned()),
        owned: object.is_ours(),
        lost_by: None,
        digest: digest(&object.servers),
        fixed: false,
        by_operator: object.by == Writer::Operator,
        slice: Some(slot.facts(&object.servers)),
        body: Body {
            seen: Some((uid(object.uid), version(object.version))),
            servers: object.servers.clone(),
        },
    }
}

fn shown(number: Number, change: &Change) -> Input<Body> {
    match change {
        Change::Object(slot, Some(object)) => Input::Seen(Box::new(observed(*slot, object))),
        Change::Object(slot, None) => Input::Lost {
            place: Place {
                namespace: NAMESPACE.to_owned(),
                id: slot.id(),
            },
            version: version(number),
        },
        Change::Status(status) => Input::StatusSeen {
            key: key(),
            uid: UID.to_owned(),
            version: version(number),
            status: Box::new((**status).clone()),
        },
    }
}
