//! The Lease of the operator: watches it, carries out what [`crate::writing::lease`] asks for, and tells the desk who leads.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher::Event;
use kube::{Api, ResourceExt};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::context::Context;
use super::error::CallError;
use super::list_watch::{Report, Selection, list_watch};
use super::patience::Patience;
use super::requests::retry_after;
use super::{call_within, readiness};
use crate::clock::timestamp;
use crate::render::reading::{FIELD_MANAGER, Text, Version};
use crate::telemetry::chain;
use crate::writing::lease::{
    Candidate, LeaseAnswer, LeaseCall, LeaseEffect, LeaseInput, LeaseRecord, LeaseRequest, Terms,
};
use crate::writing::{Input, Installation, Now};
use distributary_core::cadence::HoldRule;

/// An expired Lease is taken so much later at most.
const JITTER: u64 = 100;
/// Room for what the desk must know; it takes that in before all else.
const QUEUE: usize = 16;

/// Which Lease, and how it is held.
#[derive(Clone, Debug)]
pub struct LeaseSettings {
    pub namespace: String,
    pub name: String,
    /// The name of this process in the Lease: no other process has it.
    pub identity: String,
    pub terms: Terms,
    /// Which sessions it holds while it follows; the leader holds all.
    pub following: HoldRule,
}

impl LeaseSettings {
    /// The installation that the processes of this Lease are.
    #[must_use]
    pub fn installation(&self) -> Installation {
        Installation {
            lease: Some(format!("{}/{}", self.namespace, self.name)),
            duration: self.terms.duration(),
        }
    }
}

/// The identity of a process on this host or in this Pod: a random part tells it from the one before.
#[must_use]
pub fn identity(host: &str) -> String {
    format!("{host}_{:016x}", random())
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The task that stands for the Lease, and holds it.
pub struct Leadership {
    context: Arc<Context>,
    clients: Clients,
    settings: LeaseSettings,
    candidate: Candidate,
    desk: mpsc::Sender<Input<Text>>,
    /// For the engine.
    hold_rule: watch::Sender<HoldRule>,
    /// Who holds the Lease, for those who show it.
    holder: watch::Sender<Option<String>>,
    requests: JoinSet<Result<LeaseAnswer, CallError>>,
    /// Whether the request that is under way writes.
    writes: bool,
}

/// A queue for what the desk must know of the Lease.
#[must_use]
pub fn queue() -> (mpsc::Sender<Input<Text>>, mpsc::Receiver<Input<Text>>) {
    mpsc::channel(QUEUE)
}

impl Leadership {
    /// One that follows. `desk` hears of what it holds.
    #[must_use]
    pub fn new(
        context: Arc<Context>,
        clients: Clients,
        settings: LeaseSettings,
        desk: mpsc::Sender<Input<Text>>,
        hold_rule: watch::Sender<HoldRule>,
        holder: watch::Sender<Option<String>>,
    ) -> Self {
        let jitter = Duration::from_millis(random() % (JITTER + 1));
        Self {
            candidate: Candidate::new(settings.identity.clone(), settings.terms, jitter),
            context,
            clients,
            settings,
            desk,
            hold_rule,
            holder,
            requests: JoinSet::new(),
            writes: false,
        }
    }

    /// Stands for the Lease and holds it until `stop`; then releases it, when the desk `rests` or has had time to.
    pub async fn run(mut self, stop: CancellationToken, rests: CancellationToken) {
        let clock = self.context.clock;
        let mut seen = Box::pin(self.watched());
        let mut readiness = self.context.synced.subscribe();
        let (mut may_stand, mut stops, mut rested) = (false, false, false);
        self.advance(None).await;
        loop {
            let deadline = self.candidate.deadline();
            let input = tokio::select! {
                biased;
                () = stop.cancelled(), if !stops => {
                    stops = true;
                    Some(LeaseInput::Stop)
                }
                () = rests.cancelled(), if stops && !rested => {
                    rested = true;
                    Some(LeaseInput::Rests)
                }
                Some(answer) = self.requests.join_next(), if !self.requests.is_empty() => match answer {
                    Ok(answer) => Some(LeaseInput::Answered(self.answered(answer))),
                    Err(error) => std::panic::resume_unwind(error.into_panic()),
                },
                Some(input) = seen.next() => Some(input),
                // The sender lives as long as the context.
                _ = readiness.wait_for(readiness::Readiness::lets_stand), if !may_stand => {
                    may_stand = true;
                    Some(LeaseInput::MayStand)
                }
                () = clock.sleep_until(deadline.unwrap_or_default()), if deadline.is_some() => None,
            };
            if self.advance(input).await {
                return;
            }
        }
    }

    /// Whether it has ended.
    async fn advance(&mut self, input: Option<LeaseInput>) -> bool {
        let now = Now {
            moment: self.context.clock.now(),
            wall: timestamp(),
        };
        self.show_holder(input.as_ref());
        let mut ended = false;
        for effect in self.candidate.advance(input, now) {
            let told = match effect {
                LeaseEffect::Request(request) => {
                    self.send(request);
                    continue;
                }
                LeaseEffect::Ended => {
                    ended = true;
                    continue;
                }
                LeaseEffect::Leads { until } => {
                    self.turned(true);
                    Input::Leads { until: Some(until) }
                }
                LeaseEffect::Renewed { until } => Input::Renewed { until },
                LeaseEffect::Follows => {
                    self.turned(false);
                    Input::Follows
                }
            };
            // The desk has ended only while the process ends.
            let _ = self.desk.send(told).await;
        }
        ended
    }

    /// What the Lease as seen says of who leads.
    fn show_holder(&self, input: Option<&LeaseInput>) {
        let holder = match input {
            Some(LeaseInput::Seen(record)) => Some(record.holder.clone()).filter(|holder| !holder.is_empty()),
            Some(LeaseInput::Missing) => None,
            _ => return,
        };
        self.holder.send_if_modified(|shown| {
            let differs = *shown != holder;
            *shown = holder;
            differs
        });
    }

    fn turned(&self, leads: bool) {
        let LeaseSettings {
            name,
            namespace,
            identity,
            ..
        } = &self.settings;
        let to = if leads { "leads" } else { "follows" };
        tracing::info!(lease = %name, %namespace, %identity, to, "leader changed");
        let rule = if leads {
            HoldRule::Always
        } else {
            self.settings.following
        };
        self.hold_rule.send_replace(rule);
        self.context.metrics.leads(leads);
        if leads {
            self.context.metrics.took_lease();
        }
    }

    /// What the watch shows.
    fn watched(&self) -> impl Stream<Item = LeaseInput> + Send + use<> {
        let (context, settings) = (Arc::clone(&self.context), self.settings.clone());
        let api: Api<Lease> = Api::namespaced(self.clients.watches.clone(), &settings.namespace);
        let selection = Selection::name(&settings.name);
        let figure = context.metrics.watch("Lease");
        let report = move |report: Report<'_>| match report {
            Report::Heard => figure.heard(),
            Report::Failed(failure) => {
                tracing::warn!(kind = "Lease", namespace = %settings.namespace, error = %chain(failure), category = failure.category(), "watch failed, and is tried again");
                context.metrics.watch_failed("Lease", failure.category());
            }
        };
        let mut listed = false;
        let events = list_watch(api, selection, Patience::default(), report);
        events.filter_map(move |event| {
            let input = match event {
                Event::Init => {
                    listed = false;
                    None
                }
                Event::InitApply(lease) => {
                    listed = true;
                    Some(LeaseInput::Seen(record(&lease)))
                }
                Event::Apply(lease) => Some(LeaseInput::Seen(record(&lease))),
                Event::InitDone if listed => None,
                Event::InitDone | Event::Delete(_) => Some(LeaseInput::Missing),
            };
            std::future::ready(input)
        })
    }

    fn send(&mut self, request: LeaseRequest) {
        let LeaseRequest {
            deadline,
            fresh,
            call,
        } = request;
        self.writes = call != LeaseCall::Read;
        let client = if fresh {
            &self.clients.fresh
        } else {
            &self.clients.requests
        };
        let api = Api::namespaced(client.clone(), &self.settings.namespace);
        let name = self.settings.name.clone();
        let request = async move { call_within(deadline, carry_out(&api, &name, call)).await };
        self.requests.spawn(request);
    }

    /// What an answer means; a refusal is logged with the right that may be missing, once until it is another one.
    fn answered(&self, answer: Result<LeaseAnswer, CallError>) -> LeaseAnswer {
        let LeaseSettings { name, namespace, .. } = &self.settings;
        let error = match answer {
            Ok(answer) => {
                self.context.synced.lease_refused(None);
                return answer;
            }
            Err(error) => error,
        };
        let (category, verb) = (error.category(), if self.writes { "written" } else { "read" });
        match (error.code(), self.writes) {
            (409, _) => return LeaseAnswer::Conflict,
            (401 | 403 | 404, _) => {
                let told = format!("Lease {namespace}/{name}: cannot be {verb}, {category}");
                if self.context.synced.lease_refused(Some(told)) {
                    tracing::warn!(
                        lease = %name, %namespace, category, error = %chain(&error),
                        "the Lease cannot be {verb}, so this process does not lead: the ServiceAccount needs a Role in the namespace of the Lease that allows get, list, watch and update of it, and create of leases"
                    );
                } else {
                    tracing::debug!(lease = %name, %namespace, category, "the Lease still cannot be {verb}");
                }
            }
            _ => {
                tracing::warn!(lease = %name, %namespace, category, error = %chain(&error), "the Lease was not {verb}, which is tried again");
            }
        }
        match error.status() {
            Some(status) if error.code() < 500 => LeaseAnswer::Refused {
                retry_after: retry_after(status),
            },
            _ => LeaseAnswer::Unknown,
        }
    }
}

async fn carry_out(api: &Api<Lease>, name: &str, call: LeaseCall) -> Result<LeaseAnswer, kube::Error> {
    let parameters = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let lease = match call {
        LeaseCall::Read => api.get_opt(name).await?,
        LeaseCall::Create(record) => Some(api.create(&parameters, &object(name, &record)).await?),
        LeaseCall::Update(record) => match api.replace(name, &parameters, &object(name, &record)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            answer => Some(answer?),
        },
    };
    Ok(LeaseAnswer::Lease(lease.as_ref().map(record)))
}

fn object(name: &str, record: &LeaseRecord) -> Lease {
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: record.version.as_ref().map(|version| version.as_str().to_owned()),
            ..(*record.metadata).clone()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(record.holder.clone()),
            lease_duration_seconds: Some(record.seconds),
            acquire_time: record.acquired.map(MicroTime),
            renew_time: record.renewed.map(MicroTime),
            lease_transitions: Some(record.transitions),
            ..LeaseSpec::default()
        }),
    }
}

fn record(lease: &Lease) -> LeaseRecord {
    let spec = lease.spec.clone().unwrap_or_default();
    LeaseRecord {
        holder: spec.holder_identity.unwrap_or_default(),
        seconds: spec.lease_duration_seconds.unwrap_or_default(),
        acquired: spec.acquire_time.map(|time| time.0),
        renewed: spec.renew_time.map(|time| time.0),
        transitions: spec.lease_transitions.unwrap_or_default(),
        version: lease.resource_version().map(Version::new),
        metadata: Box::new(ObjectMeta {
            labels: lease.metadata.labels.clone(),
            annotations: lease.metadata.annotations.clone(),
            owner_references: lease.metadata.owner_references.clone(),
            finalizers: lease.metadata.finalizers.clone(),
            ..ObjectMeta::default()
        }),
    }
}

#[cfg(test)]
mod tests;
