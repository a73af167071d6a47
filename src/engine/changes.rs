//! Tells of which policies something is another one, to those who show it.

use tokio::sync::broadcast::{self, error::RecvError};

use distributary_core::ids::PolicyKey;

/// What a follower may be behind; whoever is further behind is told that everything changed.
const MOST: usize = 64;

/// Where changes are told. Clones tell the same followers.
#[derive(Clone, Debug)]
pub struct Changes(broadcast::Sender<Changed>);

/// Of what something is another one.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
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
    /// Whether one policy at least is of both.
    #[must_use]
    pub fn concerns(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everything, _) | (_, Self::Everything) => true,
            (Self::Policy(one), Self::Policy(other)) => one == other,
            (Self::Namespace(one), Self::Namespace(other)) => one == other,
            (Self::Policy(key), Self::Namespace(namespace))
            | (Self::Namespace(namespace), Self::Policy(key)) => key.namespace == *namespace,
        }
    }
}

impl Follower {
    /// Returns what is another one, where it concerns `followed`. Never, where nobody tells any more.
    pub async fn changed(&mut self, followed: &Changed) -> Changed {
        loop {
            match self.0.recv().await {
                Ok(changed) if !changed.concerns(followed) => {}
                Ok(changed) => return changed,
                Err(RecvError::Lagged(_)) => return Changed::Everything,
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_follower_hears_of_what_it_follows_alone_and_of_all_where_it_is_far_behind() {
        let changes = Changes::default();
        let orders = Changed::Policy(PolicyKey::new("shop", "orders"));
        let shop = Changed::Namespace("shop".to_owned());
        changes.tell(Changed::Everything);
        for (changed, concerns) in [
            (
                Changed::Policy(PolicyKey::new("shop", "other")),
                [false, true, true],
            ),
            (
                Changed::Policy(PolicyKey::new("other", "orders")),
                [false, false, true],
            ),
            (orders.clone(), [true, true, true]),
            (Changed::Namespace("other".to_owned()), [false, false, true]),
            (shop.clone(), [true, true, true]),
            (Changed::Everything, [true, true, true]),
        ] {
            for (followed, concerns) in [&orders, &shop, &Changed::Everything].into_iter().zip(concerns) {
                let mut follower = changes.follow();
                changes.tell(changed.clone());
                let mut hears = || follower.changed(followed).now_or_never();
                let told = concerns.then(|| changed.clone());
                assert_eq!((hears(), hears()), (told, None), "{changed:?} of {followed:?}");
            }
        }
        let mut follower = changes.follow();
        for _ in 0..=MOST {
            changes.tell(Changed::Namespace("other".to_owned()));
        }
        assert_eq!(
            follower.changed(&orders).now_or_never(),
            Some(Changed::Everything)
        );
        assert_eq!(follower.changed(&orders).now_or_never(), None);
    }
}
