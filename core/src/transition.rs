//! What changed from one decision to the next.

use super::decision::{DecisionState, EndpointView, RouteDecision};
use super::health::Reason;
use super::ids::{ClassName, EndpointId};
use super::lag_reading::LagReading;
use super::observation::FailureKind;
use super::plan::{Route, RouteState, RoutingPlan};

/// What changed from one decision to the next that a person may want to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Transition {
    Endpoint {
        id: EndpointId,
        from: Option<Reason>,
        to: Reason,
        /// Why it would leave, where it is held.
        despite: Option<Reason>,
        /// Its lag, where that is the cause.
        excess: Option<LagReading>,
        failure: Option<FailureKind>,
        eligible: bool,
    },
    /// A class stays away from an endpoint that others may use, or no longer.
    Class {
        id: EndpointId,
        class: ClassName,
        from: Option<Reason>,
        to: Reason,
    },
    /// The read fallback serves, or no longer: who served reads before, and who serves them now.
    ReadFallback {
        active: bool,
        from: Vec<EndpointId>,
        to: Vec<EndpointId>,
    },
    /// The route for writes is served, held or empty.
    Writes { state: RouteState },
    /// The route for reads is held or empty, or served again.
    Reads { state: RouteState },
    /// Writes go to another endpoint than before.
    PrimaryMoved { from: EndpointId, to: EndpointId },
    /// Two or more endpoints take writes, or no longer.
    SplitBrain { endpoints: Vec<EndpointId> },
    /// The primary shows another system identifier.
    IdentityChanged { known: u64, shown: u64 },
}

/// What changed between two decisions; nothing where there is none to compare with. A move of the writes is no matter of
/// decisions alone: the route may lead elsewhere than a decision said.
#[must_use]
pub fn transitions(before: &DecisionState, after: &DecisionState) -> Vec<Transition> {
    let mut changes = reasons(
        before.endpoints().unwrap_or_default(),
        after.endpoints().unwrap_or_default(),
    );
    let Some(after) = after.decided() else {
        return changes;
    };
    changes.extend(of_classes(
        before.endpoints().unwrap_or_default(),
        &after.endpoints,
        &after.plan,
    ));
    let before = before.decided();
    let change = |decided: &RouteDecision| {
        decided
            .changed
            .and_then(|change| Some((change.known, change.shown?)))
    };
    if let Some((known, shown)) = change(after).filter(|now| before.and_then(change) != Some(*now)) {
        changes.push(Transition::IdentityChanged { known, shown });
    }
    changes.extend(routes(before.map(|before| &before.plan), &after.plan));
    if before.map_or(&[][..], |before| &before.split) != after.split {
        changes.push(Transition::SplitBrain {
            endpoints: after.split.clone(),
        });
    }
    changes
}

fn reasons(before: &[EndpointView], after: &[EndpointView]) -> Vec<Transition> {
    let changed = |view: &EndpointView| {
        let earlier = before.iter().find(|earlier| earlier.id == view.id);
        let reasons = |view: &EndpointView| (view.state.reason, view.state.despite);
        (earlier.map(reasons) != Some(reasons(view))).then(|| Transition::Endpoint {
            id: view.id.clone(),
            from: earlier.map(|earlier| earlier.state.reason),
            to: view.state.reason,
            despite: view.state.despite,
            excess: view.state.excess(),
            failure: view.state.failure,
            eligible: view.state.eligible,
        })
    };
    after.iter().filter_map(changed).collect()
}

/// Of classes that there are still.
fn of_classes(before: &[EndpointView], after: &[EndpointView], plan: &RoutingPlan) -> Vec<Transition> {
    let of_endpoint = |view: &EndpointView| {
        let earlier = before.iter().find(|earlier| earlier.id == view.id);
        let changed = |class: &ClassName| {
            let (from, to) = (earlier.map(|earlier| earlier.seen_by(class)), view.seen_by(class));
            (from.unwrap_or(Reason::Serving) != to).then(|| Transition::Class {
                id: view.id.clone(),
                class: class.clone(),
                from,
                to,
            })
        };
        plan.classes.keys().filter_map(changed).collect::<Vec<_>>()
    };
    after.iter().flat_map(of_endpoint).collect()
}

fn routes(before: Option<&RoutingPlan>, plan: &RoutingPlan) -> Vec<Transition> {
    let was = |route: fn(&RoutingPlan) -> RouteState| before.map_or(RouteState::Served, route);
    let (reads_before, reads) = (was(|plan| plan.ro.state), plan.ro.state);
    let mut changes = Vec::new();
    let by_fallback = |route: &Route| route.state == RouteState::Fallback || !route.stand_ins().is_empty();
    let active = by_fallback(&plan.ro);
    let well = |state| matches!(state, RouteState::Served | RouteState::Fallback);
    // A fallback that is lost as well has not ended by the return of anybody.
    if before.is_some_and(|before| by_fallback(&before.ro)) != active && (active || well(reads)) {
        changes.push(Transition::ReadFallback {
            active,
            from: before.map(|before| before.ro.serving()).unwrap_or_default(),
            to: plan.ro.serving(),
        });
    }
    if reads_before != reads && !(well(reads_before) && well(reads)) {
        changes.push(Transition::Reads { state: reads });
    }
    if was(|plan| plan.rw.state) != plan.rw.state {
        changes.push(Transition::Writes { state: plan.rw.state });
    }
    changes
}

#[cfg(test)]
mod tests;
