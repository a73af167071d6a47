//! From a Service and its EndpointSlices to the addresses of ready pods. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

use distributary_core::cluster::Families;
use distributary_core::resolved::ServiceProblem;

/// Pods behind one Service that are used, those with the lowest addresses.
const MOST: usize = 256;
const TCP: &str = "TCP";

const IPV4: &str = "IPv4";
const IPV6: &str = "IPv6";

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(word: &str) -> Option<Self> {
        match word {
            IPV4 => Some(Self::V4),
            IPV6 => Some(Self::V6),
            _ => None,
        }
    }
}

/// What matters of a Service: its families and its TCP ports.
#[derive(Debug, Eq, PartialEq)]
pub struct Ports {
    /// What it can lead to.
    pub families: Families,
    /// The first of its families, where it has any.
    family: Option<Family>,
    /// It is another name of a host, and has no pods.
    external: bool,
    /// Each with its name, which may be empty.
    named: Box<[(u16, Box<str>)]>,
}

impl Ports {
    pub fn of(service: &Service) -> Self {
        let spec = service.spec.as_ref();
        let ports = spec.and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
        let families = spec.and_then(|spec| spec.ip_families.as_ref());
        let has = |family: &str| families.into_iter().flatten().any(|own| own == family);
        Self {
            families: Families::new(has(IPV4), has(IPV6)),
            family: families
                .and_then(|families| families.first())
                .and_then(|family| Family::of(family)),
            external: spec.is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName")),
            named: ports
                .filter(|port| is_tcp(port.protocol.as_ref()))
                .filter_map(|port| {
                    let number = u16::try_from(port.port).ok()?;
                    Some((number, port.name.as_deref().unwrap_or_default().into()))
                })
                .collect(),
        }
    }
}

/// What matters of a slice: its family, its TCP ports, and the addresses that are ready. It is kept of every slice in
/// scope, and so takes no more memory than it must.
#[derive(Debug, Eq, PartialEq)]
pub struct Ready {
    ports: Box<[(Box<str>, u16)]>,
    addresses: Addresses,
}

/// Addresses of one family; of a slice of names there are none.
#[derive(Debug, Eq, PartialEq)]
enum Addresses {
    V4(Box<[Ipv4Addr]>),
    V6(Box<[Ipv6Addr]>),
    Names,
}

impl Addresses {
    /// What can be read of these texts.
    fn of<'a>(family: &str, texts: impl Iterator<Item = &'a String>) -> Self {
        match Family::of(family) {
            Some(Family::V4) => Self::V4(texts.filter_map(|text| text.parse().ok()).collect()),
            Some(Family::V6) => Self::V6(texts.filter_map(|text| text.parse().ok()).collect()),
            None => Self::Names,
        }
    }

    const fn family(&self) -> Option<Family> {
        match self {
            Self::V4(_) => Some(Family::V4),
            Self::V6(_) => Some(Family::V6),
            Self::Names => None,
        }
    }

    fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let (v4, v6): (&[Ipv4Addr], &[Ipv6Addr]) = match self {
            Self::V4(addresses) => (addresses, &[]),
            Self::V6(addresses) => (&[], addresses),
            Self::Names => (&[], &[]),
        };
        let v6 = v6.iter().map(Ipv6Addr::to_canonical);
        v4.iter().copied().map(IpAddr::V4).chain(v6)
    }
}

impl Ready {
    pub fn of(slice: &EndpointSlice) -> Self {
        let ports = slice.ports.iter().flatten();
        let ready = slice.endpoints.iter().filter(|endpoint| {
            let conditions = endpoint.conditions.as_ref();
            // Not said is ready, says the API.
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            ready && conditions.and_then(|conditions| conditions.terminating) != Some(true)
        });
        Self {
            ports: ports
                .filter(|port| is_tcp(port.protocol.as_ref()))
                .filter_map(|port| {
                    let number = port.port.and_then(|number| u16::try_from(number).ok())?;
                    Some((port.name.as_deref().unwrap_or_default().into(), number))
                })
                .collect(),
            // Of several addresses of one endpoint consumers use the first. A name is none.
            addresses: Addresses::of(
                &slice.address_type,
                ready.filter_map(|endpoint| endpoint.addresses.first()),
            ),
        }
    }
}

fn is_tcp(protocol: Option<&String>) -> bool {
    protocol.is_none_or(|protocol| protocol == TCP)
}

/// Where the ready pods behind `port` of a Service listen, in ascending order, each address once.
///
/// A pod of two families is one server: only addresses of the Service's first family are used.
///
/// # Errors
/// The Service has no such TCP port, or cannot have pods.
pub fn ready<'a>(
    service: &Ports,
    slices: impl Iterator<Item = &'a Ready> + Clone,
    port: u16,
) -> Result<Vec<SocketAddr>, ServiceProblem> {
    if service.external {
        return Err(ServiceProblem::External);
    }
    let (_, name) = service
        .named
        .iter()
        .find(|(number, _)| *number == port)
        .ok_or(ServiceProblem::PortMissing)?;
    let family = service.family.unwrap_or_else(|| {
        let v4 = slices
            .clone()
            .any(|slice| slice.addresses.family() == Some(Family::V4));
        if v4 { Family::V4 } else { Family::V6 }
    });
    let mut pods: Vec<_> = slices
        .filter(|slice| slice.addresses.family() == Some(family))
        .filter_map(|slice| {
            let (_, number) = slice.ports.iter().find(|(known, _)| known == name)?;
            Some(
                slice
                    .addresses
                    .iter()
                    .map(|address| SocketAddr::new(address, *number)),
            )
        })
        .flatten()
        .collect();
    pods.sort_unstable();
    pods.dedup_by_key(|pod| pod.ip());
    pods.truncate(MOST);
    Ok(pods)
}
