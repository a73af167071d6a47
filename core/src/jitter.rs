//! How much sooner than its interval a check comes, so that checks of many targets do not gather.

use super::target::ProbeKey;

/// 0 to 100, for the check of this number of a target. An input, so that exact times can be asked for.
pub type Jitter = fn(&ProbeKey, u64) -> u8;

/// Every check comes when its interval is over.
#[must_use]
pub const fn none(_: &ProbeKey, _: u64) -> u8 {
    0
}

/// From the target and the count of its checks: spread without chance, and the same after a restart.
#[must_use]
pub fn spread(key: &ProbeKey, number: u64) -> u8 {
    let bytes = key
        .policy
        .namespace
        .bytes()
        .chain(key.policy.name.bytes())
        .chain(key.target.endpoint.as_str().bytes());
    let hash = bytes
        .chain(number.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    u8::try_from((hash >> 32) % 101).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PolicyKey, TargetId};

    fn key(policy: &str, endpoint: &str) -> ProbeKey {
        ProbeKey {
            policy: PolicyKey::new("shop", policy),
            target: TargetId::host(endpoint.into()),
        }
    }

    #[test]
    fn shares_are_spread_over_targets_policies_and_checks() {
        let spread_over = |shares: &mut dyn Iterator<Item = u8>| {
            let mut shares: Vec<_> = shares.collect();
            assert!(shares.iter().all(|share| *share <= 100));
            shares.sort_unstable();
            let widest = shares.windows(2).map(|pair| pair[1] - pair[0]).max();
            assert!(shares[0] < 10 && shares[shares.len() - 1] > 90, "{shares:?}");
            assert!(widest < Some(15), "{shares:?}");
        };
        spread_over(&mut (0..64).map(|number| spread(&key("orders", &format!("replica-{number}")), 1)));
        spread_over(&mut (0..64).map(|number| spread(&key(&format!("policy-{number}"), "a"), 1)));
        spread_over(&mut (0..64).map(|number| spread(&key("orders", "a"), number)));
    }

    #[test]
    fn the_same_check_has_the_same_share_after_a_restart() {
        assert_eq!(spread(&key("orders", "a"), 1), spread(&key("orders", "a"), 1));
    }

    #[test]
    fn without_jitter_there_is_no_share() {
        assert_eq!(none(&key("orders", "a"), 7), 0);
    }
}
