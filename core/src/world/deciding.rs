//! From the state of a policy to its next decision.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::instances::Instances;
use super::policy::{PolicyState, same_database};
use super::watched::WatchedTarget;
use crate::decision::{Decision, DecisionState, EndpointView, RouteDecision, TargetNote, explain};
use crate::following::FollowingState;
use crate::health::{Reason, Standing};
use crate::ids::{ClassName, EndpointId, TargetId};
use crate::judgement::Judgement;
use crate::lag_reading::LagReading;
use crate::moment::Moment;
use crate::observation::Role;
use crate::plan::{RoutingPlan, plan};
use crate::policy::{EndpointState, Mode};
use crate::role::Evidence;
use crate::seeded::SeededFault;
use crate::suspicion::Suspicion;
use crate::target::NextCheck;
use crate::transition::{Transition, transitions};
use crate::write_primary::{Claim, Holding, Patience, Rules, WriteChoice, Writes, choose_write_primary};

/// A decision waits so long for signs of a crash to be confirmed, so that servers that go together leave together.
const GATHER: Duration = Duration::from_millis(25);
/// The result of a call to decide.
pub(super) enum Conclusion {
    /// Signs are being confirmed, until then.
    Gathering(Moment),
    Decided {
        /// `None`: as before.
        decided: Option<(Arc<Decision>, Vec<Transition>)>,
        hurried: Vec<(TargetId, NextCheck)>,
        again: Option<Moment>,
    },
}

impl Conclusion {
    pub(super) const fn again(&self) -> Option<Moment> {
        match self {
            Self::Gathering(until) => Some(*until),
            Self::Decided { again, .. } => *again,
        }
    }
}

impl PolicyState {
    /// Decides, unless signs of a crash are about to be confirmed.
    pub(super) fn settle(&mut self, now: Moment) -> Conclusion {
        let confirming = |target: &WatchedTarget| matches!(target.health.suspicion, Suspicion::Confirming { since } if now.since(since) < GATHER);
        if self.policy.mode != Mode::Suspend && self.targets.values().any(confirming) {
            let until = *self.gathering.get_or_insert(now) + GATHER;
            if now < until {
                return Conclusion::Gathering(until);
            }
        }
        self.gathering = None;
        let (state, again) = self.decide(now);
        let decision = Decision {
            policy: Arc::clone(&self.policy),
            resolved: Arc::clone(&self.resolved),
            state,
            answered: self.request.answered.clone(),
            recalled: self.recalled,
        };
        Conclusion::Decided {
            hurried: self.hurry(now),
            decided: self.announce(decision),
            again,
        }
    }

    fn announce(&mut self, decision: Decision) -> Option<(Arc<Decision>, Vec<Transition>)> {
        if self.decision.as_deref() == Some(&decision) {
            return None;
        }
        let mut transitions = self.transitions(&decision.state);
        transitions.extend(self.move_writes(&decision.state));
        let decision = Arc::new(decision);
        self.decision = Some(Arc::clone(&decision));
        if decision.state.endpoints().is_some() {
            self.judged = Some(Arc::clone(&decision));
            self.reasons.clear();
        }
        Some((decision, transitions))
    }

    fn decide(&mut self, now: Moment) -> (DecisionState, Option<Moment>) {
        if self.policy.mode == Mode::Suspend {
            return (DecisionState::Suspended, None);
        }
        let unchecked = self
            .targets
            .values()
            .filter(|target| !target.health.checked)
            .count();
        self.warm |= unchecked == 0 || SeededFault::RoutedBeforeChecked.is_on();
        let instances = self.instances();
        let choice = self.choose_write_primary(&instances, now);
        let again = choice.again;
        self.goes_by_memory &= !choice.proven;
        self.holding.identity = choice.holding.identity;
        if self.holding.holder == choice.holding.holder {
            let known = &mut self.holding;
            known.contested.clone_from(&choice.holding.contested);
            known
                .contested_endpoints
                .clone_from(&choice.holding.contested_endpoints);
        }
        self.follow_another(&choice.holding);
        let judgements = self.judge(&choice.holding, &instances);
        if !self.warm && !self.serves_an_excluded_one(&judgements, &choice.holding) {
            return (DecisionState::Waiting { unchecked }, None);
        }
        let mut routes = plan(&self.policy, self.resolved.cluster(), &judgements, &choice);
        if let Some(change) = choice.changed {
            let of_another = |judgement: &Judgement| {
                judgement.reason == Reason::IdentityMismatch
                    || (change.disputed && judgement.standing != Standing::Excluded)
            };
            routes.hold(&self.routes, change.disputed, |target| {
                let mut own = judgements.iter().filter(|judgement| judgement.target == *target);
                own.any(of_another)
            });
        }
        let endpoints = self.explain(&judgements, &routes, &choice);
        if self.warm {
            self.remember(&routes, &judgements);
        }
        self.urgent = choice.writes != Writes::Served;
        self.holding = choice.holding.clone();
        self.routes = routes.clone();
        let split = choice.split.iter().map(|target| target.endpoint.clone());
        let decided = RouteDecision {
            plan: routes,
            endpoints,
            holding: choice.holding,
            split: split.collect::<BTreeSet<_>>().into_iter().collect(),
            changed: choice.changed,
            unproven: choice.unproven,
            proven: choice.proven,
            warm: self.warm,
            found: self.goes_by_memory.then(|| self.found.clone()),
        };
        (DecisionState::Decided(Box::new(decided)), again)
    }

    /// The routes as they were before the operator started, from who served then.
    pub(super) fn recall_routes(&mut self, now: Moment) {
        let instances = self.instances();
        let choice = self.choose_write_primary(&instances, now);
        let mut judgements = self.judge(&choice.holding, &instances);
        let served = |judgement: &&mut Judgement| {
            let target = self.targets.get(&judgement.target);
            target.is_some_and(|target| target.served.is_some())
        };
        let mut any = false;
        for judgement in judgements.iter_mut().filter(served) {
            any = true;
            // The routes were held, whatever was proven of it.
            if judgement.standing == Standing::Excluded {
                judgement.standing = Standing::Good;
            }
        }
        if any {
            self.routes = plan(&self.policy, self.resolved.cluster(), &judgements, &choice);
        }
    }

    pub(super) fn choose_write_primary(&self, instances: &Instances, now: Moment) -> WriteChoice {
        let mut claims: Vec<Claim> = self
            .known()
            .filter_map(|known| known.claim(|server| self.was_standby(server)))
            .collect();
        instances.join(&mut claims);
        let rules = Rules {
            warm: self.warm,
            left: self.has_left(),
            awaited: self.awaited(),
            first: self.first_evidence(),
            contests: Some(&self.contests),
            found: self.goes_by_memory.then_some(&self.found),
            ..Rules::of(&self.policy)
        };
        let mut choice = choose_write_primary(&self.holding, &claims, rules, now);
        let told = |known: Evidence<'_>| Some((known.id.clone(), known.obstacle()?));
        choice.obstacles.extend(self.known().filter_map(told));
        choice
    }

    /// Whether the holder was a pod that its Service, whose pods are known, does not lead to any more.
    fn has_left(&self) -> bool {
        self.holding.holder.as_ref().is_some_and(|holder| {
            let endpoint = self.resolved.endpoint(&holder.endpoint);
            let pods = endpoint.and_then(|endpoint| endpoint.pods.as_ref());
            pods.is_some_and(|pods| pods.ready.is_ok()) && !self.targets.contains_key(holder)
        })
    }

    /// How long a holder that had no good check yet is awaited.
    fn awaited(&self) -> Option<Patience> {
        let id = self.holding.holder.as_ref()?;
        let target = self.targets.get(id)?;
        let active = self.policy.endpoint(&id.endpoint)?.state == EndpointState::Active;
        let since = target.health.failing_since;
        let patience = since.map_or(Patience::Unbounded, |since| {
            Patience::Until(since + self.policy.probing.failover_timeout)
        });
        (active && target.health.address.is_none()).then_some(patience)
    }

    /// Whether this policy saw the server as a standby of this database.
    fn was_standby(&self, server: SocketAddr) -> bool {
        self.is_of_this_database(self.standbys.get(&server))
    }

    /// Whether this policy saw a pod of this endpoint as one.
    fn has_standbys(&self, endpoint: &EndpointId) -> bool {
        self.is_of_this_database(self.standby_services.get(endpoint))
    }

    /// `shown`: the system identifier that a standby showed, if any was seen.
    fn is_of_this_database(&self, shown: Option<&Option<u64>>) -> bool {
        shown.is_some_and(|shown| same_database(*shown, self.holding.identity))
    }

    /// Every target with its endpoint, in declared order.
    fn known(&self) -> impl Iterator<Item = Evidence<'_>> {
        self.policy.endpoints.iter().flat_map(|endpoint| {
            let own = self
                .targets
                .iter()
                .filter(move |(id, _)| id.endpoint == endpoint.id);
            let resolved = self.resolved.endpoint(&endpoint.id);
            let by_service = resolved.is_some_and(|resolved| resolved.pods.is_some());
            let pod_of_standby = by_service && self.has_standbys(&endpoint.id);
            own.map(move |(id, target)| Evidence {
                id,
                endpoint,
                by_service,
                pod_of_standby,
                port: target.port,
                health: &target.health,
                replay: &target.replay,
                following: target.following.state(),
                class_states: &target.class_states,
            })
        })
    }

    fn judge(&self, holding: &Holding, instances: &Instances) -> Vec<Judgement> {
        let judge = |known: Evidence<'_>| {
            let mut judgement = known.judge(&self.policy, holding);
            let target = self.targets.get(known.id).filter(|_| !self.warm);
            if let Some((target, served)) = target.and_then(|target| Some((target, target.served?))) {
                judgement.health = judgement.health.held(served);
                if !(target.lagged && judgement.standing == Standing::Behind) {
                    judgement.standing = judgement.standing.held(served);
                }
            }
            judgement
        };
        let mut judgements: Vec<_> = self.known().map(judge).collect();
        self.pass_over(&mut judgements, instances);
        judgements
    }

    fn explain(
        &self,
        judgements: &[Judgement],
        routes: &RoutingPlan,
        choice: &WriteChoice,
    ) -> Vec<EndpointView> {
        let note = |id: &TargetId| {
            let target = self.targets.get(id);
            TargetNote {
                location: target.and_then(|target| target.location.clone()),
                sessions: target.and_then(|target| Some(target.sessions?.count)),
                lag: self.lag_reading(id),
                no_lag: target.and_then(|target| target.no_lag.clone()),
                pooled: target.is_some_and(|target| target.health.pooled),
                sqlstate: target.and_then(|target| target.health.sqlstate.told()),
                role_limit: target.and_then(|target| target.health.role_limit),
                usable_connections: target.and_then(|target| Some(target.load?.usable_connections())),
                read_only: target.is_some_and(|target| target.health.is_read_only()),
                obstacle: choice.obstacles.get(id).copied(),
                name_rotates: target.is_some_and(|target| target.name.rotates),
                was_standby: target
                    .and_then(WatchedTarget::server)
                    .is_some_and(|server| self.was_standby(server)),
            }
        };
        let mut views = explain(&self.policy, &self.resolved, judgements, routes, note);
        // Also of a Service without a ready pod: the next one may be promoted.
        for view in &mut views {
            let none_is = view.state.role != Some(Role::Standby);
            view.state.seen_as_standby |= none_is && self.has_standbys(&view.id);
        }
        self.keep_lags(&mut views);
        views
    }

    /// How far behind a standby is. Of one with log that the write primary lacks that is no question.
    fn lag_reading(&self, id: &TargetId) -> Option<LagReading> {
        let (target, endpoint) = (self.targets.get(id)?, self.policy.endpoint(&id.endpoint)?);
        let standby = target.health.role == Some(Role::Standby);
        let follows = target.following.state() != FollowingState::Diverged;
        let (lag, measured) = target.replay.newest().filter(|_| standby && follows)?;
        LagReading::of(lag, measured, &endpoint.lag)
    }

    /// A lag alone is no news: it stays as it was told while nothing else changes.
    fn keep_lags(&self, views: &mut [EndpointView]) {
        let judged = self.judged.as_ref().and_then(|judged| judged.state.endpoints());
        for view in views {
            let before = judged.into_iter().flatten().find(|before| before.id == view.id);
            if let Some(before) = before {
                view.keep_lags(before);
            }
        }
    }

    fn serves_an_excluded_one(&self, judgements: &[Judgement], holding: &Holding) -> bool {
        judgements.iter().any(|judgement| {
            let target = self.targets.get(&judgement.target);
            target.is_some_and(|target| {
                target.served.is_some() && target.health.checked && judgement.is_excluded(holding)
            })
        })
    }

    fn remember(&mut self, routes: &RoutingPlan, judgements: &[Judgement]) {
        for target in self.targets.values_mut() {
            target.served = None;
        }
        for Judgement { target, standing, .. } in judgements {
            let member = routes.member(&self.policy, target);
            let served = member.map(|_| standing.in_route());
            if let Some(known) = self.targets.get_mut(target) {
                known.served = served;
                known.lagged = *standing == Standing::Behind;
            }
        }
    }

    /// Another cadence for the held sessions, where the primary is lost or is back, or a standby has to prove that it follows.
    fn hurry(&mut self, now: Moment) -> Vec<(TargetId, NextCheck)> {
        let (policy, urgent, proving) = (Arc::clone(&self.policy), self.urgent, self.proving());
        let hurried = |(id, target): (&TargetId, &mut WatchedTarget)| {
            let proves = proving.contains(id);
            let sooner = proves && policy.probing.heartbeat.is_none() && target.hasten(now);
            (target.hurry(&policy, urgent || proves) || sooner).then(|| (id.clone(), target.check))
        };
        self.targets.iter_mut().filter_map(hurried).collect()
    }

    /// Another endpoint gets the writes than had them before. The route does not move while the holder is not proven.
    fn move_writes(&mut self, after: &DecisionState) -> Option<Transition> {
        let decided = after.decided().filter(|decided| decided.proven)?;
        let to = decided.holding.holder.as_ref()?.endpoint.clone();
        let from = self.writes_at.replace(to.clone()).filter(|from| *from != to)?;
        Some(Transition::PrimaryMoved { from, to })
    }

    /// What a person may want to know; what the status said before the operator started is nothing new.
    fn transitions(&self, after: &DecisionState) -> Vec<Transition> {
        let Some(before) = &self.judged else {
            let mut first = transitions(&DecisionState::Suspended, after);
            let known = |id: &EndpointId, class: Option<&ClassName>, to: &Reason| {
                self.reasons.get(&(id.clone(), class.cloned())) == Some(to)
            };
            first.retain(|change| match change {
                Transition::Endpoint { id, to, .. } => !known(id, None, to),
                Transition::Class { id, class, to, .. } => !known(id, Some(class), to),
                _ => true,
            });
            return first;
        };
        transitions(&before.state, after)
    }
}
