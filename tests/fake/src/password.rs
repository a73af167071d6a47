//! The server's side of SCRAM-SHA-256 (RFC 5802, RFC 7677).

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use postgres_protocol::password::scram_sha_256;
use ring::{digest, hmac, pbkdf2};

/// What a server keeps of a password.
pub struct Verifier {
    rounds: String,
    salt: String,
    stored_key: Vec<u8>,
    server_key: hmac::Key,
}

/// An exchange after its first message.
pub(crate) struct Exchange {
    client_first: String,
    pub(crate) server_first: String,
}

impl Verifier {
    /// Of this password; it takes thousands of rounds.
    ///
    /// # Panics
    /// When postgres-protocol writes verifiers in another form.
    pub fn of(password: &str) -> Self {
        // SCRAM-SHA-256$rounds:salt$StoredKey:ServerKey, as PostgreSQL keeps it.
        let kept = scram_sha_256(password.as_bytes());
        let [_, rounds, salt, stored, server] = kept.split(['$', ':']).collect::<Vec<_>>()[..] else {
            unreachable!("postgres-protocol writes five parts");
        };
        let key = |text| BASE64.decode(text).expect("postgres-protocol writes base64");
        Self {
            rounds: rounds.to_owned(),
            salt: salt.to_owned(),
            stored_key: key(stored),
            server_key: hmac::Key::new(hmac::HMAC_SHA256, &key(server)),
        }
    }

    /// The same, of so many rounds.
    ///
    /// # Panics
    /// When there are none.
    pub fn with_rounds(password: &str, rounds: u32) -> Self {
        const SALT: &[u8] = b"salt of the fake";
        let count = std::num::NonZeroU32::new(rounds).expect("at least one round");
        let mut salted = [0; digest::SHA256_OUTPUT_LEN];
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            count,
            SALT,
            password.as_bytes(),
            &mut salted,
        );
        let salted = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&salted, b"Client Key");
        Self {
            rounds: rounds.to_string(),
            salt: BASE64.encode(SALT),
            stored_key: digest::digest(&digest::SHA256, client_key.as_ref())
                .as_ref()
                .to_vec(),
            server_key: hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&salted, b"Server Key").as_ref()),
        }
    }

    /// Begins with the client's first message.
    pub(crate) fn begin(&self, client_first: &str) -> io::Result<Exchange> {
        // Before it is the header of the channel binding, such as `n,,`.
        let bare = client_first.splitn(3, ',').nth(2).ok_or_else(garbled)?;
        let nonce = bare.split(',').find_map(|part| part.strip_prefix("r="));
        let (nonce, salt, rounds) = (nonce.ok_or_else(garbled)?, &self.salt, &self.rounds);
        Ok(Exchange {
            client_first: bare.to_owned(),
            server_first: format!("r={nonce}fake,s={salt},i={rounds}"),
        })
    }

    /// The server's last message, for the client's; `None`: the client does not know the password.
    pub(crate) fn finish(&self, exchange: &Exchange, client_last: &str) -> io::Result<Option<String>> {
        let (without_proof, proof) = client_last.rsplit_once(",p=").ok_or_else(garbled)?;
        let all = [&exchange.client_first, &exchange.server_first, without_proof].join(",");
        let stored_key = hmac::Key::new(hmac::HMAC_SHA256, &self.stored_key);
        let signature = hmac::sign(&stored_key, all.as_bytes());
        let proof = BASE64.decode(proof).map_err(|_| garbled())?;
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        if digest::digest(&digest::SHA256, &client_key).as_ref() != self.stored_key {
            return Ok(None);
        }
        let signature = hmac::sign(&self.server_key, all.as_bytes());
        Ok(Some(format!("v={}", BASE64.encode(signature.as_ref()))))
    }
}

fn garbled() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no message of SCRAM")
}
