//! Which servers are probed: for each, one task that checks it and one that holds a session on it, shared by all who
//! want the same server with the same login.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::Limits;
use super::check::{Checker, Server, SharedEncryption};
use super::checks::Checks;
use super::dns::Resolver;
use super::held::Held;
use super::subscribers::{Subscriber, Subscribers};
use crate::clock::Clock;
use crate::domain::policy::{Location, Login, PolicyKey, TlsSettings};
use crate::domain::target::{Answer, NextCheck, ProbeKey, TargetId, Wanted};

/// Starts, retunes and stops the tasks that probe servers. Dropping it stops all of them.
///
/// # Guarantees
/// - Every instruction that is not replaced by a later one is answered by one [`Answer::Checked`].
/// - Never two checks at once, nor two sessions, of one server with one login; and none that serves two logins.
/// - What nobody wants is stopped at once, in the middle of a check too; an answer that it had sent before may still be
///   on its way, under its incarnation.
/// - A policy takes at most its own limit of the operator's places, first come, first served.
pub struct Registry {
    clock: Clock,
    resolver: Resolver,
    limits: Limits,
    answers: mpsc::Sender<Answer>,
    places: Arc<Semaphore>,
    policies: HashMap<PolicyKey, Probes>,
    servers: HashMap<Arc<ServerKey>, Running>,
    encryptions: HashMap<TlsSettings, Weak<OnceLock<super::check::EncryptionResult>>>,
}

/// What must be equal for a session to be shared.
#[derive(Debug, Eq, Hash, PartialEq)]
struct ServerKey {
    location: Location,
    pod: Option<IpAddr>,
    login: Arc<Login>,
}

/// The targets of one policy.
struct Probes {
    places: Arc<Semaphore>,
    targets: HashMap<TargetId, Arc<ServerKey>>,
}

/// A server whose tasks run.
struct Running {
    subscribers: Subscribers,
    _tasks: [AbortOnDropHandle<()>; 2],
}

impl Registry {
    /// Answers go to `answers`; a full channel holds back the next checks.
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver, limits: Limits, answers: mpsc::Sender<Answer>) -> Self {
        let places = Arc::new(Semaphore::new(limits.operator.max(1)));
        Self {
            clock,
            resolver,
            limits,
            answers,
            places,
            policies: HashMap::new(),
            servers: HashMap::new(),
            encryptions: HashMap::new(),
        }
    }

    /// The whole set of targets that `policy` wants. New ones start, missing ones stop, those with another location or
    /// login start anew; all others run on, and take their instruction where it is newer. An empty set forgets the
    /// policy.
    ///
    /// Must be called within a tokio runtime.
    pub fn want(&mut self, policy: &PolicyKey, wanted: Vec<Wanted>) {
        let known = self.policies.remove(policy);
        let (places, mut before) = match known {
            Some(probes) => (probes.places, probes.targets),
            None => (
                Arc::new(Semaphore::new(self.limits.policy.max(1))),
                HashMap::new(),
            ),
        };
        let mut targets = HashMap::with_capacity(wanted.len());
        for wanted in wanted {
            let server = Arc::new(ServerKey {
                location: wanted.location,
                pod: wanted.target.pod,
                login: wanted.login,
            });
            let subscriber = Subscriber {
                key: ProbeKey {
                    policy: policy.clone(),
                    target: wanted.target.clone(),
                },
                incarnation: wanted.incarnation,
                lag_query: wanted.lag_query,
                probe_queries: wanted.probe_queries,
                check: wanted.check,
                answered: None,
                places: Arc::clone(&places),
            };
            match before.remove(&wanted.target) {
                Some(other) if other != server => self.leave(&other, &subscriber.key),
                _ => {}
            }
            let server = self.subscribe(server, subscriber);
            targets.insert(wanted.target, server);
        }
        for (target, server) in before {
            self.leave(
                &server,
                &ProbeKey {
                    policy: policy.clone(),
                    target,
                },
            );
        }
        if !targets.is_empty() {
            self.policies.insert(policy.clone(), Probes { places, targets });
        }
    }

    /// Gives one target its next instruction. One that is not wanted, or an instruction that is not newer than the
    /// last, is ignored.
    pub fn next(&mut self, key: &ProbeKey, check: NextCheck) {
        let probes = self.policies.get(&key.policy);
        let server = probes.and_then(|probes| probes.targets.get(&key.target));
        if let Some(running) = server.and_then(|server| self.servers.get(server)) {
            running.subscribers.instruct(key, check);
        }
    }

    fn subscribe(&mut self, server: Arc<ServerKey>, subscriber: Subscriber) -> Arc<ServerKey> {
        if let Some((key, running)) = self.servers.get_key_value(&server) {
            running.subscribers.put(subscriber);
            return Arc::clone(key);
        }
        let running = self.start(&server);
        running.subscribers.put(subscriber);
        self.servers.insert(Arc::clone(&server), running);
        server
    }

    fn leave(&mut self, server: &Arc<ServerKey>, key: &ProbeKey) {
        let others = self
            .servers
            .get(server)
            .is_some_and(|running| running.subscribers.remove(key));
        if !others {
            self.servers.remove(server);
        }
    }

    fn start(&mut self, key: &ServerKey) -> Running {
        let server = Server {
            location: key.location.clone(),
            pod: key.pod,
            login: Arc::clone(&key.login),
            encryption: self.encryption(&key.login.tls),
        };
        let subscribers = Subscribers::default();
        let checks = Checks {
            clock: self.clock,
            checker: Checker::new(self.clock, self.resolver.clone(), server.clone()),
            subscribers: subscribers.clone(),
            places: Arc::clone(&self.places),
            answers: self.answers.clone(),
        };
        let held = Held {
            clock: self.clock,
            server,
            subscribers: subscribers.clone(),
            places: Arc::clone(&self.places),
            answers: self.answers.clone(),
        };
        Running {
            subscribers,
            _tasks: [
                AbortOnDropHandle::new(tokio::spawn(checks.run())),
                AbortOnDropHandle::new(tokio::spawn(held.run())),
            ],
        }
    }

    /// The TLS of these settings, while anybody uses it the same one.
    fn encryption(&mut self, settings: &TlsSettings) -> SharedEncryption {
        if let Some(shared) = self.encryptions.get(settings).and_then(Weak::upgrade) {
            return shared;
        }
        self.encryptions.retain(|_, shared| shared.strong_count() > 0);
        let shared = SharedEncryption::default();
        self.encryptions.insert(settings.clone(), Arc::downgrade(&shared));
        shared
    }
}

#[cfg(test)]
mod tests;
