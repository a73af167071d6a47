//! `postgresql://user:password@host:port/database?sslmode=…` from a Secret, or the same in the form of JDBC.

use super::PolicySource;
use super::host::{InCluster, host, is_routable};
use super::secrets::{Secrets, secret_text};
use crate::KeyRef;
use distributary_core::login::{SecretProblem, Sensitive, TlsMode, UnresolvedSecret};
use distributary_core::server::Location;

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
pub fn from_secret(
    reference: &KeyRef,
    secrets: &Secrets,
    policy: PolicySource<'_>,
) -> Result<ServerUrl, UnresolvedSecret> {
    let text = secret_text(secrets, &reference.name, &reference.key)?;
    let url = parse(text.trim()).and_then(|url| of_namespace(url, policy));
    url.map_err(|must| UnresolvedSecret {
        secret: reference.name.clone(),
        problem: SecretProblem::Malformed {
            key: reference.key.clone(),
            must,
        },
    })
}

fn of_namespace(url: ServerUrl, policy: PolicySource<'_>) -> Result<ServerUrl, &'static str> {
    match policy.in_cluster(&url.location.host) {
        InCluster::OtherNamespace => Err("must not name a Service or a pod of another namespace"),
        InCluster::Service(_) | InCluster::No => Ok(url),
    }
}

/// Who writes a URL escapes it in one of two ways.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Escapes {
    Percent,
    /// As in a form: a plus is a space.
    Form,
}

fn parse(text: &str) -> Result<ServerUrl, &'static str> {
    let schemes = [
        ("postgresql://", Escapes::Percent),
        ("postgres://", Escapes::Percent),
        ("jdbc:postgresql://", Escapes::Form),
    ];
    let found = schemes
        .into_iter()
        .find_map(|(scheme, escapes)| Some((text.strip_prefix(scheme)?, escapes)));
    let (rest, escapes) = found.ok_or("must begin with postgresql:// or jdbc:postgresql://")?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let (user, password) = login
        .split_once(':')
        .map_or((login, None), |(user, password)| (user, Some(password)));
    // As libpq does it: a parameter goes before what stands in front of the host.
    let user = parameter(query, "user").unwrap_or(user);
    let password = parameter(query, "password").or(password);
    Ok(ServerUrl {
        location: location(server)?,
        user: optional(&decode(user, escapes)?),
        password: password
            .map(|password| decode(password, escapes))
            .transpose()?
            .map(|password| Sensitive::new(&password)),
        database: optional(&decode(database, escapes)?),
        tls: parameter(query, "sslmode").and_then(tls_mode),
    })
}

fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| value)
        .next_back()
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
    let host = host(&decode(name, Escapes::Percent)?)
        .ok_or("must name a host: a DNS name, an IPv4 or an IPv6 address")?;
    if !is_routable(&host) {
        return Err("must not name a loopback, link-local, multicast or unspecified address");
    }
    Ok(Location { host, port })
}

/// The modes that libpq and a policy share; the others leave the choice to the policy.
fn tls_mode(mode: &str) -> Option<TlsMode> {
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

fn decode(text: &str, escapes: Escapes) -> Result<String, &'static str> {
    const ESCAPE: &str = "must escape special characters as % and two hexadecimal digits";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).ok_or(ESCAPE);
            let value = digit(rest.next())? * 16 + digit(rest.next())?;
            bytes.push(u8::try_from(value).map_err(|_| ESCAPE)?);
        } else if byte == b'+' && escapes == Escapes::Form {
            bytes.push(b' ');
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
    fn user_and_password_may_be_parameters() {
        let login = |text| {
            let url = parse(text).unwrap();
            let password = url.password.as_ref().map(|password| password.reveal().to_owned());
            (url.user, password)
        };
        let pair = |user: &str, password: &str| (Some(user.to_owned()), Some(password.to_owned()));
        assert_eq!(
            login("postgresql://db.example.com/?user=probe&password=p%26+s"),
            pair("probe", "p&+s")
        );
        assert_eq!(
            login("postgresql://a:b@db.example.com/?user=probe&password=c"),
            pair("probe", "c")
        );
        // Here a plus is a space, as Java writes it.
        assert_eq!(
            login("jdbc:postgresql://db.example.com/orders?password=p%2B+s&user=probe&sslmode=require"),
            pair("probe", "p+ s")
        );
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
            "jdbc:postgresql:orders",
            "jdbc:mysql://a/",
            "postgresql://a/?password=%zz",
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
