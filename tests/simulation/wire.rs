//! What one process asked of the API server, and what it heard of it: the rules of requests, on which S6 rests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributary::render::reading::{Text, Version};
use distributary::render::status::agree;
use distributary::render::{Kind, ObjectId};
use distributary::writing::{Answer, Call, FlightId};
use distributary_api::{MemoryStatus, ReplicaSetPolicyStatus};

use super::laws::{FAILOVER_TIMEOUT, holder};

/// What a request is about; `None`: the policy.
type Subject = Option<ObjectId>;

#[derive(Debug)]
struct Flight {
    subject: Subject,
    sent: Duration,
    is_read: bool,
    /// The holder that it logs.
    logs: Option<String>,
}

#[derive(Debug, Default)]
pub struct Wire {
    under_way: BTreeMap<FlightId, Flight>,
    /// How these are must be read before they are written again.
    unsure: BTreeSet<Subject>,
    /// When the newest request about it was sent that was answered.
    known: BTreeMap<Subject, Duration>,
    /// The newest status that it was shown: its version, and what it remembers.
    version: u64,
    memory: Option<MemoryStatus>,
    /// The newest versions of objects that it was shown.
    objects: BTreeMap<ObjectId, u64>,
    /// What it wrote last is to be remembered.
    sent: Option<MemoryStatus>,
    /// Recalls that its engine has not taken in yet.
    pub recalls: usize,
    /// The holder that it wants to be remembered, and since when.
    logs: Option<(String, Duration)>,
    /// When it took the lease.
    leads: Option<Duration>,
    /// Since then it decided as the memory says that it was shown: what it chooses later is its own choice as the leader.
    agreed: bool,
    /// Until when its lease is, as the API server knows it.
    pub lease: Option<Duration>,
    /// When it had asked last for something that was done.
    succeeded: Option<Duration>,
}

fn number(version: &Version) -> u64 {
    version.as_str().parse().unwrap_or_default()
}

const fn is_read(call: &Call<Text>) -> bool {
    matches!(call, Call::Get { .. } | Call::GetPolicy)
}

impl Wire {
    /// Whether a request about a slice of this Service has no answer yet.
    pub fn awaits(&self, service: &str) -> bool {
        let mut subjects = self
            .under_way
            .values()
            .filter_map(|flight| flight.subject.as_ref());
        subjects.any(|id| id.kind == Kind::EndpointSlice && id.name.starts_with(service))
    }

    /// The memory in the newest status that it was shown.
    pub const fn memory(&self) -> Option<&MemoryStatus> {
        self.memory.as_ref()
    }

    /// The address of the server that it was shown to be remembered as the one that takes the writes.
    pub fn holder(&self) -> Option<&str> {
        self.memory.as_ref()?.holder.as_ref()?.address.as_deref()
    }

    pub fn shown(&mut self, version: &Version, status: &ReplicaSetPolicyStatus) {
        if number(version) >= self.version {
            (self.version, self.memory) = (number(version), status.memory.clone());
        }
    }

    pub fn shown_object(&mut self, id: &ObjectId, version: &Version) {
        let known = self.objects.entry(id.clone()).or_default();
        *known = number(version).max(*known);
    }

    /// Whether what it writes rests on the newest that it was shown.
    fn is_newest(&self, call: &Call<Text>) -> bool {
        let onto = |text: &Text| {
            let tree: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            tree["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|version| version.parse().ok())
        };
        let newest = |id| self.objects.get(id).copied();
        match call {
            Call::Put { id, onto: seen, .. } => onto(seen) >= newest(id),
            Call::Delete { id, version, .. } => Some(number(version)) >= newest(id),
            Call::PutStatus { version, .. } => number(version) >= self.version,
            _ => true,
        }
    }

    /// It took the lease.
    pub fn leads(&mut self, now: Duration) {
        (self.leads, self.agreed) = (Some(now), false);
    }

    /// Its newest decision names this server.
    pub fn decided(&mut self, holder: Option<&str>) {
        self.agreed |= self.leads.is_some() && holder.is_some() && holder == self.holder();
    }

    /// It sends a request.
    pub fn sends(&mut self, flight: FlightId, call: &Call<Text>, now: Duration) -> Result<(), String> {
        let subject = call.object().cloned();
        let words = || super::run::words(call);
        let other = self.under_way.values().find(|other| other.subject == subject);
        if let Some(other) = other {
            return Err(format!(
                "S6 (one request about an object): {now:?} {} while one of {:?} is under way",
                words(),
                other.sent
            ));
        }
        if !is_read(call) {
            self.writes(&subject, call, now)
                .map_err(|broken| format!("{broken}: {now:?} {}", words()))?;
        }
        let logs = match call {
            Call::PutStatus { status, .. } => holder(status),
            _ => None,
        };
        if let Some(logs) = logs
            .clone()
            .filter(|logs| self.logs.as_ref().is_none_or(|(known, _)| known != logs))
        {
            self.logs = Some((logs, now));
        }
        if let Call::PutStatus { status, .. } = call {
            self.sent.clone_from(&status.memory);
        }
        let (sent, is_read) = (now, is_read(call));
        self.under_way.insert(
            flight,
            Flight {
                subject,
                sent,
                is_read,
                logs,
            },
        );
        Ok(())
    }

    fn writes(&self, subject: &Subject, call: &Call<Text>, now: Duration) -> Result<(), &'static str> {
        if !self.is_newest(call) {
            return Err("S6 (what is written rests on the newest that was seen)");
        }
        if self.recalls > 0 && subject.as_ref().is_none_or(|id| id.name.starts_with("orders-rw")) {
            return Err("S10 (a recalled memory is decided by before the next write)");
        }
        if self.unsure.contains(subject) {
            return Err("S6 (a read after a write that was refused or lost)");
        }
        let begins = self
            .leads
            .is_some_and(|since| self.known.get(&None).is_none_or(|read| *read < since));
        if begins {
            return Err("S6 (a new leader reads first)");
        }
        if self
            .lease
            .is_some_and(|until| now + Duration::from_secs(2) > until)
        {
            return Err("S6 (2 s of the lease are left)");
        }
        Ok(())
    }

    /// It hears an answer; `chosen`: the server that its newest decision names. Whether that shows a memory by which it has to
    /// decide anew.
    pub fn hears(
        &mut self,
        flight: FlightId,
        answer: &Answer<Text>,
        chosen: Option<String>,
        now: Duration,
    ) -> bool {
        let Some(Flight {
            subject,
            sent,
            is_read,
            logs,
        }) = self.under_way.remove(&flight)
        else {
            return false;
        };
        let begins = self
            .leads
            .is_some_and(|since| self.known.get(&None).is_none_or(|read| *read < since));
        let mut is_of_another = false;
        if let (Answer::Policy(Some(policy)), true) = (answer, is_read) {
            let found = policy.status.memory.as_ref();
            let is_new = !agree(found, self.memory.as_ref()) && !agree(found, self.sent.as_ref());
            // Who leads by a lease and has read puts back what comes later.
            let goes_by_it = begins || self.leads.is_none();
            let holder = holder(&policy.status).filter(|_| begins && !self.agreed);
            is_of_another =
                (is_new && goes_by_it) || (holder.is_some() && chosen.is_some() && holder != chosen);
        }
        match answer {
            Answer::Object(_) | Answer::Policy(_) => {
                self.succeeded = Some(now);
                self.known.insert(subject.clone(), sent);
                self.unsure.remove(&subject);
            }
            Answer::Refused { code: 404 | 409, .. } | Answer::Unknown { .. } if !is_read => {
                self.unsure.insert(subject);
            }
            _ => {}
        }
        if let Answer::Object(Some(object)) = answer {
            self.shown_object(&object.id, &object.version);
        }
        if let Answer::Policy(Some(policy)) = answer {
            self.shown(&policy.version, &policy.status);
            if !is_read && logs.is_some() && holder(&policy.status) == logs {
                self.logs = None;
            }
        }
        is_of_another
    }

    /// Whether it may lead the writes there though nobody remembers so: no answer for `failoverTimeout`, while other requests
    /// were done.
    pub fn gives_up(&self, address: &str, now: Duration) -> bool {
        self.logs.as_ref().is_some_and(|(logs, since)| {
            let others = self.succeeded.is_some_and(|at| at > *since);
            logs == address && others && now >= *since + FAILOVER_TIMEOUT
        })
    }
}
