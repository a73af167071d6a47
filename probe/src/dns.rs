//! From a host to the addresses that a check may connect to.
//!
//! A name in `/etc/hosts` has the addresses that stand there. The name servers of `/etc/resolv.conf` are asked for others, as they are
//! written: its search list, which would lead a name to a Service of whatever namespace, is not used. Only a name that ends with
//! `.svc` or `.pod` is completed, by the domain of the cluster. Both files are read once. What answers mean together is [`KnownName`]'s.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};

use super::address::AddressRules;
use super::classify::is_own_lack;
use super::clock::Clock;
use super::zone::ClusterZone;
use distributary_core::moment::Moment;
use distributary_core::name::KnownName;
use distributary_core::observation::FailureKind;
use distributary_core::server::Host;
use distributary_core::target::NameState;

/// Names that are remembered before those are forgotten that nobody asks for any more.
const FEW: usize = 64;

/// Any address and port of this machine.
const ANY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Resolves names by the system's configuration: `/etc/hosts`, then the name servers and timeouts of `/etc/resolv.conf`, both
/// read once; never by its search list. Clones share what they remember.
///
/// # Guarantees
/// - A name is looked up at most once a second, and never twice at once, however many ask for it.
/// - An answer is used for its TTL, or until a lookup beside the checks replaces it; a failed lookup for a second.
/// - An address leaves after two answers in a row of its family that lack it; where the name rotates, once no answer of 60 s
///   has it. Failed lookups (no such name, no address, no answer) keep what was known for three times its TTL, at least
///   60 s, at most a day: an unreachable resolver alone takes no server out.
/// - Of a name at most 64 addresses are used, the lowest ones.
/// - An alias (CNAME) leads to no Service and no pod of another namespace: such a name has no address ([`ClusterZone`]).
#[derive(Clone)]
pub struct Resolver {
    clock: Clock,
    lookup: Lookup,
    remembered: Arc<Mutex<RememberedNames>>,
    rules: AddressRules,
}

#[derive(Clone)]
enum Lookup {
    System(Arc<System>),
    #[cfg(test)]
    Script(tests::Script),
}

/// The system's configuration.
struct System {
    hosts: Hosts,
    /// `None`: it names no resolver.
    resolver: Option<TokioResolver>,
    zone: ClusterZone,
}

/// The names that were asked for.
#[derive(Default)]
struct RememberedNames {
    names: HashMap<String, Remembered>,
    /// How many there may be before those are forgotten that are not used.
    room: usize,
}

#[derive(Default)]
struct Remembered {
    known: KnownName,
    under_way: Option<WeakShared<BoxFuture<'static, ()>>>,
}

/// What a lookup found.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Answer {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

impl Resolver {
    /// A resolver for the addresses that `rules` allow. Where the system names no resolver, that is logged, names fail with
    /// [`FailureKind::ResolverFailed`], and declared addresses work.
    #[must_use]
    pub fn from_system(clock: Clock, rules: AddressRules, zone: ClusterZone) -> Self {
        let warn =
            |error: &dyn std::fmt::Display| tracing::warn!(%error, "no resolver: names cannot be resolved");
        let hosts = Hosts::from_system().unwrap_or_default();
        let resolver = system_resolver().inspect_err(|error| warn(error)).ok();
        let system = System {
            hosts,
            resolver,
            zone,
        };
        Self::new(clock, Lookup::System(Arc::new(system)), rules)
    }

    fn new(clock: Clock, lookup: Lookup, rules: AddressRules) -> Self {
        Self {
            clock,
            lookup,
            remembered: Arc::default(),
            rules,
        }
    }

    /// The addresses of `host` that may be connected to, of both families, in ascending order, at least one. A lookup
    /// takes at most `within`. The address `keep`, which its caller uses, is among them until it has left the name.
    ///
    /// # Errors
    /// [`FailureKind::NameNotFound`], [`FailureKind::ResolverFailed`], [`FailureKind::OutOfResources`] where this process
    /// could not ask, or the rule that refuses its first address where the host has none but refused ones.
    pub async fn addresses(
        &self,
        host: &Host,
        keep: Option<IpAddr>,
        within: Duration,
    ) -> Result<Vec<IpAddr>, FailureKind> {
        let mut addresses = match host {
            Host::Address(address) => vec![address.to_canonical()],
            Host::Name(name) => self.resolve(name, keep, within).await?,
        };
        let mut refused = None;
        addresses.retain(|address| match self.rules.refusal(*address) {
            None => true,
            Some(rule) => {
                refused.get_or_insert(rule);
                false
            }
        });
        if addresses.is_empty() {
            Err(refused.unwrap_or(FailureKind::AddressRefused))
        } else {
            Ok(addresses)
        }
    }

    /// Every name is 127.0.0.1, and every address is allowed.
    #[cfg(test)]
    pub(crate) fn anywhere(clock: Clock) -> Self {
        let script = tests::Script::saying(&[Ipv4Addr::LOCALHOST.into()]);
        Self::scripted(clock, script, AddressRules::anything())
    }

    async fn resolve(
        &self,
        name: &str,
        keep: Option<IpAddr>,
        within: Duration,
    ) -> Result<Vec<IpAddr>, FailureKind> {
        let lookup = self.lookup(name, keep.as_slice(), KnownName::is_current);
        let answered = match lookup {
            Some(lookup) => tokio::time::timeout(within, lookup).await.is_ok(),
            None => true,
        };
        let (mut remembered, now) = (self.remembered(), self.clock.now());
        let known = &remembered.of(name, now).known;
        known.addresses(keep, now).map_err(|failure| {
            if answered {
                failure
            } else {
                FailureKind::ResolverFailed
            }
        })
    }

    /// Looks a name up where its newest lookup was `apart` ago, or its TTL. `used` are addresses of the name from before
    /// the first lookup. Whether that took no longer than `within`.
    pub(crate) async fn look_up(
        &self,
        name: &str,
        used: &[IpAddr],
        apart: Duration,
        within: Duration,
    ) -> bool {
        match self.lookup(name, used, |known, now| now < known.due(apart)) {
            Some(lookup) => tokio::time::timeout(within, lookup).await.is_ok(),
            None => true,
        }
    }

    /// Takes the newest lookup for a failed one: nobody waits any longer.
    pub(crate) fn give_up(&self, name: &str) {
        let (mut remembered, now) = (self.remembered(), self.clock.now());
        let known = &mut remembered.of(name, now).known;
        known.fail(FailureKind::ResolverFailed, now);
    }

    /// When [`Resolver::look_up`] asks again.
    pub(crate) fn due(&self, name: &str, apart: Duration) -> Moment {
        let now = self.clock.now();
        self.remembered().of(name, now).known.due(apart)
    }

    /// What the lookups of a name say to who uses this address.
    pub(crate) fn state(&self, name: &str, used: Option<IpAddr>) -> NameState {
        let (mut remembered, now) = (self.remembered(), self.clock.now());
        let known = &remembered.of(name, now).known;
        NameState {
            left: used.filter(|used| known.has_left(*used, now)),
            rotates: known.rotates(now),
        }
    }

    /// Whether this address, which the caller used, may still be connected to, but is the host's no more.
    pub(crate) fn has_left(&self, host: &Host, address: IpAddr) -> bool {
        match host {
            Host::Address(_) => false,
            Host::Name(name) => self.rules.allows(address) && self.state(name, Some(address)).left.is_some(),
        }
    }

    /// The lookup that is under way, or else a new one; `None`: what is known is enough.
    fn lookup(
        &self,
        name: &str,
        used: &[IpAddr],
        is_enough: impl FnOnce(&KnownName, Moment) -> bool,
    ) -> Option<Shared<BoxFuture<'static, ()>>> {
        let (mut remembered, now) = (self.remembered(), self.clock.now());
        let name_of = remembered.of(name, now);
        for address in used {
            name_of.known.assume(*address, now);
        }
        if is_enough(&name_of.known, now) {
            return None;
        }
        let under_way = name_of.under_way.as_ref().and_then(WeakShared::upgrade);
        Some(under_way.unwrap_or_else(|| {
            let lookup = self.clone().ask(name.to_owned()).boxed().shared();
            name_of.under_way = lookup.downgrade();
            lookup
        }))
    }

    async fn ask(self, name: String) {
        let answer = self.lookup.ask(&name).await;
        let (mut remembered, now) = (self.remembered(), self.clock.now());
        let known = &mut remembered.of(&name, now).known;
        match answer {
            Ok(Answer { addresses, ttl }) => known.answer(&addresses, ttl, now),
            Err(failure) => known.fail(failure, now),
        }
    }

    fn remembered(&self) -> MutexGuard<'_, RememberedNames> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RememberedNames {
    /// What is known of a name. Where it is a new one, those are forgotten now and then that are not used any more.
    fn of(&mut self, name: &str, now: Moment) -> &mut Remembered {
        if !self.names.contains_key(name) && self.names.len() >= self.room {
            self.names.retain(|_, remembered| remembered.is_used(now));
            self.room = (self.names.len() * 2).max(FEW);
        }
        self.names.entry(name.to_owned()).or_default()
    }
}

impl Remembered {
    fn is_used(&self, now: Moment) -> bool {
        let under_way = self.under_way.as_ref().and_then(WeakShared::upgrade);
        under_way.is_some() || self.known.end().is_some_and(|end| end > now)
    }
}

impl Lookup {
    async fn ask(&self, name: &str) -> Result<Answer, FailureKind> {
        match self {
            Self::System(system) => system.ask(name).await,
            #[cfg(test)]
            Self::Script(script) => script.answer(name).await,
        }
    }
}

impl System {
    async fn ask(&self, name: &str) -> Result<Answer, FailureKind> {
        // Before any question: one for the other family would wait for a resolver that the name does not need.
        let addresses = self.written_down(name);
        if !addresses.is_empty() {
            return Ok(Answer {
                addresses,
                // The file is not read again.
                ttl: Duration::MAX,
            });
        }
        let resolver = self.resolver.as_ref().ok_or(FailureKind::ResolverFailed)?;
        let asked = self.absolute(name);
        let found = resolver.lookup_ip(asked.as_str()).await.map_err(|error| {
            tracing::debug!(name, %error, "lookup");
            failure_of(&error, || UdpSocket::bind(ANY))
        })?;
        let records = found.as_lookup().answers();
        let led = |record: &&Record| !self.zone.may_lead(&asked, &record.name.to_ascii());
        if let Some(record) = records.iter().find(led) {
            tracing::debug!(name, alias = %record.name, "an alias leads into another namespace of the cluster");
            return Err(FailureKind::NameNotFound);
        }
        let ttl = records.iter().map(|record| record.ttl).min().unwrap_or_default();
        Ok(Answer {
            addresses: found.iter().collect(),
            ttl: Duration::from_secs(ttl.into()),
        })
    }

    /// The whole name, which no search list is tried for.
    fn absolute(&self, name: &str) -> String {
        let name = name.trim_end_matches('.');
        let last = name.rsplit('.').next().unwrap_or_default();
        if ["svc", "pod"]
            .iter()
            .any(|inside| last.eq_ignore_ascii_case(inside))
        {
            format!("{name}.{}.", self.zone.domain())
        } else {
            format!("{name}.")
        }
    }

    fn written_down(&self, name: &str) -> Vec<IpAddr> {
        let Ok(name) = Name::from_utf8(name) else {
            return Vec::new();
        };
        [RecordType::A, RecordType::AAAA]
            .into_iter()
            .filter_map(|family| self.hosts.lookup_static_host(&Query::query(name.clone(), family)))
            .flat_map(|lookup| {
                lookup
                    .answers()
                    .iter()
                    .filter_map(|record| record.data.ip_addr())
                    .collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The domain of the cluster as `/etc/resolv.conf` of a Pod has it: its search list has it, and `svc.` before it.
#[must_use]
pub fn cluster_domain() -> Option<String> {
    let (config, _) = read_system_conf().ok()?;
    domain_in(config.search().iter().map(Name::to_ascii))
}

/// The shortest one, as a namespace may be called svc.
fn domain_in(searched: impl Iterator<Item = String>) -> Option<String> {
    let plain = |name: String| name.trim_end_matches('.').to_ascii_lowercase();
    let searched: Vec<_> = searched.map(plain).collect();
    let domains = searched.iter().filter_map(|name| name.strip_prefix("svc."));
    let whole = domains.filter(|domain| searched.iter().any(|name| name == domain));
    whole.min_by_key(|domain| domain.len()).map(str::to_owned)
}

fn system_resolver() -> Result<TokioResolver, NetError> {
    TokioResolver::builder_tokio().and_then(configured)
}

fn configured(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    // Each answer is a fresh one: it is kept here.
    options.cache_size = 0;
    builder.build()
}

/// `socket` opens one, as a question needs it.
fn failure_of(error: &NetError, socket: impl FnOnce() -> io::Result<UdpSocket>) -> FailureKind {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if [ResponseCode::NXDomain, ResponseCode::NoError].contains(&none.response_code) =>
        {
            FailureKind::NameNotFound
        }
        // Not a name at all.
        NetError::Proto(_) => FailureKind::NameNotFound,
        // It does not say why.
        NetError::NoConnections if socket().is_err_and(|error| is_own_lack(&error)) => {
            FailureKind::OutOfResources
        }
        _ => FailureKind::ResolverFailed,
    }
}

#[cfg(test)]
pub(crate) mod tests;
