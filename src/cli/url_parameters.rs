//! What the parameters of a URL become that neither checks nor routes use.

/// Parameters that say where something belongs: what a person must do.
const PLACES: [(&str, &str); 8] = [
    (
        "sslrootcert",
        "put the CA into a Secret, and name it in connection.tls.caSecretRef",
    ),
    (
        "sslcert",
        "put certificate and key into a Secret, and name it in connection.tls.clientCertSecretRef",
    ),
    (
        "sslkey",
        "put certificate and key into a Secret, and name it in connection.tls.clientCertSecretRef",
    ),
    (
        "sslpassword",
        "store the key without a passphrase in the Secret of connection.tls.clientCertSecretRef",
    ),
    ("connect_timeout", "set connection.connectTimeout"),
    ("connectTimeout", "set connection.connectTimeout"),
    ("loginTimeout", "set connection.connectTimeout"),
    ("ssl", "set sslmode in the URL, or connection.tls.mode"),
];
/// Those that matter to an application alone: libpq's, those of JDBC, and those of libraries that take a URL themselves.
const OF_APPLICATIONS: [&str; 45] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "options",
    "passfile",
    "replication",
    "require_auth",
    "service",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslnegotiation",
    "sslsni",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
    "tcp_user_timeout",
    "ApplicationName",
    "currentSchema",
    "loadBalanceHosts",
    "prepareThreshold",
    "socketTimeout",
    "sslfactory",
    "targetServerType",
    "binaryTransfer",
    "defaultRowFetchSize",
    "preferQueryMode",
    "reWriteBatchedInserts",
    "stringtype",
    "tcpKeepAlive",
    "connection_limit",
    "pgbouncer",
    "pool",
    "pool_timeout",
    "prepared_statements",
    "schema",
    "statement_cache_size",
];
const USED: [&str; 3] = ["user", "password", "sslmode"];
/// A URL with one of these is refused, which says enough.
const REFUSED: [&str; 4] = ["host", "hostaddr", "port", "dbname"];
/// The values of sslmode that a policy has, too.
const MODES: [&str; 4] = ["disable", "require", "verify-ca", "verify-full"];

/// Each parameter of a URL that is dropped, and what to do. A name that is none of PostgreSQL's may be a part of a password: it is
/// not shown.
pub fn dropped(url: &str) -> Vec<String> {
    let Some((_, query)) = url.trim().split_once('?') else {
        return Vec::new();
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut all: Vec<_> = pairs.filter_map(of_pair).collect();
    all.dedup();
    all
}

fn of_pair(pair: &str) -> Option<String> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    if name == "sslmode" {
        // A variable is refused, which says enough.
        let is_value = !value.starts_with('$');
        return (is_value && !MODES.contains(&value)).then(|| {
            "sslmode is not used, because a policy has no such mode: connection.tls.mode holds, whose default is VerifyFull"
                .to_owned()
        });
    }
    if USED.contains(&name) || REFUSED.contains(&name) {
        return None;
    }
    let place = PLACES.iter().find(|(known, _)| *known == name);
    if let Some((_, act)) = place {
        return Some(format!("{name} is not used: {act}"));
    }
    Some(if OF_APPLICATIONS.contains(&name) {
        format!(
            "{name} is not used: the checks need no such parameter; keep it in the URL of the application"
        )
    } else {
        "a parameter whose name is not known is not used; if it is a part of the password, write & as %26"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_that_is_dropped_is_named_with_what_to_do() {
        let told = |query: &str| dropped(&format!("postgresql://u:p@db.example.com/orders?{query}"));
        assert!(told("user=u&password=p&sslmode=verify-ca").is_empty());
        assert!(told("host=a&dbname=b").is_empty());
        assert!(dropped("postgresql://u:p@db.example.com/orders").is_empty());
        assert_eq!(
            told("sslrootcert=/etc/ca.pem&application_name=orders"),
            [
                "sslrootcert is not used: put the CA into a Secret, and name it in connection.tls.caSecretRef",
                "application_name is not used: the checks need no such parameter; keep it in the URL of the application",
            ]
        );
        let mode = told("sslmode=prefer");
        assert!(mode[0].starts_with("sslmode is not used"), "{mode:?}");
        let unknown = told("password=a&canary");
        assert!(
            unknown.len() == 1 && !unknown[0].contains("canary"),
            "{unknown:?}"
        );
    }
}
