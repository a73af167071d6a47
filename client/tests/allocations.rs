//! A pick allocates nothing.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;

use distributary_client::routes::{Candidate, Picker, Turns};

/// Counts what this thread allocates.
struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Target(u32);

impl Candidate for Target {
    fn share(&self, _: Option<&str>) -> u32 {
        100
    }
    fn used(&self) -> (u32, u32) {
        (self.0, 10)
    }
    fn failed_at(&self, _: Option<&str>) -> u64 {
        0
    }
}

#[test]
fn a_pick_allocates_nothing() {
    for turns in [Turns::InTurn, Turns::LeastUsed] {
        let targets = (0..10).map(|number| (Arc::new(Target(number)), 0, 100 * (number + 1)));
        let picker = Picker::new(targets, turns);
        assert!(picker.pick(&[], None).is_some());
        let before = COUNT.with(Cell::get);
        let picked = (0..1000).filter(|_| picker.pick(&[], None).is_some()).count();
        let allocated = COUNT.with(Cell::get) - before;
        assert_eq!((picked, allocated), (1000, 0));
    }
    let before = COUNT.with(Cell::get);
    drop(Box::new(1));
    assert_eq!(COUNT.with(Cell::get) - before, 1, "it counts");
}
