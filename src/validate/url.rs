//! `postgresql://user:password@host:port/database?sslmode=…` from a Secret.

use super::host::{host, is_routable};
use super::secrets::{Secrets, secret_text};
use crate::api::KeyRef;
use crate::domain::policy::{Location, SecretProblem, Sensitive, TlsMode, Unresolved};

/// What a URL names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerUrl {
    pub location: Location,
    pub user: Option<String>,
    pub password: Option<Sensitive>,
    pub database: Option<String>,
    pub tls: Option<TlsMode>,
}

/// The URL under a key of a Secret. An error says what must hold, and nothing of the URL.
pub fn from_secret(reference: &KeyRef, secrets: &Secrets) -> Result<ServerUrl, Unresolved> {
    let text = secret_text(secrets, &reference.name, &reference.key)?;
    parse(text.trim()).map_err(|must| Unresolved {
        secret: reference.name.clone(),
        problem: SecretProblem::Malformed {
            key: reference.key.clone(),
            must,
        },
    })
}

fn parse(text: &str) -> Result<ServerUrl, &'static str> {
    let rest = ["postgresql://", "postgres://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let rest = rest.ok_or("must begin with postgresql://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login
        .split_once(':')
        .map_or((login, None), |(user, password)| (user, Some(password)));
    Ok(ServerUrl {
        location: location(server)?,
        user: optional(&decode(user)?),
        password: password
            .map(decode)
            .transpose()?
            .map(|password| Sensitive::new(&password)),
        database: optional(&decode(database)?),
        tls: sslmode(query),
    })
}

fn location(server: &str) -> Result<Location, &'static str> {
    const PORT: &str = "must have a port between 1 and 65535";
    if server.contains(',') {
        return Err("must name exactly one host");
    }
    let (name, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address, port.strip_prefix(':')),
        None => server
            .split_once(':')
            .map_or((server, None), |(name, port)| (name, Some(port))),
    };
    let port = match port {
        None | Some("") => 5432,
        Some(port) => port.parse::<u16>().ok().filter(|port| *port > 0).ok_or(PORT)?,
    };
    let host = host(&decode(name)?).ok_or("must name a host: a DNS name, an IPv4 or an IPv6 address")?;
    if !is_routable(&host) {
        return Err("must not name a loopback, link-local, multicast or unspecified address");
    }
    Ok(Location { host, port })
}

/// The modes that libpq and a policy share; the others leave the choice to the policy.
fn sslmode(query: &str) -> Option<TlsMode> {
    let mode = query.split('&').find_map(|pair| pair.strip_prefix("sslmode="))?;
    match mode {
        "disable" => Some(TlsMode::Disable),
        "require" => Some(TlsMode::Require),
        "verify-ca" => Some(TlsMode::VerifyCa),
        "verify-full" => Some(TlsMode::VerifyFull),
        _ => None,
    }
}

fn optional(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn decode(text: &str) -> Result<String, &'static str> {
    const ESCAPE: &str = "must escape special characters as % and two hexadecimal digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(ESCAPE);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).map_err(|_| ESCAPE)?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or(ESCAPE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_url_names_everything() {
        let url = parse("postgresql://probe:p%40ss@db.example.com:6432/orders?sslmode=verify-ca").unwrap();
        assert_eq!(url.location.host.to_string(), "db.example.com");
        assert_eq!(url.location.port, 6432);
        assert_eq!(url.user.as_deref(), Some("probe"));
        assert_eq!(url.password.as_ref().map(Sensitive::reveal), Some("p@ss"));
        assert_eq!(url.database.as_deref(), Some("orders"));
        assert_eq!(url.tls, Some(TlsMode::VerifyCa));
    }

    #[test]
    fn what_a_url_leaves_out_stays_open() {
        let url = parse("postgres://[2001:db8::1]").unwrap();
        assert_eq!(
            (url.location.port, url.user, url.database, url.tls),
            (5432, None, None, None)
        );
    }

    #[test]
    fn a_bad_url_is_refused_without_its_text() {
        for text in [
            "mysql://a",
            "postgresql://",
            "postgresql://a,b/",
            "postgresql://a:0/",
            "postgresql://127.0.0.1/",
            "postgresql://u:%zz@a/",
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.starts_with("must "), "{text}: {message}");
        }
    }
}
