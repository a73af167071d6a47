//! The invariants of the decisions, over random policies, healths and stories. S3, S4 … are their names.

#[path = "properties/checks.rs"]
mod checks;
#[path = "properties/routing.rs"]
mod routing;
#[path = "properties/stories.rs"]
mod stories;
mod support;
#[path = "properties/writes.rs"]
mod writes;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use distributary::render::Manifest;
use distributary::writing::diff::{Observed, diff};
use distributary_core::Moment;
use distributary_core::breaker::Circuit;
use distributary_core::class_states::ClassStates;
use distributary_core::cluster::Cluster;
use distributary_core::config_maps::{config_maps, largest};
use distributary_core::fixture::{self, outputs};
use distributary_core::following::FollowingState;
use distributary_core::health::{Health, Standing};
use distributary_core::ids::TargetId;
use distributary_core::judgement::Judgement;
use distributary_core::lag::{Freshness, Replay};
use distributary_core::observation::Role;
use distributary_core::outputs::{Format, Outputs};
use distributary_core::plan::{Admission, RouteState, RoutingPlan, plan};
use distributary_core::policy::{DeclaredRole, DeclaredServer, EndpointState, LagSource, PrimaryRole};
use distributary_core::role::Evidence;
use distributary_core::routing::ReadFallback;
use distributary_core::server::{Host, Location};
use distributary_core::table::{RoutingTable, Subject};
use distributary_core::write_primary::{Claim, Rules, WriteChoice, Writes, choose_write_primary};
use proptest::prelude::*;
use support::arbitrary::{Situation, situations};
use support::rendered;

/// So many cases that the whole file runs in seconds.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig {
        cases: count,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The moment of every situation.
const NOW: Moment = Moment::new(Duration::from_secs(20));

/// What the core decides in a situation.
struct Verdict {
    claims: Vec<Claim>,
    choice: WriteChoice,
    judgements: Vec<Judgement>,
    plan: RoutingPlan,
}

fn judge(situation: &Situation) -> Verdict {
    let Situation {
        policy,
        known,
        holding,
        standbys,
        following,
    } = situation;
    let policy = policy.policy();
    let ids: Vec<_> = policy
        .endpoints
        .iter()
        .map(|endpoint| TargetId::host(endpoint.id.clone()))
        .collect();
    let class_states = ClassStates::default();
    let known = || {
        let following = following
            .iter()
            .copied()
            .chain(std::iter::repeat(FollowingState::default()));
        let all = ids.iter().zip(&policy.endpoints).zip(known).zip(following);
        all.map(|(((id, endpoint), (health, replay)), following)| Evidence {
            id,
            endpoint,
            by_service: false,
            pod_of_standby: false,
            port: Some(5432),
            health,
            replay,
            following,
            class_states: &class_states,
        })
    };
    let claims: Vec<_> = known()
        .zip(standbys)
        .filter_map(|(known, was)| known.claim(|_: SocketAddr| *was))
        .collect();
    let choice = choose_write_primary(holding, &claims, Rules::of(&policy), NOW);
    let judgements: Vec<_> = known()
        .map(|known| known.judge(&policy, &choice.holding))
        .collect();
    let plan = plan(&policy, &Cluster::default(), &judgements, &choice);
    Verdict {
        claims,
        choice,
        judgements,
        plan,
    }
}

fn serves(plan: &RoutingPlan) -> bool {
    plan.ro.members.iter().any(|member| member.in_slice)
}

fn is_well(standing: Standing) -> bool {
    matches!(standing, Standing::Good | Standing::Returning { .. })
}

proptest! {
    #![proptest_config(cases(1500))]

    /// S4.
    #[test]
    fn who_is_not_well_is_routed_only_early_or_held(situation in situations()) {
        let policy = &situation.policy;
        let Verdict { judgements, plan, choice, .. } = judge(&situation);
        let of = |id: &TargetId| judgements.iter().find(|judgement| judgement.target == *id);
        for member in &plan.ro.members {
            let judgement = of(&member.target).unwrap();
            let nobody_is_well = !judgements.iter().any(|other| {
                let endpoint = policy.endpoint(&other.target.endpoint).unwrap();
                let in_use = other.role == Some(Role::Standby) && endpoint.weight > 0 && endpoint.serves(None);
                in_use && matches!(other.standing, Standing::Good | Standing::Returning { last: true, .. })
            });
            let general = policy.endpoint(&member.target.endpoint).unwrap().serves(None);
            let dedicated_may = policy.failover.read_fallback.contains(&ReadFallback::DedicatedReplicas);
            let stands_in = member.admission == Admission::Fallback || judgement.role == Some(Role::Primary);
            prop_assert!(general || stands_in, "dedicated: {member:?}");
            match member.admission {
                Admission::Eligible => prop_assert!(is_well(judgement.standing)),
                Admission::Early => {
                    let closed = matches!(judgement.circuit, Circuit::Closed { .. });
                    prop_assert!(!closed);
                    prop_assert!(judgement.failure.is_none() || is_well(judgement.standing));
                    prop_assert!(nobody_is_well);
                }
                Admission::Fallback => {
                    let answers = judgement.standing == Standing::Unhealthy { answers: true };
                    prop_assert!(is_well(judgement.standing) || answers);
                    prop_assert!(nobody_is_well);
                    if judgement.role == Some(Role::Standby) {
                        prop_assert!(!general && is_well(judgement.standing) && dedicated_may);
                        continue;
                    }
                    prop_assert_eq!(judgement.role, Some(Role::Primary));
                    prop_assert_eq!(choice.holding.holder.as_ref(), Some(&member.target));
                }
                Admission::Held => prop_assert!(nobody_is_well),
            }
        }
    }

    /// S3.
    #[test]
    fn reads_are_never_without_a_target_while_anyone_is_well(situation in situations()) {
        let policy = &situation.policy;
        let Verdict { judgements, plan, choice, .. } = judge(&situation);
        let falls_back = |to| policy.failover.read_fallback.contains(&to);
        let allowed = |judgement: &Judgement| {
            let endpoint = policy.endpoint(&judgement.target.endpoint).unwrap();
            let by_role = match judgement.role {
                Some(Role::Standby) => endpoint.serves(None) || falls_back(ReadFallback::DedicatedReplicas),
                Some(Role::Primary) => {
                    choice.holding.holder.as_ref() == Some(&judgement.target) && falls_back(ReadFallback::Primary)
                }
                None => false,
            };
            by_role && endpoint.weight > 0 && is_well(judgement.standing)
        };
        if judgements.iter().any(allowed) {
            prop_assert!(serves(&plan), "{judgements:#?}");
        }
    }

    /// Lag that is not known to be within its bound is never served as if it were.
    #[test]
    fn who_is_not_proven_fresh_is_at_most_held(situation in situations()) {
        let Verdict { judgements, plan, .. } = judge(&situation);
        for (judgement, (health, replay)) in judgements.iter().zip(&situation.known) {
            let endpoint = situation.policy.endpoint(&judgement.target.endpoint).unwrap();
            let judged = endpoint.lag.source != LagSource::None && health.role == Some(Role::Standby);
            if judged && replay.freshness != Freshness::Fresh {
                prop_assert!(!is_well(judgement.standing), "{judgement:?}");
                if let (Some(member), _) = plan.membership(&judgement.target) {
                    prop_assert_eq!(member.admission, Admission::Held);
                    prop_assert_eq!(plan.ro.state, RouteState::Held);
                }
            }
        }
    }

    /// S1, S2.
    #[test]
    fn writes_have_at_most_one_target_which_proved_itself(situation in situations()) {
        let Verdict { claims, judgements, plan, choice } = judge(&situation);
        prop_assert!(plan.rw.members.len() <= 1);
        let claim = |id: &TargetId| claims.iter().find(|claim| claim.target == *id);
        for member in &plan.rw.members {
            let judgement = judgements.iter().find(|judgement| judgement.target == member.target).unwrap();
            prop_assert_eq!(judgement.role, Some(Role::Primary));
            prop_assert!(judgement.standing != Standing::Excluded);
            prop_assert!(member.in_slice && member.weight == 100);
            prop_assert_eq!(choice.holding.holder.as_ref(), Some(&member.target));
            let moved = situation.holding.holder.as_ref() != Some(&member.target);
            let proven = claim(&member.target).is_some_and(|claim| claim.answers && claim.identity == Some(7));
            let declared = claim(&member.target).is_some_and(|claim| claim.declared && claim.answers);
            prop_assert!(!moved || proven || declared, "{member:?}");
        }
    }

    /// S2.
    #[test]
    fn writes_never_leave_a_holder_that_proves_to_take_them(situation in situations()) {
        let Verdict { claims, choice, .. } = judge(&situation);
        let before = situation.holding.holder.as_ref();
        let Some(holder) = claims.iter().find(|claim| Some(&claim.target) == before) else { return Ok(()) };
        let pinned = situation.policy.failover.primary_role == PrimaryRole::Pinned;
        let proven = holder.role == Some(Role::Primary) && holder.answers && holder.identity == Some(7);
        let below = matches!((holder.timeline, situation.holding.timeline), (Some(its), Some(mark)) if its < mark);
        let below = below && holder.role == Some(Role::Primary);
        if proven && !below && (holder.declared || !pinned) {
            prop_assert_eq!(choice.holding.holder.as_ref(), before);
        }
        if choice.holding.holder.as_ref() != before && !pinned {
            let next = claims.iter().find(|claim| Some(&claim.target) == choice.holding.holder.as_ref()).unwrap();
            let silent_for = holder.failing_since.map(|since| NOW.since(since));
            let long = silent_for.is_some_and(|time| time >= situation.policy.probing.failover_timeout);
            let proven_not = holder.role == Some(Role::Standby) || holder.identity == Some(8) || below;
            prop_assert!(proven_not || long, "{holder:?}");
            prop_assert!(next.promotable && next.was_standby && next.answers);
            prop_assert!(situation.holding.timeline.is_none_or(|mark| next.timeline >= Some(mark)), "{next:?}");
        }
        prop_assert!(choice.holding.timeline >= situation.holding.timeline, "a high-water mark");
        if below && choice.holding.holder.as_ref() == before && choice.changed.is_none() {
            prop_assert_eq!(choice.writes, Writes::Withdrawn);
        }
    }

    #[test]
    fn who_is_proven_wrong_not_active_or_of_weight_0_is_never_sent_a_read(situation in situations()) {
        let Verdict { judgements, plan, choice, .. } = judge(&situation);
        for judgement in &judgements {
            let endpoint = situation.policy.endpoint(&judgement.target.endpoint).unwrap();
            let (reads, writes) = plan.membership(&judgement.target);
            if judgement.standing == Standing::Excluded || endpoint.state != EndpointState::Active {
                prop_assert!(reads.is_none() && writes.is_none(), "{judgement:?}");
            }
            let holds = choice.holding.holder.as_ref() == Some(&judgement.target);
            let other_writer = !holds && judgement.role == Some(Role::Primary);
            if endpoint.weight == 0 || judgement.standing == Standing::Unproven || other_writer {
                prop_assert!(reads.is_none(), "{judgement:?}");
            }
            prop_assert!(reads.is_none_or(|member| member.weight > 0));
        }
    }

    #[test]
    fn the_order_of_judgements_changes_no_byte(situation in situations(), by in 0..5_usize) {
        let policy = &situation.policy;
        let Verdict { mut judgements, choice, plan: straight, .. } = judge(&situation);
        let straight = rendered(policy, &outputs(), &straight);
        let by = by % judgements.len();
        judgements.rotate_left(by);
        judgements.reverse();
        let other = rendered(policy, &outputs(), &plan(&policy.policy(), &policy.cluster, &judgements, &choice));
        let bytes = |objects: &[Manifest]| objects.iter().map(|object| object.body.to_string()).collect::<Vec<_>>();
        prop_assert_eq!(bytes(&straight.objects), bytes(&other.objects));
        prop_assert_eq!(straight.revision, other.revision);
    }

    #[test]
    fn another_healthy_replica_never_empties_reads(situation in situations()) {
        let before = judge(&situation).plan;
        let mut wider = situation.clone();
        let mut added = situation.policy.endpoints[0].clone();
        (added.id, added.declared, added.weight) = ("added".into(), DeclaredRole::Replica, 1);
        added.state = EndpointState::Active;
        added.server = DeclaredServer::Host(fixture::location(200));
        added.dedicated_to.clear();
        wider.policy.endpoints.push(added);
        let mut health = Health::default();
        health.address = Some(IpAddr::from([198, 18, 1, 1]));
        health.role = Some(Role::Standby);
        (health.checked, health.admitted) = (true, true);
        wider.known.push((health, Replay::fresh_since(NOW)));
        wider.standbys = vec![true; 6];
        wider.standbys[..5].copy_from_slice(&situation.standbys[..5]);
        wider.standbys.truncate(wider.known.len());
        let after = judge(&wider).plan;
        prop_assert!(serves(&after));
        prop_assert_eq!(before.rw, after.rw);
    }

    #[test]
    fn no_plan_makes_a_larger_config_map_than_the_largest(situation in situations()) {
        let outputs = Outputs { formats: Format::ALL.to_vec(), ..outputs() };
        let plan = judge(&situation).plan;
        let mut named = situation.policy;
        for endpoint in &mut named.endpoints {
            let host = Host::Name(format!("{}.example.com", endpoint.id));
            endpoint.server = DeclaredServer::Host(Location { host, port: 5432 });
        }
        let (policy, resolved) = (named.policy(), named.resolved());
        let subject = Subject { policy: &policy, resolved: &resolved, outputs: &outputs, plan: &plan };
        let actual = &config_maps(&outputs, &RoutingTable::new(&subject))[0];
        let largest = largest(&policy, &resolved, &outputs);
        prop_assert!(actual.bytes() <= largest.bytes(), "{actual:#?} is larger than {largest:#?}");
    }

    /// S7.
    #[test]
    fn what_was_rendered_needs_no_write(situation in situations()) {
        let manifests = rendered(&situation.policy, &outputs(), &judge(&situation).plan);
        let observed: Observed = manifests.objects.iter().map(|object| (object.id.clone(), object.body.clone())).collect();
        let diff = diff(&manifests.objects, &observed, &situation.policy.uid);
        prop_assert!(diff.writes.is_empty() && diff.conflicts.is_empty(), "{diff:#?}");
    }
}
