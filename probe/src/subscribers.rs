//! Who wants one server probed: the targets of policies that share it, each with its own instruction.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::query::{Lags, Queries};
use distributary_core::ids::PolicyKey;
use distributary_core::moment::Moment;
use distributary_core::observation::Sample;
use distributary_core::target::{Deadlines, Hold, Incarnation, NameAnswer, NameState, NextCheck, ProbeKey};

/// A target of a policy that wants the server probed.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub key: ProbeKey,
    pub incarnation: Incarnation,
    pub lag_query: Option<Arc<str>>,
    pub deadlines: Deadlines,
    pub probe_queries: Vec<Arc<str>>,
    /// The lookups of its name are at most so far apart.
    pub interval: Duration,
    /// What it was told of its name.
    pub name: NameState,
    pub check: NextCheck,
    /// With whom it shares its checks; [`Subscribers`] says which.
    pub group: u32,
    /// The number of the newest instruction that was answered.
    pub answered: Option<u64>,
}

impl Subscriber {
    fn awaits(&self) -> bool {
        self.answered.is_none_or(|answered| self.check.number > answered)
    }

    /// Whether it wants a session held to `address`.
    fn holds(&self, address: IpAddr) -> bool {
        self.check.hold.is_some_and(|hold| hold.address == address)
    }

    /// Whether one check can serve both: neither waits longer than its own settings let it, and both go to the same
    /// address.
    fn agrees(&self, other: &Self) -> bool {
        (self.deadlines, self.check.prefer) == (other.deadlines, other.check.prefer)
    }

    /// The sample as this subscriber asked for it.
    pub fn sample(&self, sample: &Sample, lags: &Lags) -> Sample {
        let lag = self.lag_query.as_ref().and_then(|query| lags.get(query));
        let mut sample = Sample {
            lag: lag.cloned(),
            ..sample.clone()
        };
        sample
            .probes
            .retain(|query, _| self.probe_queries.contains(query));
        sample
    }
}

/// All who want one server probed. Clones are the same; whoever waits hears of changes.
///
/// Those of one group agree in what a check depends on, and no two groups do.
#[derive(Clone, Debug, Default)]
pub struct Subscribers(Arc<watch::Sender<Vec<Subscriber>>>);

impl Subscribers {
    pub fn changes(&self) -> watch::Receiver<Vec<Subscriber>> {
        self.0.subscribe()
    }

    /// Adds one, or tells it of a newer instruction; another incarnation or question is another subscriber.
    pub fn put(&self, wanted: Subscriber) {
        self.0.send_modify(|all| {
            let place = all.iter().position(|known| known.key == wanted.key);
            match place.map(|place| &mut all[place]) {
                Some(known) if known.incarnation == wanted.incarnation => {
                    known.lag_query.clone_from(&wanted.lag_query);
                    known.deadlines = wanted.deadlines;
                    known.probe_queries.clone_from(&wanted.probe_queries);
                    known.interval = wanted.interval;
                    if wanted.check.number > known.check.number {
                        known.check = wanted.check;
                    }
                }
                Some(known) => {
                    *known = Subscriber {
                        group: known.group,
                        ..wanted
                    }
                }
                None => {
                    let group = next_group(all);
                    // Most servers have one.
                    all.reserve_exact(1);
                    all.push(Subscriber { group, ..wanted });
                }
            }
            let place = place.unwrap_or(all.len() - 1);
            regroup(all, place);
        });
    }

    /// Gives one its next instruction. One that is not newer than the last is ignored.
    pub fn instruct(&self, key: &ProbeKey, check: NextCheck) {
        self.0.send_if_modified(|all| {
            let newer = |known: &Subscriber| known.key == *key && check.number > known.check.number;
            let Some(place) = all.iter().position(newer) else {
                return false;
            };
            all[place].check = check;
            regroup(all, place);
            true
        });
    }

    /// Whether others are left.
    pub fn remove(&self, key: &ProbeKey) -> bool {
        self.0.send_modify(|all| all.retain(|known| known.key != *key));
        !self.0.borrow().is_empty()
    }

    /// The groups that have anybody.
    pub fn groups(&self) -> BTreeSet<u32> {
        self.0.borrow().iter().map(|known| known.group).collect()
    }

    /// Where sessions are wanted.
    pub fn held_addresses(&self) -> BTreeSet<IpAddr> {
        let all = self.0.borrow();
        let holds = all.iter().filter_map(|known| known.check.hold);
        holds.map(|hold| hold.address).collect()
    }

    /// What those of a group want asked, each once.
    pub fn queries(&self, group: u32) -> Queries {
        let all = self.0.borrow();
        let asking = || all.iter().filter(|known| known.group == group);
        let probes = asking().flat_map(|known| known.probe_queries.iter().cloned());
        Queries {
            lags: once(asking().filter_map(|known| known.lag_query.clone())),
            probes: once(probes),
        }
    }

    /// What those who hold the session to `address` want asked.
    pub fn lag_queries_at(&self, address: IpAddr) -> Vec<Arc<str>> {
        let all = self.0.borrow();
        let holding = all.iter().filter(|known| known.holds(address));
        once(holding.filter_map(|known| known.lag_query.clone()))
    }

    /// The policies of those who hold the session to `address`.
    pub fn holding(&self, address: IpAddr) -> Vec<PolicyKey> {
        let all = self.0.borrow();
        let holding = all.iter().filter(|known| known.holds(address));
        holding.map(|known| known.key.policy.clone()).collect()
    }

    /// The policies of those of a group.
    pub fn policies_of(&self, group: u32) -> Vec<PolicyKey> {
        let all = self.0.borrow();
        let of_it = all.iter().filter(|known| known.group == group);
        of_it.map(|known| known.key.policy.clone()).collect()
    }

    /// All policies.
    pub fn policies(&self) -> Vec<PolicyKey> {
        self.0
            .borrow()
            .iter()
            .map(|known| known.key.policy.clone())
            .collect()
    }

    /// The moment of the group's earliest instruction that is not answered yet.
    pub fn due(&self, group: u32) -> Option<Moment> {
        let all = self.0.borrow();
        let open = all.iter().filter(|known| known.group == group && known.awaits());
        open.filter_map(|known| known.check.at).min()
    }

    /// Those of a group whose moment has come, the shortest deadline first.
    pub fn due_at(&self, group: u32, now: Moment) -> Vec<Subscriber> {
        let all = self.0.borrow();
        let mut due: Vec<_> = all
            .iter()
            .filter(|known| {
                known.group == group && known.awaits() && known.check.at.is_some_and(|at| at <= now)
            })
            .cloned()
            .collect();
        due.sort_by_key(|known| known.check.timeout);
        due
    }

    /// Notes that an instruction was answered; nobody waits for that. False: the answer is no longer this group's to give.
    pub fn answered(&self, subscriber: &Subscriber) -> bool {
        let mut wanted = false;
        self.0.send_if_modified(|all| {
            let same = |known: &&mut Subscriber| {
                known.key == subscriber.key
                    && known.incarnation == subscriber.incarnation
                    && known.group == subscriber.group
            };
            if let Some(known) = all.iter_mut().find(same) {
                known.answered = known.answered.max(Some(subscriber.check.number));
                wanted = true;
            }
            false
        });
        wanted
    }

    /// The shortest interval.
    pub fn interval(&self) -> Option<Duration> {
        self.0.borrow().iter().map(|known| known.interval).min()
    }

    /// The addresses that are in use.
    pub fn preferred(&self) -> BTreeSet<IpAddr> {
        self.0
            .borrow()
            .iter()
            .filter_map(|known| known.check.prefer)
            .collect()
    }

    /// What is to be told of the name to those whom it says something new, by the address that they use.
    pub fn named(&self, state: impl Fn(Option<IpAddr>) -> NameState) -> Vec<NameAnswer> {
        let mut news = Vec::new();
        self.0.send_if_modified(|all| {
            for known in all {
                let state = state(known.check.prefer);
                if std::mem::replace(&mut known.name, state) != state {
                    news.push(NameAnswer {
                        key: known.key.clone(),
                        incarnation: known.incarnation,
                        state,
                    });
                }
            }
            false
        });
        news
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The session to hold to `address`: the cadence of the fastest, and its deadline.
    pub fn hold(&self, address: IpAddr) -> Option<Hold> {
        let all = self.0.borrow();
        let holds = all.iter().filter_map(|known| known.check.hold);
        holds
            .filter(|hold| hold.address == address)
            .min_by_key(|hold| (hold.every, hold.timeout))
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

/// A group that nobody is in.
fn next_group(all: &[Subscriber]) -> u32 {
    all.iter().map(|known| known.group + 1).max().unwrap_or_default()
}

/// Puts one to those with whom it agrees. Who agrees with nobody keeps its group where it is alone in it: the task that
/// checks for it knows the server.
fn regroup(all: &mut [Subscriber], place: usize) {
    let others = || all.iter().enumerate().filter(|(at, _)| *at != place);
    let agreeing = others().find(|(_, other)| other.agrees(&all[place]));
    let group = match agreeing {
        Some((_, other)) => other.group,
        None if others().any(|(_, other)| other.group == all[place].group) => next_group(all),
        None => return,
    };
    all[place].group = group;
}

fn once(queries: impl Iterator<Item = Arc<str>>) -> Vec<Arc<str>> {
    let mut queries: Vec<_> = queries.collect();
    queries.sort_unstable();
    queries.dedup();
    queries
}
