//! Which servers are probed, and the tasks that do it, shared by those of a namespace who want the same server with the same login:
//! one holds a session on each address where one is wanted; one checks for all who look at the same address with the
//! same patience. One task looks up each name.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock, Weak};

use tokio::sync::{mpsc, watch};
use tokio_util::task::AbortOnDropHandle;

use super::check::Checker;
use super::checks::Checks;
use super::clock::Clock;
use super::dns::Resolver;
use super::held::Held;
use super::limits::Limits;
use super::login::{EncryptionResult, Server, SharedEncryption, Terms};
use super::names::{LOOKUPS, NameWatch};
use super::places::{Places, Shares};
use super::subscribers::{Subscriber, Subscribers};
use distributary_core::ids::{PolicyKey, TargetId};
use distributary_core::login::{Login, TlsSettings};
use distributary_core::server::{Host, Location};
use distributary_core::target::{Answer, NameState, NextCheck, ProbeKey, ProbeOrder};

/// Starts, retunes and stops the tasks that probe servers. Dropping it stops all of them.
///
/// # Guarantees
/// - Every instruction that is not replaced by a later one is answered by one [`Answer::Checked`].
/// - Never two checks of one target at once; nor two of one server with one login in one namespace, but for targets of other settings, or
///   that prefer another address. Never two sessions of one namespace to one address with one login. None serves two logins, nor two namespaces: what a
///   policy asks of a server, as a query that ends the connection, concerns those of its own namespace alone.
/// - One task looks a name up, for all servers of that name, and at most 32 lookups are under way at once beside the checks.
///   What they say is told once to each target, where it is something else than before ([`Answer::Named`]).
/// - Nobody waits for a check that takes longer than its own settings let one take.
/// - What nobody wants is stopped at once, in the middle of a check too; an answer that it had sent before may still be
///   on its way, under its incarnation.
/// - A namespace, and a policy, leave places to others ([`Limits`]); those that wait are served by who has the fewest.
pub struct Registry {
    clock: Clock,
    resolver: Resolver,
    answers: mpsc::Sender<Answer>,
    places: Places,
    policies: HashMap<PolicyKey, HashMap<TargetId, Arc<ServerKey>>>,
    servers: HashMap<Arc<ServerKey>, Running>,
    names: HashMap<Arc<str>, Naming>,
    lookups: Places,
    encryptions: HashMap<TlsSettings, Weak<OnceLock<EncryptionResult>>>,
    terms: Terms,
    hashing: RandomState,
}

/// What must be equal for a session to be shared.
#[derive(Debug, Eq, PartialEq)]
struct ServerKey {
    /// Of all that follows, which may be long: certificates are a part of the login.
    hash: u64,
    /// Of the policies: what those of one ask, and how often, concerns no other one.
    namespace: String,
    location: Location,
    pod: Option<IpAddr>,
    login: Arc<Login>,
}

impl Hash for ServerKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl ServerKey {
    fn new(
        hashing: &RandomState,
        namespace: &str,
        location: Location,
        (pod, login): (Option<IpAddr>, Arc<Login>),
    ) -> Self {
        Self {
            hash: hashing.hash_one((namespace, &location, pod, &login)),
            namespace: namespace.to_owned(),
            location,
            pod,
            login,
        }
    }

    /// The name that leads to it.
    fn name(&self) -> Option<&str> {
        match &self.location.host {
            Host::Name(name) if self.pod.is_none() => Some(name),
            _ => None,
        }
    }
}

/// A server whose tasks run.
#[derive(Default)]
struct Running {
    subscribers: Subscribers,
    checks: Vec<Checking>,
    sessions: Vec<Holding>,
    /// What one login learns of it, for all others.
    bare: Arc<AtomicBool>,
}

/// The lookups of a name.
struct Naming {
    servers: watch::Sender<Vec<Subscribers>>,
    _task: AbortOnDropHandle<()>,
}

/// The checks of a group.
struct Checking {
    group: u32,
    _task: AbortOnDropHandle<()>,
}

/// The session on an address.
struct Holding {
    address: IpAddr,
    _task: AbortOnDropHandle<()>,
}

impl Registry {
    /// A registry that probes nothing yet. Answers go to `answers`; a full channel holds back the next checks, and one whose
    /// receiver is gone ends the tasks.
    #[must_use]
    pub fn new(clock: Clock, resolver: Resolver, limits: Limits, answers: mpsc::Sender<Answer>) -> Self {
        let shares = Shares {
            all: limits.all,
            policy: limits.policy,
        };
        Self {
            clock,
            resolver,
            answers,
            places: Places::new(shares, clock),
            policies: HashMap::new(),
            servers: HashMap::new(),
            names: HashMap::new(),
            lookups: Places::new(LOOKUPS, clock),
            encryptions: HashMap::new(),
            terms: Terms::new(&limits, clock),
            hashing: RandomState::new(),
        }
    }

    /// The whole set of targets that `policy` wants. New ones start, missing ones stop, those with another location or
    /// login start anew; all others run on, and take their instruction where it is newer. An empty set forgets the
    /// policy.
    ///
    /// # Panics
    /// Outside a tokio runtime, where a task is to be started.
    pub fn want(&mut self, policy: &PolicyKey, wanted: Vec<ProbeOrder>) {
        let mut before = self.policies.remove(policy).unwrap_or_default();
        let mut targets = HashMap::with_capacity(wanted.len());
        for wanted in wanted {
            let pod = wanted.target.pod;
            let login = (pod, wanted.login);
            let server = ServerKey::new(&self.hashing, &policy.namespace, wanted.location, login);
            let server = Arc::new(server);
            let subscriber = Subscriber {
                key: ProbeKey {
                    policy: policy.clone(),
                    target: wanted.target.clone(),
                },
                incarnation: wanted.incarnation,
                lag_query: wanted.lag_query,
                deadlines: wanted.deadlines,
                probe_queries: wanted.probe_queries,
                interval: wanted.interval,
                name: NameState::default(),
                check: wanted.check,
                group: 0,
                answered: None,
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
            self.policies.insert(policy.clone(), targets);
        }
    }

    /// Gives one target its next instruction. One that is not wanted, or an instruction that is not newer than the
    /// last, is ignored.
    ///
    /// # Panics
    /// Outside a tokio runtime, where a task is to be started.
    pub fn next(&mut self, key: &ProbeKey, check: NextCheck) {
        let targets = self.policies.get(&key.policy);
        let server = targets.and_then(|targets| targets.get(&key.target));
        let Some(server) = server.cloned() else { return };
        if let Some(running) = self.servers.get(&server) {
            running.subscribers.instruct(key, check);
            self.staff(&server);
        }
    }

    fn subscribe(&mut self, server: Arc<ServerKey>, subscriber: Subscriber) -> Arc<ServerKey> {
        let known = self.servers.get_key_value(&server);
        let server = known.map_or(server, |(key, _)| Arc::clone(key));
        let running = self.servers.entry(Arc::clone(&server)).or_default();
        running.subscribers.put(subscriber);
        let subscribers = running.subscribers.clone();
        self.staff(&server);
        if let Some(name) = server.name() {
            self.watch_name(name, subscribers);
        }
        server
    }

    /// Looks the name of these subscribers up; their settings may be new.
    fn watch_name(&mut self, name: &str, subscribers: Subscribers) {
        let name: Arc<str> = name.into();
        let naming = self.names.entry(name).or_insert_with_key(|name| {
            let (servers, watched) = watch::channel(Vec::new());
            let names = NameWatch {
                clock: self.clock,
                resolver: self.resolver.clone(),
                name: Arc::clone(name),
                servers: watched,
                places: self.lookups.clone(),
                answers: self.answers.clone(),
            };
            Naming {
                servers,
                _task: AbortOnDropHandle::new(tokio::spawn(names.run())),
            }
        });
        naming.servers.send_modify(|servers| {
            if !servers.iter().any(|known| known.is(&subscribers)) {
                servers.push(subscribers);
            }
        });
    }

    fn leave_name(&mut self, name: &str, subscribers: &Subscribers) {
        let Some(naming) = self.names.get(name) else {
            return;
        };
        naming
            .servers
            .send_modify(|servers| servers.retain(|known| !known.is(subscribers)));
        if naming.servers.borrow().is_empty() {
            self.names.remove(name);
        }
    }

    fn leave(&mut self, server: &Arc<ServerKey>, key: &ProbeKey) {
        let others = self
            .servers
            .get(server)
            .is_some_and(|running| running.subscribers.remove(key));
        if others {
            self.staff(server);
        } else if let Some(ended) = self.servers.remove(server)
            && let Some(name) = server.name()
        {
            self.leave_name(name, &ended.subscribers);
        }
    }

    /// Starts the tasks that a server's subscribers need, and stops those that they do not.
    fn staff(&mut self, key: &ServerKey) {
        let Some(running) = self.servers.get_mut(key) else {
            return;
        };
        let mut groups = running.subscribers.groups();
        running.checks.retain(|checking| groups.remove(&checking.group));
        let mut addresses = running.subscribers.held_addresses();
        running
            .sessions
            .retain(|holding| addresses.remove(&holding.address));
        if groups.is_empty() && addresses.is_empty() {
            return;
        }
        let (subscribers, bare) = (running.subscribers.clone(), Arc::clone(&running.bare));
        let server = self.server(key, bare);
        let checks: Vec<_> = groups
            .into_iter()
            .map(|group| self.check(&server, &subscribers, group))
            .collect();
        let sessions: Vec<_> = addresses
            .into_iter()
            .map(|address| self.hold(&server, &subscribers, address))
            .collect();
        if let Some(running) = self.servers.get_mut(key) {
            running.checks.extend(checks);
            running.sessions.extend(sessions);
        }
    }

    fn server(&mut self, key: &ServerKey, bare: Arc<AtomicBool>) -> Server {
        Server {
            namespace: key.namespace.clone(),
            location: key.location.clone(),
            pod: key.pod,
            login: Arc::clone(&key.login),
            encryption: self.encryption(&key.login.tls),
            terms: self.terms.clone(),
            bare,
        }
    }

    fn check(&self, server: &Server, subscribers: &Subscribers, group: u32) -> Checking {
        let checks = Box::new(Checks {
            clock: self.clock,
            checker: Checker::new(self.clock, self.resolver.clone(), server.clone()),
            subscribers: subscribers.clone(),
            group,
            places: self.places.clone(),
            answers: self.answers.clone(),
        });
        Checking {
            group,
            _task: AbortOnDropHandle::new(tokio::spawn(checks.run())),
        }
    }

    fn hold(&self, server: &Server, subscribers: &Subscribers, address: IpAddr) -> Holding {
        let held = Box::new(Held {
            clock: self.clock,
            server: server.clone(),
            address,
            subscribers: subscribers.clone(),
            places: self.places.clone(),
            answers: self.answers.clone(),
        });
        Holding {
            address,
            _task: AbortOnDropHandle::new(tokio::spawn(held.run())),
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
