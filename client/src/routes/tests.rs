use std::collections::BTreeMap;

use super::*;

struct Fake {
    id: usize,
    share: AtomicU32,
    used: AtomicU32,
    failed: AtomicU32,
}

fn fake(id: usize) -> Arc<Fake> {
    Arc::new(Fake {
        id,
        share: AtomicU32::new(100),
        used: AtomicU32::new(0),
        failed: AtomicU32::new(0),
    })
}

impl Candidate for Fake {
    fn share(&self, _: Option<&str>) -> u32 {
        self.share.load(Ordering::Relaxed)
    }
    fn used(&self) -> (u32, u32) {
        (self.used.load(Ordering::Relaxed), 10)
    }
    fn failed_at(&self, _: Option<&str>) -> u64 {
        self.failed.load(Ordering::Relaxed).into()
    }
}

/// Targets of order 0 with these weights.
fn picker(weights: &[u32], turns: Turns) -> (Picker<Fake>, Vec<Arc<Fake>>) {
    let fakes: Vec<_> = (0..weights.len()).map(fake).collect();
    let targets = fakes
        .iter()
        .cloned()
        .zip(weights)
        .map(|(fake, weight)| (fake, 0, *weight));
    (Picker::new(targets, turns), fakes)
}

fn picked(picker: &Picker<Fake>, times: usize) -> BTreeMap<usize, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..times {
        *counts.entry(picker.pick(&[], None).unwrap().id).or_default() += 1;
    }
    counts
}

#[test]
fn a_round_gives_each_target_its_weight_exactly_and_spreads_it() {
    let (picker, _) = picker(&[500, 300, 200], Turns::InTurn);
    assert_eq!(
        picked(&picker, 1000),
        BTreeMap::from([(0, 500), (1, 300), (2, 200)])
    );
    assert_eq!(sequence(&[100, 100, 100]), [0, 1, 2]);
    assert_eq!(sequence(&[200, 100]), [0, 1, 0]);
}

#[test]
fn a_sequence_is_bounded_and_leaves_nobody_out() {
    let mut weights = vec![100_000; 63];
    weights.push(1);
    let all = sequence(&weights);
    assert!(all.len() <= MOST_TURNS, "{}", all.len());
    let of_smallest = all.iter().filter(|at| **at == 63).count();
    assert_eq!(of_smallest, 1);
    let shares = sequence(&[99_999, 33_333, 7]);
    let count = |which| shares.iter().filter(|at| **at == which).count();
    assert!(count(0).abs_diff(3 * count(1)) <= 3, "{} {}", count(0), count(1));
}

#[test]
fn more_targets_than_turns_have_one_turn_each() {
    let weights: Vec<_> = (1..=4500).collect();
    let all = sequence(&weights);
    assert_eq!(all.len(), 4500);
    let (picker, _) = picker(&weights, Turns::LeastUsed);
    assert!(picker.pick(&[], None).is_some());
}

#[test]
fn the_turns_of_one_that_is_out_are_shared_by_the_weights_of_the_others() {
    let (picker, fakes) = picker(&[1, 1, 1, 2], Turns::InTurn);
    fakes[1].share.store(0, Ordering::Relaxed);
    let counts = picked(&picker, 10_000);
    for (id, of_four) in [(0, 1), (2, 1), (3, 2)] {
        let expected = 10_000 * of_four / 4;
        assert!(counts[&id].abs_diff(expected) < 200, "{counts:?}");
    }
}

#[test]
fn two_routes_that_take_turns_do_not_split_the_targets_between_them() {
    let ((one, _), (other, _)) = (picker(&[1, 1], Turns::InTurn), picker(&[1, 1], Turns::InTurn));
    let mut counts = [BTreeMap::new(), BTreeMap::new()];
    for _ in 0..100 {
        for (route, counts) in [&one, &other].into_iter().zip(&mut counts) {
            *counts.entry(route.pick(&[], None).unwrap().id).or_insert(0) += 1;
        }
    }
    assert_eq!(counts[0], BTreeMap::from([(0, 50), (1, 50)]));
    assert_eq!(counts[1], BTreeMap::from([(0, 50), (1, 50)]));
}

#[test]
fn the_next_order_serves_once_the_lower_one_admits_nobody() {
    let fakes: Vec<_> = (0..3).map(fake).collect();
    let orders = [0, 0, 5];
    let targets = fakes
        .iter()
        .cloned()
        .zip(orders)
        .map(|(fake, order)| (fake, order, 100));
    let picker = Picker::new(targets, Turns::InTurn);
    assert!(!picked(&picker, 100).contains_key(&2));
    fakes[0].share.store(0, Ordering::Relaxed);
    assert_eq!(picked(&picker, 10), BTreeMap::from([(1, 10)]));
    fakes[1].share.store(0, Ordering::Relaxed);
    assert_eq!(picked(&picker, 10), BTreeMap::from([(2, 10)]));
}

#[test]
fn where_nobody_admits_it_the_oldest_failure_goes_first_and_nobody_is_tried_twice() {
    let (picker, fakes) = picker(&[1, 1, 1], Turns::InTurn);
    for (fake, failed) in fakes.iter().zip([30, 10, 20]) {
        fake.share.store(0, Ordering::Relaxed);
        fake.failed.store(failed, Ordering::Relaxed);
    }
    let mut tried = Vec::new();
    while let Some(next) = picker.pick(&tried, None) {
        tried.push(next);
    }
    let order: Vec<_> = tried.iter().map(|fake| fake.id).collect();
    assert_eq!(order, [1, 2, 0]);
}

#[test]
fn a_target_that_returns_gets_its_share_of_its_turns() {
    let (picker, fakes) = picker(&[1, 1], Turns::InTurn);
    fakes[1].share.store(25, Ordering::Relaxed);
    let counts = picked(&picker, 10_000);
    // A quarter of its half.
    assert!((1000..1500).contains(&counts[&1]), "{counts:?}");
}

#[test]
fn the_less_used_of_two_is_taken() {
    let (picker, fakes) = picker(&[1, 1], Turns::LeastUsed);
    fakes[0].used.store(9, Ordering::Relaxed);
    fakes[1].used.store(2, Ordering::Relaxed);
    assert_eq!(picked(&picker, 100), BTreeMap::from([(1, 100)]));
    let (picker, fakes) = super::tests::picker(&[1, 1, 1, 1], Turns::LeastUsed);
    fakes[3].used.store(9, Ordering::Relaxed);
    let counts = picked(&picker, 1000);
    assert!(counts.get(&3).is_none_or(|count| *count == 0), "{counts:?}");
    assert_eq!(counts.len(), 3, "{counts:?}");
}

#[test]
fn an_empty_route_has_nobody() {
    let (picker, _) = picker(&[], Turns::InTurn);
    assert!(picker.pick(&[], None).is_none());
}
