//! The option of the port on the loopback.

use std::net::{Ipv4Addr, SocketAddr};

/// Where those who may forward to the Pod read.
#[derive(Debug, clap::Args)]
pub struct LoopbackArguments {
    /// Address of the loopback to serve the answers of the HTTP API to reads on, without tokens, for `kubectl distributary`: the right
    /// to forward to the port of the Pod is the right to read them. off: none. Default: 127.0.0.1:8081 where POD_NAMESPACE is set and
    /// the Pod has a network of its own (POD_IP is not HOST_IP), else off.
    #[arg(long, env = "DISTRIBUTARY_LOOPBACK_ADDRESS", value_name = "ADDRESS", value_parser = Loopback::of)]
    loopback_address: Option<Loopback>,
}

#[derive(Clone, Copy, Debug)]
enum Loopback {
    Off,
    On(SocketAddr),
}

impl Loopback {
    fn of(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_loopback() => Ok(Self::On(address)),
            _ => Err("must be off, or an address of the loopback with a port: there is no login".to_owned()),
        }
    }
}

const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8081);

impl LoopbackArguments {
    /// `None`: nothing is served.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address_in(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn address_in(&self, variable: impl Fn(&str) -> Option<String>) -> Option<SocketAddr> {
        match self.loopback_address {
            Some(Loopback::Off) => None,
            Some(Loopback::On(address)) => Some(address),
            None => {
                // On the network of the node every process of the node would read.
                let own = variable("POD_IP");
                let is_on_node = own.is_some() && own == variable("HOST_IP");
                (variable("POD_NAMESPACE").is_some() && !is_on_node).then_some(USUAL)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        loopback: LoopbackArguments,
    }

    fn address(line: &str, variables: &[(&str, &str)]) -> Option<SocketAddr> {
        let line = Line::try_parse_from(line.split(' ')).unwrap();
        line.loopback.address_in(|name| {
            let found = variables.iter().find(|(own, _)| *own == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_pod_with_a_network_of_its_own_serves_on_its_loopback() {
        let pod = ("POD_NAMESPACE", "ops");
        let (own, node) = (("POD_IP", "10.0.0.1"), ("HOST_IP", "192.168.0.1"));
        assert_eq!(address("run", &[pod]), Some(USUAL));
        assert_eq!(address("run", &[pod, own, node]), Some(USUAL));
        assert_eq!(address("run", &[pod, ("POD_IP", "192.168.0.1"), node]), None);
        assert_eq!(address("run", &[]), None);
        assert_eq!(address("run --loopback-address off", &[pod]), None);
        let other = address("run --loopback-address [::1]:9000", &[]);
        assert_eq!(other, Some("[::1]:9000".parse().unwrap()));
        for refused in ["0.0.0.0:8081", "10.0.0.1:8081", "127.0.0.1", "on"] {
            let line = ["run", "--loopback-address", refused];
            assert!(Line::try_parse_from(line).is_err(), "{refused}");
        }
    }
}
