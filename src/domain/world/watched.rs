//! One target of a policy: its health, and the instruction to its prober.

use std::sync::Arc;

use super::RememberedEndpoint;
use crate::domain::cadence;
use crate::domain::health::Health;
use crate::domain::moment::Moment;
use crate::domain::observation::{FailureKind, Observation};
use crate::domain::policy::{Endpoint, Login, Policy};
use crate::domain::target::{Incarnation, NextCheck, ProbeKey};

#[derive(Debug)]
pub(super) struct Target {
    pub(super) incarnation: Incarnation,
    pub(super) health: Health,
    pub(super) login: Option<Arc<Login>>,
    /// In a route before probing began: until every target was checked, only a proof takes it out.
    pub(super) served: bool,
    pub(super) check: NextCheck,
    pub(super) asleep: bool,
}

impl Target {
    pub(super) fn new(endpoint: &Endpoint, incarnation: u64, policy: &Policy, now: Moment) -> Self {
        let timeout = cadence::first_attempt(&policy.probing, &policy.breaker);
        let mut target = Self {
            incarnation: Incarnation(incarnation),
            health: Health::default(),
            login: None,
            served: false,
            check: NextCheck {
                number: 0,
                at: now,
                timeout,
                prefer: None,
                hold: None,
            },
            asleep: false,
        };
        target.log_in_as(endpoint);
        target
    }

    pub(super) fn restored(
        endpoint: &Endpoint,
        remembered: Option<&RememberedEndpoint>,
        policy: &Policy,
        now: Moment,
    ) -> Self {
        let mut target = Self::new(endpoint, 0, policy, now);
        if let Some(remembered) = remembered.filter(|remembered| remembered.is(endpoint)) {
            target.served = remembered.eligible;
            target.health.admitted = remembered.eligible && remembered.role.is_some();
            target.health.address = remembered.address;
            target.health.role = remembered.role;
            target.check.prefer = remembered.address;
        }
        target
    }

    pub(super) fn kept(mut self, endpoint: &Endpoint, before: &Policy, policy: &Policy, now: Moment) -> Self {
        let login = self.login.take();
        self.log_in_as(endpoint);
        if self.asleep {
            self.wake(now);
        }
        let sooner = if login == self.login {
            now + policy.probing.interval
        } else {
            now
        };
        if login != self.login || before.probing != policy.probing || before.breaker != policy.breaker {
            let timeout = cadence::first_attempt(&policy.probing, &policy.breaker);
            self.check = NextCheck {
                number: self.check.number + 1,
                at: self.check.at.min(sooner),
                timeout,
                ..self.check
            };
        }
        self
    }

    pub(super) fn resume(&mut self, now: Moment) {
        self.health.checked = self.login.is_none();
        self.wake(now);
    }

    fn wake(&mut self, now: Moment) {
        self.asleep = false;
        self.check = NextCheck {
            number: self.check.number + 1,
            at: now,
            ..self.check
        };
    }

    /// A login that cannot be had is a result too: nothing else will be heard of this target.
    fn log_in_as(&mut self, endpoint: &Endpoint) {
        self.login = endpoint
            .login
            .as_ref()
            .ok()
            .filter(|_| endpoint.location.is_some())
            .cloned();
        if self.login.is_none() {
            self.health.checked = true;
            self.health.failure = Some(FailureKind::SecretUnresolved);
        }
    }

    pub(super) fn reschedule(&mut self, key: &ProbeKey, observation: &Observation, policy: &Policy) {
        let number = self.check.number + 1;
        let spread = spread(key, number);
        let prefer = self.health.address;
        match cadence::next(
            &self.health,
            observation,
            &policy.probing,
            &policy.breaker,
            spread,
        ) {
            Some((at, timeout)) => {
                self.check = NextCheck {
                    number,
                    at,
                    timeout,
                    prefer,
                    hold: None,
                }
            }
            None => self.asleep = true,
        }
    }
}

impl RememberedEndpoint {
    /// Whether it is the server that the policy declares now.
    fn is(&self, endpoint: &Endpoint) -> bool {
        endpoint.location.as_ref().is_none_or(|location| {
            self.host.as_deref() == Some(location.host.to_string().as_str())
                && self.port == Some(location.port)
        })
    }
}

/// 0 to 100, from the target and the count of its checks: spreads checks without chance.
fn spread(key: &ProbeKey, number: u64) -> u8 {
    let bytes = key
        .policy
        .namespace
        .bytes()
        .chain(key.policy.name.bytes())
        .chain(key.target.endpoint.as_str().bytes());
    let hash = bytes
        .chain(number.to_le_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    u8::try_from((hash >> 32) % 101).unwrap_or(0)
}
