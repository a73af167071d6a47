//! Words that only the routing table has.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::login::TlsMode;
use crate::words::words;

/// The version of `routing.json`. A change that breaks a reader takes a new one.
pub const VERSION: &str = "routing.distributary.dev/v1";

/// [`VERSION`], and no other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(VERSION)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        if word == VERSION {
            Ok(Self)
        } else {
            Err(serde::de::Error::custom("another version"))
        }
    }
}

/// Transport security in libpq's words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(const_into_str, serialize_all = "kebab-case")]
pub enum SslMode {
    Disable,
    Require,
    VerifyCa,
    VerifyFull,
}

impl From<TlsMode> for SslMode {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Disable => Self::Disable,
            TlsMode::Require => Self::Require,
            TlsMode::VerifyCa => Self::VerifyCa,
            TlsMode::VerifyFull => Self::VerifyFull,
        }
    }
}

words!(SslMode);
