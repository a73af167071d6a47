//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), for one password. It proves that it knows the password and
//! believes every client.

use std::num::NonZeroU32;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{hmac, pbkdf2};

const ROUNDS: u32 = 4096;
const SALT: &[u8; 16] = b"sixteen bytes it";

/// What the server keeps of a password.
pub struct Verifier(hmac::Key);

/// An exchange after its first message.
pub struct Exchange {
    client_first: String,
    server_first: String,
}

impl Verifier {
    pub fn of(password: &str) -> Self {
        let rounds = NonZeroU32::new(ROUNDS).unwrap_or(NonZeroU32::MIN);
        let mut salted = [0; 32];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            rounds,
            SALT,
            password.as_bytes(),
            &mut salted,
        );
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        Self(hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(&salted, b"Server Key").as_ref(),
        ))
    }

    /// The server's last message, for the client's.
    pub fn last(&self, exchange: &Exchange, client_last: &str) -> Result<String> {
        let (without_proof, _) = client_last.rsplit_once(",p=").context("no proof")?;
        let all = format!(
            "{},{},{without_proof}",
            exchange.client_first, exchange.server_first
        );
        Ok(format!(
            "v={}",
            BASE64.encode(hmac::sign(&self.0, all.as_bytes()).as_ref())
        ))
    }
}

impl Exchange {
    /// Begins with the client's first message; the second value is the server's.
    pub fn begin(client_first: &str) -> Result<(Self, String)> {
        // Before it is the header of the channel binding, such as `n,,`.
        let bare = client_first.splitn(3, ',').nth(2).context("no header")?;
        let nonce = bare
            .split(',')
            .find_map(|part| part.strip_prefix("r="))
            .context("no nonce")?;
        let server_first = format!("r={nonce}stub,s={},i={ROUNDS}", BASE64.encode(SALT));
        let exchange = Self {
            client_first: bare.to_owned(),
            server_first: server_first.clone(),
        };
        Ok((exchange, server_first))
    }
}
