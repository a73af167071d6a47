//! Who asks: the token of a request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::FromRequestParts;
use axum::http::{HeaderMap, header, request::Parts};
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::http::Lasting;
use crate::k8s::callers::Token;

/// Who asks, by their token.
#[derive(Clone)]
pub struct Caller {
    pub token: Token,
    pub digest: TokenDigest,
    connection: Lasting,
}

/// SHA-256 of a token: tells callers apart where the token is not kept.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub struct TokenDigest([u8; 32]);

impl fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenDigest")
    }
}

impl TokenDigest {
    #[must_use]
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

/// Lies in the extensions of each request to a port that is reached by a right of its own: whoever asks has no token, and needs none.
#[derive(Clone, Debug, Default)]
pub struct Local(Arc<AtomicU64>);

impl Local {
    /// Each caller is another one: what is counted by tokens is bounded by the connections.
    fn caller(&self) -> Option<Caller> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Some(Caller {
            // Never sent: nobody is asked about rights here, and nothing is changed.
            token: Token::new("none")?,
            digest: TokenDigest::of(&format!("local {number}")),
            connection: Lasting::default(),
        })
    }
}

impl Caller {
    /// The API server has told that the token has a right: its connection makes no room for those of others.
    pub(super) fn is_proven(&self) {
        self.connection.protect();
    }

    /// Exactly one header with a token of `RFC 6750`.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(header::AUTHORIZATION).iter();
        let (value, None) = (all.next()?.to_str().ok()?, all.next()) else {
            return None;
        };
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim_matches(' ');
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || !token.bytes().all(is_token) {
            return None;
        }
        Some(Self {
            token: Token::new(token)?,
            digest: TokenDigest::of(token),
            connection: Lasting::default(),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let local = parts.extensions.get::<Local>().and_then(Local::caller);
        let caller = match local {
            Some(caller) => caller,
            None => Self::of(&parts.headers).ok_or_else(Problem::unauthorized)?,
        };
        let connection = parts.extensions.get::<Lasting>().cloned();
        Ok(Self {
            connection: connection.unwrap_or_default(),
            ..caller
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has_caller(values: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        Caller::of(&headers).is_some()
    }

    #[test]
    fn a_caller_has_exactly_one_token_that_is_not_empty() {
        for good in [
            "Bearer abc",
            "bearer abc",
            "Bearer  abc ",
            "Bearer a.b-c_d~e+f/g=",
        ] {
            assert!(has_caller(&[good]), "{good}");
        }
        let bad: [&[&str]; 9] = [
            &[],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["Bearer a b"],
            &["Bearer a,b"],
            &["Basic YTpi"],
            &["Bearer abc", "Bearer abc"],
            &["Bearer abc", "Basic YTpi"],
        ];
        for values in bad {
            assert!(!has_caller(values), "{values:?}");
        }
    }

    #[test]
    fn what_is_kept_of_a_token_does_not_show_it() {
        assert_eq!(format!("{:?}", TokenDigest::of("abc")), "TokenDigest");
        assert_ne!(TokenDigest::of("abc"), TokenDigest::of("abd"));
    }
}
