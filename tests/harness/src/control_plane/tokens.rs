//! Tokens of service accounts, signed anew with another time.

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use rcgen::{KeyPair, SigningKey};
use serde_json::{Value, json};

use super::ControlPlane;

/// Bytes of each of the two numbers of a signature of ES256.
const NUMBER: usize = 32;

impl ControlPlane {
    /// The same token, which expires so many seconds after it was issued; a token is issued for hours, so that one with -60 has
    /// expired a minute before. The API server knows its signature.
    ///
    /// # Errors
    /// When it is no token of this control plane.
    pub fn expiring(&self, token: &str, seconds: i64) -> Result<String> {
        let parts: Vec<_> = token.split('.').collect();
        ensure!(parts.len() == 3, "not a token");
        let mut claims: Value = serde_json::from_slice(&decoded(parts[1])?)?;
        let issued = claims["iat"].as_i64().context("no time of issue")?;
        claims["exp"] = json!(issued + seconds);
        for time in ["iat", "nbf"] {
            claims[time] = json!(issued - 3600);
        }
        let signed = format!("{}.{}", parts[0], encoded(claims.to_string().into_bytes())?);
        let key = std::fs::read_to_string(self.credentials.file("tokens.key"))?;
        let signature = KeyPair::from_pem(&key)?.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", encoded(plain(&signature)?)?))
    }
}

/// Two numbers as DER has them (a sequence of two integers), as JWS has them.
fn plain(der: &[u8]) -> Result<Vec<u8>> {
    let mut rest = der.get(2..).context("no sequence")?;
    let mut numbers = vec![];
    for _ in 0..2 {
        let length = usize::from(*rest.get(1).context("no integer")?);
        let integer = rest.get(2..2 + length).context("a short integer")?;
        let digits = &integer[length.saturating_sub(NUMBER)..];
        numbers.extend(vec![0; NUMBER - digits.len()]);
        numbers.extend_from_slice(digits);
        rest = &rest[2 + length..];
    }
    Ok(numbers)
}

/// Base64 as in a URL, without padding.
fn encoded(bytes: Vec<u8>) -> Result<String> {
    let text = serde_json::to_value(ByteString(bytes))?;
    let text = text.as_str().context("no text")?;
    Ok(text.trim_end_matches('=').replace('+', "-").replace('/', "_"))
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    let mut text = text.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    Ok(serde_json::from_value::<ByteString>(json!(text))?.0)
}
