//! The invariants of `semantics.md`, by their names, as a cluster shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use distributary::render::Kind;
use distributary::render::reading::Text;
use distributary::writing::{Call, Place};
use distributary_api::{ReplicaSetPolicyStatus, ServerStatus};
use distributary_core::observation::{Role, Sample};
use serde_json::Value;

use super::api::{Api, addresses};
use super::operator::{Belief, Choice, Operator};
use super::run::takes_writes;
use super::servers::{Servers, address};
use super::wire::Wire;

/// The default of `failoverTimeout`.
pub const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub struct Laws {
    /// Whom the writes are led to.
    held: Option<String>,
    /// Whom they were led to last.
    last: Option<String>,
    /// Whether `ro` was filled.
    reads: bool,
    /// When `ro` lost its last server while a standby was well: what takes its place, of the other family, is about to follow.
    emptied: Option<Duration>,
    meddled: bool,
    /// Servers that a process was told to be standbys of the first database.
    standbys: BTreeSet<usize>,
    before: BTreeSet<String>,
    /// Objects of others.
    others: BTreeMap<Place, Value>,
    /// The highest timeline that was remembered.
    mark: Option<u32>,
    /// How often the writes were led to another server.
    pub moves: usize,
    /// A write that came late led the writes to a second server.
    doubled: bool,
}

/// What follows at once follows within this.
const AT_ONCE: Duration = Duration::from_secs(1);
const WRITES: &str = "orders-rw";
pub const READS: &str = "orders-ro";

fn server(address: &str) -> Option<usize> {
    (0..3).find(|server| super::servers::address(*server).to_string() == address)
}

/// The servers that a call puts into a slice of this route.
fn published(call: &Call<Text>, route: &str) -> Option<BTreeSet<String>> {
    let (Call::Create { id, body } | Call::Put { id, wanted: body, .. }) = call else {
        return None;
    };
    let ours = id.kind == Kind::EndpointSlice && id.name.starts_with(route);
    ours.then(|| addresses(&serde_json::from_str(body).unwrap_or_default()))
}

/// The address of the server that is remembered as the one that takes the writes.
pub fn holder(status: &ReplicaSetPolicyStatus) -> Option<String> {
    status.memory.as_ref()?.holder.as_ref()?.address.clone()
}

fn mark(status: &ReplicaSetPolicyStatus) -> Option<u32> {
    status.memory.as_ref()?.timeline
}

/// Whether every process that leads knows by the status that this server may take the writes: it has them, or was a standby.
pub fn may_lead(status: &ReplicaSetPolicyStatus, address: &str) -> bool {
    let is_standby = |server: &ServerStatus| server.seen_as_standby || server.role == Role::Standby.word();
    let mut endpoints = status.endpoints.iter();
    let endpoint = endpoints.find(|endpoint| endpoint.address.as_deref() == Some(address));
    holder(status).as_deref() == Some(address)
        || endpoint.is_some_and(|endpoint| is_standby(&endpoint.server))
}

/// What an operator knows of the server at this address.
fn known<'a>(operator: &'a Operator, address: &str) -> Option<&'a Belief> {
    operator.beliefs.get(&server(address)?)
}

/// The writes are led to another server than before.
fn publishes(operator: &Operator, wire: &Wire, address: &str, now: Duration) -> Result<(), String> {
    let known = known(operator, address);
    // One that fell silent after it was chosen is held (§5), also where the write had to wait: what it told last counts.
    let told = known.and_then(|belief| {
        let latest = belief.latest.as_ref().map(|(_, sample)| sample);
        belief.told.as_ref().or(latest)
    });
    let mark = wire.memory().and_then(|memory| memory.timeline);
    // A process that has no answer of it restores the one that is remembered.
    if told.is_none() && wire.holder() == Some(address) {
        return Ok(());
    }
    if !told.is_some_and(|sample| takes_writes(sample) && sample.timeline >= mark) {
        return Err(format!(
            "S1: {now:?} the writes are led to {address}, which is known as {known:?}"
        ));
    }
    if wire.holder() != Some(address) && !wire.gives_up(address, now) {
        return Err(format!(
            "S10: {now:?} the writes are led to {address} before it is logged"
        ));
    }
    Ok(())
}

/// A status names the servers that are contested.
fn remembers_contests(
    operator: &Operator,
    status: &ReplicaSetPolicyStatus,
    now: Duration,
) -> Result<(), String> {
    let named = status.memory.iter().flat_map(|memory| &memory.contested);
    let named: BTreeSet<_> = named
        .filter_map(|server| server.parse().ok())
        .map(|server: SocketAddr| server.ip())
        .collect();
    let forgotten = operator
        .contested
        .iter()
        .find(|(server, since)| now > **since + AT_ONCE && !named.contains(&address(**server)));
    match forgotten {
        Some((server, since)) => Err(format!(
            "S6: {now:?} the status forgets that {server} is contested since {since:?}"
        )),
        None => Ok(()),
    }
}

/// S9: until all servers were checked, a route neither gains nor loses one that was not.
fn is_observed(operator: &Operator, call: &Call<Text>, api: &Api) -> Result<(), String> {
    let (Call::Create { id, .. } | Call::Put { id, .. } | Call::Delete { id, .. }) = call else {
        return Ok(());
    };
    if id.kind != Kind::EndpointSlice || operator.beliefs.len() == 3 {
        return Ok(());
    }
    let before = api.get(id).map(addresses).unwrap_or_default();
    let after = published(call, "").unwrap_or_default();
    // What a process that ended had decided stands.
    let decided = |address: &String| {
        let mut told = api.status.endpoints.iter();
        let told = told.find(|endpoint| endpoint.address.as_ref() == Some(address));
        told.is_some_and(|endpoint| endpoint.server.eligible == after.contains(address))
    };
    let unheard = |address: &&String| known(operator, address).is_none() && !decided(address);
    match before.symmetric_difference(&after).find(unheard) {
        Some(one) => Err(format!(
            "{} moves {one}, which was not checked",
            super::run::words(call)
        )),
        None => Ok(()),
    }
}

/// S8: a status that says that the routes are written tells the server to which the writes lead.
fn agrees(call: &Call<Text>, api: &Api) -> Result<(), String> {
    let Call::PutStatus { status, version, .. } = call else {
        return Ok(());
    };
    let programmed = status.conditions.iter().find(|it| it.type_ == "Programmed");
    let writes = api.servers_of(WRITES);
    if *version != api.status_version()
        || programmed.is_none_or(|it| it.status != "True")
        || writes.is_empty()
    {
        return Ok(());
    }
    // A choice that is logged leaves the rest as it was.
    let is_log = ReplicaSetPolicyStatus {
        memory: api.status.memory.clone(),
        ..(**status).clone()
    } == api.status;
    let told = status
        .primary
        .as_ref()
        .and_then(|primary| primary.address.clone())
        .filter(|_| !is_log);
    if told.as_ref().is_some_and(|told| !writes.contains(told)) {
        return Err(format!(
            "the status tells {told:?}, and the writes lead to {writes:?}"
        ));
    }
    Ok(())
}

/// What ought not to be when nothing happened for a while (L3); nothing, or in words.
pub fn is_out(api: &Api, servers: &Servers) -> Result<(), String> {
    let (writes, reads) = (api.servers_of(WRITES), api.servers_of(READS));
    for id in 0..servers.count() {
        let (server, address) = (servers.get(id), address(id).to_string());
        if writes.contains(&address) && server.answers() && !server.is_primary() {
            return Err(format!("L3: the writes lead to {address}, which is a standby"));
        }
        if reads.contains(&address) && !writes.contains(&address) && server.answers() && server.is_primary() {
            return Err(format!("L3: reads lead to {address}, which takes writes"));
        }
    }
    Ok(())
}

impl Laws {
    /// Whether somebody changed objects of ours.
    pub const fn is_meddled(&self) -> bool {
        self.meddled
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

    /// A server told a process what it is.
    pub fn told(&mut self, server: usize, sample: Option<&Sample>) {
        let is_standby = |sample: &Sample| {
            sample.role == Role::Standby && sample.system_identifier == Some(super::servers::SYSTEM)
        };
        if sample.is_some_and(is_standby) {
            self.standbys.insert(server);
        }
    }

    /// A process chose another server for the writes than before.
    pub fn chosen(
        &self,
        operator: &Operator,
        wire: &Wire,
        choice: &Choice,
        now: Duration,
    ) -> Result<(), String> {
        let Some(to) = choice.to else {
            return Err(format!(
                "S2: {now:?} the writes are of nobody any more: {choice:?}"
            ));
        };
        // A newer memory is on its way: nothing is written by this choice.
        if wire.recalls > 0 || wire.holder() == Some(&address(to).to_string()) {
            return Ok(());
        }
        let takes = |sample: &Sample| takes_writes(sample) && sample.timeline >= choice.mark;
        let old = operator.beliefs.get(&choice.from);
        let latest = old.and_then(|belief| belief.latest.as_ref());
        let lost = latest.is_some_and(|(_, sample)| !takes(sample));
        // Of a holder that a memory named nothing counts that was asked for before.
        let proof = latest.filter(|(asked, _)| *asked > operator.recalled && !lost);
        if proof.is_some_and(|(asked, _)| *asked + FAILOVER_TIMEOUT > now) {
            return Err(format!(
                "S2: {now:?} the writes leave a server that takes them: {choice:?} {old:?}"
            ));
        }
        let new = operator.beliefs.get(&to);
        if !new.and_then(|belief| belief.told.as_ref()).is_some_and(takes) {
            return Err(format!(
                "S1: {now:?} the writes are to go to a server that does not take them: {choice:?} {new:?}"
            ));
        }
        if !lost && choice.contested {
            return Err(format!(
                "S2: {now:?} the writes are to go to a contested server: {choice:?}"
            ));
        }
        if !self.standbys.contains(&to) {
            return Err(format!(
                "S2: {now:?} the writes are to go to a server that never was a standby: {choice:?}"
            ));
        }
        Ok(())
    }

    /// An operator is about to send a request.
    pub fn sent(
        &mut self,
        operator: &Operator,
        wire: &Wire,
        call: &Call<Text>,
        api: &Api,
        now: Duration,
    ) -> Result<(), String> {
        if let Call::PutStatus { status, version, .. } = call
            && *version == api.status_version()
            && holder(status).is_none()
            && let Some(before) = holder(&api.status)
        {
            return Err(format!(
                "S6: {now:?} the status forgets that {before} takes the writes"
            ));
        }
        if let Call::PutStatus { status, .. } = call {
            if status.conditions.iter().any(|it| it.reason == "ForeignOperator") {
                return Err(format!(
                    "S7: {now:?} a process takes another one of its installation for a rival"
                ));
            }
            remembers_contests(operator, status, now)?;
        }
        if published(call, READS).is_some_and(|servers| !servers.is_empty()) {
            self.emptied = None;
        }
        self.serves_reads(now)?;
        if !self.meddled {
            is_observed(operator, call, api).map_err(|broken| format!("S9: {now:?} {broken}"))?;
            self.is_good(operator, call, now)?;
            agrees(call, api).map_err(|broken| format!("S8: {now:?} {broken}"))?;
        }
        let published = published(call, WRITES).unwrap_or_default();
        let others = published
            .iter()
            .filter(|address| self.held.as_ref() != Some(*address));
        for address in others {
            publishes(operator, wire, address, now)?;
        }
        Ok(())
    }

    pub fn arrives(&mut self, api: &Api) {
        self.before = api.servers_of(READS);
    }

    /// A request was carried out.
    /// `in_time`: before who sent it gave it up.
    pub fn applied(
        &mut self,
        api: &Api,
        servers: &Servers,
        in_time: bool,
        now: Duration,
    ) -> Result<(), String> {
        let mut writes = api.servers_of(WRITES);
        // What a late write adds stays until it is seen.
        self.doubled = writes.len() > 1 && (self.doubled || !in_time);
        if self.doubled {
            writes.retain(|server| self.held.as_ref() == Some(server));
        }
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
        let refilled = !reads.is_empty() || !good || self.meddled;
        self.emptied = self.emptied.or(emptied.then_some(now)).filter(|_| !refilled);
        self.reads |= !reads.is_empty();
        self.serves_reads(now)
    }

    /// S4: no server of another database, nor another one that takes writes, gets reads.
    fn is_good(&self, operator: &Operator, call: &Call<Text>, now: Duration) -> Result<(), String> {
        let reads = published(call, READS).unwrap_or_default();
        let is_bad = |address: &&String| {
            let holds = self.held.as_ref() == Some(*address) || operator.holds(server(address));
            let wrong = known(operator, address).and_then(|belief| belief.wrong);
            !holds && wrong.is_some_and(|since| now > since + AT_ONCE)
        };
        match reads.iter().find(is_bad) {
            Some(bad) => Err(format!(
                "S4: {now:?} reads are led to {bad}: {:?}",
                known(operator, bad)
            )),
            None => Ok(()),
        }
    }

    /// A request about a slice of the reads has no answer yet: what takes a server's place may have to wait for it.
    pub fn awaits_reads(&mut self, now: Duration) {
        self.emptied = self.emptied.map(|_| now);
    }

    /// S3.
    fn serves_reads(&self, now: Duration) -> Result<(), String> {
        match self.emptied {
            Some(since) if now >= since + AT_ONCE => Err(format!(
                "S3: since {since:?} no reads are served, and a standby is well"
            )),
            _ => Ok(()),
        }
    }

    /// A process does not act for some time, or ends.
    pub fn halted(&mut self) {
        self.emptied = None;
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
