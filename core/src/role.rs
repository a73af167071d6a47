//! Whether a target is what the policy takes it for: state, identity, role and lag, on top of its health.

use std::net::{IpAddr, SocketAddr};

use super::class_states::ClassStates;
use super::following::FollowingState;
use super::health::{Health, Reason, Standing};
use super::ids::TargetId;
use super::judgement::Judgement;
use super::lag::{Freshness, Replay};
use super::observation::Role;
use super::policy::{DeclaredRole, Endpoint, EndpointState, IdentityRule, LagSource, Policy};
use super::write_primary::{Claim, Holding, Obstacle};

/// One target with what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub id: &'a TargetId,
    pub endpoint: &'a Endpoint,
    /// It is a pod behind a Service that the endpoint names.
    pub by_service: bool,
    /// It is a pod, and one of its Service was seen as a standby of this database.
    pub pod_of_standby: bool,
    /// Where it listens; `None`: that is not known yet.
    pub port: Option<u16>,
    pub health: &'a Health,
    pub replay: &'a Replay,
    pub following: FollowingState,
    pub class_states: &'a ClassStates,
}

impl Evidence<'_> {
    fn address(&self) -> Option<IpAddr> {
        self.health.address
    }

    /// Where it is, once it was seen.
    fn server(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.address()?, self.port?))
    }

    /// Why it may not take the writes, whatever it shows.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        (self.endpoint.state != EndpointState::Active).then_some(Obstacle::NotActive)
    }

    /// What it shows that may count for the writes; nothing where it is not routed at all, or was never seen.
    #[must_use]
    pub fn claim(&self, was_standby: impl Fn(SocketAddr) -> bool) -> Option<Claim> {
        if self.obstacle().is_some() {
            return None;
        }
        let (health, declared) = (self.health, self.endpoint.declared == DeclaredRole::Primary);
        let server = self.server()?;
        Some(Claim {
            target: self.id.clone(),
            server,
            instance: server,
            moved_at: health.moved_at,
            declared,
            by_service: self.by_service,
            promotable: self.endpoint.promotable,
            role: health.role,
            answers: health.proves_role(),
            doubted: health.session_lost,
            asked: health.asked,
            writable_since: health.writable_since,
            well: health.is_well(),
            alive: health.is_alive(),
            slow: health.is_slow(),
            cannot_be_checked: health.cannot_be_checked(),
            failing_since: health.silent_since(),
            identity: health.system_identifier,
            other_database: health.other_database,
            timeline: health.timeline,
            was_standby: was_standby(server),
            pod_of_standby: self.pod_of_standby,
        })
    }

    /// The judgement. Of the reasons that speak against it the first counts: state, identity and role, health, lag.
    #[must_use]
    pub fn judge(&self, policy: &Policy, holding: &Holding) -> Judgement {
        let verdict = self.health.judge(&policy.breaker);
        let exclusion = self.exclusion(policy, holding);
        let health = if exclusion.is_some() {
            Standing::Excluded
        } else {
            verdict.0
        };
        let (standing, reason) = match exclusion {
            // One that took writes when it was last seen, and is down: that says more.
            Some(Reason::WritableReplica) if matches!(verdict.0, Standing::Unhealthy { answers: false }) => {
                (Standing::Excluded, verdict.1)
            }
            Some(reason) => (Standing::Excluded, reason),
            None => self.fit(holding, verdict),
        };
        Judgement {
            target: self.id.clone(),
            address: self.address(),
            port: self.port,
            role: self.health.role,
            circuit: self.health.breaker.circuit.shown(),
            trips: self.health.breaker.trips(),
            standing,
            health,
            reason,
            same_as: None,
            failure: self.health.failure,
            behind: self.class_states.behind(),
            used: self.class_states.used(),
            classes: self.class_states.classes(),
        }
    }

    /// Why the target must not serve, whatever its health.
    fn exclusion(&self, policy: &Policy, holding: &Holding) -> Option<Reason> {
        let health = self.health;
        let shows_another = holding.is_other_database(health.system_identifier);
        let other_database =
            policy.identity != IdentityRule::Unchecked && (shows_another || health.other_database);
        match self.endpoint.state {
            EndpointState::Disabled => Some(Reason::Disabled),
            EndpointState::Draining => Some(Reason::Draining),
            EndpointState::Active if other_database => Some(Reason::IdentityMismatch),
            EndpointState::Active if health.role == Some(Role::Primary) && !self.may_write(holding) => {
                Some(Reason::WritableReplica)
            }
            EndpointState::Active if self.following == FollowingState::Diverged => Some(Reason::Diverged),
            EndpointState::Active if self.must_follow(holding) => Some(Reason::NotFollowing),
            EndpointState::Active => None,
        }
    }

    /// A standby beside the holder that may have log of another one; also where the name of the holder leads to it now.
    fn must_follow(&self, holding: &Holding) -> bool {
        let another = holding.holder.as_ref().is_some_and(|holder| holder != self.id);
        let elsewhere = holding.server.is_some_and(|server| Some(server) != self.server());
        let is_standby = self.health.role == Some(Role::Standby);
        (another || elsewhere) && is_standby && self.following == FollowingState::Required
    }

    /// It holds the writes, on a timeline that is not known to be an older one; or nobody does yet.
    fn may_write(&self, holding: &Holding) -> bool {
        let holds = holding.holder.as_ref() == Some(self.id);
        let below = matches!((self.health.timeline, holding.timeline), (Some(its), Some(high)) if its < high);
        (holds && !below) || self.is_first(holding)
    }

    /// The declared primary before there ever was a holder.
    fn is_first(&self, holding: &Holding) -> bool {
        holding.holder.is_none() && self.endpoint.declared == DeclaredRole::Primary
    }

    /// On top of a verdict of its checks: a standby must be fresh, and a primary should take writes.
    fn fit(&self, holding: &Holding, verdict: (Standing, Reason)) -> (Standing, Reason) {
        let (endpoint, role) = (self.endpoint, self.health.role);
        let (standing, reason) = verdict;
        if let Some(stale) = self.stale() {
            match standing {
                Standing::Good | Standing::Returning { .. } => return (Standing::Behind, stale),
                Standing::Unhealthy { .. } => return (Standing::Unhealthy { answers: false }, reason),
                _ => {}
            }
        }
        let vacant = holding.holder.as_ref().is_none_or(|holder| holder == self.id);
        match (endpoint.declared, role, reason) {
            (DeclaredRole::Primary, Some(Role::Standby), _) if vacant && reason.stands_back() => {
                (standing, Reason::PrimaryInRecovery)
            }
            _ if self.health.is_read_only() && (reason.stands_back() || reason == Reason::Returning) => {
                (standing, Reason::ReadOnly)
            }
            (_, Some(Role::Standby), Reason::Serving) if endpoint.weight == 0 => {
                (standing, Reason::WeightZero)
            }
            _ => (standing, reason),
        }
    }

    /// Why a standby is not fresh enough.
    fn stale(&self) -> Option<Reason> {
        if self.health.role != Some(Role::Standby) || self.endpoint.lag.source == LagSource::None {
            return None;
        }
        match self.replay.freshness {
            Freshness::Fresh => None,
            Freshness::Lagging => Some(Reason::Lagging),
            Freshness::Stalled => Some(Reason::ReplayStalled),
            Freshness::Unknown => Some(Reason::LagUnknown),
        }
    }
}

#[cfg(test)]
mod tests;
