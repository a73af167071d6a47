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
