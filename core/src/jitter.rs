//! How much sooner than its interval a check comes, so that checks of many targets do not gather.

use super::target::ProbeKey;

/// Where the shares come from: an input, so that who wants exact times has them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Jitter {
    /// Every check comes when its interval is over.
    #[default]
    None,
    /// From the target and the count of its checks: spread without chance, and the same after a restart.
    Spread,
}

impl Jitter {
    /// 0 to 100, for the check of this number.
    pub(super) fn of(self, key: &ProbeKey, number: u64) -> u8 {
        match self {
            Self::None => 0,
            Self::Spread => spread(key, number),
        }
    }
}

fn spread(key: &ProbeKey, number: u64) -> u8 {
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
