//! From a host to the addresses that a check may connect to.
//!
//! A name in `/etc/hosts` has the addresses that stand there. Others are resolved as `/etc/resolv.conf` says: name servers,
//! search list, `ndots`. Both files are read once. An answer is used for its TTL. When a later lookup fails, the last good
//! answer serves for [`stale_bound`]: an unreachable resolver alone takes no server out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};

use super::address::AddressRules;
use super::classify::is_own_lack;
use super::clock::Clock;
use distributary_core::moment::Moment;
use distributary_core::observation::FailureKind;
use distributary_core::server::Host;

/// The least time for which a good answer outlives the resolver.
const LEAST_STALE: Duration = Duration::from_mins(1);
/// The longest time, whatever the TTL.
const MOST_STALE: Duration = Duration::from_hours(24);
/// The longest time for which "no such name" is believed without asking again.
const NEGATIVE_TTL: Duration = Duration::from_secs(1);
/// Answers that the resolver keeps for their TTL.
const CACHE_SIZE: u64 = 1024;
/// Addresses of one name that are used, the lowest.
const ADDRESSES: usize = 64;

/// Any address and port of this machine.
const ANY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

/// Resolves names by the system's configuration: `/etc/hosts`, then the name servers, search list and options of
/// `/etc/resolv.conf`, both read once. Clones share what they remember.
///
/// # Guarantees
/// - An answer is asked for again after its TTL; "no such name" after a second.
/// - Where a later lookup fails, the last good answer serves for three times its TTL, at least 60 s, at most a day: an
///   unreachable resolver alone takes no server out.
/// - Of a name at most 64 addresses are used, the lowest ones.
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
}

/// The names that were asked for, and when nothing of each may be used any more.
#[derive(Default)]
struct RememberedNames {
    names: HashMap<String, Remembered>,
    ends: BTreeSet<(Moment, String)>,
}

/// The addresses that a name had, each with the moment until which it may be used without being returned again.
#[derive(Default)]
struct Remembered(BTreeMap<IpAddr, Moment>);

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
    pub fn from_system(clock: Clock, rules: AddressRules) -> Self {
        let warn =
            |error: &dyn std::fmt::Display| tracing::warn!(%error, "no resolver: names cannot be resolved");
        let hosts = Hosts::from_system().unwrap_or_default();
        let resolver = system_resolver().inspect_err(|error| warn(error)).ok();
        Self::new(clock, Lookup::System(Arc::new(System { hosts, resolver })), rules)
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
    /// takes at most `within`. The address `keep` is among them where the name had it, by an answer that may still be used.
    ///
    /// # Errors
    /// [`FailureKind::NameNotFound`], [`FailureKind::ResolverFailed`], [`FailureKind::OutOfResources`] where this process
    /// could not ask, or [`FailureKind::AddressRefused`] where the host has none but refused addresses.
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
        addresses.retain(|address| self.rules.allows(*address));
        if addresses.is_empty() {
            Err(FailureKind::AddressRefused)
        } else {
            Ok(addresses)
        }
    }

    /// Every name is 127.0.0.1, and every address is allowed.
    #[cfg(test)]
    pub(crate) fn anywhere(clock: Clock) -> Self {
        let lookup = Lookup::Script(tests::Script::always_loopback());
        Self::new(clock, lookup, AddressRules::anything())
    }

    async fn resolve(
        &self,
        name: &str,
        keep: Option<IpAddr>,
        within: Duration,
    ) -> Result<Vec<IpAddr>, FailureKind> {
        let answer = tokio::time::timeout(within, self.lookup.ask(name)).await;
        match answer.unwrap_or(Err(FailureKind::ResolverFailed)) {
            Ok(answer) => {
                let mut addresses = in_order(answer.addresses);
                let known = self.remember(name, &addresses, answer.ttl);
                let kept = keep.filter(|keep| known.contains(keep) && !addresses.contains(keep));
                addresses.extend(kept);
                addresses.sort_unstable();
                Ok(addresses)
            }
            Err(failure) => self.recall(name).ok_or(failure),
        }
    }

    /// Notes an answer; every address that the name had and that may still be used.
    fn remember(&self, name: &str, addresses: &[IpAddr], ttl: Duration) -> Vec<IpAddr> {
        let now = self.clock.now();
        let until = now + stale_bound(ttl);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // Who is not asked for is not answered, and so forgotten here.
        remembered.forget(now);
        remembered.add(name, addresses, until, now)
    }

    fn recall(&self, name: &str) -> Option<Vec<IpAddr>> {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let known = remembered.names.get_mut(name)?;
        known
            .forget(self.clock.now())
            .then(|| known.0.keys().copied().collect())
    }
}

impl RememberedNames {
    /// Forgets the names of which nothing may be used any more.
    fn forget(&mut self, now: Moment) {
        while self.ends.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, name)) = self.ends.pop_first() {
                self.names.remove(&name);
            }
        }
    }

    /// Notes the addresses of a name, which may be used until then; all that it has.
    fn add(&mut self, name: &str, addresses: &[IpAddr], until: Moment, now: Moment) -> Vec<IpAddr> {
        let known = self.names.entry(name.to_owned()).or_default();
        if let Some(end) = known.end() {
            self.ends.remove(&(end, name.to_owned()));
        }
        known.forget(now);
        for address in addresses {
            let entry = known.0.entry(*address).or_insert(until);
            // An answer from the resolver's cache has less of its TTL left than the one before: it shortens nothing.
            *entry = until.max(*entry);
        }
        if let Some(end) = known.end() {
            self.ends.insert((end, name.to_owned()));
        }
        known.0.keys().copied().collect()
    }
}

impl Remembered {
    /// When nothing of it may be used any more.
    fn end(&self) -> Option<Moment> {
        self.0.values().max().copied()
    }

    /// Forgets what is too old; whether anything is left.
    fn forget(&mut self, now: Moment) -> bool {
        self.0.retain(|_, until| *until > now);
        !self.0.is_empty()
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
                ttl: Duration::ZERO,
            });
        }
        let resolver = self.resolver.as_ref().ok_or(FailureKind::ResolverFailed)?;
        let found = resolver.lookup_ip(name).await.map_err(|error| {
            tracing::debug!(name, %error, "lookup");
            failure_of(&error, || UdpSocket::bind(ANY))
        })?;
        let addresses: Vec<IpAddr> = found.iter().collect();
        let ttl = found
            .as_lookup()
            .answers()
            .iter()
            .map(|record| record.ttl)
            .min()
            .unwrap_or_default();
        if addresses.is_empty() {
            return Err(FailureKind::NameNotFound);
        }
        Ok(Answer {
            addresses,
            ttl: Duration::from_secs(ttl.into()),
        })
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

fn system_resolver() -> Result<TokioResolver, NetError> {
    TokioResolver::builder_tokio().and_then(configured)
}

fn configured(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, NetError> {
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = CACHE_SIZE;
    options.negative_max_ttl = Some(NEGATIVE_TTL);
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

/// For how long after a good answer its addresses are used when the resolver fails: three times its TTL, at least
/// 60 s, at most a day.
fn stale_bound(ttl: Duration) -> Duration {
    ttl.saturating_mul(3).clamp(LEAST_STALE, MOST_STALE)
}

fn in_order(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = addresses
        .into_iter()
        .map(|address| address.to_canonical())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(ADDRESSES);
    addresses
}

#[cfg(test)]
mod tests;
