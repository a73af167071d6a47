//! `postgresql://user:password@host:port/database?sslmode=…` from a Secret, or the same in the form of JDBC.

use super::host::{InCluster, host, is_routable};
use super::secrets::{CREDENTIAL_BYTES, Secrets, TOO_LONG, hosts, secret_text};
use super::{PolicySource, outputs};
use crate::KeyRef;
use distributary_core::hosts::HostList;
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
    /// The hosts that user and password are for; `None`: any.
    pub hosts: Option<HostList>,
}

/// The URL under a key of a Secret. An error says what must hold, and nothing of the URL.
pub fn from_secret(
    reference: &KeyRef,
    secrets: &Secrets,
    policy: PolicySource<'_>,
) -> Result<ServerUrl, UnresolvedSecret> {
    let text = secret_text(secrets, &reference.name, &reference.key)?;
    let hosts = hosts(secrets, &reference.name)?;
    let url = parse(text.trim()).and_then(|url| of_namespace(url, policy));
    let url = url.map(|url| ServerUrl { hosts, ..url });
    url.map_err(|must| UnresolvedSecret {
        secret: reference.name.clone(),
        problem: SecretProblem::Malformed {
            key: reference.key.clone(),
            must,
        },
    })
}

/// What a URL names that is in no Secret. An error says what must hold, and nothing of the URL.
///
/// # Errors
/// What must hold.
pub fn server_url(text: &str) -> Result<ServerUrl, &'static str> {
    parse(text.trim())
}

fn of_namespace(url: ServerUrl, policy: PolicySource<'_>) -> Result<ServerUrl, &'static str> {
    match policy.in_cluster(&url.location.host) {
        InCluster::OtherNamespace => Err("must not name a Service or a pod of another namespace"),
        InCluster::Service(service) if outputs::is_own_service(policy, &service) => {
            Err("must not name a Service that the policy itself writes")
        }
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
    if text.len() > CREDENTIAL_BYTES {
        return Err(TOO_LONG);
    }
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
    is_unambiguous(authority, database, query, escapes)?;
    // libpq goes where these lead, whatever stands before them.
    let elsewhere = ["host", "hostaddr", "port", "dbname"];
    if elsewhere.iter().any(|name| parameter(query, name).is_some()) {
        return Err("must name host, port and database before the ?, not in parameters");
    }
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
        hosts: None,
    })
}

/// A password with one of `/?#@` ends elsewhere than its author thinks, and its rest would be taken for a host or database, which
/// are published. So each of them is refused where it has no meaning of its own.
fn is_unambiguous(
    authority: &str,
    database: &str,
    query: &str,
    escapes: Escapes,
) -> Result<(), &'static str> {
    const ESCAPE: &str =
        "must have a user, password and database with / ? # @ and % written as %2F %3F %23 %40 and %25";
    let (login, server) = authority.rsplit_once('@').unwrap_or(("", authority));
    let odd = |text: &str, of: &[char]| text.contains(of);
    let pairs = || query.split('&').filter(|pair| !pair.is_empty());
    let is_pair = |pair: &str| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // A URL of JDBC has no login in front of the host that could be cut in two.
        let is_value = |value: &str| escapes == Escapes::Form || !odd(value, &['@']);
        pair.split_once('=')
            .is_some_and(|(key, value)| !key.is_empty() && key.chars().all(is_name) && is_value(value))
    };
    let clear = !odd(login, &['@', '#'])
        && !odd(server, &['#'])
        && !odd(database, &['/', '@', '#'])
        && pairs().all(is_pair);
    if clear { Ok(()) } else { Err(ESCAPE) }
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
        return Err(
            "must not name a loopback, link-local, multicast or unspecified address, nor that of the metadata of a cloud",
        );
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
    use proptest::prelude::*;

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
    fn a_password_that_is_not_escaped_is_refused_and_nothing_of_it_is_named() {
        for text in [
            "postgres://u:pa/ss@host/db",
            "postgres://u:12/ss@host/db",
            "postgres://u:12?ss@host/db",
            "postgres://u:12?ss=ss&s@host/db",
            "postgres://u:12/s?s=ss@host/db",
            "postgres://u:12/s#s@host/db",
            "postgres://u:12#s@host/db",
            "postgres://u:p@a/ss@host/db",
            "postgres://u:p@a?ss@host/db",
            "postgres://u:p@a/ss?x=y@host/db",
            "postgres://u:p@a/db#frag",
            "postgres://u:p@ss@host/db",
            "postgres://u:12/ss/@host",
            "postgres://u:12/s?user=@host",
            "postgresql://host/db?user=probe@server",
            "jdbc:postgresql://host/db?pass word&user=probe",
        ] {
            let message = parse(text).unwrap_err();
            assert!(message.contains("%2F"), "{text}: {message}");
        }
        for text in [
            "postgresql://u%40server:p%2F%3F%23%40%25@host/db?sslmode=require&options=-c%20a%3Db",
            "jdbc:postgresql://host/db?user=probe&password=a/b@c&ssl=true&",
            "postgresql://u:a:b@host/db?",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_url_whose_parameters_lead_elsewhere_is_refused() {
        for query in [
            "host=b",
            "hostaddr=198.18.0.2",
            "port=6432",
            "sslmode=require&dbname=other",
        ] {
            let message = parse(&format!("postgresql://u:p@a/orders?{query}")).unwrap_err();
            assert!(message.contains("before the ?"), "{query}: {message}");
        }
        assert!(parse("postgresql:///orders?host=a").is_err());
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
        let long = format!("postgresql://u:{}@a/", "p".repeat(CREDENTIAL_BYTES));
        assert_eq!(parse(&long), Err(TOO_LONG));
    }

    proptest! {
        #![proptest_config(cases())]

        /// Whatever a password is, escaped or not: where the URL is accepted, nothing of it is a host, a port or a database.
        #[test]
        fn fuzz_no_password_is_taken_for_what_is_published(password in "([/?#@:%=&+,\\[\\]a12.]|user|%2F){0,12}") {
            if let Ok(url) = parse(&format!("postgresql://probe:{password}@host.test/db")) {
                prop_assert_eq!(url.location.host.to_string(), "host.test");
                prop_assert_eq!((url.location.port, url.database.as_deref()), (5432, Some("db")));
                prop_assert_eq!(url.user.as_deref(), Some("probe"));
            }
        }

        #[test]
        fn fuzz_what_is_no_url_is_refused_in_words(text in "(postgres(ql)?://|jdbc:postgresql://)?\\PC{0,60}") {
            if let Err(must) = parse(&text) {
                prop_assert!(must.starts_with("must "), "{}", must);
            }
        }

        #[test]
        fn fuzz_any_bytes_under_any_key_are_text_or_refused(value in any::<Vec<u8>>(), hosts in any::<Vec<u8>>()) {
            let keys = [("k".to_owned(), value), (super::super::secrets::HOSTS.to_owned(), hosts)];
            let keys = super::super::secrets::SecretKeys(keys.into());
            let secrets = Secrets::from([("s".to_owned(), Ok(keys))]);
            let reference = KeyRef { name: "s".to_owned(), key: "k".to_owned() };
            let spec = serde_json::json!({"primary": {"host": "198.18.0.1"}});
            let spec = serde_json::from_value(spec).unwrap();
            let policy = PolicySource {
                namespace: "shop",
                name: "orders",
                uid: "",
                generation: 1,
                check_requested: None,
                spec: &spec,
                names: None,
            };
            let _ = from_secret(&reference, &secrets, policy);
        }
    }

    /// `FUZZ=1000000` for so many inputs.
    fn cases() -> ProptestConfig {
        let asked = std::env::var("FUZZ").ok().and_then(|count| count.parse().ok());
        ProptestConfig {
            cases: asked.unwrap_or(2000),
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }
}
