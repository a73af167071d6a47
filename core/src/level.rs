//! Figures that move all the time, in steps: how much of a server is used, how far behind it is. A step is left only when
//! the figure is clearly past its edge, so that small changes change nothing.

use std::time::Duration;

/// The upper edges of the steps of use, in percent of the connections that a server is declared for; the last one has none.
const USE: [u32; 18] = [
    10, 20, 30, 40, 50, 60, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000,
];
/// The least distance past an edge of use, in percent, that counts.
const LEAST_DAMPING: u32 = 5;
/// A distance past an edge counts from this part of the edge on.
const DAMPING: u32 = 8;

/// How much of a server is used, from 0, the least.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct UseStep(u8);

impl UseStep {
    /// The step of `sessions` on a server for `most` connections; `before`: the present one.
    #[must_use]
    pub fn of(sessions: u32, most: u32, before: Option<Self>) -> Self {
        let percent = u64::from(sessions) * 100 / u64::from(most.max(1));
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        let past = |edge: u32| (edge / DAMPING).max(LEAST_DAMPING);
        Self(step(percent, &USE, before.map(|before| before.0), past))
    }

    /// The share that such a server gets under `LeastConnections`, in hundredths: 100 where it is hardly used, at least 1.
    #[must_use]
    pub fn share(self) -> u32 {
        let edge = USE
            .get(usize::from(self.0))
            .copied()
            .unwrap_or(USE[USE.len() - 1]);
        (100 * USE[0] / edge).max(1)
    }
}

/// How far behind a standby is, from 0; each step is twice the one before it, in seconds.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct LagStep(u8);

impl LagStep {
    /// The step of a lag; `before`: the present one.
    #[must_use]
    pub fn of(lag: Duration, before: Option<Self>) -> Self {
        const EDGES: [u32; 20] = {
            let mut edges = [1; 20];
            let mut at = 1;
            while at < edges.len() {
                edges[at] = edges[at - 1] * 2;
                at += 1;
            }
            edges
        };
        let seconds = u32::try_from(lag.as_secs()).unwrap_or(u32::MAX);
        let past = |edge: u32| (edge / DAMPING).max(1);
        Self(step(seconds, &EDGES, before.map(|before| before.0), past))
    }
}

/// The step of a figure between `edges`: the present one as long as the figure is not past its edges by `past`.
fn step(figure: u32, edges: &[u32], before: Option<u8>, past: impl Fn(u32) -> u32) -> u8 {
    let plain = edges.partition_point(|edge| figure > *edge);
    let plain = u8::try_from(plain).unwrap_or(u8::MAX);
    let Some(before) = before else { return plain };
    let upper = edges.get(usize::from(before)).copied();
    let lower = before
        .checked_sub(1)
        .and_then(|below| edges.get(usize::from(below)).copied());
    let not_above = upper.is_none_or(|edge| figure <= edge.saturating_add(past(edge)));
    let not_below = lower.is_none_or(|edge| figure.saturating_add(past(edge)) > edge);
    if not_above && not_below { before } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(sessions: u32, before: Option<u8>) -> u8 {
        UseStep::of(sessions, 100, before.map(UseStep)).0
    }

    #[test]
    fn use_is_told_in_steps() {
        for (sessions, expected) in [(0, 0), (10, 0), (11, 1), (50, 4), (91, 7), (101, 8), (5000, 18)] {
            assert_eq!(used(sessions, None), expected, "{sessions}");
        }
        assert_eq!(
            UseStep::of(3, 0, None),
            UseStep::of(300, 100, None),
            "for no connections at all"
        );
    }

    #[test]
    fn a_small_change_of_use_changes_nothing() {
        assert_eq!(used(24, Some(1)), 1);
        assert_eq!(used(26, Some(1)), 2);
        assert_eq!(used(16, Some(2)), 2);
        assert_eq!(used(15, Some(2)), 1);
        assert_eq!(used(90, Some(0)), 7, "a large one is followed at once");
        assert_eq!(used(0, Some(18)), 0);
        // The larger the edge, the larger the distance: 31 past 250.
        assert_eq!(used(281, Some(11)), 11);
        assert_eq!(used(282, Some(11)), 12);
    }

    #[test]
    fn the_more_is_used_the_smaller_the_share() {
        assert_eq!(UseStep(0).share(), 100);
        assert_eq!(UseStep(1).share(), 50);
        assert_eq!(UseStep(7).share(), 10);
        assert_eq!(UseStep(18).share(), 1);
        let shares: Vec<_> = (0..=18).map(|step| UseStep(step).share()).collect();
        assert!(shares.windows(2).all(|pair| pair[0] >= pair[1]), "{shares:?}");
    }

    #[test]
    fn lag_is_told_in_steps_that_double() {
        let behind =
            |seconds, before: Option<u8>| LagStep::of(Duration::from_secs(seconds), before.map(LagStep)).0;
        for (seconds, expected) in [
            (0, 0),
            (1, 0),
            (2, 1),
            (31, 5),
            (32, 5),
            (33, 6),
            (10_000_000, 20),
        ] {
            assert_eq!(behind(seconds, None), expected, "{seconds}");
        }
        assert_eq!(behind(35, Some(5)), 5, "about the edge it stays");
        assert_eq!(behind(37, Some(5)), 6);
        assert_eq!(behind(30, Some(6)), 6);
        assert_eq!(behind(28, Some(6)), 5);
    }
}
