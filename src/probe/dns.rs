//! From a host to the addresses that a check may connect to.
//!
//! Names are resolved as the system's configuration says (`/etc/resolv.conf`: name servers, search list, `ndots`; and
//! `/etc/hosts`), both read once. An answer is used for its TTL. When a later lookup fails, the last good answer serves
//! for [`stale_bound`]: an unreachable resolver alone takes no server out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;

use crate::clock::Clock;
use crate::domain::moment::Moment;
use crate::domain::observation::{FailureClass, FailureKind};
use crate::domain::policy::Host;

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

/// Resolves names. Clones share what they remember.
#[derive(Clone)]
pub struct Resolver {
    clock: Clock,
    lookup: Lookup,
    remembered: Arc<Mutex<HashMap<String, Remembered>>>,
    allowed: fn(IpAddr) -> bool,
}

#[derive(Clone)]
enum Lookup {
    System(Box<TokioResolver>),
    /// The system names no resolver.
    Nobody,
    #[cfg(test)]
    Script(tests::Script),
}

#[derive(Clone)]
struct Remembered {
    addresses: Vec<IpAddr>,
    until: Moment,
}

/// What a lookup found.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Answer {
    addresses: Vec<IpAddr>,
    ttl: Duration,
}

impl Resolver {
    /// A resolver by the system's configuration. Without one every name fails with
    /// [`FailureKind::ResolverFailed`], and declared addresses work.
    #[must_use]
    pub fn from_system(clock: Clock) -> Self {
        let lookup = match system_resolver() {
            Ok(resolver) => Lookup::System(Box::new(resolver)),
            Err(error) => {
                tracing::warn!(%error, "no resolver: names cannot be resolved");
                Lookup::Nobody
            }
        };
        Self {
            clock,
            lookup,
            remembered: Arc::default(),
            allowed: address_allowed,
        }
    }

    /// The addresses of `host` that may be connected to, of both families, in ascending order, at least one. A lookup
    /// takes at most `within`.
    ///
    /// # Errors
    /// [`FailureKind::NameNotFound`], [`FailureKind::ResolverFailed`], or [`FailureKind::AddressRefused`] where the
    /// host has none but refused addresses.
    pub async fn addresses(&self, host: &Host, within: Duration) -> Result<Vec<IpAddr>, FailureKind> {
        let mut addresses = match host {
            Host::Address(address) => vec![address.to_canonical()],
            Host::Name(name) => self.resolve(name, within).await?,
        };
        addresses.retain(|address| (self.allowed)(*address));
        if addresses.is_empty() {
            Err(FailureKind::AddressRefused)
        } else {
            Ok(addresses)
        }
    }

    #[cfg(test)]
    pub(super) fn anywhere(clock: Clock) -> Self {
        Self {
            clock,
            lookup: Lookup::Nobody,
            remembered: Arc::default(),
            allowed: |_| true,
        }
    }

    async fn resolve(&self, name: &str, within: Duration) -> Result<Vec<IpAddr>, FailureKind> {
        let answer = tokio::time::timeout(within, self.lookup.ask(name)).await;
        match answer.unwrap_or(Err(FailureKind::ResolverFailed)) {
            Ok(answer) => {
                let addresses = in_order(answer.addresses);
                self.remember(name, &addresses, answer.ttl);
                Ok(addresses)
            }
            Err(failure) => self.recall(name).ok_or(failure),
        }
    }

    fn remember(&self, name: &str, addresses: &[IpAddr], ttl: Duration) {
        let now = self.clock.now();
        let until = now + stale_bound(ttl);
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // Who is not asked for is not answered, and so forgotten here.
        remembered.retain(|_, answer| answer.until > now);
        let entry = remembered.entry(name.to_owned()).or_insert(Remembered {
            addresses: Vec::new(),
            until,
        });
        entry.addresses = addresses.to_vec();
        // An answer from the resolver's cache has less of its TTL left than the one before: it shortens nothing.
        entry.until = entry.until.max(until);
    }

    fn recall(&self, name: &str) -> Option<Vec<IpAddr>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = remembered.get(name)?;
        (answer.until > self.clock.now()).then(|| answer.addresses.clone())
    }
}

impl Lookup {
    async fn ask(&self, name: &str) -> Result<Answer, FailureKind> {
        match self {
            Self::Nobody => Err(FailureKind::ResolverFailed),
            Self::System(resolver) => ask_resolver(resolver, name).await,
            #[cfg(test)]
            Self::Script(script) => script.answer(name).await,
        }
    }
}

async fn ask_resolver(resolver: &TokioResolver, name: &str) -> Result<Answer, FailureKind> {
    let found = resolver.lookup_ip(name).await.map_err(|error| {
        tracing::debug!(name, %error, "lookup");
        failure_of(&error)
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

fn system_resolver() -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio()?;
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.cache_size = CACHE_SIZE;
    options.negative_max_ttl = Some(NEGATIVE_TTL);
    builder.build()
}

fn failure_of(error: &NetError) -> FailureKind {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if [ResponseCode::NXDomain, ResponseCode::NoError].contains(&none.response_code) =>
        {
            FailureKind::NameNotFound
        }
        // Not a name at all.
        NetError::Proto(_) => FailureKind::NameNotFound,
        _ => FailureKind::ResolverFailed,
    }
}

/// For how long after a good answer its addresses are used when the resolver fails: three times its TTL, at least
/// 60 s, at most a day.
#[must_use]
pub fn stale_bound(ttl: Duration) -> Duration {
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

/// Whether a server may have this address. Loopback, link-local, multicast, unspecified and broadcast addresses mean
/// something else on each node; `EndpointSlice`s may not hold them. An IPv4 address mapped into IPv6 is the same.
#[must_use]
pub fn address_allowed(address: IpAddr) -> bool {
    let special = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let special = v4.is_loopback() || v4.is_multicast() || v4.is_unspecified();
            !special && !v4.is_link_local() && v4 != Ipv4Addr::BROADCAST
        }
        IpAddr::V6(v6) => !special && !v6.is_unicast_link_local(),
    }
}

/// Which of a host's addresses is checked: the preferred one; without it, one after the other, so that a dead one does
/// not hide a good one. After a failed check it is another one's turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    turn: usize,
    failed: Option<IpAddr>,
}

impl Rotation {
    /// Chooses of `addresses`; `None` where there are none.
    pub fn choose(&mut self, addresses: &[IpAddr], prefer: Option<IpAddr>) -> Option<IpAddr> {
        let usable = |address: &IpAddr| addresses.len() == 1 || Some(*address) != self.failed;
        if let Some(prefer) = prefer.filter(|prefer| addresses.contains(prefer) && usable(prefer)) {
            return Some(prefer);
        }
        let start = self.turn.checked_rem(addresses.len())?;
        let skipped =
            (0..addresses.len()).find(|skip| usable(&addresses[(start + skip) % addresses.len()]))?;
        let chosen = (start + skipped) % addresses.len();
        self.turn = chosen + 1;
        Some(addresses[chosen])
    }

    /// Notes how the check of `address` ended. Only what speaks against the server, not against the login, makes it
    /// another one's turn.
    pub fn note(&mut self, address: Option<IpAddr>, failure: Option<FailureKind>) {
        let against =
            |kind: FailureKind| matches!(kind.class(), FailureClass::Dead { .. } | FailureClass::Transient);
        self.failed = address.filter(|_| failure.is_some_and(against));
    }
}

#[cfg(test)]
mod tests;
