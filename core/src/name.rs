//! The addresses of a name, by the answers to its lookups.
//!
//! An answer counts for the families (IPv4, IPv6) of which it has an address; for the other one the lookup failed.
//!
//! | an address of the name | an answer with it | the first answer without it | the second in a row | a failed lookup |
//! |---|---|---|---|---|
//! | present | present | missed | | present |
//! | missed | present | | left | missed |
//! | left | present, and the name rotates where the address was in an answer within 10 minutes | | left | left |
//!
//! Of a name that rotates the answers of the last 60 s count together: an address that is missed twice leaves once the
//! newest answer came 60 s after the last one with it. A name rotates until no address returned for 10 minutes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::moment::Moment;
use super::observation::FailureKind;

/// Answers in a row without an address, after which it leaves.
const MISSES: u32 = 2;
/// The answers of a name that rotates count together for so long.
const TOGETHER: Duration = Duration::from_mins(1);
/// An address that returns within this time shows that the name rotates.
const RETURN: Duration = Duration::from_mins(10);
/// Lookups of one name are at least so far apart.
const LEAST_APART: Duration = Duration::from_secs(1);
/// The least time for which a good answer outlives the resolver.
const LEAST_STALE: Duration = Duration::from_mins(1);
/// The longest time, whatever the TTL.
const MOST_STALE: Duration = Duration::from_hours(24);
/// Addresses of one name that are used, the lowest.
const USED: usize = 64;
/// Addresses of one name that are remembered, the newest.
const REMEMBERED: usize = 256;

/// What the lookups of one name told.
#[derive(Debug, Default)]
pub struct KnownName {
    addresses: BTreeMap<IpAddr, KnownAddress>,
    /// The TTL of the newest good answer.
    ttl: Option<Duration>,
    newest: Option<Lookup>,
    /// When an address returned.
    rotated: Option<Moment>,
}

/// How the newest lookup ended, and when.
#[derive(Clone, Copy, Debug)]
struct Lookup {
    ended: Moment,
    failure: Option<FailureKind>,
}

#[derive(Clone, Copy, Debug)]
struct KnownAddress {
    /// The newest answer that had it.
    seen: Moment,
    /// Until then it is used when lookups fail.
    until: Moment,
    /// Answers without it since then, and the newest of them.
    misses: u32,
    missed: Moment,
}

impl KnownName {
    /// Takes an address that was the name's before anybody asked here: it leaves as any other does.
    pub fn assume(&mut self, address: IpAddr, now: Moment) {
        if self.ttl.is_none() {
            let known = KnownAddress::seen(now, now + LEAST_STALE);
            self.addresses.entry(address.to_canonical()).or_insert(known);
        }
    }

    /// Takes in a good answer. Without any address it is a failed lookup.
    pub fn answer(&mut self, addresses: &[IpAddr], ttl: Duration, now: Moment) {
        let mut addresses: Vec<_> = addresses.iter().map(IpAddr::to_canonical).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let Some(first) = addresses.first() else {
            return self.fail(FailureKind::NameNotFound, now);
        };
        let (ipv4, ipv6) = (first.is_ipv4(), addresses.iter().any(IpAddr::is_ipv6));
        let until = now + stale_bound(ttl);
        for (address, known) in &mut self.addresses {
            if addresses.binary_search(address).is_ok() {
                if known.returns(now) {
                    self.rotated = Some(now);
                }
                // A resolver with a cache tells less and less of the TTL: that shortens nothing.
                *known = KnownAddress::seen(now, until.max(known.until));
            } else if (address.is_ipv4() && ipv4) || (address.is_ipv6() && ipv6) {
                (known.misses, known.missed) = (known.misses.saturating_add(1), now);
            }
        }
        for address in addresses.into_iter().take(USED) {
            let new = KnownAddress::seen(now, until);
            self.addresses.entry(address).or_insert(new);
        }
        self.ttl = Some(ttl);
        self.newest = Some(Lookup {
            ended: now,
            failure: None,
        });
        self.forget(now);
    }

    /// Takes in that a lookup failed: what was known stays, for its time.
    pub fn fail(&mut self, failure: FailureKind, now: Moment) {
        self.newest = Some(Lookup {
            ended: now,
            failure: Some(failure),
        });
    }

    /// The addresses to use, in ascending order: those that the newest answers had; and `keep`, where it is the name's.
    ///
    /// # Errors
    /// How the newest lookup failed, where no address is left.
    pub fn addresses(&self, keep: Option<IpAddr>, now: Moment) -> Result<Vec<IpAddr>, FailureKind> {
        let rotates = self.rotates(now);
        let usable = |known: &KnownAddress| known.until > now && !known.has_left(rotates);
        let current = self.addresses.iter().filter(|(_, known)| usable(known));
        let current = current.filter(|(_, known)| known.misses == 0 || rotates);
        let mut found: Vec<_> = current.map(|(address, _)| *address).take(USED).collect();
        let keep = keep.map(|keep| keep.to_canonical());
        let kept = keep.filter(|keep| self.addresses.get(keep).is_some_and(usable) && !found.contains(keep));
        found.extend(kept);
        found.sort_unstable();
        if found.is_empty() {
            let failure = self.newest.and_then(|newest| newest.failure);
            return Err(failure.unwrap_or(FailureKind::NameNotFound));
        }
        Ok(found)
    }

    /// Whether the name leads elsewhere than to this address.
    #[must_use]
    pub fn has_left(&self, address: IpAddr, now: Moment) -> bool {
        let known = self.addresses.get(&address.to_canonical());
        self.ttl.is_some() && known.is_none_or(|known| known.has_left(self.rotates(now)))
    }

    /// Whether an address returned lately.
    #[must_use]
    pub fn rotates(&self, now: Moment) -> bool {
        self.rotated.is_some_and(|rotated| now.since(rotated) < RETURN)
    }

    /// Whether the newest lookup still tells: nobody asks before its TTL is over, or a second after a failure.
    #[must_use]
    pub fn is_current(&self, now: Moment) -> bool {
        self.newest.is_some_and(|newest| {
            let ttl = self.ttl.filter(|_| newest.failure.is_none());
            now < newest.ended + ttl.unwrap_or_default().clamp(LEAST_APART, MOST_STALE)
        })
    }

    /// When the name is looked up again: at its TTL, at most `apart` and at least a second after the newest lookup.
    #[must_use]
    pub fn due(&self, apart: Duration) -> Moment {
        self.newest.map_or(Moment::default(), |newest| {
            newest.ended + self.ttl.unwrap_or(apart).min(apart).max(LEAST_APART)
        })
    }

    /// When nothing is known of it any more, unless it is looked up again.
    #[must_use]
    pub fn end(&self) -> Option<Moment> {
        let ends = self.addresses.values().map(KnownAddress::end);
        let newest = self.newest.map(|newest| newest.ended + LEAST_APART);
        ends.chain(newest).max()
    }

    fn forget(&mut self, now: Moment) {
        self.addresses.retain(|_, known| known.end() > now);
        while self.addresses.len() > REMEMBERED {
            let oldest = self.addresses.iter().min_by_key(|(_, known)| known.seen);
            let Some(oldest) = oldest.map(|(address, _)| *address) else {
                return;
            };
            self.addresses.remove(&oldest);
        }
    }
}

impl KnownAddress {
    const fn seen(now: Moment, until: Moment) -> Self {
        Self {
            seen: now,
            until,
            misses: 0,
            missed: now,
        }
    }

    fn has_left(&self, rotates: bool) -> bool {
        self.misses >= MISSES && (!rotates || self.missed.since(self.seen) >= TOGETHER)
    }

    /// Whether an answer that has it shows that the name rotates.
    fn returns(&self, now: Moment) -> bool {
        self.misses >= MISSES && now.since(self.seen) <= RETURN
    }

    fn end(&self) -> Moment {
        self.until.max(self.seen + RETURN)
    }
}

/// For how long after a good answer its addresses are used when lookups fail: three times its TTL, at least 60 s, at most a
/// day.
fn stale_bound(ttl: Duration) -> Duration {
    ttl.saturating_mul(3).clamp(LEAST_STALE, MOST_STALE)
}

#[cfg(test)]
mod tests;
