//! One operator: Writing, its candidacy and the choice of the write primary whole, and its requests.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use distributary::writing::lease::{Candidate, LeaseAnswer, LeaseCall, LeaseEffect, LeaseInput, Terms};
use distributary::writing::{
    Answer, Call, Declared, Effect, FlightId, Input, Installation, Lead, Now, Writing,
};
use distributary_api::ReplicaSetPolicyStatus;
use distributary_api::validate::Declaration;
use distributary_core::Moment;
use distributary_core::fixture;
use k8s_openapi::jiff::Timestamp;

use super::api::{Api, Body, Small, UID, key};
use super::canon::Number;
use super::engine::{Case, Engine};
use super::servers::Servers;

/// What a request has come to.
#[derive(Clone, Debug, Hash)]
pub enum Fate<A> {
    Sent,
    /// No answer comes; by its deadline nobody knows what came of it.
    Late,
    /// The operator stands still, and has not heard it.
    Answered(A),
}

/// A request of the desk.
#[derive(Clone, Debug, Hash)]
pub struct Flight {
    pub id: FlightId,
    pub call: Call<Body>,
    until: Moment,
    pub fate: Fate<Answer<Body>>,
}

/// A request about the Lease.
#[derive(Clone, Debug, Hash)]
pub struct LeaseFlight {
    pub call: LeaseCall,
    until: Moment,
    pub fate: Fate<LeaseAnswer>,
}

/// What the desk tells the engine.
#[derive(Clone, Debug, Hash)]
pub enum Tell {
    Recall(Box<ReplicaSetPolicyStatus>, u64),
    Found(BTreeSet<SocketAddr>),
}

#[derive(Clone, Hash)]
pub struct Operator {
    pub writing: Writing<Small>,
    candidate: Candidate,
    pub engine: Engine,
    pub tells: Vec<Tell>,
    pub flights: Vec<Flight>,
    pub lease: Option<LeaseFlight>,
    /// What watches have shown, of objects and of the Lease.
    pub cursor: Number,
    pub lease_seen: bool,
    pub stale: bool,
    pub frozen: bool,
    /// The next second passes without its clock.
    pub slips: bool,
    /// The server that it does not reach.
    pub parted: Option<usize>,
    /// The change of leaders that made it lead.
    pub granted: u32,
    pub term: u32,
    /// A request about the policy failed, or has no answer, since one was taken.
    pub failed: bool,
}

const LEASE: Duration = Duration::from_secs(4);

/// Short terms: the lease is given up after 2 s, and renewed each second.
fn terms() -> Terms {
    let seconds = Duration::from_secs;
    Terms::new(LEASE, seconds(2), seconds(1)).expect("they fit together")
}

/// What an operator works with.
pub struct Around<'a> {
    pub case: &'a Case,
    pub now: Moment,
    /// Tells what is written in the Lease from what was before.
    pub stamp: &'a mut i64,
}

impl Around<'_> {
    fn now(&self) -> Now {
        Now {
            moment: self.now,
            wall: Timestamp::UNIX_EPOCH,
        }
    }
}

impl Operator {
    pub fn starts(identity: String, api: &Api, around: &mut Around<'_>) -> Self {
        let mut operator = Self {
            writing: Writing::new(Small).of(Installation {
                lease: Some("shop/distributary".to_owned()),
                duration: LEASE,
            }),
            candidate: Candidate::new(identity, terms(), Duration::ZERO),
            engine: Engine::begins(&api.status, around.now),
            tells: Vec::new(),
            flights: Vec::new(),
            lease: None,
            cursor: api.head(),
            lease_seen: true,
            stale: false,
            frozen: false,
            slips: false,
            parted: None,
            granted: 0,
            term: 0,
            failed: false,
        };
        let declared = Declared {
            key: key(),
            uid: UID.to_owned(),
            generation: 1,
            deleting: false,
            valid: Some(Declaration {
                policy: Arc::clone(&around.case.policy),
                resolved: Arc::clone(&around.case.resolved),
                outputs: fixture::outputs().into(),
            }),
            problems: Vec::new(),
            unresolved: Vec::new(),
            status: (*api.status).clone(),
            version: api.status_version(),
        };
        let mut inputs = api.listed();
        inputs.push(Input::Declared(Box::new(declared)));
        operator.take(inputs, around);
        operator.decide(around);
        operator.sees_lease(api, around);
        operator.stand(Some(LeaseInput::MayStand), around);
        operator
    }

    /// Whether it may write, as it believes.
    pub fn leads(&self) -> bool {
        self.writing.lead() != Lead::Follows
    }

    /// Whether it may start a request, as it believes.
    pub fn may_start(&self, now: Moment) -> bool {
        self.writing.lead().may_start(now)
    }

    pub fn sees_lease(&mut self, api: &Api, around: &mut Around<'_>) {
        self.lease_seen = true;
        let seen = api.lease.clone().map_or(LeaseInput::Missing, LeaseInput::Seen);
        self.stand(Some(seen), around);
    }

    pub fn stand(&mut self, input: Option<LeaseInput>, around: &mut Around<'_>) {
        *around.stamp += 1;
        let now = Now {
            moment: around.now,
            wall: Timestamp::from_second(*around.stamp).expect("a time of this century"),
        };
        let mut inputs = Vec::new();
        for effect in self.candidate.advance(input, now) {
            match effect {
                LeaseEffect::Request(request) => {
                    self.lease = Some(LeaseFlight {
                        call: request.call,
                        until: around.now + request.deadline,
                        fate: Fate::Sent,
                    });
                }
                LeaseEffect::Leads { until } => {
                    self.term = self.granted;
                    inputs.push(Input::Leads { until: Some(until) });
                }
                LeaseEffect::Renewed { until } => inputs.push(Input::Renewed { until }),
                LeaseEffect::Follows => inputs.push(Input::Follows),
                LeaseEffect::Ended => {}
            }
        }
        if !inputs.is_empty() {
            self.take(inputs, around);
        }
    }

    pub fn take(&mut self, inputs: Vec<Input<Body>>, around: &mut Around<'_>) {
        for effect in self.writing.advance(inputs, around.now()) {
            match effect {
                Effect::Request(request) => self.flights.push(Flight {
                    id: request.flight,
                    call: request.call,
                    until: around.now + request.deadline,
                    fate: Fate::Sent,
                }),
                Effect::Recall { status, number, .. } => self.tells.push(Tell::Recall(status, number)),
                Effect::Found { servers, .. } => self.tells.push(Tell::Found(servers)),
                Effect::Event { .. } | Effect::Unsigned | Effect::Figure(_) => {}
            }
        }
    }

    fn decide(&mut self, around: &mut Around<'_>) {
        if let Some(decision) = self.engine.decide(around.case, around.now) {
            let decided = Input::Decided {
                key: key(),
                decision,
                transitions: Vec::new(),
            };
            self.take(vec![decided], around);
        }
    }

    /// The engine hears what the desk told it.
    pub fn hears(&mut self, around: &mut Around<'_>) {
        match self.tells.remove(0) {
            Tell::Recall(status, number) => self.engine.recall(&status, number, around.now),
            Tell::Found(servers) => self.engine.finds(servers),
        }
        self.decide(around);
    }

    pub fn observes(&mut self, servers: &Servers, around: &mut Around<'_>) {
        self.engine.observe(servers, self.parted, around.now);
        self.decide(around);
    }

    pub fn lags(&self, servers: &Servers) -> bool {
        self.engine.lags(servers, self.parted)
    }

    /// A second has passed by its clock, or by others' alone.
    pub fn passes(&mut self, servers: &Servers, around: &mut Around<'_>) {
        self.observes(servers, around);
        let now = around.now;
        let over = |until: Moment| until <= now;
        if self
            .lease
            .as_ref()
            .is_some_and(|lease| matches!(lease.fate, Fate::Late) && over(lease.until))
        {
            self.lease_answered(LeaseAnswer::Unknown, around);
        }
        let late = |flight: &Flight| matches!(flight.fate, Fate::Late) && over(flight.until);
        while let Some(at) = self.flights.iter().position(late) {
            self.answered(at, super::api::unknown(), around);
        }
        self.stand(None, around);
        self.take(Vec::new(), around);
    }

    /// The answer to one of its requests.
    pub fn answered(&mut self, at: usize, answer: Answer<Body>, around: &mut Around<'_>) {
        let flight = self.flights.remove(at);
        if flight.call.object().is_none() {
            self.failed = !matches!(answer, Answer::Policy(_));
        }
        let answered = Input::Answered {
            flight: flight.id,
            answer,
        };
        self.take(vec![answered], around);
    }

    pub fn lease_answered(&mut self, answer: LeaseAnswer, around: &mut Around<'_>) {
        self.lease = None;
        self.stand(Some(LeaseInput::Answered(answer)), around);
    }

    /// Whether it has heard all that there is to hear.
    pub fn knows(&self, api: &Api, servers: &Servers) -> bool {
        self.tells.is_empty() && !self.lags(servers) && self.lease_seen && !api.shows(self.cursor)
    }
}
