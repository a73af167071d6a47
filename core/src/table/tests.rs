use super::*;
use crate::fixture;
use crate::ids::TargetId;
use crate::outputs::Outputs;
use crate::plan::{self, Admission, Member, RouteState, RoutingPlan};
use crate::policy::PolicyParts;

mod combinations;
mod earlier;
mod mutated;
mod rules;
mod text;

fn member(endpoint: &str, last: u8) -> Member {
    Member {
        target: TargetId::host(endpoint.into()),
        address: fixture::address(last),
        port: 5432,
        weight: 100,
        in_slice: true,
        order: 0,
        admission: Admission::Eligible,
    }
}

fn of(members: Vec<Member>) -> plan::Route {
    plan::Route {
        state: RouteState::Served,
        members,
    }
}

/// The primary takes the writes; `a` and `b` serve the reads, those of every class that may read from replicas and those of
/// every region too.
fn plan_of(policy: &PolicyParts) -> RoutingPlan {
    let reads = || of(vec![member("a", 2), member("b", 3)]);
    let classes = policy.routing.classes.iter();
    RoutingPlan {
        rw: of(vec![member("primary", 1)]),
        ro: reads(),
        classes: classes.map(|class| (class.name.clone(), reads())).collect(),
        regions: policy
            .routing
            .regions
            .iter()
            .map(|region| (region.name.clone(), reads()))
            .collect(),
    }
}

fn made(change: impl FnOnce(&mut fixture::Case)) -> RoutingTable {
    let mut policy = fixture::policy(&["a", "b"]);
    change(&mut policy);
    table_of(&policy, &fixture::outputs())
}

fn table_of(policy: &fixture::Case, outputs: &Outputs) -> RoutingTable {
    RoutingTable::new(&Subject {
        policy: &policy.policy(),
        resolved: &policy.resolved(),
        outputs,
        plan: &plan_of(policy),
    })
}
