//! The largest plan of a policy: no other one makes longer documents.

use std::net::{IpAddr, Ipv6Addr};

use super::candidate::full_weight;
use super::reads::Reading;
use super::regions::Places;
use super::route::{Admission, Member, Route, RouteState, RoutingPlan};
use crate::cluster::Cluster;
use crate::ids::TargetId;
use crate::policy::{Endpoint, EndpointState, Policy};
use crate::resolved::Resolved;
use crate::routing::{Class, Destination, Region};
use crate::server::Host;

/// Every route has every server that may ever be in it, each endpoint being one server, and each word is the longest.
#[must_use]
pub fn largest(policy: &Policy, resolved: &Resolved) -> RoutingPlan {
    let cluster = Cluster::default();
    let all = AllServers { policy, resolved };
    let rw = all.writes();
    let read = |reading: Reading<'_>| all.reads(reading, &rw);
    let class = |class: &Class| {
        (
            class.name.clone(),
            read(Reading::of_class(policy, &cluster, class)),
        )
    };
    let region = |region: &Region| {
        (
            region.name.clone(),
            read(Reading::of_region(policy, &cluster, region)),
        )
    };
    RoutingPlan {
        ro: read(Reading::unnamed(policy, &cluster)),
        classes: policy.routing.classes.iter().map(class).collect(),
        regions: policy.routing.regions.iter().map(region).collect(),
        rw,
    }
}

#[derive(Clone, Copy)]
struct AllServers<'a> {
    policy: &'a Policy,
    resolved: &'a Resolved,
}

impl<'a> AllServers<'a> {
    fn active(self) -> impl Iterator<Item = &'a Endpoint> {
        let endpoints = self.policy.endpoints.iter();
        endpoints.filter(|endpoint| endpoint.state == EndpointState::Active)
    }

    /// Who has the longest host, and who the longest id: together they are no shorter than any one server.
    fn writes(self) -> Route {
        let host = self.active().max_by_key(|endpoint| self.host_length(endpoint));
        let id = self.active().max_by_key(|endpoint| endpoint.id.as_str().len());
        let id = id.filter(|id| host.is_none_or(|host| host.id != id.id));
        let endpoints = host.into_iter().chain(id);
        route(endpoints.map(|endpoint| self.member(endpoint, 0)).collect())
    }

    fn reads(self, reading: Reading<'_>, rw: &Route) -> Route {
        let destination = reading.destination(self.policy);
        if destination == Destination::Primary {
            return rw.clone();
        }
        let places = &Places::from(self.policy, reading.region());
        let farthest = places.count().saturating_mul(2);
        let serving = || self.active().filter(|endpoint| endpoint.weight > 0);
        let of = |place: u16| serving().filter(move |endpoint| places.of(endpoint) == place);
        // Of several places one alone is in the URIs.
        let length = |place: &u16| {
            of(*place)
                .map(|endpoint| self.host_length(endpoint))
                .sum::<usize>()
        };
        let in_uris = (0..=farthest).max_by_key(length).unwrap_or_default();
        let member = |endpoint: &Endpoint| {
            let in_uris = places.of(endpoint) == in_uris;
            Member {
                // That the two differ is one word more.
                in_slice: !in_uris,
                in_uris,
                ..self.member(endpoint, farthest)
            }
        };
        // The primary that is preferred serves whatever its weight.
        let preferred = rw.members.iter().filter(|member| {
            let weighs = |endpoint: &Endpoint| endpoint.id == member.target.endpoint;
            destination == Destination::PrimaryPreferred && !serving().any(weighs)
        });
        route(preferred.cloned().chain(serving().map(member)).collect())
    }

    fn member(self, endpoint: &Endpoint, order: u16) -> Member {
        let location = self.resolved.location(&endpoint.id);
        let address = match location.map(|location| &location.host) {
            Some(Host::Address(address)) => *address,
            _ => IpAddr::V6(Ipv6Addr::from_bits(u128::MAX)),
        };
        Member {
            target: TargetId::host(endpoint.id.clone()),
            address,
            port: location.map_or(u16::MAX, |location| location.port),
            weight: full_weight(endpoint, self.policy.strategy).max(100),
            in_slice: false,
            in_uris: true,
            carried: true,
            order,
            admission: Admission::Early,
        }
    }

    fn host_length(self, endpoint: &Endpoint) -> usize {
        let location = self.resolved.location(&endpoint.id);
        location.map_or(0, |location| location.host.to_string().len())
    }
}

const fn route(members: Vec<Member>) -> Route {
    Route {
        state: RouteState::Fallback,
        members,
    }
}
