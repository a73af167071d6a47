//! A server that is held is told with the reason beneath and its figure; a lag alone is no news.

use std::time::Duration;

use distributary_core::lag_reading::{LagBound, LagReading};
use distributary_core::write_primary::Obstacle;

use super::*;

fn behind(millis: u64) -> LagReading {
    LagReading {
        time: Duration::from_millis(millis),
        bytes: Some(4096),
        at_least: false,
        past: Some(LagBound::Time(Duration::from_secs(5))),
        measured: Moment::default(),
    }
}

/// `a` is held, and its replay is paused.
fn held(millis: u64) -> Decision {
    decision(|plan, endpoints| {
        plan.ro.state = RouteState::Held;
        let state = &mut endpoints[1].state;
        (state.reason, state.despite) = (Reason::Held, Some(Reason::ReplayStalled));
        state.lag = Some(behind(millis));
    })
}

#[test]
fn the_reason_beneath_and_its_figure_are_told_wherever_the_endpoint_is() {
    let after = status(&report(&held(9400)), &first(), &at(2));
    let server = &after.endpoints[1].server;
    assert_eq!(
        (&*server.reason, server.held_despite.as_deref()),
        ("Held", Some("ReplayStalled"))
    );
    let lag = server.lag.as_ref().unwrap();
    assert_eq!(
        (lag.milliseconds, lag.past_milliseconds, lag.bytes),
        (9400, Some(5000), Some(4096))
    );
    assert_eq!(lag.measured_at, Some(at(2)));
    let told = "a: Held (ReplayStalled, 9.4 s > 5 s)";
    assert_eq!(condition(&after, "Degraded").message, told);
    assert_eq!(
        condition(&after, "Ready").message,
        format!(
            "No server for reads is well; orders-ro keeps servers that are only unhealthy or behind. {told}."
        )
    );
}

#[test]
fn a_write_primary_that_is_held_says_why() {
    let lost = decision(|plan, endpoints| {
        plan.rw.state = RouteState::Held;
        let state = &mut endpoints[0].state;
        (state.reason, state.despite) = (Reason::Held, Some(Reason::CircuitOpen));
        state.failure = Some(FailureKind::ConnectRefused);
    });
    let after = status(&report(&lost), &first(), &at(2));
    let told = "primary: Held (CircuitOpen, ConnectRefused)";
    assert_eq!(condition(&after, "PrimaryReachable").message, told);
    assert_eq!(
        condition(&after, "Ready").message,
        format!(
            "The primary is not well; orders-rw still leads to it, so writes may fail. {told}. Bring primary back; if it is lost, see \
             that it stays stopped, then promote a; orders-rw follows the promoted server."
        )
    );
}

/// What to do fits to what is wrong with the write primary, and to who may take over.
#[test]
fn a_write_primary_that_is_lost_says_what_to_do() {
    let message = |edit: fn(&mut Vec<EndpointView>)| {
        let lost = decision(|plan, endpoints| {
            plan.rw = Route::default();
            endpoints[0].state.reason = Reason::CircuitOpen;
            edit(endpoints);
        });
        condition(&status(&report(&lost), &first(), &at(2)), "Ready")
            .message
            .clone()
    };
    let none = "No server is proven to be the write primary: orders-rw leads nowhere.";
    assert_eq!(
        message(|endpoints| endpoints[1].state.obstacle = Some(Obstacle::NotPromotable)),
        format!(
            "{none} primary: CircuitOpen. Bring primary back; if it is lost, no standby may take over the writes: see cannotTakeOver \
             in status.endpoints."
        )
    );
    let writable = message(|endpoints| {
        let state = &mut endpoints[1].state;
        (state.role, state.reason) = (Some(Role::Primary), Reason::WritableReplica);
        state.obstacle = Some(Obstacle::NotPromotable);
    });
    assert!(
        writable.ends_with("a takes writes: name the right one in failover.acceptPrimary."),
        "nobody else is promoted beside it: {writable}"
    );
    assert_eq!(
        message(|endpoints| {
            endpoints[0].state.reason = Reason::PrimaryInRecovery;
            endpoints[0].state.role = Some(Role::Standby);
        }),
        format!(
            "{none} primary: PrimaryInRecovery. One of them must take writes: promote primary, a; orders-rw follows the promoted server."
        )
    );
    assert_eq!(
        message(|endpoints| endpoints[0].state.reason = Reason::IdentityMismatch),
        format!(
            "{none} primary: IdentityMismatch. primary belongs to another database: correct its host, or identity.systemIdentifier."
        )
    );
    assert_eq!(
        message(|endpoints| endpoints[0].state.reason = Reason::Starting),
        format!("{none} primary: Starting.")
    );
}

#[test]
fn a_declared_primary_of_another_database_is_no_standby_to_promote() {
    let other = decision(|plan, endpoints| {
        plan.rw = Route::default();
        endpoints[0].state.reason = Reason::IdentityMismatch;
        endpoints[0].state.role = Some(Role::Standby);
    });
    let after = status(&report(&other), &first(), &at(2));
    let reachable = condition(&after, "PrimaryReachable");
    assert_eq!(reachable.reason, "IdentityChanged");
    assert!(
        reachable.message.contains("correct its host"),
        "{}",
        reachable.message
    );
}

#[test]
fn a_lag_that_changed_alone_writes_no_status_whichever_process_measured_it() {
    let before = status(&report(&held(9400)), &first(), &at(2));
    // Another process: its clock and its figure are its own.
    let other = held(11_000);
    let mut report = report(&other);
    report.moment = Moment::new(Duration::from_secs(3600));
    assert_eq!(status(&report, &before, &at(3)), before);
    let mut worse = held(11_000);
    if let DecisionState::Decided(decided) = &mut worse.state {
        decided.endpoints[1].state.despite = Some(Reason::CircuitOpen);
    }
    report.decision = Some(&worse);
    let after = status(&report, &before, &at(4));
    assert_eq!(
        after.endpoints[1].server.lag.as_ref().unwrap().milliseconds,
        11_000
    );
}
