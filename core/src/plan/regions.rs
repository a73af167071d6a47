//! The order of the regions as one of them sees it.

use super::route::Member;
use crate::policy::{Endpoint, Policy};
use crate::routing::Region;

/// Regions in the order in which they serve one of them; without a region everybody is equally near.
pub struct Places<'a>(Option<Vec<&'a str>>);

impl<'a> Places<'a> {
    /// The region itself, its declared fallbacks in order, the others by the lowest priority in them and by name.
    pub fn from(policy: &'a Policy, home: Option<&'a Region>) -> Self {
        let Some(home) = home else { return Self(None) };
        let named = std::iter::once(&home.name).chain(&home.failover);
        let mut places: Vec<&str> = named.map(String::as_str).collect();
        let region = |endpoint: &'a Endpoint| Some((endpoint.priority, endpoint.region.as_deref()?));
        let mut others: Vec<_> = policy.endpoints.iter().filter_map(region).collect();
        others.sort_unstable();
        for (_, other) in others {
            if !places.contains(&other) {
                places.push(other);
            }
        }
        Self(Some(places))
    }

    /// The place of an endpoint, from 0; those without a region are the farthest.
    pub fn of(&self, endpoint: &Endpoint) -> u16 {
        let Some(places) = &self.0 else { return 0 };
        let own = endpoint.region.as_deref();
        let place = own.and_then(|own| places.iter().position(|place| *place == own));
        u16::try_from(place.unwrap_or(places.len())).unwrap_or(u16::MAX)
    }

    /// How many there are, those without a region among them: who comes after all of them is that much farther.
    pub fn count(&self) -> u16 {
        let count = self.0.as_ref().map_or(0, |places| places.len() + 1);
        u16::try_from(count).unwrap_or(u16::MAX)
    }
}

/// Of several places only the nearest that is in a slice at all stays in it.
pub fn keep_the_nearest_in_slice(members: &mut [Member]) {
    let nearest = |fits: fn(&&Member) -> bool| members.iter().filter(fits).map(|member| member.order).min();
    // Where the Service can carry nobody, those for URIs.
    let Some(nearest) = nearest(|member| member.in_slice).or_else(|| nearest(|member| member.in_uris)) else {
        return;
    };
    for member in members.iter_mut().filter(|member| member.order > nearest) {
        (member.in_slice, member.in_uris) = (false, false);
    }
}
