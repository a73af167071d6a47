//! Proxies on the way to the API server: none is used here, and that of the environment is not meant for every host. Pure.

use std::net::IpAddr;

use kube::config::Kubeconfig;

/// What is said where a proxy would have to be used. Its URL may have a password.
pub const UNUSED: &str = "the way to the API server is by a proxy, of HTTPS_PROXY or of proxy-url in the kubeconfig, and this program uses none: reach the API server without it, and add its host to NO_PROXY";

/// Whether the kubeconfig itself names a proxy for the cluster of a context; `None`: the current one.
pub fn is_named(read: &Kubeconfig, context: Option<&str>) -> bool {
    let named = || {
        let name = context.or(read.current_context.as_deref())?;
        let mut contexts = read.contexts.iter();
        let context = contexts.find(|it| it.name == name)?.context.as_ref()?;
        let mut clusters = read.clusters.iter();
        let cluster = clusters.find(|it| it.name == context.cluster)?.cluster.as_ref()?;
        cluster.proxy_url.as_deref()
    };
    named().is_some_and(|url| !url.is_empty())
}

/// Whether requests to a host go past the proxy of the environment, by the rules of kubectl (golang.org/x/net/http/httpproxy): those to
/// the loopback, and those that NO_PROXY names.
pub fn is_passed_by(host: &str, no_proxy: &str) -> bool {
    let host = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_ascii_lowercase();
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no_proxy.split(',').any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        match address {
            _ if entry == "*" => true,
            Some(address) => is_network_of(&entry, address),
            None => is_domain_of(&entry, &host),
        }
    })
}

/// `.example.com` is its subdomains, `example.com` is itself, too.
fn is_domain_of(entry: &str, host: &str) -> bool {
    let (name, _port) = entry.split_once(':').unwrap_or((entry, ""));
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        _ if name.is_empty() => false,
        Some(_) => host.ends_with(name),
        None => host == name || host.ends_with(&format!(".{name}")),
    }
}

fn is_network_of(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = match entry.split_once('/') {
        Some((network, bits)) => (network, Some(bits)),
        None => (entry, None),
    };
    let is_same = |network: u128, address: u128, width: u32| {
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok());
        let bits = bits.filter(|bits| *bits <= width);
        bits.is_some_and(|bits| bits == 0 || (network ^ address) >> (width - bits) == 0)
    };
    match (network.parse(), address) {
        (Ok(IpAddr::V4(network)), IpAddr::V4(address)) => {
            is_same(u32::from(network).into(), u32::from(address).into(), 32)
        }
        (Ok(IpAddr::V6(network)), IpAddr::V6(address)) => is_same(network.into(), address.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_loopback_and_what_no_proxy_names_are_asked_directly() {
        let no_proxy = "10.0.0.0/8, fd00::/8,192.0.2.7,example.com,.corp.example,*.lab.example,,bad/99";
        for host in [
            "localhost",
            "127.0.0.1",
            "[::1]",
            "10.96.0.1",
            "[fd00::1]",
            "192.0.2.7",
            "example.com",
            "api.Example.com",
            "api.corp.example",
            "api.lab.example",
        ] {
            assert!(is_passed_by(host, no_proxy), "{host}");
        }
        for host in [
            "11.0.0.1",
            "192.0.2.8",
            "[fe80::1]",
            "corp.example",
            "notexample.com",
            "example.com.evil",
        ] {
            assert!(!is_passed_by(host, no_proxy), "{host}");
        }
        assert!(is_passed_by("api.example.net", "*"));
        assert!(!is_passed_by("api.example.net", ""));
    }

    #[test]
    fn a_proxy_of_the_kubeconfig_is_one_of_its_cluster() {
        let cluster = |name: &str, proxy: &str| json!({"name": name, "cluster": {"server": "https://h", "proxy-url": proxy}});
        let context = |name: &str| json!({"name": name, "context": {"cluster": name, "user": "u"}});
        let read: Kubeconfig = serde_json::from_value(json!({
            "current-context": "with",
            "clusters": [cluster("with", "http://proxy:3128"), cluster("without", "")],
            "contexts": [context("with"), context("without")],
        }))
        .unwrap();
        assert!(is_named(&read, None));
        assert!(!is_named(&read, Some("without")));
        assert!(!is_named(&read, Some("none")));
    }
}
