//! Who wants one server probed: the targets of policies that share it, each with its own instruction.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};

use super::query::{Lags, Queries};
use crate::domain::moment::Moment;
use crate::domain::observation::Sample;
use crate::domain::target::{Hold, Incarnation, NextCheck, ProbeKey};

/// A target of a policy that wants the server probed.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub key: ProbeKey,
    pub incarnation: Incarnation,
    pub lag_query: Option<Arc<str>>,
    pub probe_queries: Vec<Arc<str>>,
    pub check: NextCheck,
    /// The number of the newest instruction that was answered.
    pub answered: Option<u64>,
    /// The places of its policy.
    pub places: Arc<Semaphore>,
}

impl Subscriber {
    fn awaits(&self) -> bool {
        self.answered.is_none_or(|answered| self.check.number > answered)
    }

    /// The sample as this subscriber asked for it.
    pub fn sample(&self, sample: &Sample, lags: &Lags) -> Sample {
        let lag = self.lag_query.as_ref().and_then(|query| lags.get(query));
        let mut sample = Sample {
            lag: lag.copied().flatten(),
            ..sample.clone()
        };
        sample
            .probes
            .retain(|query, _| self.probe_queries.contains(query));
        sample
    }
}

/// All who want one server probed. Clones are the same; whoever waits hears of changes.
#[derive(Clone, Debug, Default)]
pub struct Subscribers(Arc<watch::Sender<Vec<Subscriber>>>);

impl Subscribers {
    pub fn changes(&self) -> watch::Receiver<Vec<Subscriber>> {
        self.0.subscribe()
    }

    /// Adds one, or tells it of a newer instruction; another incarnation or question is another subscriber.
    pub fn put(&self, wanted: Subscriber) {
        self.0.send_modify(|all| {
            let known = all.iter_mut().find(|known| known.key == wanted.key);
            match known {
                Some(known) if known.incarnation == wanted.incarnation => {
                    known.lag_query.clone_from(&wanted.lag_query);
                    known.probe_queries.clone_from(&wanted.probe_queries);
                    if wanted.check.number > known.check.number {
                        known.check = wanted.check;
                    }
                }
                Some(known) => *known = wanted,
                None => all.push(wanted),
            }
        });
    }

    /// Gives one its next instruction. One that is not newer than the last is ignored.
    pub fn instruct(&self, key: &ProbeKey, check: NextCheck) {
        self.0.send_if_modified(|all| {
            let known = all.iter_mut().find(|known| known.key == *key);
            match known {
                Some(known) if check.number > known.check.number => {
                    known.check = check;
                    true
                }
                _ => false,
            }
        });
    }

    /// Whether others are left.
    pub fn remove(&self, key: &ProbeKey) -> bool {
        self.0.send_modify(|all| all.retain(|known| known.key != *key));
        !self.0.borrow().is_empty()
    }

    /// What all of them ask, each once.
    pub fn queries(&self) -> Queries {
        let once = |mut queries: Vec<Arc<str>>| {
            queries.sort_unstable();
            queries.dedup();
            queries
        };
        let all = self.0.borrow();
        let lags = all.iter().filter_map(|known| known.lag_query.clone());
        let probes = all.iter().flat_map(|known| known.probe_queries.iter().cloned());
        Queries {
            lags: once(lags.collect()),
            probes: once(probes.collect()),
        }
    }

    /// The moment of the earliest instruction that is not answered yet.
    pub fn due(&self) -> Option<Moment> {
        let all = self.0.borrow();
        let open = all.iter().filter(|known| known.awaits());
        open.map(|known| known.check.at).min()
    }

    /// Those whose moment has come, the shortest deadline first.
    pub fn due_at(&self, now: Moment) -> Vec<Subscriber> {
        let all = self.0.borrow();
        let mut due: Vec<_> = all
            .iter()
            .filter(|known| known.awaits() && known.check.at <= now)
            .cloned()
            .collect();
        due.sort_by_key(|known| known.check.timeout);
        due
    }

    /// Notes that an instruction was answered; nobody waits for that.
    pub fn answered(&self, subscriber: &Subscriber) {
        self.0.send_if_modified(|all| {
            let known = all
                .iter_mut()
                .find(|known| known.key == subscriber.key && known.incarnation == subscriber.incarnation);
            if let Some(known) = known {
                known.answered = known.answered.max(Some(subscriber.check.number));
            }
            false
        });
    }

    /// The session to hold: the cadence of the fastest, its deadline and where its server is.
    pub fn hold(&self) -> Option<Hold> {
        let all = self.0.borrow();
        let holds = all.iter().filter_map(|known| known.check.hold);
        holds.min_by_key(|hold| (hold.every, hold.timeout))
    }

    /// Those who hear of the session to `address`; of a missed heartbeat only those whose deadline has passed.
    pub fn hearing(&self, address: IpAddr, waited: Option<Duration>) -> Vec<Subscriber> {
        let all = self.0.borrow();
        let hears =
            |hold: Hold| hold.address == address && waited.is_none_or(|waited| hold.timeout <= waited);
        all.iter()
            .filter(|known| known.check.hold.is_some_and(hears))
            .cloned()
            .collect()
    }
}
