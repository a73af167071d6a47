use super::*;
use crate::fixture;

#[test]
fn of_several_pods_a_class_shows_the_worst() {
    let class = |reason, share, trips| ClassView {
        reason,
        circuit: Circuit::default(),
        share: Percent::new(share),
        trips,
    };
    // Each is worse than the next.
    let views = [
        class(Reason::ProbeQueryFailed, 0, 1),
        class(Reason::Returning, 10, 1),
        class(Reason::Lagging, 100, 0),
        class(Reason::Serving, 100, 2),
        class(Reason::Serving, 100, 1),
    ];
    let state = |view: &ClassView| TargetState {
        classes: [("c".into(), *view)].into(),
        ..fixture::serving()
    };
    for pair in views.windows(2) {
        for order in [[0, 1], [1, 0]] {
            let worst = worst_of_classes(order.map(|at| state(&pair[at])).iter());
            assert_eq!(worst, [("c".into(), pair[0])].into(), "{order:?}");
        }
    }
    assert_eq!(worst_of_classes([].iter()), BTreeMap::new());
}

#[test]
fn a_limit_of_the_role_is_low_where_one_process_has_too_few_and_where_two_used_it_up() {
    let probing = fixture::policy(&["a"]).policy().probing;
    let low = |saturated| [1, 2, 3, 4].map(|limit| is_low(limit, &probing, saturated));
    assert_eq!(probing.connections(), 2);
    assert_eq!(low(false), [true, false, false, false]);
    assert_eq!(low(true), [true, true, true, false]);
}
