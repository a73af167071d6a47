//! All arms at the same time, on the same servers, under the same faults.

mod director;
mod ticks;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use distributary_client::Router;
use futures::future::try_join_all;
use tokio::task::JoinHandle;

use self::director::{Director, Happened};
use self::ticks::Ticks;
use super::arm::Arm;
use super::arrivals::arrivals;
use super::calamity::{Kinds, slots};
use super::ceilings::SERVERS;
use super::front::{Front, Sizes};
use super::generator;
use super::random::Random;
use super::record::{ArmRecord, Availability, FaultRecord, Settings};
use super::right::{Count, Probe};
use super::scene::Scene;
use crate::journal::{Journal, Statement};

/// A server that is taken out so long after its fault is still taken out for it.
const GRACE: Duration = Duration::from_secs(5);
const LEFT_OUT: &str = "it is one server, as that of (a) is, and not among those that the faults befall: \
                        the same faults would cost both the same";
/// Connections of each arm; how long they live is set.
pub const SIZES: Sizes = Sizes {
    reads: 6,
    writes: 2,
    analytics: 2,
    lifetime: Duration::ZERO,
};
/// Analytics queries per second and arm.
const ANALYTICS: f64 = 0.2;
/// Rows of different arms are so far from each other.
const APART: i64 = 10_000_000;
const PERIOD: Duration = Duration::from_millis(100);
/// All pools are open and all schedules made by then.
const LEAD: Duration = Duration::from_secs(1);

/// The length of the time in which one fault happens and all is well again.
#[must_use]
pub fn slot(settings: &Settings) -> Duration {
    Duration::from_secs(if settings.short { 25 } else { 60 })
}

/// Runs the whole schedule; writes rows from `rows` on.
///
/// # Errors
/// When a program fails, or a server does not come back.
pub async fn run(scene: &Scene, settings: &Settings, rows: i64) -> Result<Availability> {
    scene.servers.limit(settings.quota, PERIOD)?;
    let sizes = Sizes {
        lifetime: Duration::from_secs(settings.lifetime),
        ..SIZES
    };
    let opened = Arm::SHARING.map(|arm| scene.front(arm, &sizes));
    let fronts = try_join_all(opened).await?;
    let length = Duration::from_secs(settings.fault_seconds);
    let schedule = slots(&mut Random::of(settings.seed, 1), SERVERS, length, slot(settings));
    let total = slot(settings) * u32::try_from(schedule.len())?;
    let requests = arrivals(
        &mut Random::of(settings.seed, 2),
        settings.probes,
        ANALYTICS,
        total,
    );
    let start = Instant::now() + LEAD;
    let _watch = fronts.iter().find_map(|front| match &**front {
        Front::Client { router, .. } => Some(Follow::start(router, scene.journal.clone())),
        Front::Pools { .. } => None,
    });
    let ticks = Ticks::start(scene.servers.server(0).socket(), start);
    let deadline = Duration::from_millis(settings.deadline);
    let first = |arm: usize| Ok::<_, anyhow::Error>(rows + i64::try_from(arm)? * APART);
    let mut senders = vec![];
    for (number, front) in fronts.iter().enumerate() {
        let (front, requests, first) = (front.clone(), requests.clone(), first(number)?);
        senders.push(AbortOnDrop(tokio::spawn(async move {
            generator::run(&front, requests, start, deadline, first).await
        })));
    }
    let kinds = Kinds::new(Random::of(settings.seed, 3));
    let mut director = Director::new((scene, &fronts[0]), &ticks, kinds, start, slot(settings));
    let happened = director.direct(&schedule).await?;
    let (mut probes, mut late_sending) = (vec![], 0.0_f64);
    for mut sender in senders {
        let sent = (&mut sender.0).await.context("a generator")??;
        late_sending = late_sending.max(sent.late_sending);
        probes.push(sent.probes);
    }
    let kept = written(scene, director.primary(), rows).await?;
    let ticks = ticks.end();
    let bound = Duration::from_millis(settings.bound);
    let count = |probes: &[Probe]| {
        tally(probes, happened.len(), slot(settings), |count, probe| {
            count.add(probe, &ticks, bound, &kept);
        })
    };
    let counts: Vec<_> = probes.iter().map(|probes| count(probes)).collect();
    Ok(Availability {
        late_sending,
        ..whole(scene, &happened, &counts, start)
    })
}

/// The rows that are there at the end.
async fn written(scene: &Scene, primary: usize, rows: i64) -> Result<BTreeSet<i64>> {
    let query = format!("select number from entry where number >= {rows}");
    let found = scene.servers.server(primary).rows(&query).await?;
    found.iter().flatten().map(|text| Ok(text.parse()?)).collect()
}

/// Probes by the slot in which they were due.
fn tally(probes: &[Probe], slots: usize, slot: Duration, add: impl Fn(&mut Count, &Probe)) -> Vec<Count> {
    let mut counts = vec![Count::default(); slots];
    for probe in probes {
        let number = probe.at.as_millis() / slot.as_millis().max(1);
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(count) = counts.get_mut(number.min(slots.saturating_sub(1))) {
            add(count, probe);
        }
    }
    counts
}

fn whole(scene: &Scene, happened: &[Happened], counts: &[Vec<Count>], start: Instant) -> Availability {
    let seconds = |at: Instant| at.saturating_duration_since(start).as_secs_f64();
    let fault = |(number, fault): (usize, &Happened)| FaultRecord {
        kind: fault.kind,
        server: fault.server,
        primary: fault.primary,
        at: seconds(fault.at),
        mended: seconds(fault.mended),
        generator_core: fault.generator_core,
        counts: Arm::SHARING
            .into_iter()
            .zip(counts.iter().map(|arm| arm[number]))
            .collect(),
    };
    let arm = |(arm, counts): (Arm, &Vec<Count>)| ArmRecord {
        arm,
        count: counts.iter().copied().fold(Count::default(), Count::plus),
        false_ejections: matches!(arm, Arm::Haproxy | Arm::Services | Arm::Client)
            .then(|| false_ejections(&scene.journal.taken_out(arm.letter(), start), happened)),
    };
    Availability {
        faults: happened.iter().enumerate().map(fault).collect(),
        arms: Arm::SHARING.into_iter().zip(counts).map(arm).collect(),
        late_sending: 0.0,
        left_out: vec![(Arm::Big, LEFT_OUT.to_owned())],
    }
}

/// Those that no fault of the server explains.
fn false_ejections(taken_out: &[(Instant, Ipv4Addr)], happened: &[Happened]) -> usize {
    let explained = |(at, server): &&(Instant, Ipv4Addr)| {
        let explains = |fault: &Happened| {
            fault.involved.contains(server) && fault.at <= *at && *at <= fault.mended + GRACE
        };
        !happened.iter().any(explains)
    };
    taken_out.iter().filter(explained).count()
}

/// Writes into the journal what the embedded router takes out of its reads.
struct Follow(JoinHandle<()>);

impl Drop for Follow {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Follow {
    fn start(router: &Router, journal: Journal) -> Self {
        let router = router.clone();
        Self(tokio::spawn(async move {
            let mut before = serving(&router);
            loop {
                router.changed().await;
                let now = serving(&router);
                for gone in before.difference(&now) {
                    journal.add(Arm::Client.letter(), Statement::Down(*gone));
                }
                before = now;
            }
        }))
    }
}

fn serving(router: &Router) -> BTreeSet<Ipv4Addr> {
    let table = router.table();
    let targets = table.routes.get("ro").map(|route| route.targets.clone());
    let addresses = targets
        .into_iter()
        .flatten()
        .filter_map(|target| match target.address {
            std::net::IpAddr::V4(address) => Some(address),
            std::net::IpAddr::V6(_) => None,
        });
    addresses.collect()
}

/// A task that ends with its owner.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offload::arrivals::Kind;
    use crate::offload::calamity::Calamity;
    use crate::offload::right::Outcome;

    #[test]
    fn an_ejection_without_a_fault_of_that_server_is_false() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (one, other) = (Ipv4Addr::new(198, 18, 0, 11), Ipv4Addr::new(198, 18, 0, 12));
        let fault = Happened {
            kind: Calamity::Crash,
            server: 1,
            primary: false,
            at: after(10),
            mended: after(30),
            generator_core: 0.1,
            involved: vec![one],
        };
        let of = |seconds, server| false_ejections(&[(after(seconds), server)], std::slice::from_ref(&fault));
        assert_eq!([of(9, one), of(10, one), of(35, one), of(36, one)], [1, 0, 0, 1]);
        assert_eq!(of(20, other), 1);
    }

    #[test]
    fn probes_belong_to_the_slot_in_which_they_were_due() {
        let probe = |seconds| Probe {
            at: Duration::from_secs(seconds),
            kind: Kind::Point,
            row: 0,
            outcome: Outcome::Failed,
        };
        let probes = [probe(0), probe(59), probe(60), probe(119), probe(120)];
        let counts = tally(&probes, 2, Duration::from_secs(60), |count, _| count.sent += 1);
        assert_eq!(counts.iter().map(|count| count.sent).collect::<Vec<_>>(), [2, 3]);
    }
}
