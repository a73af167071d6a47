//! How much is done at once, and what is demanded of every login.

use distributary_core::login::TlsMode;

/// How many checks, and openings of held sessions, may be under way at once; and what no login goes below, or above, whatever a
/// policy asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// For all policies of a [`Registry`](crate::Registry) together; 0 is taken for 1. A namespace has at most half of them.
    pub all: usize,
    /// For one policy at most; 0 is taken for 1.
    pub policy: usize,
    /// The least TLS; `Disable`: what the policy asks for.
    pub tls: TlsMode,
    /// The most iterations of SCRAM that are done for a login; below 4096 there is none.
    pub scram_iterations: u32,
}

impl Default for Limits {
    /// 256 for all policies, 16 for one; any TLS; 20,000 iterations.
    fn default() -> Self {
        Self {
            all: 256,
            policy: 16,
            tls: TlsMode::Disable,
            scram_iterations: 20_000,
        }
    }
}
