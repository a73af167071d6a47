//! Tells of which policies something is another one, to those who show it.

use tokio::sync::broadcast::{self, error::RecvError};

use distributary_core::ids::PolicyKey;

/// What a follower may be behind; whoever is further behind is told that everything changed.
const MOST: usize = 64;

/// Where changes are told. Clones tell the same followers.
#[derive(Clone, Debug)]
pub struct Changes(broadcast::Sender<Changed>);

/// Of what something is another one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changed {
    Policy(PolicyKey),
    /// Of policies of this namespace.
    Namespace(String),
    Everything,
}

/// Follows the changes that are told after it was made.
#[derive(Debug)]
pub struct Follower(broadcast::Receiver<Changed>);

impl Default for Changes {
    fn default() -> Self {
        Self(broadcast::Sender::new(MOST))
    }
}

impl Changes {
    pub fn tell(&self, changed: Changed) {
        // Mostly nobody follows.
        let _ = self.0.send(changed);
    }

    /// Follows what is told from now on: whoever looks after that misses nothing.
    #[must_use]
    pub fn follow(&self) -> Follower {
        Follower(self.0.subscribe())
    }
}

impl Changed {
    fn concerns(&self, policy: &PolicyKey) -> bool {
        match self {
            Self::Policy(key) => key == policy,
            Self::Namespace(namespace) => *namespace == policy.namespace,
            Self::Everything => true,
        }
    }
}

impl Follower {
    /// Returns when something of this policy is another one. Never, where nobody tells any more.
    pub async fn changed(&mut self, policy: &PolicyKey) {
        loop {
            match self.0.recv().await {
                Ok(changed) if !changed.concerns(policy) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => return,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// What was told until now is known.
    pub fn catch_up(&mut self) {
        self.0 = self.0.resubscribe();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_follower_hears_of_its_policy_alone_and_of_all_where_it_is_far_behind() {
        let (changes, key) = (Changes::default(), PolicyKey::new("shop", "orders"));
        changes.tell(Changed::Everything);
        let mut follower = changes.follow();
        let mut hears = || follower.changed(&key).now_or_never().is_some();
        assert!(!hears(), "told before");
        for (changed, concerns) in [
            (Changed::Policy(PolicyKey::new("shop", "other")), false),
            (Changed::Policy(PolicyKey::new("other", "orders")), false),
            (Changed::Policy(key.clone()), true),
            (Changed::Namespace("other".to_owned()), false),
            (Changed::Namespace("shop".to_owned()), true),
            (Changed::Everything, true),
        ] {
            changes.tell(changed.clone());
            assert_eq!((hears(), hears()), (concerns, false), "{changed:?}");
        }
        for _ in 0..=MOST {
            changes.tell(Changed::Namespace("other".to_owned()));
        }
        assert!(hears());
        changes.tell(Changed::Everything);
        follower.catch_up();
        assert!(follower.changed(&key).now_or_never().is_none());
    }
}
