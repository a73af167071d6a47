//! PURE. What five equal servers allow, calculated from what a request costs before anything is compared.

use serde::{Deserialize, Serialize};

use super::arm::Arm;
use super::arrivals::{Kind, MIX};
use super::statistics::{count, ratio};

/// Servers: a primary and four replicas.
pub const SERVERS: usize = 5;
/// Replicas behind `NAME-ro`: the last one is dedicated to analytics.
pub const READERS: usize = 3;

/// Processor time, measured with a few requests at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Costs {
    /// Of a point read, in milliseconds.
    pub point: f64,
    /// Of a dashboard query, in milliseconds.
    pub dashboard: f64,
    /// Of a write on the primary, in milliseconds.
    pub write: f64,
    /// Of its replay on one replica, in milliseconds.
    pub replay: f64,
    /// Of an analytics query, in milliseconds.
    pub analytics: f64,
    /// Of a server that nobody asks anything, in cores.
    pub idle: f64,
}

/// The ceilings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ceilings {
    /// Requests of the mix per second with everything on the primary.
    pub primary: f64,
    /// With one server that has the quotas of all five and replays nothing.
    pub big: f64,
    /// With all five servers always busy: a write on one of them, its replay on the others.
    pub five: f64,
    /// With the reads on the replicas of `NAME-ro`, analytics on theirs, writes on the primary.
    pub routed: f64,
    /// `five` divided by `primary`.
    pub factor: f64,
    /// The share of the primary's load that can be elsewhere: all but the writes, in percent.
    pub offload: f64,
}

impl Costs {
    /// Of a kind, in milliseconds.
    #[must_use]
    pub fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Point => self.point,
            Kind::Dashboard => self.dashboard,
            Kind::Write => self.write,
            Kind::Analytics => self.analytics,
        }
    }

    /// Reads of an average request of the mix, in milliseconds.
    #[must_use]
    pub fn reads(&self) -> f64 {
        (count(MIX[0]) * self.point + count(MIX[1]) * self.dashboard) / 100.0
    }

    /// Of an average read, in milliseconds.
    #[must_use]
    pub fn read(&self) -> f64 {
        ratio(self.reads() * 100.0, count(MIX[0] + MIX[1]))
    }

    /// Writes of an average request of the mix, in milliseconds.
    #[must_use]
    pub fn writes(&self) -> f64 {
        count(MIX[2]) * self.write / 100.0
    }

    fn replays(&self) -> f64 {
        count(MIX[2]) * self.replay / 100.0
    }
}

impl Ceilings {
    /// Of servers of `quota` cores each, with so many analytics queries per second.
    #[must_use]
    pub fn of(costs: &Costs, quota: f64, analytics: f64) -> Self {
        // Milliseconds of a server in each second.
        let (one, apart) = ((quota - costs.idle) * 1000.0, analytics * costs.analytics);
        let (reads, writes, replays) = (costs.reads(), costs.writes(), costs.replays());
        let primary = ratio((one - apart).max(0.0), reads + writes);
        let others = count(SERVERS - 1) * replays;
        let five = ratio((count(SERVERS) * one - apart).max(0.0), reads + writes + others);
        let readers = ratio(count(READERS) * one, reads + count(READERS) * replays);
        let writer = ratio(one, writes);
        let all = primary * (reads + writes) + apart;
        let big = (count(SERVERS) * quota - costs.idle) * 1000.0 - apart;
        Self {
            primary,
            big: ratio(big.max(0.0), reads + writes),
            five,
            routed: readers.min(writer),
            factor: ratio(five, primary),
            offload: 100.0 * (1.0 - ratio(primary * writes, all)),
        }
    }

    /// Of an arm, in requests of the mix per second. Who spreads reads over servers has that of all five.
    #[must_use]
    pub fn of_arm(&self, arm: Arm) -> f64 {
        match arm {
            Arm::Primary => self.primary,
            Arm::Big => self.big,
            Arm::Random | Arm::Haproxy | Arm::Services | Arm::Client => self.five,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: Costs = Costs {
        point: 0.1,
        dashboard: 2.0,
        write: 0.4,
        replay: 0.2,
        analytics: 10.0,
        idle: 0.01,
    };

    fn near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-6 * other.abs(), "{one} is not {other}");
    }

    #[test]
    fn ceilings_are_what_the_costs_add_up_to() {
        let ceilings = Ceilings::of(&COSTS, 0.15, 2.0);
        // 140 ms a second, 20 for analytics; a request of the mix takes 0.08 + 0.3 + 0.02 ms.
        near(ceilings.primary, 120.0 / 0.4);
        near(ceilings.five, 680.0 / 0.44);
        near(ceilings.big, 720.0 / 0.4);
        let of = [Arm::Primary, Arm::Big, Arm::Client].map(|arm| ceilings.of_arm(arm));
        assert_eq!(of, [ceilings.primary, ceilings.big, ceilings.five]);
        near(ceilings.routed, 420.0 / 0.41);
        near(ceilings.factor, ceilings.five / ceilings.primary);
        near(ceilings.offload, 100.0 * (1.0 - 6.0 / 140.0));
    }

    #[test]
    fn the_writer_bounds_what_is_routed_where_reads_are_cheap() {
        let costs = Costs {
            point: 0.001,
            dashboard: 0.001,
            replay: 0.0,
            ..COSTS
        };
        near(Ceilings::of(&costs, 0.15, 2.0).routed, 140.0 / 0.02);
    }

    #[test]
    fn a_quota_below_the_idle_load_allows_nothing() {
        let ceilings = Ceilings::of(&COSTS, 0.02, 2.0);
        assert_eq!((ceilings.primary, ceilings.factor), (0.0, 0.0));
        assert_eq!(
            Ceilings::of(&Costs::default(), 0.15, 0.0).five,
            0.0,
            "nothing was measured"
        );
    }
}
