//! PURE. The arms: ways to reach the same servers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A way to reach the servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Arm {
    /// Everything on the primary.
    #[serde(rename = "a")]
    Primary,
    /// Everything on one server with the quotas of all five.
    #[serde(rename = "a5")]
    Big,
    /// libpq's `load_balance_hosts=random` over all replicas.
    #[serde(rename = "r")]
    Random,
    /// HAProxy with `option pgsql-check`.
    #[serde(rename = "h")]
    Haproxy,
    /// `NAME-rw`, `NAME-ro`, `NAME-analytics` through kube-proxy.
    #[serde(rename = "b")]
    Services,
    /// The Rust client for reads, `NAME-rw` for writes.
    #[serde(rename = "c")]
    Client,
}

impl Arm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Primary,
        Self::Big,
        Self::Random,
        Self::Haproxy,
        Self::Services,
        Self::Client,
    ];
    /// Those that share the five servers, so that the same faults hit them.
    pub const SHARING: [Self; 5] = [
        Self::Primary,
        Self::Random,
        Self::Haproxy,
        Self::Services,
        Self::Client,
    ];

    /// Its letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Primary => "a",
            Self::Big => "a5",
            Self::Random => "r",
            Self::Haproxy => "h",
            Self::Services => "b",
            Self::Client => "c",
        }
    }

    /// What it is, in a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Primary => "all on the primary",
            Self::Big => "one server with five quotas",
            Self::Random => "replicas by chance",
            Self::Haproxy => "HAProxy",
            Self::Services => "Services",
            Self::Client => "Rust client",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.letter())
    }
}
