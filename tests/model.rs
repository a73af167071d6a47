//! Writing, the Lease and the choice of the write primary, taken through every run within a bound: two operators, an abstract API
//! server, a primary and two replicas.

#[path = "model/api.rs"]
mod api;
#[path = "model/bound.rs"]
mod bound;
#[path = "model/canon.rs"]
mod canon;
#[path = "model/check.rs"]
mod check;
#[path = "model/engine.rs"]
mod engine;
#[path = "model/laws.rs"]
mod laws;
#[path = "model/operator.rs"]
mod operator;
#[path = "model/reached.rs"]
mod reached;
#[path = "model/servers.rs"]
mod servers;
#[path = "model/state.rs"]
mod state;

use bound::Bound;
use check::{Figures, check};
use reached::Point;

/// A run is followed until all must be as it should be from one of so many states.
const SAMPLED: u64 = 256;

fn figures(bound: &Bound) -> Figures {
    let figures = check(bound, SAMPLED).unwrap_or_else(|violation| panic!("{bound:?}\n{violation}"));
    println!("{bound:?}\n{figures}");
    figures
}

/// No run within these bounds breaks a law, and together they reach these points.
fn holds(bounds: &[Bound], points: &[Point]) {
    let all: Vec<_> = bounds.iter().map(figures).collect();
    for point in points {
        let count: u64 = all.iter().map(|figures| figures.reached[point]).sum();
        assert!(count > 0, "{point:?} is not reached");
    }
}

/// S7, S10: whoever leads, and whatever the clocks do, the same is written.
#[test]
fn changes_of_leaders_write_nothing() {
    let calm = Bound {
        ticks: 6,
        ..Bound::default()
    };
    let crash = Bound { crashes: 1, ..calm };
    let freeze = Bound { freezes: 1, ..calm };
    let slip = Bound { slips: 1, ..calm };
    let late = Bound { late: 1, ..calm };
    let points = [Point::LeaderChanged, Point::LeadLost, Point::TwoLeaders];
    holds(&[crash, freeze, slip, late], &points);
}

/// S1, S2, S4, S6, S8, S10.
#[test]
fn the_writes_follow_the_primary_whatever_befalls_the_servers() {
    let promotion = Bound {
        promotions: 1,
        ticks: 3,
        ..Bound::default()
    };
    let death = Bound {
        deaths: 1,
        promotions: 0,
        ..promotion
    };
    // The leader ends at any time of a move, and another one goes on by what it finds.
    let crash = Bound {
        crashes: 1,
        ticks: 1,
        ..promotion
    };
    // The primary goes down and comes back beside the promoted one, or as its standby.
    let back = Bound {
        deaths: 1,
        ticks: 0,
        ..promotion
    };
    // Somebody changes a slice, and what puts it right is under way when the writes move.
    let meddling = Bound {
        meddling: 1,
        ticks: 0,
        ..promotion
    };
    let points = [
        Point::Moved,
        Point::Contested,
        Point::CrashBetween,
        Point::Recalled,
        Point::Withdrawn,
        Point::OldPrimaryReturned,
    ];
    holds(&[promotion, death, crash, back, meddling], &points);
}

/// S5, S6, S8, S10: somebody changes a slice, and the leader ends while it puts that right. What it sent arrives under the next one.
#[test]
fn what_arrives_late_of_a_leader_that_ended_is_refused_or_put_right() {
    let late = Bound {
        crashes: 1,
        meddling: 1,
        ticks: 4,
        ..Bound::default()
    };
    holds(
        &[late],
        &[Point::LateRefused, Point::LateDone, Point::LeaderChanged],
    );
}

/// A bound that the environment gives, as `make model` does.
#[test]
#[ignore = "as large as its bound"]
fn a_bound_of_your_own() {
    figures(&Bound::of_environment());
}
