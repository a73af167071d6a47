//! The invariants of `semantics.md`, by their names, as a cluster shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributary::render::Kind;
use distributary::render::reading::Text;
use distributary::writing::{Call, Place};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_core::observation::Sample;
use serde_json::Value;

use super::api::{Api, addresses};
use super::operator::{Belief, Operator};
use super::run::takes_writes;
use super::servers::{Servers, address};

/// The default of `failoverTimeout`.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Laws {
    /// Whom the writes are led to.
    held: Option<String>,
    /// Whom they were led to last.
    last: Option<String>,
    /// Whether `ro` was filled.
    reads: bool,
    meddled: bool,
    /// When a request about the policy failed last, or had no answer: what was decided is logged late.
    failed: Option<Duration>,
    before: BTreeSet<String>,
    /// Objects of others.
    others: BTreeMap<Place, Value>,
    /// The highest timeline that was remembered.
    mark: Option<u32>,
    /// How often the writes were led to another server.
    pub moves: usize,
}

/// The default of `heartbeat`.
const HEARTBEAT: Duration = Duration::from_secs(2);
const WRITES: &str = "orders-rw";
const READS: &str = "orders-ro";

fn server(address: &str) -> Option<usize> {
    (0..3).find(|server| super::servers::address(*server).to_string() == address)
}

/// The servers that a call puts into a slice of the writes.
fn published(call: &Call<Text>) -> Option<BTreeSet<String>> {
    let (Call::Create { id, body } | Call::Put { id, wanted: body, .. }) = call else {
        return None;
    };
    let ours = id.kind == Kind::EndpointSlice && id.name.starts_with(WRITES);
    ours.then(|| addresses(&serde_json::from_str(body).unwrap_or_default()))
}

/// The address of the server that is remembered as the one that takes the writes.
fn holder(status: &ReplicaSetPolicyStatus) -> Option<String> {
    status.memory.as_ref()?.holder.as_ref()?.address.clone()
}

fn mark(status: &ReplicaSetPolicyStatus) -> Option<u32> {
    status.memory.as_ref()?.timeline
}

/// What an operator knows of the server at this address.
fn known<'a>(operator: &'a Operator, address: &str) -> Option<&'a Belief> {
    operator.beliefs.get(&server(address)?)
}

impl Laws {
    pub fn failed(&mut self, about_policy: bool, now: Duration) {
        if about_policy {
            self.failed = Some(now);
        }
    }

    pub fn meddled(&mut self) {
        self.meddled = true;
    }

    pub fn occupied(&mut self, api: &Api, place: Place) {
        self.meddled = true;
        if let Some(object) = api.at(&place) {
            self.others.insert(place, object.clone());
        }
    }

    /// The objects of others go.
    pub fn freed(&mut self) -> Vec<Place> {
        std::mem::take(&mut self.others).into_keys().collect()
    }

    /// An operator is about to send a request.
    pub fn sent(
        &self,
        operator: &Operator,
        call: &Call<Text>,
        api: &Api,
        now: Duration,
    ) -> Result<(), String> {
        if let Call::PutStatus { status, version, .. } = call
            && *version == api.status_version()
        {
            if status.conditions.iter().any(|it| it.reason == "ForeignOperator") {
                return Err(format!(
                    "S7: {now:?} a process takes another one of its installation for a rival"
                ));
            }
            self.remembers(operator, status, &api.status, now)?;
        }
        let published = published(call).unwrap_or_default();
        let others = published
            .iter()
            .filter(|address| self.held.as_ref() != Some(*address));
        for address in others {
            self.publishes(operator, address, &api.status, now)?;
        }
        Ok(())
    }

    /// Whether requests failed that what is written now may have waited for.
    fn failed_lately(&self, now: Duration) -> bool {
        self.failed
            .is_some_and(|at| now.saturating_sub(at) < FAILOVER_TIMEOUT * 6)
    }

    /// The writes are led to another server than before.
    fn publishes(
        &self,
        operator: &Operator,
        address: &str,
        status: &ReplicaSetPolicyStatus,
        now: Duration,
    ) -> Result<(), String> {
        let known = known(operator, address);
        if !known
            .and_then(|belief| belief.told.as_ref())
            .is_some_and(takes_writes)
        {
            return Err(format!(
                "S1: {now:?} the writes are led to {address}, which is known as {known:?}"
            ));
        }
        if holder(status).as_deref() != Some(address) && !self.failed_lately(now) {
            return Err(format!(
                "S10: {now:?} the writes are led to {address} before it is logged"
            ));
        }
        Ok(())
    }

    /// The holder that is remembered is replaced by another one.
    fn remembers(
        &self,
        operator: &Operator,
        new: &ReplicaSetPolicyStatus,
        old: &ReplicaSetPolicyStatus,
        now: Duration,
    ) -> Result<(), String> {
        let Some(before) = holder(old) else {
            return Ok(());
        };
        let Some(after) = holder(new) else {
            return Err(format!(
                "S6: {now:?} the status forgets that {before} takes the writes"
            ));
        };
        let mark = mark(old);
        let takes = |sample: &Sample| takes_writes(sample) && sample.timeline >= mark;
        let holds = known(operator, &before).filter(|belief| {
            let is_fresh = now.saturating_sub(belief.asked) <= HEARTBEAT;
            is_fresh && belief.told.as_ref().is_some_and(takes)
        });
        match holds {
            // What was decided stands, though it is logged late.
            Some(belief) if before != after && !self.failed_lately(now) => Err(format!(
                "S2: {now:?} the writes leave {before}, which takes them: {belief:?}"
            )),
            _ => Ok(()),
        }
    }

    pub fn arrives(&mut self, api: &Api) {
        self.before = api.servers_of(READS);
    }

    /// A request was carried out.
    pub fn applied(&mut self, api: &Api, servers: &Servers, now: Duration) -> Result<(), String> {
        let writes = api.servers_of(WRITES);
        if writes.len() > 1 {
            return Err(format!("S2: {now:?} the writes lead to {writes:?}"));
        }
        if let Some((place, _)) = self
            .others
            .iter()
            .find(|(place, object)| api.at(place) != Some(object))
        {
            return Err(format!("S5: {now:?} {} of others was changed", place.id));
        }
        self.moves += usize::from(
            writes
                .first()
                .is_some_and(|new| self.last.as_ref().is_some_and(|last| last != new)),
        );
        self.held = writes.first().cloned();
        self.last = self.held.clone().or(self.last.take());
        if mark(&api.status) < self.mark {
            return Err(format!("S6: {now:?} the status forgets timeline {:?}", self.mark));
        }
        self.mark = mark(&api.status);
        let reads = api.servers_of(READS);
        let emptied = self.reads && reads.is_empty() && !self.before.is_empty();
        let good = (0..servers.count()).any(|id| servers.is_well(id));
        if emptied && good && !self.meddled {
            return Err(format!("S3: {now:?} no reads are served, and a standby is well"));
        }
        self.reads |= !reads.is_empty();
        Ok(())
    }
}

/// What is not as it should be when faults have ceased (L1, S8); nothing, or in words.
pub fn lacks(api: &Api, best: usize) -> String {
    let mut lacks = Vec::new();
    let writes: Vec<_> = api.servers_of(WRITES).into_iter().collect();
    if writes != [address(best).to_string()] {
        lacks.push(format!("the writes lead to {writes:?}"));
    }
    let others: BTreeSet<_> = (0..3)
        .filter(|id| *id != best)
        .map(|id| address(id).to_string())
        .collect();
    let reads = api.servers_of(READS);
    if reads != others {
        lacks.push(format!("the reads lead to {reads:?}"));
    }
    let told = api
        .status
        .primary
        .as_ref()
        .and_then(|primary| primary.address.clone());
    if told != Some(address(best).to_string()) {
        lacks.push(format!("S8: the status tells {told:?}"));
    }
    for condition in ["Ready", "Programmed"] {
        let found = api.status.conditions.iter().find(|it| it.type_ == condition);
        if found.is_none_or(|found| found.status != "True") {
            lacks.push(format!("{condition}: {found:?}"));
        }
    }
    lacks.join("; ")
}
