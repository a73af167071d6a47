//! A simulated API server, the clock, and what was asked for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::render::merge::merge;
use crate::render::reading::{Text, Version, observed};
use crate::render::status::Refusal;
use crate::writing::*;
use distributary_api::ReplicaSetPolicyStatus;
use distributary_api::validate::Declaration;
use distributary_core::decision::{Decision, DecisionState, RouteDecision};
use distributary_core::fixture;
use distributary_core::health::Reason;
use distributary_core::ids::{EndpointId, TargetId};
use distributary_core::outputs::{MOST_BYTES, Outputs};
use distributary_core::plan::{Admission, Member, Route, RouteState, RoutingPlan};
use distributary_core::policy::{DeclaredRole, Mode};
use distributary_core::transition::Transition;
use distributary_core::write_primary::{Holding, IdentityChange};

/// Where the writes go and who serves the reads, by the last octet of 198.18.0.0.
#[derive(Clone, Debug)]
pub struct Routes {
    writes: (u8, u16),
    reads: Vec<u8>,
}

pub fn with(writes: u8, reads: &[u8]) -> Routes {
    Routes {
        writes: (writes, 5432),
        reads: reads.to_vec(),
    }
}

/// The writes go to another server, which listens on another port.
pub fn on_port(writes: u8, port: u16) -> Routes {
    Routes {
        writes: (writes, port),
        reads: vec![1],
    }
}

/// The writes are withdrawn from the holder, which a standby has become.
pub fn nowhere() -> Routes {
    Routes {
        writes: (0, 5432),
        reads: vec![1, 2],
    }
}

fn id(last: u8) -> EndpointId {
    EndpointId::from(if last == 2 { "a" } else { "primary" })
}

fn route(servers: &[(u8, u16)]) -> Route {
    let member = |(last, port): &(u8, u16)| Member {
        target: TargetId::host(id(*last)),
        address: [198, 18, 0, *last].into(),
        port: *port,
        weight: 100,
        in_slice: true,
        in_uris: true,
        carried: true,
        order: 0,
        admission: Admission::Eligible,
    };
    Route {
        state: if servers.is_empty() {
            RouteState::Empty
        } else {
            RouteState::Served
        },
        members: servers.iter().map(member).collect(),
    }
}

impl Routes {
    fn state(&self) -> DecisionState {
        let reads: Vec<_> = self.reads.iter().map(|last| (*last, 5432)).collect();
        let view = |last: u8, declared| distributary_core::decision::EndpointView {
            declared,
            address: Some([198, 18, 0, last].into()),
            ..fixture::view(id(last).as_str())
        };
        DecisionState::Decided(Box::new(RouteDecision {
            plan: RoutingPlan {
                rw: if self.writes.0 == 0 {
                    route(&[])
                } else {
                    route(&[self.writes])
                },
                ro: route(&reads),
                ..RoutingPlan::default()
            },
            endpoints: vec![view(1, DeclaredRole::Primary), view(2, DeclaredRole::Replica)],
            holding: Holding {
                identity: Some(7),
                holder: Some(TargetId::host(id(self.writes.0))),
                timeline: Some(3),
                ..Holding::default()
            },
            split: Vec::new(),
            changed: None,
            unproven: false,
            proven: true,
            warm: true,
            found: None,
        }))
    }
}

/// What becomes of requests whose line begins with a text.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// Refused with this code.
    Refused(u16),
    /// Carried out, and the answer is lost.
    AnswerLost,
    /// Not carried out, and no answer.
    Lost,
    /// Neither answered nor lost yet.
    Hangs,
    /// Not sent, as too little of the lease was left.
    Unsent,
}

pub struct Bench {
    pub writing: Writing<WholeObjects>,
    pub server: Server,
    pub now: Now,
    mode: Mode,
    pub outputs: Outputs,
    /// The ConfigMap of the routes would hold more than it can.
    pub large: bool,
    /// The policy is being deleted.
    pub deleting: bool,
    under_way: VecDeque<Request<Text>>,
    log: Vec<String>,
    notices: Vec<String>,
    pub recalled: u64,
    /// Memories that the engine has not taken in.
    pub unconsidered: u64,
    /// The servers of the route of the writes, as it told of them last.
    pub found: Option<BTreeSet<SocketAddr>>,
    faults: Vec<(String, Fault)>,
    /// Writes that another operator undid.
    pub undone: usize,
    /// How often it told that the API server drops who wrote the status.
    pub unsigned: usize,
    /// The version of the server that watches showed last.
    shown: u64,
}

/// Objects and the policy as the API server has them.
#[derive(Clone, Default)]
pub struct Server {
    version: u64,
    pub objects: BTreeMap<Place, Value>,
    pub status: ReplicaSetPolicyStatus,
    pub policy_version: u64,
    /// Whether the CRD knows no memory.
    pub forgets_memory: bool,
    /// Whether the CRD, of an earlier version, knows not who wrote a memory.
    pub forgets_author: bool,
    /// An object that a webhook changes: the endpoints of a slice, and whether a ConfigMap is immutable.
    pub undoes: Option<String>,
    /// Whether it says that there is no such policy.
    pub hides_policy: bool,
}

const UID: &str = "uid-1";

pub fn now(seconds: u64) -> Now {
    Now {
        moment: Moment::new(Duration::from_secs(seconds)),
        wall: Timestamp::from_second(1_750_000_000 + i64::try_from(seconds).unwrap()).unwrap(),
    }
}

impl Bench {
    /// A process that leads, and knows nothing.
    pub fn new() -> Self {
        Self::of(Mode::Enforce)
    }

    pub fn of(mode: Mode) -> Self {
        Self::on(Server::default(), mode)
    }

    /// A process that has read everything that a server has.
    pub fn on(server: Server, mode: Mode) -> Self {
        let mut bench = Self::of_installation(server, mode, Installation::default());
        bench.take(Input::Leads { until: None });
        bench.echo();
        bench
    }

    /// A process that leads by this Lease, and has read everything that a server has.
    pub fn of_lease(server: Server, lease: &str) -> Self {
        let installation = Installation {
            lease: Some(lease.to_owned()),
            ..Installation::default()
        };
        let mut bench = Self::of_installation(server, Mode::Enforce, installation);
        bench.begins();
        bench.echo();
        bench
    }

    fn of_installation(server: Server, mode: Mode, installation: Installation) -> Self {
        Self {
            writing: Writing::new(WholeObjects).of(installation),
            server,
            now: now(1000),
            mode,
            outputs: fixture::outputs(),
            large: false,
            deleting: false,
            under_way: VecDeque::new(),
            log: Vec::new(),
            notices: Vec::new(),
            recalled: 0,
            unconsidered: 0,
            found: None,
            faults: Vec::new(),
            undone: 0,
            unsigned: 0,
            shown: 0,
        }
    }

    /// A policy whose routes are written: the primary and one replica.
    pub fn routed() -> Self {
        let mut bench = Self::new();
        bench.declare();
        bench.decide(with(1, &[2]));
        bench.serve();
        bench.pass(1);
        bench.log();
        bench.notices();
        bench
    }

    pub fn take(&mut self, input: Input<Text>) {
        self.advance([input]);
    }

    /// The process begins to lead by a lease.
    pub fn begins(&mut self) {
        let until = Some(self.now.moment + Duration::from_secs(3600));
        self.take(Input::Leads { until });
    }

    /// The only server of a slice is this one by now, and no watch has shown it.
    pub fn edit(&mut self, slice: &str, server: &str) {
        let found = self
            .server
            .objects
            .iter()
            .find(|(place, _)| place.id.name == slice);
        let (place, mut object) = found
            .map(|(place, object)| (place.clone(), object.clone()))
            .unwrap();
        object["endpoints"][0]["addresses"][0] = json!(server);
        self.server.put_as("kubectl-edit", place, object);
    }

    /// Someone edits the policy, and no watch has shown it.
    pub fn touch_policy(&mut self) {
        let status = self.server.status.clone();
        self.server.write_status(status);
    }

    /// Another process of the installation begins to lead, which has seen the same.
    pub fn changes_leader(&mut self) {
        self.take(Input::Follows);
        self.begins();
    }

    /// Someone takes a part of an object away, and no watch has shown it. Of such a write the API server keeps no name: the newest
    /// one that it tells stays that of the operator.
    pub fn take_away(&mut self, kind: Kind, name: &str, pointer: &str) {
        let mut all = self.server.objects.iter();
        let found = all.find(|(place, _)| place.id.kind == kind && place.id.name == name);
        let (place, mut object) = found
            .map(|(place, object)| (place.clone(), object.clone()))
            .unwrap();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/");
        let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
        parent.unwrap().remove(&key).unwrap();
        let version = self.server.next();
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        self.server.objects.insert(place, object);
    }

    fn advance(&mut self, inputs: impl IntoIterator<Item = Input<Text>>) {
        for effect in self.writing.advance(inputs, self.now) {
            match effect {
                Effect::Request(request) => self.under_way.push_back(request),
                Effect::Event { notice, .. } => self.notices.push(notice.reason),
                Effect::Recall { .. } => self.recalled += 1,
                Effect::Found { servers, .. } => self.found = Some(servers),
                Effect::Unsigned => self.unsigned += 1,
                Effect::Figure(Figure::Undone) => self.undone += 1,
                Effect::Figure(_) => {}
            }
        }
    }

    fn declaration(&self, generation: i64) -> Declaration {
        let mut case = fixture::policy(&["a"]);
        case.generation = generation;
        case.mode = self.mode;
        if self.large {
            case.endpoints[1].display_name = Some("x".repeat(MOST_BYTES));
        }
        Declaration {
            policy: case.policy(),
            resolved: case.resolved(),
            outputs: Arc::new(self.outputs.clone()),
        }
    }

    fn declared(&self, generation: i64) -> Declared {
        let valid = self.declaration(generation);
        Declared {
            key: valid.policy.key.clone(),
            uid: UID.to_owned(),
            generation,
            deleting: self.deleting,
            valid: Some(valid),
            problems: Vec::new(),
            unresolved: Vec::new(),
            status: self.server.status.clone(),
            version: Version::new(self.server.policy_version.to_string()),
        }
    }

    pub fn declare(&mut self) {
        self.declare_generation(1);
    }

    pub fn declare_generation(&mut self, generation: i64) {
        let declared = self.declared(generation);
        self.take(Input::Declared(Box::new(declared)));
    }

    pub fn declare_invalid(&mut self, problem: &str) {
        let mut declared = self.declared(1);
        declared.valid = None;
        declared.problems = vec![problem.to_owned()];
        self.take(Input::Declared(Box::new(declared)));
    }

    pub fn gone(&mut self) {
        let key = self.declaration(1).policy.key.clone();
        self.take(Input::Gone { key });
    }

    pub fn decide(&mut self, routes: Routes) {
        self.decide_generation(1, routes);
    }

    /// The holder shows another database than before, and nobody may follow.
    pub fn decide_changed(&mut self, routes: Routes) {
        let mut state = routes.state();
        if let DecisionState::Decided(decided) = &mut state {
            decided.proven = false;
            decided.changed = Some(IdentityChange {
                known: 7,
                disputed: false,
                shown: Some(8),
            });
        }
        self.decide_state(1, state);
    }

    pub fn decide_as(&mut self, mode: Mode, routes: Routes) {
        self.mode = mode;
        self.decide(routes);
    }

    pub fn decide_generation(&mut self, generation: i64, routes: Routes) {
        self.decide_state(generation, routes.state());
    }

    pub fn decide_state(&mut self, generation: i64, state: DecisionState) {
        let Declaration { policy, resolved, .. } = self.declaration(generation);
        let key = policy.key.clone();
        let decision = Arc::new(Decision {
            policy,
            resolved,
            state,
            answered: None,
            recalled: self.recalled - self.unconsidered,
        });
        let transitions = vec![Transition::Endpoint {
            id: id(2),
            from: Some(Reason::Serving),
            to: Reason::Suspect,
            despite: None,
            excess: None,
            failure: None,
            eligible: false,
        }];
        self.take(Input::Decided {
            key,
            decision,
            transitions,
        });
    }

    /// So many requests of other policies of the namespace are under way, without an end.
    pub fn crowd(&mut self, requests: usize) {
        for _ in 0..requests {
            self.writing.places.writes.take("shop", self.now.moment);
        }
    }

    /// One of these requests has failed, and another one takes its place.
    pub fn crowd_fails(&mut self) {
        let writes = &mut self.writing.places.writes;
        writes.release("shop", false, None);
        writes.take("shop", self.now.moment);
    }

    /// The oldest of the writes that hang has failed: nobody knows whether it was done.
    pub fn lose_the_oldest(&mut self) {
        let faults = self.faults.clone();
        let hangs = |line: &String| matches!(self.fault_of(line), Some(Fault::Hangs));
        if let Some(oldest) = self.requests().into_iter().find(hangs) {
            self.faults.insert(0, (oldest, Fault::Lost));
        }
        self.serve_now();
        self.faults = faults;
    }

    /// All that other policies of the namespace may log is under way; or no more.
    pub fn crowd_of_logs(&mut self, under_way: bool) {
        for _ in 0..16 {
            if under_way {
                self.writing.places.logs.take("shop", self.now.moment);
            } else {
                self.writing.places.logs.release("shop", false, None);
            }
        }
    }

    /// A new list has ended, which showed what the server has, but for this object.
    pub fn list_without(&mut self, kind: Kind, name: &str) {
        let is_listed = |place: &&Place| place.id.kind == kind && place.id.name != name;
        let places = self.server.objects.keys().filter(is_listed).cloned().collect();
        self.take(Input::Listed {
            kind,
            namespace: None,
            places,
        });
    }

    /// The process ends at its `n`-th request from now: before it is carried out, or after; whether there is such a request.
    pub fn ends_at(&mut self, n: usize, after: bool) -> bool {
        for _ in 1..n {
            if !self.serve_one() {
                return false;
            }
            self.wait_for_a_request();
        }
        !self.requests().is_empty() && (!after || self.serve_one())
    }

    /// The watches show everything.
    pub fn echo(&mut self) {
        for (place, object) in self.server.objects.clone() {
            self.take(Input::Seen(Box::new(observed(place.id.kind, object))));
        }
        self.see_status();
    }

    /// Until `end`, it is served and sees what others wrote.
    pub fn live_to(&mut self, end: Now) {
        self.now = end;
        self.advance([]);
        if self.shown != self.server.version {
            self.shown = self.server.version;
            self.echo();
        }
        self.serve_now();
    }

    /// The watch shows the policy's status.
    pub fn see_status(&mut self) {
        let Declared {
            key,
            uid,
            version,
            status,
            ..
        } = self.declared(1);
        self.take(Input::StatusSeen {
            key,
            uid,
            version,
            status: Box::new(status),
        });
    }

    /// Requests whose line begins with `line` end so.
    pub fn fault(&mut self, line: &str, fault: Fault) {
        self.faults.push((line.to_owned(), fault));
    }

    pub fn mend(&mut self) {
        self.faults.clear();
    }

    /// What is under way.
    pub fn requests(&self) -> Vec<String> {
        self.under_way.iter().map(|request| line(&request.call)).collect()
    }

    /// Answers one request; whether there was one.
    pub fn serve_one(&mut self) -> bool {
        let hangs =
            |request: &Request<Text>| matches!(self.fault_of(&line(&request.call)), Some(Fault::Hangs));
        let Some(at) = self.under_way.iter().position(|request| !hangs(request)) else {
            return false;
        };
        let Some(request) = self.under_way.remove(at) else {
            return false;
        };
        let line = line(&request.call);
        let fault = self.fault_of(&line);
        self.log.push(line);
        let lost = || Answer::Unknown {
            refusal: Refusal::new("Deadline", "no answer"),
            retry_after: None,
        };
        let answer = match fault {
            Some(Fault::Refused(code)) => refused(code, "so it is"),
            Some(Fault::AnswerLost) => {
                self.server.carry_out(request.call);
                lost()
            }
            Some(Fault::Lost) => lost(),
            Some(Fault::Unsent) => Answer::Unsent,
            Some(Fault::Hangs) | None => self.server.carry_out(request.call),
        };
        let flight = request.flight;
        self.take(Input::Answered { flight, answer });
        true
    }

    /// Takes the oldest request that is under way off the line: it arrives when [`Server::carry_out`] is called, and its answer
    /// when it is handed to the desk.
    pub fn delay(&mut self) -> Request<Text> {
        self.under_way.pop_front().unwrap()
    }

    /// The answer to a request that was delayed.
    pub fn answer_late(&mut self, request: Request<Text>) {
        let answer = self.server.carry_out(request.call);
        let flight = request.flight;
        self.take(Input::Answered { flight, answer });
    }

    fn fault_of(&self, line: &str) -> Option<Fault> {
        let found = self
            .faults
            .iter()
            .find(|(begin, _)| line.starts_with(begin.as_str()));
        found.map(|(_, fault)| *fault)
    }

    /// Answers what is under way, and what follows at the same moment.
    pub fn serve_now(&mut self) {
        for _ in 0..200 {
            if !self.serve_one() {
                return;
            }
        }
        panic!("no end: {:?}", self.log);
    }

    /// Answers everything, a millisecond each, and what follows within a tenth of a second.
    pub fn serve(&mut self) {
        for _ in 0..200 {
            self.now.moment = self.now.moment + Duration::from_millis(1);
            if self.serve_one() {
                continue;
            }
            let soon = self.now.moment + Duration::from_millis(100);
            match self.writing.deadline().filter(|at| *at <= soon) {
                Some(at) => self.now.moment = at.max(self.now.moment),
                None => return,
            }
            self.advance([]);
            if self.under_way.is_empty() {
                return;
            }
        }
        panic!("no end: {:?}", self.log);
    }

    /// Where nothing is under way: until the next request, within a second.
    pub fn wait_for_a_request(&mut self) {
        let end = self.now.moment + Duration::from_secs(1);
        while self.under_way.is_empty() {
            let Some(at) = self.writing.deadline().filter(|at| *at <= end) else {
                return;
            };
            self.now.moment = at.max(self.now.moment);
            self.advance([]);
        }
    }

    /// Lets time pass, and serves what is asked for meanwhile.
    pub fn pass(&mut self, seconds: u64) {
        let end = self.now.moment + Duration::from_secs(seconds);
        for _ in 0..2000 {
            self.serve_now();
            let due = self.writing.deadline().filter(|at| *at <= end);
            self.now.moment = due.map_or(end, |at| at.max(self.now.moment));
            self.advance([]);
            if due.is_none() {
                return;
            }
        }
        panic!("no rest: {:?}", self.log);
    }

    /// What was asked for since the last look.
    pub fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    pub fn notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// The reason of a condition.
    pub fn condition(&self, type_: &str) -> String {
        let all = &self.server.status.conditions;
        let found = all.iter().find(|condition| condition.type_ == type_);
        found.map_or_else(|| "none".to_owned(), |condition| condition.reason.clone())
    }

    pub fn message(&self, type_: &str) -> String {
        let all = &self.server.status.conditions;
        let found = all.iter().find(|condition| condition.type_ == type_);
        found.map_or_else(String::new, |condition| condition.message.clone())
    }

    /// The servers in a slice.
    pub fn servers(&self, slice: &str) -> Vec<String> {
        let object = self
            .server
            .objects
            .iter()
            .find(|(place, _)| place.id.name == slice);
        let endpoints = object.and_then(|(_, object)| object["endpoints"].as_array());
        endpoints
            .into_iter()
            .flatten()
            .map(|endpoint| endpoint["addresses"][0].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}

pub fn refused(code: u16, message: &str) -> Answer<Text> {
    Answer::Refused {
        refusal: Refusal::new(if code == 403 { "Forbidden" } else { "ServerError" }, message),
        code,
        retry_after: None,
    }
}

/// A request in words.
fn line(call: &Call<Text>) -> String {
    match call {
        Call::PutStatus { status, .. } => {
            match status.conditions.iter().find(|it| it.type_ == "Programmed") {
                Some(programmed) if is_report(status) => format!("status {}", programmed.reason),
                _ => {
                    let memory = status.memory.clone().unwrap_or_default();
                    let holder = memory.holder.unwrap_or_default().endpoint;
                    format!("status memory {holder} {}", memory.timeline.unwrap_or_default())
                }
            }
        }
        Call::GetPolicy => "get policy".to_owned(),
        other => format!(
            "{} {}",
            other.verb(),
            other.object().map(ToString::to_string).unwrap_or_default()
        ),
    }
}

/// A status that tells the memory alone is one that told another route of the writes.
fn is_report(status: &ReplicaSetPolicyStatus) -> bool {
    let holder = status.memory.as_ref().and_then(|memory| memory.holder.as_ref());
    match (&status.primary, holder) {
        (Some(primary), Some(holder)) => primary.id == holder.endpoint,
        (None, Some(_)) => false,
        _ => true,
    }
}

impl Server {
    fn next(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// An operator writes.
    pub fn put(&mut self, place: Place, object: Value) {
        self.put_as("distributary", place, object);
    }

    pub fn put_as(&mut self, manager: &str, place: Place, mut object: Value) {
        let version = self.next();
        let seconds = Timestamp::from_second(1_750_000_000 + i64::try_from(version).unwrap()).unwrap();
        object["metadata"]["managedFields"] = json!([
            {"manager": "kube-controller-manager", "time": "2025-01-01T00:00:00Z"},
            {"manager": manager, "time": seconds.to_string()},
        ]);
        if self.undoes.as_ref() == Some(&place.id.name) {
            match place.id.kind {
                Kind::ConfigMap => object["immutable"] = json!(true),
                _ => object["endpoints"] = json!([{"addresses": ["203.0.113.9"]}]),
            }
        }
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object["metadata"]["namespace"] = json!(place.namespace);
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("uid of {} {version}", place.id.name));
        }
        self.objects.insert(place, object);
    }

    pub fn write_status(&mut self, mut status: ReplicaSetPolicyStatus) {
        if self.forgets_memory {
            status.memory = None;
        }
        if let Some(memory) = status.memory.as_mut().filter(|_| self.forgets_author) {
            (memory.author, memory.term) = (None, None);
        }
        self.policy_version = self.next();
        self.status = status;
    }

    fn shown(&self, place: &Place) -> Answer<Text> {
        let object = self.objects.get(place).cloned();
        Answer::Object(object.map(|object| Box::new(observed(place.id.kind, object))))
    }

    /// As after a restore of etcd: everything is as it was, at smaller versions.
    pub fn restore(&mut self) {
        self.version = 0;
        for object in self.objects.values_mut() {
            self.version += 1;
            object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        }
        self.policy_version = self.next();
    }

    fn policy(&self) -> Answer<Text> {
        if self.hides_policy {
            return Answer::Policy(None);
        }
        Answer::Policy(Some(Box::new(PolicyReading {
            uid: UID.to_owned(),
            version: Version::new(self.policy_version.to_string()),
            status: self.status.clone(),
        })))
    }

    pub fn carry_out(&mut self, call: Call<Text>) -> Answer<Text> {
        let tree = |text: &Text| serde_json::from_str::<Value>(text).unwrap();
        let place = |id: &ObjectId| Place {
            namespace: "shop".to_owned(),
            id: id.clone(),
        };
        match call {
            Call::Create { id, body } => {
                if self.objects.contains_key(&place(&id)) {
                    return refused(409, "it exists");
                }
                self.put(place(&id), tree(&body));
                self.shown(&place(&id))
            }
            Call::Put { id, onto, wanted } => {
                let body = merge(id.kind, tree(&onto), &tree(&wanted));
                let same = |is: &Value| {
                    ["uid", "resourceVersion"]
                        .iter()
                        .all(|field| is["metadata"][field] == body["metadata"][field])
                };
                if !self.objects.get(&place(&id)).is_some_and(same) {
                    return refused(409, "it changed");
                }
                self.put(place(&id), body);
                self.shown(&place(&id))
            }
            Call::Delete { id, uid, version } => {
                let same = |is: &Value| {
                    is["metadata"]["uid"] == uid && is["metadata"]["resourceVersion"] == version.as_str()
                };
                if !self.objects.get(&place(&id)).is_some_and(same) {
                    return refused(409, "it changed");
                }
                self.objects.remove(&place(&id));
                Answer::Object(None)
            }
            Call::Get { id } => self.shown(&place(&id)),
            Call::PutStatus { version, status, .. } => {
                if version.as_str() != self.policy_version.to_string() {
                    return refused(409, "it changed");
                }
                self.write_status(*status);
                self.policy()
            }
            Call::GetPolicy => self.policy(),
        }
    }
}
